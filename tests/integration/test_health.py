"""The health of a run: watchdog, what a service says of itself, probes."""

import glob
import json
import os
import re
import signal
import statistics
import struct
import subprocess

import pytest

import journal
import rig
from test_notify import LIB

HEALTH, UNHEALTHY = 50, 51
# A service that is PID 1 is spared by SIGTERM and SIGABRT, unless it handles them.
ALWAYS = ("--restart", "always", "--restart-delay", "10ms", "--stop-timeout", "500ms")
HTTP = r"""
import http.server, os, sys, threading, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open('/gate/requests', 'a') as f:
            f.write(f"{self.path} {self.headers['Host']} {self.client_address[0]}\n")
        if os.path.exists('/gate/hang'):
            time.sleep(1000)
        self.send_response(204 if os.path.exists('/gate/second') else int(open('/gate/status').read()))
        self.end_headers()
        self.wfile.write(b'x' * 9000)
    def log_message(self, *a): pass
print('run', flush=True)
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), H).serve_forever()
"""


def python(script):
    return ("--", "python3", "-c", LIB + script)


def ill_once(script):
    """Whatever ends the first run, the second one is well: /gate/second is there before it."""
    return ("/bin/sh", "-c", "test -e /gate/first && : >/gate/second; : >/gate/first; exec python3 -c \"$0\"", script)


def records(c, kind):
    return [r for r in journal.read(c.state_dir) if r.kind == kind]


def text(record):
    return record.body[32:].split(b"\0")[0].decode()


def ended_for(c):
    """(run, why) of each run that was ended for its health."""
    return [(r.run, text(r)) for r in records(c, UNHEALTHY)]


def exits(c):
    return [(r.run, r.exit()) for r in records(c, journal.EXITED)]


def events(hf, c):
    return hf.ok("events", c.name).stdout


def state(hf, c):
    return json.loads(hf.ok("inspect", "--json", c.name).stdout)[0]["state"]


@pytest.fixture
def gate(hf):
    path = os.path.join(hf.base, "gate")
    os.mkdir(path)
    os.chmod(path, 0o777)

    class Gate:
        mount = ("-v", f"{path}:/gate")

        def set(self, name, value=""):
            with open(os.path.join(path, name + ".new"), "w", encoding="utf-8") as f:
                f.write(value)
            os.rename(os.path.join(path, name + ".new"), os.path.join(path, name))

        def lines(self, name):
            return (rig.read(os.path.join(path, name)) or "").splitlines()

        def remove(self, name):
            os.unlink(os.path.join(path, name))
    return Gate()


# ---- watchdog

SILENT = ("say('run', os.environ['WATCHDOG_USEC'])\nnotify('READY=1')\n"
          "if not os.path.exists('/gate/done'):\n"
          " for n in range(5): notify('WATCHDOG=1'); time.sleep(0.05)\n"
          " open('/gate/done', 'w').close()\n"
          " time.sleep(1000)\n"
          "while True: notify('WATCHDOG=1'); time.sleep(0.05)")


@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_silence_restarts_once(hf, gate, init):
    c = hf.start("--watchdog", "1s", "--notify", "--init", init, *ALWAYS, *gate.mount,
                 *python(SILENT), service=False)
    rig.eventually(lambda: c.lines().count("run 1000000") == 2, 20, "the second run")
    signo = signal.SIGABRT if init == "holdfast" else signal.SIGKILL
    assert rig.eventually(lambda: exits(c)) == [(1, -signo)]
    (run, why), = ended_for(c)
    assert run == 1 and why.startswith("no WATCHDOG=1 for ") and "1000000" in why
    said = events(hf, c)
    assert re.search(r"unhealthy run 1: ended for watchdog: no WATCHDOG=1 .*; SIGABRT", said), said
    record, = rig.eventually(lambda: json.loads(hf.ok("inspect", "--json", c.name).stdout)[0]["post_mortem"])
    assert record["by"] == "the watchdog" and "no WATCHDOG=1" in record["cause"]
    rig.eventually(lambda: c.zombies() == [])
    c.rm("-f")


