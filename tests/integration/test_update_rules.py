"""update --rule: the rules of what runs are replaced, whoever dies over it."""

import collections
import os
import random
import re
import signal

import pytest

import journal
from api import Api, Refused, v1
from killat import StandIn
from rig import Container, cgroup_root, eventually, kill, read, scaled
from test_rules import LIMIT, acts, events, inspect, limit_file, wait_event

THROTTLE = "old: memory.usage > 30%: throttle; cooldown 1h"
CALM = "new: memory.usage > 99%: event"


def names(c):
    """Of the rules that the supervisor goes by, and of those in the state directory."""
    with Api(c) as api:
        there = [r.name for r in api.call("GetState").rules]
    kept = [x.split(":")[0] for x in read(os.path.join(c.state_dir, "rules"), "").splitlines()]
    return there, kept


def throttled_file(c):
    return limit_file(c, "memory", "memory.soft_limit_in_bytes", "memory.high")


def eater(hf):
    return ("--", "/bin/sh", "-c", f"{hf.torture} eat 32 & wait $!; sleep 1000")


@pytest.mark.quick
@pytest.mark.cgroup
def test_replaced_as_a_whole(hf):
    c = hf.start(*LIMIT, "--rule", THROTTLE, "--rule", "other: memory.usage > 90%: kill", *eater(hf))
    soft = throttled_file(c)
    wait_event(c, "DONE", "old")
    throttled = read(soft)
    hf.ok("update", "--rule", CALM, "--rule", "again: memory.usage > 20% for 100ms: event; cooldown 1h", c.name)
    assert names(c) == (["new", "again"], ["new", "again"])
    assert read(soft) != throttled  # let go by the time that it is answered
    wait_event(c, "DONE", "again")  # everything begins anew: it was above before
    assert [a[0] for a in acts(c, "old")] == ["FIRED", "ACTION", "DONE", "CLEARED"]
    assert events(c, "CLEARED")[0]["rule"]["why"].endswith("the rules were replaced")
    assert re.search(r" updated .*rules new again\n", hf.ok("events", c.name).stdout)
    assert [r["name"] for r in inspect(c)["rules"]] == ["new", "again"]
    for who in ("shim", "keeper"):
        c.crash(who)
        assert names(c)[0] == ["new", "again"]
    assert len(events(c, "FIRED")) == 2  # none of them a second time
    c.stop("-t", "0")
    hf.ok("start", c.name)
    assert names(c)[0] == ["new", "again"]
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_frozen_by_a_rule_that_is_no_more(hf):
    c = hf.start(*LIMIT, "--rule", "f: memory.usage > 30%: freeze(60s); cooldown 1h", "--", "/bin/sh", "-c",
                 f"{hf.torture} eat 32 & exec {hf.torture} lines 0 10000")
    wait_event(c, "DONE", "f")
    hf.ok("update", "--restart", "always", "--rule", CALM, c.name)
    lines = len(c.lines())
    eventually(lambda: len(c.lines()) > lines + 5)
    assert "Up" in c.ps() and names(c)[0] == ["new"]
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_none_is_only_watched(hf):
    c = hf.start(*LIMIT, "--rule", THROTTLE, *eater(hf))
    wait_event(c, "DONE", "old")
    throttled = read(throttled_file(c))
    hf.ok("update", "--rule", "none", c.name)
    assert names(c) == (["memory", "pids"], [])
    assert read(throttled_file(c)) != throttled
    assert "rules none" in hf.ok("events", c.name).stdout
    c.crash("shim")
    assert names(c) == (["memory", "pids"], [])
    hf.ok("update", "--rule", CALM, c.name)  # and back
    assert names(c) == (["new"], ["new"])
    c.stop("-t", "0")
    c = hf.start("--", hf.torture, "stamp")  # watched by nobody yet
    hf.ok("update", "--rule", "none", c.name)
    hf.ok("update", "--preset", "batch", c.name)
    assert "batch-pids" in names(c)[0]
    c.stop("-t", "0")


