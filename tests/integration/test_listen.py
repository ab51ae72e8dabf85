"""--listen: sockets that are made once and outlive every run, sandbox, shim and keeper."""

import os
import signal
import socket
import stat

import pytest

import load
import rig

HTTPD = "httpd"


def httpd(hf):
    return os.path.join(os.path.dirname(hf.base), HTTPD)


def program(name):
    return os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), name)


def serve(hf, *options, port=None):
    port = port or load.free_port()
    c = hf.start("--listen", f"web=127.0.0.1:{port}", *options, "--", httpd(hf), str(port),
                 service="none" not in options or "--network" in options)
    rig.eventually(lambda: load.answers(port), what="an answer")
    return c, port


ENV = "env | grep ^LISTEN_ | sort; echo self=$$"


def listen_env(text):
    return dict(line.split("=", 1) for line in text.split())


# ---- what the service gets

@pytest.mark.quick
@pytest.mark.parametrize("init", ["holdfast", "none"])
def test_environment_and_numbers(hf, init):
    path = os.path.join(hf.base, "x.sock")
    env = listen_env(hf.shell(
        "--init", init, "-e", "LISTEN_FDS=77", "-e", "LISTEN_FDNAMES=evil",
        "--listen", f"web=127.0.0.1:{load.free_port()}", "--listen", f"unix:{path}",
        "--listen", f"web=udp:127.0.0.1:{load.free_port()}",
        script=ENV + "; for n in 3 4 5; do readlink /proc/self/fd/$n; done | grep -c ^socket: "
                     "| sed s/^/sockets=/; ls /proc/self/fd | wc -l | sed s/^/all=/"))
    assert env["LISTEN_FDS"] == "3" and env["LISTEN_PID"] == env["self"]
    assert env["LISTEN_FDNAMES"] == "web:unknown:web"
    # stdin, stdout or a pipe, stderr, the three, and what ls itself has open
    assert env["sockets"] == "3" and env["all"] == "7"
    assert not os.path.exists(path)


def test_nothing_of_it_without_the_option(hf):
    out = hf.shell("-e", "LISTEN_FDS=5", script="env | grep ^LISTEN_; ls /proc/self/fd | wc -l")
    assert out.split() == ["LISTEN_FDS=5", "4"]


def accepts(hf, text, kind, *, connect):
    """The service accepts what connects, and says over it which socket it was."""
    script = ("import os,socket,sys; s=socket.socket(fileno=3); "
              "c,_=s.accept() if s.type != socket.SOCK_DGRAM else (s,0); "
              "print(s.family.name, s.type.name, os.get_blocking(3), flush=True); "
              "print(c.recv(9).decode(), flush=True)")
    name = hf.name()
    c = hf.start("--listen", text, "--", "python3", "-c", script, name=name, service=False)
    with connect() as s:
        s.sendall(b"hello")
        c.wait_line("hello")
    assert c.lines()[0].split() == [*kind, "True"]
    assert c.wait_end() == 0
    c.rm()


def tcp(host, port):
    def connect():
        return rig.eventually(lambda: try_connect(socket.create_connection, (host, port)))
    return connect


def try_connect(f, *args):
    try:
        return f(*args)
    except OSError:
        return None


def unix(path, kind=socket.SOCK_STREAM):
    def one():
        s = socket.socket(socket.AF_UNIX, kind)
        s.connect(path)
        return s
    return lambda: rig.eventually(lambda: try_connect(one))


def udp(port):
    def connect():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(("127.0.0.1", port))
        return s
    return connect


