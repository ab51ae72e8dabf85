"""Terminals and standard input."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from rig import SLOW, TOOL, Container, Late, eventually


class Terminal:
    """The tool as a person has it: on a terminal of its own."""

    def __init__(self, hf, *args, rows=33, cols=77):
        self.master, slave = pty.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self.master)

        def session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([TOOL, *args], stdin=slave, stdout=slave, stderr=slave,
                                        env=hf.env(TERM="xterm"), preexec_fn=session)
        os.close(slave)
        self.text = ""

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def pump(self, seconds=0.01):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def expect(self, text, timeout=10):
        def there():
            self.pump()
            return text in self.text
        try:
            eventually(there, timeout, f"{text!r} on the terminal")
        except Late as e:
            raise Late(f"{e}; so far {self.text!r}") from None

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, timeout=10):
        deadline = time.monotonic() + timeout * SLOW
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.pump()
        while select.select([self.master], [], [], 0)[0] and self.pump():
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(hf):
    made = []

    def make(*args, **kwargs):
        made.append(Terminal(hf, *args, **kwargs))
        return made[-1]
    yield make
    for t in made:
        t.close()


@pytest.mark.parametrize("init", [(), ("--init", "none")], ids=["init", "no-init"])
def test_the_service_has_a_terminal(hf, terminal, init):
    t = terminal("run", "--rm", "-t", "-i", *init, "--", hf.torture, "show")
    assert t.end() == 0, t.text
    assert t.text.startswith("{"), t.text
    shown = json.loads(t.text)
    assert shown["tty"] == [True, True, True]
    assert shown["controlling"]
    assert shown["sid"] == shown["pid"]
    assert shown["foreground"] == shown["pgid"]
    assert shown["winsize"] == [33, 77]


def test_typing_and_echo(hf, terminal):
    t = terminal("run", "--rm", "-it", "--", "/bin/sh", "-c", "read x; echo got-$x; exit 5")
    t.type("hello\r")
    t.expect("got-hello")
    assert t.end() == 5


def test_control_c_reaches_the_foreground_job(hf, terminal):
    t = terminal("run", "--rm", "-it", "--", "/bin/sh", "-c",
                 "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done")
    t.expect("ready")
    t.type("\x03")
    t.expect("caught")
    assert t.end() == 9


def test_the_size_follows(hf, terminal):
    t = terminal("run", "--rm", "-it", "--", "/bin/sh", "-c",
                 "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done")
    t.expect("ready")
    t.resize(44, 111)
    t.process.send_signal(signal.SIGWINCH)
    t.expect("44 111")
    assert t.end() == 0


def test_the_callers_terminal_is_as_before(hf, terminal):
    t = terminal("run", "--rm", "-it", "--", "/bin/sh", "-c", "echo ready; read x")
    t.expect("ready")
    eventually(lambda: termios.tcgetattr(t.master) != t.before, 10, "raw mode while attached")
    t.type("\r")
    assert t.end() == 0
    assert termios.tcgetattr(t.master) == t.before


def test_detached_terminal(hf):
    c = hf.start("-d", "-t", "--", hf.torture, "show", service=False)
    assert c.wait_end() == 0
    assert json.loads(c.raw().decode())["tty"] == [True, True, True]


def test_terminal_over_restarts_in_place(hf):
    c = hf.start("-t", "--restart", "always", "--restart-delay", "0", "--restart-budget", "2/1h",
                 "--", hf.torture, "show", service=False)
    assert c.wait_end() == 0
    runs = [json.loads(x) for x in c.raw().decode().splitlines() if x.startswith("{")]
    assert len(runs) == 3
    assert all(r["controlling"] and r["foreground"] == r["pgid"] for r in runs)


@pytest.mark.quick
def test_stdin_is_passed_on(hf):
    text = "".join(f"line {i}\n" for i in range(10000))
    out = hf.run("-i", "--", hf.torture, "echo", input=text)
    assert out.returncode == 0
    assert out.stdout == text + "eof\n"


def test_without_i_stdin_is_empty(hf):
    out = hf.run("--", hf.torture, "echo", input="not for you\n")
    assert out.stdout == "eof\n"


def test_stdin_without_init(hf):
    out = hf.run("-i", "--init", "none", "--", hf.torture, "echo", input="a\nb\n")
    assert out.stdout == "a\nb\neof\n"


@pytest.mark.quick
def test_logs_on_a_terminal_show_control_characters(hf, terminal):
    text = r"a\033[2Jb\233c\302\233d\303\251 good\rbad\n"
    c = hf.start("--", "/bin/sh", "-c", f"printf '{text}'", service=False)
    assert c.wait_end() == 0
    t = terminal("logs", c.name)
    assert t.end() == 0
    assert t.text == "a^[[2Jb\\x9bc\\xc2\\x9bd\u00e9 good^Mbad\r\n"
    raw = subprocess.run([TOOL, "logs", c.name], env=hf.env(), capture_output=True, check=True)
    assert raw.stdout == b"a\x1b[2Jb\x9bc\xc2\x9bd\xc3\xa9 good\rbad\n" == c.raw()


# ---- detach keys


def raw(terminal):
    eventually(lambda: termios.tcgetattr(terminal.master) != terminal.before)


@pytest.mark.quick
def test_detach_keys(hf):
    """The client leaves, the container goes on, and there is a way back."""
    name = hf.name()
    t = Terminal(hf, "run", "-it", "--name", name, "--", "cat")
    raw(t)
    t.type("before\n")
    t.expect("before\r\nbefore\r\n")
    t.type("\x10")
    t.type("\x11")
    assert t.end() == 0
    assert "detached" in t.text and "holdfast attach" in t.text
    assert termios.tcgetattr(t.master) == t.before, "the terminal is as before"
    c = Container(hf, name)
    assert c.init and "Up" in c.ps()
    again = Terminal(hf, "start", "-a", "-i", name)
    raw(again)
    again.type("after\n")
    again.expect("after\r\nafter\r\n")
    assert "before" not in again.text
    again.type("\x04")
    assert again.end() == 0
    assert c.wait_end() == 0


def test_detach_keys_of_ones_own(hf):
    name = hf.name()
    t = Terminal(hf, "run", "-it", "--name", name, "--detach-keys", "ctrl-a,d", "--", "cat")
    raw(t)
    t.type("x\x10\x11y\n")  # ^Q is the inner terminal's to take
    t.expect("x^Py")
    t.type("\x01x\n")
    t.expect("^Ax")
    t.type("\x01d")
    assert t.end() == 0
    assert Container(hf, name).init
    other = Terminal(hf, "start", "-i", "--detach-keys", "ctrl-x", name)
    raw(other)
    other.type("\x18")
    assert other.end() == 0 and Container(hf, name).init


def test_no_detach_keys(hf):
    t = Terminal(hf, "run", "-it", "--rm", "--detach-keys", "", "--", "cat")
    raw(t)
    t.type("x\x10\x11y\n")  # ^Q is the inner terminal's to take
    t.expect("x^Py")
    t.type("\x04")
    assert t.end() == 0
    assert hf.containers() == []


def test_detached_with_rm(hf):
    name = hf.name()
    t = Terminal(hf, "run", "-it", "--rm", "--name", name, "--", "cat")
    raw(t)
    t.type("\x10\x11")
    assert t.end() == 0
    assert hf.containers() == [name]
    hf.ok("stop", name)
    eventually(lambda: hf.containers() == [])


@pytest.mark.parametrize("value", ["ctrl-", "ctrl-1", "ab", ",", "ctrl-p,"])
def test_bad_detach_keys(hf, value):
    out = hf("run", "--detach-keys", value, "--", "true")
    assert out.returncode == 64 and f'--detach-keys "{value}"' in out.stderr
    assert "use " in out.stderr and hf.containers() == []
    out = hf("start", "--detach-keys", value, "x")
    assert out.returncode == 64 and "--detach-keys" in out.stderr
