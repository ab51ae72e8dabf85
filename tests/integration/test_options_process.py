"""Environment, labels, sysctls, ulimits, scores and security of `holdfast run`, seen from inside; and
what bad values say."""

import json
import os
import resource
import signal
import subprocess

import pytest

from rig import TOOL, eventually, kill, read, status_field
from test_options import bundle_of, caps
from test_options_limits import edit, needs_idmapped_root, refused

CAN_RAISE = int(status_field("self", "CapEff"), 16) >> 24 & 1  # CAP_SYS_RESOURCE


def file_of(hf, name, text):
    path = os.path.join(hf.base, name)
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    return path


# ---- environment ----

def test_env_file(hf):
    path = file_of(hf, "env", "\ufeffA=1\n# note\n\n  B= two words \nEMPTY=\nPASSED\nUNSET\n"
                   "Q=\"as it stands\" # no comment\r\nC=a=b\nLAST=no newline")
    env = hf.show("--env-file", path, env={"PASSED": "on"})["env"]
    assert {"A=1", "B= two words ", "EMPTY=", "PASSED=on", 'Q="as it stands" # no comment', "C=a=b",
            "LAST=no newline"} <= set(env)
    assert not [e for e in env if e.startswith(("UNSET", "#"))]


def test_env_goes_before_env_file(hf):
    first, second = file_of(hf, "1", "A=file\nB=one\n"), file_of(hf, "2", "B=two\n")
    env = hf.show("-e", "A=option", "--env-file", first, "--env-file", second)["env"]
    assert "A=option" in env and "B=two" in env
    assert len([e for e in env if e[:2] in ("A=", "B=")]) == 2


def test_env_file_may_be_a_pipe(hf):
    r, w = os.pipe()
    os.write(w, b"FROM=pipe\n")
    os.close(w)
    out = subprocess.run([TOOL, "run", "--rm", "--env-file", f"/dev/fd/{r}", "--", "/bin/sh", "-c",
                          "echo $FROM"], env=hf.env(), capture_output=True, text=True, pass_fds=[r],
                         stdin=subprocess.DEVNULL, check=False, timeout=60)
    os.close(r)
    assert out.stdout == "pipe\n", out.stderr


def test_env_file_overrides_the_bundle(hf, rootfs):
    path = file_of(hf, "env", "FROM=file\n")
    out = hf.run("--bundle", bundle_of(hf, rootfs), "--env-file", path)
    assert "FROM=file" in json.loads(out.stdout)["env"]


@pytest.mark.parametrize("text, line, cure", [
    ("A=1\n=x\n", 2, "NAME=VALUE"), ("A=1\n\n#\nB C=1\n", 4, "NAME=VALUE"), ("NAME \n", 1, "blanks"),
    ("A=\0b\n", None, "text file")])
def test_bad_env_file(hf, text, line, cure):
    path = file_of(hf, "bad", text)
    at = f"{path}:{line}" if line else path
    out = hf("run", "--env-file", path, "--", "true")
    assert out.returncode == 64 and f'--env-file "{at}"' in out.stderr and cure in out.stderr
    hf.assert_nothing_left()


# ---- labels ----

def test_label(hf):
    a = hf.start("--label", "team=blue", "-l", "flag", "--label", "eq=a=b", "--", hf.torture, "stamp")
    b = hf.start("--label", "team=red", "--", hf.torture, "stamp")
    c = hf.start("--", hf.torture, "stamp")
    notes = json.loads(read(f"{a.state_dir}/config.json"))["annotations"]
    assert notes == {"team": "blue", "flag": "", "eq": "a=b"}

    def listed(*labels):
        options = [x for label in labels for x in ("--filter", f"label={label}")]
        return set(hf.ok("ps", "-q", *options).stdout.split())
    assert listed() == {a.name, b.name, c.name}
    assert listed("team") == {a.name, b.name}
    assert listed("team=blue") == listed("team", "flag") == listed("eq=a=b") == {a.name}
    assert listed("team=red", "flag") == listed("no") == listed("flag=x") == set()
    b.stop()
    assert listed("team") == {a.name}
    assert b.name in hf.ok("ps", "-a", "-f", "label=team=red").stdout


