"""A keeper that dies is replaced by the shim, and the shim by the new keeper: the service does not
notice, clients stay connected, nothing is lost."""

import signal

from rig import Container, alive, eventually, kill, scaled
from test_shim_death import exactly, numbered


def successors(c, keeper, shim):
    eventually(lambda: c.keeper not in (None, keeper) and c.shim not in (None, shim), 10,
               f"successors of keeper {keeper} and shim {shim}")


def test_the_service_does_not_notice(hf):
    c = hf.start("--", hf.torture, "lines", "0", "200")
    service, init = c.service, c.init
    for _ in range(scaled(10, 300)):
        keeper, shim, size = c.keeper, c.shim, len(c.raw())
        kill(keeper, signal.SIGKILL)
        successors(c, keeper, shim)
        eventually(lambda: len(c.raw()) > size, 10, "output after the keeper's death")
    assert (c.service, c.init) == (service, init)
    c.kill("--signal", "TERM")
    c.wait_end()
    exactly(numbered(c.raw().decode()))


def test_foreground_client_stays_attached(hf):
    p = hf.popen("run", "--name", "k", "--", hf.torture, "lines", "3000", "500")
    c = Container(hf, "k")
    eventually(lambda: c.service)
    for _ in range(3):
        keeper, shim = c.keeper, c.shim
        kill(keeper, signal.SIGKILL)
        successors(c, keeper, shim)
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


def test_both_die_and_a_command_ends_what_is_left(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    keeper, shim, init, service = c.keeper, c.shim, c.init, c.service
    kill(keeper, signal.SIGSTOP)  # it shall not revive the shim first
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(shim))
    assert alive(init) and alive(service)
    assert "Orphaned" in c.ps()
    c.stop()
    assert not alive(init) and not alive(service)
    assert "Exited" in c.ps()