def test_a_trigger_needs_no_watchdog(hf, gate):
    c = hf.start("--notify", "--watchdog", "1h", *ALWAYS, *gate.mount, *python(
        "say('run')\nnotify('READY=1')\n"
        "if not os.path.exists('/gate/done'):\n"
        " open('/gate/done', 'w').close()\n notify('WATCHDOG=trigger')\n"
        "time.sleep(1000)"), service=False)
    rig.eventually(lambda: c.lines().count("run") == 2)
    assert rig.eventually(lambda: ended_for(c)) == [
        (1, "the service has said WATCHDOG=trigger")]
    c.rm("-f")


def test_a_deaf_service_is_killed_after_the_grace(hf, gate):
    """It neither answers nor dies of SIGABRT, and its status would be a success."""
    c = hf.start("--watchdog", "1s", "--notify", "--stop-timeout", "300ms", "--restart", "on-failure",
                 *gate.mount, *python(
        "import signal\n"
        "say('run')\n"
        "if os.path.exists('/gate/done'):\n"
        " notify('READY=1')\n"
        " while True: notify('WATCHDOG=1'); time.sleep(0.02)\n"
        "open('/gate/done', 'w').close()\nsignal.signal(signal.SIGABRT, signal.SIG_IGN)\n"
        "notify('READY=1')\ntime.sleep(1000)"), service=False)
    rig.eventually(lambda: c.lines().count("run") == 2)
    rig.eventually(lambda: exits(c) == [(1, -signal.SIGKILL)])
    c.rm("-f")


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_an_end_with_status_0_is_a_failure_all_the_same(hf, gate, init):
    c = hf.start("--watchdog", "1s", "--notify", "--restart", "on-failure", "--init", init, *gate.mount,
                 *python("import signal\nsay('run')\n"
                         "signal.signal(signal.SIGABRT, lambda *a: os._exit(0))\n"
                         "if os.path.exists('/gate/done'):\n"
                         " notify('READY=1')\n"
                         " while True: notify('WATCHDOG=1'); time.sleep(0.02)\n"
                         "open('/gate/done', 'w').close()\nnotify('READY=1')\ntime.sleep(1000)"), service=False)
    rig.eventually(lambda: c.lines().count("run") == 2)
    assert rig.eventually(lambda: exits(c)) == [(1, 0)]
    c.rm("-f")


def test_without_a_policy_it_ends(hf):
    c = hf.start("--watchdog", "200ms", *python("time.sleep(1000)"), service=False)
    assert c.wait_end() == 128 + signal.SIGABRT
    assert len(ended_for(c)) == 1
    c.rm()


@pytest.mark.slow
def test_the_deadline_outlives_shims(hf, gate):
    """Shims die all the time: a service that speaks is left alone, one that stops is not."""
    c = hf.start("--watchdog", "1500ms", "--notify", *ALWAYS, *gate.mount, *python(
        "say('run')\nnotify('READY=1')\n"
        "while not os.path.exists('/gate/silent'): notify('WATCHDOG=1'); time.sleep(0.1)\n"
        "say('silent', time.monotonic_ns())\ntime.sleep(1000)"))
    for _ in range(12):
        c.crash("shim")
    c.crash("keeper")
    gate.set("silent")
    said = c.wait_line("silent", 30)
    assert ended_for(c) == []
    silent = int(said[0].split()[1])
    for _ in range(3):
        c.crash("shim")
    rig.eventually(lambda: exits(c), 20)
    took = next(r for r in journal.read(c.state_dir) if r.kind == UNHEALTHY)
    assert len(ended_for(c)) == 1 and exits(c)[0] == (1, -signal.SIGABRT), took
    assert silent
    c.rm("-f")


def test_watchdog_usec_is_changed_and_taken_away(hf):
    c = hf.start("--watchdog", "300ms", "--notify", *ALWAYS, *python(
        "notify('READY=1\\nWATCHDOG_USEC=3600000000')\nbarrier()\nsay('long')\ntime.sleep(1)\n"
        "say('alive')\nnotify('WATCHDOG_USEC=0')\nbarrier()\nsay('none')\n"
        "time.sleep(0.5)\nnotify('WATCHDOG_USEC=100000')\ntime.sleep(1000)"), service=False)
    rig.eventually(lambda: exits(c), 20)
    assert c.lines()[:3] == ["long", "alive", "none"]
    assert len(set(r for r, _ in ended_for(c)[:1])) == 1
    c.rm("-f")


