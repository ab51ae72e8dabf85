"""Runs whose ends are planned, most of them by the kernel for lack of memory: of each run it is said
once, and under its number, how it ended, whether memory was the cause, whose limit it was, and who was
taken. The seed is printed; HOLDFAST_SEED replays it."""

import os
import random
import subprocess
import time

import pytest

from planned import KILLED, SOMEBODY, Driver, Expected, fails
from rig import LANE, cgroup_root, cgroup_roots, eventually, read, scaled

OWN, GROUP = 40, 28  # MiB: the container's limit, and that of the group around it where it counts
WHOSE = {"own": "the memory limit was reached: ",
         "group": "a group around the container ran out of memory: "}
HOW = {"fast": "eat 128", "slow": "grow 1024 200 0"}
IN_PLACE = ("--restart-mode", "in-place", "--oom-policy")
SETTINGS = {
    "continue": (*IN_PLACE, "continue"),
    "restart": (*IN_PLACE, "restart"),
    "stop": (*IN_PLACE, "stop"),
    "fresh": ("--restart-mode", "fresh", "--oom-policy", "continue"),
    "none": ("--init", "none"),
}


class Around:
    """The group above the container's, and a neighbour in it."""

    def __init__(self):
        self.name = f"holdfast-around-{os.getpid()}"
        root, self.v2 = cgroup_root("memory")
        self.path = f"{root}/{self.name}"
        self.neighbour = None
        os.mkdir(self.path)
        if self.v2:
            self.write("cgroup.subtree_control", "+memory")
        os.mkdir(f"{self.path}/beside")

    def write(self, file, text):
        with open(f"{self.path}/{file}", "w", encoding="utf-8") as f:
            f.write(text)

    def limit(self, mib=None):
        none = "max" if self.v2 else "-1"
        self.write("memory.max" if self.v2 else "memory.limit_in_bytes",
                   str(mib << 20) if mib else none)

    def move_in(self, *argv):
        """A process beside the container, whose memory is counted to this group."""
        self.neighbour = subprocess.Popen(
            ["/bin/sh", "-c", f'echo $$ > {self.path}/beside/cgroup.procs; exec "$@"', "sh", *argv],
            stdout=subprocess.DEVNULL)

    def move_out(self):
        if self.neighbour:
            self.neighbour.kill()
            self.neighbour.wait()
            self.neighbour = None

    def remove(self):
        self.move_out()
        eventually(lambda: not read(f"{self.path}/beside/cgroup.procs"), 5, "nobody beside")
        os.rmdir(f"{self.path}/beside")
        for root, _ in cgroup_roots():
            if os.path.isdir(f"{root}/{self.name}"):
                os.rmdir(f"{root}/{self.name}")


@pytest.fixture
def around(hf):
    group = Around()
    yield group
    hf.remove_all()
    group.remove()


class Grouped(Driver):
    def __init__(self, hf, around, place, setting, rng):
        self.around, self.setting, self.rng, self.twice = around, setting, rng, 0
        super().__init__(hf, place, "-m", f"{OWN}m", "--cgroup", f"/{around.name}/c",
                         *SETTINGS[setting])

    @property
    def spares(self):
        """The service goes on when a child of it is killed."""
        return self.setting not in ("restart", "stop")

    def by_kernel(self, whose, kills=1):
        """While the memory of the first is not back yet the kernel may take another: seen once in some
        thousand kills, and counted by it."""
        self.twice += kills > 1
        return Expected(KILLED, WHOSE[whose] + "killed by SIGKILL", "the kernel", True,
                        (0, 1) if kills > 1 else (0,), kills)

    def main(self, run, whose, how):
        self.say(run, f"exec {self.hf.torture} {HOW[how]}")
        return self.by_kernel(whose)

    def child(self, run, whose, how):
        """Afterwards the service ends as if nothing had happened, if it may."""
        self.fifo(f"{run}.then")
        self.say(run, f"{self.hf.torture} {HOW[how]}; echo child $n $?; "
                 "read what < /v/$n.then; eval $what")
        if not self.spares:
            eventually(lambda: self.over(run), 20)
            return self.by_kernel(whose, kills=2) if self.kills(run) == 2 else \
                Expected(KILLED, WHOSE[whose] + "killed by SIGKILL", "--oom-policy", True, (1,))
        eventually(lambda: f"child {run} 137" in self.c.lines() or self.over(run), 20)
        if self.seen("EVENT_EXITED", run):
            return self.by_kernel(whose, kills=2)
        if self.setting == "none":  # nobody in there sees it
            self.say(f"{run}.then", "exit 7")
            return fails(7, oom=True)
        eventually(lambda: self.noticed(run), 10, f"an OOM kill in run {run}")
        if self.rng.random() < 0.5:
            self.say(f"{run}.then", "kill -9 $$")
            return Expected(KILLED, SOMEBODY.cause, oom=True, noticed=(1,))
        self.say(f"{run}.then", "exit 7")
        return fails(7, oom=True, noticed=(1,))

    def child_and_at_once(self, run, whose, how):
        """Whoever looks may come too late to see the service survive."""
        if not self.spares:
            return self.child(run, whose, how)
        self.say(run, f"{self.hf.torture} {HOW[how]}; exit 7")
        return fails(7, oom=True, noticed=(0, 1))

    def for_a_neighbour(self, run):
        """The group is filled by somebody else, and the container has the largest process."""
        self.fill(run, 20)
        self.around.limit(32)
        self.around.move_in(self.hf.torture, "grow", "512", "0", "18")
        eventually(lambda: self.over(run), 20)
        self.around.move_out()
        return self.by_kernel("group")

    def any_step(self):
        kind = self.rng.choice((self.main, self.main, self.child, self.child_and_at_once))
        self.around.limit()
        if self.rng.random() < 0.2:
            self.step(self.for_a_neighbour)
        elif self.rng.random() < 0.25:
            kinds = [(self.exits,), (self.is_killed, 30)]
            if self.setting != "none":  # process 1 can't kill itself
                kinds += [(self.kills_itself,)]
            self.step(*self.rng.choice(kinds))
        else:
            whose, how = self.rng.choice(tuple(WHOSE)), self.rng.choice(tuple(HOW))
            if whose == "group":
                eventually(lambda: read(self.place / "n").strip() == str(self.runs + 1), 30)
                self.around.limit(GROUP)
            self.step(kind, whose, how)
        if self.setting == "stop" and self.expected[self.runs].oom:
            assert self.c.wait_end() == 137
            self.hf.ok("start", self.c.name)


@pytest.mark.cgroup
@pytest.mark.parametrize("setting", [
    pytest.param(name, marks=[pytest.mark.quick] if name == "continue" else []) for name in SETTINGS])
def test_each_run_has_its_own_cause(hf, around, tmp_path, measured, setting):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    begun, runs = time.monotonic(), scaled(2 if LANE else 6, 300)
    d = Grouped(hf, around, tmp_path, setting, random.Random(seed))
    for run in range(1, runs + 1):
        d.any_step()
        if run % 7 == 0 or run == runs:
            d.collect(run)
    d.stop()
    wrong, ooms = d.wrong(), sum(e.oom for e in d.expected.values())
    measured(f"oom causes, {setting}: {ooms} OOM kills among {runs} runs in "
             f"{time.monotonic() - begun:.0f} s, {len(wrong)} said wrongly, {d.twice} took two")
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
