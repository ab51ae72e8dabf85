"""The launch program by itself: what the inside of a sandbox is, and that failures leave nothing."""

import array
import fcntl
import os
import re
import select
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import termios

import pytest

import initrig
import launchrig as lr
import rig

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@pytest.fixture
def base(place, tmp_path_factory):
    where = os.path.join(place, "launch")
    shutil.rmtree(where, ignore_errors=True)
    os.makedirs(where)
    lr.busybox_rootfs(where)
    yield where
    shutil.rmtree(where, ignore_errors=True)


def sh(script, **changes):
    return lr.config(["sh", "-c", script], **changes)


def userns(conf):
    conf["linux"]["namespaces"].append({"type": "user"})
    conf["linux"]["uidMappings"] = conf["linux"]["gidMappings"] = IDS
    return conf


def good(base, conf, **kw):
    with lr.Launch(base, conf, **kw) as l:
        assert l.outcome == lr.OK, (l.result, l.log())
        status, out, err = l.run()
        return status, out, err, l


# ---- what every sandbox is ----

@pytest.mark.quick
def test_namespaces_are_new_and_host_name_is_ours(base):
    with lr.Launch(base, sh("hostname; sleep 60")) as l:
        l.start()
        for kind in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
            assert l.ns(kind) != os.readlink(f"/proc/self/ns/{kind}"), kind
        assert l.ns("user") == os.readlink("/proc/self/ns/user")
        assert os.read(l.output[1], 64) == b"inside\n"
        assert rig.status_field(l.init, "NSpid").split()[-1] == "1"
        assert rig.status_field(l.init, "PPid") == str(os.getpid())


@pytest.mark.quick
def test_exit_status_and_output_come_back(base):
    status, out, err, _ = good(base, sh("echo out; echo err >&2; exit 7"))
    assert (status, out, err) == (7, "out\n", "err\n")


def test_service_has_exactly_its_capabilities(base):
    _, out, _, _ = good(base, sh("cat /proc/self/status"))
    caps = dict(re.findall(r"Cap(\w+):\s*(\w+)", out))
    mask = f"{lr.SEVEN_MASK:016x}"
    assert caps == {"Inh": "0" * 16, "Amb": "0" * 16, "Prm": mask, "Eff": mask, "Bnd": mask}
    assert re.search(r"NoNewPrivs:\s*1", out) and re.search(r"Seccomp:\s*2", out)


def test_init_has_four_capabilities_more_and_no_foreign_descriptor(base):
    with lr.Launch(base, sh("sleep 60")) as l:
        l.start()
        # SETUID, SETGID, SETPCAP, KILL; the service's seven already have all but SETPCAP
        assert int(rig.status_field(l.init, "CapBnd"), 16) == lr.SEVEN_MASK | 1 << 8
        for fd, where in rig.descriptors(l.init).items():
            assert not where.startswith(("/tmp", "/var", "/run", os.environ["HOLDFAST_STAGE"])), (fd, where)
        assert l.proc("environ", "") in ("", "HOLDFAST_INIT=1\0")


def test_service_sees_no_descriptor_but_its_stdio(base):
    _, out, _, _ = good(base, sh("ls /proc/self/fd"))
    assert out.split() == ["0", "1", "2", "3"]  # 3: ls itself


