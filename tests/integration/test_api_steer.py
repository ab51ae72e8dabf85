"""Stop, kill, restart, wait and delete over the API."""

import random
import signal
import threading
import time

import pytest

from api import Api, Closed, Refused, v1
from rig import alive, eventually, kill, scaled


@pytest.mark.quick
def test_stop_and_wait(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "catch", "3")
    c.wait_line("ready")
    with Api(c) as waiter, Api(c) as api:
        stream = waiter.begin("Wait", v1.WaitRequest())
        assert waiter.call("GetInfo").id == c.name  # a Wait does not hold up what is behind it
        api.call("Stop", v1.StopRequest())
        r = waiter.response(stream)
        e = v1.WaitResponse.FromString(r.payload).exit
        assert (e.code, e.signal, e.stopped, e.verdict) == (3, 0, True, v1.VERDICT_STAY_DOWN)
    assert c.wait_end() == 3


def test_kill_is_a_signal_or_a_stop(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "catch", "0")
    c.wait_line("ready")
    with Api(c) as api:
        api.call("Kill", v1.KillRequest(signal=signal.SIGUSR1))
        c.wait_line("got 10")
        for bad in (0, 65, 1 << 31):
            with pytest.raises(Refused) as e:
                api.call("Kill", v1.KillRequest(signal=bad))
            assert e.value.code == 3
        stream = api.begin("Wait", v1.WaitRequest())
        api.call("Kill", v1.KillRequest(signal=signal.SIGKILL))
        e = v1.WaitResponse.FromString(api.response(stream).payload).exit
        assert e.signal == 9 and e.stopped


def test_restart(hf):
    c = hf.start("--restart", "no", "--restart-mode", "in-place", "--", hf.torture, "stamp")
    first = c.service
    with Api(c) as api:
        api.call("Restart", v1.RestartRequest(has_grace=True))
        state = eventually(
            lambda: (s := api.call("GetState")).run == 2 and s.pid == c.service and s)
        assert state.pid != first and not alive(first)
        api.call("Stop", v1.StopRequest(has_grace=True))
    c.wait_end()


def test_delete(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        with pytest.raises(Refused) as e:
            api.call("Delete", v1.DeleteRequest())
        assert e.value.code == 9 and "force" in e.value.message
        api.call("Delete", v1.DeleteRequest(force=True))
        with pytest.raises((Closed, BrokenPipeError)):
            while True:
                api.frame()
    eventually(lambda: c.name not in hf.containers())


def test_the_terminal_s_size(hf):
    c = hf.start("-t", "--", "/bin/sh", "-c",
                 "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    c.wait_line("ready")
    with Api(c) as api:
        api.call("ResizePty", v1.ResizePtyRequest(rows=33, columns=77))
        c.wait_line("33 77")
        with pytest.raises(Refused):
            api.call("ResizePty", v1.ResizePtyRequest(rows=70000, columns=1))
    c.stop("-t", "0")
    plain = hf.start("--", hf.torture, "stamp")
    with Api(plain) as api, pytest.raises(Refused) as e:
        api.call("ResizePty", v1.ResizePtyRequest(rows=1, columns=1))
    assert e.value.code == 9


def test_what_changes_something_is_not_for_observers(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c, "observe") as api:
        for method in ("Stop", "Kill", "Restart", "Delete", "ResizePty"):
            with pytest.raises(Refused) as e:
                api.call(method)
            assert e.value.code == 7 and "control" in e.value.message
        assert api.call("GetState").pid == c.service


def test_a_signal_comes_once_over_dying_shims(hf):
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    rng = random.Random(20261126)
    with Api(c) as api:
        for i in range(1, scaled(20, 500) + 1):
            stream = api.begin("Kill", v1.KillRequest(signal=signal.SIGUSR1))
            time.sleep(rng.random() * 0.002)
            shim = c.shim
            if shim:
                kill(shim, signal.SIGKILL)
            assert api.response(stream).status.code == 0
            eventually(lambda: c.lines().count("got 10") >= i, 10, f"signal {i}")
            assert c.lines().count("got 10") == i
    c.stop()


def test_wait_over_dying_shims_and_keepers(hf):
    c = hf.start("--", hf.torture, "catch", "7")
    c.wait_line("ready")
    with Api(c, timeout=60) as api:
        stream = api.begin("Wait", v1.WaitRequest())
        for n in range(scaled(6, 60)):
            c.crash("keeper" if n % 2 else "shim")
        stopper = threading.Thread(target=c.stop)
        stopper.start()
        e = v1.WaitResponse.FromString(api.response(stream).payload).exit
        stopper.join()
        assert e.code == 7
