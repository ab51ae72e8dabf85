"""Which exits are followed by a restart, when, and when it ends."""

import signal

import pytest

from rig import eventually, in_one_of, kill


def runs(container):
    return len([x for x in container.lines() if x.startswith("run ")])


def start(hf, *options, status=0, msec=0):
    return hf.start("--restart-delay", "0", *options, "--", hf.torture, "live", msec, status,
                    service=False)


def gaps(container):
    """Milliseconds between the starts."""
    times = [int(x.split()[1]) for x in container.lines() if x.startswith("run ")]
    return [(b - a) / 1000 for a, b in zip(times, times[1:])]


@pytest.mark.parametrize("policy,status,again", [
    ("no", 0, False), ("no", 3, False),
    ("on-failure", 0, False), ("on-failure", 3, True),
    ("always", 0, True), ("always", 3, True),
    ("unless-stopped", 0, True), ("unless-stopped", 3, True),
])
def test_which_exits_are_followed_by_a_restart(hf, policy, status, again):
    c = start(hf, "--restart", policy, "--restart-budget", "3/1h", status=status)
    assert c.wait_end() == status
    assert runs(c) == (4 if again else 1)


def test_a_delay_alone_may_be_above_the_usual_maximum(hf):
    c = hf.start("--restart", "always", "--restart-delay", "5m", "--", hf.torture, "stamp")
    hf.ok("update", "--restart-delay", "4m", c.name)
    out = hf("update", "--restart-delay", "6m", c.name)
    assert out.returncode == 1 and "restart-max-delay" in out.stderr
    hf.ok("update", "--pids-limit", "9", "--restart", "on-failure", c.name)
    c = hf.start("--restart", "always", "--restart-max-delay", "50ms", "--", hf.torture, "stamp")
    hf.ok("update", "--restart", "on-failure", c.name)
    out = hf("run", "-d", "--restart", "always", "--restart-delay", "5m", "--restart-max-delay", "60s",
             "--", "true")
    assert out.returncode == 64
    assert '--restart-delay "5m": above --restart-max-delay "60s"' in out.stderr


def test_on_failure_restarts_after_a_signal(hf):
    c = hf.start("--restart", "on-failure", "--restart-budget", "2/1h", "--restart-delay", "0",
                 "--", hf.torture, "signal", "11", service=False)
    assert c.wait_end() == 139


@pytest.mark.parametrize("spec,command,end", [
    ("3", ("live", "0", "3"), 3),
    ("3,TERM,42", ("live", "0", "42"), 42),
    ("3,SIGUSR1", ("signal", "10"), 138),
])
def test_success_exit_status(hf, spec, command, end):
    c = hf.start("--restart", "on-failure", "--restart-budget", "5/1h", "--restart-delay", "0",
                 "--success-exit-status", spec, "--", hf.torture, *command, service=False)
    assert c.wait_end() == end
    assert runs(c) <= 1


def test_exhausted_budget_keeps_the_last_status(hf):
    c = start(hf, "--restart", "always", "--restart-budget", "5/1h", status=9)
    assert c.wait_end() == 9
    assert runs(c) == 6


DELAYS = (100, 200, 250, 250)  # ms, give or take 15 %


@pytest.mark.latency
def test_first_restart_at_once_then_growing_delays(hf):
    def batch():
        c = hf.start("--restart", "always", "--restart-delay", "100ms", "--restart-max-delay", "250ms",
                     "--restart-budget", "5/1h", "--", hf.torture, "live", "0", "1", service=False)
        assert c.wait_end(30) == 1
        first, *rest = gaps(c)
        c.rm("-f")
        assert len(rest) == 4 and all(got >= wanted * 0.85 for got, wanted in zip(rest, DELAYS))
        return first < 80 and all(got <= wanted * 1.15 + 60 for got, wanted in zip(rest, DELAYS))
    in_one_of(3, batch)


def test_a_healthy_run_resets_the_delay(hf):
    c = hf.start("--restart", "always", "--restart-delay", "10s", "--healthy-after", "50ms",
                 "--restart-budget", "3/1h", "--", hf.torture, "live", "100", "1", service=False)
    assert c.wait_end(8) == 1
    assert runs(c) == 4


def test_three_unhealthy_runs_in_place_then_a_fresh_one(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "auto",
                 "--", hf.torture, "stamp")
    init = c.init
    c.wait_line("")
    for n in range(1, 5):
        kill(c.service, signal.SIGKILL)
        eventually(lambda: len(c.lines()) == n + 1, 15, f"start {n + 1}")
        eventually(lambda: c.init and c.service)
        assert (c.init == init) == (n <= 3), f"after death {n}"


def test_stop_is_state(hf):
    """No policy acts after a stop, whatever the status."""
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "catch", "5")
    c.wait_line("ready")
    c.stop()
    assert c.wait_end() == 5
    assert len([x for x in c.lines() if x == "ready"]) == 1


def test_a_term_from_outside_to_init_is_a_stop(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "catch", "5")
    c.wait_line("ready")
    kill(c.init, signal.SIGTERM)
    assert c.wait_end() == 5
    assert len([x for x in c.lines() if x == "ready"]) == 1


def test_a_kill_of_the_services_own_pid_is_a_crash(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    first = c.service
    kill(first, signal.SIGKILL)
    assert c.wait_service(other_than=first) != first


def test_no_init_restarts_fresh(hf):
    c = hf.start("--init", "none", "--restart", "always", "--restart-delay", "0", "--",
                 hf.torture, "stamp", service=False)
    c.wait_line("")
    first = eventually(lambda: c.init)
    kill(first, signal.SIGKILL)
    eventually(lambda: c.init not in (None, first), 15, "a new PID 1")
    eventually(lambda: len(c.lines()) == 2)


def test_exec_failure_is_not_retried_for_ever(hf):
    out = hf.run("--restart", "on-failure", "--restart-delay", "0", "--restart-budget", "2/1h",
                 "--", "/no/such/program", timeout=20)
    assert out.returncode == 127
