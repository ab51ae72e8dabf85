"""A keeper that dies is replaced by the shim, and the shim by the new keeper: the service does not
notice, clients stay connected, nothing is lost."""

import ctypes
import os
import re
import signal

import pytest

import journal
from killat import injected
from rig import Container, alive, descriptors, eventually, kill, read, scaled
from test_shim_death import exactly, numbered


def successors(c, keeper, shim):
    eventually(lambda: c.keeper not in (None, keeper) and c.shim not in (None, shim), 10,
               f"successors of keeper {keeper} and shim {shim}")
    c.answers()


def test_the_service_does_not_notice(hf):
    c = hf.start("--", hf.torture, "lines", "0", "200")
    service, init = c.service, c.init
    for _ in range(scaled(10, 300)):
        keeper, shim = c.keeper, c.shim
        kill(keeper, signal.SIGKILL)
        successors(c, keeper, shim)
        size = len(c.raw())
        eventually(lambda: len(c.raw()) > size, 10, "output after the keeper's death")
    assert (c.service, c.init) == (service, init)
    c.kill("--signal", "TERM")
    c.wait_end()
    exactly(numbered(c.raw().decode()))


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("call", ["clone", "pipe2"])
def test_a_keeper_that_cannot_be_made_at_once(hf, call):
    """It is tried again until it can be, and no try leaves anything open."""
    c = hf.start("--", hf.torture, "lines", "0", "200")
    keeper, shim = c.keeper, c.shim

    def failed():
        return read(f"{c.state_dir}/shim.log", "").count("unavailable")

    def left():
        return sum(x.startswith(("socket:", "pipe:")) for x in descriptors(shim).values())
    with injected(shim, call, "error=EAGAIN:when=1..3"):
        kill(keeper, signal.SIGKILL)
        eventually(lambda: failed() == 1, 10, "a try that fails")
        before = left()
        eventually(lambda: failed() == 3, 10, "the third one")
        assert left() == before
        successors(c, keeper, shim)
    c.stop()
    exactly(numbered(c.raw().decode()))


def test_foreground_client_stays_attached(hf, tmp_path):
    p = hf.popen("run", "--name", "k", "-v", f"{tmp_path}:/v", "--", "/bin/sh", "-c",
                 f"{hf.torture} lines 3000 500; until test -e /v/go; do sleep 0.01; done")
    c = Container(hf, "k")
    eventually(lambda: c.service)
    for _ in range(3):
        keeper, shim = c.keeper, c.shim
        kill(keeper, signal.SIGKILL)
        successors(c, keeper, shim)
    (tmp_path / "go").touch()
    out, err = p.communicate(timeout=30)
    assert p.returncode == 0, err
    exactly(numbered(out), 3000)


def test_restarts_and_verbs_go_on(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place", "--",
                 hf.torture, "stamp")
    for _ in range(3):
        keeper, shim, service = c.keeper, c.shim, c.service
        kill(keeper, signal.SIGKILL)
        successors(c, keeper, shim)
        kill(service, signal.SIGKILL)
        c.wait_service(other_than=service)
    init = c.init
    c.stop()
    assert not alive(init)
    assert "Exited" in c.ps()


def test_init_dies_without_its_parent(hf):
    """An init that is nobody's child any more: its end is seen all the same, and a fresh one starts."""
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    keeper, shim, init = c.keeper, c.shim, c.init
    kill(keeper, signal.SIGKILL)
    successors(c, keeper, shim)
    kill(init, signal.SIGKILL)
    eventually(lambda: c.init not in (None, init) and c.service, 15, "a fresh PID 1")
    # the shim and its pump stand back; what the keeper made by it makes does not
    assert {os.sched_getscheduler(int(t)) for t in os.listdir(f"/proc/{c.shim}/task")} == {os.SCHED_BATCH}
    assert {os.sched_getscheduler(p) for p in (c.keeper, c.init, c.service)} == {os.SCHED_OTHER}


