"""stop, kill, wait, rm, restart, ps, logs, check."""

import re
import signal
import time

import pytest

from rig import alive, eventually, kill


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
    assert 0.25 <= time.monotonic() - start < 5
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
    out = c.stop("--time", "1500ms")
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
    c.kill()
    assert c.wait_end() == 137
    assert len(c.lines()) == 1


def test_restart_verb(hf):
    c = hf.start("--", hf.torture, "stamp")
    first = c.service
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
    assert hf.containers() == [] and hf.files() == []


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


def test_logs_follow(hf):
    c = hf.start("--", hf.torture, "lines", "300", "2000")
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
