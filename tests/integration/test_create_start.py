"""create, start, restart, prune: a life after the first one, and what is left alone."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest

import journal
from killat import REAL, StandIn
from rig import TOOL, Container, alive, cmdline, eventually, kill, pids, read


def created(hf, *args, name=None):
    name = name or hf.name()
    assert hf.ok("create", "--name", name, *args).stdout == name + "\n"
    return Container(hf, name)


@pytest.mark.quick
def test_create_then_start(hf):
    c = created(hf, "--hostname", "kelp", "--", "/bin/sh", "-c", "hostname; exec sleep 1000")
    assert c.keeper is None and c.shim is None and c.pids == []
    assert "Created" in c.ps() and c.name not in hf.ok("ps").stdout
    assert c.logs() == ""
    assert hf.ok("start", c.name).stdout == c.name + "\n"
    c.wait_line("^kelp$")
    assert "Up" in c.ps()
    c.stop()
    assert c.wait_end() == 143


def test_create_gives_a_random_name(hf):
    out = hf.ok("create", "--", "true")
    assert re.fullmatch(r"[0-9a-f]{12}\n", out.stdout)
    hf.ok("start", out.stdout[:6])
    assert Container(hf, out.stdout.strip()).wait_end() == 0


def test_a_created_container_can_be_removed(hf):
    c = created(hf, "--", "true")
    c.rm()
    hf.assert_nothing_left()


def test_verbs_on_what_was_created(hf):
    c = created(hf, "--", "true")
    assert hf("kill", c.name).returncode == 1
    assert hf("wait", c.name).returncode == 1
    hf.ok("stop", c.name)
    assert "Created" in c.ps()


@pytest.mark.parametrize("args,word", [
    (("-d", "--", "true"), "--detach"), (("--print-spec", "--", "true"), "--print-spec"),
    (("--memory", "12Q", "--", "true"), "--memory"), ((), "command")])
def test_create_with_bad_options(hf, args, word):
    out = hf("create", *args)
    assert out.returncode == 64 and word in out.stderr
    assert hf.containers() == []


def test_create_refuses_a_name_in_use(hf):
    c = created(hf, "--", "true")
    out = hf("create", "--name", c.name, "--", "true")
    assert out.returncode == 125 and c.name in out.stderr and "rm" in out.stderr


@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_a_second_life(hf, init):
    """Runs, exits and output go on where they were."""
    name = hf.name()
    c = Container(hf, name)
    assert hf("run", "--name", name, "--init", init, "--", "/bin/sh", "-c",
              "echo life; exit 3").returncode == 3
    for lives in (2, 3):
        hf.ok("start", name)
        assert c.wait_end() == 3
        assert c.lines() == ["life"] * lives
        eventually(lambda: c.keeper is None)
    exits = [r for r in journal.read(c.state_dir) if r.kind == journal.EXITED]
    assert [(r.run, r.exit()) for r in exits] == [(1, 3), (2, 3), (3, 3)]
    assert "Exited (3)" in c.ps() and "3/0" in c.ps()


def test_start_after_a_stop(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    c.stop()
    hf.ok("start", c.name)
    old = c.wait_service()
    kill(old, signal.SIGKILL)
    c.wait_service(other_than=old)  # the policy acts again
    c.stop()


def test_the_restart_budget_begins_anew(hf):
    c = hf.start("--restart", "on-failure:2", "--restart-delay", "0", "--", "/bin/sh", "-c",
                 "echo x; exit 1", service=False)
    assert c.wait_end() == 1 and len(c.lines()) == 3
    hf.ok("start", c.name)
    assert c.wait_end() == 1 and len(c.lines()) == 6


def test_start_attached_shows_only_its_own_life(hf):
    name = hf.name()
    assert hf("run", "--name", name, "--", "/bin/sh", "-c",
              "echo out; echo err >&2; exit 9").returncode == 9
    out = hf("start", "-a", name)
    assert (out.returncode, out.stdout, out.stderr) == (9, "out\n", "err\n")


def test_start_attached_passes_signals_and_input(hf):
    c = created(hf, "-i", "--", "/bin/sh", "-c", "read x; echo got $x; exit 6")
    out = hf("start", "-i", c.name, input="kelp\n")
    assert (out.returncode, out.stdout) == (6, "got kelp\n"), out.stderr
    c = created(hf, "--", hf.torture, "catch", "7")
    client = hf.popen("start", "-a", c.name)
    c.wait_line("ready")
    client.send_signal(signal.SIGTERM)
    out, err = client.communicate(timeout=10)
    assert client.returncode == 7 and "got 15" in out, err


def test_start_i_without_a_standard_input(hf):
    c = created(hf, "--", "true")
    out = hf("start", "-i", c.name)
    assert out.returncode == 1 and "-i" in out.stderr


def test_start_attached_takes_one(hf):
    a, b = created(hf, "--", "true"), created(hf, "--", "true")
    out = hf("start", "-a", a.name, b.name)
    assert out.returncode == 64 and "one" in out.stderr
    assert "Created" in a.ps() and "Created" in b.ps()


def test_start_of_several(hf):
    a = created(hf, "--", hf.torture, "stamp")
    b = created(hf, "--", hf.torture, "stamp")
    out = hf("start", a.name, "no-such-one", b.name)
    assert out.returncode == 1 and out.stdout == f"{a.name}\n{b.name}\n"
    assert "no-such-one" in out.stderr
    assert a.wait_service() and b.wait_service()


def test_start_of_what_runs_changes_nothing(hf):
    c = hf.start("--", hf.torture, "stamp")
    service = c.service
    eventually(c.lines)
    assert hf.ok("start", c.name).stdout == c.name + "\n"
    assert c.service == service and len(c.lines()) == 1


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_a_start_that_fails_keeps_what_was_created(hf, init):
    c = created(hf, "--init", init, "--", "/no/such/program")
    out = hf("start", c.name)
    assert out.returncode == 1 and "/no/such/program" in out.stderr
    eventually(lambda: c.keeper is None)
    assert hf.containers() == [c.name]
    out = hf("start", "-a", c.name)
    assert out.returncode == 127 and "/no/such/program" in out.stderr
    assert hf.containers() == [c.name]


def test_a_launch_that_fails_is_told(hf, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    name = hf.name()
    for verb in ("create", "run"):
        hf.ok(verb, "--name", name, "-v", f"{volume}:/v", "--", "true")
        volume.rename(tmp_path / "elsewhere")
        for attach in ([], ["-a"]):
            out = hf("start", *attach, name)
            assert out.returncode == (125 if attach else 1), out.stderr
            assert "volume" in out.stderr
            eventually(lambda: Container(hf, name).keeper is None)
        assert hf.containers() == [name]
        (tmp_path / "elsewhere").rename(volume)
        hf.ok("start", name)
        assert Container(hf, name).wait_end() == 0
        hf.ok("rm", name)


def test_create_rm_start(hf):
    c = created(hf, "--rm", "--", "/bin/sh", "-c", "exit 4")
    assert hf("start", "-a", c.name).returncode == 4
    hf.assert_nothing_left()


def test_two_starts_at_once(hf):
    c = created(hf, "--", hf.torture, "stamp")
    outs = []
    starters = [threading.Thread(target=lambda: outs.append(hf("start", c.name)))
                for _ in range(4)]
    for t in starters:
        t.start()
    for t in starters:
        t.join()
    assert [o.returncode for o in outs] == [0] * 4, [o.stderr for o in outs]
    c.wait_line("")
    assert len(c.lines()) == 1
    assert len([r for r in journal.read(c.state_dir) if r.kind == journal.STARTED]) == 1


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_starts_at_once_of_what_can_not_start(hf, init):
    """Whoever comes second waits for the outcome as well."""
    c = created(hf, "--init", init, "--", "/no/such/program")
    for _ in range(5):
        tools = [hf.popen("start", c.name) for _ in range(6)]
        for t in tools:
            out, err = t.communicate(timeout=30)
            assert (t.returncode, out) == (1, ""), err
        eventually(lambda: c.keeper is None)


def test_start_against_rm(hf):
    """One of them wins; nothing is left half-way."""
    for _ in range(10):
        c = created(hf, "--", hf.torture, "stamp")
        start = hf.popen("start", c.name)
        rm = hf.popen("rm", c.name)
        _, start_err = start.communicate(timeout=20)
        _, rm_err = rm.communicate(timeout=20)
        if start.returncode == 0:
            assert rm.returncode == 1 and "running" in rm_err, rm_err
            assert c.service
            c.rm("-f")
        else:
            assert start.returncode == 1 and c.name in start_err
            assert rm.returncode == 0, rm_err
        assert hf.containers() == []


def test_a_supervisor_that_dies_before_the_start(hf):
    """Its pair is killed right after `start` made it, at once and over and over."""
    c = created(hf, "--restart", "always", "--", hf.torture, "stamp")
    hf.ok("start", c.name)
    for n in range(1, 4):
        eventually(lambda: len(c.lines()) == n, 10, f"the line of run {n}")
        c.stop()
        eventually(lambda: c.keeper is None)
        hf.ok("start", c.name)
        kill(c.shim, signal.SIGKILL)
        eventually(lambda: c.shim)
        assert c.wait_service()
    eventually(lambda: len(c.lines()) == 4, 10, "the line of run 4")


def test_start_of_an_orphan_adopts_it(hf):
    c = hf.start("--restart", "no", "--", hf.torture, "stamp")
    keeper, shim, service = c.keeper, c.shim, c.service
    kill(keeper, signal.SIGSTOP)
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(shim))
    hf.ok("start", c.name)
    assert c.keeper and c.shim and c.service == service


def test_start_after_a_reboot(hf):
    """The journal's boot is another one: what ran then is gone, and the life to come is of this boot."""
    name = hf.name()
    c = Container(hf, name)
    assert hf("run", "--name", name, "--", "/bin/sh", "-c", "exit 3").returncode == 3
    eventually(lambda: c.keeper is None)
    boot = read("/proc/sys/kernel/random/boot_id").strip().encode()
    path = f"{c.state_dir}/journal"
    with open(path, "rb") as f:
        data = f.read()
    assert data.count(boot) == 1
    with open(path, "wb") as f:
        f.write(data.replace(boot, b"0" * 36))
    hf.ok("start", name)
    assert c.wait_end() == 3
    assert "Exited (3)" in c.ps()
    assert boot in open(path, "rb").read()


