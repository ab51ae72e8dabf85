"""Limits and devices of `holdfast run`: each has an effect that the service or the host can see, and
a bad value is refused with nothing left behind."""

import json
import os
import stat

import pytest

from rig import alive, cgroup_root, cgroup_roots, eventually, read, status_field
from test_options import bundle_of


def value(container, controller, v1, v2):
    """First word of a limit's file."""
    group, is_v2 = container.cgroup(controller)
    return read(f"{group}/{v2 if is_v2 else v1}").split()[0]


def edit(bundle, change):
    path = os.path.join(bundle, "config.json")
    config = json.loads(read(path))
    change(config)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    return bundle


def refused(hf, *options, words, status=64):
    before = hf.containers(), hf.files()
    out = hf("run", "--name", hf.name(), *options, "--", "true")
    assert out.returncode == status, (options, out.returncode, out.stderr)
    for word in words:
        assert word in out.stderr, (word, out.stderr)
    assert not out.stdout and hf.containers() == before[0]
    # a directory that was made in vain has another name first, and then goes
    eventually(lambda: hf.files() == before[1], 10, f"what {options} has left")


# ---- memory ----

@pytest.mark.cgroup
def test_memory_high(hf):
    _, v2 = cgroup_root("memory")
    if not v2:
        pytest.skip("memory.high: this host's memory controller is not on cgroup v2")
    c = hf.start("--memory-high", "16M", "-m", "256M", "--", hf.torture, "eat", "64")
    group, _ = c.cgroup("memory")
    assert read(f"{group}/memory.high").strip() == str(16 << 20)

    def high():
        return int(dict(x.split() for x in read(f"{group}/memory.events").splitlines())["high"])
    assert eventually(high) > 0
    assert alive(c.service) and int(dict(
        x.split() for x in read(f"{group}/memory.events").splitlines())["oom_kill"]) == 0


def test_memory_high_on_v1_is_refused(hf):
    _, v2 = cgroup_root("memory")
    if v2:
        pytest.skip("memory.high: this host's memory controller is on cgroup v2")
    refused(hf, "--memory-high", "16M", status=125, words=["memory.high", "v2", "leave it out"])


def swap_of(container, limit):
    """Memory and swap together, as the group has it."""
    group, v2 = container.cgroup("memory")
    if not v2:
        return read(f"{group}/memory.memsw.limit_in_bytes", "").strip()
    swap = read(f"{group}/memory.swap.max", "").strip()
    return swap if swap == "max" else str(limit + int(swap))


@pytest.mark.cgroup
@pytest.mark.parametrize("options, want", [
    (("-m", "48M"), 48 << 20), (("-m", "48M", "--memory-swap", "48M"), 48 << 20),
    (("-m", "48M", "--memory-swap", "96M"), 96 << 20)])
def test_memory_swap(hf, options, want):
    c = hf.start(*options, "--", hf.torture, "stamp")
    assert swap_of(c, 48 << 20) == str(want)


@pytest.mark.cgroup
def test_memory_swap_without_a_limit(hf):
    c = hf.start("-m", "48M", "--memory-swap", "-1", "--", hf.torture, "stamp")
    swap = swap_of(c, 48 << 20)
    assert swap == "max" or int(swap) > 1 << 60
    assert value(c, "memory", "memory.limit_in_bytes", "memory.max") == str(48 << 20)


