"""attach: the way back to what runs."""

import os
import signal
import subprocess

import pytest

from rig import TOOL, eventually, fd_count, kill, read, status_field
from test_terminal import terminal  # noqa: F401

ECHO = ("--", "/bin/sh", "-c",
        "trap 'echo caught' USR1; echo early; while :; do read x && echo got $x; "
        "[ \"$x\" = end ] && exit 6; done")


def popen(hf, *args, **kwargs):
    kwargs = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
              "text": True, **kwargs}
    return subprocess.Popen([TOOL, "attach", *args], env=hf.env(), **kwargs)


def attached(p, c):
    """The next thing that it is told, it hears: it has noted where it begins, and watches the logs."""
    def there():
        try:
            return any("inotify wd:" in read(f"/proc/{p.pid}/fdinfo/{fd}", "")
                       for fd in os.listdir(f"/proc/{p.pid}/fdinfo"))
        except OSError:
            return False
    eventually(there, what="attach to be there")


@pytest.mark.quick
def test_output_input_and_status(hf):
    c = hf.start("-i", *ECHO)
    c.wait_line("early")
    p = popen(hf, c.name)
    attached(p, c)
    p.stdin.write("one\nend\n")
    p.stdin.flush()
    out, err = p.communicate(timeout=20)
    assert (p.returncode, out, err) == (6, "got one\ngot end\n", "")


READ = ("--", "/bin/sh", "-c", "echo early; while read x; do echo got $x; done; echo eof; exec sleep 1000")


@pytest.mark.quick
@pytest.mark.parametrize("who", [None, "shim", "keeper"])
def test_the_end_of_input_is_passed_on(hf, who):
    c = hf.start("-i", *READ[:3], READ[3].replace("exec sleep 1000", "exit 6"))
    c.wait_line("early")
    p = popen(hf, c.name)
    attached(p, c)
    p.stdin.write("one\n")
    p.stdin.flush()
    c.wait_line("got one")
    if who:
        c.crash(who)
    p.stdin.write("two\nthree\n" * 3000)  # more than one chunk: the end comes behind them all
    out, err = p.communicate(timeout=30)
    assert (p.returncode, err) == (6, "")
    assert out == "got one\n" + "got two\ngot three\n" * 3000 + "eof\n"


@pytest.mark.quick
def test_who_only_looks_ends_nothing_and_after_the_end_nobody_speaks(hf):
    c = hf.start("-i", *READ)
    c.wait_line("early")
    p = popen(hf, "--no-stdin", c.name, stdin=subprocess.DEVNULL)
    attached(p, c)
    first = popen(hf, c.name)
    attached(first, c)
    first.stdin.write("one\n")
    first.stdin.close()
    c.wait_line("eof")
    assert c.lines() == ["early", "got one", "eof"]
    second = popen(hf, c.name)
    second.stdin.write("two\n")
    second.stdin.flush()
    assert "standard input is not passed on: it has ended" in second.stderr.readline()
    assert all(x.poll() is None for x in (p, first, second))  # they look on
    c.kill()
    for x in (p, first, second):
        assert x.wait(20) == 137
        for f in (x.stdin, x.stdout, x.stderr):
            if f:
                f.close()


def test_the_end_of_input_ends_no_terminal(hf):
    c = hf.start("-i", "-t", "--", "/bin/sh", "-c", "stty -echo; echo early; while read x; do echo got $x; done; exit 6")
    c.wait_line("early")
    for n in range(2):
        p = popen(hf, c.name)
        attached(p, c)
        p.stdin.write(f"{n}\n" if n == 0 else "\x04")
        p.stdin.close()
        if n == 0:
            c.wait_line("got 0")
            p.kill()
        assert p.wait(20) == (-9 if n == 0 else 6)
        p.stdout.close()
        p.stderr.close()


def test_two_at_once_and_one_that_only_looks(hf):
    c = hf.start("-i", *ECHO)
    c.wait_line("early")
    looks, other = popen(hf, c.name, "--no-stdin"), popen(hf, c.name)
    attached(looks, c)
    attached(other, c)
    looks.stdin.write("not passed on\n")
    looks.stdin.flush()
    other.stdin.write("x\nend\n")
    other.stdin.flush()
    for p in (looks, other):
        out, _ = p.communicate(timeout=20)
        assert (p.returncode, out) == (6, "got x\ngot end\n")


def test_one_that_was_made_without_input(hf):
    c = hf.start("--", "/bin/sh", "-c", "trap 'echo bye; exit 3' USR1; echo up; while :; do sleep 0.02; done")
    c.wait_line("up")
    p = popen(hf, c.name, stdin=subprocess.DEVNULL)
    attached(p, c)
    p.send_signal(signal.SIGUSR1)
    out, _ = p.communicate(timeout=20)
    assert (p.returncode, out) == (3, "bye\n")


