"""A machine that runs out of memory as a whole, and what Holdfast says of it."""

import os
import re
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.join(os.path.dirname(HERE), "integration", "whole_host.py")
PYTEST = ("/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", TESTS)

# Debian's 6.12 has no memory controller for v1 any more.
ON_V1 = """echo -memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir /run/memory &&
mount -t cgroup -o memory memory /run/memory && exec "$@" """


WIDE = 10  # HOLDFAST_SCALE from which on both run both tests; an OOM kill takes seconds there


@pytest.mark.parametrize("lane,options,prefix,first", [
    ("qemu", (), (), "no-limit"),
    ("qemu-6.1", ("-a", "cgroup_no_v1=none"), ("sh", "-c", ON_V1, "sh"), "own-limit")],
    ids=["v2", "v1"])
def test_causes(capsys, lane, options, prefix, first):
    scale = max(1.0, float(os.environ.get("HOLDFAST_SCALE", "1")))
    which = () if scale >= WIDE else ("-k", first)
    machine = (os.path.join(HERE, "run"), "-l", lane, "-m", "256M", "-t", f"{300 * scale:.0f}",
               "-w", os.path.dirname(os.environ["HOLDFAST_STAGE"]), *options, "--", *prefix)
    out = subprocess.run([*machine, *PYTEST, *which], text=True, stdin=subprocess.DEVNULL,
                         capture_output=True, check=False,
                         env={**os.environ, "HOLDFAST_LANE": lane})
    with capsys.disabled():
        for line in re.findall("^measured: .*", out.stdout, re.M):
            print(f"\n{line}")
    passed = f"{1 if which else 2} passed"
    assert out.returncode == 0 and passed in out.stdout, out.stdout + out.stderr
