"""The API sockets under clients that mean harm: others are answered in time, the shim stays small, and
nobody is shut out. What one malformed frame gets is in test_api.py."""

import json
import os
import select
import selectors
import signal
import struct
import time

from api import Api, Closed, HEAD, REQUEST, cursor, observers, ttrpc, v1
from rig import alive, eventually, in_one_of, kill, private_kib, scaled
from test_api import storm

SANITIZED = os.environ.get("HOLDFAST_KIND") == "sanitize"
ANSWER = 0.15 if SANITIZED else 0.05  # seconds
GROWTH = 1024  # KiB
LARGEST = 64 << 10
OBSERVERS = 192  # of the calls that there may be, as many are for them


def request(method, stream, payload=b"", pad=0):
    body = ttrpc.Request(service="holdfast.v1.Supervisor", method=method, payload=payload)
    if pad:
        body.metadata.add(key="padding", value="x" * (pad - body.ByteSize() - 24))
    data = body.SerializeToString()
    return HEAD.pack(len(data), stream, REQUEST, 0) + data


def readable(apis):
    with selectors.PollSelector() as s:
        for api in apis:
            s.register(api.sock, selectors.EVENT_READ, api)
        return [key.data for key, _ in s.select(0)]


def half(api):
    api.sock.sendall(request("GetState", 1)[:7])


def half_payload(api):
    api.sock.sendall(request("GetState", 1, pad=60000)[:30000])


def garbage(api):
    api.sock.sendall(os.urandom(500))


def largest_length(api):
    api.sock.sendall(struct.pack(">IIBB", 0xffffffff, 1, 1, 0) + bytes(1000))


def deep(api):
    body = b""
    for _ in range(9000):
        body = (b"\x2a" + bytes([len(body) & 127 | 128, len(body) >> 7 & 127 | 128,
                                 len(body) >> 14]) + body)
        if len(body) > LARGEST - 16:
            break
    api.sock.sendall(HEAD.pack(len(body), 1, 1, 0) + body)


def maximal(api):
    data = request("GetInfo", 1, pad=LARGEST)
    api.sock.sendall(data)


def small_writes(api):
    data = request("GetInfo", 1, pad=20000)
    for i in range(0, len(data), 64):
        api.sock.sendall(data[i:i + 64])


