"""What is kept of each run's end."""

import os
import re
import signal

import pytest

import journal
from api import Api, v1
from rig import cgroup_root, eventually, kill, read


def records(api, **request):
    return api.call("PostMortem", v1.PostMortemRequest(**request)).records


@pytest.mark.quick
def test_a_crash_with_its_last_words(hf, tmp_path):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--volume", f"{tmp_path}:/v", "--", "sh", "-c",
                 "[ -e /v/n ] && exec sleep 1000; : >/v/n; echo one; echo two >&2; kill -SEGV $$", service=False)
    with Api(c) as api:
        first = eventually(lambda: [r for r in records(api) if r.exit.run == 1
                                    and "last_output" in r.available])[0]
        assert first.exit.signal == signal.SIGSEGV
        assert sorted(first.last_output.split()) == [b"one", b"two"]
        assert "SIGSEGV" in first.cause and "crashed" in first.cause and first.by == ""
        assert first.exit.maxrss_bytes > 0
    c.stop()


def test_who_asked(hf):
    word = "a stop was asked for"
    for verb in ("stop", "kill"):
        c = hf.start("--", hf.torture, "stamp")
        getattr(c, verb)()
        c.wait_end()
        out = hf.ok("inspect", c.name).stdout
        assert re.search(rf"{word}: .*, by {verb};", out), out
    c = hf.start("--", hf.torture, "stamp")
    hf.ok("restart", c.name)
    with Api(c) as api:
        assert eventually(lambda: records(api))[0].by == "restart"


def inferred(c):
    """Runs whose output's end is not sure: a dead shim had moved it, or a later run wrote to its pipe."""
    return {r.run for r in journal.read(c.state_dir)
            if r.kind == journal.EXITED and r.flags & journal.INFERRED}


def words(hf, place, last):
    """Runs each of which says its number and then ends with it; the first one when it may, the last one
    never."""
    os.mkfifo(place / "go")
    return hf.start("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place",
                    "--volume", f"{place}:/v", "--", "sh", "-c",
                    "if [ -e /v/n ]; then read n </v/n; else read go </v/go; fi; "
                    "n=$((n+1)); echo $n >/v/n; echo word $n; "
                    f"[ $n -ge {last} ] && sleep 1000; exit $n")


def all_said(c, place, last):
    """Each record has its run's own words, or is labelled."""
    eventually(lambda: read(place / "n", "").strip() == str(last), 30)
    with Api(c) as api:
        eventually(lambda: (newest := records(api, limit=1)) and newest[0].exit.run == last - 1 and
                   "last_output" in newest[0].available)  # which is looked for a moment after its end
        kept, before = [], 0
        while page := records(api, before_run=before):
            kept += page
            before = page[-1].exit.run
    assert [r.exit.run for r in kept] == list(range(last - 1, max(0, last - 17), -1))
    unsure = inferred(c)
    for r in kept:
        assert r.exit.code == r.exit.run
        assert r.last_output == b"word %d\n" % r.exit.run or {r.exit.run, r.exit.run - 1} & unsure
    eventually(lambda: c.lines() == [f"word {n}" for n in range(1, last + 1)])


def test_runs_that_write_to_one_pipe(hf, tmp_path):
    """PID 1 has no more than so many pipes for runs that nobody looks after, and a shim hears of the end
    of one before it hears of the next."""
    c = words(hf, tmp_path, 12)
    still = c.keeper, c.shim  # one that could replace it, too
    for pid in still:
        kill(pid, signal.SIGSTOP)
    try:
        (tmp_path / "go").write_text("\n", encoding="utf-8")
        eventually(lambda: read(tmp_path / "n", "").strip() == "12", 30)
    finally:
        for pid in reversed(still):
            kill(pid, signal.SIGCONT)
    all_said(c, tmp_path, 12)
    assert inferred(c) == set(range(4, 12))
    c.stop()


def test_the_newest_runs_are_kept_over_dead_shims(hf, tmp_path):
    c = words(hf, tmp_path, 31)
    (tmp_path / "go").write_text("\n", encoding="utf-8")
    for _ in range(3):
        shim = c.shim
        if shim:
            kill(shim, signal.SIGKILL)
        eventually(lambda: c.shim and c.shim != shim)
    all_said(c, tmp_path, 31)
    c.stop()


def test_only_the_end_of_much_output(hf):
    c = hf.start("--", "sh", "-c", "seq 100000", service=False)
    c.wait_end()
    with open(os.path.join(c.state_dir, "postmortem"), "rb") as f:
        data = f.read()
    assert data.rstrip(b"\0").endswith(b"99999\n100000\n")
    assert len(data) < 16 * 8192


@pytest.mark.skipif(cgroup_root("memory")[0] is None, reason="no memory controller")
def test_out_of_memory(hf):
    c = hf.start("--memory", "32M", "--", hf.torture, "eat", "64", service=False)
    c.wait_end()
    out = hf.ok("inspect", c.name).stdout
    assert re.search(r"memory limit was reached: killed by SIGKILL", out), out
    assert re.search(r"memory peak +(3[0-9]|32)\.?\d* MiB", out), out
    assert re.search(r"OOM kills +[1-9]", out), out
