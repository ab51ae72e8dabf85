"""--mount, --add-host, --dns*, --host-files, --pidfile, --print-spec: files that a container sees."""

import json
import os
import re
import signal

import pytest

import journal
from rig import Container, eventually, kill, read
from test_options import bundle_of

# ---- --mount


@pytest.fixture
def volume(hf):
    path = os.path.join(hf.base, "volume")
    os.mkdir(path)
    with open(os.path.join(path, "one"), "w", encoding="utf-8") as f:
        f.write("content\n")
    return path


@pytest.mark.quick
def test_mount_bind(hf, volume):
    out = hf.shell("--mount", f"type=bind,source={volume},target=/mnt",
                   script="cat /mnt/one; echo new > /mnt/two; grep ' /mnt ' /proc/mounts")
    assert out.startswith("content\n") and "nosuid,nodev" in out
    assert read(f"{volume}/two") == "new\n"


@pytest.mark.parametrize("ro", ["readonly", "ro", "readonly=true", "ro=1"])
def test_mount_readonly(hf, volume, ro):
    script = "cat /mnt/new/one; touch /mnt/new/x 2>/dev/null || echo refused"
    out = hf.shell("--mount", f"type=bind,src={volume},dst=/mnt/new,{ro}", script=script)
    assert out == "content\nrefused\n"


def test_mount_of_a_file_and_quotes(hf, volume):
    with open(f"{volume}/a,b", "w", encoding="utf-8") as f:
        f.write("comma\n")
    out = hf.shell("--mount", f'type=bind,"src={volume}/a,b",destination=/mnt/file',
                   script="cat /mnt/file")
    assert out == "comma\n"


def test_mount_bind_recursive(hf):
    script = "ls -A /mnt/shm | wc -l; grep -c ' /mnt' /proc/mounts"
    every = hf.shell("--mount", "type=bind,src=/dev,dst=/mnt,ro", script=script).split()
    flat = hf.shell("--mount", "type=bind,src=/dev,dst=/mnt,ro,bind-recursive=disabled",
                    script=script).split()
    assert int(flat[1]) == 1 < int(every[1])


@pytest.mark.quick
def test_mount_tmpfs(hf):
    out = hf.shell("--mount", "type=tmpfs,target=/mnt,tmpfs-size=1m,tmpfs-mode=0750",
                   script="grep ' /mnt ' /proc/mounts; stat -c %a /mnt; "
                   "dd if=/dev/zero of=/mnt/big bs=64k count=32 2>/dev/null || echo full")
    assert "size=1024k" in out and "rw,nosuid,nodev,noexec" in out
    assert out.endswith("750\nfull\n")
    assert "refused" in hf.shell("--mount", "type=tmpfs,target=/mnt,readonly",
                                 script="touch /mnt/x 2>/dev/null || echo refused")


@pytest.mark.parametrize("value,word", [
    ("type=volume,src=x,dst=/mnt", "volume"), ("type=bind,dst=/mnt", "source"),
    ("type=bind,src=/no/such,dst=/mnt", "/no/such"), ("type=tmpfs,dst=/mnt,color=red", "color"),
    ("type=bind,src=/etc,dst=/mnt,bind-propagation=rshared", "rshared"),
    ("type=tmpfs,dst=/mnt,tmpfs-size=12Q", "12Q"), ("target=/mnt", "type")])
def test_mount_bad(hf, value, word):
    out = hf("run", "--mount", value, "--", "true")
    assert out.returncode == 64 and "--mount" in out.stderr and word in out.stderr
    hf.assert_nothing_left()


# ---- hosts, hostname, resolv.conf


def etc(hf, *options, rootfs=False):
    """The three files as seen inside; None: not there."""
    out = hf.shell(*options, script="for f in hosts hostname resolv.conf; do echo \"==$f\"; "
                   "cat /etc/$f 2>/dev/null || echo none; done")
    found = dict(re.findall(r"^==(\S+)\n(.*?)(?=^==|\Z)", out, re.M | re.S))
    return {k: None if v == "none\n" else v for k, v in found.items()}


