"""The supervisor may die at any instant: the service does not notice, no byte of its output is lost
or doubled, and everything can be asked and told again right afterwards."""

import random
import signal
import time

import pytest

import journal
from rig import alive, connected_to_none, eventually, fd_count, kill, scaled


def next_shim(container, old):
    return eventually(lambda: container.shim if container.shim not in (None, old) else None, 10,
                      f"a new shim after {old}")


def numbered(text):
    lines = text.split("\n")
    assert lines.pop() == ""
    return lines


def exactly(lines, count=None):
    """1, 2, 3 … without a gap or a double."""
    wanted = [f"{i:08d}" for i in range(1, len(lines) + 1)]
    if lines != wanted:
        jumps = [(a, b) for a, b in zip(["00000000", *lines], lines)
                 if not (a.isdigit() and b.isdigit() and int(a) + 1 == int(b))]
        raise AssertionError(f"{len(lines)} lines, which go on from one to another: {jumps[:8]}")
    if count is not None:
        assert len(lines) == count


@pytest.mark.quick
def test_output_is_complete_over_many_kills(hf):
    c = hf.start("--", hf.torture, "lines", "0", "200")
    service, init, keeper = c.service, c.init, c.keeper
    for n in range(scaled(20, 500)):
        old = eventually(lambda: c.shim)
        size = len(c.raw())
        kill(old, signal.SIGKILL)
        next_shim(c, old)
        eventually(lambda: len(c.raw()) > size, 10, f"output after kill {n + 1}")
    assert (c.service, c.init, c.keeper) == (service, init, keeper)
    c.kill("--signal", "TERM")
    c.wait_end()
    exactly(numbered(c.raw().decode()))
    exactly(numbered(c.logs()))


@pytest.mark.slow
def test_killed_at_once_again_and_again(hf):
    """Each shim is killed as soon as it exists: while it recovers."""
    c = hf.start("--", hf.torture, "lines", "0", "500")
    service = c.service
    old = c.shim
    for _ in range(scaled(15, 300)):
        kill(old, signal.SIGKILL)
        old = eventually(lambda: c.shim if c.shim not in (None, old) else None, 20)
    assert c.service == service
    size = len(c.raw())
    eventually(lambda: len(c.raw()) > size, 20, "output after the last kill")
    c.stop()
    exactly(numbered(c.raw().decode()))


def test_a_flood_is_complete_too(hf):
    count = 300000
    c = hf.start("--", hf.torture, "lines", str(count), "0", service=False)
    for _ in range(5):
        old = eventually(lambda: c.shim or c.ps() and "Exited" in c.ps())
        if not isinstance(old, int):
            break
        kill(old, signal.SIGKILL)
        eventually(lambda: c.shim != old, 10)
    assert c.wait_end(60) == 0
    exactly(numbered(c.raw().decode()), count)


@pytest.mark.quick
def test_every_verb_works_right_afterwards(hf):
    c = hf.start("--", hf.torture, "catch", "5")
    c.wait_line("ready")
    kill(c.shim, signal.SIGKILL)
    assert "Up" in c.ps()
    c.kill("--signal", "USR1")
    c.wait_line("got 10")
    kill(c.shim, signal.SIGKILL)
    c.stop()
    assert c.wait_end() == 5


def test_stopped_shim_is_replaced(hf):
    c = hf.start("--", hf.torture, "lines", "0", "1000")
    service, old = c.service, c.shim
    kill(old, signal.SIGSTOP)
    next_shim(c, old)
    eventually(lambda: not alive(old), 10, "the stopped shim is gone")
    size = len(c.raw())
    eventually(lambda: len(c.raw()) > size)
    assert c.service == service
    c.stop()
    exactly(numbered(c.raw().decode()))


def test_killed_during_a_stop(hf):
    """The grace time is init's: it runs on without the shim."""
    c = hf.start("--", hf.torture, "ignore")
    c.wait_line("ready")
    stop = hf.popen("stop", "--time", "1s", c.name)
    eventually(lambda: "Stopping" in (c.ps() or "") or stop.poll() is not None, 5)
    old = c.shim
    if old:
        kill(old, signal.SIGKILL)
    out, err = stop.communicate(timeout=20)
    assert stop.returncode == 0, (out, err)
    assert c.wait_end() == 137


def test_foreground_client_stays_attached(hf, tmp_path):
    name = hf.name()
    client = hf.popen("run", "--name", name, "-v", f"{tmp_path}:/v", "--", "/bin/sh", "-c",
                      f"{hf.torture} lines 2000 500; until test -e /v/go; do sleep 0.01; done; exit 7")
    from rig import Container
    c = Container(hf, name)
    for _ in range(3):
        old = eventually(lambda: c.shim)
        kill(old, signal.SIGKILL)
        next_shim(c, old)
    (tmp_path / "go").touch()
    out, err = client.communicate(timeout=30)
    assert client.returncode == 7, err
    exactly(numbered(out), 2000)


def test_exit_while_no_shim_lives_is_known(hf):
    c = hf.start("--", hf.torture, "catch", "23")
    c.wait_line("ready")
    kill(c.shim, signal.SIGSTOP)
    kill(c.service, signal.SIGTERM)
    assert c.wait_end() == 23


def test_restarts_go_on_and_are_counted(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place", "--",
                 hf.torture, "stamp")
    init = c.init
    eventually(lambda: len(c.lines()) == 1, 10, "the line of the first run")
    for n in range(scaled(10, 200)):
        service, old = c.service, c.shim
        kill(old, signal.SIGKILL)
        kill(service, signal.SIGKILL)
        c.wait_service(other_than=service)
        next_shim(c, old)
        eventually(lambda: len(c.lines()) == n + 2, 10, f"start {n + 2} in the log")
    assert c.init == init


