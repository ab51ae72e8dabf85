"""A client of the container's API sockets that shares nothing with the product but the .proto files: the
frames are made by hand here, the messages by Debian's protobuf."""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

from rig import SLOW

PROTO = os.path.join(os.path.dirname(__file__), "..", "..", "ipc", "proto")
SERVICE = "holdfast.v1.Supervisor"
REQUEST, RESPONSE, DATA = 1, 2, 3
REMOTE_CLOSED, NO_DATA = 1, 4
HEAD = struct.Struct(">IIBB")


def _messages():
    """Modules made by protoc from the .proto files, in a directory of their own."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={out}", "ttrpc.proto",
                        "holdfast/v1/supervisor.proto"], check=True)
        sys.path.insert(0, out)
        try:
            import ttrpc_pb2
            from holdfast.v1 import supervisor_pb2
        finally:
            sys.path.remove(out)
    return ttrpc_pb2, supervisor_pb2


ttrpc, v1 = _messages()


class Refused(Exception):
    def __init__(self, status):
        super().__init__(f"{status.code}: {status.message}")
        self.code, self.message = status.code, status.message


class Closed(Exception):
    pass


class Api:
    """One connection."""

    def __init__(self, container, name="control", timeout=10.0):
        where = os.open(container.state_dir, os.O_PATH | os.O_DIRECTORY)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        timeout *= SLOW
        self.sock.settimeout(timeout)
        try:
            self._connect(f"/proc/self/fd/{where}/{name}", time.monotonic() + timeout)
        finally:
            os.close(where)
        self.stream = -1
        self.buffer = b""
        self.waiting = []  # frames of other streams that came meanwhile

    def _connect(self, path, deadline):
        """A full backlog is EAGAIN for a socket with a timeout: it is asked again until that is over."""
        while True:
            try:
                return self.sock.connect(path)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.sock.close()
                    raise
                time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    # frames

    def send_frame(self, payload, stream, kind=REQUEST, flags=0):
        self.sock.sendall(HEAD.pack(len(payload), stream, kind, flags) + payload)

    def _exactly(self, n):
        while len(self.buffer) < n:
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed()
            self.buffer += more
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def frame(self):
        """(stream, type, flags, payload) of the next frame."""
        length, stream, kind, flags = HEAD.unpack(self._exactly(HEAD.size))
        return stream, kind, flags, self._exactly(length)

    def frame_of(self, stream):
        for i, f in enumerate(self.waiting):
            if f[0] == stream:
                return self.waiting.pop(i)
        while True:
            f = self.frame()
            if f[0] == stream:
                return f
            self.waiting.append(f)

    # calls

    def begin(self, method, request, flags=0, service=SERVICE):
        """Sends a request; its stream."""
        self.stream += 2
        body = ttrpc.Request(service=service, method=method, payload=request.SerializeToString())
        self.send_frame(body.SerializeToString(), self.stream, REQUEST, flags)
        return self.stream

    def response(self, stream):
        _, kind, _, payload = self.frame_of(stream)
        assert kind == RESPONSE, kind
        return ttrpc.Response.FromString(payload)

    def call(self, method, request=None, answer=None, service=SERVICE):
        request = request if request is not None else getattr(v1, method + "Request")()
        answer = answer or getattr(v1, method + "Response")
        r = self.response(self.begin(method, request, service=service))
        if r.status.code:
            raise Refused(r.status)
        return answer.FromString(r.payload)

    def watch(self, cursor=None):
        """Events, one by one, until the stream or the connection ends."""
        stream = self.begin("Watch", v1.WatchRequest(**({"from": cursor} if cursor else {})),
                            REMOTE_CLOSED)
        while True:
            try:
                _, kind, flags, payload = self.frame_of(stream)
            except Closed:
                return
            if kind == RESPONSE:
                status = ttrpc.Response.FromString(payload).status
                if status.code:
                    raise Refused(status)
                return
            if not flags & NO_DATA:
                yield from v1.WatchResponse.FromString(payload).events
            if flags & REMOTE_CLOSED:
                return


def cursor(instance, sequence):
    return v1.Cursor(instance=instance, sequence=sequence)


def observers(container):
    """As many as there is room for, and a full backlog; that of a keeper that is late is full before."""
    found, deadline = [], time.monotonic() + 30 * SLOW
    while time.monotonic() < deadline:
        try:
            found.append(Api(container, "observe", timeout=0.5))
            assert len(found) < 1000
        except BlockingIOError:
            if len(found) >= 120 + 64:
                return found
    raise AssertionError(f"there is room for {len(found)} only")
