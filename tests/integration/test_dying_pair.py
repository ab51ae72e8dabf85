"""Keeper and shim die while a command is asking them: it is told by their successors, or not at all."""

import os
import random
import re
import signal
import subprocess
import time

import pytest

from rig import SLOW, TOOL, alive, eventually, kill, read, scaled, status_field


def connections():
    """To the sockets of supervisors, and those themselves."""
    return len(re.findall(r"/(?:sock|control)$", read("/proc/net/unix"), re.M))


def asked_while_it_dies(hf, c, *words):
    """A command has connected to keeper and shim when they die; what it said and its status."""
    family = [c.keeper, c.shim]
    for pid in family:
        kill(pid, signal.SIGSTOP)
    before = connections()
    asks = subprocess.Popen([TOOL, *words], env=hf.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        eventually(lambda: connections() > before, 10, "it has connected")
    finally:
        for pid in family:
            kill(pid, signal.SIGKILL)
    out = asks.communicate(timeout=20)[0], asks.returncode
    assert not {c.keeper, c.shim} & set(family)
    return out


@pytest.mark.parametrize("words", ["adopt", "pause", "update --cpus 0.5", "exec"], ids=lambda w: w.split()[0])
def test_a_pair_that_dies_while_it_is_asked(hf, words):
    """Whoever was let in by those who died is not told that there is nobody: it lets others in."""
    c = hf.start("--", hf.torture, "stamp")
    service = c.service
    for _ in range(scaled(2, 20)):
        if words == "exec":
            assert asked_while_it_dies(hf, c, "exec", c.name, "echo", "here") == ("here\n", 0)
        else:
            assert asked_while_it_dies(hf, c, *words.split(), c.name) == (f"{c.name}\n", 0)
        assert c.keeper and c.shim and c.service == service and ("Paused" in c.ps()) == (words == "pause")
        hf.ok("resume", c.name)
    c.stop("-t", "0")


@pytest.mark.parametrize("words", ["stop", "kill", "restart", "rm -f"], ids=lambda w: w.split()[0])
def test_a_pair_that_dies_while_its_end_is_asked_for(hf, words):
    for _ in range(scaled(2, 20)):
        c = hf.start("--", hf.torture, "stamp")
        service = c.service
        assert asked_while_it_dies(hf, c, *words.split(), c.name) == (f"{c.name}\n", 0)
        eventually(lambda: not alive(service))
        if words == "restart":
            assert c.wait_service(other_than=service)
        elif words != "rm -f":
            assert c.wait_end() in (137, 143)
        hf("rm", "-f", c.name)


def leftovers(c):
    """What there is of it, or of what it was renamed to."""
    return [n for top in (os.path.dirname(c.state_dir), os.path.dirname(c.log_dir)) if os.path.isdir(top)
            for n in os.listdir(top) if c.name in n]


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_a_shim_that_dies_while_it_removes_all(hf):
    """At any of the names that it takes away: the next one does the rest, and nothing is left."""
    points = range(1, 31)
    for n in sorted(random.sample(points, min(len(points), scaled(10, 30)))):
        c = hf.start("--", hf.torture, "stamp")
        shim = c.shim
        killer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(shim), "-e", "trace=unlinkat,renameat",
                                   "-e", f"inject=unlinkat,renameat:signal=SIGKILL:when={n}"])
        try:
            eventually(lambda: all(status_field(f"{shim}/task/{t}", "TracerPid") != "0"
                                   for t in os.listdir(f"/proc/{shim}/task")), 10, "traced")
            asked = time.monotonic()
            hf("rm", "-f", c.name)  # who asks may be told that its supervisor has gone
            assert time.monotonic() - asked < 5 * SLOW, n  # nobody waits for who only asked
            eventually(lambda: not leftovers(c), 15, f"nothing left after the death at {n}: {leftovers(c)}")
        finally:
            killer.wait(20)


@pytest.mark.quick
def test_what_a_removal_left_behind(hf):
    """Keeper and shim were killed in the middle of it: such a directory stands in nobody's way."""
    c, other = (hf.start("--", hf.torture, "stamp") for _ in range(2))
    left = [os.path.join(os.path.dirname(x.state_dir), f".{x.name}.gone") for x in (c, other)]
    for path in left:
        os.makedirs(os.path.join(path, "deep"))
        open(os.path.join(path, "deep", "journal"), "w", encoding="utf-8").close()
    hf.ok("rm", "-f", c.name)
    eventually(lambda: not leftovers(c), what="the old one and the new one to go")
    assert leftovers(other)
    hf.ok("prune")
    assert not os.path.exists(left[1]) and other.service and hf.containers() == [other.name]
