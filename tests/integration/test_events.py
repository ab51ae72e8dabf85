"""holdfast events: from the journal, from the supervisor, over the deaths of both and of the reader."""

import glob
import json
import os
import re
import signal
import subprocess
import threading

import pytest
from google.protobuf import json_format

import journal
from api import Api, v1
from rig import CRASHES, TOOL, eventually, kill, read, scaled

COUNT = ("read n < /v/n; n=$((n + 1)); echo $n > /v/n; exit $((n % 250))")


def storm(hf, tmp_path, *options, **kwargs):
    (tmp_path / "n").write_text("0\n")
    return hf.start(*CRASHES, "--volume", f"{tmp_path}:/v", *options, "--", "/bin/sh", "-c", COUNT,
                    service=False, **kwargs)


def lines(hf, *args):
    return [json.loads(line) for line in hf.ok("events", "--json", *args).stdout.splitlines()]


def exits(events):
    return [(e["exit"]["run"], e["exit"]["code"]) for e in events if e["type"] == "EVENT_EXITED"]


@pytest.mark.quick
def test_json_is_protobufs_own(hf):
    c = hf.start("--restart", "always", "--", hf.torture, "live", "50", "3", service=False)
    eventually(lambda: exits(lines(hf, c.name)))
    with Api(c) as api:
        told = {e.sequence: e for e in api.call("ListEvents").events}
    read_back = lines(hf, c.name)
    assert [e["sequence"] for e in read_back] == list(range(1, len(read_back) + 1))
    instance = {e["cursor"].split(":")[0] for e in read_back}
    assert len(instance) == 1 and all(e["id"] == c.name for e in read_back)
    for e in read_back:
        if e["sequence"] in told:
            assert json_format.ParseDict(e, v1.Event(), ignore_unknown_fields=True) == \
                told[e["sequence"]]


@pytest.mark.quick
def test_lines_for_people_and_where_no_supervisor_lives(hf):
    c = hf.start("--restart", "no", "--", "sh", "-c", "exit 3", service=False)
    c.wait_end()
    eventually(lambda: not c.shim and not c.keeper)
    out = hf.ok("events", c.name).stdout.splitlines()
    assert [line.split()[1] for line in out] == [c.name] * len(out)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z " + c.name + " 1 created$", out[0])
    assert any(re.search(r" exited run 1: exit code 3; stays down", line) for line in out), out
    assert " down for good: exit code 3" in out[-1]


@pytest.mark.quick
def test_lines_of_a_pause_and_of_execs(hf):
    c = hf.start("--", hf.torture, "stamp")
    hf.ok("pause", c.name)
    hf.ok("resume", c.name)
    hf.ok("exec", "-d", c.name, "/bin/sleep", "1000")
    assert hf("exec", c.name, "/bin/sh", "-c", "exit 7").returncode == 7
    assert hf("exec", c.name, "/bin/sh", "-c", "kill -9 $$").returncode == 137
    c.stop()
    out = hf.ok("events", c.name).stdout.splitlines()
    assert [int(line.split()[2]) for line in out] == list(range(1, len(out) + 1))
    said = [line.split(None, 3)[3] for line in out if re.search(" (paused|resumed|exec-)", line)]
    started = r"exec-started exec (\d+): (?:pid \d+: )?/bin/sh"  # without: it had ended by then
    ids = [m[1] for m in (re.fullmatch(started, line) for line in said) if m]
    assert said[:2] == ["paused", "resumed"] and len(ids) == 2, said
    assert re.fullmatch(r"exec-started exec \d+: pid \d+: /bin/sleep", said[2]), said
    assert [line for line in said if line.startswith("exec-exited")][:2] == [
        f"exec-exited exec {ids[0]}: exit code 7", f"exec-exited exec {ids[1]}: killed by SIGKILL"]


def test_an_event_of_a_later_release_is_a_line_too(hf):
    c = hf.start("--", "/bin/true", service=False)
    c.wait_end()
    eventually(lambda: not c.shim and not c.keeper)
    seq = journal.read(c.state_dir)[-1].seq
    journal.append(c.state_dir, 99, seq + 1)
    assert re.search(rf" {c.name} {seq + 1} other$", hf.ok("events", c.name).stdout.splitlines()[-1])


def test_a_cursor_goes_on(hf, tmp_path):
    c = storm(hf, tmp_path)
    upto = scaled(40, 1000)
    seen, since = [], []
    while len(exits(seen)) < upto:
        more = lines(hf, *since, c.name)
        seen += more
        if more:
            since = ["--since", more[-1]["cursor"]]
    c.stop()
    assert [e["sequence"] for e in seen] == list(range(1, len(seen) + 1))
    assert exits(seen)[:upto] == [(n, n % 250) for n in range(1, upto + 1)]
    # a sequence alone; a cursor of another container of this name; show-cursor
    last = seen[-1]["sequence"]
    assert lines(hf, "--since", str(last - 2), c.name)[0]["sequence"] == last - 1
    assert lines(hf, "--since", f"17:{last}", c.name)[0]["sequence"] == 1
    shown = hf.ok("events", "--show-cursor", c.name).stdout.splitlines()[-1]
    instance = seen[0]["cursor"].split(":")[0]
    assert re.fullmatch(rf"-- cursor: {c.name} {instance}:\d+", shown)