@pytest.mark.quick
def test_hosts_without_a_network(hf):
    name = hf.name("web")
    seen = etc(hf, "--name", name)
    assert "127.0.0.1\tlocalhost\n" in seen["hosts"] and "::1\tlocalhost" in seen["hosts"]
    assert f"127.0.1.1\t{name}\n" in seen["hosts"]
    assert seen["hostname"] == name + "\n"
    assert seen["resolv.conf"] == "", "nobody could be asked"
    assert etc(hf, "--hostname", "kelp")["hostname"] == "kelp\n"


def test_hosts_with_the_hosts_network(hf):
    seen = etc(hf, "--network", "host", "--hostname", "kelp")
    assert seen["hosts"] == read("/etc/hosts").rstrip("\n") + "\n127.0.1.1\tkelp\n"
    assert seen["resolv.conf"] == read("/etc/resolv.conf").rstrip("\n") + "\n"
    assert seen["hostname"] == "kelp\n"


def test_add_host(hf):
    seen = etc(hf, "--add-host", "db:10.0.0.7", "--add-host", "six=fd00::7", "--add-host",
               "seven:[fd00::8]", "--network", "host")["hosts"]
    assert seen.startswith(read("/etc/hosts").rstrip("\n"))
    assert seen.endswith("10.0.0.7\tdb\nfd00::7\tsix\nfd00::8\tseven\n")
    out = hf.shell("--add-host", "db:10.0.0.7", script="getent hosts db")
    assert out.split() == ["10.0.0.7", "db"]


@pytest.mark.parametrize("network", ["none", "host"])
def test_dns(hf, network):
    seen = etc(hf, "--network", network, "--dns", "9.9.9.9", "--dns", "2620:fe::fe",
               "--dns-search", "example.org", "--dns-search", "example.com", "--dns-option",
               "ndots:2", "--dns-option", "rotate")["resolv.conf"]
    lines = [x for x in seen.splitlines() if x.split()[:1] and x.split()[0] in
             ("nameserver", "search", "options")]
    assert lines == ["nameserver 9.9.9.9", "nameserver 2620:fe::fe",
                     "search example.org example.com", "options ndots:2 rotate"]


def test_what_the_service_writes_into_them_vanishes(hf):
    host = {n: read(f"/etc/{n}") for n in ("hosts", "hostname", "resolv.conf")}
    c = hf.start("--restart", "no", "--restart-mode", "fresh", "--", "/bin/sh", "-c",
                 "cat /etc/hosts; for n in hosts hostname resolv.conf; do "
                 "echo 9.9.9.9 poison >> /etc/$n || exit 9; done; echo written; exec sleep 1000")
    c.wait_line("written")
    assert read(f"{c.state_dir}/hosts") and "poison" not in read(f"{c.state_dir}/hosts")
    hf.ok("restart", c.name)
    eventually(lambda: c.lines().count("written") == 2)
    assert not [x for x in c.lines() if "poison" in x]
    c.stop()
    hf.ok("start", c.name)
    eventually(lambda: c.lines().count("written") == 3)
    assert not [x for x in c.lines() if "poison" in x]
    assert host == {n: read(f"/etc/{n}") for n in host}


def test_they_cannot_fill_the_hosts_memory(hf):
    out = hf.shell("--memory", "64M", script="dd if=/dev/zero of=/etc/hosts bs=64k count=256 "
                   "2>/dev/null || echo full; grep ' /etc/hosts ' /proc/mounts")
    assert out.startswith("full\n") and "tmpfs" in out


def test_they_are_read_only_with_the_root(hf, rootfs):
    script = "cat /etc/hosts > /dev/null && { echo x >> /etc/hosts; } 2>/dev/null || echo refused"
    assert hf.shell("--read-only", script=script) == "refused\n"
    assert hf.shell("--rootfs", rootfs, "--read-only", "--add-host", "a:10.0.0.1",
                    script=script) == "refused\n"


def test_they_are_the_containers_own_with_userns(hf):
    out = hf.shell("--userns", "auto", script="stat -c '%u:%g %a' /etc/hosts /etc/resolv.conf; "
                   "echo 10.0.0.7 db >> /etc/hosts; getent hosts db")
    assert out.splitlines()[:2] == ["0:0 644"] * 2
    assert out.splitlines()[2].split() == ["10.0.0.7", "db"]


