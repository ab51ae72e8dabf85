"""How the container is: State calls per second of CPU time that the supervisor spends, one call after
the other on one connection, over ttrpc as engines do it. Caller and supervisor share one CPU: in a virtual
machine to wake another one costs more than an answer does, and how often that is done is chance."""

import os
import socket
import struct

import logpump
import memory
import peers
from place import eventually, read

HEAD = struct.Struct(">IIBB")
REQUEST, RESPONSE = 1, 2


def field(number, data):
    """Protobuf, length-delimited."""
    n, size = len(data), b""
    while n > 127:
        size, n = size + bytes([n & 127 | 128]), n >> 7
    return bytes([number << 3 | 2]) + size + bytes([n]) + data


class Caller:
    def __init__(self, path, service, method, payload):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        where = os.open(os.path.dirname(path), os.O_PATH)
        self.sock.connect(f"/proc/self/fd/{where}/{os.path.basename(path)}")
        os.close(where)
        self.body = field(1, service.encode()) + field(2, method.encode())
        if payload:
            self.body += field(3, payload)
        self.stream, self.data = -1, b""

    def exactly(self, n):
        while len(self.data) < n:
            more = self.sock.recv(1 << 16)
            if not more:
                raise RuntimeError("the supervisor has closed the connection")
            self.data += more
        data, self.data = self.data[:n], self.data[n:]
        return data

    def call(self):
        """The response's bytes."""
        self.stream += 2
        self.sock.sendall(HEAD.pack(len(self.body), self.stream, REQUEST, 0) + self.body)
        length, stream, kind, _ = HEAD.unpack(self.exactly(HEAD.size))
        if (stream, kind) != (self.stream, RESPONSE):
            raise RuntimeError(f"frame {kind} of stream {stream}")
        return self.exactly(length)


class Holdfast(memory.Holdfast):
    def caller(self):
        return Caller(os.path.join(self.ours.state, "local", "bench-mem-0", "control"),
                      "holdfast.v1.Supervisor", "GetState", b"")

    def supervisor(self):
        return memory.by_cmdline(lambda a: a[0] == "holdfast-shim" and a[1] == "bench-mem-0")


class Containerd(memory.Containerd):
    def caller(self):
        address = read(os.path.join(self.place.folder("run", "containerd"),
                                    "io.containerd.runtime.v2.task/default/bench-mem-0/address"))
        return Caller(address.removeprefix("unix://").strip(), "containerd.task.v2.Task", "State",
                      field(1, b"bench-mem-0"))

    def supervisor(self):
        return self.processes(1)


def on_cpus(pids, cpus):
    """Us and all threads of these."""
    for pid in (os.getpid(), *pids):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), cpus)


def measure_one(run, place, contestant):
    calls, samples = (300, 3) if run.quick else (5000, 10)
    every = os.sched_getaffinity(0)
    contestant.prepare([])
    try:
        contestant.start(0)
        pids = eventually(contestant.supervisor, 20, "its supervisor")
        caller, values = contestant.caller(), []
        answer = caller.call()
        if b"bench-mem-0" not in answer:  # both say whose state it is
            raise RuntimeError(f"no state: {answer!r}")
        on_cpus(pids, {min(every)})
        for _ in range(samples):
            before = logpump.cpu_nsec(pids)
            for _ in range(calls):
                caller.call()
            values.append(calls * 1e9 / (logpump.cpu_nsec(pids) - before))
        caller.sock.close()
        run.add("state", "one call after the other", contestant.who, "calls per CPU second", values,
                f"{len(answer)} bytes an answer")
    finally:
        on_cpus([], every)
        contestant.stop(1)
        place.reap()
        eventually(lambda: place.reap() or not contestant.supervisor(), 20, "the supervisor's end")


def measure(run, place, ours, helpers, stamp):
    for kind in (Holdfast, Containerd):
        if kind is Holdfast or peers.have(*kind.needs):
            measure_one(run, place, kind(place, ours, stamp))
