"""What one client's calls may cost others, and itself: who is full is told of what, a call ends when its
client has given up, and nothing that has much to say stands before a request."""

import os
import signal
import socket
import threading
import time

import pytest

import journal
from api import Api, DATA, REMOTE_CLOSED, REQUEST, RESPONSE, Refused, SERVICE, cursor, ttrpc, v1
from rig import KIND, SLOW, eventually, falls_asleep, in_one_of, kill, private_kib, scaled, status_field, switches
from test_api_hostile import Good, request

FLOOD = ("/bin/sh", "-c", "trap 'echo got >&2' USR1; while :; do cat /dev/zero & wait; done")


def begin_for(api, method, msec, **fields):
    """A request that its client waits for no longer than that."""
    api.stream += 2
    body = ttrpc.Request(service=SERVICE, method=method, timeout_nano=msec * 1000000,
                         payload=getattr(v1, method + "Request")(**fields).SerializeToString())
    api.send_frame(body.SerializeToString(), api.stream)
    return api.stream


def refusal(api, streams):
    """Of the first of these streams that is refused: (which, status). Data of others comes between."""
    while True:
        stream, kind, _, payload = api.frame()
        if kind == RESPONSE:
            return streams.index(stream), ttrpc.Response.FromString(payload).status


def blocked(api):
    """Its socket's buffers are full: nobody can send it more."""
    def size():
        return len(api.sock.recv(1 << 20, socket.MSG_PEEK))
    eventually(lambda: size() > 100000)


# ---- who is full