def test_several_merged_by_time(hf):
    a = hf.start("--", hf.torture, "stamp")
    b = hf.start("--", hf.torture, "stamp")
    a.stop()
    b.stop()
    merged = lines(hf, a.name, b.name)
    times = [e["time_usec"] for e in merged]
    assert times == sorted(times)
    assert {e["id"] for e in merged} == {a.name, b.name}
    assert merged == lines(hf, "--all")
    assert hf("events", a.name, a.name, "--json").stdout == \
        hf("events", a.name, "--json").stdout, "named twice, shown once"


def test_since_a_time(hf):
    c = hf.start("--", hf.torture, "stamp")
    everything = lines(hf, c.name)
    middle = everything[3]["time_usec"]
    text = f"@{middle // 1000000}.{middle % 1000000:06d}"
    assert lines(hf, "--since", text, c.name) == everything[3:]
    assert lines(hf, "--until", text, c.name) == everything[:4]
    assert lines(hf, "--since", "1h", c.name) == everything
    assert lines(hf, "--until", "1h", c.name) == []


class Follower:
    def __init__(self, hf, *args):
        self.events = []
        self.p = subprocess.Popen([TOOL, "events", "-f", "--json", *args], text=True, env=hf.env(),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.p.stdout:
            self.events.append(json.loads(line))

    def end(self):
        if self.p.poll() is None:
            self.p.terminate()
        self.p.wait()
        self.thread.join()
        self.p.stdout.close()
        err = self.p.stderr.read()
        self.p.stderr.close()
        return err


def test_follow_over_dead_shims_and_keepers(hf, tmp_path):
    upto = scaled(60, 1000)
    c = storm(hf, tmp_path)
    f = Follower(hf, c.name)
    try:
        for n in range(scaled(6, 60)):
            c.crash("keeper" if n % 3 == 2 else "shim")
        eventually(lambda: len(exits(f.events)) >= upto, 60)
        c.stop()
        eventually(lambda: f.events[-1]["type"] == "EVENT_DOWN")
        c.rm()
        eventually(lambda: f.p.poll() is not None, what="the end, when it is removed")
    finally:
        err = f.end()
    assert f.p.returncode == 0 and not err, err
    assert [e["sequence"] for e in f.events] == list(range(1, len(f.events) + 1))
    assert exits(f.events)[:upto] == [(n, n % 250) for n in range(1, upto + 1)]


def test_one_damaged_journal_silences_no_other(hf):
    good = hf.start("--", "/bin/true", service=False)
    bad = hf.start("--", "/bin/true", service=False)
    for c in (good, bad):
        c.wait_end()
        eventually(lambda x=c: not x.shim and not x.keeper)
    alone = hf.ok("events", good.name).stdout
    with open(os.path.join(bad.state_dir, "journal"), "r+b") as f:
        f.write(b"not a journal at all")
    for args in (("--all",), (bad.name, good.name)):
        out = hf("events", *args)
        assert (out.returncode, out.stdout) == (1, alone)
        assert out.stderr.startswith(f"holdfast: {bad.name}: journal") and out.stderr.count("\n") == 1
    out = hf("events", "-f", bad.name)
    assert out.returncode == 1 and bad.name in out.stderr
    f = Follower(hf, "--all")
    try:
        eventually(lambda: any(e["id"] == good.name for e in f.events))
        new = hf.start("--", hf.torture, "stamp")
        eventually(lambda: any(e["id"] == new.name for e in f.events))
    finally:
        assert f.end().count(bad.name) == 1


def test_follow_all_sees_new_containers(hf):
    f = Follower(hf, "--all")
    try:
        a = hf.start("--", hf.torture, "stamp")
        eventually(lambda: any(e["id"] == a.name and e["type"] == "EVENT_STARTED"
                               for e in f.events))
        b = hf.start("--", "sh", "-c", "exit 9", service=False)
        eventually(lambda: any(e["id"] == b.name and e["type"] == "EVENT_DOWN" for e in f.events))
    finally:
        f.end()
    for name in (a.name, b.name):
        seen = [e["sequence"] for e in f.events if e["id"] == name]
        assert seen == list(range(1, len(seen) + 1))


def test_follow_ends_with_its_reader(hf):
    c = hf.start("--", hf.torture, "stamp")
    p = subprocess.Popen(f"{TOOL} events -f {c.name} | head -2", shell=True, env=hf.env(),
                         stdout=subprocess.PIPE)
    out, _ = p.communicate(timeout=20)
    assert len(out.splitlines()) == 2


def test_container_text_is_escaped(hf):
    c = hf.start("--", "/bin/sh", "-c", "exit 1", service=False)
    c.wait_end()
    out = hf.ok("events", c.name)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out.stdout)


