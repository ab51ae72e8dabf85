"""The container's group: limits as its files say and as they bite, kill and freeze. What exists in
cgroup v2 alone is skipped where the host has that controller on v1, by the name of the controller."""

import errno
import json
import os
import signal
import subprocess

import pytest

import journal
import launchrig
import rig
from rig import alive, eventually, kill, read

MIB = 1 << 20
INITS = pytest.mark.parametrize("init", [(), ("--init", "none")], ids=["init", "no-init"])


GATED = "until test -e /go; do sleep 0.01; done; exec /bin/torture {}"


def needs_v2(controller):
    if not rig.cgroup_root(controller)[1]:
        pytest.skip(f"the {controller} controller is not in the cgroup v2 tree")


def unified_root():
    return next((root for root, names in rig.cgroup_roots() if "unified" in names), None)


def counters(path):
    """A file of lines "key number"."""
    return {k: int(v) for k, v in (x.split() for x in read(path).splitlines())}


class Group:
    """A container's group, file by file."""

    def __init__(self, container):
        self.c = container

    def path(self, controller, v2_name, v1_name=None):
        group, v2 = self.c.cgroup(controller)
        return f"{group}/{v2_name if v2 else v1_name}"

    def text(self, controller, v2_name, v1_name=None):
        return read(self.path(controller, v2_name, v1_name)).strip()

    def unified(self, name):
        return f"{unified_root()}/holdfast/local/{self.c.name}/{name}"


def bundle(hf, rootfs, argv, **resources):
    where = os.path.join(hf.base, "bundle")
    os.makedirs(where, exist_ok=True)
    conf = launchrig.config(argv, root={"path": rootfs}, linux__resources=resources)
    with open(os.path.join(where, "config.json"), "w", encoding="utf-8") as f:
        json.dump(conf, f)
    return "--bundle", where


# ---- limits

@pytest.mark.quick
def test_limits_stand_in_the_files(hf):
    c = hf.start("--memory", "64M", "--cpus", "0.5", "--pids-limit", "33", "--", hf.torture, "stamp")
    g = Group(c)
    assert g.text("memory", "memory.max", "memory.limit_in_bytes") == str(64 * MIB)
    assert g.text("pids", "pids.max", "pids.max") == "33"
    quota, period = (g.text("cpu", "cpu.max").split() if c.cgroup("cpu")[1] else
                     (g.text("cpu", "", "cpu.cfs_quota_us"), g.text("cpu", "", "cpu.cfs_period_us")))
    assert int(quota) * 2 == int(period)


@pytest.mark.quick
def test_init_and_service_are_in_one_group_and_no_supervisor_is(hf):
    c = hf.start("--memory", "64M", "--pids-limit", "33", "--", hf.torture, "stamp")
    for controller in ("memory", "pids"):
        procs = set(map(int, Group(c).text(controller, "cgroup.procs", "cgroup.procs").split()))
        assert procs == {c.init, c.service}
    if unified_root():
        procs = set(map(int, read(Group(c).unified("cgroup.procs")).split()))
        assert procs == {c.init, c.service}


