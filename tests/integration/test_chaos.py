"""Random deaths of the supervisors while a service crashes with numbered codes and writes numbered
lines: every exit is journalled exactly once with its code, every line is there once, in order. The
seed is printed; HOLDFAST_SEED replays it."""

import os
import random
import signal
import time

import journal
from rig import alive, eventually, kill, number, scaled
from test_adopt import adopt, bereave

SERVICE = """read n < /v/n; n=$((n + 1)); echo $n > /v/n
printf '%08d\\n' $n; exit $((n % 100 + 1))"""


def start(hf, tmp_path):
    (tmp_path / "n").write_text("0\n")
    return hf.start("--restart", "always", "--restart-delay", "3ms", "--restart-max-delay", "3ms",
                    "--restart-jitter", "0", "--restart-mode", "in-place",
                    "--volume", f"{tmp_path}:/v", "--", "/bin/sh", "-c", SERVICE, service=False)


def behind(c, tmp_path):
    """Runs that the journal has yet to tell of. PID 1 keeps 63 and says how many it had to leave out:
    that is another test's, so nobody is struck before about half of them have been heard."""
    now = number(tmp_path / "n")  # first: to read a long journal takes as long as many runs
    told = [r.run for r in journal.read(c.state_dir) if r.kind == journal.EXITED]
    return now - max(told, default=0)


def strike(c, rng):
    """Kills one of the pair or both, or stops the shim for good, after a random pause."""
    victim = rng.choice(["shim", "shim", "shim", "keeper", "stop", "both"])
    shim = eventually(lambda: c.shim, 10)
    if victim == "both":
        time.sleep(rng.random() * 0.05)
        bereave(c)
        time.sleep(rng.random() * 0.05)
        adopt(c)
        return
    if victim == "keeper":
        c.answers()  # its shim may have just been struck
        shim = c.shim
    pid = eventually(lambda: c.keeper, 10) if victim == "keeper" else shim
    time.sleep(rng.random() * 0.05)  # the randomness itself, not a wait for anything
    if alive(pid):
        kill(pid, signal.SIGSTOP if victim == "stop" else signal.SIGKILL)
    eventually(lambda: not alive(pid), 10, f"the end of the {victim} {pid}")
    if victim == "keeper":  # its shim is making the next one: the death of both is another strike
        eventually(lambda: c.keeper and c.shim not in (None, shim), 10, "keeper and shim again")
        c.answers()


def test_no_exit_and_no_line_is_lost(hf, tmp_path, measured):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    c = start(hf, tmp_path)
    strikes = scaled(25, 1000)
    for _ in range(strikes):
        eventually(lambda: behind(c, tmp_path) < 30, 10, "a shim that lives long enough to hear of exits")
        strike(c, rng)
    eventually(lambda: c.shim and c.keeper)
    c.stop(timeout=60)
    lines = c.raw().decode().split("\n")[:-1]
    runs = len(lines)
    exits = [r for r in journal.read(c.state_dir) if r.kind == journal.EXITED]
    gaps = [r for r in journal.read(c.state_dir) if r.kind == journal.EXIT_GAP]
    assert not gaps, f"seed {seed}"
    seen = [(r.run, r.exit()) for r in exits if r.exit() >= 0]
    counted = {run for run, _ in seen}
    assert len(seen) == len(counted), f"seed {seed}: an exit was journalled twice"
    assert seen == sorted(seen), f"seed {seed}: out of order"
    # the last run may have been stopped before, or after, it said its number
    assert [(n, n % 100 + 1) for n in range(1, runs)] == seen[:runs - 1], f"seed {seed}"
    assert lines == [f"{n:08d}" for n in range(1, runs + 1)], f"seed {seed}"
    measured(f"chaos: {strikes} deaths of shim, keeper or both during {runs} runs: every exit and line once")
