"""A killed service is running again before anybody notices: how fast, and that nothing grows."""

import os
import re
import signal
import statistics
import subprocess
import time

import pytest

import journal
from rig import alive, descriptors, eventually, falls_asleep, fd_count, kill, now_usec, rss_kib, scaled
from test_adopt import bereave

MEDIAN_US, P99_US = 1000, 5000
BATCHES = 5
IN_PLACE = ("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place")


class Stamps:
    """Follows the stamps that the service writes: time and pid of each run's first instruction."""

    def __init__(self, path):
        self.path, self.seen = path, 0

    def next(self):
        """Looks only after a while: who has just killed needs a CPU to look, perhaps the one where the victim is to
        die, and the time of a start is in its stamp anyway."""
        def there():
            try:
                with open(self.path, "rb") as f:
                    lines = f.read().split(b"\n")[:-1]
            except FileNotFoundError:
                return None
            return lines if len(lines) > self.seen else None
        time.sleep(0.002)
        lines = eventually(there, 15, f"start number {self.seen + 1} in {self.path}")
        assert len(lines) == self.seen + 1, "more starts than deaths"
        self.seen += 1
        self.pid = int(lines[-1].split()[1])
        return int(lines[-1].split()[0])


def stamps_of(container):
    return Stamps(f"{container.log_dir}/stdout-{0:020d}.raw")


def bare(hf, count, gap):
    """The same with a supervisor that does nothing but to start it again, and no sandbox: the host's own time."""
    out, times = os.path.join(hf.base, "again"), []
    p = subprocess.Popen([os.path.join(os.path.dirname(hf.base), "again"), hf.stamp, out])
    stamps = Stamps(out)
    try:
        stamps.next()
        for _ in range(count):
            time.sleep(gap)
            before = now_usec()
            os.kill(stamps.pid, signal.SIGKILL)
            times.append(stamps.next() - before)
    finally:
        p.kill()
        p.wait()
        kill(stamps.pid, signal.SIGKILL)
        os.unlink(out)
    return statistics.median(times)


def sample(container):
    """What must not grow."""
    family = [container.init, container.keeper, container.shim]
    return family, [fd_count(p) for p in family], [rss_kib(p) for p in family]


def watches(shim):
    return any(what.startswith("/sys/fs/cgroup/") for what in descriptors(shim).values())


