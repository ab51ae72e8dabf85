"""stop, kill, wait, rm, restart, ps, logs, check."""

import ctypes
import errno
import os
import re
import signal
import struct
import subprocess
import time

import pytest

from rig import SLOW, alive, eventually, kill, now_usec


@pytest.mark.quick
def test_stop_asks_first(hf):
    c = hf.start("--", hf.torture, "catch", "4")
    c.wait_line("ready")
    c.stop()
    assert c.lines() == ["ready", "got 15"]
    assert c.wait_end() == 4
    assert "Exited" in c.ps()


@pytest.mark.quick
def test_stop_kills_after_the_grace_time(hf):
    c = hf.start("--", hf.torture, "ignore")
    c.wait_line("ready")
    start = time.monotonic()
    c.stop("--time", "300ms")
    assert 0.25 <= time.monotonic() - start < 5 * SLOW
    assert c.wait_end() == 137


def test_stop_takes_everything(hf):
    c = hf.start("--", hf.torture, "daemons", "10")
    c.wait_line("daemons 10")
    all_of_them = c.pids
    assert len(all_of_them) == 12
    c.stop()
    assert not [p for p in all_of_them if alive(p)]


def test_stop_twice_is_fine(hf):
    c = hf.start("--", hf.torture, "stamp")
    c.stop()
    c.stop()


def test_a_long_stop_says_what_it_waits_for(hf):
    c = hf.start("--", hf.torture, "ignore")
    c.wait_line("ready")
    out = c.stop("--time", "3s")
    assert re.search(r"wait", out.stderr + out.stdout)


@pytest.mark.parametrize("text,number", [("USR1", 10), ("SIGUSR2", 12), ("1", 1), ("WINCH", 28)])
def test_kill_sends_the_signal(hf, text, number):
    c = hf.start("--", hf.torture, "catch")
    c.wait_line("ready")
    c.kill("--signal", text)
    c.wait_line(f"^got {number}$")
    assert c.service