def test_user_with_groups_and_umask(base):
    conf = sh("id; grep Cap /proc/self/status; umask; touch /tmp/x || echo denied",
              process__user={"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o77})
    _, out, _, _ = good(base, conf)
    assert "uid=1000 gid=1001 groups=1001,5,6" in out.replace("groups=5,6", "groups=1001,5,6")
    assert "CapEff:\t0000000000000000" in out and "0077" in out and "denied" in out


def test_mounts_are_as_wished(base):
    os.makedirs(os.path.join(base, "vol/sub"))
    with open(os.path.join(base, "vol/file"), "w") as f:
        f.write("from outside")
    conf = sh("cat /data/file; touch /data/no 2>/dev/null || echo ro; sleep 60", mounts=[
        {"destination": "/data", "type": "bind", "source": f"{base}/vol", "options": ["rbind", "ro"]},
        {"destination": "/rw", "type": "bind", "source": f"{base}/vol", "options": ["bind"]},
        {"destination": "/etc/one", "type": "bind", "source": f"{base}/vol/file",
         "options": ["bind", "ro"]},
        {"destination": "/scratch/deep", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=1m", "mode=0700", "nosuid", "noexec"]}])
    with lr.Launch(base, conf) as l:
        l.start()
        m = l.mountinfo()
        rig.eventually(lambda: select.select([l.output[1]], [], [], 0)[0])
        assert os.read(l.output[1], 100).decode().startswith("from outside")
        assert {"ro", "nodev"} <= m["/data"][0] and "rw" in m["/rw"][0] and "ro" in m["/etc/one"][0]
        assert m["/scratch/deep"][1] == "tmpfs" and {"nosuid", "noexec"} <= m["/scratch/deep"][0]
        assert "size=1024k" in m["/scratch/deep"][2]
        assert m["/dev"][1] == "tmpfs" and m["/dev/pts"][1] == "devpts" and m["/proc"][1] == "proc"
        assert m["/sys"][1] == "sysfs" and "ro" in m["/sys"][0]
        for path in ("/proc/sys", "/proc/irq", "/proc/bus"):
            assert "ro" in m[path][0], path
        assert not any(o.startswith(("shared", "master")) for v in m.values() for o in v[3])


def test_masked_and_readonly_paths(base):
    conf = sh("cat /proc/keys | wc -c; ls -A /proc/acpi /sys/firmware; echo 1 > "
              "/proc/sys/net/ipv4/ip_forward || echo ro; echo x > /proc/keys; cat /etc/secret")
    conf["linux"]["maskedPaths"] = ["/proc/keys", "/proc/acpi", "/sys/firmware", "/etc/secret",
                                    "/no/such"]
    with open(os.path.join(base, "rootfs/etc/secret"), "w") as f:
        f.write("secret")
    _, out, _, _ = good(base, conf)
    assert out.split()[0] == "0" and "ro" in out and "secret" not in out


def test_readonly_root(base):
    _, out, _, _ = good(base, sh("touch /x || echo ro; touch /dev/shm/x && echo shm",
                                 root={"path": "rootfs", "readonly": True}))
    assert out == "ro\nshm\n" and not os.path.exists(f"{base}/rootfs/x")


def test_default_filter(base):
    conf = sh("unshare -n true; mkdir /m; mount -t tmpfs none /m; echo done")
    os.symlink("busybox", f"{base}/rootfs/bin/unshare")
    status, out, err, l = good(base, conf)
    assert out == "done\n" and "not permitted" in err and "permission denied" in err


WIDE = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
def call(nr, *args):
    ctypes.set_errno(0)
    r = c.syscall(ctypes.c_long(nr), *[ctypes.c_ulong(a & (1 << 64) - 1) for a in args])
    print(ctypes.get_errno() if r < 0 else "ok")
high = 1 << 32
call(41, 1, 1, 0)              # socket: unix
call(41, 38, 5, 0)             # AF_ALG
call(41, 38 | high, 5, 0)
call(41, 40 | high << 31, 1, 0)  # AF_VSOCK
call(16, 0, 0x5412 | high, 0)  # ioctl TIOCSTI
call(16, 0, 0x541c, 0)         # TIOCLINUX
call(157, 35, 1, 0, 0, 0)      # prctl PR_SET_MM
call(435, 0, 0)                # clone3
call(1000)                     # newer than the table
call(56, 0x10000000 | 17, 0, 0, 0, 0)  # clone(CLONE_NEWUSER)
call(425, 1, 0)                # io_uring_setup
call(39)                       # getpid
"""


def test_default_filter_compares_what_the_kernel_looks_at(base):
    conf = lr.config(["/usr/bin/python3", "-c", WIDE], root={"path": "/"})
    _, out, err, _ = good(base, conf, flags=lr.HOST_ROOT | lr.DEFAULT_SECCOMP)
    assert out.split() == ["ok"] + ["1"] * 6 + ["38", "38", "1", "1", "ok"], (out, err)


def test_filter_of_the_config(base):
    conf = sh("mkdir /m 2>&1; echo end", linux__seccomp={
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO",
                      "errnoRet": 28}]})
    _, out, _, _ = good(base, conf)
    assert "No space left" in out and "end" in out


def test_sysctl_rlimits_and_oom_score(base):
    conf = sh("cat /proc/sys/kernel/shmmax; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")
    conf["linux"]["sysctl"] = {"kernel.shmmax": "65536", "net.ipv4.ip_forward": "1"}
    conf["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111}]
    conf["process"]["oomScoreAdj"] = 321
    before = rig.read("/proc/sys/kernel/shmmax")
    _, out, _, _ = good(base, conf)
    assert out.split() == ["65536", "99", "111", "321"]
    assert rig.read("/proc/sys/kernel/shmmax") == before


def test_low_limits_are_the_services_not_inits(base):
    conf = sh("ulimit -Hf; ulimit -Hn; ulimit -Ht; sleep 60")
    conf["process"]["rlimits"] = [{"type": f"RLIMIT_{n}", "soft": v, "hard": v} for n, v in
                                  (("FSIZE", 0), ("NOFILE", 10), ("CPU", 1))]
    with lr.Launch(base, conf) as l:
        l.start()
        ours, inits = (dict(re.findall(r"^(Max .*?)  +(.*)", t, re.M)) for t in
                       (rig.read("/proc/self/limits"), l.proc("limits")))
        assert ours == inits
        rig.eventually(lambda: select.select([l.output[1]], [], [], 0)[0])
        assert os.read(l.output[1], 100).split()[0] == b"0"
        service = rig.read(f"/proc/{l.service}/limits")
        for name, value in (("file size", 0), ("open files", 10), ("cpu time", 1)):
            assert re.search(rf"Max {name} +{value} +{value} ", service), service


def test_limit_above_the_hosts_is_a_warning(base):
    conf = sh("ulimit -Hn")
    conf["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 1 << 40}]
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK and l.warnings == 1 and "rlimit" in l.text, l.result
        assert l.run()[0] == 0


def test_capability_that_the_host_lacks_is_a_warning(base):
    lacking = [n for n in range(41) if not initrig.own_caps() >> n & 1]
    if 24 not in lacking:
        pytest.skip("this host's root has CAP_SYS_RESOURCE")
    conf = sh("grep CapBnd /proc/self/status")
    for k in ("bounding", "permitted", "effective"):
        conf["process"]["capabilities"][k].append("CAP_SYS_RESOURCE")
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK and "cap_sys_resource" in l.text, l.result
        assert f"{lr.SEVEN_MASK:016x}" in l.run()[1]


# ---- cgroups ----

def test_limits_are_set_and_the_process_is_in(base):
    conf = sh("sleep 60")
    conf["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 33},
                                  "cpu": {"quota": 50000, "period": 100000}}
    with lr.Launch(base, conf) as l:
        l.start()
        for controller, v1, v2, want in (
                ("memory", "memory.limit_in_bytes", "memory.max", str(64 << 20)),
                ("pids", "pids.max", "pids.max", "33"),
                ("cpu", "cpu.cfs_quota_us", "cpu.max", "50000")):
            root, is_v2 = rig.cgroup_root(controller)
            group = root + l.cgroup
            assert rig.read(f"{group}/{v2 if is_v2 else v1}").split()[0] == want
            assert str(l.init) in rig.read(f"{group}/cgroup.procs").split(), controller
        for root, names in rig.cgroup_roots():
            if "unified" in names:
                assert str(l.init) in rig.read(f"{root}{l.cgroup}/cgroup.procs").split()
        fds = rig.descriptors(l.init)
        assert initrig.FD_MEM in fds and initrig.FD_PIDS in fds and initrig.FD_PROC in fds


def test_group_in_use_is_refused_by_name(base):
    with lr.Launch(base, sh("sleep 60"), name="a") as first:
        first.start()
        with lr.Launch(base, sh("true"), name="b", cgroup=first.cgroup) as l:
            assert (l.outcome, l.step) == (lr.FAILED, "cgroup")
            assert str(first.init) in l.text and first.cgroup in l.text
            l.cgroup = "/holdfast/test/none"


def test_group_view_is_readonly_and_own(base):
    conf = sh("ls /sys/fs/cgroup; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/memory/x "
              "/sys/fs/cgroup/x || echo ro", mounts=[
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}])
    status, out, err, l = good(base, conf)
    assert "ro" in out.split() and l.cgroup not in out


def test_device_rules(base):
    conf = sh("mknod /tmp/mem c 1 1; cat /tmp/mem; mknod /tmp/z c 1 5 && echo made; echo $?")
    for k in ("bounding", "permitted", "effective"):
        conf["process"]["capabilities"][k].append("CAP_MKNOD")
    _, out, err, _ = good(base, conf)
    assert "can't open '/tmp/mem'" in err, (out, err)


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("error", ["EINVAL", "EPERM"])
def test_device_rules_do_not_fail_open(base, error):
    """A kernel that takes no program: the v1 controller, or no start with CAP_MKNOD."""
    conf = sh("mknod /tmp/mem c 1 1; cat /tmp/mem; echo x > /dev/null && echo null")
    for k in ("bounding", "permitted", "effective"):
        conf["process"]["capabilities"][k].append("CAP_MKNOD")
    strace = [shutil.which("strace"), "-qq", "-o", "/dev/null", "-D", "-e",
              f"inject=bpf:error={error}"]
    with lr.Launch(base, conf, prefix=strace) as l:
        if any("devices" in names for _, names in rig.cgroup_roots()):
            assert l.outcome == lr.OK and l.warnings == 0, l.result
            _, out, err = l.run()
            assert "can't open '/tmp/mem'" in err and out == "null\n", (out, err)
        else:
            assert (l.outcome, l.step) == (lr.FAILED, "device-rules") and "CAP_MKNOD" in l.text


def test_blanket_device_rule(base):
    conf = sh("mknod /tmp/mem c 1 1; cat < /tmp/mem | true; echo $?; : < /tmp/mem && echo open",
              linux__resources={"devices": [{"allow": False, "access": "rwm"},
                                            {"allow": True, "type": "a"}]})
    for k in ("bounding", "permitted", "effective"):
        conf["process"]["capabilities"][k] += ["CAP_MKNOD", "CAP_SYS_RAWIO"]
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK, l.result  # the verifier takes it
        l.run()


def test_device_nodes_stay_in_our_dev(base):
    conf = sh("ls -l /dev/a/b/null; echo x > /dev/a/b/null && echo written", linux__devices=[
        {"path": "/dev/a/b/null", "type": "c", "major": 1, "minor": 3}])
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK and "written" in l.run()[1]
    for path in ("/dev/null/x", "/dev/a/../../x"):
        conf["linux"]["devices"] = [{"path": path, "type": "c", "major": 1, "minor": 3}]
        with lr.Launch(base, conf) as l:
            assert l.outcome != lr.OK and not l.fds, l.result


# ---- user namespace ----

def can_idmap(path):
    """The emulated machines' root is an overlay, which no kernel shows id-mapped."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split() for line in f]
    return max((m[4].rstrip("/") + "/", m[m.index("-") + 1]) for m in mounts
               if (path + "/").startswith(m[4].rstrip("/") + "/"))[1] != "overlay"


def needs_idmap(path):
    if not can_idmap(path):
        pytest.skip("overlay can't be shown id-mapped")


def test_userns_with_idmapped_rootfs(base):
    needs_idmap(base)
    conf = userns(sh("id -u; stat -c %u /bin; touch /tmp/mine; stat -c %u /tmp/mine; cat "
                     "/proc/self/uid_map; echo x > /dev/null && echo null; mount | grep sysfs"))
    with lr.Launch(base, conf, flags=lr.DEFAULT_SECCOMP | lr.ROOTFS_IDMAP) as l:
        assert l.outcome == lr.OK, (l.result, l.log())
        l.start()
        assert l.ns("user") != os.readlink("/proc/self/ns/user")
        assert rig.status_field(l.init, "Uid").split()[0] == "100000"
        _, out, err = l.finish()
    assert out.split()[:6] == ["0", "0", "0", "0", "100000", "65536"], (out, err)
    assert "null" in out and os.stat(f"{base}/rootfs/tmp/mine").st_uid == 0


def test_userns_without_idmap_shows_nobody(base):
    conf = userns(sh("id -u; stat -c %u /bin", linux__maskedPaths=[]))
    _, out, _, _ = good(base, conf)
    assert out.split() == ["0", "65534"]


def test_userns_with_host_network(base):
    needs_idmap(base)
    conf = userns(sh("ls /sys/class/net | grep -c lo"))
    conf["linux"]["namespaces"] = [n for n in conf["linux"]["namespaces"] if n["type"] != "network"]
    _, out, _, _ = good(base, conf, flags=lr.ROOTFS_IDMAP)
    assert out.split() == ["1"]


@pytest.mark.parametrize("mask", [None, "6.1"], ids=["this-kernel", "masked"])
def test_userns_with_a_rootfs_on_tmpfs(base, mask):
    """Shown id-mapped since 6.3; before that refused, by the file system's name."""
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/dev/shm") as where:
        os.chmod(where, 0o755)
        conf = userns(sh("stat -c %u /bin"))
        conf["root"] = {"path": lr.busybox_rootfs(where)}
        version = tuple(map(int, (mask or os.uname().release).split("-")[0].split(".")[:2]))
        with lr.Launch(base, conf, flags=lr.DEFAULT_SECCOMP | lr.ROOTFS_IDMAP,
                       env={"HOLDFAST_KERNEL": mask} if mask else {}) as l:
            if version >= (6, 3):
                assert l.outcome == lr.OK, (l.result, l.log())
                assert l.run()[1] == "0\n"
            else:
                assert (l.outcome, l.step) == (lr.FAILED, "rootfs") and "tmpfs" in l.text
                assert not l.fds


# ---- the host's root ----

@pytest.mark.parametrize("flags", [0, lr.ROOTFS_IDMAP], ids=["plain", "userns"])
def test_host_root_is_ephemeral_and_masked(base, flags):
    conf = lr.config(["/bin/sh", "-c", "echo x > /etc/holdfast-was-here && cat "
                      "/etc/holdfast-was-here; ls -A /root /home /var/lib; cat /etc/shadow; "
                      "touch /run/x /tmp/x && ls /run /tmp; test -d /usr/bin && echo usr"])
    conf["root"] = {"path": "/"}
    if flags:
        needs_idmap("/")
        userns(conf)
    status, out, err, _ = good(base, conf, flags=flags | lr.HOST_ROOT | lr.DEFAULT_SECCOMP)
    words = out.split()
    assert words[0] == "x" and words[-1] == "usr" and "root:" not in out.replace("/root:", ""), out
    assert words[1:4] == ["/home:", "/root:", "/var/lib:"] or set(words[1:4]) == {
        "/home:", "/root:", "/var/lib:"}, out
    assert not os.path.exists("/etc/holdfast-was-here")


def test_host_root_readonly(base):
    conf = lr.config(["/bin/sh", "-c", "touch /etc/x || echo ro; touch /tmp/x && echo tmp"])
    conf["root"] = {"path": "/", "readonly": True}
    _, out, _, _ = good(base, conf, flags=lr.HOST_ROOT)
    assert out == "ro\ntmp\n"


# ---- what init may empty between two runs ----

def dirty_run(base, conf, **kw):
    """One run in mode auto that leaves something behind; its record."""
    with lr.Launch(base, conf, kind=initrig.ALWAYS, mode=initrig.AUTO, **kw) as l:
        l.start()
        next(True for verb, _, _ in l.packets() if verb == initrig.RECORDED)
        return l.record()


def test_volumes_over_our_tmpfs_are_never_emptied(base):
    """Each place that is a tmpfs of ours by default, with a volume over it or below it."""
    over = ["/home", "/tmp", "/var/lib", "/root", "/dev/shm", "/dev/mqueue", "/run/below"]
    mounts = []
    for i, target in enumerate(over):
        source = os.path.join(base, f"volume{i}")
        os.makedirs(os.path.join(source, "closed"))
        with open(os.path.join(source, "file"), "w") as f:
            f.write("the host's")
        os.chmod(os.path.join(source, "closed"), 0o500)
        mounts.append({"destination": target, "type": "bind", "source": source,
                       "options": ["bind"]})
    conf = lr.config(["/bin/sh", "-c", "touch /run/left; exit 1"], root={"path": "/"}, mounts=mounts)
    end = dirty_run(base, conf, flags=lr.HOST_ROOT)
    assert end["flags"] & initrig.F_SCRUBBED and end["verdict"] == initrig.GO_IN_PLACE, end
    for i in range(len(over)):
        source = os.path.join(base, f"volume{i}")
        assert sorted(os.listdir(source)) == ["closed", "file"]
        assert os.stat(os.path.join(source, "closed")).st_mode & 0o777 == 0o500


@pytest.mark.parametrize("target, left", [("/scratch", "/scratch"), ("/var/run", "/run")],
                         ids=["plain", "symlink"])
def test_our_tmpfs_are_emptied(base, target, left):
    os.makedirs(f"{base}/rootfs/var")
    os.makedirs(f"{base}/rootfs/run")
    os.symlink("../run", f"{base}/rootfs/var/run")
    end = dirty_run(base, sh(f"mkdir {left}/d; touch {left}/d/f; exit 1", mounts=[
        {"destination": target, "type": "tmpfs", "source": "tmpfs"}]))
    assert end["flags"] & initrig.F_SCRUBBED and end["verdict"] == initrig.GO_IN_PLACE, end


# ---- terminal, stdin ----

def test_terminal(base):
    conf = sh("tty; test -t 0 && test -t 1 && echo both; ls -l /dev/console | grep -c 136; "
              "cat /dev/tty")
    with lr.Launch(base, conf, flags=lr.TTY | lr.DEFAULT_SECCOMP) as l:
        assert l.outcome == lr.OK and lr.HELD_TTY in l.fds, l.result
        master = l.fds[lr.HELD_TTY]
        l.send(initrig.START)
        seen = b""
        while b"136" not in seen and seen.count(b"\n") < 3:
            assert select.select([master], [], [], 10)[0], seen
            seen += os.read(master, 1000)
        assert b"/dev/pts/0" in seen and b"both" in seen
        os.write(master, b"typed\n")
        while seen.count(b"typed") < 2:  # echo, then cat
            assert select.select([master], [], [], 10)[0], seen
            seen += os.read(master, 1000)
        os.write(master, b"\x04")


def test_stdin(base):
    with lr.Launch(base, sh("cat"), flags=lr.STDIN) as l:
        l.start()
        os.write(l.fds[lr.HELD_STDIN], b"through")
        os.close(l.fds.pop(lr.HELD_STDIN))
        assert l.finish()[:2] == (0, "through")


# ---- without init ----

@pytest.mark.quick
def test_without_init_the_service_is_pid_1(base):
    conf = sh("echo $$; grep -E 'Cap|Seccomp:' /proc/self/status; ls /proc/self/fd; exit 9")
    status, out, err, _ = good(base, conf, flags=lr.NO_INIT | lr.DEFAULT_SECCOMP)
    assert status == 9 and out.split()[0] == "1" and f"CapBnd:\t{lr.SEVEN_MASK:016x}" in out
    assert out.split()[-4:] == ["0", "1", "2", "3"] and "Seccomp:\t2" in out


@pytest.mark.parametrize("argv, errno_, status", [("/no/such", 2, 127), ("/etc", 13, 126),
                                                  ("nosuch", 2, 127)])
def test_without_init_exec_errors_are_told(base, argv, errno_, status):
    with lr.Launch(base, lr.config([argv]), flags=lr.NO_INIT) as l:
        l.start()
        verb, body, _ = next(l.packets())
        err, _, text = struct.unpack("=iI240s", body)
        assert (verb, err) == (initrig.REPLY, -errno_) and argv.encode() in text
        assert l._reap() == status


def test_without_init_no_start_no_service(base):
    with lr.Launch(base, sh("echo ran"), flags=lr.NO_INIT) as l:
        assert l.outcome == lr.OK
        l.channel.shutdown(socket.SHUT_RDWR)
        l.channel.close()
        assert l._reap() == 125
        assert l._drain(l.fds[lr.HELD_STDOUT]) == b""


def test_without_init_the_failed_step_is_told(base):
    with lr.Launch(base, sh("true", process__cwd="/no/such"), flags=lr.NO_INIT) as l:
        l.start()
        _, body, _ = next(l.packets())
        err, step, text = struct.unpack("=iI240s", body)
        assert err == -2 and step == initrig.SPAWN_CWD and text.startswith(b"cwd: "), (step, text)
        assert l._reap() == 126


# ---- what is told ----

def test_warnings_that_do_not_fit_are_counted_and_logged(base):
    conf = sh("true")
    for i in range(40):
        conf["linux"][f"member{i:02}-with-a-long-name"] = "x"
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK and l.warnings == 40, l.result
        *lines, last = l.text.split("\n")
        assert last == f"and {40 - len(lines)} more (shim.log)" and len(lines) > 3
        assert all(f"member{i:02}" in l.log() for i in range(40))


@pytest.mark.parametrize("words, changes", [
    ("cpu.burst", {"linux__resources": {"cpu": {"burst": 1}}}),
    ("cpu.period", {"linux__resources": {"cpu": {"period": 100000}}}),
    ("rootfsPropagation", {"linux__rootfsPropagation": "shared"}),
    ("not done for /dev", {"mounts": [{"destination": "/dev", "type": "tmpfs",
                                       "options": ["uid=5", "size=65536k", "mode=755"]}]})],
    ids=lambda v: v if isinstance(v, str) else "")
def test_what_has_no_effect_is_a_warning(base, words, changes):
    with lr.Launch(base, sh("true", **changes)) as l:
        assert l.outcome == lr.OK and l.warnings == 1 and words in l.text, l.result


def test_sysctl_of_the_host_through_a_joined_namespace(base):
    conf = sh("true", linux__sysctl={"kernel.shmmax": "65536"})
    for n in conf["linux"]["namespaces"]:
        if n["type"] == "ipc":
            n["path"] = "/proc/self/ns/ipc"
    before = rig.read("/proc/sys/kernel/shmmax")
    with lr.Launch(base, conf) as l:
        assert (l.outcome, l.step) == (lr.FAILED, "join-namespaces"), l.result
        assert "kernel/shmmax" in l.text
    assert rig.read("/proc/sys/kernel/shmmax") == before


def test_what_is_no_namespace_is_refused_at_once(base):
    """Opening a FIFO would wait for who writes to it."""
    path = os.path.join(base, "fifo")
    os.mkfifo(path)
    conf = sh("true")
    next(n for n in conf["linux"]["namespaces"] if n["type"] == "network")["path"] = path
    with lr.Launch(base, conf) as l:
        assert (l.outcome, l.step) == (lr.FAILED, "join-namespaces"), l.result
        assert path in l.text


# ---- what is refused ----

BAD = [
    ("{", "middle"),
    ("[]", "not a JSON object"),
    (b"[" * 5000, "config.json"),
    (lr.config(["x"], process__cwd="x"), 'process.cwd "x": not absolute'),
    (lr.config([]), "process.args"),
    (lr.config(["x"], process__args="x"), "process.args"),
    (lr.config(["x"], hooks={"prestart": [{"path": "/bin/true"}]}), "hooks"),
    (lr.config(["x"], linux__intelRdt={"closID": "x"}), "intelRdt"),
    (lr.config(["x"], linux__namespaces=[{"type": "pid"}]), "mount"),
    (lr.config(["x"], linux__namespaces=[{"type": "mount"}]), "pid namespace"),
    (lr.config(["x"], linux__namespaces=[{"type": "mount"}, {"type": "pid", "path": "/x"}]),
     "can't be joined"),
    (lr.config(["x"], linux__sysctl={"kernel.core_pattern": "|/x"}), "belongs to the host"),
    (lr.config(["x"], linux__sysctl={"net.ipv4.ip_forward": "1\n2"}), "control character"),
    (lr.config(["x"], linux__sysctl={"net/../kernel/core_pattern": "x"}), "not a sysctl"),
    (lr.config(["x"], process__user={"uid": 4294967295, "gid": 0}), "process.user.uid"),
    (lr.config(["x"], process__noNewPrivileges=False, linux__seccomp={
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}), "--init none"),
    (lr.config(["x"], process__rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), "RLIMIT_X"),
    (lr.config(["x"], mounts=[{"destination": "/proc/sys", "type": "tmpfs"}]), "/proc"),
    (lr.config(["x"], mounts=[{"destination": "/x", "type": "ext4", "source": "/dev/vda"}]), "ext4"),
    (lr.config(["x"], mounts=[{"destination": "/x", "type": "tmpfs", "options": ["wow"]}]), "wow"),
    *((lr.config(["x"], mounts=[{"destination": "/x", "type": "tmpfs", "options": [o]}]), o)
      for o in ("size=", "size=1q", "size=-1", "mode=888", "uid=root", "nr_inodes=many")),
    (lr.config(["x"], process__capabilities={"bounding": ["CAP_WOW"]}), "CAP_WOW"),
    (lr.config(["x"], linux__resources={"memory": {"limit": 1}}), "memory.limit"),
    (lr.config(["x"], ociVersion="0.1"), "ociVersion"),
    (lr.config(["x"], linux__uidMappings=IDS), "user namespace"),
    (lr.config(["x"], linux__resources={"devices": [
        {"allow": True, "major": 1, "minor": 3, "access": "rwm"}]}), "means all devices"),
    (lr.config(["x"], linux__resources={"devices": [
        {"allow": True, "type": "a", "access": "r"}]}), "devices[0].type"),
    (lr.config(["x"], linux__devices=[{"path": "/dev/fd/5/x", "type": "c", "major": 1, "minor": 3}]),
     "no place for nodes"),
    (lr.config(["x"], mounts=[{"destination": "/x", "type": "bind", "source": "/usr",
                               "uidMappings": IDS}]), "id-mapped"),
    (lr.config(["x"], mounts=[{"destination": "/dev", "type": "tmpfs", "options": ["nodev"]}]),
     "nodev"),
    (lr.config(["x"], linux__cgroupsPath="system.slice:x:y"), "cgroupsPath"),
    (lr.config(["x"], linux__cgroupsPath="relative"), "cgroupsPath"),
]


@pytest.mark.parametrize("conf, words", BAD, ids=[w for _, w in BAD])
def test_bad_config_is_refused_by_name(base, conf, words):
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.BAD_CONFIG and words in l.text, l.result
        assert "config.json" in l.text and not lr.groups(l.cgroup) and not l.fds


def test_a_huge_config_is_refused(base):
    with lr.Launch(base, b" " * (4 << 20) + b"{}") as l:
        assert l.outcome == lr.BAD_CONFIG and "bytes" in l.text


# ---- failures on the way leave nothing ----

INJECT = [("unshare", 1, "mount-namespace"), ("clone3", 1, "clone"), ("pivot_root", 1, "pivot-root"),
          ("sethostname", 1, "hostname"), ("execveat", 1, "exec"), ("move_mount", 1, "attach-root"),
          ("move_mount", 3, "mounts"), ("setsid", 1, "alone"), ("capset", 1, "capabilities")]


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("call, when, step", INJECT)
def test_failing_step_is_named(base, call, when, step):
    conf = sh("true")
    inject = ["-f", "-e", f"inject={call}:error=ENOSPC:when={when}"]
    mounts = rig.read("/proc/self/mountinfo")
    with lr.Launch(base, conf, prefix=[shutil.which("strace"), "-qq", "-o", "/dev/null", "-D",
                                       *inject]) as l:
        assert (l.outcome, l.step, l.err) == (lr.FAILED, step, 28), (l.result, l.log())
        assert "No space left" in l.text
    assert rig.read("/proc/self/mountinfo") == mounts


def test_missing_rootfs_and_volume_name_the_path(base):
    with lr.Launch(base, sh("true", root={"path": "/no/rootfs"})) as l:
        assert (l.outcome, l.step) == (lr.FAILED, "rootfs") and "/no/rootfs" in l.text
    with lr.Launch(base, sh("true", mounts=[{"destination": "/x", "type": "bind",
                                             "source": "/no/such"}])) as l:
        assert (l.outcome, l.step) == (lr.FAILED, "volumes") and "/no/such" in l.text


# ---- images that point outwards ----

@pytest.mark.parametrize("link", ["dev", "proc", "sys", "etc", "data"])
def test_symlinks_in_the_image_stay_inside(base, link):
    outside = os.path.join(base, "outside")
    os.makedirs(outside)
    path = os.path.join(base, "rootfs", link)
    if os.path.isdir(path):
        os.rmdir(path)
    os.symlink("../../../../../../../.." + outside, path)
    conf = sh("true", mounts=[{"destination": "/etc/x/y", "type": "tmpfs"},
                              {"destination": "/data/z", "type": "tmpfs"}])
    with lr.Launch(base, conf) as l:
        assert l.outcome == lr.OK or l.step == "mounts", l.result
        if l.outcome == lr.OK:
            l.run()
    assert os.listdir(outside) == []


# ---- other people's config.json ----

def test_runc_spec_runs(base):
    runc = shutil.which("runc")
    if not runc:
        pytest.skip("runc is not installed")
    subprocess.run([runc, "spec", "-b", base], check=True)
    with open(f"{base}/config.json") as f:
        conf = f.read().replace('"sh"', '"sh", "-c", "id; mount"')
    status, out, _, _ = good(base, conf)
    assert status == 0 and "uid=0" in out and "cgroup" in out


@pytest.mark.release
def test_time_to_init(base, record_property):
    took = []
    for i in range(rig.scaled(20, 20)):
        with lr.Launch(base, sh("true"), name=f"t{i}") as l:
            assert l.outcome == lr.OK, l.result
            took.append(l.took * 1000)
            l.run()
    median = statistics.median(took)
    record_property("launch_ms", median)
    print(f"launch: median {median:.1f} ms, min {min(took):.1f}, max {max(took):.1f}")
    assert median < 100
