"""Keeper and shim die together: the service goes on under PID 1, and a new pair is built around it at
its door, by `holdfast adopt` or any command that changes something."""

import collections
import fcntl
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import termios
import time

import pytest

import journal
import load
from rig import (KIND, TOOL, Late, alive, connected_to_none, descriptors, eventually, fd_count, kill, number,
                 private_kib, read, scaled, status_field)
from test_crash_points import LOOKING
from test_notify import RESTART, python
from test_shim_death import exactly, numbered

CODES = """read n < /v/n; n=$((n + 1)); echo $n > /v/n
printf '%08d\\n' $n; exit $((n % 100 + 1))"""
SPOOL = 256 << 10
ORDERS = pytest.mark.parametrize("order", [("keeper", "shim"), ("shim", "keeper")], ids="-".join)


def supervised(c):
    """Who has died holds the lock till its last thread is through."""
    F_OFD_GETLK = 36
    with open(f"{c.state_dir}/lock", "rb") as f:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(f, F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK


def bereave(c, order=("keeper", "shim")):
    """Both are killed in the same instant; what one of them made meanwhile goes as well."""
    eventually(lambda: c.keeper and c.shim)
    for pid in [getattr(c, who) for who in order]:
        kill(pid, signal.SIGKILL)

    def gone():
        left = [p for p in (c.keeper, c.shim) if p]
        for pid in left:
            kill(pid, signal.SIGKILL)
        return not left
    eventually(lambda: gone() and gone() and not supervised(c), 10, "the end of keeper and shim")


def adopt(c):
    assert c.holdfast.ok("adopt", c.name).stderr == ""
    assert c.keeper and c.shim


def records(c, *kinds):
    return [r for r in journal.read(c.state_dir) if r.kind in kinds]


def adoptions(c):
    return c.holdfast.ok("events", c.name).stdout.count(", adopted")


def kept_output(c):
    """The memory files of PID 1."""
    return [x for x in descriptors(c.init).values() if "holdfast-output" in x]


@pytest.mark.quick
@ORDERS
def test_the_service_does_not_notice(hf, order):
    c = hf.start("--", hf.torture, "lines", "0", "500")
    service, init = c.service, c.init
    for n in range(scaled(3, 100)):
        bereave(c, order)
        assert "Orphaned" in c.ps()
        adopt(c)
        assert "Up" in c.ps() and adoptions(c) == n + 1
        size = len(c.raw())
        eventually(lambda: len(c.raw()) > size, 10, "output after the adoption")
    assert (c.service, c.init) == (service, init)
    c.kill("--signal", "TERM")
    c.wait_end()
    exactly(numbered(c.raw().decode()))
    exactly(numbered(c.logs()))
    assert not records(c, journal.OUTPUT_GAP)


def count(path):
    return number(path / "n")


@ORDERS
def test_exits_are_told_once_and_in_order(hf, tmp_path, order):
    (tmp_path / "n").write_text("0\n")
    c = hf.start("--restart", "always", "--restart-delay", "3ms", "--restart-max-delay", "3ms",
                 "--restart-jitter", "0", "--restart-mode", "in-place", "--volume",
                 f"{tmp_path}:/v", "--", "/bin/sh", "-c", CODES, service=False)
    eventually(lambda: count(tmp_path) > 3)
    for _ in range(scaled(3, 50)):
        bereave(c, order)
        at = count(tmp_path)
        eventually(lambda: count(tmp_path) > at + 10, 10, "runs that nobody supervises")
        adopt(c)
        eventually(lambda: len(records(c, journal.EXITED)) > at, 10, "the exits in the journal")
    c.stop()
    runs = len(c.lines())
    exits = [(r.run, r.exit()) for r in records(c, journal.EXITED)]
    assert not records(c, journal.EXIT_GAP)
    assert exits[:runs - 1] == [(n, n % 100 + 1) for n in range(1, runs)]
    assert c.lines() == [f"{n:08d}" for n in range(1, runs + 1)]
    assert not [r for r in records(c, journal.EXITED)
                if journal.EXIT.unpack_from(r.body)[2] & journal.EXIT_UNKNOWN]


LAST = """test -e /v/end && exit 0
read n < /v/n; n=$((n + 1)); echo $n > /v/n; exit $((n % 2 + 1))"""


def full(hf, place, policy, script):
    """Nobody supervises it, and more of its runs have ended than PID 1 has places for."""
    (place / "n").write_text("0\n")
    c = hf.start("--restart", policy, "--restart-delay", "0", "--restart-mode", "in-place",
                 "--volume", f"{place}:/v", "--", "/bin/sh", "-c", script, service=False)
    eventually(lambda: count(place) > 3)
    bereave(c)
    at = count(place)
    eventually(lambda: count(place) > at + 66, 20, "more exits than there are places")
    return c


@pytest.mark.slow
def test_the_last_of_too_many_exits_is_the_end(hf, tmp_path):
    """It has no place of its own any more: what it was is known all the same, and nothing starts again."""
    c = full(hf, tmp_path, "on-failure", LAST)
    runs = count(tmp_path)
    (tmp_path / "end").touch()
    with pytest.raises(Late):  # a run comes every second
        eventually(lambda: c.service and not eventually(lambda: not c.service), 2.5)
    hf.ok("adopt", c.name)
    assert c.wait_end() == 0
    assert "Exited (0)" in c.ps() and count(tmp_path) <= runs + 1
    told = sum(r.count() for r in journal.read(c.state_dir) if r.kind in (journal.EXITED, journal.EXIT_GAP))
    assert told == count(tmp_path) + 1
    c.rm()


def test_too_many_exits_are_counted(hf, tmp_path):
    """PID 1 keeps 63; what it had to leave out it counts, and slows down."""
    c = full(hf, tmp_path, "always", CODES)
    adopt(c)
    gap = eventually(lambda: records(c, journal.EXIT_GAP), 10, "the gap in the journal")[0]
    eventually(lambda: records(c, journal.EXITED)[-1].run > gap.run, 10, "a run after it")
    c.stop()
    told = records(c, journal.EXITED, journal.EXIT_GAP)
    assert sum(r.count() for r in told) == told[-1].run


def test_idle(hf, measured):
    """Nobody supervises, nothing happens: PID 1 sleeps."""
    c = hf.start("--", "/bin/sleep", "1000")
    bereave(c)
    init = c.init

    def switches():
        return int(status_field(init, "voluntary_ctxt_switches"))
    until = time.monotonic() + 0.5
    before = switches()
    eventually(lambda: time.monotonic() > until)
    assert switches() - before <= 1
    adopt(c)
    c.stop("-t", "0")


def test_in_the_middle_of_a_stop(hf):
    """The grace is PID 1's and runs on; whoever asked for the stop goes on with it."""
    c = hf.start("--restart", "always", "--", hf.torture, "ignore")
    c.wait_line("ready")
    stop = hf.popen("stop", "--time", "2s", c.name)
    eventually(lambda: "Stopping" in (c.ps() or ""), 5)
    stop.send_signal(signal.SIGSTOP)  # or it adopts while we still kill
    bereave(c)
    stop.send_signal(signal.SIGCONT)
    out, err = stop.communicate(timeout=30)
    assert stop.returncode == 0, (out, err)
    assert c.wait_end() == 137
    assert [r.exit() for r in records(c, journal.EXITED)] == [-signal.SIGKILL]


def test_stopped_from_outside_meanwhile(hf):
    """SIGTERM to PID 1, as when the host goes down: its exit waits until somebody has it."""
    c = hf.start("--restart", "always", "--", hf.torture, "catch", "7")
    c.wait_line("ready")
    bereave(c)
    kill(c.init, signal.SIGTERM)
    eventually(lambda: not c.service, 10)
    assert c.init
    assert hf.ok("adopt", c.name).stderr == ""
    assert c.wait_end() == 7
    assert [r.exit() for r in records(c, journal.EXITED)] == [7]


@pytest.mark.quick
def test_in_the_middle_of_an_exec(hf):
    """Its command goes on, and how it ends is told once; its client is told that nobody is there."""
    c = hf.start("--", "/bin/sh", "-c", "mkfifo /tmp/f; echo ready; exec sleep 1000")
    c.wait_line("ready")
    p = hf.popen("exec", c.name, "/bin/sh", "-c", "echo begun; cat /tmp/f; exit 9")
    assert p.stdout.readline() == "begun\n"
    bereave(c)
    hf.ok("exec", c.name, "/bin/sh", "-c", "echo x > /tmp/f")  # it adopts
    out, err = p.communicate(timeout=20)
    assert (out, p.returncode) == ("x\n", 125) or p.returncode == 9, err
    eventually(lambda: len(journal.execs(c.state_dir)) == 2, 10, "the end of both")
    assert sorted(e["code"] for e in journal.execs(c.state_dir)) == [0, 9]
    assert hf("exec", c.name, "/bin/sh", "-c", "exit 4").returncode == 4


def test_the_budget_is_not_reset(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--restart-budget", "4/1h", "--",
                 hf.torture, "stamp")
    for n in range(1, 5):
        service = c.service
        if n in (2, 4):
            bereave(c)
        kill(service, signal.SIGKILL)
        c.wait_service(other_than=service)
        if n in (2, 4):
            adopt(c)
    kill(c.service, signal.SIGKILL)
    assert c.wait_end() == 137
    assert len(records(c, journal.EXITED)) == 5


def test_listeners_and_both_ways_to_restart(hf):
    port = load.free_port()
    c = hf.start("--listen", f"web=127.0.0.1:{port}", "--restart", "always", "--restart-delay", "0",
                 "--", os.path.join(os.path.dirname(hf.base), "httpd"), str(port))
    first = eventually(lambda: load.answers(port), 10, "an answer")
    bereave(c)
    assert load.answers(port) == first
    kill(c.service, signal.SIGKILL)  # by PID 1 alone
    eventually(lambda: load.answers(port), 10, "an answer of the next run")
    adopt(c)
    service, init = c.service, c.init
    kill(service, signal.SIGKILL)
    c.wait_service(other_than=service)
    eventually(lambda: load.answers(port), 10, "an answer after the adoption")
    kill(init, signal.SIGKILL)  # a fresh sandbox, the same socket
    eventually(lambda: c.init not in (None, init) and load.answers(port), 15, "an answer, fresh")
    c.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_stored_descriptors_and_notifications(hf):
    script = ("if not passed():\n"
              "    notify('FDSTORE=1\\nFDNAME=one', memory('1st'))\n    barrier()\n"
              "import signal\n"
              "signal.signal(signal.SIGUSR1, lambda *_: (notify('STATUS=still here'), "
              "notify('FDSTORE=1\\nFDNAME=two', memory('2nd')), barrier(), say('told')))\n"
              "say(contents() or 'stored')\nnotify('READY=1')\n"
              "while True: time.sleep(1000)")
    c = hf.start("--notify", *RESTART, *python(script))
    c.wait_line("^stored$")
    bereave(c)
    kill(c.service, signal.SIGUSR1)  # what it says waits in the socket
    adopt(c)
    c.wait_line("^told$")
    assert "still here" in hf.ok("inspect", c.name).stdout
    service = c.service
    kill(service, signal.SIGKILL)
    c.wait_line("^one=1st two=2nd$")
    bereave(c)
    kill(c.service, signal.SIGKILL)
    adopt(c)
    eventually(lambda: c.lines().count("one=1st two=2nd") == 2, 10, "both after the next adoption")


@pytest.mark.parametrize("others", [("adopt", "adopt", "adopt"), ("adopt", "exec", "resume")], ids="-".join)
def test_raced(hf, others):
    c = hf.start("--", hf.torture, "lines", "0", "1000")
    service = c.service
    for _ in range(scaled(3, 50)):
        bereave(c)
        ps = [hf.popen(what, c.name, *(["/bin/true"] if what == "exec" else [])) for what in others]
        for p in ps:
            out, err = p.communicate(timeout=20)
            assert p.returncode == 0 and err == "", (p.args, out, err)
        keepers = [p for p in os.listdir("/proc") if p.isdigit() and
                   (read(f"/proc/{p}/cmdline") or "").split("\0")[:2] == ["holdfast-keeper", c.name]]
        assert len(keepers) == 1 and c.shim and c.service == service
    c.stop()
    exactly(numbered(c.raw().decode()))


@pytest.mark.parametrize("command", [
    ("exec", "/bin/true"), ("pause",), ("update", "--restart", "no"), ("kill", "-s", "USR1"),
    ("start",), ("wait",)], ids=lambda a: a[0])
def test_every_command_that_changes_something_adopts(hf, command):
    c = hf.start("--", hf.torture, "catch", "3")
    c.wait_line("ready")
    service = c.service
    bereave(c)
    p = hf.popen(command[0], *(command[1:] if command[0] in ("kill", "update") else ()), c.name,
                 *(command[1:] if command[0] == "exec" else ()))
    eventually(lambda: c.shim and c.keeper, 10, f"a pair made by {command[0]}")
    if command[0] == "wait":
        kill(service, signal.SIGTERM)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 0 and err == "", (out, err)
    if command[0] == "wait":
        assert out == "3\n"
        return
    assert c.service == service
    hf.ok("resume", c.name)
    c.stop()
    assert c.wait_end() == 3


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_stop_and_restart(hf, command):
    c = hf.start("--restart", "always", "--", hf.torture, "catch", "5")
    c.wait_line("ready")
    init, service = c.init, c.service
    bereave(c)
    hf.ok(command, c.name)
    assert records(c, journal.EXITED)[0].exit() == 5  # it had its signal and its time
    assert not alive(service)
    if command == "restart":
        assert c.init == init and c.wait_service(other_than=service)
    else:
        assert c.wait_end() == 5 and not alive(init)


def test_output_without_a_memory_is_counted(hf):
    """PID 1 could make no file for it: all is told as dropped, also what came when it could have."""
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    shutil.copy(hf.torture, os.path.join(gate, "torture"))
    script = "echo begin; " + " ".join(
        f"while ! [ -e /gate/{n} ]; do sleep 0.01; done; /gate/torture lines 100 0; touch /gate/{n}.done;"
        for n in (1, 2)) + " exec sleep 1000"

    def let(n):
        open(os.path.join(gate, str(n)), "w", encoding="utf-8").close()
        eventually(lambda: os.path.exists(os.path.join(gate, f"{n}.done")), 10, "all written")
        eventually(lambda: struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"    "))[0] == 0)

    c = hf.start("-i", "-v", f"{gate}:/gate", "--", "/bin/sh", "-c", script)
    c.wait_line("begin")
    with open(f"/proc/{c.service}/fd/1", "rb", opener=lambda p, f: os.open(p, f | os.O_NONBLOCK)) as pipe:
        limit = resource.prlimit(c.init, resource.RLIMIT_NOFILE)
        resource.prlimit(c.init, resource.RLIMIT_NOFILE, (7, limit[1]))  # as many as PID 1 polls
        bereave(c)
        let(1)
        resource.prlimit(c.init, resource.RLIMIT_NOFILE, limit)
        let(2)
        adopt(c)
    gap = eventually(lambda: records(c, journal.OUTPUT_GAP), 10, "the gap in the journal")
    assert [int.from_bytes(r.body[16:24], "little") for r in gap] == [2 * 100 * 9]
    assert c.raw() == b"begin\n"
    c.stop("-t", "0")