def test_what_is_full_is_named(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as one:
        streams = [one.begin("Wait", v1.WaitRequest()) for _ in range(65)]
        which, status = refusal(one, streams)
        assert (which, status.code) == (64, 8)
        assert "Wait" in status.message and "64 calls" in status.message and "connection" in status.message
    crowd = [Api(c, "observe") for _ in range(4)]
    for api in crowd[:3]:
        for _ in range(64):
            api.begin("Wait", v1.WaitRequest())
        assert api.call("GetInfo").id == c.name
    with pytest.raises(Refused) as e:
        crowd[3].call("Wait")
    assert e.value.code == 8 and "192 calls" in e.value.message and "observe" in e.value.message
    for api in crowd:
        api.sock.close()
    c.stop("-t", "0")


def test_a_signal_that_finds_no_room_is_not_sent(hf):
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    with Api(c) as api:
        for _ in range(64):
            api.begin("Wait", v1.WaitRequest())
        with pytest.raises(Refused) as e:
            api.call("Kill", v1.KillRequest(signal=signal.SIGUSR1))
        assert e.value.code == 8
        with Api(c) as other:
            other.call("Kill", v1.KillRequest(signal=signal.SIGUSR2))
        c.wait_line("got 12")
        assert c.lines() == ["ready", "got 12"]
        api.call("Kill", v1.KillRequest(signal=signal.SIGKILL))  # a stop needs no room
    assert c.wait_end() == 137


# ---- clients that give up

def test_a_call_ends_with_its_deadline(hf):
    c = hf.start("--", hf.torture, "catch", "3")
    c.wait_line("ready")
    with Api(c) as api:
        for n in range(100):  # more than one connection may have
            begin = time.monotonic()
            status = api.response(begin_for(api, "Wait", 5)).status
            assert status.code == 4 and "time" in status.message, n
            assert time.monotonic() - begin >= 0.005
        stream = begin_for(api, "Watch", 50)
        while (frame := api.frame_of(stream))[1] == DATA:
            pass
        assert ttrpc.Response.FromString(frame[3]).status.code == 4
        stream = begin_for(api, "Logs", 50, follow=True)
        while (frame := api.frame_of(stream))[1] == DATA:
            pass
        assert ttrpc.Response.FromString(frame[3]).status.code == 4
        late, ever = begin_for(api, "Wait", 500), begin_for(api, "Wait", 60000)
        c.crash("shim")
        assert api.response(late).status.code == 4
        api.call("Stop")
        assert v1.WaitResponse.FromString(api.response(ever).payload).exit.code == 3


def test_a_peer_that_has_ended_was_let_in(hf):
    """Who connects and hands the connection on may leave; a new shim has nobody to look at."""
    c = hf.start("--", hf.torture, "stamp")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        api = Api(c)
        api.call("GetInfo")
        socket.send_fds(theirs, [b"x"], [api.sock.fileno()])
        os._exit(0)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    ours.close()
    theirs.close()
    with Api(c) as api:
        api.sock.close()
        api.sock, api.stream = socket.socket(fileno=fds[0]), 1
        api.sock.settimeout(10)
        assert api.call("GetState").pid == c.service
        c.crash("shim")
        assert api.call("GetState").pid == c.service


# ---- what is done is done once

def test_a_change_whose_answer_waits_is_not_made_again(hf):
    """Its client does not read: the answer has no room, and is given later, the change is not made again."""
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    count = scaled(800, 8000)
    with Api(c, timeout=60) as api:
        def send():
            payload = v1.UpdateRequest(pids_limit=v1.Limit(value=1000)).SerializeToString()
            for n in range(count):
                api.sock.sendall(request("Update", 2 * n + 1, payload))
        thread = threading.Thread(target=send)
        thread.start()
        def updated():
            return [r.kind for r in journal.read(c.state_dir)].count(journal.UPDATED)
        eventually(updated)
        before = -1
        while before != (before := updated()):  # until the shim is stuck with it
            time.sleep(0.3)
        assert 0 < before < count
        for n in range(count):
            assert api.response(2 * n + 1).status.code == 0
        thread.join()
        assert updated() == count


def test_many_signals_at_once_come_once_over_dying_shims(hf):
    """PID 1 remembers the newest few requests: no more than that may be on their way when a shim dies."""
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    signals = [n for n in range(signal.SIGRTMIN + 1, signal.SIGRTMAX)][:24]
    apis = [Api(c, timeout=30) for _ in range(3)]
    for round_ in range(1, scaled(10, 200) + 1):
        for i, signo in enumerate(signals):
            apis[i % 3].begin("Kill", v1.KillRequest(signal=signo))
        kill(eventually(lambda: c.shim), signal.SIGKILL)
        for api in apis:
            for stream in range(api.stream - 2 * len(signals) // 3 + 2, api.stream + 2, 2):
                assert api.response(stream).status.code == 0
        eventually(lambda: len(c.lines()) >= 1 + round_ * len(signals))
        for signo in signals:
            assert c.lines().count(f"got {signo}") == round_, signo
    for api in apis:
        api.sock.close()
    c.stop("-t", "0")


# ---- output

def test_a_request_goes_before_a_flood_of_output(hf):
    c = hf.start("--log-max-size", "1M", "--", *FLOOD)
    with Api(c) as api:
        logs = api.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED)
        blocked(api)
        kills = [api.begin("Kill", v1.KillRequest(signal=signal.SIGUSR1)) for _ in range(3)]
        begun = [api.begin("GetState", v1.GetStateRequest()), api.begin("Watch", v1.WatchRequest(), REMOTE_CLOSED)]
        data, deadline = {}, time.monotonic() + 10 * SLOW

        def take(wanted):
            while not data.keys() >= set(wanted) and time.monotonic() < deadline:
                stream = api.frame()[0]
                data[stream] = data.get(stream, 0) + 1
            assert data.keys() >= set(wanted), data
        take(begun)
        assert sum(data.values()) < 200, data
        take(kills)  # PID 1 answers when it has done it: the output goes on meanwhile
        assert data.keys() == {logs, *begun, *kills} and sum(data.values()) < 200, data
        c.wait_line("got", stream="stderr")
    c.stop("-t", "0")


def deaf_followers(c):
    """As many as may be: (how long others waited, growth of the shim in KiB, how many were answered)."""
    before = private_kib(c.shim)
    good = Good(c)
    observers = [Api(c, "observe") for _ in range(12)]
    operators = [Api(c) for _ in range(4)]
    for api in observers + operators:
        api.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED)
        blocked(api)
        with Api(c, "observe") as more:
            if len(observers) <= (observers + operators).index(api) + 1:
                with pytest.raises(Refused) as e:
                    r = more.response(more.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED))
                    raise Refused(r.status)
                assert e.value.code == 8 and "12 on the observe socket" in e.value.message
    with Api(c) as more:
        r = more.response(more.begin("Logs", v1.LogsRequest(), REMOTE_CLOSED))
        assert r.status.code == 8 and "16 calls" in r.status.message
    for api in observers + operators:
        offset = None
        for _ in range(30):  # more than what was on its way
            _, kind, _, payload = api.frame()
            assert kind == DATA, ttrpc.Response.FromString(payload)
            piece = v1.LogsResponse.FromString(payload)
            assert offset is None or piece.offset >= offset  # what was rotated away is skipped
            offset = piece.offset + len(piece.data)
    worst, growth = good.end(), private_kib(c.shim) - before
    for api in observers + operators:
        api.sock.close()
    return worst, growth, good.count


