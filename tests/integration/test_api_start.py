"""Start over the API: a container that was created, with a supervisor that nobody told to start it."""

import signal
import subprocess

import pytest

from api import Api, Closed, Refused, v1
from rig import TOOL, Container, eventually, kill

# strace kills the tool between making the supervisors and asking them; it and the leak sanitizer
# exclude each other
pytestmark = pytest.mark.release


def supervised(hf, *args):
    c = Container(hf, hf.name())
    hf.ok("create", "--name", c.name, *args)
    subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "trace=connect", "-e",
                    "inject=connect:signal=SIGKILL:when=2", TOOL, "start", c.name], env=hf.env(),
                   stdin=subprocess.DEVNULL, capture_output=True, check=False)
    eventually(lambda: c.shim and c.keeper)
    return c


@pytest.mark.quick
def test_it_is_started_once(hf):
    c = supervised(hf, "--", hf.torture, "stamp")
    with Api(c) as api:
        assert api.call("GetState").phase == v1.PHASE_CREATED
        r = api.call("Start")
        assert r.run == 1 and r.pid == c.service and r.init_pid == c.init
        with pytest.raises(Refused) as e:
            api.call("Start")
        assert e.value.code == 9 and "started already" in e.value.message
    with Api(c, "observe") as api, pytest.raises(Refused) as e:
        api.call("Start")
    assert e.value.code == 7


def test_over_a_death(hf):
    c = supervised(hf, "--", hf.torture, "stamp")
    with Api(c) as api:
        stream = api.begin("Start", v1.StartRequest())
        old = c.shim
        if old:
            kill(old, signal.SIGKILL)
        r = api.response(stream)
        assert not r.status.code, r.status.message
        assert v1.StartResponse.FromString(r.payload).run == 1
        assert api.call("GetState").run == 1
    assert c.service


def test_what_can_not_be_executed(hf):
    c = supervised(hf, "--", "/no/such")
    with Api(c) as api:
        try:
            with pytest.raises(Refused) as e:
                api.call("Start")
            assert e.value.code == 9 and "No such file" in e.value.message
        except Closed:
            pytest.fail("it was closed without an answer")
    hf("rm", "-f", c.name)


def test_exits_at_once(hf):
    c = supervised(hf, "--", "/bin/sh", "-c", "exit 3")
    with Api(c) as api:
        assert api.call("Start").run == 1
    assert c.wait_end() == 3
