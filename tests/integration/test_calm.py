"""Rules keep still: what healthy services do brings no action, however hard they work.

An hour at full scale of builds, scans of files and spikes of memory under the sets `web` and
`database`; and at its end an overload, which the same rules of the same containers must see."""

import collections
import os
import random
import shutil
import time

import pytest

import calmload
import journal
from rig import SLOW, eventually, read, scaled
from test_rules import acts, events, inspect

MIB = 1 << 20
LIMIT = 192
HEAPS = {"web": 40, "database": 80}  # MiB that the service keeps
WINDOW = 4.0


def field(text, name):
    return next((int(x.split()[1]) for x in text.splitlines() if x.startswith(f"{name} ")), 0)


class Calm:
    """One container with its preset, its files, and what was seen of it."""

    def __init__(self, hf, preset, seed, seconds):
        self.preset = preset
        self.place = os.path.join(hf.base, preset)
        os.mkdir(self.place)
        shutil.copy(calmload.__file__, self.place)
        self.files()
        self.c = hf.start(
            "-m", f"{LIMIT}m", "--cpus", "0.7", "--pids-limit", "160", "--preset", preset, "--restart", "always",
            "-v", f"{self.place}:/mnt", "-w", "/mnt", "--", "/usr/bin/python3", "/mnt/calmload.py", "load",
            f"{seed}-{preset}", seconds, LIMIT, HEAPS[preset])
        self.service = self.c.service
        self.peak = collections.Counter()
        self.stalls = collections.deque()
        self.before = 0

    def files(self):
        """Together 2.25 times the limit. They leave the host's cache: who reads them is charged."""
        block = random.Random(1).randbytes(MIB)
        for n in range(3):
            with open(os.path.join(self.place, f"scan-{n}"), "wb") as f:
                for _ in range(LIMIT * 3 // 4):
                    f.write(block)
                os.fsync(f.fileno())
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def group(self, controller, v1, v2):
        path, is_v2 = self.c.cgroup(controller)
        return read(f"{path}/{v2 if is_v2 or controller == 'unified' else v1}", "")

    def memory(self):
        """Shares of the limit: in use, without unused file pages, without any file pages."""
        used = int(self.group("memory", "memory.usage_in_bytes", "memory.current") or 0)
        stat = self.group("memory", "memory.stat", "memory.stat")
        prefix = "total_" if "total_cache" in stat else ""
        idle, busy = field(stat, f"{prefix}inactive_file"), field(stat, f"{prefix}active_file")
        return [100 * n // (LIMIT * MIB) for n in (used, used - idle, used - idle - busy)]

    def pressure(self, kind):
        for line in self.group("unified", None, f"{kind}.pressure").splitlines():
            what, avg10, _, _, total = line.split()
            self.high(f"{kind}-{what}-avg10", float(avg10.split("=")[1]))
            if (kind, what) == ("memory", "full"):
                self.stall(time.monotonic(), int(total.split("=")[1]))

    def stall(self, now, total):
        """Of a window as web-memory has it."""
        self.stalls.append((now, total))
        while now - self.stalls[0][0] > WINDOW:
            self.stalls.popleft()
        self.high(f"memory-full-{WINDOW:.0f}s", (total - self.stalls[0][1]) / WINDOW / 10000)

    def high(self, name, value):
        self.peak[name] = max(self.peak[name], value)

    def sample(self):
        for name, share in zip(("usage", "working-set", "no-file"), self.memory()):
            self.high(name, share)
        for kind in ("memory", "cpu", "io"):
            self.pressure(kind)

    def counts(self):
        """How often each load was run, and its amount."""
        runs, amount = collections.Counter(), collections.Counter()
        for line in read(os.path.join(self.place, "progress"), "").splitlines():
            kind, count = line.split(" ", 1)
            assert kind != "failed", line
            runs[kind] += 1
            amount[kind] += int(count)
        return runs, amount

    def ended(self):
        return "end" in self.counts()[0]

    def refaults(self):
        """File pages that were dropped for others, and read again."""
        stat = self.group("memory", "memory.stat", "memory.stat")
        return field(stat, "total_workingset_refault_file") or field(stat, "workingset_refault_file")

    def throttled(self):
        return field(self.group("cpu", "cpu.stat", "cpu.stat"), "nr_throttled")

    def done(self):
        """What rules did to it, and what they only told."""
        did = collections.Counter((e["rule"]["rule"], e["rule"]["action"]) for e in events(self.c, "DONE"))
        begun = collections.Counter((e["rule"]["rule"], e["rule"]["action"]) for e in events(self.c, "ACTION"))
        all_of = did | begun
        return ({k: n for k, n in all_of.items() if k[1] != "event"},
                {k[0]: n for k, n in all_of.items() if k[1] == "event"})

    def touch(self, name):
        with open(os.path.join(self.place, name), "w", encoding="ascii"):
            pass

    def overload(self):
        self.before = self.warned()
        self.touch("overload")
        eventually(lambda: self.memory()[2] >= 98, 60, "a leak up to the limit")
        self.touch("enough")

    def check_work(self):
        """A load that was not there alarms nobody."""
        runs, amount = self.counts()
        names = [load.__name__ for lane in (calmload.Programs, calmload.Files) for load in lane.LOADS]
        assert all(amount[n] > 0 for n in names), amount
        assert self.refaults() > LIMIT * MIB // 4096 // 4 and self.throttled() > 0
        assert self.peak["usage"] >= 99 and self.peak["no-file"] >= 75, self.peak
        return ", ".join(f"{runs[n]} {n} ({amount[n]})" for n in names)

    def warned(self):
        return len([a for a in acts(self.c, f"{self.preset}-leak") if a[:2] == ("DONE", "notify")])

    def check_heard(self, whole):
        """That one action may be needless has a price: the rule's cooldown then comes first."""
        leak = f"{self.preset}-leak"
        eventually(lambda: self.warned() > self.before, 900 if self.before else 60, f"a warning by {leak}")
        if whole:
            self.c.wait_service(200, other_than=self.service)
            assert inspect(self.c)["post_mortem"][0]["by"] == f"rule {leak}"

    def check_unhurt(self):
        assert self.c.service == self.service and not inspect(self.c).get("post_mortem")
        assert not [r for r in journal.read(self.c.state_dir) if r.kind == journal.OOM]


@pytest.mark.slow
def test_normal_loads_bring_no_action(hf, measured):
    seconds, seed = scaled(15, 3600), random.randrange(1 << 30)
    print(f"seed {seed}")
    both = [Calm(hf, preset, seed, seconds) for preset in HEAPS]
    deadline = time.monotonic() + (seconds + 300) * SLOW
    while not all([x.ended() for x in both]) and time.monotonic() < deadline:
        for x in both:
            x.sample()
        time.sleep(0.1)
    needless = 0
    for x in both:
        did, told = x.done()
        needless += sum(did.values())
        measured(f"{x.preset}, {seconds} s of normal loads: actions {did or 0}, told {told or 0}; {x.refaults()} file "
                 f"pages dropped and read again; peaks in percent: {dict(x.peak)}; runs (amounts): {dict(x.counts()[0])}")
    for x in both:
        assert x.ended(), f"{x.preset}: its loads did not end"
        x.check_unhurt()
        measured(f"{x.preset}: {x.check_work()}")
    assert needless <= (1 if seconds >= 3600 else 0), [(x.preset, events(x.c)) for x in both]
    whole = scaled(1, 10) >= 10  # to the end of their ladders: minutes
    overloaded = both if whole else both[:1]
    for x in overloaded:
        x.overload()
    for x in overloaded:
        x.check_heard(whole)
    for x in both:
        x.c.stop("-t", "0")
