"""Rules beside what somebody asks for: what a person does is not undone by them, and no end is slowed."""

import pytest

from rig import Late, eventually, kill, read
from test_rules import LIMIT, acts, limit_file, wait_event

QUOTA = ("cpu", "cpu.cfs_quota_us", "cpu.max")
FREEZE = "f: memory.usage > 50%: freeze({}); cooldown 1h"


def frozen_by_rule(hf, place, time):
    c = hf.start(*LIMIT, "--rule", FREEZE.format(time), "--volume", f"{place}:/v", "--", "/bin/sh", "-c",
                 f"until test -e /v/go; do sleep 0.01; done; {hf.torture} eat 40 & exec sleep 1000")
    (place / "go").touch()
    eventually(lambda: "Paused" in c.ps())
    return c


def stays_paused(c, seconds):
    with pytest.raises(Late):
        eventually(lambda: "Paused" not in c.ps(), seconds)


@pytest.mark.slow
@pytest.mark.cgroup
def test_a_pause_takes_a_freeze_over(hf, tmp_path):
    c = frozen_by_rule(hf, tmp_path, "2s")
    hf.ok("pause", c.name)
    stays_paused(c, 3)
    hf.ok("resume", c.name)
    assert "Up" in c.ps()
    c.stop("-t", "0")


@pytest.mark.slow
@pytest.mark.cgroup
@pytest.mark.parametrize("who", [None, "shim"])
def test_a_pause_after_a_freeze_stays(hf, tmp_path, who):
    c = frozen_by_rule(hf, tmp_path, "3s")
    hf.ok("resume", c.name)
    hf.ok("pause", c.name)
    if who:
        c.crash(who)
    stays_paused(c, 4)
    hf.ok("resume", c.name)
    c.stop("-t", "0")


def hog(hf, *options, service=("ignore",)):
    """Throttled to 0.05 CPUs, for as long as nobody gives it back."""
    c = hf.start(*LIMIT, "--cpus", "0.2", *options, "--rule",
                 "hog: cpu.throttled > 30% over 1s: throttle(25%); cooldown 1h; clear 0%", "--", "/bin/sh", "-c",
                 f"{hf.torture} spin 2 & exec {hf.torture} {' '.join(service)}")
    wait_event(c, "DONE", "hog")
    assert read(limit_file(c, *QUOTA)).split()[0] == "5000"
    return c


@pytest.mark.cgroup
@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_who_is_ended_has_all_of_its_share(hf, verb):
    c = hog(hf, "--restart", "always", "--stop-timeout", "10s")
    service = c.service
    p = hf.popen(verb, c.name)
    eventually(lambda: read(limit_file(c, *QUOTA)).split()[0] == "20000")
    assert c.service == service  # which ignores it
    kill(service, 9)
    p.communicate(timeout=20)
    assert p.returncode == 0
    c.rm("-f")


@pytest.mark.cgroup
def test_who_is_ended_for_its_health_has_all_of_its_share(hf, tmp_path):
    c = hog(hf, "--restart", "always", "--stop-timeout", "10s", "--volume", f"{tmp_path}:/v",
            "--probe", "liveness=exec:test ! -e /v/ill,period=200ms,timeout=10s,failures=1")
    service = c.service
    (tmp_path / "ill").touch()
    eventually(lambda: read(limit_file(c, *QUOTA)).split()[0] == "20000", 20)
    assert c.service == service
    (tmp_path / "ill").unlink()
    c.rm("-f")


@pytest.mark.cgroup
def test_two_that_throttle(hf):
    """One at a time; a second one of another kind says that it did not."""
    c = hog(hf, "--rule", "mem: memory.usage > 30% for 3s: throttle; cooldown 1h", service=("eat", "40"))
    done = wait_event(c, "DONE", "mem")[0]["rule"]
    assert "not done: it is throttled by hog" in done["result"], done
    assert acts(c, "hog")[:1] == [("FIRED", "", "")]
    c.stop("-t", "0")


@pytest.mark.cgroup
def test_a_stop_signal_by_rule_is_a_stop_without_init_too(hf, tmp_path):
    c = hf.start(*LIMIT, "--init", "none", "--restart", "always", "--rule",
                 "t: memory.usage > 50%: notify(TERM); cooldown 1h", "--volume", f"{tmp_path}:/v", "--", "/bin/sh", "-c",
                 f"trap 'exit 3' TERM; {hf.torture} eat 40 & while :; do sleep 0.02; done")
    assert c.wait_end() == 3
    c.rm()


def test_retries_go_with_their_policy(hf):
    c = hf.start("--restart", "on-failure:1", "--restart-delay", "0", "--", hf.torture, "stamp")
    hf.ok("update", "--restart", "always", c.name)
    for _ in range(4):
        service = c.service
        kill(service, 9)
        c.wait_service(other_than=service)
    c.stop("-t", "0")