def test_start_of_an_interrupted_creation(hf):
    c = created(hf, "--", "true")
    os.unlink(f"{c.state_dir}/config.json")
    out = hf("start", c.name)
    assert out.returncode == 1 and "interrupted" in out.stderr and "rm" in out.stderr
    assert c.keeper is None


def test_a_name_is_free_when_run_returns(hf):
    """The supervisors of the one before may still be on their way out."""
    name = hf.name()
    for _ in range(20):
        out = hf.run("--name", name, "--", "/bin/true")
        assert (out.returncode, out.stdout, out.stderr) == (0, "", "")


# ---- restart


@pytest.mark.quick
@pytest.mark.parametrize("mode,same", [("in-place", True), ("fresh", False)])
def test_restart_as_the_mode_says(hf, mode, same):
    c = hf.start("--restart", "no", "--restart-mode", mode, "--", hf.torture, "stamp")
    init, first = c.init, c.service
    c.wait_line("")
    hf.ok("restart", c.name)
    second = c.service
    assert second and second != first, "the new run is there when the command returns"
    assert (c.init == init) == same
    eventually(lambda: len(c.lines()) == 2)


def test_restart_without_init(hf):
    c = hf.start("--init", "none", "--", hf.torture, "catch", service=False)
    c.wait_line("ready")
    first = c.init
    hf.ok("restart", c.name)
    assert c.init and c.init != first
    eventually(lambda: c.lines().count("ready") == 2)
    assert "got 15" in c.lines()
    assert "2/1" in c.ps()