def test_a_pause_is_no_silence(hf):
    c = hf.start("--watchdog", "500ms", *ALWAYS, *python(
        "while True: notify('WATCHDOG=1'); time.sleep(0.05)"))
    hf.ok("pause", c.name)
    with pytest.raises(rig.Late):
        rig.eventually(lambda: ended_for(c), 1.5 / rig.SLOW)
    hf.ok("unpause" if hf("unpause", "--help").returncode == 0 else "resume", c.name)
    with pytest.raises(rig.Late):
        rig.eventually(lambda: ended_for(c), 1 / rig.SLOW)
    c.rm("-f")


# ---- what it says of itself

def test_status_and_states(hf):
    c = hf.start("--notify", *python(
        "notify('STATUS=warming \x1b[1mup\\nERRNO=2')\nnotify('READY=1')\n"
        "notify('RELOADING=1\\nMONOTONIC_USEC=1')\nnotify('MAINPID=1')\nnotify('MAINPID=2')\n"
        "notify('READY=1\\nSTATUS=serving')\nnotify('STOPPING=1')\nbarrier()\nsay('said')\n"
        "time.sleep(1000)"))
    c.wait_line("said")
    found = state(hf, c)
    assert (found["status"], found["service"], found["ready"]) == ("serving", "stopping", True)
    said = events(hf, c)
    for word in (r"service: warming \?\[1mup", r"service reloading", r"service stopping",
                 r"warning MAINPID=: refused"):
        assert re.search(word, said), (word, said)
    assert said.count("MAINPID=") == 1
    shown = hf.ok("inspect", c.name).stdout
    assert re.search(r"service +stopping: serving", shown), shown
    assert "serving" in hf.ok("ps").stdout


def test_a_chatterbox_fills_no_journal(hf):
    c = hf.start("--notify", *python(
        "notify('READY=1')\n"
        "for n in range(3000): notify('STATUS=%d' % n)\nbarrier()\nsay('said')\ntime.sleep(1000)"))
    c.wait_line("said", 30)
    assert state(hf, c)["status"] == "2999"
    assert len(records(c, HEALTH)) < 40


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_a_stop_is_extended(hf, init):
    c = hf.start("--watchdog", "1h", "--stop-timeout", "1500ms", "--init", init, *python(
        "import signal\n"
        "def end(*a):\n"
        " for n in range(6): notify('EXTEND_TIMEOUT_USEC=1500000'); time.sleep(0.4)\n"
        " os._exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\nsay('up')\nwhile True: time.sleep(1000)"),
        service=False)
    c.wait_line("up")
    c.stop()
    assert c.wait_end() == 7
    c.rm()


def test_a_start_has_its_time(hf, gate):
    c = hf.popen("run", "-d", "--name", "slow", "--notify", "--start-timeout", "2s", *ALWAYS,
                 *gate.mount, *python(
        "say('run')\n"
        "if os.path.exists('/gate/done'):\n"
        " for n in range(4): notify('EXTEND_TIMEOUT_USEC=2000000'); time.sleep(0.7)\n"
        " notify('READY=1')\n"
        "open('/gate/done', 'w').close()\ntime.sleep(1000)"))
    out, err = c.communicate(timeout=20)
    assert c.returncode == 0, err
    c = rig.Container(hf, "slow")
    assert ended_for(c) == [(1, "not ready within --start-timeout")]
    assert c.lines() == ["run", "run"]
    c.rm("-f")


@pytest.mark.slow
def test_a_pause_is_no_time_to_start_in(hf, gate):
    p = hf.popen("run", "-d", "--name", "paused", "--notify", "--start-timeout", "3s", *ALWAYS, *gate.mount, *python(
        "say('up')\nwhile not os.path.exists('/gate/open'): time.sleep(0.01)\n"
        "notify('READY=1')\ntime.sleep(1000)"))
    c = rig.Container(hf, "paused")
    c.wait_line("up")
    hf.ok("pause", c.name)
    with pytest.raises(rig.Late):
        rig.eventually(lambda: "Paused" not in c.ps(), 4)
    hf.ok("resume", c.name)
    with pytest.raises(rig.Late):
        rig.eventually(lambda: ended_for(c), 0.5)
    gate.set("open")
    out, err = p.communicate(timeout=10)
    assert p.returncode == 0 and ended_for(c) == [], (out, err)
    c.rm("-f")