def test_a_rootfs_gets_nothing_made_unasked(hf, rootfs):
    seen = etc(hf, "--rootfs", rootfs)
    assert seen == {"hosts": None, "hostname": None, "resolv.conf": None}
    assert sorted(os.listdir(f"{rootfs}/etc")) == ["group", "passwd"]
    for name in ("hosts", "resolv.conf"):
        with open(f"{rootfs}/etc/{name}", "w", encoding="utf-8") as f:
            f.write("the image's\n")
    seen = etc(hf, "--rootfs", rootfs, "--dns", "9.9.9.9", "--hostname", "kelp")
    assert "127.0.1.1\tkelp\n" in seen["hosts"] and "image" not in seen["hosts"]
    assert seen["resolv.conf"] == "nameserver 9.9.9.9\n" and seen["hostname"] is None
    assert read(f"{rootfs}/etc/hosts") == "the image's\n"


def test_a_rootfs_gets_what_is_asked_for(hf, rootfs):
    os.unlink(f"{rootfs}/etc/passwd")
    os.unlink(f"{rootfs}/etc/group")
    os.rmdir(f"{rootfs}/etc")
    seen = etc(hf, "--rootfs", rootfs, "--add-host", "db:10.0.0.7")
    assert seen["hosts"].endswith("10.0.0.7\tdb\n")
    assert seen["hostname"] is None and seen["resolv.conf"] is None


def test_a_link_that_leads_nowhere(hf, rootfs):
    """As systemd-resolved's does where /run starts empty."""
    os.symlink("../run/systemd/resolve/stub-resolv.conf", f"{rootfs}/etc/resolv.conf")
    seen = etc(hf, "--rootfs", rootfs, "--tmpfs", "/run", "--dns", "9.9.9.9")
    assert seen["resolv.conf"] == "nameserver 9.9.9.9\n"


def test_a_bundle_gets_them_when_asked(hf, rootfs):
    with open(f"{rootfs}/etc/hosts", "w", encoding="utf-8") as f:
        f.write("the image's\n")
    bundle = bundle_of(hf, rootfs, args=["/bin/cat", "/etc/hosts"])
    assert hf.run("--bundle", bundle).stdout == "the image's\n"
    out = hf.run("--bundle", bundle, "--add-host", "db:10.0.0.7")
    assert out.stdout.endswith("10.0.0.7\tdb\n") and "image" not in out.stdout
    assert "127.0.1.1" not in out.stdout


def test_a_volume_of_ones_own_goes_first(hf, volume):
    out = hf.shell("-v", f"{volume}/one:/etc/hosts", "--add-host", "db:10.0.0.7",
                   script="cat /etc/hosts")
    assert out == "content\n"


BAD = [("--add-host", "db"), ("--add-host", "db:"), ("--add-host", ":10.0.0.7"),
       ("--add-host", "db:10.0.0"), ("--add-host", "a b:10.0.0.7"),
       ("--add-host", "db:host-gateway"), ("--add-host", "db:10.0.0.7\n1.2.3.4 x"),
       ("--dns", "dns.example.org"), ("--dns", ""), ("--dns-search", "a b"),
       ("--dns-search", ""), ("--dns-option", ""), ("--dns-option", "ndots:2\nnameserver 1.1.1.1"),
       ("--host-files", "some")]


@pytest.mark.parametrize("option,value", BAD, ids=[f"{o}={v!r}" for o, v in BAD])
def test_bad_values(hf, option, value):
    out = hf("run", option, value, "--", "true")
    assert out.returncode == 64, out.stderr
    assert f"{option} \"" in out.stderr and "(" in out.stderr or "use " in out.stderr
    hf.assert_nothing_left()


def test_host_files(hf):
    assert hf.shell("--host-files", "masked", script="ls /var/lib") == ""
    assert hf.shell("--host-files", "masked", "--host-files", "all", script="ls /var/lib") != ""
    assert hf.shell("--host-files", "all", "--host-files", "masked", script="ls /var/lib") == ""


# ---- --pidfile


def pid_in(path):
    return int(read(path, "0").strip() or 0)


@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_pidfile(hf, init, tmp_path):
    """PID 1's, from before the start is reported until it is gone."""
    path = tmp_path / "web.pid"
    c = hf.start("--init", init, "--pidfile", path, "--restart", "no", "--restart-mode", "fresh",
                 "--stop-timeout", "100ms", "--", hf.torture, "stamp", service=False)
    first = pid_in(path)
    assert first and first == c.init and read(path) == f"{first}\n"
    assert os.stat(path).st_mode & 0o777 == 0o644
    hf.ok("restart", c.name)
    second = pid_in(path)
    assert second != first and second == c.init
    c.stop()
    assert not os.path.exists(path) and os.listdir(tmp_path) == []
    hf.ok("start", c.name)
    assert pid_in(path) == c.init not in (first, second)
    c.rm("-f")
    assert os.listdir(tmp_path) == []