def test_kill_without_a_signal_ends_it_for_good(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    eventually(c.lines)
    c.kill()
    assert c.wait_end() == 137
    assert len(c.lines()) == 1


def test_restart_verb(hf):
    c = hf.start("--", hf.torture, "stamp")
    first = c.service
    eventually(c.lines)
    hf.ok("restart", c.name)
    assert c.wait_service(other_than=first)
    eventually(lambda: len(c.lines()) == 2)


def test_wait_waits(hf):
    c = hf.start("--", hf.torture, "catch", "6")
    c.wait_line("ready")
    waiter = hf.popen("wait", c.name)
    c.kill("--signal", "USR1")
    c.wait_line("got 10")
    assert waiter.poll() is None
    c.kill("--signal", "TERM")
    out, _ = waiter.communicate(timeout=10)
    assert waiter.returncode == 0 and out.split()[-1] == "6"
    assert c.wait_end() == 6, "and again, when all is over"


def test_rm_refuses_what_runs(hf):
    c = hf.start("--", hf.torture, "stamp")
    out = hf("rm", c.name)
    assert out.returncode != 0 and c.name in out.stderr
    assert c.service
    c.rm("-f")
    hf.assert_nothing_left()


def test_ps(hf):
    up = hf.start("--", hf.torture, "stamp")
    down = hf.start("--", "sh", "-c", "exit 3", service=False)
    down.wait_end()
    listed = hf.ok("ps").stdout
    assert up.name in listed and down.name not in listed
    everything = hf.ok("ps", "-a").stdout
    assert up.name in everything and down.name in everything
    assert "Up" in up.ps() and str(up.service) in up.ps()
    assert "Exited (3)" in down.ps()


def test_ps_with_nothing(hf):
    assert hf.ok("ps").returncode == 0


def test_logs(hf):
    c = hf.start("--", hf.torture, "both", "50", service=False)
    assert c.wait_end() == 0
    out = hf.ok("logs", c.name)
    assert out.stdout.split("\n")[:-1] == [f"out {i}" for i in range(1, 51)]
    assert out.stderr.split("\n")[:-1] == [f"err {i}" for i in range(1, 51)]


def test_logs_of_both_streams_in_one_pipe_keep_their_order(hf):
    go = os.path.join(hf.base, "go")
    os.mkdir(go)
    wait = "until [ -e /go/{0}$i ]; do sleep 0.01; done"
    c = hf.start("-v", f"{go}:/go", "--", "/bin/sh", "-c",
                 f"for i in 1 2 3; do echo out $i; {wait.format('out')}; "
                 f"echo err $i >&2; {wait.format('err')}; done")
    for i in range(1, 4):
        for word, stream in (("out", "stdout"), ("err", "stderr")):
            c.wait_line(f"{word} {i}", stream=stream)
            then = now_usec()  # the index tells times apart that are 10 ms apart
            eventually(lambda t=then: now_usec() > t + 15000)
            with open(f"{go}/{word}{i}", "w", encoding="utf-8"):
                pass
    c.wait_end()
    tool = hf.popen("logs", c.name, stderr=subprocess.STDOUT)
    assert tool.communicate()[0].splitlines() == [
        f"{word} {i}" for i in range(1, 4) for word in ("out", "err")]


def test_logs_follow(hf):
    c = hf.start("--", hf.torture, "lines", "300", "2000", service=False)
    follower = hf.popen("logs", "-f", c.name)
    out, _ = follower.communicate(timeout=20)
    assert out.split() == [f"{i:08d}" for i in range(1, 301)]


def test_logs_cover_all_runs(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    for n in range(3):
        eventually(lambda: len(c.lines()) == n + 1)
        old = c.service
        kill(old, signal.SIGKILL)
        c.wait_service(other_than=old)
    eventually(lambda: len(c.lines()) == 4)
    assert len(c.logs().splitlines()) == 4


def test_foreground_signals_are_passed_on(hf):
    name = hf.name()
    client = hf.popen("run", "--name", name, "--", hf.torture, "catch", "8")
    from rig import Container
    c = Container(hf, name)
    c.wait_line("ready")
    client.send_signal(signal.SIGUSR1)
    c.wait_line("got 10")
    client.send_signal(signal.SIGTERM)
    out, err = client.communicate(timeout=10)
    assert client.returncode == 8, err
    assert out.split("\n")[-2] == "got 15"


def test_killed_client_leaves_the_container(hf):
    name = hf.name()
    client = hf.popen("run", "--name", name, "--", hf.torture, "lines", "0", "1000")
    from rig import Container
    c = Container(hf, name)
    c.wait_line("00000010")
    client.kill()
    client.communicate(timeout=10)
    size = len(c.raw())
    eventually(lambda: len(c.raw()) > size)
    assert "Up" in c.ps()


@pytest.mark.quick
def test_check(hf):
    out = hf("check")
    assert out.returncode in (0, 1), out.stderr
    for word in ("kernel", "memory", "cpu", "pids", "seccomp", "user", "pid", "mnt", "PSI"):
        assert re.search(word, out.stdout, re.I), word


@pytest.mark.quick
@pytest.mark.parametrize("verb", ["run", "ps", "logs", "stop", "kill", "restart", "wait", "rm",
                                  "check"])
def test_help(hf, verb):
    out = hf.ok(verb, "--help")
    assert out.stdout.startswith("Usage: ")
    assert hf("--help").returncode == 0


def test_version(hf):
    assert re.match(r"holdfast \d+\.\d+\.\d+", hf.ok("version").stdout)


def test_stop_ends_it_even_if_init_is_stopped(hf):
    """An init that can't answer: everything is killed after a second, and no policy brings it back."""
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    init = c.init
    kill(init, signal.SIGSTOP)
    c.stop(timeout=30)
    assert not alive(init)
    assert "Exited" in c.ps()


def test_stop_twice_without_init_kills_after_the_grace(hf):
    c = hf.start("--init", "none", "--", hf.torture, "ignore", service=False)
    service = eventually(lambda: c.init)
    first = hf.popen("stop", "-t", "2", c.name)
    second = hf.popen("stop", "-t", "2", c.name)
    assert first.wait(20) == 0 and second.wait(20) == 0
    assert not alive(service)


def test_stop_during_a_fresh_starts_delay(hf):
    c = hf.start("--restart", "always", "--restart-mode", "fresh", "--restart-delay", "1h", "--",
                 "/bin/sh", "-c", "exit 4", service=False)
    eventually(lambda: "estarting" in c.ps())
    c.stop()
    assert c.wait_end() == 4


def test_a_later_launch_that_fails_deletes_nothing(hf, tmp_path):
    """The first run worked; then what it mounts is gone. That is a failed run, not a failed create."""
    volume = tmp_path / "volume"
    volume.mkdir()
    c = hf.start("--restart", "on-failure", "--restart-mode", "fresh", "--restart-delay", "0",
                 "--restart-budget", "2/1h", "--volume", f"{volume}:/v", "--", "/bin/sh", "-c",
                 "echo once; while test -e /v; do sleep 0.01; test -e /v/go && exit 5; done",
                 service=False)
    c.wait_line("once")
    volume.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "go").touch()
    assert c.wait_end(30) == 125
    assert c.lines()[0] == "once"


@pytest.mark.quick
def test_a_chosen_name_is_never_shortened(hf):
    c = hf.start("--", hf.torture, "stamp", name=hf.name("web") + "-db")
    for verb in (("stop",), ("kill",), ("restart",), ("rm", "-f"), ("logs",)):
        out = hf(*verb, c.name[:-3])
        assert out.returncode == 1 and c.name[:-3] in out.stderr, verb
    assert c.service
    out = hf.ok("run", "-d", "--", hf.torture, "stamp").stdout.strip()
    assert hf("rm", "-f", out[:3]).returncode == 1
    assert hf.ok("rm", "-f", out[:6]).stdout == out + "\n"
    assert hf.containers() == [c.name]


def kill_pair(c):
    keeper, shim = eventually(lambda: c.keeper and c.shim and (c.keeper, c.shim))
    kill(keeper, signal.SIGSTOP)  # it shall not revive the shim first
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(shim))