def test_start_waits_for_ready(hf, gate):
    hf.ok("create", "--name", "later", "--notify", *gate.mount, *python(
        "say('up')\nwhile not os.path.exists('/gate/open'): time.sleep(0.01)\n"
        "notify('READY=1')\ntime.sleep(1000)"))
    p = hf.popen("start", "later")
    c = rig.Container(hf, "later")
    c.wait_line("up")
    assert p.poll() is None
    gate.set("open")
    out, err = p.communicate(timeout=10)
    assert p.returncode == 0 and out == "later\n", err
    c.rm("-f")


# ---- probes

@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--init", "none"), ("--userns", "auto"),
                                     ("--network", "host")],
                         ids=lambda o: "-".join(o).strip("-") or "plain")
def test_a_failing_http_probe_restarts_once(hf, gate, options):
    gate.set("status", "200")
    c = hf.start("--probe", "startup=tcp://127.0.0.1:8080,period=100ms,failures=1000",  # as long as it takes
                 "--probe", "liveness=http://127.0.0.1:8080/healthz?a=b,period=100ms,failures=2", *options, *ALWAYS,
                 *gate.mount, "--", *ill_once(HTTP), service=False)
    rig.eventually(lambda: len(gate.lines("requests")) > 3)
    assert gate.lines("requests")[0] == "/healthz?a=b 127.0.0.1:8080 127.0.0.1"
    assert state(hf, c)["health"] == "healthy" and ended_for(c) == []
    gate.set("status", "503")  # the first run's
    rig.eventually(lambda: exits(c), 10)
    rig.eventually(lambda: c.lines().count("run") == 2, 10)
    rig.eventually(lambda: state(hf, c)["health"] == "healthy", 10)
    assert ended_for(c) == [(1, "http://127.0.0.1:8080/healthz?a=b: status 503")]
    assert [r for r, _ in exits(c)] == [1]
    rig.eventually(lambda: c.zombies() == [])
    c.rm("-f")


def test_a_server_that_hangs_and_one_that_is_not_there(hf, gate):
    gate.set("status", "200")
    c = hf.start("--probe", "readiness=http://127.0.0.1:8080,period=100ms,timeout=200ms,failures=1",
                 "--probe", "readiness=tcp://localhost:9,period=100ms,failures=1",
                 *gate.mount, "--", "python3", "-c", HTTP, service=False)
    def why(n):
        return state(hf, c)["probes"][n]["reason"]
    rig.eventually(lambda: why(1) == "Connection refused")
    rig.eventually(lambda: state(hf, c)["probes"][0]["standing"] == "passing")
    gate.set("hang")
    rig.eventually(lambda: why(0) == "no answer within 200 ms")
    gate.remove("hang")
    rig.eventually(lambda: state(hf, c)["probes"][0]["standing"] == "passing")
    assert exits(c) == [] and not state(hf, c)["ready"]
    c.rm("-f")


@pytest.mark.quick
def test_an_exec_probe_that_hangs_restarts_once(hf, gate):
    """And takes what it has started with it."""
    gate.set("hang")
    c = hf.start("--probe", "liveness=exec:sh -c 'test -e /gate/hang || exit 0; sleep 1000 & "
                 "sleep 1001',period=200ms,timeout=300ms,failures=2", *ALWAYS, *gate.mount,
                 "--", "sh", "-c", "if test -e /gate/once; then rm -f /gate/hang; fi; : > /gate/once; "
                 "echo run; exec sleep 999", service=False)
    rig.eventually(lambda: exits(c), 10)
    rig.eventually(lambda: c.lines().count("run") == 2)
    rig.eventually(lambda: state(hf, c)["health"] == "healthy")
    (run, why), = ended_for(c)
    assert run == 1 and why.endswith(": no end within 300 ms, killed"), why
    left = [rig.cmdline(p) for p in c.pids]
    assert not [x for x in left if x[:1] == ["sleep"] and x[1:] != ["999"]], left
    rig.eventually(lambda: c.zombies() == [])
    assert journal.execs(c.state_dir) == []  # no journal is filled with them
    c.rm("-f")


def sleeps(c):
    return [p for p in c.pids if rig.cmdline(p)[:1] == ["sleep"]]


