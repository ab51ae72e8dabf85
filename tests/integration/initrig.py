"""Runs holdfast-init alone: this side plays launch (plan, shared memory, descriptors) and the shim.

A Sandbox is a new pid, mount and ipc namespace whose process 1 is the binary under test, with its
descriptors at the numbers of ipc/plan.h. Layouts are those of ipc/*.h, checked by their sizes."""

import array
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import time

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)

# ipc/plan.h
(FD_CHANNEL, FD_PLAN, FD_SHARED, FD_STDIN, FD_NULL, FD_TTY, FD_TTY_PEER, FD_MEM, FD_CPU, FD_PIDS,
 FD_PRESSURE, FD_OOM_EVENT, FD_PROC) = range(3, 16)
FD_PASSED, FD_PASSED_LIMIT = 100, 228
PLAN_TTY, PLAN_NO_NEW_PRIVS, PLAN_STDIN, PLAN_MEM_V2, PLAN_OWN_PIDNS, PLAN_OWN_IPCNS = (
    1 << n for n in range(6))
PLAN_MAGIC, SHARED_MAGIC = 0x6e616c70666864, 0x6572616873666864
PLAN_HEAD = struct.Struct("=QIIIIIIIIQ 5Q 4I 2Q 2I 2Q 2I Q 32s Q 40I")

# ipc/policy.h
NO, ON_FAILURE, ALWAYS, UNLESS_STOPPED = range(4)
AUTO, IN_PLACE, FRESH = range(3)
OOM_CONTINUE, OOM_STOP, OOM_RESTART = range(3)
STAY_DOWN, GO_IN_PLACE, GO_FRESH = range(3)
(WHY_STOPPED, WHY_KIND, WHY_OOM_STOP, WHY_BUDGET, WHY_RESTART, WHY_UNHEALTHY) = range(6)

# ipc/shared.h
SLOTS_OFF, SLOTS, SLOT = 4096, 64, 1024
SHARED_SIZE = SLOTS_OFF + SLOTS * SLOT
EXIT_SERVICE, EXIT_EXEC, EXIT_OOM, EXIT_GAP = range(1, 5)
(F_CORE, F_OOM_SEEN, F_HEALTHY, F_INFERRED, F_UNKNOWN, F_START_FAILED, F_STOPPED, F_GROUP_KILLED,
 F_SCRUBBED, F_DIRTY) = (1 << n for n in range(10))
RUN_NONE, RUN_STARTING, RUN_UP, RUN_CLEANUP, RUN_DELAY, RUN_DOWN = range(6)
SPAWN_CWD, SPAWN_SECCOMP, SPAWN_EXEC = 7, 12, 13
HEAD = struct.Struct("=QIIQQIIiIQQQQQ IIIIQQ")
HEAD_NAMES = ("magic version size head acked run state pid hold boot_started mono_next oom_kills "
              "reaped dropped down streak in_place exhausted restarts rng").split()
RECORD = struct.Struct("=Q III i II i III 2Q 2Q Q 2Q IIII QQ 4H 160s160s160s160s II")
RECORD_NAMES = ("seq kind run flags pid code signal errnum step count exec_id boot_start boot_end "
                "utime stime maxrss minflt majflt killed verdict reason pad delay oom_kills "
                "len_mem len_cpu len_pids len_pressure mem cpu pids pressure pad2 sum").split()

# ipc/verbs.h
(START, SIGNAL, STOP, RESTART, HOLD, ACK, DRAINED, SYNC, READY, STORE, UNSTORE) = range(100, 111)
(HELLO, REPLY, PIPES, STARTED, RECORDED, WAITING) = range(200, 206)
BELL = 208
TO_ALL = 1
MSG = struct.Struct("=HHIQ")


