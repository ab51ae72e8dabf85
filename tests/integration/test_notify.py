"""--notify: readiness, and descriptors that outlive the run that stored them."""

import os
import signal
import socket

import pytest

import journal
import rig

# What a service does with its notification socket; the rest of its script follows.
LIB = r"""
import errno, os, socket, sys, time
def notify(text, *fds):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(os.environ["NOTIFY_SOCKET"])
    text = text if isinstance(text, bytes) else text.encode()
    while True:
        try:
            return socket.send_fds(s, [text], fds)
        except OSError as e:
            if e.errno != errno.ETOOMANYREFS:  # the kernel bounds what is under way
                raise
        time.sleep(0.001)
def barrier():
    r, w = os.pipe()
    notify("BARRIER=1", w)
    os.close(w)
    os.read(r, 1)
def memory(text):
    fd = os.memfd_create("x")
    os.write(fd, text.encode())
    return fd
def passed():
    n = int(os.environ.get("LISTEN_FDS", "0"))
    assert n == 0 or os.environ["LISTEN_PID"] == str(os.getpid())
    names = os.environ.get("LISTEN_FDNAMES", "").split(":") if n else []
    assert len(names) == n
    return [(name, 3 + i) for i, name in enumerate(names)]
def contents():
    return " ".join(f"{n}={os.pread(fd, 99, 0).decode()}" for n, fd in passed())
def say(*words):
    print(*words, flush=True)
"""
RESTART = ("--restart", "always", "--healthy-after", "1ms")


def python(script):
    return ("--", "python3", "-c", LIB + script)


def ready_runs(c):
    return [r.run for r in journal.read(c.state_dir) if r.kind == journal.READY]


# ---- readiness

@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--userns", "auto"), ("--read-only",),
                                     ("--tmpfs", "/run"), ("--user", "1234"), ("--init", "none"),
                                     ("--cap-drop", "ALL")],
                         ids=lambda o: "-".join(o).strip("-") or "plain")
def test_run_waits_for_ready(hf, options):
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    script = ("say(os.environ['NOTIFY_SOCKET'])\n"
              "while not os.path.exists('/gate/open'): time.sleep(0.01)\n"
              "notify('STATUS=up\\nREADY=1')\ntime.sleep(1000)")
    p = hf.popen("run", "-d", "--notify", "--name", "waits", *options, "-v", f"{gate}:/gate",
                 *python(script))
    c = rig.Container(hf, "waits")
    c.wait_line("^/run/holdfast/notify$")
    assert "waiting for READY=1" in rig.eventually(p.stderr.readline)
    assert p.poll() is None and ready_runs(c) == []
    with open(os.path.join(gate, "open"), "w", encoding="utf-8"):
        pass
    out, err = p.communicate(timeout=10)
    assert p.returncode == 0 and out == "waits\n", err
    assert ready_runs(c) == [1]
    c.rm("-f")


def test_from_a_rootfs_without_run(hf, rootfs):
    os.rmdir(os.path.join(rootfs, "run"))
    out = hf.run("--notify", "--read-only", "--rootfs", rootfs, "--", "/bin/sh", "-c",
                 "echo $NOTIFY_SOCKET; ls -l /run/holdfast; echo x > /run/holdfast/y || echo ro")
    assert out.stdout.splitlines()[0] == "/run/holdfast/notify"
    assert "srw-rw-rw-" in out.stdout and out.stdout.splitlines()[-1] == "ro"


@pytest.mark.quick
def test_an_end_before_ready_is_no_start(hf):
    out = hf("run", "-d", "--notify", "--name", "ends", "--", "sh", "-c", "exit 7")
    assert out.returncode == 7 and out.stdout == ""
    hf.ok("rm", "ends")
    out = hf("run", "-d", "--notify", "--", "/no/such/command")
    assert out.returncode == 127 and hf.containers() == []


def test_ready_after_a_crash(hf):
    """The first run dies, the second is ready: the command has waited for it."""
    script = ("if not os.path.exists('/g/x'):\n open('/g/x','w').close()\n os._exit(3)\n"
              "notify('READY=1')\ntime.sleep(1000)")
    gate = os.path.join(hf.base, "g")
    os.mkdir(gate)
    c = hf.start("--notify", *RESTART, "-v", f"{gate}:/g", *python(script))
    assert ready_runs(c) == [2]


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_ready_is_health(hf, init):
    """Each run says so at once and dies: the delay never grows."""
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    c = hf.start("--notify", "--init", init, "--restart", "always", "--restart-delay", "60s",
                 "--healthy-after", "1000s", "-v", f"{gate}:/gate", *python(
                     "n = len(os.listdir('/gate'))\nnotify('READY=1')\nsay('run')\n"
                     "while len(os.listdir('/gate')) == n: time.sleep(0.01)"), service=False)
    for n in range(1, 5):
        rig.eventually(lambda n=n: ready_runs(c) == list(range(1, n + 1)), 20, "runs without a delay")
        c.kill("-s", "CONT")  # PID 1 has heard of the one when it has done the other
        with open(os.path.join(gate, str(n)), "w", encoding="utf-8"):
            pass
    c.rm("-f")