def test_hung_probes_leave_nothing(hf):
    """Readiness: nothing ends, and still nothing piles up."""
    c = hf.start("--probe", "readiness=exec:sh -c 'sleep 1000 & sleep 1001',period=100ms,"
                 "timeout=150ms", "--", "sleep", "999")
    rig.eventually(lambda: int(state(hf, c)["probes"][0].get("failed", 0)) >= 10, 20)
    rig.eventually(lambda: len(sleeps(c)) <= 3)  # one that was killed may be on its way yet
    rig.eventually(lambda: c.zombies() == [])
    c.rm("-f")


def test_an_exec_probe_says_why(hf, gate):
    c = hf.start("--probe", "readiness=exec:sh -c 'echo no disk >&2; exit 3',period=100ms",
                 "--probe", "readiness=exec:/no/such/program,period=100ms",
                 "--probe", "health=exec:true,period=100ms", "--", "sleep", "999")
    rig.eventually(lambda: [(p["standing"], p.get("reason", "")) for p in state(hf, c)["probes"]] == [
        ("failing", "status 3: no disk"),
        ("failing", "can't be executed: No such file or directory"), ("passing", "")])
    assert state(hf, c)["health"] == "healthy"
    shown = hf.ok("inspect", c.name).stdout
    assert re.search(r"readiness exec:sh -c echo no disk .*failing.*failure: status 3: no disk", shown), shown
    c.rm("-f")


def test_a_unix_socket_is_the_containers(hf, gate):
    """A symlink inside does not lead out."""
    outside = os.path.join(hf.base, "outside.sock")
    import socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.bind(outside)
        s.listen()
        c = hf.start("--probe", "readiness=unix:/tmp/in.sock,period=100ms,failures=1",
                     "--probe", "readiness=unix:/tmp/out.sock,period=100ms,failures=1", "--tmpfs",
                     "/tmp", *python(
            "s = socket.socket(socket.AF_UNIX)\ns.bind('/tmp/x.sock')\ns.listen()\n"
            f"os.symlink('/tmp/x.sock', '/tmp/in.sock')\nos.symlink('{outside}', '/tmp/out.sock')\n"
            "say('up')\ntime.sleep(1000)"))
        rig.eventually(lambda: [p["standing"] for p in state(hf, c)["probes"]] ==
                       ["passing", "failing"])
        c.rm("-f")


def test_startup_holds_the_others_back(hf, gate):
    c = hf.start("--probe", "startup=exec:test -e /gate/up,period=100ms,failures=1000",
                 "--probe", "liveness=exec:sh -c 'echo x >> /gate/live; test -e /gate/up',"
                 "period=100ms,failures=1", *ALWAYS, *gate.mount, "--", "sh", "-c",
                 "echo run; exec sleep 999", service=False)
    rig.eventually(lambda: int(state(hf, c)["probes"][0].get("failed", 0)) > 5)
    assert gate.lines("live") == []
    assert (state(hf, c)["health"], state(hf, c).get("ready", False)) == ("starting", False)
    gate.set("up")
    rig.eventually(lambda: len(gate.lines("live")) > 2)
    assert (state(hf, c)["health"], state(hf, c)["ready"]) == ("healthy", True)
    assert len(records(c, journal.READY)) == 1 and ended_for(c) == []
    c.rm("-f")


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_a_server_that_accepts_nobody_fails(hf, init):
    """Its queue is full after a few: that is no reason to ask again and again without a verdict."""
    script = ("import socket, time\ns = socket.socket(socket.AF_UNIX)\n"
              "s.bind('/tmp/in.sock')\ns.listen(1)\ntime.sleep(1000)")
    c = hf.start("--probe", "startup=unix:/tmp/in.sock,period=100ms,failures=1000", "--probe",
                 "liveness=unix:/tmp/in.sock,period=100ms,failures=2", "--init", init, "--tmpfs", "/tmp", *ALWAYS, *python(script),
                 service=False)
    (run, why), = rig.eventually(lambda: ended_for(c)[:1], 20)
    assert run == 1 and why == "unix:/tmp/in.sock: it takes no connection: its queue is full"
    c.rm("-f")