def own_caps():
    """What this host gives root: often not all."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1], 16) for line in f if line.startswith("CapPrm:"))


def die_with_parent():
    """A rig that is killed leaves no container behind."""
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def mono():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def until(condition, seconds=5.0, what="condition"):
    """Waits for a condition that no descriptor announces."""
    end = mono() + seconds
    while True:
        value = condition()
        if value:
            return value
        if mono() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        select.select([], [], [], 0.002)


def fnv(data):
    h = 2166136261
    for b in data:
        h = ((h ^ b) * 16777619) & 0xffffffff
    return h


HIGH = 300  # above every number that is placed
PLACES = ("/dev/shm", "/dev/mqueue") if os.path.isdir("/dev/mqueue") else ("/dev/shm",)


def plan_bytes(argv, env=(), cwd="/", kind=ALWAYS, mode=IN_PLACE, oom=OOM_CONTINUE, delay=0.0,
               max_delay=60.0, factor=200, jitter=0, healthy=10.0, budget=(0, 0.0), on_budget=0,
               in_place_max=3, success=(), flags=PLAN_OWN_PIDNS | PLAN_OWN_IPCNS, uid=0, gid=0,
               stop_signal=signal.SIGTERM, grace=10.0, pipe_size=65536, bounding=None,
               caps=None, inheritable=0, ambient=0, groups=(), rlimits=(), filter=b"", tmpfs=PLACES,
               umask=0o22, passed=()):
    body = bytearray()
    base = PLAN_HEAD.size

    def put(data, count):
        while len(body) % 8:
            body.append(0)
        off = base + len(body)
        body.extend(data)
        return off, len(data), count, 0

    def strings(items):
        return put(b"".join(os.fsencode(s) + b"\0" for s in items), len(items))

    ranges = [strings(argv), strings(env), strings([cwd]),
              put(b"".join(struct.pack("=I", g) for g in groups), len(groups)),
              put(b"".join(struct.pack("=IIQQ", r, 0, s, h) for r, s, h in rlimits), len(rlimits)),
              put(filter, len(filter) // 8), strings(tmpfs),
              put(bytes(8 * len(tmpfs)), len(tmpfs)),  # devices: known once they are mounted
              strings([name for name, _ in passed]),
              put(b"".join(struct.pack("=Q", key) for _, key in passed), len(passed))]
    codes = bytearray(32)
    codes[0] = 1
    for c in success:
        codes[c // 8] |= 1 << c % 8
    bounding = own_caps() if bounding is None else bounding
    held = bounding if caps is None else caps
    usec = lambda s: int(s * 1000000)
    head = PLAN_HEAD.pack(
        PLAN_MAGIC, 1, base + len(body), flags, umask, uid, gid, stop_signal, pipe_size,
        usec(grace), bounding, held, held, inheritable, ambient,
        kind, mode, oom, on_budget, usec(delay), usec(max_delay), factor, jitter, usec(healthy),
        usec(budget[1]), budget[0], in_place_max, 0, bytes(codes), 0,
        *[v for r in ranges for v in r])
    return head + bytes(body)


def memfd(name, data):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    return fd


def fill_devices(fd, devs):
    """As launch's last step does it: the device of what stands at each place of the plan. devs:
    {place: device} for a lie."""
    data = os.pread(fd, 1 << 22, 0)
    if len(data) < PLAN_HEAD.size:
        return
    (at, size, count, _, to, _, devices, _) = PLAN_HEAD.unpack_from(data)[-16:-8]
    places = data[at:at + size].split(b"\0")[:-1]
    if len(places) == count == devices and to + 8 * count <= len(data):
        found = [devs.get(os.fsdecode(p)) or os.stat(p).st_dev for p in places]
        os.pwrite(fd, struct.pack(f"={count}Q", *found), to)


def seal_plan(fd):
    fcntl.fcntl(fd, 1033, 0x1 | 0x2 | 0x4 | 0x8)  # F_ADD_SEALS: seal, shrink, grow, write


class Packet:
    def __init__(self, verb, tag, body, fds):
        self.verb, self.tag, self.body, self.fds = verb, tag, body, fds

    def __repr__(self):
        return f"<{self.verb} tag={self.tag} {self.body[:40]!r} fds={self.fds}>"


class Sandbox:
    def __init__(self, binary, plan, fds=None, shared=None, seal=True, setup=None, stderr=None,
                 devs=()):
        """fds: {number: descriptor} beside the four that every container has."""
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.shared = shared if shared is not None else self.new_shared()
        self.seen, self.told, self.told_before, self.untold = [], 0, 0, []
        table = {FD_CHANNEL: theirs.fileno(), FD_PLAN: memfd("plan", plan),
                 FD_SHARED: self.shared, FD_NULL: os.open("/dev/null", os.O_RDWR)}
        table.update(fds or {})
        told, tell = socket.socketpair()
        self.outer = os.fork()
        if self.outer == 0:
            self._outer(binary, table, tell, setup, stderr, seal, dict(devs))
        tell.close()
        theirs.close()
        os.close(table[FD_PLAN])
        os.close(table[FD_NULL])
        self.pid = int(told.recv(16))
        self.pidfd = os.pidfd_open(self.pid)
        told.close()  # from now on it may be reaped
        self.status = None

    @staticmethod
    def new_shared():
        # written through, as the keeper does: a page that PID 1 is the first to touch is charged
        # to a group that may be out of memory
        fd = memfd("shared", bytes(SHARED_SIZE))
        os.pwrite(fd, struct.pack("=QII", SHARED_MAGIC, 1, SHARED_SIZE), 0)
        # policy.rng
        os.pwrite(fd, struct.pack("=Q", 0x9e3779b97f4a7c15), HEAD.size - 8)
        return fd

    @staticmethod
    def _outer(binary, table, tell, setup, stderr, seal, devs):
        try:
            die_with_parent()
            if libc.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID):
                os._exit(99)
            pid = os.fork()
            if pid == 0:
                os.setsid()
                die_with_parent()
                Sandbox._inner(binary, table, setup, stderr, seal, devs)
            os.closerange(3, tell.fileno())
            os.closerange(tell.fileno() + 1, 4096)
            tell.send(b"%d" % pid)
            tell.recv(1)
            tell.close()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os._exit(status if status >= 0 else 128 - status)
        except BaseException as e:  # a forked child of the test must not return into pytest
            os.write(2, f"initrig: {e!r}\n".encode())
            os._exit(98)

    @staticmethod
    def _mount(kind, where):
        if libc.mount(kind, where, kind, 0, None):
            raise OSError(ctypes.get_errno(), f"mount {where}")

    @staticmethod
    def _inner(binary, table, setup, stderr, seal, devs):
        try:
            if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
                raise OSError(ctypes.get_errno(), "private")
            Sandbox._mount(b"proc", b"/proc")
            Sandbox._mount(b"tmpfs", b"/dev/shm")
            if not os.path.isdir("/dev/mqueue"):
                Sandbox._mount(b"tmpfs", b"/mnt")
            else:
                Sandbox._mount(b"mqueue", b"/dev/mqueue")
            if setup:
                setup()
            fill_devices(table[FD_PLAN], devs)
            if seal:
                seal_plan(table[FD_PLAN])
            high = {n: fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for n, fd in table.items()}
            high[FD_PROC] = fcntl.fcntl(os.open("/proc", os.O_PATH), fcntl.F_DUPFD, HIGH)
            if stderr is not None:
                os.dup2(stderr, 2)
            os.closerange(3, HIGH)
            for n, fd in high.items():
                os.dup2(fd, n)
            os.closerange(16, FD_PASSED)
            os.closerange(FD_PASSED_LIMIT, 4096)
            os.execve(binary, ["holdfast-init", "--", "service"], {"HOLDFAST_INIT": "1"})
        except BaseException as e:
            os.write(2, f"initrig: {e!r}\n".encode())
            os._exit(97)

    # ---- the channel ----

    def send(self, verb, body=b"", tag=0, fds=()):
        data = MSG.pack(verb, len(fds), len(body), tag) + body
        socket.send_fds(self.ours, [data], list(fds)) if fds else self.ours.send(data)

    def recv(self, seconds=5.0):
        """The next packet; None at end of file."""
        r, _, _ = select.select([self.ours], [], [], seconds)
        assert r, f"no packet within {seconds} s; seen: {self.seen[-8:]}"
        try:
            data, anc, _, _ = self.ours.recvmsg(16384, socket.CMSG_SPACE(4 * 12))
        except ConnectionResetError:
            return None
        if not data:
            return None
        fds = array.array("i")
        for _, _, d in anc:
            fds.frombytes(d)
        verb, nfds, size, tag = MSG.unpack_from(data)
        assert nfds == len(fds) and size == len(data) - MSG.size
        packet = Packet(verb, tag, data[MSG.size:], list(fds))
        self.seen.append(packet.verb)
        if verb in (HELLO, RECORDED):  # the last field of both: the newest record there is
            self.told_before, self.told = self.told, struct.unpack("=Q", packet.body[-8:])[0]
        return packet

    def expect(self, verb, seconds=5.0, drop=True):
        """Skips to the next packet of that verb; what is skipped is closed."""
        while True:
            p = self.recv(seconds)
            assert p, f"channel closed while waiting for {verb}; seen: {self.seen[-8:]}"
            if p.verb == verb:
                return p
            for fd in p.fds:
                os.close(fd)

    def ask(self, verb, body=b"", tag=7, fds=()):
        self.send(verb, body, tag, fds)
        p = self.expect(REPLY)
        while p.tag != tag:
            p = self.expect(REPLY)
        return struct.unpack_from("=i", p.body)[0]

    def start(self):
        """Begins run 1: its output pipes (to be closed by the caller) and its pid inside."""
        self.expect(HELLO)
        self.send(START)
        pipes = self.expect(PIPES)
        return pipes.fds

    def started(self, seconds=5.0):
        p = self.expect(STARTED, seconds)
        run, pid, boot = struct.unpack("=IiQ", p.body)
        for fd in p.fds:
            os.close(fd)
        return run, pid

    def stop(self, signo=0, grace=None):
        return self.ask(STOP, struct.pack("=IIQ", signo, grace is not None,
                                          int((grace or 0) * 1000000)))

    def restart(self, signo=0, grace=None, tag=7):
        return self.ask(RESTART, struct.pack("=IIQ", signo, grace is not None,
                                             int((grace or 0) * 1000000)), tag)

    def ack(self, seq=None):
        self.send(ACK, struct.pack("=Q", self.head()["head"] if seq is None else seq))

    def drained(self, run):
        self.send(DRAINED, struct.pack("=II", run, 0))

    # ---- the shared memory ----

    def head(self):
        return dict(zip(HEAD_NAMES, HEAD.unpack(os.pread(self.shared, HEAD.size, 0))))

    def record(self, seq):
        """The newest ones may be written over while they are read: one that stays torn is an error."""
        def whole():
            raw = os.pread(self.shared, RECORD.size, SLOTS_OFF + (seq - 1) % SLOTS * SLOT)
            r = dict(zip(RECORD_NAMES, RECORD.unpack(raw)))
            return r if r["sum"] == fnv(raw[:RECORD.size - 4]) else None
        return until(whole, what=f"record {seq} that is not torn")

    def next_record(self, seconds=5.0):
        """In their order: one doorbell may be for several, when a run was over before the last one's end was told."""
        if not self.untold:
            self.expect(RECORDED, seconds)
            self.untold = list(range(min(self.told_before + 1, self.told), self.told + 1))
        return self.record(self.untold.pop(0))

    # ---- what the host sees ----

    def children(self):
        """Host pids of every process of the pid namespace but process 1."""
        inner = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == self.pid:
                continue
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == inner:
                    found.append(int(name))
            except OSError:
                pass
        return found

    def service(self):
        """Host pid of the current run's main process. It may have said something already when init, which
        started it, has not yet written down who it is: waited for."""
        return until(self._service, what="a service")

    def _service(self):
        want = str(self.head()["pid"])
        for pid in self.children():
            try:
                with open(f"/proc/{pid}/status") as f:
                    for line in f:
                        if line.startswith("NSpid:") and line.split()[-1] == want:
                            return pid
            except OSError:
                pass
        return None

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss_kib(self):
        with open(f"/proc/{self.pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Rss:"):
                    return int(line.split()[1])
        raise AssertionError("no Rss")

    def wait(self, seconds=5.0):
        """The exit status of process 1."""
        if self.status is None:
            r, _, _ = select.select([self.pidfd], [], [], seconds)
            assert r, f"init has not exited within {seconds} s: {self.head()}"
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.outer, 0)[1])
        return self.status

    def close(self):
        if self.status is None:
            try:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.wait(10)
        self.ours.close()
        for fd in (self.pidfd, self.shared):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
