"""The shim, and the keeper, are killed at their system calls, one after the other, over the life of a container that starts,
restarts and ends: what the user sees is always the same. A run under strace lists the calls; each point
is the n-th call of one kind. CI takes a seeded sample, the full scale every point."""

import collections
import os
import random
import re

import pytest

import journal
from killat import StandIn
from rig import eventually, scaled

RUN = ("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
       "--restart-budget", "2/1h")
# Says that it is ready and, once, stores a descriptor; goes on when the shim has done what it asks.
NOTIFIER = """
import os, socket, sys
def notify(text, *fds):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(os.environ["NOTIFY_SOCKET"])
    socket.send_fds(s, [text], fds)
def barrier():
    r, w = os.pipe()
    notify(b"BARRIER=1", w)
    os.close(w)
    os.read(r, 1)
names = os.environ["LISTEN_FDNAMES"]
print("out", names, flush=True)
print("err", file=sys.stderr, flush=True)
if "one" not in names:
    notify(b"FDSTORE=1\\nFDNAME=one", os.memfd_create("x"))
notify(b"READY=1")
barrier()
sys.exit(5)
"""
# kind -> options and command, what it writes to stdout in its three runs, points tried in CI
SERVICES = {
    "plain": (("--", "/bin/sh", "-c", "echo out; echo err >&2; exit 5"), b"out\n" * 3, 50),
    "notify": (("--notify", "--listen", "a=unix:@holdfast-crash-points", "--", "/usr/bin/python3",
                "-c", NOTIFIER), b"out a\n" + b"out a:one\n" * 2, 20),
}
# calls that only look: dying before or after them is dying at the next call that does something
LOOKING = {"fstat", "newfstatat", "access", "faccessat", "faccessat2", "getpid", "getrandom", "brk",
           "rt_sigprocmask", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
           "mprotect", "exit_group", "execve"}


def count_calls(trace):
    return collections.Counter(re.findall(r"^(\w+)\(", trace, re.M))


class Victim:
    def __init__(self, program, where, kind):
        self.command, self.output, self.points = SERVICES[kind]
        self.kind, self.program = kind, program
        self.stand_in = StandIn(where, program)

    def life(self, hf, flag, inject, out="/dev/null"):
        """Returns the container's name, or None when it could not even be created."""
        env = self.stand_in.env(flag, inject, out)
        name = hf.name()
        res = hf("run", "-d", "--name", name, *RUN, *self.command, env=env)
        assert flag.exists(), "the stand-in was not run"
        if res.returncode == 125 and self.program == "holdfast-keeper":
            # it died before it had anything to keep: nothing runs, and rm takes what is left
            if os.path.exists(os.path.join(hf.state, "local", name)):
                hf.ok("rm", "-f", name)
            return None
        assert (res.returncode, res.stdout.strip()) == (0, name), f"{inject}: {res.stderr}"
        assert hf("wait", name).stdout.split()[-1] == "5", inject
        return name


@pytest.fixture(params=[(program, kind) for kind in SERVICES
                        for program in ("holdfast-shim", "holdfast-keeper")], ids="-".join)
def victim(request, tmp_path):
    program, kind = request.param
    return Victim(program, tmp_path / "libexec", kind)


def check(hf, victim, name, inject):
    state, logs = (os.path.join(d, "local", name) for d in (hf.state, hf.logs))
    eventually(lambda: not os.path.exists(os.path.join(state, "enabled")), 15)
    exits = [(r.run, r.exit()) for r in journal.read(state) if r.kind == journal.EXITED]
    assert exits == [(1, 5), (2, 5), (3, 5)], inject
    if victim.kind == "notify":
        assert [r.run for r in journal.read(state) if r.kind == journal.READY] == [1, 2, 3], inject
    for stream, text in (("stdout", victim.output), ("stderr", b"err\n" * 3)):
        data = b"".join(open(os.path.join(logs, f), "rb").read() for f in sorted(os.listdir(logs))
                        if f.startswith(stream) and f.endswith(".raw"))
        assert data == text, (inject, data)
    hf.ok("rm", name)


def list_points(hf, victim, tmp_path):
    trace = tmp_path / "trace"
    name = victim.life(hf, tmp_path / "flag", "trace=all", trace)
    check(hf, victim, name, "reference")
    calls = count_calls(eventually(
        lambda: "exit_group(" in trace.read_text() and trace.read_text()))
    return [(call, n) for call in sorted(calls) if call not in LOOKING
            for n in range(1, calls[call] + 1)]


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_killed_at_every_call(hf, victim, tmp_path, measured):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    points = list_points(hf, victim, tmp_path)
    assert len(points) > 50, points
    chosen = random.Random(seed).sample(points, min(len(points), scaled(victim.points, 1000)))
    lived = deaths = 0
    for call, n in chosen:
        inject = f"inject={call}:signal=SIGKILL:when={n}"
        name = victim.life(hf, tmp_path / f"{call}-{n}", inject)
        if not name:
            continue
        lived += 1
        records = journal.read(os.path.join(hf.state, "local", name))
        deaths += sum(r.kind == journal.SHIM for r in records) > 1
        check(hf, victim, name, inject)
    measured(f"crash points, {victim.kind}: {victim.program} killed at {len(chosen)} of {len(points)} calls, "
             f"{len(chosen) - lived} times before there was anything, {deaths} successors: "
             "all the same to the user")
    assert deaths > lived // 4