def test_a_startup_that_runs_out_restarts(hf):
    c = hf.start("--probe", "startup=tcp://127.0.0.1:9,period=100ms,failures=10", "--restart",
                 "always", "--restart-delay", "20s", "--", "sh", "-c", "echo run; exec sleep 999",
                 service=False)
    rig.eventually(lambda: c.lines().count("run") == 2)
    assert ended_for(c)[0] == (1, "tcp://127.0.0.1:9: Connection refused")
    rig.eventually(lambda: len(exits(c)) == 2, 10)
    assert "20 s" in events(hf, c) or "restarting" in hf.ok("ps", "--json").stdout
    c.rm("-f")


def test_dockers_health_check_restarts_nothing(hf, gate):
    c = hf.start("--health-cmd", "test -e /gate/well || { echo ill; exit 1; }",
                 "--health-interval", "100ms", "--health-timeout", "2s", "--health-retries", "2",
                 "--health-start-period", "3s", *ALWAYS, *gate.mount, "--", "sleep", "999")
    assert hf.ok("ps", "-q", "--filter", "health=starting").stdout.split() == [c.name]
    rig.eventually(lambda: state(hf, c)["health"] == "unhealthy")
    assert "unhealthy" in hf.ok("ps").stdout
    assert hf.ok("ps", "-q", "--filter", "health=unhealthy").stdout.split() == [c.name]
    assert f'holdfast_health{{id="{c.name}",holdfast_health="unhealthy"}} 1' in \
        hf.ok("metrics").stdout
    gate.set("well")
    rig.eventually(lambda: state(hf, c)["health"] == "healthy")
    assert hf.ok("ps", "-q", "--filter", "health=unhealthy").stdout.split() == []
    assert exits(c) == [] and ended_for(c) == []
    assert [text(r).partition(": ")[2] for r in records(c, HEALTH)] == ["status 1: ill", ""]
    c.rm("-f")


# ---- whoever dies

def test_probes_go_on_over_dead_supervisors(hf, gate):
    gate.set("status", "200")
    gate.set("well")
    c = hf.start("--probe", "liveness=http://127.0.0.1:8080/,period=150ms,delay=800ms,failures=3",
                 "--probe", "liveness=exec:sh -c 'test -e /gate/well || test -e /gate/second',period=150ms,failures=3",
                 "--probe", "readiness=exec:sh -c 'sleep 1000 & sleep 1001',period=150ms,timeout=200ms",
                 *ALWAYS, *gate.mount, "--", *ill_once(HTTP), service=False)
    rig.eventually(lambda: len(gate.lines("requests")) > 3)
    for n in range(20):
        c.crash("keeper" if n % 5 == 4 else "shim")
    assert ended_for(c) == [] and exits(c) == []
    seen = len(gate.lines("requests"))
    rig.eventually(lambda: len(gate.lines("requests")) > seen + 3)
    os.unlink(os.path.join(hf.base, "gate", "well"))
    for _ in range(4):
        c.crash("shim")
    rig.eventually(lambda: exits(c), 15)
    rig.eventually(lambda: c.lines().count("run") == 2, 15)
    assert [run for run, _ in ended_for(c)] == [1] and len(exits(c)) == 1
    rig.eventually(lambda: len(sleeps(c)) <= 3)
    rig.eventually(lambda: c.zombies() == [])
    c.rm("-f")


@pytest.mark.slow
def test_without_probes_nobody_wakes_up(hf):
    c = hf.start("--notify", "--watchdog", "1h", *python("notify('READY=1')\ntime.sleep(1000)"))
    def switches():
        return sum(int(rig.status_field(p, "voluntary_ctxt_switches"))
                   for p in (c.shim, c.keeper, c.init))

    def quiet():
        before = switches()
        try:
            rig.eventually(lambda: switches() > before, 3 / rig.SLOW)
        except rig.Late:
            return True
        return False
    rig.eventually(quiet, 20)  # what is done once after a start is over by then
    c.rm("-f")


# ---- pressure

def pressured(hf):
    return os.path.join(os.path.dirname(hf.base), "pressured")


def watching(c, pid):
    """The sockets for pressure that a supervisor holds: listeners, and who has connected (these
    belong to the container's network)."""
    inodes = set()
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            inodes.add(os.readlink(fd)[8:-1])  # socket:[INODE]
        except OSError:  # closed since it was listed
            pass
    text = rig.read("/proc/net/unix") + rig.read(f"/proc/{c.init}/net/unix", "")
    rows = [line.split() for line in text.splitlines()]
    return {row[6] for row in rows
            if len(row) > 7 and row[6] in inodes and row[7].endswith("-pressure")}