@pytest.mark.cgroup
def test_memory_reservation(hf):
    c = hf.start("--memory-reservation", "24M", "--", hf.torture, "stamp")
    assert value(c, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(24 << 20)


def test_memory_options_override_the_bundle(hf, rootfs):
    bundle = bundle_of(hf, rootfs, args=["/bin/torture", "stamp"])  # its limit is 64 MiB
    c = hf.start("--bundle", bundle, "--memory-swap", "80M", "--memory-reservation", "8M")
    assert swap_of(c, 64 << 20) == str(80 << 20)
    assert value(c, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(8 << 20)
    c.rm("-f")
    refused(hf, "--bundle", bundle, "--memory-swap", "32M",
            words=["--memory-swap", str(32 << 20), str(64 << 20), "raise it"])
    edit(bundle, lambda config: config["linux"]["resources"].pop("memory"))
    refused(hf, "--bundle", bundle, "--memory-swap", "32M", words=["--memory-swap", "--memory SIZE"])


# ---- CPU and I/O ----

@pytest.mark.cgroup
@pytest.mark.parametrize("weight, shares", [(1, 10), (100, 1024), (250, 2560), (10000, 102400)])
def test_cpu_weight(hf, weight, shares):
    c = hf.start("--cpu-weight", weight, "--", hf.torture, "stamp")
    _, v2 = c.cgroup("cpu")
    assert value(c, "cpu", "cpu.shares", "cpu.weight") == str(weight if v2 else shares)


def cpu_ticks(pid):
    return sum(map(int, read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:13]))


@pytest.mark.cgroup
def test_cpu_weight_idle(hf):
    c = hf.start("--cpu-weight", "idle", "--", hf.torture, "stamp")
    assert value(c, "cpu", "cpu.idle", "cpu.idle") == "1"
    hf.ok("update", "--cpu-weight", "50", c.name)  # a weight is a wish not to be idle
    assert value(c, "cpu", "cpu.idle", "cpu.idle") == "0"
    assert value(c, "cpu", "cpu.shares", "cpu.weight") in ("50", "512")


@pytest.mark.cgroup
def test_cpu_weight_decides_who_runs(hf):
    """Two that want the same CPU."""
    spin = ("--cpuset-cpus", "0", "--", "/bin/sh", "-c", "while :; do :; done")
    light = hf.start("--cpu-weight", "20", *spin).service
    heavy = hf.start("--cpu-weight", "2000", *spin).service
    before = cpu_ticks(light), cpu_ticks(heavy)

    def ran():
        return [cpu_ticks(pid) - n for pid, n in zip((light, heavy), before)]
    eventually(lambda: sum(ran()) >= 100, 30)
    low, high = ran()
    assert high > 10 * low, (low, high)


@pytest.mark.cgroup
def test_cpuset(hf):
    def allowed(*options):
        return hf.shell(*options, script="grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status | "
                        "cut -f2").split()
    everything = allowed()
    last = everything[0].replace("-", ",").split(",")[-1]
    assert allowed("--cpuset-cpus", last)[0] == last
    assert allowed("--cpuset-cpus", last, "--cpuset-mems", "0") == [last, "0"]
    assert allowed("--cpuset-mems", "0") == [everything[0], "0"]
    assert hf.shell("--cpuset-cpus", "0", script="nproc") == "1\n"


@pytest.mark.quick
@pytest.mark.cgroup
def test_its_output_is_moved_on_its_own_cpus(hf):
    everywhere = os.sched_getaffinity(0)

    def pump(c, cpus):
        """The thread's, and the rest of the shim is not bound."""
        eventually(lambda: c.shim and [os.sched_getaffinity(int(t)) for t in os.listdir(f"/proc/{c.shim}/task")
                                       if int(t) != c.shim] == [cpus])
        assert os.sched_getaffinity(c.shim) == everywhere
    c = hf.start("--cpuset-cpus", str(max(everywhere)), "--", hf.torture, "stamp")
    pump(c, {max(everywhere)})
    c.crash("shim")
    pump(c, {max(everywhere)})
    hf.ok("update", "--cpuset-cpus", str(min(everywhere)), c.name)
    pump(c, {min(everywhere)})
    c.stop()
    c = hf.start("--", hf.torture, "stamp")
    pump(c, everywhere)
    c.stop()
    c = hf.start("--init", "none", "--cpuset-cpus", str(max(everywhere)), "--", hf.torture, "stamp",
                 service=False)
    pump(c, {max(everywhere)})
    c.stop("-t", "0")  # a PID 1 that has not asked for TERM does not get it


@pytest.mark.cgroup
def test_cpuset_in_a_deep_group(hf):
    """On v1 each level of a new path has to be given CPUs before the next."""
    c = hf.start("--cgroup", f"/holdfast-test-{os.getpid()}/a/b", "--cpuset-cpus", "0", "--",
                 hf.torture, "stamp", service=False)
    root, _ = cgroup_root("cpuset")
    procs = f"{root}/holdfast-test-{os.getpid()}/a/b/cgroup.procs"
    pid = eventually(lambda: (read(procs) or "").split())[0]
    assert status_field(pid, "Cpus_allowed_list") == "0"
    c.stop()
    c.rm()
    for where, _ in cgroup_roots():
        for path in (f"{where}/holdfast-test-{os.getpid()}/a", f"{where}/holdfast-test-{os.getpid()}"):
            if os.path.isdir(path):
                os.rmdir(path)


def io_weights(container):
    """Every weight that the group has: file -> value."""
    root, v2 = cgroup_root("io")
    if not v2:
        root, _ = cgroup_root("blkio")
    group = f"{root}/holdfast/local/{container.name}"
    return {n: read(f"{group}/{n}").split()[-1] for n in os.listdir(group)
            if n in ("io.weight", "io.bfq.weight", "blkio.bfq.weight")}


@pytest.mark.cgroup
def test_io_weight(hf):
    probe = hf("run", "--rm", "--io-weight", "100", "--", "true")
    if probe.returncode == 125 and "BFQ" in probe.stderr:
        assert "io.weight" in probe.stderr and "leave the weight out" in probe.stderr
        assert hf.containers() == []
        pytest.skip("io.weight: neither I/O cost model nor BFQ in this kernel")
    for weight, bfq in ((1, 1), (100, 100), (1090, 190), (10000, 1000)):
        seen = io_weights(hf.start("--io-weight", weight, "--", hf.torture, "stamp"))
        assert seen
        for name, have in seen.items():
            assert have == str(bfq if "bfq" in name else weight), (weight, seen)


def test_weights_override_the_bundle(hf, rootfs):
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/torture", "stamp"]),
                  lambda c: c["linux"]["resources"].update(
                      cpu={"shares": 2}, unified={"cpu.weight": "7"}))
    c = hf.start("--bundle", bundle)
    _, v2 = c.cgroup("cpu")
    assert value(c, "cpu", "cpu.shares", "cpu.weight") == str(7 if v2 else 71)
    c = hf.start("--bundle", bundle, "--cpu-weight", "300")
    assert value(c, "cpu", "cpu.shares", "cpu.weight") == str(300 if v2 else 3072)