def test_followers_that_do_not_read_keep_their_place(hf, measured):
    c = hf.start("--log-max-size", "1M", "--", *FLOOD)

    def batch():
        worst, growth, count = deaf_followers(c)
        measured(f"API: 16 deaf followers of a flood: others waited {worst * 1000:.1f} ms at most "
                 f"({count} calls), shim +{growth} KiB")
        assert KIND == "sanitize" or growth < 1024
        return KIND == "sanitize" or worst < 0.05
    in_one_of(3, batch)
    c.stop("-t", "0")


def test_an_idle_follower_costs_nothing(hf, measured):
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    with Api(c) as api, Api(c) as other:
        stream = api.begin("Logs", v1.LogsRequest(follow=True), REMOTE_CLOSED)
        assert v1.LogsResponse.FromString(api.frame_of(stream)[3]).data == b"ready\n"
        shim = c.shim
        # it begins to watch its overload a little after the start
        eventually(lambda: "rules" in other.call("GetInfo").capabilities)
        falls_asleep(shim)

        def batch():
            before, begun = switches(shim), time.monotonic()
            time.sleep(1)
            idle, worst = switches(shim) - before, 0
            assert idle <= 2 * (time.monotonic() - begun) + 1  # always; a second that is stretched has one more
            for n in range(scaled(20, 500)):
                begin = time.monotonic()
                kill(c.service, signal.SIGUSR1)
                assert v1.LogsResponse.FromString(api.frame_of(stream)[3]).data == b"got 10\n"
                worst = max(worst, time.monotonic() - begin)
            measured(f"API: an idle follower of output: {idle} wake-ups of the shim in a second; a line came "
                     f"within {worst * 1000:.1f} ms")
            return idle <= 2 and (KIND == "sanitize" or worst < 0.05)
        in_one_of(3, batch)
        c.crash("shim")
        kill(c.service, signal.SIGUSR2)
        while v1.LogsResponse.FromString(api.frame_of(stream)[3]).data != b"got 12\n":
            pass  # what was sent and not counted is sent again
    c.stop("-t", "0")


# ---- readers of old events

class Asks(Good):
    """Of a service that is another one each time."""

    def same(self, state):
        return state.id == self.first.id


def pages(c, newest):
    """Reads the journal at many places at once; how long others waited at most."""
    good = Asks(c)
    apis = [Api(c, "observe") for _ in range(20)]
    step = newest.sequence // len(apis)
    for k in range(scaled(10, 50)):
        streams = [a.begin("ListEvents", v1.ListEventsRequest(**{"from": cursor(
            newest.instance, (i * step + k * 40) % newest.sequence)})) for i, a in enumerate(apis)]
        for i, (a, s) in enumerate(zip(apis, streams)):
            page = v1.ListEventsResponse.FromString(a.response(s).payload).events
            assert page[0].sequence == (i * step + k * 40) % newest.sequence + 1
    worst = good.end()
    for a in apis:
        a.sock.close()
    return worst


