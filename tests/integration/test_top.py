"""top in a real terminal."""

import re
import signal

import pytest

import rig
from rig import eventually, kill
from tmux import Terminal

pytestmark = pytest.mark.slow


def rows(lines):
    """Ids, in the order of the screen."""
    if len(lines) < 3 or not lines[0].startswith("holdfast top"):
        return []
    return [line.split()[0] for line in lines[2:] if re.match(r"\S+ +[a-z]+ +", line)
            and not line.startswith("q leave")]


def three(hf):
    busy = hf.start("-m", "64m", "--", "/bin/sh", "-c", "while :; do :; done", name="b-busy")
    fat = hf.start("-m", "128m", "--", "/bin/sh", "-c",
                   "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo full; sleep 1000",
                   name="c-fat")
    many = hf.start("--", "/bin/sh", "-c", "for i in 1 2 3 4 5; do sleep 1000 & done; echo up; wait",
                    name="a-many")
    fat.wait_line("full")
    many.wait_line("up")
    return busy, fat, many


def up(t, screen):
    return screen[0].startswith("holdfast top") and t.flag("alternate_on") == "1"


def normal(t):
    """The terminal is as a shell wants it."""
    return t.flag("alternate_on") == "0" and t.flag("cursor_flag") == "1" and \
        any(line.startswith("prompt>") for line in t.screen())


def test_shows_sorts_and_leaves(hf):
    three(hf)
    with Terminal(hf, columns=120) as t:
        t.line("holdfast top -i 200ms")
        lines = t.wait(lambda s: len(rows(s)) == 3 and rows(s)[0] == "b-busy" and s)
        assert "3 containers, 3 running" in lines[0] and "sorted by cpu" in lines[0]
        assert lines[1].split()[:5] == ["ID", "STATE", "CPU%", "MEMORY/LIMIT", "PIDS"]
        busy = next(x for x in lines if x.startswith("b-busy"))
        assert re.search(r"running +\d+\.\d +\S+ \S+/64 MiB +2 +0 +- ", busy), busy
        assert t.flag("alternate_on") == "1" and t.flag("cursor_flag") == "0"
        for key, first in (("m", "c-fat"), ("t", "a-many"), ("c", "b-busy"), ("i", "a-many")):
            t.type(key)
            t.wait(lambda s, f=first: rows(s) and rows(s)[0] == f, f"{first} after {key}")
        t.type("R")
        t.wait(lambda s: rows(s) == ["c-fat", "b-busy", "a-many"] and "reversed" in s[0])
        t.type("q")
        t.wait(lambda s: normal(t))
        t.line("stty -a | grep -q ' icanon.* echo ' && echo as before")
        t.wait(lambda s: "as before" in s)
    for name in ("a-many", "b-busy", "c-fat"):
        hf.ok("rm", "-f", name)


def test_survives_resize_and_a_dying_container(hf):
    three(hf)
    with Terminal(hf, rows=24, columns=120) as t:
        t.line("holdfast top -i 200ms")
        t.wait(lambda s: len(rows(s)) == 3)
        for height, width in ((10, 40), (4, 20), (2, 10), (50, 200), (24, 100)):
            t.resize(height, width)
            lines = t.wait(lambda s, w=width: s[0].startswith("holdfast top"[:w]) and s)
            assert all(len(line) <= width for line in lines)
        t.wait(lambda s: len(rows(s)) == 3)
        hf.ok("kill", "b-busy")
        t.wait(lambda s: sorted(rows(s)) == ["a-many", "c-fat"])
        t.type("a")
        lines = t.wait(lambda s: len(rows(s)) == 3 and s)
        dead = next(x for x in lines if x.startswith("b-busy"))
        assert re.search(r"exited .* 137", dead), dead
        hf.ok("rm", "-f", "c-fat")
        t.wait(lambda s: sorted(rows(s)) == ["a-many", "b-busy"])
        new = hf.start("--", hf.torture, "stamp", name="d-new")
        t.wait(lambda s: "d-new" in rows(s))
        hf.ok("pause", "d-new")
        t.wait(lambda s: any(re.match(r"d-new +paused", x) for x in s))
        new.rm("-f")
        t.type("q")
        t.wait(lambda s: normal(t))
    hf.ok("rm", "-f", "a-many", "b-busy")