def test_a_short_lived_sender_counts(hf):
    c = hf.start("--notify", *python(
        "import subprocess\n"
        "subprocess.run([sys.executable, '-c', 'import socket,os;socket.socket(1,2).sendto("
        "b\"READY=1\",os.environ[\"NOTIFY_SOCKET\"])'])\ntime.sleep(1000)"))
    assert ready_runs(c) == [1]


def test_a_stranger_does_not_count(hf):
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    p = hf.popen("run", "-d", "--notify", "--name", "strange", "-v", f"{gate}:/gate", *python(
        "say('up')\nwhile not os.path.exists('/gate/open'): time.sleep(0.01)\n"
        "notify('READY=1')\ntime.sleep(1000)"))
    c = rig.Container(hf, "strange")
    c.wait_line("up")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(f"/proc/{c.init}/root/run/holdfast/notify")
        s.send(b"READY=1")
        mine = os.memfd_create("mine")
        socket.send_fds(s, [b"FDSTORE=1"], [mine])
        os.close(mine)
        rig.eventually(lambda: not unread(c), what="both taken")
    assert ready_runs(c) == [] and p.poll() is None
    assert not os.path.exists(f"{c.state_dir}/stored")
    with open(os.path.join(gate, "open"), "w", encoding="utf-8"):
        pass
    p.communicate(timeout=10)
    assert ready_runs(c) == [1]


def unread(c):
    """Whether a datagram waits in the notification socket of the container: asked of the keeper's
    copy, without taking it."""
    pidfd = os.pidfd_open(c.keeper)
    try:
        for fd, what in rig.descriptors(c.keeper).items():
            if not what.startswith("socket:"):
                continue
            with socket.socket(fileno=rig.pidfd_getfd(pidfd, fd)) as s:
                if s.family == socket.AF_UNIX and s.type == socket.SOCK_DGRAM:
                    try:
                        s.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                        return True
                    except BlockingIOError:
                        return False
    finally:
        os.close(pidfd)
    raise AssertionError("the keeper holds no notification socket")


# ---- stored descriptors

STORE = ("held = contents()\nsay(f'run [{held}]')\n"
         "if not held:\n"
         " notify('FDSTORE=1\\nFDNAME=one', memory('first'))\n"
         " notify('FDSTORE=1', memory('second'))\n"
         " barrier()\n"
         "say('stored')\nnotify('READY=1')\ntime.sleep(1000)")
BOTH = "run [one=first stored=second]"


@pytest.mark.quick
@pytest.mark.parametrize("options", [(), ("--restart-mode", "fresh"), ("--init", "none"),
                                     ("--userns", "auto")],
                         ids=lambda o: "-".join(o).strip("-") or "in-place")
def test_stored_descriptors_come_back(hf, options):
    c = hf.start("--notify", *RESTART, *options, *python(STORE), service=False)
    for n in range(1, 4):
        rig.eventually(lambda: c.lines().count("stored") == n, what=f"run {n}")
        kill_service(c)
    rig.eventually(lambda: c.lines().count(BOTH) >= 2)
    assert [x for x in c.lines() if x.startswith("run")][:3] == ["run []", BOTH, BOTH]
    c.rm("-f")


def kill_service(c):
    pid = c.service or c.init
    os.kill(pid, signal.SIGKILL)
    rig.eventually(lambda: not rig.alive(pid))


@pytest.mark.parametrize("who", ["shim", "keeper", "init"])
def test_stored_over_the_death_of(hf, who):
    c = hf.start("--notify", *RESTART, *python(STORE))
    for n in range(1, 4):
        rig.eventually(lambda: c.lines().count("stored") == n, what=f"run {n}")
        c.crash(who)
        if who != "init":
            kill_service(c)
    rig.eventually(lambda: c.lines().count("stored") == 4)
    assert [x for x in c.lines() if x.startswith("run")] == ["run []", BOTH, BOTH, BOTH]
    c.crash("init")  # from a keeper and a shim that have only inherited them
    rig.eventually(lambda: c.lines().count(BOTH) == 4)
    c.rm("-f")


