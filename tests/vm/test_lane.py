"""The tool that runs commands on other kernels: nothing is lost on the way, and no end of the machine
looks like a success."""

import os
import re
import signal
import subprocess
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(HERE, "run")


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    left = [p for p in os.listdir("/proc") if p.isdigit() and b"holdfast-vm." in cmdline(p)]
    deadline = time.monotonic() + 10
    while left and time.monotonic() < deadline:
        left = [p for p in left if b"holdfast-vm." in cmdline(p)]
        time.sleep(0.01)
    assert not left


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def run(*argv, lane="qemu", timeout=120, options=(), **kwargs):
    return subprocess.run([RUN, "-l", lane, "-t", str(timeout), *options, *argv], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 30,
                          check=False, **kwargs)


@pytest.mark.parametrize("lane,version", [("qemu", "6.12"), ("qemu-6.1", "6.1.")])
def test_the_machine_and_what_comes_back(tmp_path, lane, version):
    """One boot, many questions: kernel, groups, arguments, environment, streams, shared directories."""
    script = r"""
uname -r; cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.subtree_control; head -1 /proc/pressure/memory
printf '<%s>' "$@"; echo; echo "$LANE_TEST"; pwd; echo err >&2
echo guest > file; echo lost > /etc/holdfast-vm-lost; ls /tmp /run | wc -l
i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i + 1)); done >&2
kill -USR1 $$"""
    out = run("sh", "-c", script, "sh", "a b", "", "c'\"$d\n", lane=lane, cwd=tmp_path,
              env={**os.environ, "LANE_TEST": "x  y"})
    lines = out.stdout.split("\n")
    assert lines[0].startswith(version) and lines[1] == "0::/"
    assert {"memory", "cpu", "pids", "io", "cpuset"} <= set(lines[2].split())
    assert lines[3].startswith("some avg10=")
    assert "\n".join(lines[4:6]) == "<a b><><c'\"$d\n>" and lines[6] == "x  y"
    assert lines[7] == str(tmp_path)
    assert (tmp_path / "file").read_text() == "guest\n"
    assert not os.path.exists("/etc/holdfast-vm-lost")
    assert out.stderr == "err\n" + "".join(f"{i}\n" for i in range(20000))
    assert out.returncode == 128 + signal.SIGUSR1


def test_too_slow_is_124():
    out = run("sleep", "60", timeout=6)
    assert out.returncode == 124 and "no exit status" in out.stderr


def test_a_dead_machine_is_125():
    out = run("sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
    assert out.returncode == 125 and "panic" in out.stderr


def test_a_missing_command_is_127():
    out = run("/no/such/command")
    assert out.returncode == 127 and "/no/such/command" in out.stderr


@pytest.mark.parametrize("options", [("-l", "vax", "true"), (), ("-w", "/no/such", "true"),
                                     ("-z", "true")])
def test_wrong_options_are_64(options):
    out = subprocess.run([RUN, *options], text=True, capture_output=True, check=False)
    assert out.returncode == 64 and "tests/vm/run" in out.stderr and out.stdout == ""


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
def test_killed_it_takes_the_machine_along(tmp_path, signo):
    """What is left is looked for after each test."""
    p = subprocess.Popen([RUN, "-t", "120", "sh", "-c", "echo up; sleep 100"], text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=tmp_path,
                         env={**os.environ, "TMPDIR": str(tmp_path)})
    assert p.stdout.readline() == "up\n"
    assert any(b"holdfast-vm." in cmdline(q) and re.search(rb"qemu", cmdline(q))
               for q in os.listdir("/proc") if q.isdigit())
    p.send_signal(signo)
    p.wait(30)
    p.stdout.close()