def test_label_overrides_the_bundle(hf, rootfs):
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/torture", "stamp"]),
                  lambda c: c.update(annotations={"a": "bundle", "b": "bundle"}))
    c = hf.start("--bundle", bundle, "--label", "a=mine")
    assert json.loads(read(f"{c.state_dir}/config.json"))["annotations"] == \
        {"a": "mine", "b": "bundle"}


@pytest.mark.parametrize("value", ["", "team", "label", "label=", "label==x", "colour=x"])
def test_bad_filter(hf, value):
    out = hf("ps", "--filter", value)
    assert out.returncode == 64 and f'--filter "{value}"' in out.stderr


# ---- sysctls ----

def test_sysctl(hf):
    before = read("/proc/sys/net/core/somaxconn"), read("/proc/sys/kernel/shmmax")
    out = hf.shell("--sysctl", "net.core.somaxconn=77", "--sysctl", "kernel.shmmax=65536", "--sysctl",
                   "fs/mqueue/msg_max=5", "--sysctl", "kernel.domainname=reef", script="cd /proc/sys; "
                   "cat net/core/somaxconn kernel/shmmax fs/mqueue/msg_max kernel/domainname")
    assert out.split() == ["77", "65536", "5", "reef"]
    assert (read("/proc/sys/net/core/somaxconn"), read("/proc/sys/kernel/shmmax")) == before


def test_sysctl_with_blanks_in_it(hf):
    assert hf.shell("--sysctl", "net.ipv4.ping_group_range=5 6", script="cat /proc/sys/net/ipv4/"
                    "ping_group_range").split() == ["5", "6"]


def test_sysctl_overrides_the_bundle(hf, rootfs):
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/cat", "/proc/sys/kernel/shmmax"]),
                  lambda c: c["linux"].update(sysctl={"kernel.shmmax": "4096"}))
    assert hf.run("--bundle", bundle).stdout == "4096\n"
    assert hf.run("--bundle", bundle, "--sysctl", "kernel.shmmax=8192").stdout == "8192\n"
    edit(bundle, lambda c: c["linux"].update(sysctl={}, namespaces=[
        n for n in c["linux"]["namespaces"] if n["type"] != "ipc"]))
    refused(hf, "--bundle", bundle, "--sysctl", "kernel.shmmax=8192",
            words=['--sysctl "kernel.shmmax=8192"', "ipc namespace", "config.json"])


def test_sysctl_of_the_hosts_network(hf):
    refused(hf, "--network", "host", "--sysctl", "net.core.somaxconn=77",
            words=['--sysctl "net.core.somaxconn=77"', "leave --network host out"])


def test_sysctl_that_the_kernel_refuses(hf):
    """Only the kernel knows: not the option's grammar, so it is the start that fails."""
    refused(hf, "--sysctl", "net.core.no_such=1", status=125, words=["net/core/no_such"])


# ---- limits of the process ----

def test_ulimit(hf):
    limits = hf.show("--ulimit", "nofile=99:200", "--ulimit", "core=0", "--ulimit", "cpu=100:1000",
                     "--ulimit", "nofile=98:199", "--ulimit", "fsize=4096:-1")["rlimits"]
    assert limits[resource.RLIMIT_NOFILE] == [98, 199]
    assert limits[resource.RLIMIT_CORE] == [0, 0]
    assert limits[resource.RLIMIT_CPU] == [100, 1000]
    assert limits[resource.RLIMIT_FSIZE] == [4096, -1]
    assert hf.shell("--ulimit", "fsize=4096", script="(head -c 9000 /dev/zero > /tmp/x) 2>/dev/null; "
                    "stat -c %s /tmp/x") == "4096\n"


def test_ulimit_of_one_number_is_both(hf):
    assert hf.show("--ulimit", "nofile=64")["rlimits"][resource.RLIMIT_NOFILE] == [64, 64]


def test_ulimit_overrides_the_bundle(hf, rootfs):
    out = hf.run("--bundle", bundle_of(hf, rootfs), "--ulimit", "nofile=10:20")
    assert json.loads(out.stdout)["rlimits"][resource.RLIMIT_NOFILE] == [10, 20]


