"""Live figures and live changes over the API: Stats, WatchStats, Pause, Resume, Update."""

import fcntl
import itertools
import json
import os
import random
import signal
import struct
import termios
import time

import pytest

import rig
from api import DATA, REMOTE_CLOSED, RESPONSE, Api, Refused, v1
from rig import cgroup_root, descriptors, eventually, kill, pidfd_getfd, read, scaled

MIB = 1 << 20


def frozen(c):
    root, _ = cgroup_root("unified")
    return "frozen 1" in (read(f"{root}/holdfast/local/{c.name}/cgroup.events") or "")


def memory_limit(c):
    where, v2 = c.cgroup("memory")
    return read(f"{where}/{'memory.max' if v2 else 'memory.limit_in_bytes'}").strip()


def pids_limit(c):
    return read(f"{c.cgroup('pids')[0]}/pids.max").strip()


def cpu_quota(c):
    where, v2 = c.cgroup("cpu")
    if v2:
        return read(f"{where}/cpu.max").split()[0]
    return (read(f"{where}/cpu.cfs_quota_us") or "").strip()


def limit(value):
    return v1.Limit(value=value)


NONE = v1.Limit(none=True)


def samples(api, **request):
    stream = api.begin("WatchStats", v1.WatchStatsRequest(**request), REMOTE_CLOSED)
    while True:
        _, kind, _, payload = api.frame_of(stream)
        assert kind == DATA
        yield v1.StatsResponse.FromString(payload)


@pytest.mark.quick
@pytest.mark.cgroup
def test_figures_are_the_kernel_s(hf):
    c = hf.start("-m", "64m", "--cpus", "0.2", "--pids-limit", "33", "--cpuset-cpus", "0",
                 "--", "/bin/sh", "-c", "while :; do :; done & while :; do :; done")
    with Api(c, "observe") as api:
        first = api.call("Stats", v1.StatsRequest())
        newest = [first]  # a small quota: whoever asks all the time needs the only CPU as well

        def throttled():
            newest[0] = api.call("Stats")
            return newest[0].cpu_throttled_periods > 0 and newest[0].pids_current > 2 and \
                newest[0].cpu_usage_usec > first.cpu_usage_usec and newest[0]
        s = eventually(throttled, 10, newest)
        assert s.boottime_usec > first.boottime_usec
        assert {"cpu", "memory", "pids"} <= set(s.available)
        assert s.memory_limit_bytes == 64 * MIB
        assert 0 < s.memory_current_bytes <= s.memory_peak_bytes < 64 * MIB
        assert (s.pids_current, s.pids_limit, s.cpu_limit_milli) == (3, 33, 200)
        if "pressure" in s.available:  # two who want one CPU: to be throttled is no stall on 6.18
            assert eventually(lambda: api.call("Stats").cpu_pressure.some_total_usec)
    c.stop("-t", "0")