def test_scrolls(hf):
    names = [hf.start("--", hf.torture, "stamp", name=f"x{i}").name for i in range(8)]
    with Terminal(hf, rows=7, columns=100) as t:
        t.line("holdfast top --sort id")
        t.wait(lambda s: rows(s) == names[:4])
        for keys, first in ((("Down",), 1), (("Down", "Up", "Up"), 0), (("NPage",), 4),
                            (("NPage",), 4), (("PPage",), 0), (("End",), 4), (("Home",), 0)):
            t.type(*keys)
            t.wait(lambda s, n=first: rows(s) == names[n:n + 4], f"{keys}")
        assert "1-4 of 8" in t.screen()[6]
        t.type("q")
        t.wait(lambda s: normal(t))
    hf.ok("rm", "-f", *names)


def tops(hf):
    return [p for p in rig.pids() if rig.cmdline(p) == ["holdfast", "top"] and
            f"HOLDFAST_STATE_DIR={hf.state}" in rig.read(f"/proc/{p}/environ", "")]


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_gives_the_terminal_back(hf, signo):
    with Terminal(hf) as t:
        t.line("holdfast top; echo status $?")
        t.wait(lambda s: up(t, s))
        if signo == signal.SIGINT:
            t.type("C-c")
        else:
            (pid,) = tops(hf)
            kill(pid, signo)
        t.wait(lambda s: f"status {128 + signo}" in s and normal(t))
        t.line("stty -a | grep -q ' icanon.* echo ' && echo as before")
        t.wait(lambda s: "as before" in s and any(x.endswith("echo as before") for x in s))


def test_suspends_and_comes_back(hf):
    with Terminal(hf, shell="PS1='prompt> ' bash --norc -i") as t:
        t.line("holdfast top")
        t.wait(lambda s: up(t, s))
        t.type("C-z")
        t.wait(lambda s: normal(t) and any("Stopped" in x for x in s))
        t.line("fg")
        t.wait(lambda s: up(t, s))
        t.type("q")
        t.wait(lambda s: normal(t))


def test_colour_and_without(hf):
    c = hf.start("--", hf.torture, "stamp")
    hf.ok("pause", c.name)
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(hf, env=env) as t:
            t.line("holdfast top")
            t.wait(lambda s: rows(s) == [c.name])
            assert ("\033[33m" in t.attributes()) is coloured
            t.type("q")
            t.wait(lambda s: normal(t))
    c.rm("-f")


@pytest.mark.quick
def test_plain_text_elsewhere(hf):
    c = hf.start("--", hf.torture, "stamp")
    out = hf.ok("top").stdout
    assert "\033" not in out and len(out.splitlines()) == 2
    assert out.splitlines()[1].split()[:2] == [c.name, "running"]
    with Terminal(hf) as t:
        t.line("TERM=dumb holdfast top; echo status $?")
        lines = t.wait(lambda s: "status 0" in s and s)
        assert any(x.startswith(c.name) for x in lines) and t.flag("alternate_on") == "0"
    c.rm("-f")
    assert eventually(lambda: not hf.containers()) is not None


def test_no_container_writes_to_the_terminal(hf):
    """Ids are of a plain grammar; nothing else of a container is shown."""
    c = hf.start("--cgroup", "/holdfast/local/\x1b[31mred", "--", "/bin/sh", "-c",
                 "printf '\\033]0;owned\\007'; sleep 1000", service=False)
    c.wait_line("owned")
    for command in (("top",), ("stats", "--no-stream"), ("stats", "--no-stream", "--json"),
                    ("metrics",)):
        assert "\033" not in hf.ok(*command).stdout
    c.rm("-f")