def test_io_weight_of_a_bundle(hf, rootfs):
    """OCI's own scale; a host that can't weigh is a warning there."""
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/torture", "stamp"]),
                  lambda c: c["linux"]["resources"].update(blockIO={"weight": 505}))
    c = hf.start("--bundle", bundle)
    for name, have in io_weights(c).items():
        assert have == ("505" if "bfq" in name else "5000"), name
    c.rm("-f")
    edit(bundle, lambda c: c["linux"]["resources"].update(blockIO={"weight": 5}))
    refused(hf, "--bundle", bundle, words=["blockIO.weight", "5 is not in 10..1000"])
    for weight in ("0", "x", "10001", 7):
        edit(bundle, lambda c: c["linux"]["resources"].update(
            blockIO={}, unified={"io.weight": weight}))
        refused(hf, "--bundle", bundle, words=["unified.io.weight"])


# ---- /dev ----

def a_device(*avoid):
    """A character device that no container has by itself, readable by root."""
    for name in ("fuse", "loop-control", "net/tun", "hwrng", "hpet", "kmsg", "rtc0"):
        path = f"/dev/{name}"
        if path not in avoid and os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode):
            return path
    raise AssertionError("no device to show")


def test_device(hf):
    path = a_device()
    st = os.stat(path)
    numbers = f"{os.major(st.st_rdev):x}:{os.minor(st.st_rdev):x}"
    look = "stat -c '%t:%T %a %u:%g' "
    want = f"{numbers} {st.st_mode & 0o777:o} {st.st_uid}:{st.st_gid}\n"
    assert hf.shell(script=f"[ -e {path} ] || echo none") == "none\n"
    assert hf.shell("--device", path, script=look + path) == want
    assert hf.shell("--device", f"{path}:/dev/our/own", script=look + "/dev/our/own") == want