def many_fields(api):
    api.sock.sendall(HEAD.pack(LARGEST, 1, 1, 0) + b"\x2a\x00" * (LARGEST // 2))


def deaf_watcher(api):
    api.begin("Watch", v1.WatchRequest(), 1)


def deaf_caller(api):
    api.sock.setblocking(False)
    try:
        for n in range(2000):
            api.sock.sendall(request("GetState", 2 * n + 1))
    except BlockingIOError:
        pass


HARM = (half, half_payload, garbage, largest_length, deep, maximal, small_writes, many_fields,
        deaf_watcher, deaf_caller)


class Good:
    """Asks all the time, in a process of its own: this one's threads wait for each other. What it waited for
    at most, and how many answers it got."""

    def __init__(self, c):
        self.c = c
        told, tell = os.pipe()
        ended, self.ended = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.ended)
            try:
                os.write(tell, json.dumps(self._ask(ended)).encode())
            finally:
                os._exit(0)
        os.close(tell)
        os.close(ended)
        self.told = told

    def _ask(self, ended):
        worst, count = 0.0, 0
        try:
            with Api(self.c) as api:
                self.first = None
                while not self.first or not select.select([ended], [], [], 0.001)[0]:
                    begin = time.monotonic()
                    state = api.call("GetState")
                    worst = max(worst, time.monotonic() - begin)
                    count += 1
                    self.first = self.first or state
                    assert self.same(state), state
        except Exception as e:  # shown by end()
            return [worst, count, repr(e)]
        return [worst, count, ""]

    def same(self, state):
        return state.pid == self.first.pid

    def end(self):
        os.close(self.ended)
        with os.fdopen(self.told) as f:
            worst, self.count, error = json.loads(f.read())
        os.waitpid(self.child, 0)
        assert not error and self.count > 0, error
        return worst


def harm(c, count):
    """Does everything bad so many times; (how long others waited, growth of the shim at most, in KiB, how
    many were answered)."""
    shim, good = c.shim, Good(c)
    before = private_kib(shim)
    held, peak = [], 0
    for n in range(count):
        api = Api(c, timeout=10)
        try:
            HARM[n % len(HARM)](api)
        except (OSError, Closed):
            pass  # closed on: its fault
        held.append(api)
        if len(held) > 60:  # as many at a time
            held.pop(0).sock.close()
        if n % 40 == 39:
            peak = max(peak, private_kib(shim) - before)
    peak = max(peak, private_kib(shim) - before)
    for api in held:
        api.sock.close()
    return good.end(), peak, good.count


def test_a_flood_of_everything(hf, measured):
    count = scaled(600, 10000)
    c = hf.start("--", hf.torture, "stamp")
    shim = c.shim
    with Api(c) as api:
        api.call("GetState")
    before = private_kib(shim)

    def batch():
        worst, peak, answers = harm(c, count)
        assert c.shim == shim and alive(shim)
        eventually(lambda: SANITIZED or private_kib(shim) - before < GROWTH)  # a sanitizer keeps what is freed
        growth = private_kib(shim) - before
        measured(f"API: {count} hostile connections: others waited {worst * 1000:.1f} ms at most "
                 f"({answers} calls), shim +{peak} KiB at most, +{growth} KiB after")
        assert SANITIZED or peak < GROWTH
        return worst < ANSWER
    in_one_of(3, batch)


def frames_in_pieces(c):
    """A hundred of 64 KiB would be 6 MiB: (how long others waited, growth of the shim in KiB)."""
    shim, good = c.shim, Good(c)
    before = private_kib(shim)
    slow = [Api(c) for _ in range(100)]
    data = request("GetInfo", 1, pad=LARGEST)
    for api in slow:
        api.sock.sendall(data[:-100])
    eventually(lambda: len(readable(slow)) >= 80)  # who has the room is chance
    refused = readable(slow)
    peak = private_kib(shim) - before
    worst = good.end()
    held, done = [api for api in slow if api not in refused], 0
    for api in held:  # which have a deadline
        try:
            api.sock.sendall(data[-100:])
            done += api.response(1).status.code == 0
        except (OSError, Closed):
            pass
        api.sock.close()
    for api in refused:
        assert api.response(1).status.code == 8
        api.sock.sendall(data[-100:])
        api.stream = 1
        assert api.call("GetInfo").id == c.name  # its connection is kept
        api.sock.close()
    assert 5 <= done <= 20, done
    return worst, peak


def test_frames_in_pieces_are_bounded_together(hf, measured):
    c = hf.start("--", hf.torture, "stamp")

    def batch():
        worst, peak = frames_in_pieces(c)
        measured(f"API: 100 frames in pieces: shim +{peak} KiB, others waited {worst * 1000:.1f} ms "
                 "at most")
        assert SANITIZED or peak < GROWTH
        return worst < ANSWER
    in_one_of(3, batch)


def test_observers_cannot_keep_out_the_operator(hf):
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    crowd = observers(c)
    for api in crowd:
        api.sock.settimeout(10)
    try:
        for api in crowd[:100]:
            for _ in range(3):  # and as many calls
                api.begin("Wait", v1.WaitRequest())
        with Api(c) as api:
            api.call("Kill", v1.KillRequest(signal=signal.SIGUSR1))
            c.wait_line("got 10")
            stream = api.begin("Wait", v1.WaitRequest())
            assert api.call("GetState").pid == c.service
        codes = []
        while len(codes) < 300 - OBSERVERS:  # those who came last
            for api in eventually(lambda: readable(crowd[:100]), 10, f"a refusal beside {len(codes)}"):
                while not codes or api.buffer or readable([api]):
                    codes.append(ttrpc.Response.FromString(api.frame()[3]).status.code)
        assert set(codes) == {8}
    finally:
        for api in crowd:
            api.sock.close()
    assert stream == 3
    with Api(c, "observe") as api:
        assert api.call("GetState").pid == c.service
    c.stop("-t", "0")


def test_a_client_has_bounded_calls(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as greedy, Api(c, "observe") as other:
        streams = [greedy.begin("Watch", v1.WatchRequest(**{"from": cursor(1, 0)}), 1)
                   for _ in range(70)]
        while True:  # data of the others comes between
            stream, kind, _, payload = greedy.frame()
            if kind == 2:
                break
        assert stream == streams[64]
        assert ttrpc.Response.FromString(payload).status.code == 8
        assert next(other.watch()).sequence == 1


def test_delete_is_done_whoever_dies(hf):
    for n in range(scaled(6, 60)):
        c = hf.start("--", hf.torture, "catch", "0")
        c.wait_line("ready")
        name, shim = c.name, c.shim
        with Api(c) as api:
            api.call("Delete", v1.DeleteRequest(force=True))
            if alive(shim):
                kill(shim, signal.SIGKILL)
        eventually(lambda: name not in hf.containers(), 15, f"{n}: the container is gone")


class Stream:
    """One watcher among many: frames as they come. Watchers that are level get the same bytes, so each
    message is decoded once for all of them."""
    decoded = {}

    def __init__(self, c):
        self.api = Api(c, timeout=30)
        self.api.begin("Watch", v1.WatchRequest(), 1)
        self.sock, self.data, self.last = self.api.sock, b"", 0

    def take(self):
        self.data += self.sock.recv(1 << 18)
        at = 0
        while len(self.data) - at >= HEAD.size:
            length, _, kind, _ = HEAD.unpack_from(self.data, at)
            if len(self.data) - at < HEAD.size + length:
                break
            assert kind == 3, kind
            self._events(self.data[at + HEAD.size:at + HEAD.size + length])
            at += HEAD.size + length
        self.data = self.data[at:]

    def _events(self, payload):
        if payload not in self.decoded:
            events = v1.WatchResponse.FromString(payload).events
            first, n = events[0].sequence, len(events)
            assert [e.sequence for e in events] == list(range(first, first + n))
            assert all(e.type != v1.EVENT_GAP for e in events)
            if len(self.decoded) > 2000:
                self.decoded.clear()
            self.decoded[payload] = first, n
        first, n = self.decoded[payload]
        assert first == self.last + 1, (first, self.last)
        self.last += n


def test_events_at_a_thousand_a_second(hf, tmp_path, measured):
    """What 64 watchers get of a service that crashes as fast as it can, for a while: all of it."""
    seconds, watchers = scaled(3, 60), 64
    c = storm(hf, tmp_path)
    rate, behind, cpu = all_of_it(c, seconds, watchers)
    c.stop()
    measured(f"API: {watchers} watchers of {rate:.0f} events/s over {seconds} s: none was lost, {behind} "
             f"behind at the end; shim {cpu * 100:.0f} % CPU")
    assert SANITIZED or behind < rate  # a second's worth: they keep up


def all_of_it(c, seconds, watchers):
    """(events per second, how many the last of them was behind at the end, share of a CPU); none is lost."""
    streams = [Stream(c) for _ in range(watchers)]
    chosen = selectors.DefaultSelector()
    for s in streams:
        chosen.register(s.sock, selectors.EVENT_READ, s)
    with Api(c) as api:
        begin, cpu = time.monotonic(), shim_cpu(c.shim)
        started = api.call("GetState").cursor.sequence
        while time.monotonic() < begin + seconds:
            for key, _ in chosen.select(1):
                key.data.take()
        state = api.call("GetState")
        took, cpu = time.monotonic() - begin, shim_cpu(c.shim) - cpu
    rate = (state.cursor.sequence - started) / took
    behind = state.cursor.sequence - min(s.last for s in streams)
    for s in streams:  # to the same place
        while s.last < state.cursor.sequence:
            s.take()
        s.sock.close()
    return rate, behind, cpu / took


def shim_cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_observers_in_pieces_leave_room_for_the_operator(hf):
    c = hf.start("--", hf.torture, "stamp")
    data = request("GetInfo", 1, pad=LARGEST)
    slow = [Api(c, "observe") for _ in range(20)]
    for api in slow:
        api.sock.sendall(data[:-100])
    eventually(lambda: len(readable(slow)) >= 10, 4, "those for whom there is no room")
    with Api(c) as api:
        api.sock.sendall(data[:-100])
        slow[0].sock.close()
        assert Api(c).call("GetInfo").id == c.name  # in a later turn than the piece
        api.sock.sendall(data[-100:])
        assert api.response(1).status.code == 0
    for api in slow:
        api.sock.close()