def test_ulimit_above_the_hosts(hf):
    """Given where root may raise it; else lowered, and said so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = hard + 1000
    out = hf.run("--ulimit", f"nofile=99:{want}", "--", "/bin/sh", "-c", "ulimit -Hn")
    assert out.returncode == 0, out.stderr
    if CAN_RAISE:
        assert out.stdout.strip() == str(want)
    else:
        assert out.stdout.strip() == str(hard)
        assert "nofile" in out.stderr and str(want) in out.stderr and str(hard) in out.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_oom_score_adj(hf):
    c = hf.start("--oom-score-adj", "345", "--", hf.torture, "stamp")
    assert read(f"/proc/{c.service}/oom_score_adj").strip() == "345"
    assert read(f"/proc/{c.init}/oom_score_adj").strip() == "345"
    assert read(f"/proc/{c.keeper}/oom_score_adj") == read("/proc/self/oom_score_adj")


def test_oom_score_adj_below_the_hosts(hf):
    """Given where root may lower it; else a warning, never a failure."""
    own = read("/proc/self/oom_score_adj")
    out = hf.run("--oom-score-adj", "-345", "--", "cat", "/proc/self/oom_score_adj")
    assert out.returncode == 0, out.stderr
    if CAN_RAISE:
        assert out.stdout == "-345\n" and "oomScoreAdj" not in out.stderr
    else:
        assert out.stdout == own and "oomScoreAdj -345: not allowed" in out.stderr


def test_oom_score_adj_overrides_the_bundle(hf, rootfs):
    bundle = bundle_of(hf, rootfs, args=["/bin/cat", "/proc/self/oom_score_adj"], oomScoreAdj=10)
    assert hf.run("--bundle", bundle).stdout == "10\n"
    assert hf.run("--bundle", bundle, "--oom-score-adj", "20").stdout == "20\n"


# ---- security ----

def test_no_new_privileges(hf):
    assert hf.show("--security-opt", "no-new-privileges")["status"]["NoNewPrivs"] == "1"
    off = ("--security-opt", "no-new-privileges=false")
    for options in ((), ("--init", "none"), ("--user", "1234")):
        shown = hf.show(*off, *options)["status"]
        assert shown["NoNewPrivs"] == "0" and shown["Seccomp"] == "2", options
        assert shown["Seccomp_filters"] == "1", options
    assert hf.show("--security-opt", "no-new-privileges:false")["status"]["NoNewPrivs"] == "0"
    shown = hf.show(*off, "--security-opt", "seccomp=unconfined")["status"]
    assert shown["NoNewPrivs"] == "0" and shown["Seccomp"] == "0"
    refused(hf, *off, "--security-opt", profile(hf, rule("mkdir")),
            words=["--security-opt", "no-new-privileges=false", "--init none"])
    shown = hf.show(*off, "--security-opt", profile(hf, rule("mkdir")), "--init", "none")["status"]
    assert shown["NoNewPrivs"] == "0" and shown["Seccomp"] == "2"


def test_no_new_privileges_in_a_user_namespace(hf):
    needs_idmapped_root()
    shown = hf.show("--security-opt", "no-new-privileges=false", "--userns", "auto")["status"]
    assert shown["NoNewPrivs"] == "0" and shown["Seccomp"] == "2"


def test_filter_without_no_new_privileges_stays_over_restarts(hf):
    """Loaded before PID 1 began: it can't be loaded again, and need not."""
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
                 "--security-opt", "no-new-privileges=false", "--", hf.torture, "stamp")
    init = c.init
    for _ in range(3):
        first = c.service
        kill(first, 9)
        again = c.wait_service(other_than=first)
        assert c.init == init
        assert [status_field(p, "Seccomp") for p in (init, again)] == ["2", "2"]
        assert [status_field(p, "NoNewPrivs") for p in (init, again)] == ["0", "0"]


def test_setuid_programs_work_without_it(hf, rootfs):
    os.chmod(f"{rootfs}/bin/torture", 0o4755)

    def effective(*options):
        out = hf.run("--rootfs", rootfs, "--user", "1234", *options, "--", "/bin/torture", "show")
        assert out.returncode == 0, out.stderr
        return json.loads(out.stdout)["uids"][1]
    assert effective() == 1234
    for init in ("none", "holdfast"):
        assert effective("--security-opt", "no-new-privileges=false", "--init", init) == 0


