"""What people keep open for long, in a real terminal: over a resize, and over the container's end."""

import re

import pytest

from rig import eventually
from tmux import Terminal

pytestmark = pytest.mark.slow

TALK = ("--", "/bin/sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done")


def prompt(lines):
    """The shell has its terminal back."""
    shown = [x for x in lines if x.strip()]
    return bool(shown) and shown[-1].strip() == "prompt>"


def numbers(lines):
    return [int(m.group(1)) for x in lines if (m := re.search(r"line (\d+)$", x.rstrip()))]


def in_order(lines):
    found = numbers(lines)
    return found and found == list(range(found[0], found[0] + len(found)))


def sane(t):
    """Line editing, echo and newlines are as a shell wants them."""
    t.line("clear")
    t.wait(lambda s: s[0].strip() == "prompt>" and prompt(s))
    t.line("stty -a | grep -q ' icanon.* echo ' && stty -a | grep -q ' onlcr' && echo as be''fore")
    t.wait(lambda s: "as before" in [x.strip() for x in s])


@pytest.mark.parametrize("command", ["logs -f -n 5", "attach"])
def test_output_as_it_comes(hf, command):
    c = hf.start(*TALK)
    c.wait_line("line 3")
    with Terminal(hf, rows=20, columns=60) as t:
        t.line(f"holdfast {command} {c.name}; echo status $?")
        t.wait(lambda s: in_order(s) and len(numbers(s)) > 8)
        for height, width in ((8, 30), (40, 120), (20, 60)):
            t.resize(height, width)
            before = max(numbers(t.screen()), default=0)
            t.wait(lambda s, b=before: numbers(s) and in_order(s) and numbers(s)[-1] > b + 3)
        c.kill()
        t.wait(lambda s: prompt(s) and any("status" in x for x in s))
        want = "status 137" if command == "attach" else "status 0"
        assert any(x.strip() == want for x in t.screen()), t.screen()
        sane(t)


def test_events_as_they_come(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0.2", "--", "/bin/sh", "-c", "sleep 0.2; exit 7")
    with Terminal(hf, rows=20, columns=100) as t:
        t.line(f"holdfast events -f {c.name}; echo status $?")
        t.wait(lambda s: sum("exited" in x for x in s) > 2)
        t.resize(10, 50)
        t.wait(lambda s: any("exited" in x for x in s))
        t.resize(30, 120)
        c.stop()
        t.wait(lambda s: any(" down" in x for x in s))
        c.rm()
        t.wait(lambda s: prompt(s) and any(x.strip() == "status 0" for x in s))
        sane(t)


def test_containers_in_a_narrow_terminal(hf):
    c = hf.start(*TALK)
    with Terminal(hf, rows=20, columns=120) as t:
        t.line("holdfast ps")
        t.wait(lambda s: any(x.startswith(c.name) and " Up " in x for x in s))
        c.kill()
        c.wait_end()
        t.line("clear; holdfast ps -a")
        t.wait(lambda s: any(x.startswith(c.name) and "Exited" in x for x in s))
        t.resize(20, 30)
        t.line("clear; holdfast ps -a")
        t.wait(lambda s: any(x.startswith(c.name) for x in s) and prompt(s))
        sane(t)


@pytest.mark.parametrize("end", ["exit", "container"])
def test_a_shell_beside_the_service(hf, end):
    c = hf.start("--", "/bin/sleep", "1000")
    with Terminal(hf, rows=20, columns=60) as t:
        t.line(f"holdfast exec -it -e PS1='inside> ' {c.name} /bin/sh; echo status $?")
        t.wait(lambda s: any(x.startswith("inside>") for x in s))
        t.line("stty size")
        t.wait(lambda s: "20 60" in [x.strip() for x in s])
        t.resize(33, 77)
        eventually(lambda: t("display-message", "-p", "#{window_width}").strip() == "77")
        t.line("clear; stty size")
        t.wait(lambda s: "33 77" in [x.strip() for x in s])
        if end == "exit":
            t.line("exit 4")
            t.wait(lambda s: prompt(s) and any(x.strip() == "status 4" for x in s))
        else:
            c.rm("-f")
            t.wait(lambda s: prompt(s) and any("status 137" in x for x in s))
        sane(t)


@pytest.mark.parametrize("end", ["keys", "exit", "container"])
def test_attached_to_a_terminal(hf, end):
    c = hf.start("-it", "-e", "PS1=inside> ", "--", "/bin/sh")
    with Terminal(hf, rows=20, columns=60) as t:
        t.line(f"holdfast attach {c.name}; echo status $?")
        t.line("stty size")
        t.wait(lambda s: "20 60" in [x.strip() for x in s])
        t.resize(33, 77)
        eventually(lambda: t("display-message", "-p", "#{window_width}").strip() == "77")
        t.line("clear; stty size")
        t.wait(lambda s: "33 77" in [x.strip() for x in s])
        if end == "keys":
            t.type("C-p", "C-q")
            t.wait(lambda s: prompt(s) and any("goes on" in x for x in s))
            assert c.service
        elif end == "exit":
            t.line("exit 4")
            t.wait(lambda s: prompt(s) and any(x.strip() == "status 4" for x in s))
        else:
            c.kill()
            t.wait(lambda s: prompt(s) and any("status 137" in x for x in s))
        sane(t)
