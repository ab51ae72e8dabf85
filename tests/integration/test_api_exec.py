"""Commands beside the service, begun and seen over the API."""

import os
import signal
import socket
import threading
import time

import pytest

import journal
from api import DATA, NO_DATA, REMOTE_CLOSED, RESPONSE, Api, Refused, ttrpc, v1
from rig import SLOW, cmdline, eventually, fd_count, in_one_of, kill, scaled
from test_exec import SLEEPER, in_group

INVALID, DEADLINE, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION = 3, 4, 5, 7, 8, 9


@pytest.fixture
def box(hf):
    return hf.start(*SLEEPER)


def run(api, *args, **more):
    return api.call("Exec", v1.ExecRequest(args=args, **more))


def wait(api, exec_id):
    return api.call("WaitExec", v1.WaitExecRequest(id=exec_id)).exit


class Attached:
    """An Attach on a connection of its own."""

    def __init__(self, box, exec_id=0, **more):
        self.api = Api(box)
        self.stream = self.api.begin("Attach", v1.AttachRequest(exec=exec_id, **more), REMOTE_CLOSED)
        self.bytes = {1: b"", 2: b""}
        self.dropped = {1: 0, 2: 0}
        self.begin = {1: more.get("stdout_offset", 0), 2: more.get("stderr_offset", 0)}

    def step(self):
        """False: the stream has ended."""
        _, kind, flags, payload = self.api.frame_of(self.stream)
        if kind == RESPONSE:
            status = ttrpc.Response.FromString(payload).status
            if status.code:
                raise Refused(status)
            return False
        assert kind == DATA and not flags & NO_DATA
        m = v1.LogsResponse.FromString(payload)
        have = self.begin[m.stream] + self.dropped[m.stream] + len(self.bytes[m.stream])
        if m.offset < have:  # told again by a new supervisor
            assert m.offset + len(m.data) <= have
            return True
        assert m.offset == have + m.dropped, (m.offset, have, m.dropped)
        self.dropped[m.stream] += m.dropped
        self.bytes[m.stream] += m.data
        return True

    def until(self, text, stream=1):
        while text not in self.bytes[stream]:
            assert self.step(), self.bytes
        return self

    def all(self):
        while self.step():
            pass
        self.api.sock.close()
        return self.bytes[1], self.bytes[2]


def next_shim(box, old):
    eventually(lambda: box.shim not in (None, old), what="another shim")


def write(api, exec_id, data=b"", close=False):
    return api.call("WriteStdin", v1.WriteStdinRequest(exec=exec_id, data=data, close=close))


@pytest.mark.quick
def test_it_is_begun_and_its_end_is_told(box):
    with Api(box) as api:
        started = run(api, "/bin/sh", "-c", "exit 7")
        assert started.id  # and a pid, unless it has ended by now
        end = wait(api, started.id)
        assert (end.code, end.signal, end.start_failed, end.run) == (7, 0, False, 1)
        assert wait(api, started.id).code == 7  # once more
        r = run(api, "/bin/sh", "-c", "kill -9 $$", wait=True)
        assert r.id != started.id and r.exit.signal == 9
        kinds = [(e.type, e.exec_started.command or e.exec_exited.exit.code or e.exec_exited.exit.signal)
                 for e in api.call("ListEvents").events if e.type in (30, 31)]
        assert kinds == [(30, "/bin/sh"), (31, 7), (30, "/bin/sh"), (31, 9)]
        lives = run(api, "/bin/sleep", "1000")
        eventually(lambda: cmdline(lives.pid) == ["/bin/sleep", "1000"])
        api.call("Kill", v1.KillRequest(signal=9, exec=lives.id))
    with Api(box) as other:
        assert wait(other, started.id).code == 7  # an exec is nobody's
        assert wait(other, lives.id).signal == 9


def test_what_it_is_given(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "echo $A $B; pwd; id -u; id -g; id -G; echo err >&2",
                env=["A=1", "B=2"], cwd="/tmp", user=v1.User(uid=12, gid=34, groups=[56]), output=True)
        assert wait(api, r.id).code == 0
        out, err = Attached(box, r.id).all()
        assert out.split() == [b"1", b"2", b"/tmp", b"12", b"34", b"34", b"56"]
        assert err == b"err\n"


