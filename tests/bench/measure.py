"""Samples and what can be said of them; when the machine is quiet enough to take one."""

import os
import statistics
import time

QUIET_SHARE = 0.93  # of the CPUs idle, for QUIET_SPAN seconds, before a block of samples
QUIET_SPAN = 0.25
QUIET_LIMIT, QUIET_BUDGET = 5, 40  # seconds to wait before one block, and in one section
TICKS = os.sysconf("SC_CLK_TCK")


def _cpu():
    with open("/proc/stat", encoding="ascii") as f:
        return [int(x) for x in f.readline().split()[1:9]]


def stolen():
    """CPU seconds that this machine's own host has taken away so far."""
    return _cpu()[7] / TICKS


def wait_quiet(limit):
    """Until others let the CPUs go idle, at most `limit` seconds. False: they did not."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = _cpu()
        time.sleep(QUIET_SPAN)
        after = _cpu()
        total = sum(after) - sum(before)
        idle = after[3] + after[4] - before[3] - before[4]
        if total and idle >= QUIET_SHARE * total:
            return True
    return False


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Row:
    """One figure of one contestant."""

    def __init__(self, section, what, who, unit, values, note=""):
        self.section, self.what, self.who, self.unit = section, what, who, unit
        self.values, self.note = list(values), note

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def p90(self):
        return percentile(self.values, 0.9)


class Run:
    """Everything that one run of the benchmark has found."""

    def __init__(self, quick):
        self.quick = quick
        self.rows, self.notes, self.missing = [], [], []
        self.stolen, self.unquiet, self.patience = {}, {}, {}

    def add(self, *args, **kwargs):
        row = Row(*args, **kwargs)
        if row.values:
            self.rows.append(row)
            print(f"   {row.section}: {row.what}: {row.who}: n {len(row.values)}, median "
                  f"{row.median:.4g} {row.unit}, p90 {row.p90:.4g}", flush=True)
        return row

    def block(self, section):
        """Called before each block of samples that measures time."""
        begin = time.monotonic()
        limit = 0.3 if self.quick else min(QUIET_LIMIT, max(0.3, self.patience[section]))
        if not wait_quiet(limit):
            self.unquiet[section] = self.unquiet.get(section, 0) + 1
        self.patience[section] -= time.monotonic() - begin - QUIET_SPAN

    def begin(self, section):
        print(f"== {section}", flush=True)
        self.stolen[section] = -stolen()
        self.patience[section] = QUIET_BUDGET

    def end(self, section):
        self.stolen[section] += stolen()

    def find(self, section, what, who):
        for row in self.rows:
            if (row.section, row.what, row.who) == (section, what, who):
                return row
        return None

    def merge(self, section):
        """Rows of one contestant and figure, from several rounds, become one."""
        kept = []
        for row in self.rows:
            same = [k for k in kept if (k.section, k.what, k.who) == (row.section, row.what, row.who)]
            if same and row.section == section:
                same[0].values += row.values
            else:
                kept.append(row)
        self.rows = kept
