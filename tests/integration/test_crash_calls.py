"""The shim, and the keeper, are killed at each system call that a client's calls make them do: every call
is answered, rightly and once, what it asks for is done once, and a watcher misses nothing. See
test_crash_points.py for how, and for the calls of a life without clients."""

import os
import random
import signal

import pytest

import journal
from api import Api, Closed, DATA, REMOTE_CLOSED, RESPONSE, v1, ttrpc
from killat import StandIn, killed_at
from rig import Container, alive, eventually, read, scaled
from test_crash_points import LOOKING, count_calls

CI_POINTS = {"holdfast-shim": 24, "holdfast-keeper": 8}
OPTIONS = ("--restart", "always", "--restart-delay", "0", "--restart-mode", "in-place")


def connect(c):
    """A keeper that dies between accepting a connection and passing it on takes it along: it closes
    before anything was answered."""
    for _ in range(2):
        api = Api(c, timeout=30)
        try:
            assert api.call("GetInfo").id == c.name
            return api
        except (Closed, BrokenPipeError):
            api.sock.close()
    raise Closed()


class Client:
    """Calls on one connection; on another a watcher and somebody who waits for the end."""

    def __init__(self, hf, name):
        self.c = Container(hf, name)
        self.api, self.other = connect(self.c), connect(self.c)
        self.watch = self.other.begin("Watch", v1.WatchRequest(), REMOTE_CLOSED)
        self.wait = self.other.begin("Wait", v1.WaitRequest())

    def call(self, method, **fields):
        return self.api.call(method, getattr(v1, method + "Request")(**fields))

    def logs(self):
        stream = self.api.begin("Logs", v1.LogsRequest(), REMOTE_CLOSED)
        data = b""
        while True:
            _, kind, _, payload = self.api.frame_of(stream)
            if kind == RESPONSE:
                assert ttrpc.Response.FromString(payload).status.code == 0
                return data
            piece = v1.LogsResponse.FromString(payload)
            if piece.stream == v1.STREAM_STDOUT and piece.offset >= len(data):  # told again: dropped
                data += piece.data

    def work(self):
        c = self.c
        assert self.call("GetState").run == 1
        self.call("Kill", signal=signal.SIGUSR1)
        c.wait_line("got 10")
        self.call("Update", restart_delay_usec=v1.Limit(value=1000))
        self.call("Restart")
        eventually(lambda: self.call("GetState").run == 2 and c.lines().count("ready") == 2)
        self.call("Pause")
        assert self.call("GetState").paused
        self.call("Resume")
        self.call("Kill", signal=signal.SIGUSR2)
        c.wait_line("got 12")
        assert self.logs() == c.raw() == b"ready\ngot 10\ngot 15\nready\ngot 12\n"
        events = self.call("ListEvents").events
        assert [e.sequence for e in events] == list(range(1, len(events) + 1))
        self.call("Stop")

    def rest(self):
        """(events, the end as the waiter was told): what was told twice is dropped, as clients do."""
        events, end = {}, None
        try:
            while True:
                stream, kind, _, payload = self.other.frame()
                if (stream, kind) == (self.watch, DATA):
                    for e in v1.WatchResponse.FromString(payload).events:
                        assert events.setdefault(e.sequence, e) == e
                elif (stream, kind) == (self.wait, RESPONSE):
                    told = ttrpc.Response.FromString(payload)
                    assert told.status.code == 0 and end in (None, told.payload)
                    end = told.payload
        except Closed:
            return list(events.values()), v1.WaitResponse.FromString(end).exit


class Victim:
    def __init__(self, program, where):
        self.program = program
        self.stand_in = StandIn(where, program)

    def life(self, hf, flag, inject, out="/dev/null"):
        """A container whose first shim (keeper) is killed: its name, and what was traced at its start."""
        name = hf.name()
        hf.ok("run", "-d", "--name", name, *OPTIONS, "--", hf.torture, "catch", "5",
              env=self.stand_in.env(flag, inject, out))
        Container(hf, name).wait_line("ready")
        begun = count_calls(read(out, ""))
        client = Client(hf, name)
        with client.api, client.other:
            client.work()
            check(client, *client.rest())
        state = client.c.state_dir
        eventually(lambda: not os.path.exists(os.path.join(state, "enabled")), 15)
        records = journal.read(state)
        check_journal(client, records)
        hf.ok("rm", name)
        return begun, sum(r.kind == journal.SHIM for r in records) > 1


def check(client, events, end):
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert [(e.exit.run, e.exit.code) for e in events if e.type == v1.EVENT_EXITED] == [(1, 5), (2, 5)]
    assert (end.run, end.code, end.stopped) == (2, 5, True)
    assert client.c.lines() == ["ready", "got 10", "got 15", "ready", "got 12", "got 15"]


def check_journal(client, records):
    assert [(r.run, r.exit()) for r in records if r.kind == journal.EXITED] == [(1, 5), (2, 5)]
    kinds = [r.kind for r in records]
    for kind in (journal.PAUSED, journal.RESUMED):
        assert kinds.count(kind) == 1, kinds
    # who dies between doing it and saying that it is done leaves it to be said again
    assert kinds.count(journal.UPDATED) in (1, 2) and kinds.count(journal.STOP_INTENT) in (2, 3), kinds


@pytest.fixture(params=list(CI_POINTS))
def victim(request, tmp_path):
    return Victim(request.param, tmp_path / "libexec")