def test_what_can_not_be_executed(box):
    with Api(box) as api:
        for args, code, errno in ((["/no/such"], 127, 2), (["no-such"], 127, 2),
                                  (["/etc/passwd"], 126, 13)):
            end = run(api, *args, wait=True).exit
            assert (end.code, end.start_failed, abs(end.error_number)) == (code, True, errno)
        end = run(api, "true", cwd="/no/such", wait=True).exit
        assert (end.code, end.start_failed) == (126, True)


@pytest.mark.parametrize("method,request_of,code,text", [
    ("Exec", lambda i: v1.ExecRequest(), INVALID, "which command?"),
    ("Exec", lambda i: v1.ExecRequest(args=[""]), INVALID, "which command?"),
    ("Exec", lambda i: v1.ExecRequest(args=["x"], cwd="tmp"), INVALID, "not an absolute path"),
    ("Exec", lambda i: v1.ExecRequest(args=["x"], env=["A"]), INVALID, "NAME=VALUE"),
    ("Exec", lambda i: v1.ExecRequest(args=["x"], env=["=A"]), INVALID, "NAME=VALUE"),
    ("Exec", lambda i: v1.ExecRequest(args=["x"], rows=65536), INVALID, "at most 65535"),
    ("WaitExec", lambda i: v1.WaitExecRequest(id=77), NOT_FOUND, "exec 77"),
    ("WaitExec", lambda i: v1.WaitExecRequest(), NOT_FOUND, "exec 0"),
    ("Kill", lambda i: v1.KillRequest(signal=9, exec=77), NOT_FOUND, "exec 77"),
    ("Kill", lambda i: v1.KillRequest(signal=65, exec=i), INVALID, "no such signal"),
    ("ResizePty", lambda i: v1.ResizePtyRequest(rows=1, columns=1, exec=i), PRECONDITION,
     "has no terminal"),
    ("WriteStdin", lambda i: v1.WriteStdinRequest(exec=i, data=b"x"), PRECONDITION,
     "no standard input"),
    ("WriteStdin", lambda i: v1.WriteStdinRequest(data=b"x"), PRECONDITION, "no standard input"),
    ("WriteStdin", lambda i: v1.WriteStdinRequest(exec=i, data=b"x" * 4097), INVALID,
     "at most 4096"),
])
def test_what_is_wrong_is_named(box, method, request_of, code, text):
    with Api(box) as api:
        plain = run(api, "/bin/sleep", "999")
        with pytest.raises(Refused) as e:
            api.call(method, request_of(plain.id))
        assert e.value.code == code and text in e.value.message
        api.call("GetState")
        if method == "Exec":  # nothing was begun
            assert len(journal.execs(box.state_dir)) == 0
            assert [r.kind for r in journal.read(box.state_dir)].count(journal.EXEC_STARTED) == 1


def test_no_output_of_one_that_has_none(box):
    with Api(box) as api:
        plain = run(api, "true")
        for exec_id in (plain.id, 77):
            with pytest.raises(Refused) as e:
                Attached(box, exec_id).all()
            assert e.value.code == NOT_FOUND and "no output of it is kept" in e.value.message


def test_not_on_the_observe_socket(box):
    with Api(box, "observe") as api:
        for method, request in (("Exec", v1.ExecRequest(args=["true"])),
                                ("WriteStdin", v1.WriteStdinRequest())):
            with pytest.raises(Refused) as e:
                api.call(method, request)
            assert e.value.code == DENIED
        stream = api.begin("Attach", v1.AttachRequest(), REMOTE_CLOSED)
        assert api.response(stream).status.code == DENIED


def test_a_paused_container(hf, box):
    hf.ok("pause", box.name)
    with Api(box) as api:
        with pytest.raises(Refused) as e:
            run(api, "true")
        assert e.value.code == PRECONDITION and "paused" in e.value.message
        out = hf("exec", box.name, "true")
        assert out.returncode == 125 and f"is paused (holdfast resume {box.name})" in out.stderr
        api.call("Resume")
        assert run(api, "true", wait=True).exit.code == 0


def test_a_service_that_is_not_up(hf):
    c = hf.start("--restart", "always", "--restart-delay", "1000", "--restart-max-delay", "1000",
                 "--", "/bin/sh", "-c", "exit 1", service=False)
    eventually(lambda: [r for r in journal.read(c.state_dir) if r.kind == journal.EXITED][1:])
    with Api(c) as api, pytest.raises(Refused) as e:
        run(api, "true")
    assert e.value.code == PRECONDITION and "not running" in e.value.message


