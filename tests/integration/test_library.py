"""libholdfast, called as a program of somebody else would."""

import contextlib
import ctypes
import errno
import os
import struct
import time

import pytest

from api import Api, observers
from rig import STAGE, eventually

pytestmark = pytest.mark.release  # a library with a sanitizer in it is not for python

OBSERVE = 1


class Library:
    def __init__(self, hf):
        multiarch = os.uname().machine + "-linux-gnu"
        self.lib = ctypes.CDLL(os.path.join(STAGE, f"usr/lib/{multiarch}/libholdfast.so.0"))
        self.lib.holdfast_error.restype = ctypes.c_char_p
        self.root = os.fsencode(hf.state)

    @contextlib.contextmanager
    def open(self, name, which=OBSERVE):
        """(result, handle)"""
        handle = ctypes.c_void_p()
        r = self.lib.holdfast_open(self.root, None, name.encode(), which, ctypes.byref(handle))
        try:
            yield r, handle
        finally:
            self.lib.holdfast_close(handle)

    def error(self, handle):
        return self.lib.holdfast_error(handle).decode()

    def watch(self, handle, instance, sequence, count):
        event = ctypes.create_string_buffer(512)
        assert self.lib.holdfast_watch(handle, ctypes.c_uint64(instance), ctypes.c_uint64(sequence)) == 0
        seen = []
        for _ in range(count):
            assert self.lib.holdfast_watch_next(handle, event) == 1, self.error(handle)
            seen.append(struct.unpack_from("=Q", event)[0])
        return seen


def test_a_cursor_of_a_namesake_is_the_beginning(hf):
    c = hf.start("--", hf.torture, "stamp")
    library = Library(hf)
    with Api(c) as api:
        old = api.call("GetState").cursor
    with library.open(c.name) as (r, handle):
        assert r == 0 and library.watch(handle, old.instance, 2, 1) == [3]
        assert library.watch(handle, 0, 0, 2) == [1, 2]
    c.rm("-f")
    c = hf.start("--", hf.torture, "stamp", name=c.name)
    with library.open(c.name) as (r, handle):
        assert r == 0 and library.watch(handle, old.instance, old.sequence, 3) == [1, 2, 3]


def test_more_clients_than_it_takes(hf):
    c = hf.start("--", hf.torture, "stamp")
    library = Library(hf)
    crowd = observers(c)
    begin = time.monotonic()
    with library.open(c.name) as (r, handle):
        assert r == -errno.EAGAIN and 4 < time.monotonic() - begin < 20
        assert c.name in library.error(handle) and "too many clients" in library.error(handle)
    for api in crowd:
        api.sock.close()
    with library.open(c.name) as (r, handle):
        assert r == 0 and eventually(lambda: library.watch(handle, 0, 0, 1)) == [1]


def test_who_is_not_there(hf):
    library = Library(hf)
    with library.open("nobody") as (r, handle):
        assert r == -errno.ENOENT and 'no container "nobody"' in library.error(handle)
    c = hf.start("--", "/bin/sh", "-c", "exit 3", service=False)
    c.wait_end()
    eventually(lambda: not os.path.exists(f"{c.state_dir}/observe"))
    with library.open(c.name) as (r, handle):
        assert r == -errno.ECONNREFUSED and f"holdfast start {c.name}" in library.error(handle)