def test_nothing_said_is_lost_while_no_shim_lives(hf):
    """The shim is stopped dead before the service speaks; its successor finds every word."""
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    script = ("held = contents()\nsay(f'run [{held}]')\n"
              "while not os.path.exists('/gate/open'): time.sleep(0.01)\n"
              "if not held:\n notify('FDSTORE=1\\nFDNAME=late', memory('kept'))\n"
              "notify('READY=1')\nsay('said')\ntime.sleep(1000)")
    p = hf.popen("run", "-d", "--notify", "--name", "quiet", *RESTART, "-v", f"{gate}:/gate",
                 *python(script))
    c = rig.Container(hf, "quiet")
    c.wait_line("run")
    for _ in range(5):  # as fast as they come
        victim = rig.eventually(lambda: c.shim)
        with open(os.path.join(gate, "open"), "w", encoding="utf-8"):
            pass
        rig.kill(victim, signal.SIGKILL)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 0 and out == "quiet\n", err
    kill_service(c)
    c.wait_line("late=kept")


def test_removing_and_doubling(hf):
    script = ("held = contents()\nsay(f'run [{held}]')\n"
              "if not held:\n"
              " m = memory('m')\n"
              " for n in range(3): notify('FDSTORE=1\\nFDNAME=same', m)\n"
              " notify('FDSTORE=1\\nFDNAME=gone', memory('g1'), memory('g2'))\n"
              " notify('FDSTORE=1\\nFDNAME=kept', memory('k'))\n"
              " notify('FDSTORE=1\\nFDNAME=bad:name', memory('b'))\n"
              " notify('FDSTOREREMOVE=1\\nFDNAME=gone')\n"
              " notify('FDSTOREREMOVE=1')\n"
              " barrier()\n"
              "say('stored')\nnotify('READY=1')\ntime.sleep(1000)")
    c = hf.start("--notify", *RESTART, *python(script))
    want = "run [same=m kept=k stored=b]"
    rig.eventually(lambda: "stored" in c.lines())
    kill_service(c)
    rig.eventually(lambda: want in c.lines(), what=want)
    os.kill(c.init, signal.SIGKILL)
    rig.eventually(lambda: c.lines().count(want) == 2, what="the same after a fresh start")
    c.rm("-f")


def test_behind_the_listeners(hf):
    script = ("say([n for n, _ in passed()])\n"
              "if len(passed()) == 2:\n notify('FDSTORE=1\\nFDNAME=mine', memory('x'))\n barrier()\n"
              "say('stored')\nnotify('READY=1')\ntime.sleep(1000)")
    c = hf.start("--notify", "--listen", f"a=unix:@{hf.base}-a", "--listen",
                 f"b=unix:@{hf.base}-b", *RESTART, *python(script))
    rig.eventually(lambda: "stored" in c.lines())
    kill_service(c)
    c.wait_line("'a', 'b', 'mine'")
    c.rm("-f")


# ---- hostile words

def test_hostile_notifications(hf):
    """Garbage, floods of descriptors, words without end: nothing grows, and READY=1 still counts."""
    script = ("import random\n"
              "for n in range(300):\n"
              " notify(random.randbytes(random.randint(0, 300)) or b'x')\n"
              "notify(b'READY=1\\n' + b'A' * 8000)\n"
              "notify('FDSTORE=1\\nFDNAME=' + 'n' * 300, memory('long'))\n"
              "for n in range(40): notify('X=1', *[0] * 253)\n"
              "for n in range(100): notify('FDSTORE=1\\nFDNAME=f%d' % n, memory('x'))\n"
              "barrier()\nsay('held', len(passed()))\n"
              "say('asked')\n"
              "while not os.path.exists('/gate/open'): time.sleep(0.01)\n"
              "notify('READY=1')\ntime.sleep(1000)")
    gate = os.path.join(hf.base, "gate")
    os.mkdir(gate)
    p = hf.popen("run", "-d", "--notify", "--name", "hostile", *RESTART, "-v", f"{gate}:/gate",
                 *python(script))
    c = rig.Container(hf, "hostile")
    c.wait_line("asked", 20)
    assert ready_runs(c) == []
    with open(os.path.join(gate, "open"), "w", encoding="utf-8"):
        pass
    p.communicate(timeout=10)
    assert ready_runs(c) == [1]
    assert rig.fd_count(c.shim) < 64 + 60 and rig.fd_count(c.keeper) < 64 + 40
    assert rig.fd_count(c.init) < 64 + 30
    warnings = [r for r in journal.read(c.state_dir) if r.kind == journal.WARNING]
    assert len(warnings) == 1 and b"64 descriptors" in warnings[0].body
    kill_service(c)
    c.wait_line("held 64")
    c.rm("-f")