def test_each_kind_of_address(hf):
    port = load.free_port()
    path = os.path.join(hf.base, "k.sock")
    accepts(hf, str(port), ("AF_INET6", "SOCK_STREAM"), connect=tcp("127.0.0.1", port))
    accepts(hf, str(port), ("AF_INET6", "SOCK_STREAM"), connect=tcp("::1", port))
    accepts(hf, f"a.b-c_9=tcp:127.0.0.1:{port}", ("AF_INET", "SOCK_STREAM"),
            connect=tcp("127.0.0.1", port))
    accepts(hf, f"[::1]:{port}", ("AF_INET6", "SOCK_STREAM"), connect=tcp("::1", port))
    accepts(hf, f"udp:127.0.0.1:{port}", ("AF_INET", "SOCK_DGRAM"), connect=udp(port))
    accepts(hf, path, ("AF_UNIX", "SOCK_STREAM"), connect=unix(path))
    accepts(hf, f"unix-seqpacket:{path}", ("AF_UNIX", "SOCK_SEQPACKET"),
            connect=unix(path, socket.SOCK_SEQPACKET))
    accepts(hf, f"unix-dgram:{path}", ("AF_UNIX", "SOCK_DGRAM"),
            connect=unix(path, socket.SOCK_DGRAM))
    name = hf.name("abstract")
    accepts(hf, f"unix:@{name}", ("AF_UNIX", "SOCK_STREAM"), connect=unix("\0" + name))


@pytest.mark.parametrize("options", [("--network", "none"), ("--network", "host"),
                                     ("--userns", "auto"), ("--read-only",), ("--init", "none")],
                         ids=lambda o: "-".join(o).strip("-"))
def test_answers_from_inside_any_sandbox(hf, options):
    c, port = serve(hf, *options)
    assert load.answers(port)
    c.stop("-t", "100ms")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


# ---- bad values

@pytest.mark.quick
@pytest.mark.parametrize("value, says", [
    ("", "no address"),
    ("web=", "no address"),
    ("0", "from 1 to 65535"),
    ("65536", "from 1 to 65535"),
    ("80x", "from 1 to 65535"),
    ("127.0.0.1:", "from 1 to 65535"),
    ("localhost:80", "not an IPv4 address"),
    ("256.0.0.1:80", "not an IPv4 address"),
    ("::1:80", "not an IPv4 address"),
    ("[::1]80", "[ADDRESS]:PORT"),
    ("[fe80::zz]:80", "not an IPv6 address"),
    ("unix:relative", "unix:/PATH"),
    ("unix:/", "no name in it"),
    ("unix:/run/", "no name in it"),
    ("unix:@", "no name in it"),
    ("unix:/" + "x" * 107, "107 bytes"),
    ("unix:/x,mode=8", "mode=0660"),
    ("unix:/x,owner=me", "owner=1000:1000"),
    ("a:b=80", "not an IPv4 address"),
    ("we b=80", "its name must be"),
    ("=80", "its name must be"),
    ("x" * 256 + "=80", "its name must be"),
])
def test_bad_values(hf, value, says):
    out = hf("run", "--listen", value, "--", "true")
    assert out.returncode == 64 and says in out.stderr and "--listen" in out.stderr, out.stderr
    assert hf.containers() == []


def test_too_many(hf):
    options = [x for n in range(65) for x in ("--listen", f"unix:@{hf.base}-{n}")]
    out = hf("run", *options, "--", "true")
    assert out.returncode == 64 and "64" in out.stderr