def test_standard_input(box):
    with Api(box) as api:
        r = run(api, "cat", input=True, output=True)
        for piece in (b"one\n", b"", b"x" * 4096):
            assert write(api, r.id, piece).written == len(piece)
        a = Attached(box, r.id).until(b"one\n")
        assert write(api, r.id, b"end", close=True).written == 3
        assert wait(api, r.id).code == 0
        assert a.all() == (b"one\n" + b"x" * 4096 + b"end", b"")
        with pytest.raises(Refused) as e:
            write(api, r.id, b"late")
        assert e.value.code == PRECONDITION


FULL = 16  # chunks that fill a pipe


def begin_write(api, exec_id, data=b"", close=False):
    return api.begin("WriteStdin", v1.WriteStdinRequest(exec=exec_id, data=data, close=close))


@pytest.mark.quick
def test_who_does_not_read_holds_up_nobody(box):
    with Api(box) as api:
        r = run(api, "/bin/sleep", "999", input=True)
        streams = [begin_write(api, r.id, b"y" * 4096) for _ in range(FULL + 10)]
        for s in streams[:FULL]:
            assert v1.WriteStdinResponse.FromString(api.response(s).payload).written == 4096
        assert api.call("GetState").run == 1  # on the same connection
        old = box.shim
        kill(old, signal.SIGKILL)
        next_shim(box, old)
        assert api.call("GetState").run == 1
        assert not [f for f in api.waiting if f[0] in streams]  # they wait, also over a death
        api.call("Kill", v1.KillRequest(signal=9, exec=r.id))
        assert wait(api, r.id).signal == 9
        for s in streams[FULL:]:
            assert ttrpc.Response.FromString(api.frame_of(s)[3]).status.code == PRECONDITION


@pytest.mark.parametrize("count, deaths", [(FULL + 12, 0), (FULL + 12, 3), (FULL + 20, 3)])
def test_what_waits_is_written_once_and_in_order(box, count, deaths):
    """Also more than the supervisor keeps for one connection."""
    chunks = [b"%08d" % i * 512 for i in range(count)]
    with Api(box) as api, Api(box) as other:
        r = run(other, "/bin/sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; exec cat", input=True, output=True)
        streams = [begin_write(api, r.id, c) for c in chunks] + [begin_write(api, r.id, close=True)]
        for s in streams[:FULL]:
            api.response(s)
        for _ in range(deaths):
            old = box.shim
            kill(old, signal.SIGKILL)
            next_shim(box, old)
        assert other.call("GetState").run == 1
        assert run(other, "touch", "/tmp/go", wait=True).exit.code == 0
        for s in streams[FULL:]:
            answer = v1.WriteStdinResponse.FromString(api.response(s).payload)
            assert not answer.uncertain and answer.written == (4096 if s != streams[-1] else 0)
        assert wait(other, r.id).code == 0
        assert Attached(box, r.id).all()[0] == b"".join(chunks)


def test_a_write_that_waits_longer_than_it_may(box):
    with Api(box) as api:
        r = run(api, "/bin/sleep", "999", input=True)
        for _ in range(FULL):
            write(api, r.id, b"y" * 4096)
        api.stream += 2
        request = v1.WriteStdinRequest(exec=r.id, data=b"z" * 4096).SerializeToString()
        api.send_frame(ttrpc.Request(service="holdfast.v1.Supervisor", method="WriteStdin", payload=request,
                                     timeout_nano=200_000_000).SerializeToString(), api.stream)
        assert api.response(api.stream).status.code == DEADLINE
        api.call("Kill", v1.KillRequest(signal=9, exec=r.id))