def needs_idmapped_root():
    """The emulated machines' root is an overlay, which no kernel shows id-mapped."""
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[4] == "/" and right.startswith("overlay "):
            pytest.skip("overlay can't be shown id-mapped")


def test_device_in_a_user_namespace(hf):
    """Its owner is the same number inside, and it opens."""
    needs_idmapped_root()
    path = a_device()
    st = os.stat(path)
    assert hf.shell("--device", f"{path}:/dev/our/own", "--userns", "auto",
                    script="stat -c '%a %u:%g' /dev/our/own; : < /dev/our/own && echo open") == \
        f"{st.st_mode & 0o777:o} {st.st_uid}:{st.st_gid}\nopen\n"


def test_device_access(hf):
    """The node is there for everybody, what may be done is the rule's to say."""
    def may(access):
        return hf.shell("--device", f"/dev/fuse:/dev/f:{access}", script="(: < /dev/f) 2>/dev/null "
                        "&& echo r; (: >> /dev/f) 2>/dev/null && echo w; true").split()
    assert may("rwm") == may("rw") == ["r", "w"]
    assert may("r") == ["r"] and may("w") == ["w"] and may("m") == []
    assert hf.shell("--device", "/dev/fuse:r", script="(: >> /dev/fuse) 2>&1 || true").count(
        "not permitted") == 1


def test_device_that_was_not_given(hf):
    """CAP_MKNOD makes a node, not a way in."""
    path = a_device()
    st = os.stat(path)
    out = hf.shell("--cap-add", "MKNOD", script=f"mknod /tmp/d c {os.major(st.st_rdev)} "
                   f"{os.minor(st.st_rdev)}; (: < /tmp/d) 2>&1 || true")
    assert "ermi" in out or "denied" in out, out


def test_device_directory(hf):
    where = os.path.join(hf.base, "devices")
    os.makedirs(f"{where}/deep")
    st = os.stat(a_device())
    for name in ("one", "deep/two"):
        os.mknod(f"{where}/{name}", stat.S_IFCHR | 0o640, st.st_rdev)
    os.symlink("one", f"{where}/link")
    with open(f"{where}/file", "w", encoding="utf-8"):
        pass
    out = hf.shell("--device", f"{where}:/dev/all:r", script="find /dev/all -type c | sort; "
                   "find /dev/all ! -type c ! -type d")
    assert out.split() == ["/dev/all/deep/two", "/dev/all/one"]


def test_device_overrides_the_bundle(hf, rootfs):
    path = a_device()
    st = os.stat(path)
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/sh", "-c", "ls -l /dev/it; (: < /dev/it) && "
                                              "echo open"], user={"uid": 0, "gid": 0}),
                  lambda c: (c["linux"].update(devices=[
                      {"path": "/dev/it", "type": "c", "major": 1, "minor": 3}]),
                             c["linux"]["resources"].update(devices=[
                                 {"allow": False, "access": "rwm"}])))
    out = hf.run("--bundle", bundle, "--device", f"{path}:/dev/it")
    assert out.returncode == 0, out.stderr
    assert f"{os.major(st.st_rdev)}, {os.minor(st.st_rdev):3}" in out.stdout.replace(",  ", ", "), \
        out.stdout


def test_device_that_everybody_has(hf):
    assert hf.shell("--device", "/dev/null", script="echo x > /dev/null; ls /dev/null") == \
        "/dev/null\n"


def test_shm_size(hf):
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=3 2>/dev/null && echo fits || echo full"
    assert hf.shell(script=fill) == "fits\n"
    assert hf.shell("--shm-size", "2m", script=fill) == "full\n"
    assert hf.shell("--shm-size", "2m", script="df -k /dev/shm | tail -n1").split()[1] == "2048"
    assert hf.shell(script="df -k /dev/shm | tail -n1").split()[1] == "65536"


