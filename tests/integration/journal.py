"""An independent reader of a container's journal (format: ipc/record.h): shares no code with ours."""

import os
import struct
import time

HEAD = struct.Struct("=QII80s40sQ")
RECORD = struct.Struct("=HBBIQQQII")
EXIT = struct.Struct("=QIIIIiIIIII")
MAGIC = 0x6c6e72756f6a6668

(CREATED, LAUNCH_INTENT, LAUNCHED, LAUNCH_FAILED, STARTED, EXITED, OOM, EXIT_GAP, STOP_INTENT, SHIM,
 KEEPER, OUTPUT_GAP, WARNING, DOWN, WAITING, SNAPSHOT, READY) = range(1, 18)
PAUSED, GAP, RESUMED, UPDATED = range(19, 23)
EXEC_STARTED, EXEC_EXITED = 30, 31
RULE_FIRED, RULE_ACTION, RULE_DONE, RULE_CLEARED = range(40, 44)
INFERRED = 1
EXIT_INFERRED, EXIT_UNKNOWN = 8, 16  # flags in the body (ipc/shared.h)


def _crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Record:
    def __init__(self, kind, flags, seq, run, body):
        self.kind, self.flags, self.seq, self.run, self.body = kind, flags, seq, run, body

    def exit(self):
        """code, or -signal, of a record about an exit."""
        _, _, _, code, signal, *_ = EXIT.unpack_from(self.body)
        return -signal if signal else code

    def errnum(self):
        """Why a run could not be begun."""
        return EXIT.unpack_from(self.body)[5]

    def count(self):
        return EXIT.unpack_from(self.body)[9]


def read(state_dir):
    """Every record, in order. Any damage that stays is an error: the writer is alive or has ended cleanly.
    The record that is being written may be seen in part."""
    deadline = time.monotonic() + 1
    while True:
        try:
            return _read(state_dir)
        except (AssertionError, struct.error):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.002)


def _read(state_dir):
    with open(os.path.join(state_dir, "journal"), "rb") as f:
        data = f.read()
    magic, _, at, _, _, seq = HEAD.unpack_from(data)
    assert magic == MAGIC
    records = []
    while at < len(data):
        length, kind, flags, total, number, _, _, run, body_len = RECORD.unpack_from(data, at)
        whole = data[at:at + length]
        if kind == GAP:  # those before it are no longer kept
            assert number >= seq
            seq = number
        mix = (length << 16 | kind << 8 | flags) * 2654435761 & 0xffffffff
        assert number == seq, f"record {seq} has number {number}"
        assert total == _crc32c(whole[8:]) ^ mix, f"record {seq}: its sum is wrong"
        records.append(Record(kind, flags, number, run, whole[RECORD.size:RECORD.size + body_len]))
        at += length
        seq += 1
    return records


def append(state_dir, kind, seq):
    """A record of a kind that no release knows, behind all others."""
    tail = RECORD.pack(RECORD.size, kind, 0, 0, seq, 1, 1, 0, 0)[8:]
    mix = (RECORD.size << 16 | kind << 8) * 2654435761 & 0xffffffff
    head = struct.pack("=HBBI", RECORD.size, kind, 0, _crc32c(tail) ^ mix)
    with open(os.path.join(state_dir, "journal"), "ab") as f:
        f.write(head + tail)


def exec_id(record):
    at = 0 if record.kind == EXEC_STARTED else len(record.body) - 8
    return struct.unpack_from("=I", record.body, at)[0]


def execs(state_dir):
    """The end of each exec, in the order in which they were written."""
    found = []
    for r in read(state_dir):
        if r.kind == EXEC_EXITED:
            _, _, flags, code, signal, *_ = EXIT.unpack_from(r.body)
            found.append({"id": exec_id(r), "code": code, "signal": signal,
                          "inferred": bool(flags & EXIT_INFERRED)})
    return found