def orphaned(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    kill_pair(c)
    return c


def test_rm_leaves_an_orphan_alone(hf):
    c = orphaned(hf)
    init, service = c.init, c.service
    out = hf("rm", c.name)
    assert out.returncode == 1 and "supervising" in out.stderr and c.name in out.stderr
    assert alive(init) and alive(service) and c.service == service
    c.rm("-f")
    assert not alive(init) and hf.containers() == []


def test_logs_follow_says_that_nobody_writes_any_more(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    service, written = c.service, eventually(c.lines)
    kill_pair(c)
    out = hf("logs", "-f", c.name)
    assert (out.returncode, out.stdout.splitlines()) == (1, written)
    assert f'nobody supervises "{c.name}"' in out.stderr and f"holdfast adopt {c.name}" in out.stderr
    assert c.service == service
    hf.ok("adopt", c.name)
    follower = hf.popen("logs", "-f", c.name)
    assert follower.stdout.readline() == written[0] + "\n"
    kill_pair(c)
    _, err = follower.communicate(timeout=20)
    assert follower.returncode == 1 and f'nobody supervises "{c.name}"' in err
    c.stop()
    assert hf("logs", "-f", c.name).returncode == 0


@pytest.mark.quick
@pytest.mark.parametrize("status,args", [
    (1, ("ps",)), (1, ("--help",)), (1, ("version",)), (125, ("run", "--help"))])
def test_a_full_standard_output_is_told(hf, status, args):
    with open("/dev/full", "w", encoding="utf-8") as full:
        tool = hf.popen(*args, stdout=full)
        err = tool.communicate()[1]
    assert tool.returncode == status and "No space left" in err


def test_logs_to_a_full_disk_are_told_once(hf):
    c = hf.start("--", "/bin/sh", "-c", "echo x; exec sleep 1000")
    c.wait_line("x")
    for more in ((), ("-f",)):
        with open("/dev/full", "w", encoding="utf-8") as full:
            tool = hf.popen("logs", *more, c.name, stdout=full)
            err = tool.communicate()[1]
        assert tool.returncode == 1 and err.count("holdfast: ") == 1 and "No space left" in err


def test_output_that_could_not_be_shown_is_told(hf):
    name = hf.name()
    with open("/dev/full", "w", encoding="utf-8") as full:
        tool = hf.popen("run", "--name", name, "--", "/bin/sh", "-c", "echo x; exit 3", stdout=full)
        err = tool.communicate()[1]
    assert tool.returncode == 3 and "No space left" in err and "logs" in err
    assert hf.ok("logs", name).stdout == "x\n"


@pytest.mark.parametrize("at,what", [(0, b"not a journal at all"), (8, b"\xff\xff\0\0")],
                         ids=["damaged", "other version"])
def test_rm_of_what_nobody_can_read(hf, at, what):
    c = orphaned(hf)
    init, service, group = c.init, c.service, c.cgroup("memory")[0]
    with open(f"{c.state_dir}/journal", "r+b") as f:
        f.seek(at)
        f.write(what)
    assert "Damaged" in c.ps()
    out = hf("rm", c.name)
    assert out.returncode == 1 and "journal" in out.stderr
    assert alive(init) and alive(service)
    c.rm("-f")
    eventually(lambda: not alive(init) and not alive(service))
    assert not os.path.exists(group)
    hf.assert_nothing_left()


def interrupted():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_before_the_start_leaves_nothing(hf):
    """It is pending from the first instruction on."""
    p = hf.popen("run", "-d", "--", hf.torture, "stamp", preexec_fn=interrupted)
    out, err = p.communicate(timeout=20)
    assert out == "" and p.returncode == -signal.SIGINT, (p.returncode, err)
    hf.assert_nothing_left()


@pytest.mark.slow
def test_a_supervisor_that_stands_still_is_told(hf):
    c = hf.start("--", hf.torture, "stamp")
    service, pair = c.service, eventually(lambda: c.keeper and c.shim and [c.keeper, c.shim])
    for pid in pair:
        kill(pid, signal.SIGSTOP)
    try:
        asked = {verb: hf.popen(*verb, c.name, *more) for verb, more in (
            (("stop",), ()), (("kill",), ()), (("rm", "-f"), ()), (("start",), ()),
            (("restart",), ()), (("adopt",), ()), (("wait",), ()), (("attach",), ()),
            (("exec",), ("true",)))}
        for verb, tool in asked.items():
            out, err = tool.communicate(timeout=30 * SLOW)
            assert tool.returncode == (125 if verb[0] in ("wait", "attach", "exec") else 1), verb
            assert out == "" and err.count("holdfast: ") == 1, (verb, err)
            assert f'supervisor of "{c.name}" does not answer' in err and "shim.log" in err, verb
    finally:
        for pid in pair:
            kill(pid, signal.SIGCONT)
    c.answers()  # the shim, or another one: its keeper may not wait for one that stood still so long
    assert c.service == service and c.keeper == pair[0]
    c.stop()


INOTIFY_INIT1, INOTIFY_ADD_WATCH = 294, 254


def refuse(call, err):
    """A filter under which a call fails."""
    rows = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050000 | err),
            (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("=HBBI", *r) for r in rows)
    buf = ctypes.create_string_buffer(code)
    prog = struct.pack("@HxxxxxxP", len(rows), ctypes.addressof(buf))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, ctypes.c_ulong(2), ctypes.c_char_p(prog), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def test_a_failure_before_the_start_leaves_nothing(hf):
    """As on a host that has used up its inotify instances."""
    p = hf.popen("run", "--", hf.torture, "stamp",
                 preexec_fn=lambda: refuse(INOTIFY_INIT1, errno.EMFILE))
    out, err = p.communicate(timeout=20)
    assert p.returncode == 125 and "watch" in err, (p.returncode, err)
    assert out == ""
    hf.assert_nothing_left()


def test_output_arrives_without_a_watch(hf):
    """As on a host that has used up its inotify watches: a service that lives on and one that ends."""
    p = hf.popen("run", "--rm", "-i", "--", "/bin/sh", "-c", "echo a; read x; echo b; read x; echo c",
                 stdin=subprocess.PIPE, preexec_fn=lambda: refuse(INOTIFY_ADD_WATCH, errno.ENOSPC))
    for word in ("a", "b"):
        assert p.stdout.readline() == word + "\n" and p.poll() is None
        p.stdin.write("\n")
        p.stdin.flush()
    out, err = p.communicate(timeout=20)
    assert (p.returncode, out, err) == (0, "c\n", "")