def test_old_events_are_found_without_reading_all_others(hf, tmp_path, measured):
    """Many watchers, each at a place of its own in a long journal."""
    from test_api import storm
    c = storm(hf, tmp_path)
    with Api(c) as api:
        eventually(lambda: os.path.getsize(f"{c.state_dir}/journal") > (
            scaled(1 << 20, 7 << 20) if KIND != "sanitize" else 1 << 17), 120)
        api.call("Pause")
        newest, size = api.call("GetState").cursor, os.path.getsize(f"{c.state_dir}/journal")

        def batch():
            worst = pages(c, newest)
            measured(f"API: pages of a journal of {size >> 10} KiB, read at {20 * scaled(10, 50)} places: "
                     f"others waited {worst * 1000:.1f} ms at most")
            return KIND == "sanitize" or worst < 0.05
        in_one_of(3, batch)
        api.call("Resume")
    c.stop()


# ---- requests that cost much

def lines_of_output(hf):
    """A container with two streams of a MiB and more of short lines."""
    return hf.start("--", "/bin/sh", "-c", "seq 200000 > /dev/stderr; seq 200000; exec sleep 1000")


@pytest.mark.parametrize("method,fields", [
    ("Logs", {"tail_lines": 10000}), ("PostMortem", {}), ("Stats", {}), ("ListEvents", {})])
def test_costly_requests_do_not_stall_others(hf, method, fields, measured):
    c = lines_of_output(hf)
    eventually(lambda: c.raw().endswith(b"200000\n"))

    def ask(ended, done):
        with Api(c, "observe", timeout=60) as api:
            while time.monotonic() < ended:
                streams = [api.begin(method, getattr(v1, method + "Request")(**fields)) for _ in range(8)]
                for stream in streams:
                    while (frame := api.frame_of(stream))[1] == DATA:
                        pass
                    assert ttrpc.Response.FromString(frame[3]).status.code == 0
                    done[0] += 1

    def batch():
        good, done = Good(c), [0]
        args = time.monotonic() + scaled(1, 20), done
        threads = [threading.Thread(target=ask, args=args) for _ in range(1 if method == "Logs" else 8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        worst = good.end()
        measured(f"API: {done[0]} {method} calls: others waited {worst * 1000:.1f} ms at most "
                 f"({good.count} calls)")
        return KIND == "sanitize" or worst < 0.05
    in_one_of(3, batch)
    c.stop("-t", "0")


# ---- PID 1 that stands still

def frozen(c):
    """PID 1, which does nothing of what it is asked until it gets SIGCONT."""
    pid = c.init
    kill(pid, signal.SIGSTOP)
    eventually(lambda: status_field(pid, "State").startswith("T"))
    return pid


def test_signals_that_wait_for_init_come_once_over_a_dying_shim(hf):
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    signals = [n for n in range(signal.SIGRTMIN + 1, signal.SIGRTMAX)][:24]
    init = frozen(c)
    try:
        apis = [Api(c, timeout=60) for _ in signals]
        for api, signo in zip(apis, signals):
            api.begin("Kill", v1.KillRequest(signal=signo))
        with Api(c) as api:
            api.call("GetState")
        c.crash("shim")
    finally:
        kill(init, signal.SIGCONT)
    for api in apis:
        assert api.response(1).status.code == 0
        api.sock.close()
    told = [f"got {int(n)}" for n in signals]
    eventually(lambda: set(told) <= set(c.lines()))
    c.kill("-s", "USR1")
    c.wait_line("got 10")  # behind all others; PID 1 passes its own SIGCONT on, too
    assert sorted(set(c.lines()) - set(told)) == ["got 10", "got 18", "ready"]
    assert [c.lines().count(text) for text in told] == [1] * len(told)
    c.stop("-t", "0")