@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--read-only",), ("--user", "1234"),
                                     ("--userns", "auto"), ("--init", "none"),
                                     ("--cap-drop", "ALL")],
                         ids=lambda o: "-".join(o).strip("-") or "plain")
def test_a_service_can_ask_to_be_warned(hf, options):
    c = hf.start("--pressure-watch", "on", *options, "--", pressured(hf), "memory", "cpu", "io",
                 service=False)
    rig.eventually(lambda: c.lines() == ["watch memory", "watch cpu", "watch io"])
    # three listeners and who has connected to each
    rig.eventually(lambda: len(watching(c, c.keeper)) == 6 and len(watching(c, c.shim)) == 6)
    c.rm("-f")


def test_who_asked_stays_over_dead_supervisors(hf):
    c = hf.start("--pressure-watch", "on", *ALWAYS, "--", pressured(hf), "memory", "io")
    rig.eventually(lambda: len(watching(c, c.keeper)) == 5)
    for who in ("shim", "keeper", "shim", "keeper"):
        c.crash(who)
        rig.eventually(lambda: len(watching(c, c.keeper)) == 5 and len(watching(c, c.shim)) == 5)
    assert c.lines() == ["watch memory", "watch io"]  # none was closed
    service = c.service
    os.kill(service, signal.SIGKILL)
    c.wait_service(other_than=service)
    rig.eventually(lambda: c.lines()[2:] == ["watch memory", "watch io"])
    rig.eventually(lambda: len(watching(c, c.keeper)) == 5)
    c.crash("init")
    rig.eventually(lambda: c.lines()[4:] == ["watch memory", "watch io"], 15)
    rig.eventually(lambda: len(watching(c, c.keeper)) == 5)
    c.rm("-f")


def test_pressure_can_be_off(hf):
    for options in ((), ("--pressure-watch", "off"), ("--pressure-watch", "auto")):
        out = hf.shell(*options, script="echo [$MEMORY_PRESSURE_WATCH$CPU_PRESSURE_WRITE]; "
                       "ls -d /run/holdfast 2>/dev/null || echo none")
        assert out.split() == ["[]", "none"]


def test_a_crowd_of_watchers(hf):
    """Nothing grows, and who comes is served."""
    c = hf.start("--pressure-watch", "on", *python(
        "a = [socket.socket(1, 1) for _ in range(200)]\n"
        "for n, s in enumerate(a):\n"
        " while True:\n"
        "  try:\n   s.connect(os.environ['IO_PRESSURE_WATCH']); break\n"
        "  except BlockingIOError: time.sleep(0.01)\n"
        " s.send(b'some 200000 2000000')\n"
        "say('all')\ntime.sleep(1000)"))
    c.wait_line("all")
    rig.eventually(lambda: len(watching(c, c.shim)) == 3 + 16)
    rig.eventually(lambda: len(watching(c, c.keeper)) == 3 + 16)
    c.crash("shim")
    rig.eventually(lambda: len(watching(c, c.shim)) == 3 + 16)
    c.rm("-f")


# ---- what a person may do wrong

@pytest.mark.quick
@pytest.mark.parametrize("options, words", [
    (("--probe", "liveness"), "startup=, readiness=, liveness= or health="),
    (("--probe", "alive=tcp://127.0.0.1:1"), "startup=, readiness="),
    (("--probe", "readiness=https://127.0.0.1/"), "https is not spoken"),
    (("--probe", "readiness=tcp://example.org:80"), "names are not looked up"),
    (("--probe", "readiness=tcp://127.0.0.1:99999"), "1 to 65535"),
    (("--probe", "readiness=tcp://127.0.0.1"), "1 to 65535"),
    (("--probe", "readiness=unix:run/x"), "an absolute path"),
    (("--probe", "readiness=exec:"), "there is no command"),
    (("--probe", "readiness=exec:'sh"), "a quote is not closed"),
    (("--probe", "readiness=exec:true,perod=1s"), "only period=, timeout="),
    (("--probe", "readiness=exec:true,period=1ms"), "shorter than 100ms"),
    (("--probe", "readiness=exec:true,failures=0"), "numbers from 1"),
    (("--probe", "health=exec:true,successes=2"), "for readiness alone"),
    (("--probe", "liveness=exec:true"), "add --restart on-failure"),
    (("--probe", "readiness=exec:true", "--init", "none"), "leave --init none out"),
    (("--health-retries", "2"), "add --health-cmd"),
    (("--health-cmd", "true", "--health-interval", "1us"), "shorter than 100ms"),
    (("--health-cmd", ""), "a command of 1"),
    (("--watchdog", "0"), "shorter than 10ms"),
    (("--start-timeout", "1s"), "add --notify"),
    (("--pressure-watch", "yes"), "auto, on or off"),
], ids=lambda v: "-".join(v)[:40] if isinstance(v, tuple) else "")
def test_what_cannot_be(hf, options, words):
    out = hf("run", *options, "--", "true")
    assert out.returncode == 64 and words in out.stderr, out.stderr
    assert options[0].lstrip("-").split()[0] in out.stderr
    assert hf.containers() == []


