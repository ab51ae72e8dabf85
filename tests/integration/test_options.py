"""Every option of `holdfast run` has an effect that the service can see, or the host can."""

import json
import os
import re

import pytest

from rig import cgroup_root, eventually, read

DEFAULT_CAPS = 7


def caps(shown, name="CapEff"):
    return int(shown["status"][name], 16)


@pytest.mark.quick
def test_what_a_service_gets_by_default(hf):
    shown = hf.show()
    assert shown["pid"] != 1 and shown["ppid"] == 1
    assert shown["sid"] == shown["pid"] == shown["pgid"]
    assert shown["fds"] == [0, 1, 2]
    assert shown["blocked"] == []
    assert shown["tty"] == [False, False, False]
    assert shown["uids"] == [0, 0, 0] and shown["gids"] == [0, 0, 0]
    status = shown["status"]
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["SigIgn"] == "0000000000000000"
    assert bin(caps(shown)).count("1") == DEFAULT_CAPS
    assert caps(shown, "CapInh") == 0 and caps(shown, "CapAmb") == 0
    assert caps(shown, "CapBnd") == caps(shown, "CapPrm") == caps(shown)
    assert not caps(shown) & (1 << 21), "CAP_SYS_ADMIN"


def test_no_init_is_pid_1(hf):
    shown = hf.show("--init", "none")
    assert shown["pid"] == 1 and shown["ppid"] == 0
    assert shown["fds"] == [0, 1, 2] and shown["blocked"] == []
    assert shown["status"]["NoNewPrivs"] == "1" and shown["status"]["Seccomp"] == "2"


def test_name_and_detach(hf):
    name = hf.name("web")
    out = hf.ok("run", "-d", "--name", name, "--", hf.torture, "stamp")
    assert out.stdout == name + "\n"
    assert name in hf.ok("ps").stdout


def test_random_name(hf):
    out = hf.ok("run", "-d", "--", hf.torture, "stamp")
    assert re.fullmatch(r"[0-9a-f]{12}\n", out.stdout)


def test_rm_removes_the_container(hf):
    hf.run("--", "true")
    hf.assert_nothing_left()


def test_without_rm_it_stays_until_rm(hf):
    name = hf.name()
    assert hf("run", "--name", name, "--", "sh", "-c", "echo kept; exit 3").returncode == 3
    assert name in hf.ok("ps", "-a").stdout
    assert name not in hf.ok("ps").stdout
    assert "kept" in hf.ok("logs", name).stdout
    hf.ok("rm", name)
    hf.assert_nothing_left()


@pytest.mark.parametrize("option", ["-e", "--env"])
def test_env(hf, option):
    env = hf.show(option, "A=1", option, "EMPTY=", option, "TWO=a b=c", option, "PASSED",
                  env={"PASSED": "on", "NOT_PASSED": "x"})["env"]
    assert {"A=1", "EMPTY=", "TWO=a b=c", "PASSED=on"} <= set(env)
    names = [e.split("=")[0] for e in env]
    assert "NOT_PASSED" not in names
    assert not [n for n in names if n.startswith("HOLDFAST")]
    assert "PATH" in names
    assert len(names) == len(set(names))


def test_env_last_one_counts(hf):
    env = hf.show("-e", "A=1", "-e", "A=2")["env"]
    assert "A=2" in env and "A=1" not in env


def test_workdir(hf):
    assert hf.show("--workdir", "/usr/bin")["cwd"] == "/usr/bin"
    assert hf.show("-w", "/usr")["cwd"] == "/usr"


def test_user_numbers(hf):
    shown = hf.show("--user", "1234:5678")
    assert shown["uids"] == [1234] * 3 and shown["gids"] == [5678] * 3
    assert shown["groups"] == []
    assert caps(shown) == 0 and caps(shown, "CapPrm") == 0
    shown = hf.show("-u", "1234")
    assert shown["uids"] == [1234] * 3


def test_user_by_name(hf, rootfs):
    out = hf.run("--rootfs", rootfs, "--user", "alice", "--", "/bin/torture", "show")
    shown = json.loads(out.stdout)
    assert shown["uids"] == [1234] * 3 and shown["gids"] == [1235] * 3
    assert shown["groups"] == [2000]


def test_hostname(hf):
    assert hf.show("--hostname", "kelp")["hostname"] == "kelp"
    name = hf.name("web")
    assert hf.show("--name", name)["hostname"] == name


def test_memory(hf):
    c = hf.start("--memory", "48M", "--", hf.torture, "stamp")
    group, v2 = c.cgroup("memory")
    limit = read(f"{group}/memory.max" if v2 else f"{group}/memory.limit_in_bytes")
    assert int(limit) == 48 << 20