def test_restart_without_init_kills_after_the_time(hf):
    c = hf.start("--init", "none", "--restart", "no", "--", hf.torture, "ignore", service=False)
    c.wait_line("ready")
    first = c.init
    hf.ok("restart", "-t", "200ms", c.name)
    assert c.init and c.init != first
    eventually(lambda: c.lines().count("ready") == 2)


def test_restart_without_init_survives_the_shim(hf):
    c = hf.start("--init", "none", "--restart", "no", "--", hf.torture, "ignore", service=False)
    c.wait_line("ready")
    first = c.init
    client = hf.popen("restart", "-t", "1", c.name)
    eventually(lambda: any(r.kind == journal.STOP_INTENT for r in journal.read(c.state_dir)))
    kill(c.shim, signal.SIGKILL)
    out, err = client.communicate(timeout=20)
    assert client.returncode == 0, err
    assert c.init and c.init != first and not alive(first)


def test_restart_starts_what_has_ended(hf):
    c = hf.start("--", "/bin/sh", "-c", "echo life; exit 3", service=False)
    assert c.wait_end() == 3
    hf.ok("restart", c.name)
    assert c.wait_end() == 3
    assert c.lines() == ["life"] * 2
    d = created(hf, "--", hf.torture, "stamp")
    hf.ok("restart", d.name)
    assert d.service


def test_restart_of_several(hf):
    a, b = (hf.start("--", hf.torture, "stamp") for _ in range(2))
    first = a.service, b.service
    out = hf.ok("restart", a.name, b.name)
    assert out.stdout == f"{a.name}\n{b.name}\n"
    assert a.service and a.service != first[0] and b.service and b.service != first[1]


def test_restart_of_one_that_waits_for_its_next_run(hf):
    for mode in ("in-place", "fresh"):
        c = hf.start("--restart", "always", "--restart-mode", mode, "--restart-delay", "1h", "--",
                     "/bin/sh", "-c", "test -e /tmp/x && exec sleep 1000; exit 4", service=False)
        eventually(lambda: "estarting (4)" in c.ps())
        client = hf.popen("restart", c.name)
        eventually(lambda: len([r for r in journal.read(c.state_dir)
                                if r.kind == journal.EXITED]) > 1)
        client.kill()
        client.communicate()
        c.rm("-f")