def test_seccomp_unconfined(hf):
    shown = hf.show("--security-opt", "seccomp=unconfined")["status"]
    assert shown["Seccomp"] == "0" and shown["NoNewPrivs"] == "1"
    assert hf.shell("--security-opt", "seccomp=unconfined", script="unshare --user echo may") == \
        "may\n"
    shown = hf.show("--security-opt", "seccomp=unconfined", "--security-opt", "seccomp=default")
    assert shown["status"]["Seccomp"] == "2"


def rule(call, **more):
    return {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, **more}


def profile(hf, *rules, **more):
    return "seccomp=" + file_of(hf, "profile.json", json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, **more}))


MAKE = "mkdir /tmp/d 2>&1 && echo made; true"


def test_seccomp_file(hf):
    out = hf.shell("--security-opt", profile(hf, rule("mkdir")), script=MAKE)
    assert "No space left" in out and "made" not in out
    assert hf.shell("--security-opt", profile(hf, rule("mkdir", action="SCMP_ACT_ALLOW")),
                    script=MAKE) == "made\n"


def test_seccomp_file_stays_over_restarts(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
                 "--security-opt", profile(hf, rule("mkdir")), "--", hf.torture, "stamp")
    first = c.service
    kill(first, 9)
    again = c.wait_service(other_than=first)
    eventually(lambda: status_field(again, "Seccomp") == "2")


@pytest.mark.parametrize("condition, applies", [
    ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
    ({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, True),
    ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
    ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
    ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
    ({"includes": {"arches": ["s390x"]}}, False),
    ({"includes": {"minKernel": "4.8"}}, True),
    ({"includes": {"minKernel": "99.0"}}, False),
    ({"includes": {}, "excludes": {}}, True),
], ids=str)
def test_conditions_of_dockers_profiles(hf, condition, applies):
    out = hf.shell("--security-opt", profile(hf, rule("mkdir", comment="x", **condition)), script=MAKE)
    assert ("made" not in out) == applies, out


def test_dockers_architectures_and_single_names(hf):
    one = rule("mkdir")
    one["name"] = one.pop("names")[0]
    archs = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
             {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None}]
    assert "No space left" in hf.shell("--security-opt", profile(hf, one, archMap=archs), script=MAKE)


