"""A memory bomb is the service's problem alone: init survives, the policy applies, the exit says
OOM."""

import pytest

from rig import alive, eventually

LIMIT = ("--memory", "32M")


def says_oom(text):
    return "oom" in text.lower() or "lack of memory" in text


@pytest.mark.quick
def test_a_bomb_is_killed_and_the_exit_says_so(hf):
    out = hf("run", "--name", hf.name(), *LIMIT, "--", hf.torture, "eat", "256")
    assert out.returncode == 137
    assert says_oom(out.stderr), out.stderr


def test_ps_says_it_afterwards(hf):
    c = hf.start(*LIMIT, "--", hf.torture, "eat", "256", service=False)
    assert c.wait_end() == 137
    assert says_oom(c.ps())


@pytest.mark.quick
def test_init_survives_and_the_policy_applies(hf, tmp_path):
    c = hf.start(*LIMIT, "--restart", "always", "--restart-delay", "0", "--restart-mode",
                 "in-place", "--restart-budget", "3/1h", "--oom-policy", "continue", "-v", f"{tmp_path}:/v", "--",
                 "/bin/sh", "-c", f"until test -e /v/go; do sleep 0.01; done; exec {hf.torture} eat 256")
    init = eventually(lambda: c.init)
    (tmp_path / "go").touch()
    assert c.wait_end(40) == 137
    assert len([x for x in c.lines() if x == "eating"]) == 4
    assert not alive(init)


def test_same_init_after_an_oom_kill(hf):
    c = hf.start(*LIMIT, "--restart", "on-failure", "--restart-delay", "0", "--restart-mode",
                 "in-place", "--oom-policy", "continue", "--tmpfs", "/mnt", "--", "/bin/sh", "-c",
                 f"test -e /mnt/second && exec {hf.torture} stamp; : > /mnt/second; "
                 f"exec {hf.torture} eat 256", service=False)
    init = eventually(lambda: c.init)
    c.wait_line(r"^\d+ \d+$", 20)
    assert c.init == init


@pytest.mark.quick
def test_policy_continue_spares_the_service(hf):
    c = hf.start(*LIMIT, "--oom-policy", "continue", "--", hf.torture, "eat-child", "256")
    service = c.service
    c.wait_line("child signal 9", 20)
    assert c.service == service


def test_policy_stop_takes_everything_down(hf):
    c = hf.start(*LIMIT, "--restart", "always", "--oom-policy", "stop", "--", hf.torture,
                 "eat-child", "256", service=False)
    assert c.wait_end() == 137
    assert len([x for x in c.lines() if x == "child"]) == 1
    assert says_oom(c.ps())


def test_policy_restart_kills_everything_and_starts_again(hf):
    c = hf.start(*LIMIT, "--restart", "always", "--restart-delay", "0", "--oom-policy", "restart",
                 "--restart-budget", "2/1h", "--", hf.torture, "eat-child", "256", service=False)
    assert c.wait_end(40) == 137
    assert len([x for x in c.lines() if x == "child"]) == 3


def test_without_init_too(hf):
    out = hf("run", "--name", hf.name(), "--init", "none", *LIMIT, "--", hf.torture, "eat", "256")
    assert out.returncode == 137
    assert says_oom(out.stderr), out.stderr


def test_a_kill_that_is_no_oom_does_not_say_so(hf):
    out = hf("run", "--name", hf.name(), *LIMIT, "--", hf.torture, "signal", "9")
    assert out.returncode == 137
    assert not says_oom(out.stderr), out.stderr