def test_cpus(hf):
    c = hf.start("--cpus", "0.5", "--", hf.torture, "stamp")
    group, v2 = c.cgroup("cpu")
    quota, period = read(f"{group}/cpu.max").split() if v2 else (
        read(f"{group}/cpu.cfs_quota_us"), read(f"{group}/cpu.cfs_period_us"))
    assert int(quota) * 2 == int(period)


def test_pids_limit(hf):
    c = hf.start("--pids-limit", "20", "--", hf.torture, "forks", "100")
    line = c.wait_line("forked")[0].split()
    assert int(line[1]) < 20 and line[3] == "11"
    group, _ = c.cgroup("pids")
    assert int(read(f"{group}/pids.max")) == 20


def test_all_processes_are_in_the_group(hf):
    c = hf.start("--cpus", "1", "--", hf.torture, "daemons", "3")
    c.wait_line("daemons 3")
    for controller in ("memory", "pids", "cpu"):
        group, _ = c.cgroup(controller)
        assert len(read(f"{group}/cgroup.procs").split()) == 5, controller


def test_volume(hf):
    where = os.path.join(hf.base, "volume")
    os.mkdir(where)
    hf.shell("-v", f"{where}:/mnt/data", script="echo written > /mnt/data/file")
    assert read(f"{where}/file") == "written\n"
    out = hf.shell("--volume", f"{where}:/mnt/data:ro", script="cat /mnt/data/file; "
                   "echo no > /mnt/data/file || echo refused; rm /mnt/data/file || echo refused")
    assert out.split() == ["written", "refused", "refused"]
    assert read(f"{where}/file") == "written\n"


def test_volume_of_one_file(hf):
    path = os.path.join(hf.base, "one")
    with open(path, "w", encoding="utf-8") as f:
        f.write("content\n")
    assert hf.shell("-v", f"{path}:/mnt/one:ro", script="cat /mnt/one") == "content\n"


def test_tmpfs(hf):
    out = hf.shell("--tmpfs", "/mnt:size=1m", script="grep ' /mnt ' /proc/mounts; "
                   "dd if=/dev/zero of=/mnt/big bs=64k count=32 2>/dev/null || echo full")
    assert out.startswith("tmpfs /mnt tmpfs rw") and "size=1024k" in out
    assert out.endswith("full\n")


def test_read_only(hf):
    script = "touch /usr/x 2>/dev/null && echo wrote || echo refused"
    assert hf.shell("--read-only", script=script) == "refused\n"
    assert hf.shell(script=script) == "wrote\n"
    assert not os.path.exists("/usr/x")


def test_writes_to_the_hosts_root_vanish(hf):
    c = hf.start("--", "/bin/sh", "-c", f"echo x > /etc/holdfast-test; exec {hf.torture} stamp")
    c.wait_line("")
    assert not os.path.exists("/etc/holdfast-test")
    c.stop()
    assert not os.path.exists("/etc/holdfast-test")


def test_secrets_of_the_host_are_masked(hf):
    out = hf.shell(script="for d in /root /home /var/lib /boot; do [ -d $d ] && ls -A $d; done; "
                   "cat /etc/shadow /etc/shadow- 2>/dev/null; cat /etc/ssh/ssh_host_*_key "
                   "2>/dev/null; true")
    assert out == ""


def test_host_files_all_masks_nothing(hf):
    assert hf.shell("--host-files", "all", script="ls /var/lib") != ""


def test_cap_add_and_drop(hf):
    usual = caps(hf.show())
    chroot, kill, net_raw = 1 << 18, 1 << 5, 1 << 13
    assert caps(hf.show("--cap-add", "SYS_CHROOT", "--cap-drop", "KILL")) == \
        (usual | chroot) & ~kill
    assert caps(hf.show("--cap-drop", "ALL")) == 0
    shown = hf.show("--cap-drop", "ALL", "--cap-add", "CAP_NET_RAW")
    assert caps(shown) == caps(shown, "CapBnd") == net_raw


def test_network(hf):
    host = sorted(os.listdir("/sys/class/net"))
    script = "tail -n +3 /proc/net/dev | cut -d: -f1"
    assert hf.shell(script=script).split() == ["lo"]
    assert hf.shell("--network", "none", script=script).split() == ["lo"]
    assert sorted(hf.shell("--network", "host", script=script).split()) == host


def test_own_namespaces(hf):
    def seen(*options):
        return dict(line.split() for line in hf.shell(
            *options, script="for n in pid mnt ipc uts cgroup net user; do "
            "echo $n $(readlink /proc/self/ns/$n); done").splitlines())
    host = {n: os.readlink(f"/proc/self/ns/{n}") for n in seen()}
    assert [n for n, v in seen().items() if v == host[n]] == ["user"]
    assert [n for n, v in seen("--network", "host").items() if v == host[n]] == ["net", "user"]