REFUSED = [
    ("x: memory.size > 1%: event", "x: memory.size"),
    ("x: memory.pressure.full > 10% over 100ms: event", "floor of 500ms"),
    ("x: memory.usage > 90%: restart(2m); cooldown 1m", "longer than the cooldown"),
    ("x: memory.usage > 90%: restart; cooldown 5s", "--stop-timeout"),
    ("x: cpu.throttled > 50%: event", "add --cpus"),
    ("x: watchdog.missed: restart", "add --watchdog"),
    ("x: health.failing: restart", "add --probe"),
    ("x: memory.usage > 90%: dump(/nowhere/hook)", "hook can't be executed"),
]


@pytest.mark.quick
@pytest.mark.cgroup
def test_refused_as_run_does(hf):
    c = hf.start(*LIMIT, "--rule", CALM, "--", hf.torture, "stamp")
    refused = list(REFUSED)
    if not cgroup_root("io")[1]:
        refused.append(("x: io.pressure.full > 50%: throttle", "has not the cgroup controller"))
    if not cgroup_root("memory")[1]:
        refused.append(("x: memory.events.high > 5: event", "only cgroup v2"))
    with Api(c) as api:
        for rule, word in refused:
            out = hf("update", "--pids-limit", "7", "--rule", "y: pids.max: event", "--rule", rule, c.name)
            assert (out.returncode, out.stdout) == (64, "") and word in out.stderr, out.stderr
            assert '"x' in out.stderr and out.stderr.count("\n") == 1, out.stderr
            with pytest.raises(Refused) as e:
                api.call("Update", v1.UpdateRequest(pids_limit=v1.Limit(value=7), rules=v1.RuleSet(rules=[rule])))
            assert e.value.code == 3 and '"x' in e.value.message and word in e.value.message
        for rules, word in ((v1.RuleSet(presets=["game"]), "web, database or batch"),
                            (v1.RuleSet(rules=[CALM, CALM]), "two rules"),
                            (v1.RuleSet(presets=["web", "database", "batch"], rules=[
                                f"r{i}: pids.max: event" for i in range(9)]), "more than 16")):
            with pytest.raises(Refused) as e:
                api.call("Update", v1.UpdateRequest(rules=rules))
            assert e.value.code == 3 and word in e.value.message
    assert names(c) == (["new"], ["new"])
    assert "updated" not in hf.ok("events", c.name).stdout
    for args, word in ((("--rule", "none", "--preset", "web"), "together with other rules"),
                       (("--preset", "game"), "web, database or batch"), (("--rule", ""), "--rule")):
        out = hf("update", *args, c.name)
        assert out.returncode == 64 and word in out.stderr, out.stderr
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_by_the_limits_that_there_are_then(hf):
    c = hf.start("--", hf.torture, "stamp")
    for rule, limit in (("memory.usage > 90%", ("--memory", "64M")), ("cpu.throttled > 90%", ("--cpus", "1"))):
        rule = f"x: {rule}: event"
        out = hf("update", "--rule", rule, c.name)
        assert out.returncode == 64 and f"add {limit[0]}" in out.stderr, out.stderr
        hf.ok("update", *limit, "--rule", rule, c.name)  # with it
        hf.ok("update", "--rule", rule, c.name)  # it is there
        out = hf("update", limit[0], "none", "--rule", rule, c.name)
        assert out.returncode == 64 and f"add {limit[0]}" in out.stderr, out.stderr
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_what_of_a_set_can_not_work_is_left_out(hf):
    c = hf.start("--", hf.torture, "stamp")  # without a limit of memory or CPU
    for more in ((), ("--restart", "always")):  # answered at once, and when init has the policy
        out = hf("update", "--preset", "web", *more, c.name)
        assert out.returncode == 0 and "left out" in out.stderr, out.stderr
        assert all(f'rule "web-{x}"' in out.stderr for x in ("leak", "cpu")) and "web-pids" not in out.stderr
        assert {"web-pids", "web-output"} <= set(names(c)[0]) and "web-leak" not in names(c)[0]
    with Api(c) as api:
        answer = api.call("Update", v1.UpdateRequest(rules=v1.RuleSet(presets=["web"])))
        assert len(answer.warnings) == 1 and "web-cpu" in answer.warnings[0]
        assert not api.call("Update", v1.UpdateRequest(rules=v1.RuleSet(rules=["a: pids.max: event"]))).warnings
        assert "update-rules" in api.call("GetInfo").capabilities
    c.stop("-t", "0")