def test_without_the_option_there_is_no_socket(hf):
    out = hf.shell(script="echo [$NOTIFY_SOCKET]; ls -d /run/holdfast 2>/dev/null || echo none")
    assert out.split() == ["[]", "none"]


def test_as_many_as_there_may_be(hf):
    """64 listeners and 64 stored descriptors go through every hand: init's, a new keeper's, a fresh
    start's."""
    script = ("n = len(passed())\nsay(f'passed {n}')\n"
              "if n == 64:\n"
              " for i in range(64): notify('FDSTORE=1\\nFDNAME=' + 'n' * 250 + str(i), memory(str(i)))\n"
              " barrier()\n"
              "else:\n"
              " assert [os.pread(3 + 64 + i, 9, 0) for i in range(64)] == "
              "[str(i).encode() for i in range(64)]\n"
              " assert passed()[127][0] == 'n' * 250 + '63' and passed()[63][0] == 'l63'\n"
              "say('good')\nnotify('READY=1')\ntime.sleep(1000)")
    listeners = [x for n in range(64) for x in ("--listen", f"l{n}=unix:@{hf.base}-{n}")]
    c = hf.start("--notify", *listeners, *RESTART, *python(script))
    kill_service(c)
    rig.eventually(lambda: c.lines().count("good") == 2, 20)
    for who in ("keeper", "shim", "init", "keeper", "init"):
        c.crash(who)
    service = c.wait_service()
    c.wait_line("good")
    os.kill(service, signal.SIGKILL)
    c.wait_service(other_than=service)
    rig.eventually(lambda: c.lines()[-1] == "good", 20)
    assert set(c.lines()) == {"passed 64", "passed 128", "good"}
    assert c.lines().count("passed 64") == 1
    c.rm("-f")


# ---- what is stored may be anything

LINGERS = r"""
def lingers():
    "A connection whose last close waits for a reader that never reads."
    ear = socket.create_server(("127.0.0.1", 0))
    s = socket.create_connection(ear.getsockname())
    peers.append(ear.accept()[0])
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 100000))
    s.setblocking(False)
    try:
        while True:
            s.send(bytes(65536))
    except BlockingIOError:
        return s
import struct
peers = []
"""


@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_a_removed_socket_that_lingers_holds_up_nobody(hf, init):
    script = LINGERS + ("s = lingers()\nsay('inode', os.fstat(s.fileno()).st_ino)\n"
                        "notify('FDSTORE=1\\nFDNAME=x', s.fileno())\nbarrier()\ns.close()\n"
                        "notify('FDSTOREREMOVE=1\\nFDNAME=x\\nREADY=1')\ntime.sleep(1000)")
    c = hf.start("--notify", "--init", init, *python(script), service=False)
    what = f"socket:[{c.wait_line('inode')[0].split()[1]}]"
    for pid in (c.shim, c.keeper):
        rig.eventually(lambda: what not in rig.descriptors(pid).values(), 10, f"{what} is let go")
    for _ in range(2):
        keeper, shim = c.keeper, c.shim
        rig.kill(shim, signal.SIGKILL)
        rig.eventually(lambda: c.shim not in (None, shim), 1, "the keeper revives the shim")
        c.answers()
        assert c.keeper == keeper
    c.rm("-f")


def test_a_socket_that_lingers_and_is_not_kept_holds_up_nobody(hf):
    """Whoever sends it leaves no copy behind: the last one is the datagram's, mostly."""
    script = LINGERS + """
for _ in range(10):
    s = lingers()
    r, w = os.pipe()
    if os.fork() == 0:
        os.close(w)
        os.read(r, 1)
        notify("STATUS=x", s.fileno())
        os._exit(0)
    s.close()
    os.close(r)
    os.close(w)
    os.wait()
barrier()
notify("READY=1")
time.sleep(1000)"""
    c = hf.start("--notify", *python(script))
    assert ready_runs(c) == [1]
    assert sum(r.kind == journal.SHIM for r in journal.read(c.state_dir)) == 1, "the shim had to be killed"
    c.rm("-f")