def test_restart_that_fails(hf, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    c = hf.start("--restart", "no", "--restart-mode", "fresh", "-v", f"{volume}:/v", "--",
                 hf.torture, "stamp")
    volume.rename(tmp_path / "elsewhere")
    out = hf("restart", c.name)
    assert out.returncode == 1 and out.stderr
    assert c.wait_end() == 125


# ---- prune


@pytest.mark.quick
def test_prune(hf):
    up = hf.start("--", hf.torture, "stamp")
    new = created(hf, "--", "true")
    down = [hf.start("--", "/bin/sh", "-c", "exit 3", service=False) for _ in range(2)]
    for c in down:
        c.wait_end()
    stopped = hf.start("--", hf.torture, "stamp")
    stopped.stop()
    out = hf.ok("prune")
    assert sorted(out.stdout.split()) == sorted(c.name for c in (*down, stopped))
    assert hf.containers() == sorted([up.name, new.name])
    assert hf.ok("prune", "-f").stdout == ""
    assert up.service and "Created" in new.ps()


@pytest.mark.quick
def test_prune_what_fits(hf):
    def down(*options, code=0):
        c = hf.start(*options, "--", "/bin/sh", "-c", f"exit {code}", service=False)
        c.wait_end()
        return c.name
    kept, labelled, failed = down(), down("--label", "tier=web"), down(code=3)
    assert hf.ok("prune", "--filter", "until=1h").stdout == ""
    assert hf.ok("prune", "--filter", "label=tier=db").stdout == ""
    assert hf.ok("prune", "--filter", "label=tier").stdout.split() == [labelled]
    assert hf.ok("prune", "--filter", "exited=3", "--filter", "status=exited").stdout.split() == [failed]
    assert hf.ok("prune", "--filter", "status=lost").stdout == ""
    assert hf.containers() == [kept]
    assert hf.ok("prune", "--filter", f"until=@{time.time() + 1:.6f}").stdout.split() == [kept]


@pytest.mark.quick
@pytest.mark.parametrize("value", ["until=soon", "colour=red", "label", "exited=256"])
def test_prune_by_what_is_no_filter(hf, value):
    out = hf("prune", "--filter", value)
    assert out.returncode == 64 and "--filter" in out.stderr and len(out.stderr.splitlines()) == 1


def test_prune_takes_no_names(hf):
    out = hf("prune", "web")
    assert out.returncode == 64 and "web" in out.stderr and "rm" in out.stderr


# ---- run --print-spec


def test_help_of_the_new_verbs(hf):
    for verb in ("create", "start", "prune"):
        assert hf.ok(verb, "--help").stdout.startswith(f"Usage: holdfast {verb}")
        assert verb in hf.ok("--help").stdout


# ---- a launch that stands still

def standing_still(hf, tmp_path, after):
    """`run` whose launch is stopped after its first system call of that name: client, container, launch."""
    stand_in, trace = StandIn(tmp_path / "libexec", "holdfast-launch"), tmp_path / "trace"
    env = stand_in.env(tmp_path / "flag", f"inject={after}:signal=SIGSTOP:when=1", trace)
    p = subprocess.Popen([TOOL, "run", "-d", "--name", "still", "--", "sleep", "1000"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=hf.env(**env))
    eventually(lambda: "stopped by SIGSTOP" in (read(trace) or ""), 10, "a launch that stands still")
    pid = next(pid for pid in pids() if cmdline(pid) == [f"{REAL}/holdfast-launch", "still"])
    return p, Container(hf, "still"), pid


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("crash", [None, "shim"])
@pytest.mark.parametrize("command", [("stop",), ("rm", "-f")], ids=" ".join)
def test_a_launch_that_hangs_is_ended(hf, tmp_path, command, crash):
    """As over a dead network mount."""
    p, c, launch = standing_still(hf, tmp_path, "unshare")
    eventually(lambda: journal.LAUNCH_INTENT in [r.kind for r in journal.read(c.state_dir)])
    if crash:
        c.crash(crash)
    hf.ok(*command, c.name)
    assert not alive(launch)
    p.communicate(timeout=10)
    assert p.returncode
    if command == ("stop",):
        hf.ok("rm", c.name)
    hf.assert_nothing_left()


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_a_launch_that_has_outlived_its_keeper_gives_up(hf, tmp_path):
    """The door that stands there when it goes on is its successor's."""
    p, c, launch = standing_still(hf, tmp_path, "socket")
    kill(c.keeper, signal.SIGKILL)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 0, err
    door = os.stat(f"{c.state_dir}/init.sock").st_ino
    kill(launch, signal.SIGCONT)
    eventually(lambda: not alive(launch), 10, "the end of the old launch")
    assert os.stat(f"{c.state_dir}/init.sock").st_ino == door and c.service
    c.stop("-t", "0")
