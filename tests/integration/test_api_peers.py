"""Who may not drive a container: the container, however it comes by the socket. What counts is who has
connected, so a connection that a process of the host passes into a container is that process's."""

import os
import socket
import subprocess

import pytest

from api import Api, HEAD, ttrpc
from rig import eventually
from test_api_hostile import request

PYTHON = "/usr/bin/python3"
# Asks at the socket named, and shows the answer; one that refuses does not wait for the question.
ASK = """
import os, socket, sys
where = os.open(os.path.dirname(sys.argv[1]), os.O_PATH)
s = socket.socket(socket.AF_UNIX)
s.connect(f"/proc/self/fd/{where}/{os.path.basename(sys.argv[1])}")
try: s.sendall(bytes.fromhex(sys.argv[2]))
except BrokenPipeError: pass
data = s.recv(1000)
print(data.hex(), flush=True)
"""
STAY = ASK + "import time; time.sleep(1000)"
QUESTION = request("GetInfo", 1).hex()


def answer(text):
    return ttrpc.Response.FromString(bytes.fromhex(text.strip())[HEAD.size:]).status


def refused(text, name):
    status = answer(text)
    assert status.code == 7, (name, status)
    assert "itself" in status.message, status


@pytest.fixture
def state(hf, tmp_path):
    """The state directory by another path: by its own, a container's directory is covered inside it."""
    alias = str(tmp_path / "state")
    os.makedirs(hf.state, mode=0o700)
    os.mkdir(alias)
    subprocess.run(["mount", "--bind", hf.state, alias], check=True)
    yield alias
    subprocess.run(["umount", alias], check=True)


@pytest.mark.quick
def test_its_own_root_with_its_own_sockets(hf, state):
    for options in ((), ("--cap-add", "ALL"), ("--init", "none")):
        for name in ("control", "observe"):
            own = hf.name()
            c = hf.start("--volume", f"{state}:/s", *options, "--", PYTHON, "-c", STAY,
                         f"/s/local/{own}/{name}", QUESTION, name=own, service=False)
            refused(eventually(lambda: c.raw().endswith(b"\n") and c.lines())[0], name)
            with Api(c) as api:
                assert api.call("GetInfo").id == own
            c.stop("-t", "0")


def test_what_was_exec_ed_into_it(hf, state):
    c = hf.start("--volume", f"{state}:/s", "--", hf.torture, "stamp")
    other = hf.start("--", hf.torture, "stamp")
    for name in ("control", "observe"):
        for target in (c, other):
            out = hf.ok("exec", c.name, PYTHON, "-c", ASK, f"/s/local/{target.name}/{name}", QUESTION)
            refused(out.stdout, name)


def test_a_user_namespace_changes_nothing(hf):
    c = hf.start("--", hf.torture, "stamp")
    os.chmod(f"{c.state_dir}/observe", 0o666)  # opened to everybody
    out = hf("run", "--rm", "--userns", "auto", "--volume", f"{c.state_dir}/observe:/mnt/observe", "--",
             PYTHON, "-c", ASK, "/mnt/observe", QUESTION)
    assert out.returncode == 0, out.stderr
    refused(out.stdout, "observe")


def test_another_pid_namespace(hf):
    c = hf.start("--", hf.torture, "stamp")
    for name in ("control", "observe"):
        out = subprocess.run(["unshare", "--pid", "--fork", PYTHON, "-c", ASK,
                              os.path.join(c.state_dir, name), QUESTION],
                             text=True, capture_output=True, timeout=20)
        refused(out.stdout, name)


def test_a_process_in_its_cgroup(hf):
    """As of a container without a pid namespace of its own: the group tells."""
    c = hf.start("--", hf.torture, "stamp")
    group, _ = c.cgroup("pids")
    for name in ("control", "observe"):
        out = subprocess.run(["/bin/sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh",
                              f"{group}/cgroup.procs", PYTHON, "-c", ASK, f"{c.state_dir}/{name}",
                              QUESTION], text=True, capture_output=True, timeout=20)
        assert out.returncode == 0, out.stderr
        refused(out.stdout, name)


def test_a_connection_is_that_of_who_connected(hf, tmp_path):
    """Made inside and handed out it is refused; made outside and handed in it is the host's own doing."""
    c = hf.start("--", hf.torture, "stamp")
    script = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
out = socket.socket(socket.AF_UNIX)
out.connect("/t/handed")
socket.send_fds(out, [b"x"], [s.fileno()])
out.recv(1)
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "handed"))
        listener.listen()
        listener.settimeout(20)
        p = hf.popen("run", "--rm", "--volume", f"{hf.state}:/s", "--volume", f"{tmp_path}:/t", "--",
                     PYTHON, "-c", script, f"/s/local/{c.name}/control")
        with listener.accept()[0] as inside:
            _, fds, _, _ = socket.recv_fds(inside, 1, 1)
            with socket.socket(fileno=fds[0]) as handed:
                handed.settimeout(10)
                try:
                    handed.sendall(bytes.fromhex(QUESTION))
                except BrokenPipeError:
                    pass
                refused(handed.recv(1000).hex(), "control")
        assert p.wait(20) == 0, p.stderr.read()
        p.stdout.close()
        p.stderr.close()


# The tool's own socket: packets, which nobody here has to speak.
CONNECT = """
import os, socket, sys, time
where = os.open(os.path.dirname(sys.argv[1]), os.O_PATH)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(3)
s.connect(f"/proc/self/fd/{where}/{os.path.basename(sys.argv[1])}")
try: print("closed" if s.recv(1000) == b"" else "told", flush=True)
except (ConnectionError, TimeoutError) as e: print("closed" if isinstance(e, ConnectionError) else "open", flush=True)
time.sleep(1000)
"""


def test_the_tool_s_socket(hf, state):
    own = hf.name()
    c = hf.start("--volume", f"{state}:/s", "--cap-add", "ALL", "--", PYTHON, "-c", CONNECT, f"/s/local/{own}/sock",
                 name=own)
    assert eventually(lambda: c.raw().endswith(b"\n") and c.lines()) == ["closed"]
    c.answers()
    c.stop("-t", "0")
