"""The systemd units: as systemd reads them, and what they start."""

import glob
import os
import re
import shlex
import subprocess

import pytest

from rig import STAGE, TOOL, eventually
from test_adopt import bereave

UNITS = f"{STAGE}/usr/lib/systemd/system"


def verify(folder):
    """What systemd has to say about the units there; as on a host where this build is installed."""
    files = sorted(glob.glob(f"{folder}/*"))
    out = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False)
    return out.returncode, out.stdout + out.stderr


@pytest.fixture
def units(tmp_path):
    for name in os.listdir(UNITS):
        with open(f"{UNITS}/{name}", encoding="utf-8") as f:
            (tmp_path / name).write_text(f.read().replace("/usr/bin/holdfast", TOOL))
    return tmp_path


@pytest.mark.quick
def test_systemd_understands_them(units):
    assert sorted(os.listdir(units)) == ["holdfast-adopt.service", "holdfast-adopt.timer"]
    assert verify(units) == (0, "")
    for name, key, line in (("service", "KillMode", "KilMode=process"), ("service", "ExecStart", "ExecStart=nowhere"),
                            ("timer", "OnActiveSec", "OnActiveSec=x")):
        path = units / f"holdfast-adopt.{name}"
        good = path.read_text()
        path.write_text(re.sub(rf"^{key}.*$", line, good, flags=re.M))
        assert path.read_text() != good and verify(units) != (0, ""), line  # it would have said so
        path.write_text(good)


@pytest.mark.quick
def test_what_the_timer_starts(hf, units):
    """All that nobody supervises, and only that."""
    line = re.search(r"^ExecStart=(.*)$", (units / "holdfast-adopt.service").read_text(), re.M)[1]
    assert shlex.split(line) == [TOOL, "adopt", "--all"]

    def run():
        out = subprocess.run(shlex.split(line), env=hf.env(), capture_output=True, text=True, check=False)
        return out.returncode, out.stdout.split(), out.stderr
    assert run() == (0, [], "")
    lost = [hf.start("--", hf.torture, "stamp") for _ in range(2)]
    fine, ended = hf.start("--", hf.torture, "stamp"), hf.start("--", "true", service=False)
    made = hf.ok("create", "--", "true").stdout.strip()
    ended.wait_end()
    kept = fine.keeper, fine.shim
    for c in lost:
        bereave(c)
    assert run() == (0, sorted(c.name for c in lost), "")
    assert all(c.keeper and c.shim for c in lost) and (fine.keeper, fine.shim) == kept
    assert run() == (0, [], "")
    without = hf.start("--init", "none", "--", hf.torture, "stamp", service=False)
    service = eventually(lambda: without.init)
    bereave(without)
    bereave(lost[0])
    status, adopted, said = run()  # one that can't be is no reason to leave the others alone
    assert (status, adopted) == (1, [lost[0].name]) and without.name in said and "--init none" in said
    assert without.init == service
    for wrong in (("--all", fine.name), ()):
        out = hf("adopt", *wrong)
        assert out.returncode == 64 and out.stderr.count("\n") == 1, out.stderr
    hf.ok("rm", "-f", made, without.name, fine.name, ended.name, *(c.name for c in lost))