def test_userns(hf):
    out = hf.shell("--userns", "auto", script="cat /proc/self/uid_map; id -u; "
                   "readlink /proc/self/ns/user")
    first, who, ns = out.strip().split("\n")
    assert first.split() == ["0", "100000", "65536"]
    assert who == "0" and ns != os.readlink("/proc/self/ns/user")
    out = hf.shell("--userns", "200000:1000", script="cat /proc/self/uid_map /proc/self/gid_map")
    assert out.split() == ["0", "200000", "1000"] * 2


def test_userns_service_is_nobody_outside(hf):
    c = hf.start("--userns", "auto", "--restart", "always", "--", hf.torture, "stamp")
    from rig import status_field
    assert status_field(c.service, "Uid").split() == ["100000"] * 4


def test_rootfs(hf, rootfs):
    out = hf.shell("--rootfs", rootfs, script="ls /; ls /bin/torture")
    assert {"bin", "dev", "proc", "/bin/torture"} <= set(out.split())
    assert "usr" not in out.split() and "boot" not in out.split()


def test_rootfs_is_written_to_unless_read_only(hf, rootfs):
    hf.shell("--rootfs", rootfs, script="echo kept > /etc/kept")
    assert read(f"{rootfs}/etc/kept") == "kept\n"
    assert "refused" in hf.shell("--rootfs", rootfs, "--read-only",
                                 script="echo no 2>/dev/null > /etc/new || echo refused")
    assert not os.path.exists(f"{rootfs}/etc/new")


def test_dev_and_proc(hf, rootfs):
    out = hf.shell("--rootfs", rootfs, script="ls /dev; echo; cat /proc/1/comm; "
                   "ls /proc | grep -c '^[0-9]'; echo x > /proc/sysrq-trigger || echo refused; "
                   "echo x > /proc/sys/kernel/hostname || echo refused")
    dev, _, rest = out.partition("\n\n")
    assert {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr",
            "ptmx", "pts", "shm"} <= set(dev.split())
    assert not {"mem", "kmsg", "sda", "vda"} & set(dev.split())
    assert rest.count("refused") == 2


def bundle_of(hf, rootfs, **process):
    """config.json as `runc spec` would write it, reduced to what matters here."""
    bundle = os.path.join(hf.base, "bundle")
    os.makedirs(bundle, exist_ok=True)
    caps_wanted = ["CAP_KILL", "CAP_NET_BIND_SERVICE"]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 77, "gid": 78, "additionalGids": [5, 6]},
            "args": ["/bin/torture", "show"],
            "env": ["PATH=/bin", "FROM=bundle"],
            "cwd": "/tmp",
            "capabilities": {k: caps_wanted for k in
                             ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}],
            "noNewPrivileges": True,
            **process,
        },
        "root": {"path": rootfs, "readonly": True},
        "hostname": "from-bundle",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "nodev"]},
        ],
        "linux": {
            "namespaces": [{"type": t} for t in
                           ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}},
        },
    }
    with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    return bundle


def test_bundle(hf, rootfs):
    out = hf.run("--bundle", bundle_of(hf, rootfs))
    assert out.returncode == 0, out.stderr
    shown = json.loads(out.stdout)
    assert shown["uids"] == [77] * 3 and shown["gids"] == [78] * 3
    assert sorted(shown["groups"]) == [5, 6]
    assert {"PATH=/bin", "FROM=bundle"} <= set(shown["env"])
    assert shown["cwd"] == "/tmp" and shown["hostname"] == "from-bundle"
    assert shown["rlimits"][7] == [512, 1024]
    assert caps(shown, "CapBnd") == (1 << 5) | (1 << 10)


def test_bundle_limits(hf, rootfs):
    c = hf.start("--bundle", bundle_of(hf, rootfs, args=["/bin/torture", "stamp"]))
    group, v2 = c.cgroup("memory")
    assert int(read(f"{group}/memory.max" if v2 else f"{group}/memory.limit_in_bytes")) == 64 << 20


def test_options_override_the_bundle(hf, rootfs):
    out = hf.run("--bundle", bundle_of(hf, rootfs), "--hostname", "mine", "-e", "FROM=me", "--",
                 "/bin/torture", "show")
    shown = json.loads(out.stdout)
    assert shown["hostname"] == "mine" and "FROM=me" in shown["env"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"process": 7}', "{}" * 2,
                                  '{"ociVersion": "1.0.2"}'])