# ---- without init: the service is a stranger's child then. Here the stranger is the test itself.

PR_SET_CHILD_SUBREAPER, WALL = 36, 0x40000000


@pytest.fixture
def stranger():
    """Orphans become the test's own children, and stay zombies until it looks after them."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0

    def all_reaped():
        try:
            while os.waitpid(-1, os.WNOHANG | WALL)[0]:
                pass
        except ChildProcessError:
            return True
        return False
    eventually(all_reaped, 10, "the end of all orphans")


def tells_exits():
    """Linux 6.15 and later keep the status of a reaped process for who holds its pidfd."""
    version = os.environ.get("HOLDFAST_KERNEL") or os.uname().release
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", version).groups())) >= (6, 15)


def the_exit(c):
    """(exit, flags) of the one exit in the journal."""
    exits = [r for r in journal.read(c.state_dir) if r.kind == journal.EXITED]
    assert len(exits) == 1
    return exits[0].exit(), journal.EXIT.unpack_from(exits[0].body)[2]


def orphaned(hf):
    """A service without init that its keeper has left behind; all its supervisors are new."""
    c = hf.start("--init", "none", "--", hf.torture, "catch", "7", service=False)
    eventually(lambda: c.init and c.lines(), 10, "the service's first line")
    keeper, shim = c.keeper, c.shim
    kill(keeper, signal.SIGKILL)
    successors(c, keeper, shim)
    return c


def is_observed(c, code):
    assert c.wait_end() == (code if code >= 0 else 128 - code)
    got, flags = the_exit(c)
    assert got == code and not flags & (journal.EXIT_INFERRED | journal.EXIT_UNKNOWN)
    assert "not known" not in c.ps()


def is_unknown(c):
    assert c.wait_end() == 125
    _, flags = the_exit(c)
    assert flags & journal.EXIT_INFERRED and flags & journal.EXIT_UNKNOWN
    assert "status not known" in c.ps()


MASKS = pytest.mark.parametrize("mask", [None, "6.1"], ids=["this-kernel", "masked"])
ENDS = pytest.mark.parametrize("signo,code", [(signal.SIGTERM, 7), (signal.SIGKILL, -9)],
                               ids=["exit", "signal"])


@MASKS
@ENDS
def test_without_init_a_zombie_tells_its_status(hf, stranger, monkeypatch, mask, signo, code):
    if mask:
        monkeypatch.setenv("HOLDFAST_KERNEL", mask)
    c = orphaned(hf)
    kill(c.init, signo)
    is_observed(c, code)


@MASKS
@ENDS
def test_without_init_the_kernel_tells_or_nobody(hf, stranger, monkeypatch, mask, signo, code):
    """Ended and reaped by the stranger while no shim was there to look."""
    if mask:
        monkeypatch.setenv("HOLDFAST_KERNEL", mask)
    c = orphaned(hf)
    keeper, shim, service = c.keeper, c.shim, c.init
    kill(keeper, signal.SIGSTOP)  # it shall not revive the shim yet
    kill(shim, signal.SIGKILL)
    kill(service, signo)
    os.waitid(os.P_PID, service, os.WEXITED | WALL)
    kill(keeper, signal.SIGCONT)
    if tells_exits():
        is_observed(c, code)
    else:
        is_unknown(c)


def test_without_init_service_and_keeper_die_together(hf):
    """The exit falls into the time in which nobody supervises."""
    for _ in range(scaled(4, 100)):
        c = hf.start("--init", "none", "--", hf.torture, "catch", "7", service=False)
        eventually(lambda: c.init and c.lines(), 10, "the service's first line")
        service = c.init
        kill(c.keeper, signal.SIGKILL)
        kill(service, signal.SIGKILL)
        if tells_exits():
            is_observed(c, -9)
        else:  # whoever reaps it may be faster than the shim
            assert c.wait_end() in (125, 137)
        c.rm()