def test_seccomp_overrides_the_bundle(hf, rootfs):
    bundle = edit(bundle_of(hf, rootfs, args=["/bin/sh", "-c", "echo x > /tmp/x && echo wrote"]),
                  lambda c: c["linux"].update(seccomp={
                      "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("openat"), rule("open")]}))
    assert "wrote" not in hf.run("--bundle", bundle).stdout
    for choice in ("seccomp=unconfined", "seccomp=default", profile(hf, rule("mkdir"))):
        out = hf.run("--bundle", bundle, "--security-opt", choice)
        assert out.stdout == "wrote\n", (choice, out.stderr)


def test_systempaths(hf):
    script = "cat /proc/timer_list 2>/dev/null | wc -l; grep -c ' /proc/[a-z]' /proc/mounts; true"
    masked, mounts = hf.shell(script=script).split()
    assert int(masked) == 0 and int(mounts) > 0
    lines, mounts = hf.shell("--security-opt", "systempaths=unconfined", script=script).split()
    assert int(lines) > 0 and int(mounts) == 0


def test_what_is_so_already(hf):
    for value in ("apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable"):
        assert hf.show("--security-opt", value)["status"]["Seccomp"] == "2"


def test_capabilities_go_with_security(hf):
    assert caps(hf.show("--cap-drop", "ALL", "--security-opt", "seccomp=unconfined")) == 0


# ---- what is refused ----

BAD = [
    (("--env-file", "/no/such"), "/no/such", "readable"),
    (("--env-file", "/etc"), "/etc", "readable"),
    (("--label", ""), '""', "KEY=VALUE"),
    (("--label", "=x"), "=x", "KEY=VALUE"),
    (("--sysctl", "net.core.somaxconn"), "net.core.somaxconn", "KEY=VALUE"),
    (("--sysctl", "net.core.somaxconn="), "somaxconn=", "KEY=VALUE"),
    (("--sysctl", "kernel.core_pattern=|/x"), "core_pattern=|/x", "set it there"),
    (("--sysctl", "vm.swappiness=1"), "vm.swappiness=1", "set it there"),
    (("--sysctl", "net/../kernel/core_pattern=x"), "core_pattern", "sysctl(8)"),
    (("--sysctl", "net..core=1"), "net..core=1", "sysctl(8)"),
    (("--sysctl", "net.core.somaxconn=1\n2"), "somaxconn", "control character"),
    (("--ulimit", "nofile"), "nofile", "NAME=SOFT[:HARD]"),
    (("--ulimit", "files=1"), "files=1", "nofile"),
    (("--ulimit", "NOFILE=1"), "NOFILE=1", "nofile"),
    (("--ulimit", "nofile=1:"), "nofile=1:", "-1"),
    (("--ulimit", "nofile=x"), "nofile=x", "-1"),
    (("--ulimit", "nofile=-2"), "nofile=-2", "-1"),
    (("--ulimit", "nofile=2:1"), "nofile=2:1", "lower it"),
    (("--ulimit", "nofile=-1:1"), "nofile=-1:1", "lower it"),
    (("--ulimit", "nofile=1:2:3"), "nofile=1:2:3", "-1"),
    (("--oom-score-adj", "1001"), "1001", "-1000 to 1000"),
    (("--oom-score-adj", "-1001"), "-1001", "-1000 to 1000"),
    (("--oom-score-adj", "--5"), "--5", "-1000 to 1000"),
    (("--oom-score-adj", ""), '""', "-1000 to 1000"),
    (("--security-opt", "nonsense"), "nonsense", "seccomp=unconfined"),
    (("--security-opt", "no-new-privileges=maybe"), "maybe", "no-new-privileges=false"),
    (("--security-opt", "seccomp="), "seccomp=", "seccomp=FILE"),
    (("--security-opt", "seccomp=/no/such"), "/no/such", "unconfined"),
    (("--security-opt", "seccomp=/etc/passwd"), "/etc/passwd", "JSON"),
    (("--security-opt", "apparmor=docker-default"), "docker-default", "apparmor=unconfined"),
    (("--security-opt", "label=type:x"), "label=type:x", "label=disable"),
    (("--security-opt", "systempaths=all"), "systempaths=all", "systempaths=unconfined"),
]


@pytest.mark.parametrize("options, shown, cure", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_values(hf, options, shown, cure):
    refused(hf, *options, words=[options[-2], shown, cure])


@pytest.mark.parametrize("text, word", [
    ("{", "byte"), ("[]", "object"), ("{}", "defaultAction"), ('{"defaultAction": 7}', "defaultAction"),
    ('{"defaultAction": "SCMP_ACT_WOW"}', "SCMP_ACT_WOW"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 7}', "syscalls"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}', "action"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [7]}', "action"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "X"}]}', '"X"'),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "archMap": []}', "archMap"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}', "PDP11"),
    ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY"),
])
def test_bad_profiles(hf, text, word):
    path = file_of(hf, "bad.json", text)
    refused(hf, "--security-opt", f"seccomp={path}", words=[word])


def test_process_1_stays_undumpable(hf):
    """Also where a program with others' ids may dump core: a run's child changes its ids with PID 1's memory. The owner
    of files in /proc tells."""
    needs_idmapped_root()
    knob = "/proc/sys/fs/suid_dumpable"
    before = read(knob)
    try:
        with open(knob, "w", encoding="ascii") as f:
            f.write("1")
        c = hf.start("--userns", "auto", "-u", "1000:1000", "--restart", "always", "--restart-delay", "0",
                     "--restart-mode", "in-place", "--", hf.torture, "stamp")
        c.wait_line("")
        assert os.stat(f"/proc/{c.init}").st_uid != 0 and os.stat(f"/proc/{c.service}/environ").st_uid != 0
        for run in (1, 2):
            assert os.stat(f"/proc/{c.init}/environ").st_uid == 0, run
            kill(c.service, signal.SIGKILL)
            eventually(lambda: len(c.lines()) == run + 1, 10, "the next run")
        assert os.stat(f"/proc/{c.init}/environ").st_uid == 0
    finally:
        with open(knob, "w", encoding="ascii") as f:
            f.write(before)
