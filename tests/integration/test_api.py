"""The API sockets, seen by a client that shares no code with the product."""

import os
import signal
import struct
import threading
import time

import pytest

import journal
from api import Api, Closed, HEAD, REQUEST, Refused, cursor, ttrpc, v1
from rig import CRASHES, KIND, alive, eventually, in_one_of, kill, number, private_kib, scaled

STORM = ("read n < /v/n; n=$((n + 1)); echo $n > /v/n; exit $((n % 250))")


def storm(hf, tmp_path):
    """A service that crashes as fast as it can, with numbered exit codes."""
    (tmp_path / "n").write_text("0\n")
    return hf.start(*CRASHES, "--volume", f"{tmp_path}:/v", "--", "/bin/sh", "-c", STORM, service=False)


def test_info_and_state(hf):
    c = hf.start("--memory", "64M", "--", hf.torture, "stamp")
    with Api(c) as api:
        info = api.call("GetInfo")
        assert (info.id, info.realm, info.api) == (c.name, "local", 1)
        assert "init" in info.capabilities and info.version
        state = api.call("GetState")
        assert (state.pid, state.init_pid, state.shim_pid, state.keeper_pid) == \
            (c.service, c.init, c.shim, c.keeper)
        assert state.phase == v1.PHASE_RUNNING and state.run == 1 and state.restarts == 0
        assert not state.HasField("last_exit")
        assert abs(state.started_time_usec / 1e6 - time.time()) < 60


@pytest.mark.quick
def test_state_over_a_restart(hf):
    c = hf.start("--restart", "always", "--restart-delay", "0", "--", hf.torture, "stamp")
    with Api(c) as api:
        first = c.service
        kill(first, signal.SIGKILL)
        state = eventually(lambda: (s := api.call("GetState")).run == 2 and s)
        assert state.last_exit.signal == 9 and state.last_exit.run == 1
        assert state.last_exit.verdict in (v1.VERDICT_IN_PLACE, v1.VERDICT_FRESH)
        assert state.restarts == 1