@pytest.mark.quick
def test_address_in_use(hf):
    path = os.path.join(hf.base, "taken.sock")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        first = os.path.join(hf.base, "first.sock")
        out = hf("run", "--listen", first, "--listen", f"127.0.0.1:{port}", "--", "true")
        assert out.returncode == 125
        assert f"tcp:127.0.0.1:{port}: the address is in use" in out.stderr
        assert not os.path.exists(first) and hf.containers() == []
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        out = hf("run", "-d", "--listen", path, "--", "true")
        assert out.returncode == 125 and f"unix:{path}: the address is in use" in out.stderr
        assert os.path.exists(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        out = hf("run", "--listen", f"udp:127.0.0.1:{port}", "--", "true")
        assert out.returncode == 125 and f"udp:127.0.0.1:{port}" in out.stderr
    missing = os.path.join(hf.base, "no/such/dir.sock")
    out = hf("run", "--listen", missing, "--", "true")
    assert out.returncode == 125 and missing in out.stderr
    assert hf.containers() == []


# ---- socket files

def test_socket_file(hf):
    path = os.path.join(hf.base, "f.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)  # stale once it is closed
    c = hf.start("--listen", f"{path},mode=0640,owner=1234:2345", "--", "sleep", "1000")
    st = os.lstat(path)
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o640
    assert (st.st_uid, st.st_gid) == (1234, 2345)
    c.stop()
    assert not os.path.exists(path)
    c.rm()
    c = hf.start("--listen", path, "--", "sleep", "1000")
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o666
    # what somebody else has put there meanwhile is his
    os.unlink(path)
    with open(path, "w", encoding="utf-8"):
        pass
    c.rm("-f")
    assert os.path.isfile(path)
    out = hf("run", "--listen", path, "--", "true")
    assert out.returncode == 125 and os.path.isfile(path)


# ---- restarts and deaths

RESTART = ("--restart", "always", "--healthy-after", "1ms")


def inode(pid, fd):
    return os.readlink(f"/proc/{pid}/fd/{fd}")


@pytest.mark.quick
@pytest.mark.parametrize("mode", ["in-place", "fresh"])
def test_the_same_socket_over_restarts(hf, mode):
    c, port = serve(hf, *RESTART, "--restart-mode", mode)
    first = inode(c.service, 3)
    assert first.startswith("socket:")
    for _ in range(3):
        old = c.service
        with socket.socket() as waiting:
            os.kill(old, signal.SIGKILL)
            waiting.connect(("127.0.0.1", port))  # never refused, whoever is there to accept
            waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        assert inode(c.wait_service(other_than=old), 3) == first


def test_without_init_a_fresh_start_has_it(hf):
    c, port = serve(hf, *RESTART, "--init", "none")
    old = c.init
    first = inode(old, 3)
    os.kill(old, signal.SIGKILL)
    rig.eventually(lambda: load.answers(port, 10), what="an answer")
    assert inode(rig.eventually(lambda: c.init if c.init not in (None, old) else None), 3) == first


@pytest.mark.parametrize("who", ["shim", "keeper", "init"])
def test_over_the_death_of(hf, who):
    c, port = serve(hf, *RESTART)
    first = inode(c.service, 3)
    for _ in range(3):
        c.crash(who)
        rig.eventually(lambda: load.answers(port, 10), what="an answer")
        service = c.wait_service()
        os.kill(service, signal.SIGKILL)
        rig.eventually(lambda: load.answers(port, 10), what="an answer")
        c.wait_service(other_than=service)
    # and a fresh sandbox, whose launch must get it from the newest keeper
    old = c.init
    os.kill(old, signal.SIGKILL)
    rig.eventually(lambda: load.answers(port, 10), what="an answer")
    rig.eventually(lambda: c.init not in (None, old))
    assert inode(c.wait_service(), 3) == first


def test_both_die_and_the_address_is_free_again(hf):
    c, port = serve(hf, *RESTART)
    keeper, shim = c.keeper, c.shim
    os.kill(keeper, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    os.kill(keeper, signal.SIGKILL)
    assert load.answers(port)  # init has it still
    c.stop()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))


def test_what_a_run_did_to_it_ends_with_the_run(hf):
    port = load.free_port()
    script = ("import os,socket,time\ns=socket.socket(fileno=3)\n"
              "print('blocking', os.get_blocking(3), flush=True)\n"
              "s.setblocking(False)\ns.shutdown(socket.SHUT_RDWR)\ntime.sleep(0.05)\nos._exit(1)")
    c = hf.start("--listen", f"127.0.0.1:{port}", "--restart", "on-failure:2", "--", "python3", "-c",
                 script, service=False)
    assert c.wait_end() == 1
    assert [x for x in c.lines()] == ["blocking True"] * 3
    c.rm()


# ---- the Show

def test_no_connection_is_refused(hf, measured):
    kills = rig.scaled(20, 1000)
    port = load.free_port()
    hf.start("--listen", f"127.0.0.1:{port}", *RESTART, "--", httpd(hf), str(port))
    run = load.Load(program("httpload"), port)
    times = load.kill_often(port, kills)
    run.end()
    measured(f"zero-drop restart: {run.total} requests at {load.RATE}/s over {len(times)} SIGKILLs: "
             f"refused {run.count['refused']}, in flight and lost {run.count['reset']}, "
             f"p50 {run.count['p50']} us, p99 {run.count['p99']} us, max {run.count['max']} us")
    assert len(times) == kills and run.total > kills * 50
    assert run.count["refused"] == run.count["timeout"] == run.count["other"] == 0
    stray = [f for f in run.failures if not load.in_flight_at_a_kill(f, times)]
    assert not stray, stray[:5]