def test_output_beyond_the_memory_is_counted(hf):
    """The service is not held up; what its log lacks is said in it."""
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    lines = 300000
    script = (f"echo begin; while ! [ -e /gate/go ]; do sleep 0.01; done; "
              f"/gate/torture lines {lines} 0; touch /gate/done; exec sleep 1000")
    shutil.copy(hf.torture, os.path.join(gate, "torture"))
    c = hf.start("-v", f"{gate}:/gate", "--", "/bin/sh", "-c", script)
    c.wait_line("begin")
    bereave(c)
    with open(os.path.join(gate, "go"), "w", encoding="utf-8"):
        pass
    eventually(lambda: os.path.exists(os.path.join(gate, "done")), 30, "all written")
    adopt(c)
    gaps = eventually(lambda: records(c, journal.OUTPUT_GAP), 10, "the gap in the journal")
    dropped = sum(int.from_bytes(r.body[16:24], "little") for r in gaps)
    total = len("begin\n") + 9 * lines
    eventually(lambda: len(c.raw()) + dropped == total, 10, "what was kept")
    assert SPOOL <= len(c.raw()) <= SPOOL + (2 << 20) and len(gaps) == 1
    exactly(c.lines()[1:SPOOL // 9 - 1])
    assert f"{dropped} bytes of stdout were dropped here" in hf.ok("logs", c.name).stderr
    # the memory is given back, and is there for the next time
    eventually(lambda: not kept_output(c), 10, "the memory is given back")
    c.stop("-t", "0")


def test_output_of_runs_that_nobody_supervised(hf, tmp_path):
    """More runs than PID 1 has pipes for, and each says something on both streams."""
    (tmp_path / "n").write_text("0\n")
    c = hf.start("--restart", "always", "--restart-delay", "1ms", "--restart-max-delay", "1ms",
                 "--restart-mode", "in-place", "--volume", f"{tmp_path}:/v", "--", "/bin/sh", "-c",
                 "read n < /v/n; n=$((n + 1)); echo $n > /v/n; echo $n; echo $n >&2;"
                 "[ $n -lt 30 ] || exec sleep 1000", service=False)
    eventually(lambda: c.lines())
    bereave(c)
    eventually(lambda: count(tmp_path) == 30, 20)
    adopt(c)
    for stream in ("stdout", "stderr"):
        c.wait_line("^30$", stream=stream)
        assert c.lines(stream) == [str(n) for n in range(1, 31)]
    eventually(lambda: len(records(c, journal.EXITED)) == 29)
    c.stop("-t", "0")


def test_a_terminal(hf):
    c = hf.start("-t", "-i", "--", "/bin/sh", "-c",
                 "stty -onlcr; trap 'echo heard' USR1; echo ready; while :; do sleep 1000 & wait; done")
    c.wait_line("ready")
    service = c.service
    bereave(c)
    kill(service, signal.SIGUSR1)
    eventually(lambda: kept_output(c), 10, "its output, kept by PID 1")
    adopt(c)
    c.wait_line("^heard$")
    kill(service, signal.SIGUSR1)
    eventually(lambda: c.lines().count("heard") == 2, 10)
    assert c.service == service
    c.stop("-t", "0")


def test_standard_input_stays_open(hf):
    c = hf.start("-i", "--", hf.torture, "echo")
    service = c.service
    bereave(c)
    adopt(c)
    p = subprocess.Popen([TOOL, "attach", c.name], env=hf.env(), text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write("hello\n")
    p.stdin.flush()
    c.wait_line("^hello$")
    assert c.service == service and "eof" not in c.lines()
    p.send_signal(signal.SIGKILL)
    p.communicate()
    c.stop("-t", "0")


def test_the_end_of_input_is_passed_on_all_the_same(hf):
    """PID 1 holds a copy of the pipe's end, and lets go of it."""
    p = hf.popen("run", "--rm", "-i", "--", hf.torture, "echo", stdin=subprocess.PIPE)
    out, err = p.communicate("word\n", timeout=20)
    assert (p.returncode, out) == (0, "word\neof\n"), err


def test_paused(hf):
    c = hf.start("--", hf.torture, "lines", "0", "500")
    service = c.service
    c.wait_line("1$")
    hf.ok("pause", c.name)
    bereave(c)
    adopt(c)
    assert "Paused" in c.ps()
    hf.ok("resume", c.name)
    size = len(c.raw())
    eventually(lambda: len(c.raw()) > size, 10, "output after resume")
    assert c.service == service
    c.stop()
    exactly(numbered(c.raw().decode()))


def test_probes_go_on(hf):
    """In the container's own network, by the sockets that were made there at its start."""
    c = hf.start("--restart", "on-failure", "--probe", "liveness=http://127.0.0.1:8080/,period=100ms,timeout=1s",
                 "--probe", "readiness=exec:true,period=100ms", "--",
                 os.path.join(os.path.dirname(hf.base), "httpd"), "8080")
    eventually(lambda: "(healthy)" in c.ps(), 10, "healthy")
    bereave(c)
    adopt(c)
    before = read(os.path.join(c.state_dir, "healthstate"))
    eventually(lambda: read(os.path.join(c.state_dir, "healthstate")) != before, 10, "another answer")
    assert "(healthy)" in c.ps()
    kill(c.service, signal.SIGSTOP)
    eventually(lambda: "unhealthy" in c.ps(), 20, "what stands still is found out")
    c.stop("-t", "0")


KNOCK = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    print(len(s.recv(100)))
    s.send(bytes.fromhex("6f00000008000000" + "00" * 16))
    print(len(s.recv(100)))
except OSError as e:
    print(type(e).__name__)
"""


def test_who_is_inside_gets_nothing_by_the_door(hf):
    """A process of the container's pid namespace that has found a way to the host's directory."""
    c = hf.start("--", hf.torture, "lines", "0", "1000")
    service, door = c.service, os.path.join(c.state_dir, "init.sock")

    def knock(*through):
        out = subprocess.run([*through, "/usr/bin/python3", "-c", KNOCK, door], text=True, timeout=30,
                             stdout=subprocess.PIPE, check=True)
        return out.stdout.split()
    bereave(c)
    inside = knock("nsenter", "-t", str(c.init), "-p")
    assert inside in (["0", "BrokenPipeError"], ["ConnectionResetError"], ["0", "ConnectionResetError"])
    assert knock()[0] != "0"  # from outside it is let in, as whoever adopts
    assert c.service == service
    adopt(c)
    c.stop()
    exactly(numbered(c.raw().decode()))


def test_somebody_else_at_the_door(hf):
    c = hf.start("--", hf.torture, "stamp")
    service, path = c.service, os.path.join(c.state_dir, "init.sock")
    bereave(c)
    os.rename(path, path + ".true")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(path)
        s.listen()
        out = hf("adopt", c.name)
    assert out.returncode == 1 and "not PID 1" in out.stderr
    assert c.service == service and not c.keeper
    os.rename(path + ".true", path)
    adopt(c)
    assert c.service == service
    c.stop()


def test_one_that_does_not_answer(hf):
    c = hf.start("--", hf.torture, "stamp")
    service, init = c.service, c.init
    bereave(c)
    kill(init, signal.SIGSTOP)
    out = hf("adopt", c.name)
    assert out.returncode == 1 and "does not answer" in out.stderr
    assert alive(service) and not c.keeper
    kill(init, signal.SIGCONT)
    adopt(c)
    assert c.service == service
    c.stop()


def test_without_init_it_stays_as_it_was(hf):
    c = hf.start("--init", "none", "--", hf.torture, "ignore", service=False)
    c.wait_line("ready")
    service = c.init
    bereave(c)
    for command in (("adopt",), ("exec",), ("wait",)):
        out = hf(*command, c.name, *(["/bin/true"] if command[0] == "exec" else []))
        assert out.returncode != 0 and "--init none" in out.stderr and "holdfast stop" in out.stderr
        assert alive(service)
    out = hf.ok("stop", c.name)
    assert "its service is ended" in out.stderr
    eventually(lambda: not alive(service))


def test_pid_1_is_gone_as_well(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    init = c.init
    bereave(c)
    kill(init, signal.SIGKILL)
    eventually(lambda: not alive(init))
    adopt(c)
    assert c.wait_service() and c.init != init
    assert adoptions(c) == 0
    assert journal.EXIT.unpack_from(records(c, journal.EXITED)[0].body)[2] & journal.EXIT_INFERRED
    c.stop()


def test_of_what_has_ended_or_runs(hf):
    c = hf.start("--", hf.torture, "stamp")
    keeper = c.keeper
    adopt(c)
    assert c.keeper == keeper and adoptions(c) == 0
    c.stop()
    out = hf("adopt", c.name)
    assert out.returncode == 1 and "holdfast start" in out.stderr
    made = hf.ok("create", "--name", hf.name(), "--", hf.torture, "stamp").stdout.strip()
    assert "is not running" in hf("adopt", made).stderr


def test_nothing_piles_up(hf):
    c = hf.start("-i", "--listen", f"127.0.0.1:{load.free_port()}", "--",
                 hf.torture, "lines", "0", "2000")
    counts = []
    for _ in range(5):
        bereave(c)
        adopt(c)
        shim = c.shim
        eventually(lambda: c.shim == shim and len(c.lines()) > 3)
        eventually(lambda: not kept_output(c), 10, "the memory is given back")
        eventually(connected_to_none)
        counts.append((fd_count(c.init), fd_count(c.keeper), fd_count(c.shim)))
    assert counts[1:] == [counts[1]] * 4
    c.stop()


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_the_adopter_dies_at_any_call(hf):
    """Whoever builds the new pair is killed at its system calls, one after the other: the next one does it."""
    c = hf.start("--", hf.torture, "lines", "0", "500")
    service, trace = c.service, os.path.join(hf.base, "trace")

    def traced(*options):
        return subprocess.run(["strace", "-qq", "-o", trace, *options, TOOL, "adopt", c.name],
                              env=hf.env(), capture_output=True, timeout=60, check=False)
    bereave(c)
    assert traced().returncode == 0
    seen, points = collections.Counter(), []
    for call in re.findall(r"^(\w+)\(", read(trace), re.M):
        seen[call] += 1
        if call not in LOOKING:
            points.append((call, seen[call]))
    for call, n in random.sample(points, min(len(points), scaled(20, 1000))):
        bereave(c)
        traced("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={n}")
        adopt(c)
        assert c.service == service, f"killed at call {n} of {call}"
    c.stop()
    exactly(numbered(c.raw().decode()))


@pytest.mark.latency
@pytest.mark.release
def test_time(hf, measured):
    c = hf.start("--", hf.torture, "stamp")
    took = []
    for _ in range(scaled(15, 100)):
        bereave(c)
        at = time.monotonic()
        adopt(c)
        took.append((time.monotonic() - at) * 1000)
    measured(f"adoption, from the command to its answer: median {statistics.median(took):.1f} ms, "
             f"longest {max(took):.1f} ms of {len(took)}; PID 1 {private_kib(c.init)} kB private")
    assert statistics.median(took) < 100
    c.stop()