def test_pidfile_stays_in_place(hf, tmp_path):
    path = tmp_path / "pid"
    c = hf.start("--pidfile", path, "--restart", "always", "--restart-delay", "0", "--",
                 hf.torture, "stamp")
    before, old = pid_in(path), c.service
    kill(old, signal.SIGKILL)
    c.wait_service(other_than=old)
    assert pid_in(path) == before == c.init
    kill(c.shim, signal.SIGKILL)
    eventually(lambda: c.shim)
    c.stop()
    eventually(lambda: not os.path.exists(path))


def test_pidfile_relative_and_foreign(hf, tmp_path):
    name = hf.name()
    hf.ok("run", "-d", "--name", name, "--pidfile", "here.pid", "--", hf.torture, "stamp",
          cwd=tmp_path)
    path = tmp_path / "here.pid"
    assert pid_in(path) == Container(hf, name).init
    path.write_text("1\n")
    hf.ok("stop", name)
    assert read(path) == "1\n", "not ours any more"


def test_pidfile_that_cannot_be_written(hf, tmp_path):
    where = tmp_path / "gone"
    where.mkdir()
    name = hf.name()
    hf.ok("create", "--name", name, "--pidfile", where / "pid", "--", hf.torture, "stamp")
    where.rmdir()
    hf.ok("start", name)
    c = Container(hf, name)
    assert c.service
    eventually(lambda: any(r.kind == journal.WARNING and b"--pidfile" in r.body
                           for r in journal.read(c.state_dir)))


@pytest.mark.parametrize("value", ["", "/run/", "/etc", "/no/such/dir/pid", "/x" * 130])
def test_pidfile_bad(hf, value):
    out = hf("run", "--pidfile", value, "--", "true")
    assert out.returncode == 64 and f'--pidfile "{value[:50]}' in out.stderr
    assert "(" in out.stderr
    hf.assert_nothing_left()


# ---- --print-spec


def spec(hf, *args):
    out = hf.ok("run", "--print-spec", *args)
    hf.assert_nothing_left()
    assert "\n  \"process\": {" in out.stdout, "for a reader"
    return json.loads(out.stdout)


@pytest.mark.quick
def test_print_spec(hf, volume):
    doc = spec(hf, "--memory", "64M", "--hostname", "kelp", "-e", "A=1", "-v", f"{volume}:/v:ro",
               "--add-host", "db:10.0.0.7", "--user", "7:8", "--", "/bin/echo", "hi")
    assert doc["process"]["args"] == ["/bin/echo", "hi"] and "A=1" in doc["process"]["env"]
    assert doc["process"]["user"]["uid"] == 7 and doc["hostname"] == "kelp"
    assert doc["linux"]["resources"]["memory"]["limit"] == 64 << 20
    mounts = {m["destination"]: m for m in doc["mounts"]}
    assert mounts["/v"]["source"] == volume and "ro" in mounts["/v"]["options"]
    assert {"/proc", "/dev", "/etc/hosts"} <= set(mounts)


def test_print_spec_of_a_bundle(hf, rootfs):
    bundle = bundle_of(hf, rootfs)
    doc = spec(hf, "--bundle", bundle, "--hostname", "mine", "--", "/bin/true")
    own = json.loads(read(f"{bundle}/config.json"))
    assert doc["hostname"] == "mine" and doc["process"]["args"] == ["/bin/true"]
    assert doc["root"] == own["root"] and doc["linux"]["maskedPaths"] == own["linux"]["maskedPaths"]


def test_print_spec_is_what_runs(hf):
    name = hf.name()
    options = ("--name", name, "--memory", "64M", "--", "/bin/sleep", "1000")
    doc = spec(hf, *options)
    hf.ok("create", *options)
    assert json.loads(read(f"{hf.state}/local/{name}/config.json")) == doc


def test_print_spec_with_bad_options(hf):
    out = hf("run", "--print-spec", "--memory", "12Q", "--", "true")
    assert out.returncode == 64 and out.stdout == ""
