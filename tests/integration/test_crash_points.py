"""The shim is killed at every one of its system calls in turn, from its first instruction to its last,
over the life of a container that starts, restarts and ends: what the user sees is always the same."""

import os
import shutil

import pytest

import journal
from rig import SCALE, STAGE, eventually

REAL = os.path.join(STAGE, "usr/libexec/holdfast")
LAST = 420  # more than a shim's life has; a point beyond it simply never comes
RUN = ("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
       "--restart-budget", "2/1h", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 5")


@pytest.fixture(scope="module")
def libexec(tmp_path_factory):
    where = tmp_path_factory.mktemp("libexec")
    for name in os.listdir(REAL):
        if name != "holdfast-shim":
            shutil.copy(os.path.join(REAL, name), where / name)
    helper = os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), "killat")
    shutil.copy(helper, where / "holdfast-shim")
    return where


def life(hf, libexec, flag, inject):
    real = os.path.join(REAL, "holdfast-shim")
    env = dict(HOLDFAST_LIBEXEC_DIR=str(libexec), HOLDFAST_TEST_KILLAT=f"{flag} {real} {inject}")
    name = hf.name()
    out = hf("run", "-d", "--name", name, *RUN, env=env)
    assert (out.returncode, out.stdout.strip()) == (0, name), f"{inject}: {out.stderr}"
    assert hf("wait", name).stdout.split()[-1] == "5", inject
    return name


def check(hf, name, inject):
    state, logs = (os.path.join(d, "local", name) for d in (hf.state, hf.logs))
    eventually(lambda: not os.path.exists(os.path.join(state, "enabled")), 15)
    exits = [(r.run, r.exit()) for r in journal.read(state) if r.kind == journal.EXITED]
    assert exits == [(1, 5), (2, 5), (3, 5)], inject
    for stream, text in (("stdout", b"out\n"), ("stderr", b"err\n")):
        data = b"".join(open(os.path.join(logs, f), "rb").read() for f in sorted(os.listdir(logs))
                        if f.startswith(stream) and f.endswith(".raw"))
        assert data == text * 3, inject
    hf.ok("rm", name)


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.parametrize("part", range(6))
def test_killed_at_every_call(hf, libexec, tmp_path, part, measured):
    step = max(1, int(6 / SCALE))
    hits = 0
    for point in range(1 + part, LAST, 6 * step):
        flag = tmp_path / f"flag-{point}"
        inject = f"inject=all:signal=SIGKILL:when={point}"
        name = life(hf, libexec, flag, inject)
        assert flag.exists(), "the stand-in was not run"
        hits += any(r.kind == journal.SHIM and r.body[8] for r in journal.read(
            os.path.join(hf.state, "local", name)))
        check(hf, name, inject)
    measured(f"crash points, part {part}: {hits} deaths, all the same to the user")
    assert hits