@pytest.mark.slow
@pytest.mark.cgroup
def test_the_restart_budget_counts_on(hf):
    leak = "leak: memory.usage > 40%: restart(1s); cooldown 1s; clear 20%"
    c = hf.start(*LIMIT, "--restart", "always", "--restart-budget", "2/1h", "--rule", leak, "--", hf.torture,
                 "grow", "1024", "5000", "50")
    eventually(lambda: len([x for x in c.lines() if x == "growing"]) == 3, 40)
    hf.ok("update", "--rule", leak.replace("leak", "same"), c.name)
    c.crash("shim")
    eventually(lambda: [a for a in acts(c, "same") if "budget is used up" in a[2]], 40)
    assert len([x for x in c.lines() if x == "growing"]) == 3 and c.service
    c.stop("-t", "0")


@pytest.mark.cgroup
def test_one_or_the_other_when_a_shim_dies(hf):
    """Also with a client that does not come back for its answer."""
    c = hf.start(*LIMIT, "--rule", THROTTLE, *eater(hf))
    wait_event(c, "DONE", "old")
    sets = {"new": CALM, "other": "other: pids.max: event"}
    for n in range(scaled(10, 200)):
        name = sorted(sets)[n % 2]
        tool = hf.popen("update", "--rule", sets[name], c.name)
        kill(c.shim, signal.SIGKILL)
        if n % 3 == 0:
            tool.kill()
        _, err = tool.communicate(timeout=20)
        # whose client is dead may still be under way: it was not, then it is, and both say so
        there, kept = eventually(lambda: (both := names(c)) and both[0] == both[1] and both)
        assert there in (["old"], ["new"], ["other"]), (there, kept)
        assert n % 3 == 0 or (tool.returncode, there) == (0, [name]), (tool.returncode, err, there)
    c.stop("-t", "0")


class Life:
    """A container that a rule has throttled and whose rules are replaced. The shim is a stand-in that kills
    the real one at one of its system calls."""

    def __init__(self, hf, where):
        self.hf, self.stand_in = hf, StandIn(where, "holdfast-shim")

    def live(self, flag, inject, out="/dev/null"):
        env = self.stand_in.env(flag, inject, out)
        name = self.hf.name()
        self.hf.ok("run", "-d", "--name", name, *LIMIT, "--rule", THROTTLE, *eater(self.hf), env=env)
        c = Container(self.hf, name)
        eventually(lambda: [a for a in acts(c, "old") if a[0] == "DONE"], 15, inject)
        throttled = read(throttled_file(c))
        self.hf.ok("update", "--rule", CALM, name)
        assert names(c) == (["new"], ["new"]), inject
        eventually(lambda: read(throttled_file(c)) != throttled, 10, inject)
        kinds = [r.kind for r in journal.read(c.state_dir) if journal.RULE_FIRED <= r.kind <= journal.RULE_CLEARED]
        assert kinds == [journal.RULE_FIRED, journal.RULE_ACTION, journal.RULE_DONE, journal.RULE_CLEARED], \
            (inject, kinds)
        c.stop("-t", "0")
        c.rm()


@pytest.mark.release  # strace and the leak sanitizer exclude each other
@pytest.mark.slow
@pytest.mark.cgroup
def test_killed_at_every_call_of_an_update(hf, tmp_path):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    life, trace = Life(hf, tmp_path / "libexec"), tmp_path / "trace"
    life.live(tmp_path / "flag", "trace=all", trace)
    text = eventually(lambda: "exit_group(" in trace.read_text() and trace.read_text())
    before = text.split('"rules.', 1)[0]  # the file's next name: from here on it is about the update
    calls, begun = (collections.Counter(re.findall(r"^(\w+)\(", x, re.M)) for x in (text, before))
    points = [(call, n) for call in ("pwrite64", "write", "openat", "rename", "renameat", "renameat2", "close",
                                     "munmap", "mmap", "sendmsg", "sendto", "fsync")
              for n in range(begun[call] - 2, calls[call] + 1) if n > 0]
    assert len(points) > 20
    for call, n in random.Random(seed).sample(points, min(len(points), scaled(12, 1000))):
        life.live(tmp_path / f"{call}-{n}", f"inject={call}:signal=SIGKILL:when={n}")
