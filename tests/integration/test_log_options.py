"""--log-dir, --log-max-size, --log-max-files, --log-full: where output goes, and what a full disk does."""

import contextlib
import glob
import os
import re
import signal
import struct
import subprocess

import pytest

import journal
from rig import eventually, kill, read

LINE = 9  # "%08ld\n"


@pytest.mark.quick
def test_log_dir(hf, tmp_path):
    where = tmp_path / "logs"
    c = hf.start("--log-dir", where, "--", "/bin/sh", "-c", "echo here", service=False)
    assert c.wait_end() == 0
    assert os.listdir(where / "local" / c.name) and not os.path.exists(c.log_dir)
    assert c.logs() == "here\n"
    assert hf("start", "-a", c.name).stdout == "here\n"
    c.rm()
    assert not os.path.exists(where / "local" / c.name)
    out = hf.run("--log-dir", where, "--", "/bin/sh", "-c", "echo foreground")
    assert out.stdout == "foreground\n"
    assert os.listdir(where / "local") == []


@pytest.mark.parametrize("size,files", [("4k", 3), ("64k", 1), ("100000", 2)])
def test_log_max_size_and_files(hf, size, files):
    most = {"4k": 4096, "64k": 65536, "100000": 100000}[size]
    c = hf.start("--log-max-size", size, "--log-max-files", files, "--",
                 hf.torture, "lines", "60000", service=False)
    assert c.wait_end() == 0
    eventually(lambda: c.keeper is None, 20, "all output on disk")
    segments = sorted(glob.glob(f"{c.log_dir}/stdout-*.raw"))
    assert len(segments) == files
    assert all(os.path.getsize(s) <= most for s in segments)
    assert [os.path.getsize(s) for s in segments[:-1]] == [most] * (files - 1)
    kept = c.raw()
    assert kept.endswith(b"00060000\n")
    whole = b"".join(b"%08d\n" % n for n in range(1, 60001))
    assert whole.endswith(kept) and len(kept) > most * (files - 1)
    assert c.logs().encode() == kept


def test_logs_follow_tells_what_rotation_took(hf):
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    count = 60000
    c = hf.start("--log-max-size", "4k", "--log-max-files", "1", "-v", f"{gate}:/gate", "--", "/bin/sh",
                 "-c", "echo ready; until [ -e /gate/go ]; do sleep 0.01; done; "
                 f"exec {hf.torture} lines {count}", service=False)
    c.wait_line("ready")
    follower = hf.popen("logs", "-f", c.name)
    assert follower.stdout.readline() == "ready\n"
    kill(follower.pid, signal.SIGSTOP)
    with open(os.path.join(gate, "go"), "w", encoding="utf-8"):
        pass
    assert c.wait_end() == 0
    kill(follower.pid, signal.SIGCONT)
    out, err = follower.communicate(timeout=20)
    lost = sum(int(n) for n in re.findall(r"(\d+) bytes of stdout were rotated away", err))
    assert follower.returncode == 0 and lost > 0
    assert len(out) + lost == count * LINE


BAD = [("--log-dir", "logs"), ("--log-dir", "/var/../log"), ("--log-dir", "/etc/passwd"),
       ("--log-dir", "/" + "x" * 400), ("--log-max-size", "1k"), ("--log-max-size", "0"),
       ("--log-max-size", "12Q"), ("--log-max-files", "0"), ("--log-max-files", "64"),
       ("--log-max-files", "x"), ("--log-full", "wait"), ("--log-full", "")]


@pytest.mark.parametrize("option,value", BAD, ids=[f"{o}={v[:12]}" for o, v in BAD])
def test_bad_values(hf, option, value):
    out = hf("run", option, value, "--", "true")
    assert out.returncode == 64, out.stderr
    assert option in out.stderr and f'"{value[:100]}' in out.stderr
    assert re.search(r"\(use |use |at least|from|name one|between", out.stderr)
    hf.assert_nothing_left()


def test_a_log_dir_that_cannot_be_made(hf):
    out = hf("run", "--log-dir", "/proc/nothing", "--", "true")
    assert out.returncode == 125 and "/proc/nothing" in out.stderr
    assert hf.containers() == []


@contextlib.contextmanager
def small_disk(hf, size="64k"):
    where = os.path.join(hf.base, "disk")
    os.mkdir(where)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "small", where],
                   check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def gaps_in_journal(c):
    return sum(struct.unpack_from("=IiQQ", r.body)[3] for r in journal.read(c.state_dir)
               if r.kind == journal.OUTPUT_GAP)


def gaps_in_index(log_dir):
    total = 0
    for path in glob.glob(f"{log_dir}/*.idx"):
        with open(path, "rb") as f:
            for _, _, _, _, flags, dropped in struct.iter_unpack("=QQQIIQ", f.read()):
                total += dropped if flags & 1 else 0
    return total


def told(err):
    return sum(int(n) for n in re.findall(r"(\d+) bytes of stdout were dropped here", err))


