"""The rig itself can fail: each thing that a container might leave behind is seen."""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile

import pytest

import rig

pytestmark = pytest.mark.quick


def seen(host, word):
    return any(word in d for d in host.differences())


def test_a_process(place):
    host = rig.Host()
    p = subprocess.Popen([os.path.join(place, "torture"), "stamp"], stdout=subprocess.DEVNULL)
    try:
        rig.eventually(lambda: seen(host, "processes: new"))
    finally:
        p.kill()
        p.wait()
    assert host.as_before() == []


def test_a_namespace(place):
    host = rig.Host()
    p = subprocess.Popen(["unshare", "--uts", "sleep", "60"])
    try:
        rig.eventually(lambda: seen(host, "namespaces: new: uts:"))
    finally:
        p.kill()
        p.wait()
    assert host.as_before() == []


def test_a_process_of_any_name_in_another_pid_namespace(place):
    host = rig.Host()
    p = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "60"])
    try:
        # before that it would outlive the one that is killed
        rig.eventually(lambda: seen(host, "'sleep 60'"))
    finally:
        p.kill()
        p.wait()
    assert host.as_before() == []


def test_a_cgroup():
    host = rig.Host()
    for root, _ in rig.cgroup_roots():
        path = f"{root}/holdfast-rig-{os.getpid()}"
        os.mkdir(path)
        try:
            assert seen(host, "cgroups: new: " + path)
        finally:
            os.rmdir(path)
    assert host.as_before() == []


def test_a_mount():
    """Looked at from a mount namespace of its own, so that the host's is never changed."""
    code = ("import os, subprocess, sys; sys.path.insert(0, sys.argv[1]); import rig; "
            "h = rig.Host(); subprocess.check_call(['mount', '-t', 'tmpfs', 'x', '/mnt']); "
            "sys.exit(0 if any('mounts: new' in d for d in h.differences()) else 1)")
    here = os.path.dirname(os.path.abspath(__file__))
    assert subprocess.call(["unshare", "--mount", "--propagation", "private", "/usr/bin/python3",
                            "-c", code, here]) == 0


def test_a_socket():
    host = rig.Host()
    with tempfile.TemporaryDirectory() as where, socket.socket(socket.AF_UNIX) as s:
        s.bind(where + "/left")
        assert seen(host, "unix sockets: new: " + where)
    assert host.as_before() == []


def test_shared_memory():
    host = rig.Host()
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 4096, 0o1600)
    assert segment >= 0
    try:
        assert seen(host, "SysV IPC objects: new")
    finally:
        libc.shmctl(segment, 0, None)
    with tempfile.NamedTemporaryFile(dir="/dev/shm"):
        assert seen(host, "shared places: new: /dev/shm")
    assert host.as_before() == []


def test_a_late_condition_is_an_error():
    with pytest.raises(rig.Late):
        rig.eventually(lambda: False, 0.01, "never")


def test_a_dead_process_is_not_alive():
    p = subprocess.Popen(["sleep", "60"])
    assert rig.alive(p.pid)
    p.send_signal(signal.SIGKILL)
    rig.eventually(lambda: not rig.alive(p.pid), 5)
    p.wait()
    assert rig.starttime(p.pid) is None
