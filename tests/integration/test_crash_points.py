"""The shim, and the keeper, are killed at their system calls, one after the other, over the life of a container that starts,
restarts and ends: what the user sees is always the same. A run under strace lists the calls; each point
is the n-th call of one kind. CI takes a seeded sample, the full scale every point."""

import collections
import os
import random
import re
import shutil

import pytest

import journal
from rig import STAGE, eventually, scaled

REAL = os.path.join(STAGE, "usr/libexec/holdfast")
RUN = ("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
       "--restart-budget", "2/1h", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 5")
# calls that only look: dying before or after them is dying at the next call that does something
LOOKING = {"fstat", "newfstatat", "access", "faccessat", "faccessat2", "getpid", "getrandom", "brk",
           "rt_sigprocmask", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
           "mprotect", "exit_group", "execve"}


class Victim:
    """A libexec directory in which one program is the stand-in that kills the real one."""

    def __init__(self, program, where):
        self.real = os.path.join(REAL, program)
        self.where = where
        for name in os.listdir(REAL):
            shutil.copy(os.path.join(REAL, name), where / name)
        os.unlink(where / program)
        helper = os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), "killat")
        shutil.copy(helper, where / program)

    def life(self, hf, flag, inject, out="/dev/null"):
        """Returns the container's name, or None when it could not even be created."""
        env = dict(HOLDFAST_LIBEXEC_DIR=str(self.where),
                   HOLDFAST_TEST_KILLAT=f"{flag} {self.real} {out} {inject}")
        name = hf.name()
        res = hf("run", "-d", "--name", name, *RUN, env=env)
        assert flag.exists(), "the stand-in was not run"
        if res.returncode == 125 and self.real.endswith("keeper"):
            # it died before it had anything to keep: nothing runs, and rm takes what is left
            if os.path.exists(os.path.join(hf.state, "local", name)):
                hf.ok("rm", "-f", name)
            return None
        assert (res.returncode, res.stdout.strip()) == (0, name), f"{inject}: {res.stderr}"
        assert hf("wait", name).stdout.split()[-1] == "5", inject
        return name


@pytest.fixture(params=["holdfast-shim", "holdfast-keeper"])
def victim(request, tmp_path):
    where = tmp_path / "libexec"
    where.mkdir()
    return Victim(request.param, where)


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


def list_points(hf, victim, tmp_path):
    trace = tmp_path / "trace"
    name = victim.life(hf, tmp_path / "flag", "trace=all", trace)
    check(hf, name, "reference")
    calls = collections.Counter(re.findall(r"^(\w+)\(", eventually(
        lambda: "exit_group(" in trace.read_text() and trace.read_text()), re.M))
    return [(call, n) for call in sorted(calls) if call not in LOOKING
            for n in range(1, calls[call] + 1)]


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_killed_at_every_call(hf, victim, tmp_path, measured):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    points = list_points(hf, victim, tmp_path)
    assert len(points) > 50, points
    chosen = random.Random(seed).sample(points, min(len(points), scaled(50, 1000)))
    lived = deaths = 0
    for call, n in chosen:
        inject = f"inject={call}:signal=SIGKILL:when={n}"
        name = victim.life(hf, tmp_path / f"{call}-{n}", inject)
        if not name:
            continue
        lived += 1
        records = journal.read(os.path.join(hf.state, "local", name))
        deaths += sum(r.kind == journal.SHIM for r in records) > 1
        check(hf, name, inject)
    measured(f"crash points: {victim.real.split('/')[-1]} killed at {len(chosen)} of {len(points)} calls, "
             f"{len(chosen) - lived} times before there was anything, {deaths} successors: "
             "all the same to the user")
    assert deaths > lived // 4
