"""Commands beside the service: what they get, how they end, and that neither is lost."""

import json
import os
import signal
import subprocess

import pytest

import journal
from rig import TOOL, alive, cmdline, eventually, kill, scaled, status_field
from test_shim_death import next_shim
from test_terminal import terminal  # noqa: F401

SLEEPER = ("--", "/bin/sleep", "1000")


@pytest.fixture
def box(hf):
    """A container whose service does nothing."""
    return hf.start(*SLEEPER)


def popen(hf, *args, **kwargs):
    kwargs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
              "text": True, **kwargs}
    return subprocess.Popen([TOOL, "exec", *args], env=hf.env(), **kwargs)


def ended(c):
    """(id, record) of every exec's end in the journal, in its order."""
    return journal.execs(c.state_dir)


def in_group(c, command):
    return [p for p in c.pids if command in cmdline(p)]


@pytest.mark.quick
def test_output_input_and_status(hf, box):
    r = hf("exec", box.name, "/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    assert (r.returncode, r.stdout, r.stderr) == (7, "out\n", "err\n")
    r = hf("exec", "-i", box.name, "cat", input="typed\n")
    assert (r.returncode, r.stdout) == (0, "typed\n")
    r = hf("exec", box.name, "cat", input="not passed on\n")
    assert (r.returncode, r.stdout) == (0, "")
    r = hf("exec", box.name, "/bin/sh", "-c", "kill -9 $$")
    assert r.returncode == 137


def test_it_is_the_container(hf, box):
    """Its namespaces, cgroup, root, user, capabilities and filter: those of the service."""
    p = popen(hf, box.name, "/bin/sleep", "999")
    pid = eventually(lambda: in_group(box, "999"))[0]
    service = box.service
    for ns in ("pid", "mnt", "uts", "ipc", "net", "cgroup", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{ns}") == os.readlink(f"/proc/{service}/ns/{ns}")
    for field in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
                  "Seccomp_filters", "Uid", "Gid", "SigBlk", "SigIgn"):
        assert status_field(pid, field) == status_field(service, field), field
    for name in ("limits", "cgroup"):
        assert open(f"/proc/{pid}/{name}").read() == open(f"/proc/{service}/{name}").read()
    assert os.readlink(f"/proc/{pid}/cwd") == os.readlink(f"/proc/{service}/cwd")
    assert status_field(pid, "PPid") == str(box.init)
    eventually(lambda: sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"])  # its loader opens more
    p.terminate()
    assert p.wait(10) == 128 + signal.SIGTERM
    p.stdout.close()
    p.stderr.close()
    assert not alive(pid)


def test_environment(hf):
    c = hf.start("-e", "A=run", "-e", "B=run", *SLEEPER)
    r = hf("exec", "-e", "A=exec", "-e", "C=1", "-e", "C=2", "-e", "PASSED", c.name, "env",
           env={"PASSED": "on"})
    got = dict(x.split("=", 1) for x in r.stdout.splitlines())
    assert len(got) == len(r.stdout.splitlines())
    assert (got["A"], got["B"], got["C"], got["PASSED"]) == ("exec", "run", "2", "on")
    assert "TERM" not in got and got["HOME"] == "/root" and "PATH" in got


def test_user_and_directory(hf, box):
    r = hf("exec", "-u", "nobody", "-w", "/tmp", box.name, "/bin/sh", "-c",
           "id -u; pwd; grep -E 'CapEff|CapPrm|CapAmb' /proc/self/status; echo $HOME")
    assert r.returncode == 0, r.stderr
    lines = r.stdout.split()
    assert lines[:2] == ["65534", "/tmp"]
    assert [x for x in lines if x.strip("0") == "" and len(x) == 16] == ["0" * 16] * 3
    assert lines[-1] == "/nonexistent"
    r = hf("exec", "-u", "12:34", box.name, "id")
    assert r.stdout.startswith("uid=12") and " gid=34" in r.stdout


def test_root_in_a_container_of_another_user(hf):
    """Root gets what the container may have at most, and not more."""
    c = hf.start("-u", "1000:1000", "--cap-drop", "ALL", "--cap-add", "CHOWN", *SLEEPER)
    r = hf.ok("exec", "-u", "0", c.name, "grep", "-E", "CapEff|CapBnd", "/proc/self/status")
    eff, bnd = (x.split()[1] for x in r.stdout.splitlines())
    assert eff == bnd == f"{1:016x}"
    r = hf.ok("exec", c.name, "/bin/sh", "-c", "id -u; id -g")
    assert r.stdout.split() == ["1000", "1000"]


def test_no_listener_reaches_it(hf, place):
    c = hf.start("--listen", f"{place}/exec.sock", *SLEEPER)
    r = hf.ok("exec", c.name, "/bin/sh", "-c", "ls /proc/self/fd; env | grep LISTEN; true")
    assert "LISTEN" not in r.stdout
    assert not set(r.stdout.split()) - {"0", "1", "2", "3"}  # 3: ls's own
    c.stop()
    c.rm()


@pytest.mark.parametrize("options,status,text", [
    (("no-such", "true"), 125, 'no-such'),
    ((), 64, "in which container?"),
    (("{}",), 64, "which command?"),
    (("{}", "/no/such"), 127, 'exec "/no/such": No such file or directory'),
    (("{}", "no-such"), 127, 'exec "no-such": No such file or directory'),
    (("{}", "/etc/passwd"), 126, 'exec "/etc/passwd": Permission denied'),
    (("-w", "/no/such", "{}", "true"), 126, "enter the working directory"),
    (("-w", "relative", "{}", "true"), 64, '--workdir "relative": not an absolute path'),
    (("-u", "nosuch", "{}", "true"), 64, '--user "nosuch": no such user'),
    (("-u", "0:nosuch", "{}", "true"), 64, "no such group"),
    (("-u", "", "{}", "true"), 64, "not a user"),
    (("-e", "=x", "{}", "true"), 64, "has no name"),
    (("-it", "{}", "true"), 64, "standard input is not a terminal"),
    (("-d", "-i", "{}", "true"), 64, "-d and -i exclude each other"),
    (("--detach-keys", "ctrl-", "{}", "true"), 64, "--detach-keys"),
    (("--no-such", "{}", "true"), 64, "--no-such"),
    (("-d", "{}", "/no/such"), 127, 'exec "/no/such"'),
])
def test_what_is_wrong_is_named(hf, box, options, status, text):
    r = hf("exec", *(x.format(box.name) for x in options))
    assert r.returncode == status, r.stderr
    assert text in r.stderr and r.stdout == ""
    assert len(r.stderr.splitlines()) == 1


def test_one_that_does_not_run(hf, box):
    box.stop()
    r = hf("exec", box.name, "true")
    assert r.returncode == 125 and f'"{box.name}" is not running' in r.stderr
    name = hf.name()
    hf.ok("create", "--name", name, *SLEEPER)
    r = hf("exec", name, "true")
    assert r.returncode == 125 and "is not running" in r.stderr
    for _ in range(2):
        assert hf("exec", "-t", name, "true").returncode == 125


def test_prefixes(hf):
    a = hf.ok("run", "-d", *SLEEPER).stdout.strip()
    r = hf("exec", a[:4], "echo", "there")
    assert r.stdout == "there\n"
    r = hf("exec", a[:3], "true")
    assert r.returncode == 125 and a[:3] in r.stderr
    hf.ok("rm", "-f", a)


def test_a_directory_is_no_stdio(hf, box):
    with open(os.devnull) as null:
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        r = subprocess.run([TOOL, "exec", "-i", box.name, "true"], env=hf.env(), stdin=fd,
                           stdout=null, stderr=subprocess.PIPE, text=True, check=False)
        os.close(fd)
    assert r.returncode == 64 and "is a directory" in r.stderr


def test_detached(hf, box):
    r = hf("exec", "-d", box.name, "/bin/sh", "-c", "sleep 998; exit 3")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    pid = eventually(lambda: in_group(box, "998"))[0]
    kill(pid, signal.SIGKILL)
    record = eventually(lambda: ended(box))[0]
    assert (record["code"], record["signal"]) == (3, 0)


def test_signals_are_passed_on(hf, box):
    p = popen(hf, box.name, "/bin/sh", "-c",
              "trap 'echo caught; exit 4' USR1; echo ready; while :; do sleep 0.02; done")
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGUSR1)
    out, _ = p.communicate(timeout=20)
    assert (p.returncode, out) == (4, "caught\n")


def test_each_has_its_records(hf, box):
    for code in range(5):
        assert hf("exec", box.name, "/bin/sh", "-c", f"exit {code}").returncode == code
    assert [r["code"] for r in ended(box)] == list(range(5))
    starts = [r for r in journal.read(box.state_dir) if r.kind == journal.EXEC_STARTED]
    assert len(starts) == 5
    ids = [journal.exec_id(r) for r in starts]
    assert len(set(ids)) == 5 and ids == [r["id"] for r in ended(box)]


def die_with_the_run(hf, c, victim):
    """Every exec's record stands before the service's."""
    execs = [popen(hf, c.name, "/bin/sleep", str(900 + n)) for n in range(8)]
    for n in range(8):
        eventually(lambda n=n: in_group(c, str(900 + n)))
    kill(victim, signal.SIGKILL)
    for p in execs:
        p.communicate(timeout=20)
        assert p.returncode == 137

    def order():
        return [r.kind for r in journal.read(c.state_dir) if r.kind in (journal.EXEC_EXITED, journal.EXITED)]
    eventually(lambda: len(order()) == 9)  # init starts the next run whether or not the shim has got to this
    assert order() == [journal.EXEC_EXITED] * 8 + [journal.EXITED]


def test_they_die_with_the_run_each_with_a_record(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0.01", *SLEEPER)
    service = c.service
    die_with_the_run(hf, c, service)
    c.wait_service(other_than=service)
    assert hf("exec", c.name, "true").returncode == 0


def test_a_container_that_dies_ends_them(hf, box):
    p = popen(hf, box.name, "/bin/sleep", "997")
    eventually(lambda: in_group(box, "997"))
    box.rm("-f")
    p.communicate(timeout=20)
    assert p.returncode == 137


def test_pid_1_killed(hf):
    """Nobody saw how it ended: what follows is said as inferred, and nobody waits for ever."""
    c = hf.start("--restart", "always", "--restart-delay", "0.01", *SLEEPER)
    p = popen(hf, c.name, "/bin/sleep", "996")
    eventually(lambda: in_group(c, "996"))
    old = c.init
    kill(old, signal.SIGKILL)
    p.communicate(timeout=20)
    assert p.returncode == 137
    assert ended(c)[0]["inferred"]
    eventually(lambda: c.init not in (None, old))
    assert eventually(lambda: hf("exec", c.name, "echo", "again").stdout == "again\n")


@pytest.mark.quick
def test_the_shim_dies_meanwhile(hf, box):
    for n in range(scaled(5, 100)):
        p = popen(hf, "-i", box.name, "/bin/sh", "-c", f"echo up; read x; exit {n}",
                  stdin=subprocess.PIPE)
        assert p.stdout.readline() == "up\n"
        old = box.shim
        kill(old, signal.SIGKILL)
        next_shim(box, old)
        p.communicate("go\n", timeout=20)
        assert p.returncode == n
    eventually(lambda: len(ended(box)) == scaled(5, 100))  # the last may be told before it is written down
    assert [r["code"] for r in ended(box)] == list(range(scaled(5, 100)))


def test_it_ends_while_there_is_no_shim(hf, box):
    p = popen(hf, "-i", box.name, "/bin/sh", "-c", "echo up; read x; exit 9",
              stdin=subprocess.PIPE)
    assert p.stdout.readline() == "up\n"
    old = box.shim
    kill(old, signal.SIGKILL)
    p.communicate("go\n", timeout=20)
    assert p.returncode == 9  # the keeper may have told: the next shim journals it
    eventually(lambda: [r["code"] for r in ended(box)] == [9])


def test_the_keeper_dies_meanwhile(hf, box):
    p = popen(hf, "-i", box.name, "/bin/sh", "-c", "echo up; read x; exit 11",
              stdin=subprocess.PIPE)
    assert p.stdout.readline() == "up\n"
    old = box.keeper
    kill(old, signal.SIGKILL)
    eventually(lambda: box.keeper not in (None, old))
    p.communicate("go\n", timeout=20)
    assert p.returncode == 11


def test_storm(hf, box, place):
    """Many at once while the shim is killed again and again: each is begun exactly once and each
    status arrives."""
    count = scaled(80, 2000)
    log = os.path.join(place, "storm")
    open(log, "w").close()
    script = f"echo $N >>{log}; exit $((N % 100))"
    volume = hf.start("-v", f"{place}:{place}", *SLEEPER)
    waiting = []
    for n in range(count):
        waiting.append((n, popen(hf, "-e", f"N={n}", volume.name, "/bin/sh", "-c", script)))
        if n % 20 == 10:
            old = volume.shim
            if old:
                kill(old, signal.SIGKILL)
        while len(waiting) >= 12:
            finish(*waiting.pop(0))
    for one in waiting:
        finish(*one)
    with open(log) as f:
        assert sorted(int(x) for x in f) == list(range(count))
    records = ended(volume)
    assert len({r["id"] for r in records}) == len(records) == count
    os.unlink(log)


def finish(n, p):
    _, err = p.communicate(timeout=60)
    assert p.returncode == n % 100, (n, err)


def test_too_many_at_once(hf, box):
    execs = [popen(hf, box.name, "/bin/sleep", "995") for _ in range(48)]
    eventually(lambda: len(in_group(box, "995")) == 48)
    r = hf("exec", box.name, "true")
    assert r.returncode == 125 and "too many execs" in r.stderr
    box.kill()
    for p in execs:
        p.communicate(timeout=20)
        assert p.returncode == 137


# Terminals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [(), ("-u", "nobody")], ids=["own", "other"])
def test_the_terminal(hf, terminal, user):  # noqa: F811
    c = hf.start(*SLEEPER)
    t = terminal("exec", "-it", *user, c.name, hf.torture, "show")
    assert t.end() == 0, t.text
    shown = json.loads(t.text)
    assert shown["tty"] == [True, True, True]
    assert shown["controlling"] and shown["sid"] == shown["pid"]
    assert shown["foreground"] == shown["pgid"]
    assert shown["winsize"] == [33, 77]


def test_a_shell_on_it(hf, box, terminal):  # noqa: F811
    t = terminal("exec", "-it", box.name, "/bin/sh")
    t.type("tty; echo $TERM; stat -c %u $(tty)\r")
    t.expect("/dev/pts/0")
    t.expect("xterm")
    t.resize(44, 111)
    t.process.send_signal(signal.SIGWINCH)
    t.type("stty size\r")
    t.expect("44 111")
    t.type("sleep 994\r")
    pid = eventually(lambda: in_group(box, "994"))[0]
    t.type("\x03")
    eventually(lambda: not alive(pid))
    t.type("exit 5\r")
    assert t.end() == 5


def test_a_terminal_in_a_user_namespace(hf, terminal):  # noqa: F811
    c = hf.start("--userns", "auto", *SLEEPER)
    t = terminal("exec", "-it", c.name, "/bin/sh", "-c", "tty; stat -c owner-%u $(tty)")
    assert t.end() == 0, t.text
    assert "/dev/pts/0" in t.text and "owner-0" in t.text


def test_a_dead_container_gives_the_terminal_back(hf, box, terminal):  # noqa: F811
    import termios
    t = terminal("exec", "-it", box.name, "/bin/sh")
    t.type("echo re''ady\r")
    t.expect("ready")
    box.rm("-f")
    assert t.end() == 137
    assert termios.tcgetattr(t.master) == t.before


def test_a_dead_client_hangs_up(hf, box, terminal):  # noqa: F811
    t = terminal("exec", "-it", box.name, "/bin/sh", "-c", "echo re''ady; exec sleep 993")
    t.expect("ready")
    pid = eventually(lambda: in_group(box, "993"))[0]
    t.process.kill()
    eventually(lambda: not alive(pid))
    assert eventually(lambda: ended(box))[0]["signal"] == signal.SIGHUP


def test_detaching_leaves_it_running(hf, box, terminal):  # noqa: F811
    t = terminal("exec", "-it", box.name, "/bin/sh", "-c",
                 "echo re''ady; while :; do echo more; sleep 0.02; done")
    t.expect("ready")
    pid = eventually(lambda: [p for p in box.pids if p not in (box.init, box.service)])[0]
    t.type("\x10\x11")
    assert t.end() == 0
    assert "detached" in t.text
    assert alive(pid)
    box.stop()
    eventually(lambda: not alive(pid))


def test_much_output_arrives_whole(hf, box, terminal):  # noqa: F811
    t = terminal("exec", "-it", box.name, "/bin/sh", "-c", "seq 1 20000")
    assert t.end(30) == 0
    assert t.text.split() == [str(n) for n in range(1, 20001)]
