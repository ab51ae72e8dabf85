"""holdfast pressure: what was sampled and done, as text, as JSON and as a picture, whoever is alive."""

import json
import os
import re
import signal
import xml.etree.ElementTree as xml

import pytest

from rig import SLOW, alive, eventually, kill
from tmux import Terminal

MIB = 1 << 20
LIMIT = ("-m", "64m")
HALF = ("--rule", "half: memory.usage > 50%: notify(USR1), event; cooldown 1h")
EAT = ("--", "/bin/sh", "-c", "trap : USR1; {0} eat 40 & while :; do wait; done")
SVG = "{http://www.w3.org/2000/svg}"


def look(hf, c, *args):
    return json.loads(hf.ok("pressure", "--json", *args, c.name).stdout)


def draw(hf, c, *args, locale="C.UTF-8"):
    return hf.ok("pressure", *args, c.name, env={"LC_ALL": locale}).stdout


def started(hf, *rule):
    c = hf.start(*LIMIT, *(rule or HALF), *(x.format(hf.torture) for x in EAT))
    eventually(lambda: len(look(hf, c)["actions"]) >= 2 or rule, what="both actions")
    return c


def rows_of(text, label):
    """What stands between the bars, of a graph's rows."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(rf"{label} +\|", line))
    rows = [lines[first]]
    for line in lines[first + 1:]:
        if not re.match(r" .*\|", line):
            break
        rows.append(line)
    return [row.split("|")[1] for row in rows]


def check_svg(path, c, actions):
    root = xml.parse(path).getroot()
    assert root.tag == SVG + "svg" and root.get("role") == "img"
    title, desc = root.find(SVG + "title"), root.find(SVG + "desc")
    assert root.get("aria-labelledby").split() == [title.get("id"), desc.get("id")]
    assert title.text.startswith(f"{c.name} (") and f"Actions of rules: {actions}." in desc.text
    assert not [e for e in root.iter() if e.tag in (SVG + "script", SVG + "image", SVG + "foreignObject")]
    assert not [a for e in root.iter() for a in e.attrib if a.startswith("on") or "href" in a]
    style = root.find(SVG + "style").text
    assert "prefers-color-scheme:dark" in style and "url(" not in style and "@import" not in style
    level = [e for e in root.iter(SVG + "path") if e.get("class") == "level"]
    assert len(level) == 1 and level[0].get("d").count("M") >= 1
    height = float(root.get("height"))
    assert all(float(t.get("y")) < height for t in root.iter(SVG + "text"))
    said = [t.text for t in root.iter(SVG + "text") if re.match(r"\d 2", t.text or "")]
    assert len(said) == actions and all("half: memory.usage " in t for t in said), said


@pytest.mark.quick
@pytest.mark.cgroup
def test_a_rule_at_work(hf):
    c = started(hf)
    seen = look(hf, c)
    assert (seen["id"], seen["state"], seen["samples_are"]) == (c.name, "running", "kept")
    # five minutes, or since this machine was booted
    assert 0 < seen["to_usec"] - seen["from_usec"] <= 300 * 10**6
    last = seen["samples"][-1]
    assert 32 * MIB < last["memory_current_bytes"] <= last["memory_limit_bytes"] == 64 * MIB
    assert last["pids_current"] >= 2 and last["run"] == 1 and len(seen["samples"]) >= 2
    times = [s["time_usec"] for s in seen["samples"]]
    assert times == sorted(set(times)) and times[-1] <= seen["to_usec"]
    done = [(a["rule"], a["action"], a["done"], a["error_number"]) for a in seen["actions"]]
    assert done == [("half", "notify(SIGUSR1)", True, 0), ("half", "event", True, 0)]
    assert all(a["value"] > a["threshold"] == 5000 and a["why"].startswith("memory.usage ")
               for a in seen["actions"])

    text = draw(hf, c, "--since", "20s")
    memory = rows_of(text, "memory")
    assert len(memory) == 4 and memory[3].rstrip()[-1] == "\u2588" and " of  64 MiB" in text
    marks = rows_of(text, "actions")[0]
    assert re.search(r"1 *2", marks) and len(marks) == len(memory[0]), marks
    assert re.search(r"^1 2\S+Z half: memory.usage \S+%, above 50%: notify\(SIGUSR1\)$", text, re.M)
    assert re.search(r"^2 2\S+Z half: memory.usage \S+%, above 50%: event$", text, re.M)
    plain = draw(hf, c, "--since", "20s", locale="C")
    assert plain.isascii() and "\033" not in plain + text and "~ quiet" in plain
    assert "@" in rows_of(plain, "memory")[3]

    path = os.path.join(hf.base, "picture.svg")
    for _ in range(2):  # a second one takes its place
        assert hf.ok("pressure", "-o", path, c.name).stdout == ""
        check_svg(path, c, 2)
    assert not os.path.exists(path + ".new")
    c.stop("-t", "0")

    over = look(hf, c)
    assert over["state"] == "exited" and over["actions"] == seen["actions"]
    # what caused an action stands among the samples; when they were taken is written afterwards
    assert any(abs(s["time_usec"] - t) < 20000 * SLOW for s in over["samples"] for t in times)
    assert over["samples"][-1]["time_usec"] <= over["to_usec"]
    assert "half: " in draw(hf, c) and "\u2588" in draw(hf, c, "--since", "30s")
    hf.ok("pressure", "-o", path, c.name)
    check_svg(path, c, 2)
    assert os.path.exists(os.path.join(c.state_dir, "pressure"))
    c.rm()
    assert not os.path.exists(c.state_dir)


@pytest.mark.cgroup
def test_whoever_dies(hf):
    """The ring goes on with the next shim, and is read when there is none."""
    c = started(hf, "--rule", "awake: memory.usage > 10% for 1h: event")
    before = eventually(lambda: [s["time_usec"] for s in look(hf, c)["samples"]][:-1])
    c.crash("shim")
    eventually(lambda: len(look(hf, c)["samples"]) > len(before) + 3)
    after = [s["time_usec"] // 10**5 for s in look(hf, c)["samples"]]
    assert {t // 10**5 for t in before[:-1]} <= set(after) | {t + 1 for t in after} | {t - 1 for t in after}
    keeper, shim = c.keeper, c.shim
    kill(keeper, signal.SIGSTOP)
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(shim))
    alone = look(hf, c)
    assert alone["state"] == "orphaned" and len(alone["samples"]) >= len(after)
    assert "\u2588" in draw(hf, c)
    c.rm("-f")


@pytest.mark.cgroup
def test_damaged(hf):
    c = started(hf, "--rule", "awake: memory.usage > 10% for 1h: event")
    eventually(lambda: len(look(hf, c)["samples"]) > 4)
    c.stop("-t", "0")
    path = os.path.join(c.state_dir, "pressure")
    whole = look(hf, c)["samples"]
    with open(path, "r+b") as f:  # the third slot, torn
        f.seek(64 + 3 * 96 + 40)
        f.write(b"torn")
    assert look(hf, c)["samples"] == whole[:2] + whole[3:]
    for text in (b"", b"x" * 63, b"x" * 70000):
        with open(path, "wb") as f:
            f.write(text)
        seen = look(hf, c)
        assert seen["samples_are"] == "lost" and seen["samples"] == []
        assert "The samples are not shown" in draw(hf, c)
    c.rm()


@pytest.mark.quick
@pytest.mark.cgroup
def test_nothing_was_ever_near(hf):
    c = hf.start(*LIMIT, *HALF, "--", hf.torture, "stamp")
    seen = look(hf, c)
    assert seen["samples_are"] == "none" and len(seen["samples"]) == 1 and seen["actions"] == []
    text = draw(hf, c)
    assert "No samples: nothing was ever near to a rule." in text and "no actions" in text
    assert not os.path.exists(os.path.join(c.state_dir, "pressure"))
    c.stop("-t", "0")
    assert look(hf, c)["samples"] == [] and "nothing was ever near" in draw(hf, c)
    made = hf.name()
    hf.ok("create", "--name", made, "--", "/bin/true")
    assert "created" in hf.ok("pressure", made).stdout
    hf.ok("rm", made)


@pytest.mark.quick
def test_what_it_refuses(hf):
    c = hf.start("--", hf.torture, "stamp")
    here = os.path.join(hf.base, "x.svg")
    for args, status, says in (
            (("--since", "0"), 64, '--since "0": use 1s to 24h'),
            (("--since", "25h"), 64, '--since "25h": use 1s to 24h'),
            (("--since", "-5m"), 64, '--since "-5m": not a time'),
            (("--json", "-o", here), 64, "--output and --json (use one of them)"),
            (("-o", ""), 64, '--output "": not the name of a file'),
            (("other",), 64, "draws one container at a time"),
            (("-o", "/dev/null"), 1, '--output "/dev/null": is there and is no regular file'),
            (("-o", hf.base), 1, "is no regular file"),
            (("-o", f"{hf.base}/no/x.svg"), 1, f"create {hf.base}/no/x.svg.new: No such file")):
        out = hf("pressure", *args, c.name)
        assert (out.returncode, out.stdout) == (status, ""), (args, out)
        assert out.stderr.startswith("holdfast: ") and says in out.stderr, out.stderr
        assert len(out.stderr.splitlines()) == 1
    assert not os.path.exists(here)
    c.stop("-t", "0")


def test_in_a_terminal(hf):
    c = started(hf)
    with Terminal(hf, rows=40, columns=60) as t:
        t.line("clear; holdfast pressure --since 20s " + c.name)
        t.wait(lambda s: any(line.startswith("2 2") for line in s), "the legend")
        graphs = [line for line in t.screen() if re.match(r".{15}\|", line)]
        assert len(graphs) == 4 + 6 * 2 + 1 and {len(line) for line in graphs} == {60}
        assert "\033[36m" in t.attributes()
        t.line("clear; NO_COLOR=1 holdfast pressure --since 20s " + c.name)
        t.wait(lambda s: any(line.startswith("2 2") for line in s) and "\033[36m" not in t.attributes(),
               "the same without colour")
    c.stop("-t", "0")