@pytest.mark.latency
def test_a_stream_of_figures_over_dying_shims(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c, timeout=30) as api:
        seen = []
        for s in itertools.islice(samples(api, interval_usec=100000), scaled(12, 100)):
            seen.append(s.boottime_usec)
            if len(seen) % 4 == 0:
                before = c.shim
                kill(before, signal.SIGKILL)
                eventually(lambda: c.shim not in (None, before))
        gaps = [b - a for a, b in zip(seen, seen[1:])]
        assert min(gaps) > 50000, gaps
        assert sorted(gaps)[len(gaps) // 2] < 300000 * rig.SLOW, gaps
        for bad in (1, 99999, 3600000001):
            with pytest.raises(Refused) as e:
                api.call("WatchStats", v1.WatchStatsRequest(interval_usec=bad),
                         v1.StatsResponse)
            assert e.value.code == 3 and str(bad) in e.value.message
    c.stop("-t", "0")


def switches(pid):
    return sum(int(rig.status_field(pid, f"{kind}_ctxt_switches")) for kind in
               ("voluntary", "nonvoluntary"))


@pytest.mark.latency
def test_nobody_is_woken_when_nobody_watches(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        next(samples(api, interval_usec=100000))
    shim = c.shim
    seen = [switches(shim), time.monotonic()]

    def quiet():  # what a start and a watcher leave to do is soon over; then there is nothing
        now = switches(shim)
        if now != seen[0]:
            seen[:] = [now, time.monotonic()]
        return time.monotonic() - seen[1] > 1.5
    eventually(quiet, 15, "a second and a half in which nobody wakes up")
    c.stop("-t", "0")


def written_out(c):
    """No pipe of its output holds anything; the keeper holds a reader of each."""
    pidfd = os.pidfd_open(c.keeper)
    try:
        for fd, what in descriptors(c.keeper).items():
            if what.startswith("pipe:"):
                ours = pidfd_getfd(pidfd, fd)
                try:
                    if struct.unpack("=i", fcntl.ioctl(ours, termios.FIONREAD, bytes(4)))[0]:
                        return False
                finally:
                    os.close(ours)
    finally:
        os.close(pidfd)
    return True


@pytest.mark.quick
@pytest.mark.cgroup
def test_pause_and_resume(hf):
    c = hf.start("--", "/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
    c.wait_line("3")
    with Api(c) as api:
        api.call("Pause")
        assert frozen(c) and api.call("GetState").paused
        api.call("Pause")  # so it is already
        eventually(lambda: written_out(c))
        count = len(c.lines())
        assert "Paused" in c.ps() and ", paused" in c.holdfast.ok("inspect", c.name).stdout
        assert json.loads(c.holdfast.ok("inspect", "--json", c.name).stdout)[0]["state"]["paused"]
        for _ in range(scaled(3, 30)):
            before = c.shim
            kill(before, signal.SIGKILL)
            eventually(lambda: c.shim not in (None, before))
            assert api.call("GetState").paused and frozen(c)
        assert len(c.lines()) == count
        api.call("Resume")
        assert not frozen(c) and not api.call("GetState").paused
        eventually(lambda: len(c.lines()) > count)
        lines = c.lines()
        assert [int(x) for x in lines] == list(range(1, len(lines) + 1))
        kinds = [e.type for e in api.call("ListEvents").events]
        assert kinds.count(v1.EVENT_PAUSED) == 1 and kinds.count(v1.EVENT_RESUMED) == 1
        api.call("Resume")
    c.stop("-t", "0")


def ends(c, how):
    return {
        "stop": lambda: c.stop("-t", "5"),
        "kill": lambda: c.kill(),
        "term": lambda: c.kill("-s", "USR1"),
        "rm": lambda: c.rm("-f"),
        "restart": lambda: c.holdfast.ok("restart", "-t", "5", c.name),
    }[how]()


@pytest.mark.parametrize("how", ["stop", "kill", "term", "rm", "restart"])
def test_what_needs_an_answer_thaws_first(hf, how):
    c = hf.start("--restart", "no", "--restart-mode", "in-place", "--", hf.torture, "catch", "3")
    c.wait_line("ready")
    first = c.service
    with Api(c) as api:
        api.call("Pause")
    ends(c, how)
    if how == "term":
        c.wait_line("got 10")
        assert c.service == first
    elif how == "restart":
        c.wait_service(other_than=first)
        assert not frozen(c)
    elif how != "rm":
        assert c.wait_end() == (3 if how == "stop" else 137)


def test_pause_needs_something_that_runs(hf):
    c = hf.start("--restart", "always", "--restart-delay", "1h", "--restart-max-delay", "1h", "--", "/bin/sh",
                 "-c", "exit 1", service=False)
    with Api(c) as api:
        eventually(lambda: api.call("GetState").phase == v1.PHASE_RESTARTING)
        api.call("Pause")
        assert api.call("GetState").paused
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_update_is_live_and_lasts(hf):
    c = hf.start("-m", "64m", "--restart", "no", "--restart-mode", "fresh", "--", hf.torture,
                 "stamp")
    with Api(c) as api:
        api.call("Update", v1.UpdateRequest(memory_limit_bytes=limit(96 * MIB),
                                            pids_limit=limit(77), cpu_limit_milli=limit(700),
                                            restart="always"))
        for _ in range(2):
            assert (memory_limit(c), pids_limit(c), cpu_quota(c)) == (str(96 * MIB), "77", "70000")
            assert api.call("Stats").cpu_limit_milli == 700
            before = c.shim
            kill(before, signal.SIGKILL)
            eventually(lambda: c.shim not in (None, before))
        first = c.service
        kill(first, signal.SIGKILL)  # "no" would end it; "always" with "fresh" makes a new sandbox
        c.wait_service(other_than=first)
        assert (memory_limit(c), pids_limit(c), cpu_quota(c)) == (str(96 * MIB), "77", "70000")
        assert set(c.pids) <= {int(p) for p in read(f"{c.cgroup('cpu')[0]}/cgroup.procs").split()}
        api.call("Update", v1.UpdateRequest(memory_limit_bytes=NONE, pids_limit=NONE,
                                            cpu_limit_milli=NONE))
        s = api.call("Stats")
        assert (s.memory_limit_bytes, s.pids_limit, s.cpu_limit_milli) == (0, 0, 0)
        assert v1.EVENT_UPDATED in [e.type for e in api.call("ListEvents").events]
    c.stop("-t", "0")


def test_update_of_the_policy_while_paused(hf):
    """PID 1 can't answer: it is in force once it can."""
    c = hf.start("--restart", "always", "--restart-mode", "in-place", "--", hf.torture, "catch", "5")
    c.wait_line("ready")
    with Api(c) as api:
        api.call("Pause", v1.PauseRequest())
        api.call("Update", v1.UpdateRequest(restart="no"))
        api.call("Resume", v1.ResumeRequest())
        api.call("Kill", v1.KillRequest(signal=signal.SIGWINCH))  # which is answered behind it
        stream = api.begin("Wait", v1.WaitRequest())
        kill(c.service, signal.SIGKILL)
        e = v1.WaitResponse.FromString(api.response(stream).payload).exit
        assert e.signal == 9 and e.verdict == v1.VERDICT_STAY_DOWN


def test_update_of_the_policy_reaches_init(hf):
    c = hf.start("--restart", "always", "--restart-mode", "in-place", "--", hf.torture, "catch", "5")
    c.wait_line("ready")
    with Api(c) as api:
        api.call("Update", v1.UpdateRequest(restart="no"))
        stream = api.begin("Wait", v1.WaitRequest())
        kill(c.service, signal.SIGKILL)
        e = v1.WaitResponse.FromString(api.response(stream).payload).exit
        assert e.signal == 9 and e.verdict == v1.VERDICT_STAY_DOWN


def test_update_moves_everybody_into_a_new_group(hf):
    """A container without a CPU limit has no v1 group of it: one is made, while it forks."""
    c = hf.start("--", "/bin/sh", "-c", "while :; do sleep 0.01 & wait; done")
    with Api(c) as api:
        api.call("Update", v1.UpdateRequest(cpu_limit_milli=limit(300), cpu_weight=limit(50)))
        assert cpu_quota(c) == "30000"
        inside = {int(p) for p in read(f"{c.cgroup('cpu')[0]}/cgroup.procs").split()}
        assert {c.init, c.service} <= inside
    c.stop("-t", "0")


BAD = [
    (dict(memory_limit_bytes=limit(1)), 3, "memory"),
    (dict(memory_limit_bytes=limit(MIB)), 3, "in use"),
    (dict(cpu_limit_milli=limit(1)), 3, "cpus"),
    (dict(cpu_weight=limit(0)), 3, "cpu-weight"),
    (dict(cpu_weight=limit(10001)), 3, "10000"),
    (dict(pids_limit=limit(0)), 3, "pids-limit"),
    (dict(cpuset_cpus="0-99999"), 3, "cpuset-cpus"),
    (dict(cpuset_cpus="x"), 3, "cpuset-cpus"),
    (dict(restart="sometimes"), 3, "unless-stopped"),
    (dict(restart_delay_usec=limit(61 * 10**6)), 3, "restart-max-delay"),
    (dict(restart_delay_usec=NONE), 3, "restart-delay"),
    (dict(memory_swap_limit_bytes=limit(2 * MIB)), 3, "memory-swap"),
]


def test_update_is_all_or_nothing(hf):
    c = hf.start("-m", "64m", "--pids-limit", "50", "--", "/bin/sh", "-c",
                 "x=$(head -c 4000000 /dev/zero | tr '\\0' x); echo full; sleep 1000")
    c.wait_line("full")
    with Api(c) as api:
        for request, code, word in BAD:
            others = {"pids_limit": limit(20), "memory_limit_bytes": limit(48 * MIB), **request}
            with pytest.raises(Refused) as e:
                api.call("Update", v1.UpdateRequest(**others))
            assert e.value.code == code and word in e.value.message, (request, e.value)
            assert (memory_limit(c), pids_limit(c)) == (str(64 * MIB), "50"), request
        assert api.call("GetState").pid == c.service
        assert v1.EVENT_UPDATED not in [e.type for e in api.call("ListEvents").events]
    c.stop("-t", "0")


def test_changes_over_dying_shims(hf):
    """Whatever the moment of its death: what was asked is answered, and is so afterwards."""
    c = hf.start("--", hf.torture, "stamp")
    rng = random.Random(20261127)
    with Api(c, timeout=30) as api:
        for i in range(scaled(18, 600)):
            n = 100 + i
            asked, check = (
                (("Pause", v1.PauseRequest()), lambda: frozen(c)),
                (("Update", v1.UpdateRequest(pids_limit=limit(n), cpu_weight=limit(n))),
                 lambda: pids_limit(c) == str(n)),
                (("Resume", v1.ResumeRequest()), lambda: not frozen(c)),
            )[i % 3]
            stream = api.begin(*asked)
            time.sleep(rng.random() * 0.004)
            if c.shim:
                kill(c.shim, signal.SIGKILL)
            assert api.response(stream).status.code == 0, asked
            assert check(), asked
            assert api.call("GetState").paused is frozen(c)
    c.stop("-t", "0")


def test_changes_are_not_for_observers(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c, "observe") as api:
        for method in ("Pause", "Resume", "Update"):
            with pytest.raises(Refused) as e:
                api.call(method)
            assert e.value.code == 7
        assert api.call("Stats").memory_current_bytes
    c.stop("-t", "0")


# ---- the end

MUCH = 20 * MIB


def test_who_is_behind_at_the_end_has_it_all(hf):
    """The rest of what it follows, and the response that ends it."""
    c = hf.start("--", "/bin/sh", "-c",
                 f"trap go=1 USR1; echo ready; until [ $go ]; do sleep 0.02; done; head -c {MUCH} /dev/zero")
    c.wait_line("ready")
    with Api(c, timeout=30) as api, Api(c, timeout=30) as events:
        kill(c.service, signal.SIGUSR1)
        stream = api.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED)
        wait = api.begin("Wait", v1.WaitRequest())
        watched = events.watch()
        assert next(watched).sequence == 1
        eventually(lambda: "Exited" in c.ps(), 30)
        got, kind = 0, DATA
        while kind == DATA:
            _, kind, flags, payload = api.frame_of(stream)
            got += len(v1.LogsResponse.FromString(payload).data) if kind == DATA else 0
        assert (got, kind) == (len("ready\n") + MUCH, RESPONSE)
        assert api.response(wait).status.code == 0
        assert v1.EVENT_DOWN in [e.type for e in watched]
    eventually(lambda: not c.shim, 5, "its supervisors' end")


@pytest.mark.slow
def test_who_does_not_read_holds_up_the_end_for_a_while_only(hf):
    c = hf.start("--", "/bin/sh", "-c", f"head -c {MUCH} /dev/zero", service=False)
    with Api(c) as api:
        api.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED)
        eventually(lambda: "Exited" in c.ps(), 30)
        eventually(lambda: not c.shim, 15, "its supervisors' end")