@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_log_full_drop(hf, init):
    """The service never waits; what is lost is counted in the journal, in the index, and told."""
    count = 300000
    with small_disk(hf) as disk:
        c = hf.start("--init", init, "--log-full", "drop", "--log-dir", disk, "--",
                     hf.torture, "lines", count, service=False)
        assert c.wait_end() == 0
        eventually(lambda: c.keeper is None)
        log_dir = f"{disk}/local/{c.name}"
        kept = b"".join(open(p, "rb").read() for p in sorted(glob.glob(f"{log_dir}/*.raw")))
        lost = count * LINE - len(kept)
        assert 0 < len(kept) < 65536
        assert gaps_in_journal(c) == gaps_in_index(log_dir) == lost
        out = hf.ok("logs", c.name)
        assert out.stdout.encode() == kept and told(out.stderr) == lost
        c.rm()


def test_log_full_drop_and_room_again(hf):
    """Later output is kept again, and the gap stands where it was."""
    with small_disk(hf) as disk:
        c = hf.start("--log-dir", disk, "-i", "--", "/bin/sh", "-c",
                     f"{hf.torture} lines 200000; read x; echo after", service=False)
        log_dir = f"{disk}/local/{c.name}"
        eventually(lambda: 200000 * LINE - sum(
            os.path.getsize(p) for p in glob.glob(f"{log_dir}/stdout-*.raw")) ==
            gaps_in_journal(c))
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        c.stop()
        hf.ok("start", c.name)
        eventually(lambda: gaps_in_index(log_dir) == gaps_in_journal(c) > 0)
        first = hf.ok("logs", c.name)
        assert told(first.stderr) == gaps_in_journal(c)
        c.rm("-f")


def test_log_full_block(hf):
    """The service waits in its write, and goes on where it was when there is room: nothing is lost."""
    count = 400000
    with small_disk(hf) as disk:
        c = hf.start("--log-full", "block", "--log-dir", disk, "--",
                     hf.torture, "lines", count)
        service = c.service
        log_dir = f"{disk}/local/{c.name}"

        def blocked():
            return "pipe_write" in (read(f"/proc/{service}/wchan") or "") or \
                read(f"/proc/{service}/syscall", "").startswith("1 ")
        eventually(blocked)
        assert "Up" in c.ps() and gaps_in_journal(c) == 0

        def used():
            return sum(os.path.getsize(p) for p in glob.glob(f"{log_dir}/stdout-*.raw"))
        assert used() < 65536
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert c.wait_end() == 0
        eventually(lambda: used() == count * LINE)
        kept = b"".join(open(p, "rb").read()
                        for p in sorted(glob.glob(f"{log_dir}/stdout-*.raw")))
        assert kept == b"".join(b"%08d\n" % n for n in range(1, count + 1))
        assert gaps_in_journal(c) == 0
        c.rm()


@pytest.mark.slow
def test_log_full_block_can_be_stopped(hf):
    with small_disk(hf) as disk:
        c = hf.start("--log-full", "block", "--log-dir", disk, "--",
                     hf.torture, "lines", "0")
        eventually(lambda: read(f"/proc/{c.service}/syscall", "").startswith("1 "))
        c.stop("-t", "1s")
        assert c.wait_end() == 143
        c.rm("-f")


# ---- --merge-output

ORDER = "".join(f"echo out {n}; echo err {n} >&2; " for n in range(1, 301))


@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_merge_output(hf, init):
    """One pipe: what was written first stands first, exactly."""
    expected = [f"{stream} {n}" for n in range(1, 301) for stream in ("out", "err")]
    c = hf.start("--init", init, "--merge-output", "--restart", "on-failure:1", "--restart-delay",
                 "0", "--", "/bin/sh", "-c", ORDER + "exit 3", service=False)
    assert c.wait_end() == 3
    eventually(lambda: c.keeper is None)
    assert c.lines("stdout") == expected * 2 and c.raw("stderr") == b""
    out = hf.ok("logs", c.name)
    assert out.stdout.splitlines() == expected * 2 and out.stderr == ""
    out = hf.run("--init", init, "--merge-output", "--", "/bin/sh", "-c", ORDER)
    assert out.stdout.splitlines() == expected and out.stderr == ""


def test_without_merge_output_they_are_two(hf):
    out = hf.run("--", "/bin/sh", "-c", "echo out; echo err >&2")
    assert (out.stdout, out.stderr) == ("out\n", "err\n")


def test_merge_output_survives_the_shim(hf):
    c = hf.start("--merge-output", "--", "/bin/sh", "-c",
                 "i=0; while :; do i=$((i+1)); echo out $i; echo err $i >&2; done")
    for _ in range(3):
        size = len(c.raw())
        eventually(lambda: len(c.raw()) > size)
        kill(eventually(lambda: c.shim), 9)
    c.stop("-t", "0")
    eventually(lambda: c.keeper is None)
    lines = c.lines()
    if not c.raw().endswith(b"\n"):
        lines.pop()
    assert lines == [f"{s} {n}" for n in range(1, len(lines)) for s in ("out", "err")][:len(lines)]


def test_log_full_drop_survives_the_shim(hf):
    with small_disk(hf) as disk:
        c = hf.start("--log-dir", disk, "--", hf.torture, "lines", "0", "20")
        log_dir = f"{disk}/local/{c.name}"
        eventually(lambda: gaps_in_journal(c) > 0, 30)
        shim = c.shim
        kill(shim, 9)
        before = eventually(lambda: c.shim and gaps_in_index(log_dir))
        eventually(lambda: gaps_in_index(log_dir) > before)
        c.rm("-f")