def child_of(init):
    """The one child of PID 1, from the host."""
    with open(f"/proc/{init}/task/{init}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def kills(container, stamps, count, gap):
    """Kills the service count times; microseconds from each kill to the next first instruction."""
    init = container.init
    times, early = [], None
    for n in range(count):
        if gap:
            time.sleep(gap)
        service = eventually(lambda: child_of(init), 5, "a child of PID 1")
        assert len(service) == 1, service
        before = now_usec()
        os.kill(service[0], signal.SIGKILL)
        times.append(stamps.next() - before)
        if n == count // 5:
            early = sample(container)
    return times, early


def stolen():
    """CPU seconds that this machine's own host has taken away so far."""
    with open("/proc/stat", encoding="ascii") as f:
        return int(f.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def figures(times):
    ordered = sorted(times)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


@pytest.mark.release
@pytest.mark.parametrize("ci,gap,label", [(200, 0, "back to back"), (40, 0.1, "100 ms apart")],
                         ids=["hot", "cold"])
def test_latency_and_growth(hf, measured, ci, gap, label):
    """The bars are the product's. A machine whose host takes CPU time away, or is slow to wake up, measures its
    host: so up to five batches, one of which must meet both bars, each printed with what was stolen meanwhile and,
    when it was missed, with what the barest supervisor takes."""
    c = hf.start(*IN_PLACE, "--", hf.stamp)
    count = scaled(ci, 1000)
    eventually(lambda: watches(c.shim), 10, "descriptors of the cgroup, opened a while after a start")
    falls_asleep(c.shim)  # then it has opened all that it will
    family, stamps = (c.init, c.keeper, c.shim), stamps_of(c)
    stamps.next()
    for batch in range(BATCHES):
        before = stolen()
        times, early = kills(c, stamps, count, gap)
        median, p99 = figures(times)
        measured(f"restart in place, {count} kills {label}: median {median:.0f} us, p99 {p99:.0f} us, "
                 f"max {max(times):.0f} us (stolen from this machine meanwhile: "
                 f"{stolen() - before:.2f} s)")
        if median <= MEDIAN_US and p99 <= P99_US:
            break
        measured(f"the barest supervisor, {count} kills {label}: median {bare(hf, count, gap):.0f} us")
    assert median <= MEDIAN_US and p99 <= P99_US, f"missed in each of {batch + 1} batches"
    assert (c.init, c.keeper, c.shim) == family
    assert eventually(lambda: c.zombies() == [], 5)
    eventually(lambda: sample(c)[1] == early[1], 5, f"descriptors as before: {early[1]}")
    rss = sample(c)[2]
    growth = [late - was for late, was in zip(rss, early[2])]
    measured(f"growth of RSS over {count - count // 5} restarts: init {growth[0]} kB, "
             f"keeper {growth[1]} kB, shim {growth[2]} kB")
    assert growth[0] <= 4 and growth[1] <= 4 and growth[2] <= 256


@pytest.mark.quick
def test_up_again_after_each_kill(hf):
    c = hf.start(*IN_PLACE, "--", hf.torture, "stamp")
    init = c.init
    count = scaled(20, 1000)
    stamps = stamps_of(c)
    stamps.next()
    kills(c, stamps, count, 0)
    assert c.init == init
    assert eventually(lambda: c.zombies() == [], 5)
    assert len(c.lines()) == count + 1


@pytest.mark.quick
def test_back_to_back_without_waiting_for_the_log(hf):
    """The next kill comes as soon as there is a process to kill."""
    c = hf.start(*IN_PLACE, "--", hf.torture, "stamp")
    init, service = c.init, c.service
    for _ in range(scaled(50, 1000)):
        kill(service, signal.SIGKILL)
        old = service
        service = eventually(lambda: next((p for p in child_of(init) if p != old), None), 10)
    eventually(lambda: alive(service) and c.service == service)
    assert c.init == init


def test_fresh_mode_makes_a_new_sandbox(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "fresh", "--",
                 hf.torture, "stamp")
    for n in range(1, 4):
        eventually(lambda: len(c.lines()) == n, 10, f"the line of run {n}")
        init, service = c.init, c.service
        kill(service, signal.SIGKILL)
        eventually(lambda: c.init not in (None, init) and c.service not in (None, service), 15,
                   "a fresh PID 1")
    eventually(lambda: len(c.lines()) == 4, 10, "the line of run 4")


@pytest.mark.parametrize("mode", ["auto", "in-place"])
def test_leftovers_of_a_run_die_with_it(hf, mode):
    """Daemons that a run left behind are gone before the next one starts."""
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", mode, "--",
                 hf.torture, "daemons", "20")
    c.wait_line("daemons 20")
    before = set(c.pids)
    assert len(before) >= 22
    kill(c.service, signal.SIGKILL)
    eventually(lambda: len(c.lines()) == 2, 10, "the second run")
    assert not {p for p in before if alive(p)} - {c.init}


def test_leaked_shared_memory_is_gone_in_the_next_run(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", "/bin/sh", "-c",
                 f"wc -l < /proc/sysvipc/shm; ls /dev/shm | wc -l; {hf.torture} leak 0; exec "
                 f"{hf.torture} stamp")
    c.wait_line("leaked 1 1 1")
    eventually(lambda: c.service and len(c.lines()) == 4)
    kill(c.service, signal.SIGKILL)
    eventually(lambda: len(c.lines()) == 8, 15, "the second run")
    assert c.lines()[:2] == ["1", "0"]
    assert c.lines()[4:6] == ["1", "0"], "the second run found what the first one left"


def test_killed_init_is_a_fresh_start(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    init, keeper = c.init, c.keeper
    kill(init, signal.SIGKILL)
    eventually(lambda: c.init not in (None, init) and c.service, 15, "a new PID 1")
    assert c.keeper == keeper


def test_orphans_are_reaped(hf):
    c = hf.start("--", hf.torture, "zombies", "200")
    c.wait_line("orphans 200")
    eventually(lambda: len(c.pids) == 2, 5, "nothing but init and service")
    assert eventually(lambda: c.zombies() == [], 5)


@pytest.mark.parametrize("who", ["shim", "both"])
def test_a_wait_without_its_init_is_not_the_end(hf, who):
    """It was to go on in place; PID 1 dies meanwhile, and then who supervises it."""
    c = hf.start("--restart", "always", "--restart-mode", "in-place", "--restart-delay", "300s",
                 "--restart-max-delay", "300s", "--", hf.torture, "stamp")

    def exited():
        return [r.run for r in journal.read(c.state_dir) if r.kind == journal.EXITED]
    first = c.service
    kill(first, signal.SIGKILL)  # the first restart in a row comes at once
    kill(c.wait_service(other_than=first), signal.SIGKILL)
    eventually(lambda: exited() == [1, 2])
    assert re.search(r"exited run 2: .*next run in place after", hf.ok("events", c.name).stdout)
    kill(c.init, signal.SIGKILL)
    eventually(lambda: not os.path.exists(c.cgroup("pids")[0]), what="its group to go")
    if who == "shim":
        c.crash("shim")
    else:
        bereave(c)
        c.answers()
    assert "Restarting" in c.ps()
    hf.ok("restart", c.name)
    c.wait_service()
    eventually(lambda: "Up" in c.ps(), what="it to be up")
    kill(c.service, signal.SIGKILL)
    eventually(lambda: exited() == [1, 2, 3])
    c.rm("-f")