@pytest.mark.latency
@pytest.mark.parametrize("readers", ["none", "slow", "fast"])
def test_a_flood_from_execs_delays_no_other(box, measured, readers):
    """Their output goes through the supervisor's loop: nobody else is to feel it."""
    with Api(box) as api:
        execs = [run(api, "/bin/sh", "-c", "exec yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", output=True).id
                 for _ in range(8)]
        attached = [Attached(box, e) for e in execs] if readers != "none" else []
        ended = threading.Event()

        def read(a):
            while not ended.is_set() and a.api.sock.recv(1 << 16):
                pass
        threads = [threading.Thread(target=read, args=(a,)) for a in attached if readers == "fast"]
        for t in threads:
            t.start()

        def batch():
            took = []
            for _ in range(scaled(200, 2000)):
                begun = time.monotonic()
                api.call("GetInfo")
                took.append(time.monotonic() - begun)
            took.sort()
            p99 = took[len(took) * 99 // 100]
            measured(f"an answer beside 8 flooding execs, {readers} readers: median "
                     f"{took[len(took) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
            return p99 < 0.1 * SLOW
        in_one_of(3, batch)
        for e in execs:
            api.call("Kill", v1.KillRequest(signal=9, exec=e))
        ended.set()
        for a in attached:
            a.api.sock.shutdown(socket.SHUT_RDWR)
        for t in threads:
            t.join()
        for a in attached:
            a.api.sock.close()


def test_clients_that_leave_while_they_wait(box):
    """Nobody listens to a connection that waits for a reader: it does not stay for all that."""
    with Api(box) as api:
        r = run(api, "/bin/sleep", "999", input=True)
        for _ in range(16):
            write(api, r.id, b"y" * 4096)
        before = fd_count(box.shim)
        for _ in range(40):
            with Api(box) as gone:
                gone.begin("WriteStdin", v1.WriteStdinRequest(exec=r.id, data=b"y" * 4096))
                assert api.call("GetState").run == 1
        eventually(lambda: fd_count(box.shim) <= before + 8)
        api.call("Kill", v1.KillRequest(signal=9, exec=r.id))
        assert wait(api, r.id).signal == 9
        eventually(lambda: fd_count(box.shim) <= before)


def test_it_is_signalled(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "trap 'exit 4' USR1; echo ready; while :; do sleep 0.02; done",
                output=True)
        Attached(box, r.id).until(b"ready")
        api.call("Kill", v1.KillRequest(signal=signal.SIGUSR1, exec=r.id))
        assert wait(api, r.id).code == 4
        with pytest.raises(Refused) as e:
            api.call("Kill", v1.KillRequest(signal=9, exec=r.id))
        assert e.value.code == PRECONDITION and "has ended" in e.value.message
        assert box.service


def test_a_terminal(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "tty; stty size; read x; stty size; echo got $x", terminal=True,
                rows=33, columns=77)
        a = Attached(box, r.id).until(b"33 77")
        assert b"/dev/pts/" in a.bytes[1]
        api.call("ResizePty", v1.ResizePtyRequest(rows=44, columns=111, exec=r.id))
        with pytest.raises(Refused) as e:
            write(api, r.id, b"x", close=True)
        assert e.value.code == INVALID
        assert write(api, r.id, b"typed\r").written == 6
        a.until(b"got typed")
        assert wait(api, r.id).code == 0
        out, err = a.all()
        assert b"44 111" in out and err == b""


def test_the_newest_is_kept_and_what_is_not_is_counted(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "seq 1 400000", output=True)
        assert wait(api, r.id).code == 0
        a = Attached(box, r.id)
        out, _ = a.all()
        everything = b"".join(b"%d\n" % n for n in range(1, 400001))
        assert a.dropped[1] > 0 and a.dropped[1] + len(out) == len(everything)
        assert everything.endswith(out) and 1 << 20 <= len(out) <= (1 << 20) + (320 << 10)


def test_who_is_attached_gets_all_of_it(box):
    """More than is kept, and a reader that is slower than the writer."""
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "read x; seq 1 700000", input=True, output=True)
        a = Attached(box, r.id)
        a.api.call("GetState")
        write(api, r.id, b"go\n")
        eventually(lambda: os.stat(os.path.join(box.state_dir, f"exec-{r.id}.1")).st_size > 1 << 20)
        out, _ = a.all()
        assert a.dropped[1] == 0 and out == b"".join(b"%d\n" % n for n in range(1, 700001))
        assert wait(api, r.id).code == 0


@pytest.mark.parametrize("who", ["shim", "keeper"])
def test_it_goes_on_over_a_death(box, who):
    """Input, output and the end, all begun before it."""
    count = scaled(4, 60)
    with Api(box) as api, Api(box) as waiter:
        r = run(api, "/bin/sh", "-c", "while read x; do echo $x; echo $x >&2; done; exit 5",
                input=True, output=True)
        end = waiter.begin("WaitExec", v1.WaitExecRequest(id=r.id))
        a = Attached(box, r.id)
        for client in (waiter, a.api):  # a connection that the shim has not got yet goes with the keeper
            client.call("GetState")
        for n in range(count):
            assert write(api, r.id, b"%d\n" % n).written
            box.crash(who)
            a.until(b"%d\n" % n)
        write(api, r.id, b"", close=True)
        assert v1.WaitExecResponse.FromString(waiter.response(end).payload).exit.code == 5
        want = b"".join(b"%d\n" % n for n in range(count))
        assert a.all() == (want, want)
        assert [x["code"] for x in journal.execs(box.state_dir)] == [5]


def test_a_terminal_over_a_death(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "stty -echo; echo up; while read x; do echo got $x; done",
                terminal=True)
        a = Attached(box, r.id).until(b"up")
        for n, who in enumerate(("shim", "keeper", "shim")):
            box.crash(who)
            write(api, r.id, b"%d\n" % n)
            a.until(b"got %d" % n)
        write(api, r.id, b"\x04")
        assert a.all()[0].replace(b"\r", b"").split(b"\n")[:4] == [b"up", b"got 0", b"got 1", b"got 2"]
        assert wait(api, r.id).code == 0


@pytest.mark.quick
def test_each_is_begun_once_whenever_the_shim_dies(hf, place):
    """The shim is killed at any instant of many Execs: each runs once, each end arrives."""
    log = os.path.join(place, "once")
    with open(log, "w"):
        pass
    c = hf.start("-v", f"{place}:{place}", *SLEEPER)
    count = scaled(30, 1000)
    with Api(c, timeout=60) as api:
        for n in range(count):
            stream = api.begin("Exec", v1.ExecRequest(
                args=["/bin/sh", "-c", f"echo {n} >>{log}; exit {n % 100}"], wait=True))
            if n % 2:
                old = c.shim
                if old:
                    kill(old, signal.SIGKILL)
            r = api.response(stream)
            assert not r.status.code, r.status.message
            assert v1.ExecResponse.FromString(r.payload).exit.code == n % 100
    with open(log) as f:
        assert [int(x) for x in f] == list(range(count))
    ids = [x["id"] for x in journal.execs(c.state_dir)]
    assert len(ids) == len(set(ids)) == count
    os.unlink(log)


def test_it_ends_with_the_run(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0.01", *SLEEPER)
    with Api(c) as api:
        r = run(api, "/bin/sleep", "999", output=True, input=True)
        a = Attached(c, r.id)
        service = c.service
        kill(service, signal.SIGKILL)
        assert wait(api, r.id).signal == 9
        assert a.all() == (b"", b"")
        c.wait_service(other_than=service)
        assert run(api, "true", wait=True).exit.code == 0


def test_a_container_that_ends(box):
    with Api(box) as api:
        r = run(api, "/bin/sh", "-c", "echo before; exec sleep 999", output=True)
        a = Attached(box, r.id).until(b"before\n")
        eventually(lambda: in_group(box, "999"))
        box.stop()
        try:
            a.all()
        except Exception as e:
            assert type(e).__name__ == "Closed"
    assert not [n for n in os.listdir(box.state_dir) if n.startswith("exec-")]


def test_old_ones_make_room_and_too_many_are_refused(box):
    with Api(box) as api:
        first = run(api, "true", output=True)
        assert wait(api, first.id).code == 0
        live = [run(api, "/bin/sleep", "999", output=True) for _ in range(16)]
        with pytest.raises(Refused) as e:
            Attached(box, first.id).all()
        assert e.value.code == NOT_FOUND
        with pytest.raises(Refused) as e:
            run(api, "true", output=True)
        assert e.value.code == EXHAUSTED and "16 execs" in e.value.message
        assert run(api, "true", wait=True).exit.code == 0  # without output there is room
        api.call("Kill", v1.KillRequest(signal=9, exec=live[3].id))
        assert wait(api, live[3].id).signal == 9

        def again():
            try:
                return run(api, "true", output=True)
            except Refused:
                return None
        assert wait(api, eventually(again).id).code == 0
        for r in live:
            api.call("Kill", v1.KillRequest(signal=9, all=True))
            break


def test_attached_to_the_service(hf):
    c = hf.start("-i", "--", "/bin/sh", "-c", "echo early; while read x; do echo got $x; done; exit 3")
    c.wait_line("early")
    with Api(c) as api:
        a = Attached(c)
        a.begin[1] = len(c.raw())
        a.api.call("GetState")  # behind the Attach, which begins where the output is by then
        assert write(api, 0, b"one\n").written == 4
        a.until(b"got one\n")
        old = c.shim
        kill(old, signal.SIGKILL)
        assert write(api, 0, b"two\n", close=True).written == 4
        a.until(b"got two\n")
        assert b"early" not in a.bytes[1]
    assert c.wait_end() == 3
