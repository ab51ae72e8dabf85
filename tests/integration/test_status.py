"""The exit status of `holdfast run` is the service's; where there was none, it says whose fault."""

import pytest

pytestmark = pytest.mark.quick

WAYS = pytest.mark.parametrize("init", [(), ("--init", "none")], ids=["init", "no-init"])


@WAYS
@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code(hf, init, code):
    assert hf.run(*init, "--", "sh", "-c", f"exit {code}").returncode == code


@WAYS
def test_segmentation_fault_is_139(hf, init):
    assert hf.run(*init, "--", hf.torture, "crash").returncode == 139


def test_killed_by_its_own_signal(hf):
    assert hf.run("--", "sh", "-c", "kill -SEGV $$").returncode == 139
    assert hf.run("--", hf.torture, "signal", "9").returncode == 137


@WAYS
def test_missing_command_is_127_with_its_name(hf, init):
    out = hf.run(*init, "--", "no-such-program-anywhere")
    assert out.returncode == 127
    assert "no-such-program-anywhere" in out.stderr
    out = hf.run(*init, "--", "/no/such/path")
    assert out.returncode == 127
    assert "/no/such/path" in out.stderr


@WAYS
@pytest.mark.parametrize("what", ["/etc/hostname", "/etc"])
def test_not_executable_is_126_with_its_name(hf, init, what):
    out = hf.run(*init, "--", what)
    assert out.returncode == 126, out.stderr
    assert what in out.stderr


def test_output_of_a_short_service_is_whole(hf):
    out = hf.run("--", hf.torture, "lines", "20000", "0")
    assert out.returncode == 0
    assert out.stdout == "".join(f"{i:08d}\n" for i in range(1, 20001))


def test_stdout_and_stderr_stay_apart(hf):
    out = hf.run("--", hf.torture, "both", "100")
    assert out.stdout == "".join(f"out {i}\n" for i in range(1, 101))
    assert out.stderr == "".join(f"err {i}\n" for i in range(1, 101))


BAD = [
    (["--no-such-option"], "--no-such-option"),
    (["--memory", "12Q"], "--memory"),
    (["--memory"], "--memory"),
    (["--cpus", "zero"], "--cpus"),
    (["--pids-limit", "-1"], "--pids-limit"),
    (["--volume", "nowhere"], "--volume"),
    (["--volume", "relative:/x"], "--volume"),
    (["--tmpfs", "relative"], "--tmpfs"),
    (["--network", "bridge"], "--network"),
    (["--restart", "sometimes"], "--restart"),
    (["--restart-mode", "magic"], "--restart-mode"),
    (["--restart-delay", "soon"], "--restart-delay"),
    (["--restart-max-delay", "-1s"], "--restart-max-delay"),
    (["--restart-budget", "3"], "--restart-budget"),
    (["--restart-budget", "0/0"], "--restart-budget"),
    (["--success-exit-status", "256"], "--success-exit-status"),
    (["--oom-policy", "pray"], "--oom-policy"),
    (["--stop-signal", "NOSUCH"], "--stop-signal"),
    (["--stop-timeout", "later"], "--stop-timeout"),
    (["--init", "systemd"], "--init"),
    (["--cap-add", "CAP_NONSENSE"], "--cap-add"),
    (["--cap-drop", "NONSENSE"], "--cap-drop"),
    (["--user", "+1"], "--user"),
    (["--user", "4294967296"], "--user"),
    (["--user", "nobody-of-that-name"], "--user"),
    (["--workdir", "relative"], "--workdir"),
    (["--name", "a/b"], "a/b"),
    (["--name", ".."], ".."),
    (["--userns", "no"], "--userns"),
    (["--userns", "1000000000000000000000000:5"], "--userns"),
    (["--restart-jitter", "00000001000"], "--restart-jitter"),
    (["--restart-budget", "00000000000000000000000099999/1h"], "--restart-budget"),
    (["--restart-delay", "1s"], "--restart-delay"),
    (["--restart-mode", "fresh"], "--restart-mode"),
    (["--init", "none", "--oom-policy", "stop"], "--oom-policy"),
    (["--init", "none", "--oom-policy", "continue"], "--oom-policy"),
    (["--cgroup", "/"], "--cgroup"),
    (["--cgroup", "/a..b"], "--cgroup"),
    (["--cgroup", "relative"], "--cgroup"),
    (["--rootfs", "/no/such/directory"], "/no/such/directory"),
    (["--bundle", "/no/such/bundle"], "/no/such/bundle"),
    (["--rootfs", "/etc/passwd"], "/etc/passwd"),
    (["--volume", "/etc:/"], "--volume"),
    (["--tmpfs", "/"], "--tmpfs"),
    (["--tmpfs", "/t:size=x"], "size=x"),
    (["--tmpfs", "/t:mode=9"], "mode=9"),
    (["--hostname", "--"], "--hostname"),
    (["-d=1"], "--detach"),
]


@pytest.mark.parametrize("options,named", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_option_is_64_with_its_name(hf, options, named):
    command = [] if options == ["--memory"] else ["--", "true"]
    out = hf("run", *options, *command)
    assert out.returncode == 64, (out.returncode, out.stderr)
    assert named in out.stderr
    assert len(out.stderr.strip()) > len(named) + 15, "no cure: " + out.stderr
    assert hf.containers() == []


def test_the_cure_is_said(hf):
    assert "512M" in hf("run", "--memory", "12Q", "--", "true").stderr
    assert "always" in hf("run", "--restart", "sometimes", "--", "true").stderr


def test_no_command_is_64(hf):
    assert hf("run").returncode == 64
    assert hf("run", "--").returncode == 64


def test_unknown_subcommand_is_64(hf):
    out = hf("fly")
    assert out.returncode == 64 and "fly" in out.stderr


def test_a_name_that_is_taken(hf):
    c = hf.start("--", hf.torture, "stamp")
    out = hf("run", "-d", "--name", c.name, "--", "true")
    assert out.returncode in (64, 125) and c.name in out.stderr
    assert c.service, "the first one was disturbed"


def test_names_that_do_not_exist(hf):
    for verb in ("stop", "kill", "wait", "rm", "logs"):
        out = hf(verb, "nobody-here")
        assert out.returncode != 0 and "nobody-here" in out.stderr, verb
