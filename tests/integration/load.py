"""An HTTP load on one port while its server is killed, again and again."""

import os
import random
import signal
import socket
import subprocess
import time

RATE = 2000  # requests per second, each on a new connection


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port, timeout=1.0):
    """The pid that the server says it has, or None."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            data = b""
            while more := s.recv(4096):
                data += more
        return int(data.split(b"\r\n\r\n")[1])
    except (OSError, IndexError, ValueError):
        return None


def servers(port):
    """Host pids of the servers on that port."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                argv = f.read().split(b"\0")
            with open(f"/proc/{name}/stat", "rb") as f:
                state = f.read().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if argv[:1] and argv[0].endswith(b"httpd") and argv[1:2] == [b"%d" % port] \
                and state not in (b"Z", b"X"):
            found.append(int(name))
    return found


class Load:
    """What became of the requests."""

    def __init__(self, program, port, rate=RATE):
        self.process = subprocess.Popen([program, str(port), str(rate)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def end(self):
        text, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.process.returncode
        lines = [line.split() for line in text.splitlines()]
        self.failures = [(kind, int(begin), int(end)) for what, kind, begin, end in
                         (words for words in lines if words[0] == "fail")]
        sums = lines[-1]
        assert sums[0] == "done"
        self.total = int(sums[1])
        self.count = {sums[i]: int(sums[i + 1]) for i in range(2, len(sums), 2)}
        return self


def now_usec():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def kill_often(port, kills, gap=0.05, budget=None, kill_one=None):
    """SIGKILLs the server `kills` times, each time as soon as the next one has come and a moment
    has passed. The times of the kills: (before, after) each. Ends early when the budget of seconds
    is over."""
    times = []
    start = time.monotonic()
    before = None
    while len(times) < kills:
        deadline = time.monotonic() + 90
        pid = None
        while pid is None:
            new = [p for p in servers(port) if p != before]
            pid = new[0] if new else None
            if budget and time.monotonic() - start > budget:
                return times
            assert time.monotonic() < deadline, f"no server on port {port}"
        time.sleep(gap * random.uniform(0.5, 1.5))
        asked = now_usec()
        os.kill(pid, signal.SIGKILL)
        times.append((asked, now_usec()))
        before = pid
    return times


def in_flight_at_a_kill(failure, times, slack=2000):
    """Had it begun when one of the kills struck, and ended after it? (The slack is for the request's
    own begin, which is when it was due, and for a kill that takes effect after the call.)"""
    _, begin, end = failure
    return any(begin <= after + slack and end >= before for before, after in times)