def test_shm_size_of_a_bundle(hf, rootfs):
    shm = {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
           "options": ["nosuid", "size=64m"]}
    bundle = bundle_of(hf, rootfs, args=["/bin/cat", "/proc/mounts"])

    def size():
        out = hf.run("--bundle", bundle, "--shm-size", "3m")
        assert out.returncode == 0, out.stderr
        lines = [x for x in out.stdout.splitlines() if " /dev/shm " in x]
        return len(lines) == 1 and "size=3072k" in lines[0]
    assert size()
    edit(bundle, lambda c: c["mounts"].append(shm))
    assert size()
    edit(bundle, lambda c: c["mounts"][-1].update(type="bind", source="/tmp", options=["bind"]))
    refused(hf, "--bundle", bundle, "--shm-size", "3m", words=["--shm-size", "tmpfs", "leave"])


# ---- what is refused ----

BAD = [
    (("--memory-high", "12Q"), "12Q", "512M"),
    (("--memory-high", "0"), "0", "64m"),
    (("--memory-swap", "64M"), "--memory-swap", "add --memory"),
    (("--memory-swap", "-1"), "--memory-swap", "add --memory"),
    (("-m", "64M", "--memory-swap", "32M"), "--memory-swap", "raise it"),
    (("-m", "64M", "--memory-swap", "-2"), "-2", "512M"),
    (("-m", "64M", "--memory-swap", "0"), '"0"', "64m"),
    (("-m", "64M", "--memory-reservation", "65M"), "--memory-reservation", "lower it"),
    (("--memory-reservation", "much"), "much", "512M"),
    (("--cpu-weight", "0"), '"0"', "1 to 10000"),
    (("--cpu-weight", "10001"), "10001", "1 to 10000"),
    (("--cpu-weight", "-5"), "-5", "1 to 10000"),
    (("--cpu-weight", "idel"), "idel", "or idle"),
    (("--io-weight", "1e3"), "1e3", "1 to 10000"),
    (("--cpuset-cpus", ""), '""', "0-3,7"),
    (("--cpuset-cpus", "0,"), "0,", "0-3,7"),
    (("--cpuset-cpus", "3-1"), "3-1", "0-3,7"),
    (("--cpuset-cpus", "0-8000"), "0-8000", "this host has"),
    (("--cpuset-cpus", "99999999999999999999"), "9999", "0-3,7"),
    (("--cpuset-mems", "77"), "memory node 77", "this host has 0"),
    (("--device", "fuse"), '"fuse"', "absolute"),
    (("--device", "/dev/no-such"), "/dev/no-such", "not there"),
    (("--device", "/etc/hostname"), "/etc/hostname", "below /dev"),
    (("--device", "/etc/passwd:/dev/x"), "/etc/passwd", "not a device"),
    (("--device", "/dev/zero:/x"), "/dev/zero:/x", "below /dev"),
    (("--device", "/dev/zero:/dev/../x"), "/dev/../x", "without .."),
    (("--device", "/dev/zero:/dev/null"), "/dev/null", "choose another"),
    (("--device", "/dev/zero:/dev/pts/9"), "/dev/pts/9", "choose another"),
    (("--device", "/dev/zero:/dev/x:rx"), "/dev/x:rx", "r, w and m"),
    (("--device", "/dev/zero:/dev/x:rwmr"), "rwmr", "r, w and m"),
    (("--device", "/dev/zero:/dev/x/"), "/dev/x/", "path"),
    (("--device", "/dev/zero:/dev/x:r:w"), "/dev/x:r:w", "HOST"),
    (("--device", "/etc:/dev/etc"), "/etc", "without a device"),
    (("--shm-size", "0"), '"0"', "64m"),
    (("--shm-size", "big"), "big", "512M"),
]


@pytest.mark.parametrize("options, shown, cure", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_values(hf, options, shown, cure):
    refused(hf, *options, words=[options[-2], shown, cure])