def test_signals_that_are_not_passed_on(hf):
    c = hf.start("-i", *ECHO)
    c.wait_line("early")
    p = popen(hf, "--sig-proxy=false", c.name)
    attached(p, c)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=20)
    assert p.returncode == 0 and f'"{c.name}" goes on (holdfast attach {c.name}' in err
    assert c.service
    p = popen(hf, "--sig-proxy", "true", c.name)
    attached(p, c)
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=20)
    assert p.returncode == 143
    assert c.wait_end() == 143


@pytest.mark.parametrize("who", ["shim", "keeper"])
def test_it_stays_over_a_death(hf, who):
    c = hf.start("-i", *ECHO)
    c.wait_line("early")
    p = popen(hf, c.name)
    attached(p, c)
    for n in range(3):
        c.crash(who)
        p.stdin.write(f"{n}\n")
        p.stdin.flush()
        assert p.stdout.readline() == f"got {n}\n"
    p.stdin.write("end\n")
    p.stdin.flush()
    p.communicate(timeout=20)
    assert p.returncode == 6


def test_runs_that_follow(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0.01", *ECHO[:3], "echo run; exec sleep 999")
    first = c.service
    c.wait_line("run")
    p = popen(hf, c.name, stdin=subprocess.DEVNULL)
    attached(p, c)
    kill(first, signal.SIGKILL)
    assert p.stdout.readline() == "run\n"
    c.stop()
    p.communicate(timeout=20)
    assert p.returncode == 143


def test_its_supervisors_die_both(hf):
    c = hf.start("-i", *ECHO)
    c.wait_line("early")
    p = popen(hf, c.name)
    attached(p, c)
    shim = c.shim
    kill(c.keeper, signal.SIGSTOP)
    kill(shim, signal.SIGKILL)
    kill(c.keeper, signal.SIGKILL)
    _, err = p.communicate(timeout=20)
    assert p.returncode == 125 and f'the supervisor of "{c.name}" is gone' in err
    p = popen(hf, c.name)  # it makes a new pair, and what was there goes on
    attached(p, c)
    p.stdin.write("end\n")
    p.stdin.flush()
    out, _ = p.communicate(timeout=20)
    assert (p.returncode, out) == (6, "got end\n")


def test_leaving_a_terminal_and_coming_back(hf, terminal):  # noqa: F811
    c = hf.start("-i", "-t", "--", "/bin/sh")
    for n in range(2):
        t = terminal("attach", c.name)
        t.type(f"echo he''re{n}; stty size\r")
        t.expect(f"here{n}")
        t.expect("33 77")
        t.resize(40 + n, 100)
        t.process.send_signal(signal.SIGWINCH)
        t.type("stty size\r")
        t.expect(f"{40 + n} 100")
        t.type("\x10\x11")
        assert t.end() == 0
        assert "goes on" in t.text and c.service
    t = terminal("attach", "--detach-keys", "ctrl-x", c.name)
    t.type("echo \x10\x11 he''re\r")
    t.expect("here")
    t.type("\x18")
    assert t.end() == 0
    t = terminal("attach", c.name)
    t.type("exit 9\r")
    assert t.end() == 9


def test_one_that_removes_itself(hf):
    c = hf.start("--rm", "-i", *ECHO)
    c.wait_line("early")
    p = popen(hf, c.name)
    attached(p, c)
    p.stdin.write("end\n")
    p.stdin.flush()
    out, _ = p.communicate(timeout=20)
    assert (p.returncode, out) == (6, "got end\n")
    assert c.name not in hf.containers()


def test_who_has_gone_while_its_input_waited(hf, tmp_path):
    """Nobody takes it: its connection goes all the same once another client comes."""
    (tmp_path / "much").write_bytes(bytes(1 << 20))
    c = hf.start("-i", "--", "/bin/sleep", "1000")
    c.answers()
    shim, alone = c.shim, fd_count(c.shim)
    for _ in range(6):
        with open(tmp_path / "much", "rb") as much:
            p = popen(hf, c.name, stdin=much)
            attached(p, c)
            eventually(lambda: much.tell() and status_field(p.pid, "State").startswith("S"))
            p.kill()
            p.communicate()

    def gone():
        c.answers()
        return fd_count(shim) <= alone + 2  # who waits for room, and the one that asks
    eventually(gone)
    assert c.shim == shim
    c.stop("-t", "0")
