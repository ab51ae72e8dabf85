"""Commands beside a service that is PID 1 itself: the same as with an init, but that a dying supervisor takes
them along."""

import os
import signal

import pytest

import journal
from api import Api
from killat import killed_at
from rig import alive, eventually, kill, read, scaled, status_field
from test_api_exec import (run, test_a_terminal, test_it_is_begun_and_its_end_is_told,  # noqa: F401
                           test_what_it_is_given,
                           wait)
from test_api_exec import test_what_waits_is_written_once_and_in_order as written_in_order
from test_exec import (SLEEPER, die_with_the_run, ended, in_group, popen, test_a_container_that_dies_ends_them,  # noqa: F401
                       test_a_dead_client_hangs_up, test_a_dead_container_gives_the_terminal_back,
                       test_a_directory_is_no_stdio, test_a_shell_on_it, test_detached,
                       test_each_has_its_records, test_much_output_arrives_whole,
                       test_output_input_and_status, test_signals_are_passed_on, test_too_many_at_once,
                       test_user_and_directory, test_what_is_wrong_is_named)
from test_shim_death import next_shim
from test_terminal import terminal  # noqa: F401


def alone(hf, *options):
    c = hf.start("--init", "none", *options, *SLEEPER, service=False)
    eventually(lambda: c.init and status_field(c.init, "Name") == "sleep")
    return c


def groups(pid):
    return [x for x in read(f"/proc/{pid}/status").splitlines() if x.startswith("Groups:")]


@pytest.fixture
def box(hf):
    return alone(hf)


@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--userns", "auto"), ("-u", "1000:1000", "--cap-add", "NET_RAW"),
                                     ("--network", "host", "--security-opt", "seccomp=unconfined"), ("-m", "64m", "--pids-limit", "9")],
                         ids=["plain", "userns", "user", "host", "limits"])