def test_bad_bundle_is_64(hf, rootfs, text):
    bundle = bundle_of(hf, rootfs)
    with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as f:
        f.write(text)
    out = hf("run", "--bundle", bundle)
    assert out.returncode == 64 and "config.json" in out.stderr, (out.returncode, out.stderr)
    assert hf.containers() == []


def test_stop_signal_and_timeout(hf):
    c = hf.start("--stop-signal", "USR1", "--stop-timeout", "2s", "--", hf.torture, "catch")
    c.wait_line("ready")
    c.stop()
    assert "got 10" in c.lines()
    assert c.wait_end() == 137


def test_cgroup_path(hf):
    c = hf.start("--cgroup", f"/holdfast-test-{os.getpid()}/x", "--", hf.torture, "stamp",
                 service=False)
    root, _ = cgroup_root("memory")
    path = f"{root}/holdfast-test-{os.getpid()}/x/cgroup.procs"
    assert len(eventually(lambda: (read(path) or "").split())) == 2
    c.stop()


def test_seccomp_refuses(hf):
    """A user namespace needs no capability: it is the filter that says no."""
    assert hf.run("--", "/usr/bin/unshare", "--user", "true").returncode != 0
    shown = hf.show()
    assert shown["status"]["Seccomp"] == "2" and shown["status"]["Seccomp_filters"] == "1"


def test_a_long_name_gives_a_shorter_host_name(hf):
    name = "x" * 63 + "-" + "y" * 12
    assert len(name) == 76
    assert hf.show("--name", name)["hostname"] == "x" * 63
    name = "z" * 76
    assert hf.show("--name", name)["hostname"] == "z" * 64


def test_no_pids_limit(hf):
    c = hf.start("--pids-limit", "0", "--memory", "64M", "--", hf.torture, "stamp")
    group, _ = c.cgroup("pids")
    assert read(f"{group}/pids.max", "max\n") == "max\n"


def test_null_in_a_bundle_counts_as_absent(hf, rootfs):
    bundle = bundle_of(hf, rootfs, env=None, args=["/bin/sh", "-c", "echo fine $A"])
    path = os.path.join(bundle, "config.json")
    config = json.loads(read(path))
    config["mounts"] = None
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    out = hf.run("--bundle", bundle, "-e", "A=b", "--tmpfs", "/tmp")
    assert out.stdout == "fine b\n", out.stderr


@pytest.mark.parametrize("option", [("--network", "none"), ("--userns", "auto")],
                         ids=["network", "userns"])
def test_null_as_a_namespaces_type(hf, rootfs, option):
    bundle = bundle_of(hf, rootfs)
    path = os.path.join(bundle, "config.json")
    config = json.loads(read(path))
    config["linux"]["namespaces"].append({"type": None})
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    out = hf.run("--bundle", bundle, *option)
    assert out.returncode == 64 and "namespaces" in out.stderr, (out.returncode, out.stderr)
    assert hf.containers() == []


def test_capabilities_of_a_bundle_are_edited(hf, rootfs):
    kill, bind, net_raw = 1 << 5, 1 << 10, 1 << 13
    both = ["CAP_KILL", "CAP_NET_BIND_SERVICE"]
    bundle = bundle_of(hf, rootfs, capabilities={
        k: both for k in ("bounding", "effective", "permitted", "inheritable", "ambient")})

    def sets(*options):
        out = hf.run("--bundle", bundle, *options)
        assert out.returncode == 0, out.stderr
        shown = json.loads(out.stdout)
        return [caps(shown, k) for k in ("CapBnd", "CapAmb", "CapInh", "CapEff")]
    assert sets() == [kill | bind] * 4
    assert sets("--cap-drop", "NET_BIND_SERVICE") == [kill] * 4
    assert sets("--cap-add", "NET_RAW") == [kill | bind | net_raw] + [kill | bind] * 3
    assert sets("--cap-drop", "ALL", "--cap-add", "NET_RAW") == [net_raw, 0, 0, 0]


def test_the_bundles_cgroup_path_is_checked(hf, rootfs):
    bundle = bundle_of(hf, rootfs)
    path = os.path.join(bundle, "config.json")
    config = json.loads(read(path))
    config["linux"]["cgroupsPath"] = "/../up"
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    out = hf("run", "--bundle", bundle)
    assert out.returncode == 64 and "/../up" in out.stderr


def test_what_is_masked_by_default(hf):
    """config.json leaves the lists to the launcher."""
    out = hf.shell(script="cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; "
                   "echo 1 > /proc/sys/vm/drop_caches 2>/dev/null || echo refused")
    assert out.split() == ["0", "0", "refused"]