# ---- what it costs

PROBE_STATE = 224  # bytes of struct probe_state, 8 of which end the file


def took(c):
    """(results so far, how long the newest took, usec) of the first probe."""
    with open(f"{c.state_dir}/healthstate", "rb") as f:
        first = f.read()[-8 * PROBE_STATE:][:PROBE_STATE]
    passed, failed, usec = struct.unpack_from("=QQQ", first, 40)
    return passed + failed, usec


@pytest.mark.release
@pytest.mark.latency
def test_what_an_exec_probe_costs(hf, measured):
    """The bar: twice what the same program costs by vfork and exec. Both at the same pace, so that
    neither finds warmer caches than the other."""
    spawn = os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), "bench/helpers/spawn")
    c = hf.start("--probe", "health=exec:/bin/true,period=100ms", "--", "sleep", "999")

    def batch():
        ours, bare = [], []
        for _ in range(20):
            before = took(c)[0]
            ours.append(rig.eventually(lambda: took(c)[0] > before and took(c))[1])
            out = subprocess.run([spawn, "1", "0", "/bin/true"], capture_output=True, text=True,
                                 check=True)
            bare.append(int(out.stdout.split()[0]))
        ratio = statistics.median(ours) / statistics.median(bare)
        measured(f"exec probe of /bin/true: {statistics.median(ours) / 1000:.2f} ms from the timer to "
                 f"the verdict, vfork and exec {statistics.median(bare) / 1000:.2f} ms: "
                 f"{ratio:.2f} times (bar 2)")
        return ratio <= 2
    rig.in_one_of(5, batch)
    c.rm("-f")


# ---- together with rules

def test_a_rule_warns_who_asked(hf):
    """notify by rule: whoever watches for memory's pressure is told; nobody else is."""
    c = hf.start("--probe", "health=exec:false,period=100ms,failures=1", "--rule",
                 "ill: health.failing for 100ms: notify; cooldown 1h", "--", pressured(hf), "memory", "cpu")
    rig.eventually(lambda: "pressure memory" in c.lines(), 15)
    assert c.lines()[:2] == ["watch memory", "watch cpu"]
    c.rm("-f")


def test_a_rule_sees_a_missed_watchdog(hf, gate):
    c = hf.start("--watchdog", "1s", "--notify", *ALWAYS, "--rule", "deaf: watchdog.missed: event; cooldown 1h",
                 *gate.mount, *python("say('run')\nnotify('READY=1')\n"
                 "while os.path.exists('/gate/done'): notify('WATCHDOG=1'); time.sleep(0.05)\n"
                 "open('/gate/done', 'w').close()\ntime.sleep(1000)"), service=False)
    rig.eventually(lambda: "rule-fired deaf" in events(hf, c), 15)
    assert len(ended_for(c)) == 1
    c.rm("-f")


@pytest.mark.parametrize("options, rule, word", [
    ((), "a: health.failing: event", "add --probe"), ((), "a: watchdog.missed: event", "add --watchdog"),
    (("--probe", "readiness=exec:true"), "a: health.failing: event", "add --probe liveness"),
    (("--watchdog", "1s"), "a: watchdog.missed > 1 over 10m: stop", "never above that")])
def test_a_rule_about_nothing_is_refused(hf, options, rule, word):
    out = hf("run", *options, "--rule", rule, "--", "true")
    assert out.returncode == 64 and word in out.stderr, out.stderr