def test_it_is_the_container(hf, options):
    """Its namespaces, cgroups, root, user, capabilities and filter: those of the service."""
    c = alone(hf, *options)
    p = popen(hf, c.name, "/bin/sleep", "999")
    pid = eventually(lambda: in_group(c, "999"))[0]
    eventually(lambda: status_field(pid, "Name") == "sleep")
    service = c.init
    for ns in ("pid", "mnt", "uts", "ipc", "net", "cgroup", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{ns}") == os.readlink(f"/proc/{service}/ns/{ns}"), ns
    for field in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
                  "Uid", "Gid", "SigBlk", "SigIgn"):
        assert status_field(pid, field) == status_field(service, field), field
    assert groups(pid) == groups(service)
    assert os.sched_getscheduler(pid) == os.sched_getscheduler(service) == os.SCHED_OTHER
    for name in ("limits", "cgroup", "oom_score_adj"):
        with open(f"/proc/{pid}/{name}") as mine, open(f"/proc/{service}/{name}") as its:
            assert mine.read() == its.read(), name
    for name in ("cwd", "root"):
        assert os.readlink(f"/proc/{pid}/{name}") == os.readlink(f"/proc/{service}/{name}")
    assert status_field(pid, "PPid") == str(c.shim)
    assert status_field(pid, "NSpid").split()[-1] != status_field(pid, "NSpid").split()[0]
    eventually(lambda: sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"])  # its loader opens more
    p.terminate()
    assert p.wait(10) == 128 + signal.SIGTERM
    p.stdout.close()
    p.stderr.close()
    assert not alive(pid)
    c.stop("-t", "0")


def test_environment(hf):
    c = alone(hf, "-e", "A=run", "-e", "B=run")
    r = hf("exec", "-e", "A=exec", "-e", "C=2", c.name, "env")
    got = dict(x.split("=", 1) for x in r.stdout.splitlines())
    assert (got["A"], got["B"], got["C"]) == ("exec", "run", "2")
    assert hf("exec", c.name, "/bin/sh", "-c", "exit 3").returncode == 3
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.parametrize("who", ["shim", "keeper"])
@pytest.mark.parametrize("user", [(), ("-u", "nobody")], ids=["own", "other"])
def test_it_ends_with_its_supervisor(hf, box, who, user):
    for n in range(scaled(2, 30)):
        p = popen(hf, *user, box.name, "/bin/sh", "-c", "echo up; exec sleep 996")
        assert p.stdout.readline() == "up\n"
        pid = eventually(lambda: in_group(box, "996"))[0]
        box.crash(who)
        eventually(lambda: not alive(pid))
        p.communicate(timeout=20)
        assert p.returncode == 137
        ends = eventually(lambda n=n: len(ended(box)) == n + 1 and ended(box))
        assert ends[-1]["inferred"] and ends[-1]["signal"] == 9
        assert alive(box.init)
    assert hf("exec", box.name, "echo", "again").stdout == "again\n"


@pytest.mark.quick
def test_a_shim_that_dies_while_it_is_begun(hf, box):
    """It ran as a whole, or was killed and said so, or never was; each exec has one end."""
    for n in range(scaled(10, 300)):
        p = popen(hf, box.name, "/bin/sh", "-c", "echo ran; exit 7")
        old = box.shim
        eventually(lambda: p.poll() is not None or in_group(box, "exec") or n % 2)
        kill(old, signal.SIGKILL)
        next_shim(box, old)
        out, err = p.communicate(timeout=20)
        assert p.returncode in (7, 137) and out in ("", "ran\n"), (p.returncode, out, err)
    kinds = [r.kind for r in journal.read(box.state_dir)]
    assert kinds.count(journal.EXEC_STARTED) == kinds.count(journal.EXEC_EXITED)
    assert hf("exec", box.name, "echo", "again").stdout == "again\n"


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("api", [False, True], ids=["tool", "api"])
def test_a_shim_that_dies_at_any_call_while_it_is_begun(hf, box, api):
    """What never ran has not ended either: it is begun anew. What was killed is told so."""
    deaths = 0
    for call in ("sendmsg", "openat", "write,pwrite64,writev,pwritev", "read", "pidfd_send_signal", "recvmsg"):
        for when in range(1, scaled(6, 12)):
            old = eventually(lambda: box.shim)
            before = len(ended(box))
            with killed_at(old, call, when):
                if api:
                    with Api(box) as client:
                        r = run(client, "/bin/sh", "-c", "exit 7", wait=True).exit
                    assert (r.code, r.signal) in ((7, 0), (0, 9)), (call, when, r)
                else:
                    p = popen(hf, box.name, "/bin/sh", "-c", "echo ran; exit 7")
                    out, err = p.communicate(timeout=20)
                    assert (p.returncode, out) in ((7, "ran\n"), (137, ""), (137, "ran\n")), (call, when, out, err)
            deaths += box.shim != old
            eventually(lambda: len(ended(box)) > before, 10, f"the end of it, {call} {when}")
            kinds = [r.kind for r in journal.read(box.state_dir)]
            assert kinds.count(journal.EXEC_STARTED) == kinds.count(journal.EXEC_EXITED), (call, when)
    assert deaths > 5


def test_they_die_with_the_run_each_with_a_record(hf):
    c = alone(hf, "--restart", "always", "--restart-delay", "0.01")
    first = c.init
    die_with_the_run(hf, c, first)
    eventually(lambda: c.init not in (None, first))
    c.rm("-f")


def test_many_at_once(hf, box):
    count = 0
    for _ in range(scaled(1, 10)):
        waiting = [(n, popen(hf, box.name, "/bin/sh", "-c", f"exit {n}")) for n in range(count, count + 40)]
        for n, p in waiting:
            _, err = p.communicate(timeout=60)
            assert p.returncode == n % 256, (n, err)
        count += len(waiting)
    assert len({r["id"] for r in ended(box)}) == count


@pytest.mark.release  # what it says there is the leak checker's
def test_it_can_be_made_to_execute_itself(hf, box):
    """From a read-only mount: nothing is won by that."""
    r = hf("exec", box.name, "/proc/self/exe", "x", "y")
    assert r.returncode == 64 and "holdfast-launch: started by" in r.stderr
    assert hf("exec", box.name, "true").returncode == 0


def test_over_the_api_it_is_the_same(box):
    with Api(box) as api:
        assert "exec" in api.call("GetInfo").capabilities
        r = run(api, "/bin/sleep", "995")
        old = box.shim
        kill(old, signal.SIGKILL)
        next_shim(box, old)
        assert wait(api, r.id).signal == 9
        assert run(api, "/bin/sh", "-c", "exit 4", wait=True).exit.code == 4


def test_what_waits_is_written_in_order(box):
    written_in_order(box, 28, 0)