def test_budget_survives_the_shim(hf):
    """A crash of the supervisor is no way around the crash budget."""
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-budget", "4/1h", "--",
                 hf.torture, "stamp")
    for n in range(4):
        eventually(lambda: len(c.lines()) == n + 1, 10, f"the line of run {n + 1}")
        service, old = c.service, c.shim
        kill(old, signal.SIGKILL)
        kill(service, signal.SIGKILL)
        c.wait_service(other_than=service)
        next_shim(c, old)
    eventually(lambda: len(c.lines()) == 5, 10, "the line of run 5")
    kill(c.service, signal.SIGKILL)
    assert c.wait_end() == 137
    assert len(c.lines()) == 5


def test_no_init_goes_on(hf):
    c = hf.start("--init", "none", "--", hf.torture, "lines", "0", "500", service=False)
    service = eventually(lambda: c.init)
    for _ in range(3):
        old = eventually(lambda: c.shim)
        size = len(c.raw())
        kill(old, signal.SIGKILL)
        next_shim(c, old)
        eventually(lambda: len(c.raw()) > size)
    assert c.init == service
    c.stop("--time", "200ms")
    exactly(numbered(c.raw().decode()))


@pytest.mark.release
def test_how_fast_it_is_back(hf, measured):
    c = hf.start("--", hf.torture, "stamp")
    times = []
    for _ in range(scaled(10, 100)):
        old = eventually(lambda: c.shim)
        start = time.monotonic()
        kill(old, signal.SIGKILL)
        hf.ok("ps", "-a")
        next_shim(c, old)
        times.append((time.monotonic() - start) * 1000)
    measured(f"shim killed {len(times)} times: a new one after {sorted(times)[len(times) // 2]:.1f}"
             " ms (median, seen from outside)")


def test_terminal_without_init_goes_on(hf):
    """What tells the shim that such a service runs is said once, to a shim that may be dead by now."""
    c = hf.start("-t", "--init", "none", "--", hf.torture, "lines", "0", "500",
                 service=False)
    eventually(lambda: c.raw())
    for _ in range(3):
        old, size = c.shim, len(c.raw())
        kill(old, signal.SIGKILL)
        next_shim(c, old)
        eventually(lambda: len(c.raw()) > size, 10, "output after the shim's death")
    c.stop("-t", "1")
    exactly(numbered(c.raw().decode().replace("\r", "")))


def test_a_crash_storm_without_pause(hf, tmp_path):
    """Runs that come faster than a new shim: pipes are reused, and still no line is lost."""
    (tmp_path / "n").write_text("0\n")
    script = "read n < /v/n; n=$((n + 1)); echo $n > /v/n; printf '%08d\\n' $n; exit 1"
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
                 "--volume", f"{tmp_path}:/v", "--", "/bin/sh", "-c", script, service=False)
    for _ in range(scaled(10, 200)):
        old = eventually(lambda: c.shim)
        time.sleep(0.02)  # lets the storm go on for a while
        kill(old, signal.SIGKILL)
        next_shim(c, old)
    c.stop(timeout=60)
    lines = numbered(c.raw().decode())
    exits = [r for r in journal.read(c.state_dir) if r.kind in (journal.EXITED, journal.EXIT_GAP)]
    # the last run may have been stopped before it said its number
    assert len(lines) > 20 and 0 <= sum(r.count() for r in exits) - len(lines) <= 1
    exactly(lines)


def test_a_signal_comes_once(hf):
    """The shim may die between having init send a signal and taking the request off the socket."""
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    rng = random.Random(20261125)
    for i in range(1, scaled(10, 300) + 1):
        asking = hf.popen("kill", "-s", "USR1", c.name)
        time.sleep(rng.random() * 0.006)  # anywhere in the life of the request
        old = c.shim
        if old:
            kill(old, signal.SIGKILL)
        _, err = asking.communicate(timeout=30)
        assert asking.returncode == 0, err
        eventually(lambda: c.lines().count("got 10") >= i, 10, f"signal {i}")
        assert c.lines().count("got 10") == i
    c.stop()


def test_many_signals_at_once_come_once_each(hf):
    """More than init remembers, while it can't answer and shims die: each asks what the one before has
    asked, and nothing new before."""
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    eventually(connected_to_none)
    alone = fd_count(c.shim)
    for n in range(1, scaled(3, 60) + 1):
        kill(c.init, signal.SIGSTOP)
        asking = [hf.popen("kill", "-s", "34", c.name) for _ in range(24)]  # the kernel counts these
        for _ in range(3):
            eventually(lambda: c.shim and fd_count(c.shim) >= alone + 24)
            old = c.shim
            kill(old, signal.SIGKILL)
            eventually(lambda: c.shim not in (None, old))
        kill(c.init, signal.SIGCONT)
        for _ in range(2):
            old = c.shim
            if old:
                kill(old, signal.SIGKILL)
            time.sleep(0.003)
        for tool in asking:
            _, err = tool.communicate(timeout=30)
            assert tool.returncode == 0, err
        eventually(lambda: c.lines().count("got 34") >= 24 * n, 10)
        time.sleep(0.05)  # should one more be on its way
        assert c.lines().count("got 34") == 24 * n
    c.stop()


def test_journal_of_a_dead_shim_is_acknowledged(hf):
    """Killed right after its last record: init waits for an acknowledgement that only a successor gives."""
    for _ in range(scaled(5, 100)):
        c = hf.start("--", "/bin/sh", "-c", "exit 3", service=False)
        old = c.shim
        if old:
            kill(old, signal.SIGKILL)
        assert c.wait_end() == 3
        c.rm()
