"""The whole machine runs out of memory: whose end that was is said as well as ever. Nothing collects this
by itself: tests/vm/test_host_memory.py runs it in a small machine of its own, which it may ruin."""

import os
import random
import re
import subprocess

import pytest

from planned import KILLED, Driver, Expected, fails
from rig import cgroup_root, eventually, read, scaled

OWN = 64  # MiB, of the container that has a limit
HOST, LIMIT = "the host ran out of memory: ", "the memory limit was reached: "
HOW = {"fast": "eat 4096", "slow": "grow 1024 200 0"}


@pytest.fixture(autouse=True, scope="session")
def machine():
    """Never on a machine that anybody needs."""
    if "vm.job=" not in read("/proc/cmdline") or free() > 1024:
        pytest.exit("not a small machine of tests/vm/run", 3)


def free():
    return int(re.search(r"^MemAvailable: +(\d+)", read("/proc/meminfo"), re.M)[1]) >> 10


def kills():
    return int(re.search(r"^oom_kill (\d+)", read("/proc/vmstat"), re.M)[1])


def set_score(score):
    with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as f:
        f.write(str(score))


class Whole(Driver):
    """The tests themselves are the last that the kernel would take, the service the first. On cgroup v1
    nobody is told when it is the host that runs out."""

    rings = cgroup_root("memory")[1]

    def __init__(self, hf, place, *options):
        super().__init__(hf, place, "--oom-score-adj", "500", "--restart-mode", "in-place",
                         "--oom-policy", "continue", *options)

    def eat(self, run, what):
        """Nothing else runs until the kernel has killed: a tool that is asked again and again would
        bring back the pages that it takes away, for a minute or so."""
        before = kills()
        self.say(run, what)
        eventually(lambda: kills() > before, 60, "an OOM kill")

    def main(self, run, how):
        self.eat(run, f"exec {self.hf.torture} {HOW[how]}")
        return Expected(KILLED, HOST + "killed by SIGKILL", "the kernel", True)

    def child(self, run, how):
        self.fifo(f"{run}.then")
        self.eat(run, f"{self.hf.torture} {HOW[how]}; echo child $n $?; read what < /v/$n.then; "
                 "eval $what")
        self.c.wait_line(f"^child {run} 137$", 30)
        if self.rings:
            eventually(lambda: self.noticed(run), 10, f"an OOM kill in run {run}")
        self.say(f"{run}.then", "exit 7")
        return fails(7, oom=True, noticed=(int(self.rings),))

    def own(self, run, how):
        self.say(run, f"exec {self.hf.torture} {HOW[how]}")
        return Expected(KILLED, LIMIT + "killed by SIGKILL", "the kernel", True)

    def crowd(self, mib, score):
        """A process outside that uses so much of the machine."""
        return subprocess.Popen([self.hf.torture, "eat", str(mib)], stdout=subprocess.DEVNULL,
                                preexec_fn=lambda: set_score(score))

    def for_a_stranger(self, run):
        """Somebody outside uses up what there is, and the service is the first to be taken."""
        self.fill(run, 56)
        before = kills()
        stranger = self.crowd(free() + 24, -1000)
        eventually(lambda: kills() > before, 60, "an OOM kill")
        eventually(lambda: self.over(run), 30)
        stranger.kill()
        stranger.wait()
        return Expected(KILLED, HOST + "killed by SIGKILL", "the kernel", True)

    def instead_of_a_stranger(self, run):
        """Somebody outside is taken: nothing has happened here."""
        self.fifo(f"{run}.then")
        self.say(run, "read what < /v/$n.then; eval $what")
        assert self.crowd(4096, 1000).wait() == KILLED
        self.say(f"{run}.then", "exit 7")
        return fails(7)


@pytest.mark.parametrize("limited", [False, True], ids=["no-limit", "own-limit"])
def test_the_host_is_named(hf, tmp_path, measured, limited):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    set_score(-900)
    d = Whole(hf, tmp_path, *(("-m", f"{OWN}m") if limited else ()))
    how = rng.choice(tuple(HOW))
    first = [(d.for_a_stranger,), (d.own, how)] if limited else \
        [(d.main, how), (d.child, how), (d.instead_of_a_stranger,)]
    ways = first + [(d.exits,), (d.is_killed, 30)]
    plan = first + [rng.choice(ways) for _ in range(scaled(len(first), 100) - len(first))]
    rng.shuffle(plan)
    for n, way in enumerate(plan, 1):
        d.step(*way)
        if n % 7 == 0 or n == len(plan):
            d.collect(n)
    d.stop()
    wrong, ooms = d.wrong(), sum(e.oom for e in d.expected.values())
    measured(f"oom causes, whole host: {ooms} OOM kills among {len(plan)} runs, "
             f"{len(wrong)} said wrongly")
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