def test_every_resource_of_a_bundle(hf, rootfs):
    for controller in ("memory", "cpu", "cpuset", "pids"):
        needs_v2(controller)
    c = hf.start(*bundle(hf, rootfs, ["/bin/torture", "stamp"],
                         memory={"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
                         cpu={"shares": 1024, "quota": 20000, "period": 50000, "cpus": "0"},
                         pids={"limit": 44}, unified={"memory.high": str(48 * MIB)}))
    g = Group(c)
    assert g.text("memory", "memory.max") == str(64 * MIB)
    assert g.text("memory", "memory.swap.max") == str(32 * MIB)  # v2 counts swap alone
    assert g.text("memory", "memory.low") == str(32 * MIB)
    assert g.text("memory", "memory.high") == str(48 * MIB)
    assert g.text("cpu", "cpu.max") == "20000 50000"
    assert g.text("cpu", "cpu.weight") == "39"
    assert g.text("cpuset", "cpuset.cpus") == "0"
    assert g.text("pids", "pids.max") == "44"


def test_no_limit_is_no_limit(hf, rootfs):
    needs_v2("memory")
    c = hf.start(*bundle(hf, rootfs, ["/bin/torture", "stamp"], memory={"limit": -1, "swap": -1},
                         cpu={"quota": -1}, pids={"limit": -1}))
    g = Group(c)
    for controller, name in (("memory", "memory.max"), ("memory", "memory.swap.max"),
                             ("pids", "pids.max")):
        assert g.text(controller, name) == "max", name
    assert g.text("cpu", "cpu.max").split()[0] == "max"


def test_limits_of_later_runs(hf):
    """A restart in place stays in its group; a fresh one has it made again."""
    for mode in ("in-place", "fresh"):
        c = hf.start("--memory", "64M", "--pids-limit", "33", "--restart", "always",
                     "--restart-delay", "0", "--restart-mode", mode, "--", hf.torture, "stamp")
        eventually(lambda: len(c.lines()) == 1, 10, "the first run's line")
        old = c.service
        kill(old, signal.SIGKILL)
        c.wait_service(other_than=old)
        eventually(lambda: c.init and len(c.lines()) == 2, 15, "the second run")
        g = Group(c)
        assert g.text("memory", "memory.max", "memory.limit_in_bytes") == str(64 * MIB), mode
        assert g.text("pids", "pids.max", "pids.max") == "33", mode


def test_a_group_with_processes_above_is_refused_by_name(hf):
    """The rule of no internal processes: such a group can't pass controllers on."""
    needs_v2("memory")
    busy = f"{unified_root()}/holdfast-busy-{os.getpid()}"
    os.mkdir(busy)
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with open(f"{busy}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(sleeper.pid))
        path = f"/{os.path.basename(busy)}/inside"
        out = hf("run", "--name", "x", "--cgroup", path, "--memory", "64M", "--", "true")
        assert out.returncode == 125
        assert path in out.stderr and "memory controller" in out.stderr and "move" in out.stderr
        assert not os.path.exists(f"{busy}/inside") and not hf.containers()
    finally:
        sleeper.kill()
        sleeper.wait()
        eventually(lambda: not read(f"{busy}/cgroup.procs").strip())
        os.rmdir(busy)


# ---- that bite

@pytest.mark.quick
def test_pids_max(hf):
    c = hf.start("--pids-limit", "20", "--", hf.torture, "forks", "100")
    line = c.wait_line(r"^forked \d+ errno 11$")[0]
    assert int(line.split()[1]) == 18  # init and the service itself are counted, too
    assert counters(Group(c).path("pids", "pids.events", "pids.events"))["max"] >= 1


@pytest.mark.quick
def test_refused_forks_leave_nothing_behind(hf):
    """Runs that can't be begun because the group is full: when there is room the next one is as any other, and PID 1
    has the descriptors that it had, no more, no less, and sleeps."""
    c = hf.start("--pids-limit", "20", "--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
                 "--", hf.torture, "stamp")
    c.wait_line("")
    limit = Group(c).path("pids", "pids.max", "pids.max")
    rig.falls_asleep(c.init)
    before = rig.fd_count(c.init)

    def refused():
        """Exits without a start, for lack of a process."""
        return [r for r in journal.read(c.state_dir) if r.kind == journal.EXITED and r.errnum() == errno.EAGAIN]
    for _ in range(3):
        lines = len(c.lines())
        with open(limit, "w", encoding="utf-8") as f:
            f.write("1")
        kill(c.service, signal.SIGKILL)
        seen = len(refused())
        eventually(lambda: len(refused()) >= seen + 3, 10, "refused forks")
        with open(limit, "w", encoding="utf-8") as f:
            f.write("20")
        eventually(lambda: len(c.lines()) == lines + 1, 10, "the line of a run")
        rig.falls_asleep(c.init)
        assert rig.fd_count(c.init) == before
        assert {os.readlink(f"/proc/{c.service}/fd/{n}").split(":")[0] for n in (1, 2)} == {"pipe"}


@pytest.mark.quick
def test_cpu_max(hf):
    c = hf.start("--cpus", "0.1", "--", "/bin/sh", "-c", "while :; do :; done")
    stat = Group(c).path("cpu", "cpu.stat", "cpu.stat")
    eventually(lambda: counters(stat)["nr_throttled"] >= 5, 20, "five throttled periods")
    before, start = counters(stat), rig.now_usec()
    eventually(lambda: counters(stat)["nr_periods"] >= before["nr_periods"] + 10, 20)
    if "usage_usec" in before:
        used = counters(stat)["usage_usec"] - before["usage_usec"]
        assert used < (rig.now_usec() - start) * 0.3
    c.stop("-t", "1")


def test_memory_high_throttles_and_kills_nobody(hf, rootfs):
    needs_v2("memory")
    c = hf.start(*bundle(hf, rootfs, ["/bin/torture", "eat", "24"],
                         unified={"memory.high": str(16 * MIB)}))
    events = Group(c).path("memory", "memory.events")
    service = c.service
    eventually(lambda: counters(events)["high"] > 0, 20, "memory.high is passed")
    assert counters(events)["oom_kill"] == 0 and counters(events)["max"] == 0
    assert c.service == service and alive(service)
    c.stop("-t", "1")
    assert "OOM" not in c.ps()


# ---- out of memory

def oom_group(hf, rootfs, argv, value="1", *options):
    return hf.start(*options, *bundle(hf, rootfs, argv, memory={"limit": 32 * MIB},
                                      unified={"memory.oom.group": value}), service=False)


@pytest.mark.quick
def test_oom_group_with_init_is_inits_work(hf, rootfs):
    """The file stays 0, so PID 1 survives; the group's kill is its own, and the policy goes on."""
    needs_v2("memory")
    c = oom_group(hf, rootfs, ["/bin/sh", "-c", GATED.format("eat-child 256")], "1", "--restart", "always",
                  "--restart-delay", "0", "--restart-mode", "in-place", "--restart-budget", "2/1h")
    group = Group(c).path("memory", "")
    eventually(lambda: c.init)
    seen = {}

    def look():
        if os.path.exists(f"{group}/memory.oom.group"):
            seen.setdefault("flag", read(f"{group}/memory.oom.group"))
            seen["events"] = read(f"{group}/memory.events") or seen.get("events", "")
        return c.holdfast("ps", "-a").stdout.count("Exited")
    look()
    open(os.path.join(rootfs, "go"), "w", encoding="utf-8").close()
    eventually(look, 40, "the end of its budget")
    assert c.wait_end() == 137
    launched = [r.kind for r in journal.read(c.state_dir)].count(journal.LAUNCHED)
    assert launched == 1, "the last run was not under the first PID 1"
    assert seen["flag"] == "0\n" and "oom_group_kill 0" in seen["events"]
    # a service may still hear of its child's end, but in each run it goes with it
    assert c.lines().count("child") == 3
    assert "OOM" in c.ps()


def test_oom_group_and_policy_continue(hf, rootfs):
    """The option overrides the bundle, and says so."""
    needs_v2("memory")
    c = oom_group(hf, rootfs, ["/bin/torture", "eat-child", "256"], "1", "--oom-policy", "continue")
    service = eventually(lambda: c.service)
    c.wait_line("child signal 9", 20)
    assert c.service == service
    assert Group(c).text("memory", "memory.oom.group") == "0"


@pytest.mark.quick
@pytest.mark.parametrize("value", ["0", "1"])
def test_oom_group_without_init_is_the_kernels(hf, rootfs, value):
    needs_v2("memory")
    c = oom_group(hf, rootfs, ["/bin/sh", "-c", GATED.format("eat-child 256")], value, "--init", "none")
    group = eventually(lambda: os.path.exists(Group(c).path("memory", "memory.oom.group")) and
                       Group(c).path("memory", ""))
    assert read(f"{group}/memory.oom.group") == value + "\n"
    open(os.path.join(rootfs, "go"), "w", encoding="utf-8").close()
    if value == "1":
        assert c.wait_end() == 137
        assert c.lines() == ["child"] and "OOM" in c.ps()
    else:
        c.wait_line("child signal 9", 20)
        events = counters(f"{group}/memory.events")
        assert alive(c.init) and events["oom_kill"] == 1 and events["oom_group_kill"] == 0


# ---- kill and freeze

@pytest.mark.skipif(rig.LANE == "uml", reason="user-mode Linux panics in a fork storm")
@INITS
def test_a_fork_storm_is_killed_as_a_whole(hf, init):
    c = hf.start(*init, "--pids-limit", "100", "--", hf.torture, "storm", "20", service=False)
    c.wait_line("storm")
    hf.ok("kill", c.name)
    assert c.wait_end() == 137
    assert not c.pids


@INITS
def test_children_and_their_groups_go_too(hf, init):
    """Groups that somebody made below the container's own are killed and removed with it."""
    if not unified_root():
        pytest.skip("there is no cgroup v2 tree")
    c = hf.start(*init, "--", hf.torture, "daemons", "5", service=False)
    c.wait_line("daemons 5")
    below = Group(c).unified("below")
    os.mkdir(below)
    moved = [p for p in c.pids if p not in (c.init, c.service)][:3]
    assert len(moved) == 3
    if rig.cgroup_root("memory")[1]:  # controllers are passed on to no group that has processes
        with open(f"{below}/cgroup.type", "w", encoding="ascii") as f:
            f.write("threaded")
    for pid in moved:
        with open(f"{below}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid))
    hf.ok("rm", "-f", c.name)
    assert not os.path.exists(below) and not [p for p in moved if alive(p)]


def test_an_init_that_does_not_answer_is_killed_by_its_group(hf):
    c = hf.start("--", hf.torture, "ignore")
    init, service = c.init, c.service
    kill(init, signal.SIGSTOP)
    c.stop("-t", "30")
    assert not alive(init) and not alive(service)


def frozen(hf, *options):
    """A container whose group is frozen, from outside."""
    if not unified_root():
        pytest.skip("there is no cgroup v2 tree")
    c = hf.start(*options, "--", hf.torture, "stamp", service=False)
    eventually(lambda: c.init and c.lines(), 10, "its first line")
    group = Group(c)
    with open(group.unified("cgroup.freeze"), "w", encoding="ascii") as f:
        f.write("1")
    eventually(lambda: "frozen 1" in read(group.unified("cgroup.events")), 5, "frozen")
    return c


@pytest.mark.quick
@INITS
@pytest.mark.parametrize("how", [("stop", "-t", "2"), ("kill",), ("rm", "-f")],
                         ids=["stop", "kill", "rm"])
def test_a_frozen_container_can_be_ended(hf, init, how):
    c = frozen(hf, *init)
    members = list(c.pids)
    hf.ok(*how, c.name)
    eventually(lambda: not [p for p in members if alive(p)], 10, "the end of all")
    if how[0] != "rm":
        assert c.wait_end() == 137


def test_a_frozen_container_goes_on_when_thawed(hf):
    c = frozen(hf, "--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place")
    service = c.service
    kill(service, signal.SIGKILL)  # dies of it at once, and nobody can look after it
    eventually(lambda: not alive(service), 5)
    with open(Group(c).unified("cgroup.freeze"), "w", encoding="ascii") as f:
        f.write("0")
    c.wait_service(other_than=service)
    eventually(lambda: len(c.lines()) == 2, 10, "the second run")


# ---- what the tool says of the host

@pytest.mark.quick
def test_check_finds_the_controllers_where_they_are(hf):
    found = {row["item"]: row for row in json.loads(hf("check", "--json").stdout)}
    for controller in ("memory", "cpu", "pids", "cpuset"):
        root, v2 = rig.cgroup_root(controller)
        row = found[f"{controller} controller"]
        assert row["answer"] == ("yes" if root else "no")
        if root:
            assert row["found"] == f"{'v2' if v2 else 'v1'}, {root}"
    if unified_root():
        assert found["cgroup.kill"]["answer"] == "yes"
        assert found["start in a cgroup"]["answer"] == "yes"


def test_a_rule_slows_a_disk_down(hf):
    needs_v2("io")
    disk = "/dev/vda"  # of tests/vm/run; nothing is on it
    c = hf.start("--device", disk, "--rule",
                 "disk: io.pressure.some > 2% over 500ms: throttle(50%); cooldown 2s", "--", "/bin/sh", "-c",
                 f"while :; do dd if={disk} of=/dev/null bs=256k iflag=direct 2> /dev/null; done")
    group = Group(c)
    events = lambda: map(json.loads, hf.ok("events", "--json", c.name).stdout.splitlines())
    done = eventually(lambda: [e["rule"] for e in events() if e["type"] == "EVENT_RULE_DONE"], 20,
                      "the throttle")[0]
    assert done["result"].startswith("io.max ") and " rbps=" in done["result"], done
    number, read_rate = done["result"].split()[1:3]
    limits = group.text("io", "io.max")
    assert limits.startswith(number) and read_rate in limits and "max" not in limits.split()[1:3], limits
    before = group.text("io", "io.stat")
    for pid in c.pids:
        kill(pid, signal.SIGSTOP)  # nothing waits for the disk any more
    eventually(lambda: not group.text("io", "io.max"), 30, "the limit's end")
    assert number in before
    c.rm("-f")