# ---- the journal is bounded

@pytest.mark.slow
def test_compaction_under_load_keeps_exits_and_tells_the_gap(hf, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_JOURNAL_SIZE", "1M")
    env = hf.env()
    hf.env = lambda **more: {**env, "HOLDFAST_JOURNAL_SIZE": "1M", **more}
    c = storm(hf, tmp_path)
    path = os.path.join(c.state_dir, "journal")
    seq_first = lambda: journal.HEAD.unpack(  # noqa: E731
        open(path, "rb").read(journal.HEAD.size))[5]
    eventually(lambda: seq_first() > 1, 60, "a compacted journal")
    with Api(c) as api:
        first = next(api.watch())
        assert first.type == v1.EVENT_GAP and first.missed == first.sequence > 0
        page = api.call("ListEvents", v1.ListEventsRequest(limit=2)).events
        assert [e.type for e in page] == [v1.EVENT_GAP, page[1].type]
        assert page[1].sequence == page[0].sequence + 1
    c.stop(timeout=60)
    assert os.path.getsize(path) < (1 << 20) + 4096
    events = lines(hf, c.name)
    assert events[0]["type"] == "EVENT_GAP"
    assert events[0]["missed"] == events[0]["sequence"] == events[1]["sequence"] - 1
    assert hf.ok("events", c.name).stdout.splitlines()[0].endswith("are no longer kept")
    kept = exits(events)
    assert len(kept) >= 100
    assert [run for run, _ in kept] == list(range(kept[0][0], kept[0][0] + len(kept)))
    assert all(code == run % 250 for run, code in kept[:-1])  # the last one was stopped
    with_cursor = lines(hf, "--since", events[-3]["cursor"], c.name)
    assert with_cursor == events[-2:], "who was there before has no gap"
    assert kept[-1][0] == journal.read(c.state_dir)[-1].run


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_a_full_disk_is_survived_and_told(hf, tmp_path):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    c.wait_line(r"\d")
    eventually(lambda: any(os.path.getsize(x) for x in glob.glob(os.path.join(c.log_dir, "stdout-*.idx"))))
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e",
                               "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC",
                               "-p", str(c.shim)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: "TracerPid:\t0" not in read(f"/proc/{c.shim}/status"))
        first = c.service
        kill(first, signal.SIGKILL)
        eventually(lambda: "ENOSPC" in read(tmp_path / "trace", ""))
        second = c.wait_service(other_than=first)
        with Api(c) as api:  # all is said of the first one's end
            eventually(lambda: api.call("GetState").pid == second)
    finally:
        tracer.terminate()
        tracer.wait()
    kill(second, signal.SIGKILL)
    third = c.wait_service(other_than=second)
    with Api(c) as api:
        eventually(lambda: api.call("GetState").pid == third)
    events = eventually(lambda: [e for e in [lines(hf, c.name)] if
                                 any(x["type"] == "EVENT_EXITS_LOST" for x in e)])[0]
    lost = [e for e in events if e["type"] == "EVENT_EXITS_LOST"]
    assert sum(e["exit"]["count"] for e in lost) == 1 and lost[0]["exit"]["unknown"]
    assert any("records lost: No space left" in e.get("text", "") for e in events)
    assert [run for run, _ in exits(events)] == [2]
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    assert [r.seq for r in journal.read(c.state_dir)][:len(events)] == \
        [e["sequence"] for e in events]


# ---- what a person may do wrong

@pytest.mark.quick
@pytest.mark.parametrize("args,status,words", [
    ((), 64, ["which container", "--all"]),
    (("--all", "x"), 64, ["--all and names"]),
    (("nobody",), 1, ["no container", "nobody", "ps -a"]),
    (("--since", "yesterday", "x"), 64, ["--since", "yesterday", "INSTANCE:SEQUENCE"]),
    (("--since", "99999999999999999999", "x"), 64, ["--since", "99999999999999999999"]),
    (("--since", "1:x", "x"), 64, ["--since", "1:x"]),
    (("--since", "7", "x", "y"), 64, ["--since", "7", "INSTANCE:SEQUENCE"]),
    (("--until", "10", "x"), 64, ["--until", "10", "10m"]),
    (("--until", "2026-13-01", "x"), 64, ["--until", "2026-13-01"]),
    (("--follow=yes", "x"), 64, ["--follow", "no value"]),
])
def test_bad_input(hf, args, status, words):
    out = hf("events", *args)
    assert out.returncode == status, (out.returncode, out.stderr)
    assert len(out.stderr.splitlines()) == 1
    for word in words:
        assert word in out.stderr, out.stderr