def test_watch_tells_what_the_journal_says(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        seen = []
        for e in api.watch():
            seen.append(e)
            if e.type == v1.EVENT_STARTED:
                break
        assert [e.sequence for e in seen] == list(range(1, len(seen) + 1))
        assert seen[0].type == v1.EVENT_CREATED
        assert seen[-1].started.pid == c.service
        assert [e.sequence for e in seen] == [r.seq for r in journal.read(c.state_dir)][:len(seen)]


def exits_in(events):
    return [(e.exit.run, e.exit.code) for e in events if e.type == v1.EVENT_EXITED]


def check_exits(events, upto):
    """Sequences without a hole, and the exits of the runs 1..upto with the right codes, once each."""
    sequences = [e.sequence for e in events]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert exits_in(events)[:upto] == [(n, n % 250) for n in range(1, upto + 1)]


def watch_until(api, instance, since, upto, out):
    for e in api.watch(cursor(instance, since)):
        out.append(e)
        if e.type == v1.EVENT_EXITED and e.exit.run >= upto:
            return


def test_a_watcher_that_dies_and_comes_back_misses_nothing(hf, tmp_path):
    upto = scaled(100, 1000)
    c = storm(hf, tmp_path)
    events = []
    with Api(c) as api:
        instance = api.call("GetState").cursor.instance
    while len(exits_in(events)) < upto:
        with Api(c) as api:
            target = min(upto, len(exits_in(events)) + max(1, upto // 10))
            watch_until(api, instance, events[-1].sequence if events else 0, target, events)
    c.stop()
    check_exits(events, upto)


def test_a_watcher_that_was_away_for_all_of_it(hf, tmp_path):
    upto = scaled(100, 1000)
    c = storm(hf, tmp_path)
    eventually(lambda: number(tmp_path / "n") > upto, 60)
    events = []
    with Api(c) as api:
        watch_until(api, api.call("GetState").cursor.instance, 0, upto, events)
    c.stop()
    check_exits(events, upto)


def test_the_stream_goes_on_over_dead_shims_and_keepers(hf, tmp_path):
    upto = scaled(100, 1000)
    c = storm(hf, tmp_path)
    seen, broken = [], []

    def watcher():
        try:
            with Api(c, timeout=60) as api:
                last = 0
                for e in api.watch():
                    if e.sequence <= last:
                        continue  # told again by a successor
                    last = e.sequence
                    seen.append(e)
                    if e.type == v1.EVENT_EXITED and e.exit.run >= upto:
                        return
                broken.append("the stream has ended")
        except Exception as e:  # shown by the test
            broken.append(repr(e))

    thread = threading.Thread(target=watcher)
    thread.start()
    for n in range(scaled(6, 100)):
        c.crash("keeper" if n % 3 == 2 else "shim")
    thread.join(120)
    assert not thread.is_alive() and not broken, broken
    c.stop()
    check_exits(seen, upto)


def test_ten_watchers_one_of_which_never_reads(hf, tmp_path):
    upto = scaled(60, 1000)
    c = storm(hf, tmp_path)
    with Api(c) as deaf:
        deaf.begin("Watch", v1.WatchRequest(), 1)
        lists = [[] for _ in range(9)]
        threads = []
        for out in lists:
            api = Api(c, timeout=60)
            threads.append(threading.Thread(target=watch_until, args=(api, 0, 0, upto, out)))
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
            assert not t.is_alive()
    c.stop()
    for out in lists:
        check_exits(out, upto)


def test_list_events_is_the_same(hf, tmp_path):
    c = storm(hf, tmp_path)
    eventually(lambda: number(tmp_path / "n") > 60, 60)
    c2 = c
    with Api(c2) as api:
        events, at = [], cursor(0, 0)
        while len(exits_in(events)) < 50:
            page = api.call("ListEvents", v1.ListEventsRequest(**{"from": at}, limit=7))
            assert 0 < len(page.events) <= 7
            events += page.events
            at = page.next
        with pytest.raises(Refused) as e:
            api.call("ListEvents",
                     v1.ListEventsRequest(**{"from": cursor(at.instance, 1 << 40)}))
        assert e.value.code == 3 and str(1 << 40) in e.value.message
    c.stop()
    check_exits(events, 50)


# ---- what a client may do wrong

def test_errors_name_the_thing(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        for service, method, code, word in (
                ("holdfast.v1.Supervisor", "NoSuch", 12, "NoSuch"),
                ("no.such.Service", "GetInfo", 12, "no.such.Service")):
            with pytest.raises(Refused) as e:
                api.call(method, v1.GetInfoRequest(), v1.GetInfoResponse, service)
            assert e.value.code == code and word in e.value.message
        # no message of the method
        api.stream += 2
        body = ttrpc.Request(service="holdfast.v1.Supervisor", method="Watch", payload=b"\xff\xff")
        api.send_frame(body.SerializeToString(), api.stream)
        assert api.response(api.stream).status.code == 3
        # no envelope, an even stream, one that was there before
        api.stream += 2
        api.send_frame(b"\xff" * 20, api.stream)
        assert api.response(api.stream).status.code == 3
        api.send_frame(b"", 2)
        assert api.response(2).status.code == 3
        api.send_frame(b"", 1)
        assert api.response(1).status.code == 3
        assert api.call("GetInfo").id == c.name


def test_too_large_a_frame_is_refused_and_the_connection_kept(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        for size in ((64 << 10) + 1, 300000, 4 << 20):
            api.stream += 2
            sender = threading.Thread(target=api.send_frame, args=(bytes(size), api.stream))
            sender.start()
            assert api.response(api.stream).status.code == 8
            sender.join()
            assert api.call("GetInfo").id == c.name


def test_a_frame_in_pieces(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        for step in (1, 7, 64):
            api.stream += 2
            body = ttrpc.Request(service="holdfast.v1.Supervisor", method="GetInfo")
            body.metadata.add(key="padding", value="x" * (300 if step == 1 else 60000))
            payload = body.SerializeToString()
            data = HEAD.pack(len(payload), api.stream, REQUEST, 0) + payload
            for i in range(0, len(data), step):
                api.sock.sendall(data[i:i + step])
            r = api.response(api.stream)
            assert r.status.code == 0 and v1.GetInfoResponse.FromString(r.payload).id == c.name


def test_a_half_frame_is_given_up(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c, timeout=20) as slow, Api(c) as other:
        slow.sock.sendall(HEAD.pack(100, 1, REQUEST, 0) + b"half")
        begin = time.monotonic()
        assert other.call("GetInfo").id == c.name
        with pytest.raises(Closed):
            slow.frame()
        assert 3 < time.monotonic() - begin < 15


def test_the_observe_socket_and_the_container_itself(hf):
    c = hf.start("--", "/bin/sleep", "1000")
    with Api(c, "observe") as api:
        assert api.call("GetState").pid == c.service
    # root of the container, with the socket before its eyes
    script = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
              "try: s.sendall(bytes.fromhex(sys.argv[2]))\n"
              "except BrokenPipeError: pass  # refused before it could ask\n"
              "d = s.recv(1000); print(d.hex())")
    body = ttrpc.Request(service="holdfast.v1.Supervisor", method="GetInfo").SerializeToString()
    data = (HEAD.pack(len(body), 1, REQUEST, 0) + body).hex()
    for name in ("control", "observe"):
        out = hf("run", "--rm", "--volume", f"{hf.state}:/s", "--", "/usr/bin/python3", "-c", script,
                 f"/s/local/{c.name}/{name}", data)
        assert out.returncode == 0, out.stderr
        answer = ttrpc.Response.FromString(bytes.fromhex(out.stdout.strip())[HEAD.size:])
        assert answer.status.code == 7


def garbage(c, good):
    """Opens many connections that send none or nonsense; how long a good one waited at most."""
    worst = 0.0
    for n in range(scaled(500, 10000)):
        try:
            with Api(c, timeout=5) as bad:
                kind = n % 6
                if kind == 0:
                    bad.sock.sendall(os.urandom(100))
                elif kind == 1:
                    bad.sock.sendall(struct.pack(">IIBB", 0xffffffff, 1, 1, 0))
                elif kind == 2:
                    bad.sock.sendall(HEAD.pack(60000, 1, REQUEST, 0) + b"\x1a" * 500)
                elif kind == 3:
                    bad.send_frame(b"\x2a\xff\x7f" * 3000, 1)
                elif kind == 4:
                    bad.begin("Watch", v1.WatchRequest(), 1)
        except (OSError, Closed):
            pass
        if n % 50 == 0:
            start = time.monotonic()
            assert good.call("GetState").pid == c.service
            worst = max(worst, time.monotonic() - start)
    return worst


def test_a_flood_of_connections_and_garbage(hf):
    c = hf.start("--", hf.torture, "stamp")
    shim = c.shim
    with Api(c) as good:
        assert good.call("GetInfo")
        before = private_kib(shim)

        def batch():
            return garbage(c, good) < 0.05 * (3 if KIND == "sanitize" else 1)
        in_one_of(3, batch)
        assert c.shim == shim and alive(shim)
        if KIND != "sanitize":  # which keeps what is freed
            eventually(lambda: private_kib(shim) - before < 1024, 10, "the shim's memory back")