@pytest.mark.release  # strace and the leak sanitizer exclude each other
def test_killed_at_every_call_while_a_client_calls(hf, victim, tmp_path, measured):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    trace = tmp_path / "trace"
    begun, _ = victim.life(hf, tmp_path / "flag", "trace=all", trace)
    calls = count_calls(eventually(
        lambda: "exit_group(" in trace.read_text() and trace.read_text()))
    points = [(call, n) for call in sorted(calls) if call not in LOOKING
              for n in range(begun[call] + 1, calls[call] + 1)]
    assert len(points) > 20, points
    chosen = random.Random(seed).sample(
        points, min(len(points), scaled(CI_POINTS[victim.program], 1000)))
    deaths = 0
    for call, n in chosen:
        print(f"{call} {n}")
        deaths += victim.life(hf, tmp_path / f"{call}-{n}", f"inject={call}:signal=SIGKILL:when={n}")[1]
    measured(f"crash points, a client that calls: {victim.program} killed at {len(chosen)} of "
             f"{len(points)} calls, {deaths} successors: every answer right, every effect once")
    assert deaths >= max(1, len(chosen) // 4)


# ---- at one point

CALLED = ("/bin/sh", "-c", "trap 'echo term' TERM; trap 'echo usr' USR1; echo ready; "
                           "until test -e /v/go; do sleep 0.01; done")


def restarts_asked_for(c):
    """The runs of the requests, and of the exits."""
    records = journal.read(c.state_dir)
    return ([r.run for r in records if r.kind == journal.STOP_INTENT],
            [r.run for r in records if r.kind == journal.EXITED])


@pytest.mark.release
def test_a_restart_is_noted_for_the_run_that_it_ends(hf):
    """Its shim dies before init's answer: the next one has the request still, and maybe another run."""
    c = hf.start(*OPTIONS, "--", hf.torture, "stamp")
    for n in range(1, scaled(15, 100) + 1):
        shim, service = eventually(lambda: c.shim), c.wait_service()
        with killed_at(shim, "epoll_wait,epoll_pwait", 2):
            hf.ok("restart", c.name)
        c.wait_service(other_than=service)
        eventually(lambda n=n: len(restarts_asked_for(c)[1]) == n)
        c.answers()
        asked, ended = restarts_asked_for(c)
        assert set(asked) == set(ended) == set(range(1, n + 1))
    c.rm("-f")


@pytest.mark.release
@pytest.mark.parametrize("how", ["tool", "api", "signal", "api signal"])
def test_a_stop_is_delivered_once(hf, tmp_path, how):
    """Its shim dies after init was told and before the client is: for many services a second one means
    "at once"."""
    c = hf.start("--volume", f"{tmp_path}:/v", "--", *CALLED)
    c.wait_line("ready")
    if how.startswith("api"):
        api = Api(c, timeout=30)
        api.call("GetInfo")
    shim = c.shim
    with killed_at(shim, "sendmsg" if not how.startswith("api") else "sendto", 2 if how in ("tool", "signal") else 1):
        if how == "tool":
            stopping = hf.popen("stop", "-t", "60s", c.name)
        elif how == "signal":
            stopping = hf.popen("kill", "-s", "TERM", c.name)
        elif how == "api":
            stream = api.begin("Stop", v1.StopRequest(has_grace=True, grace_usec=60 * 10**6))
        else:
            stream = api.begin("Kill", v1.KillRequest(signal=signal.SIGTERM))
        eventually(lambda: not alive(shim), 10, "the shim's death")
    if how.startswith("api"):
        assert api.response(stream).status.code == 0
        api.sock.close()
    c.wait_line("term")
    c.answers()
    c.kill("--signal", "USR1")
    c.wait_line("usr")
    (tmp_path / "go").touch()
    if not how.startswith("api"):
        _, err = stopping.communicate(timeout=30)
        assert stopping.returncode == 0, err
    assert c.wait_end() == 0
    assert c.lines() == ["ready", "term", "usr"]


def signalled_over_a_death(c, api, call):
    """A Kill whose shim dies at that call of it; the next one answers."""
    shim = c.shim
    with killed_at(shim, call, 1):
        stream = api.begin("Kill", v1.KillRequest(signal=signal.SIGUSR1))
        eventually(lambda: not alive(shim), 10, "the shim's death")
    assert api.response(stream).status.code == 0


@pytest.mark.release
def test_a_signal_to_who_is_paused(hf):
    """Its shim dies before it lets the group go: the next one does."""
    c = hf.start("--", hf.torture, "catch", "0")
    c.wait_line("ready")
    with Api(c) as api:
        api.call("Pause")
        signalled_over_a_death(c, api, "openat")
        c.wait_line("got 10")
        assert not api.call("GetState").paused
    c.stop()
    assert c.lines().count("got 10") == 1


@pytest.mark.release
def test_a_signal_without_init(hf, tmp_path):
    """Its shim dies when it is about to send it: the next one does."""
    c = hf.start("--init", "none", "--volume", f"{tmp_path}:/v", "--", *CALLED, service=False)
    c.wait_line("ready")
    with Api(c) as api:
        api.call("GetInfo")
        signalled_over_a_death(c, api, "pidfd_send_signal")
    c.wait_line("usr")
    (tmp_path / "go").touch()
    assert c.wait_end() == 0
    assert c.lines() == ["ready", "usr"]
