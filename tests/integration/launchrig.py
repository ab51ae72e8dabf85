"""Runs holdfast-launch alone: this side plays the keeper (its channel, descriptors, reaping) and the
shim (the other end of init's channel). The sandbox is looked at from outside, through /proc."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import tempfile

import initrig
import rig

# ipc/settings.h
(TTY, STDIN, AUTO_REMOVE, NO_INIT, HOST_ROOT, DEFAULT_SECCOMP, ROOTFS_IDMAP, HOST_FILES) = (
    1 << n for n in range(8))
SETTINGS = struct.Struct("=QII80s48sIIQ 4I2Q2I2Q2IQ32s IIQ256s512s512sQ")
SETTINGS_MAGIC = 0x73746573666864
# ipc/verbs.h
HOLD, RESULT = 500, 501
HELD_END = 402
OK, BAD_CONFIG, FAILED = range(3)
(INIT_PIDFD, HELD_TTY, HELD_STDIN, HELD_STDOUT, HELD_STDERR) = range(4, 9)
RESULT_BODY = struct.Struct("=QIiiI32s1024s")
SEVEN = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
         "CAP_SETUID"]
SEVEN_MASK = 0xfb


def libexec(name):
    return os.environ.get("HOLDFAST_LIBEXEC_DIR") and \
        os.path.join(os.environ["HOLDFAST_LIBEXEC_DIR"], name) or \
        os.path.join(rig.STAGE, "usr/libexec/holdfast", name)


def config(argv, **changes):
    """An ordinary config.json; changes go by dotted key (linux__seccomp={...}); None removes."""
    c = {
        "ociVersion": "1.0.2",
        "process": {"args": list(argv), "env": ["PATH=/bin:/usr/bin", "HOME=/"], "cwd": "/",
                    "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True,
                    "capabilities": {k: list(SEVEN) for k in ("bounding", "permitted",
                                                              "effective")}},
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "linux": {"namespaces": [{"type": t} for t in ("mount", "pid", "ipc", "uts", "network",
                                                       "cgroup")]},
    }
    for key, value in changes.items():
        at = c
        *path, last = key.split("__")
        for part in path:
            at = at.setdefault(part, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return c


def busybox_rootfs(where):
    """A rootfs of one static program."""
    root = os.path.join(where, "rootfs")
    for name in ("bin", "etc", "tmp", "proc", "dev", "sys"):
        os.makedirs(os.path.join(root, name))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
    for name in ("sh", "cat", "ls", "mount", "mkdir", "id", "sleep", "stat", "ulimit", "tty",
                 "touch", "hostname", "mknod", "echo", "grep", "true"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    return root


class Launch:
    """One launch. result is (outcome, errno, pid, warnings, step, text)."""

    def __init__(self, base, conf, name="lt", flags=DEFAULT_SECCOMP, prefix=(), env=(), trace=False,
                 cgroup=None, mangle=None, kind=initrig.NO, mode=initrig.IN_PLACE):
        self.state = os.path.join(base, "state-" + name)
        os.makedirs(self.state, 0o700, exist_ok=True)
        self.name, self.flags, self.fds, self.output = name, flags, {}, {}
        self.cgroup = cgroup or f"/holdfast/test/{name}"
        text = conf if isinstance(conf, (bytes, str)) else json.dumps(conf)
        with open(os.path.join(self.state, "config.json"), "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        self._settings(base, kind, mode)
        if mangle:
            mangle(self.state)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(initrig.MSG.pack(HELD_END, 0, 0, 77))
        self.channel, inits = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.shared = initrig.Sandbox.new_shared()
        self.stderr = tempfile.TemporaryFile()
        self.began = initrig.mono()
        self.pid = os.fork()
        if self.pid == 0:
            self._exec(theirs, inits, prefix, env)
        theirs.close()
        inits.close()
        self.result = self._hear(ours)
        self.took = initrig.mono() - self.began
        ours.close()
        self.launch_status = os.waitpid(self.pid, 0)[1]
        self.outcome, self.err, self.init, self.warnings, self.step, self.text = self.result
        if self.outcome != OK and INIT_PIDFD in self.fds:
            self._reap()

    def _settings(self, base, kind, mode):
        codes = bytearray(32)
        codes[0] = 1
        data = SETTINGS.pack(
            SETTINGS_MAGIC, 1, SETTINGS.size, self.name.encode(), b"local", self.flags,
            signal.SIGTERM, 10000000, kind, mode, 0, 0, 100000, 60000000, 200, 0,
            10000000, 0, 0, 3, 0, bytes(codes), 0, 4, 1 << 24, self.cgroup.encode(),
            base.encode(), base.encode(), 0)
        with open(os.path.join(self.state, "settings"), "wb") as f:
            f.write(data)

    def _exec(self, theirs, inits, prefix, env):
        try:
            table = {3: theirs.fileno(), 4: os.open(self.state, os.O_RDONLY | os.O_DIRECTORY),
                     5: inits.fileno(), 6: self.shared,
                     7: os.open(libexec("holdfast-init"), os.O_PATH)}
            high = {n: fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for n, fd in table.items()}
            os.dup2(self.stderr.fileno(), 1)
            os.dup2(self.stderr.fileno(), 2)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.closerange(3, 100)
            for n, fd in high.items():
                os.dup2(fd, n)
            os.closerange(8, 4096)
            argv = [*prefix, libexec("holdfast-launch"), self.name]
            argv = argv if prefix else [libexec("holdfast-launch"), self.name]
            os.execve(argv[0], argv, {"PATH": "/usr/bin:/bin", **dict(env)})
        except BaseException as e:
            os.write(2, f"launchrig: {e!r}\n".encode())
            os._exit(99)

    def _hear(self, ours):
        result = None
        while True:
            assert select.select([ours], [], [], 30 * rig.SLOW)[0], "launch says nothing"
            data, anc, _, _ = ours.recvmsg(16384, socket.CMSG_SPACE(64))
            if not data:
                assert result, f"launch left without a result: {self.log()}"
                return result
            verb, _, _, tag = initrig.MSG.unpack_from(data)
            body = data[initrig.MSG.size:]
            fds = [fd for _, _, d in anc for fd in struct.unpack(f"{len(d) // 4}i", d)]
            assert tag == 77 and verb in (HOLD, RESULT)
            if verb == HOLD:
                kind, _, key = struct.unpack("=IIQ", body)
                self.fds[kind] = fds[0]
            else:
                nonce, outcome, err, pid, warned, step, text = RESULT_BODY.unpack(body)
                assert nonce == 77
                result = (outcome, -err, pid, warned, step.rstrip(b"\0").decode(),
                          text.partition(b"\0")[0].decode())

    def log(self):
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def proc(self, name, otherwise=None):
        return rig.read(f"/proc/{self.init}/{name}", otherwise)

    def ns(self, kind):
        return os.readlink(f"/proc/{self.init}/ns/{kind}")

    def mountinfo(self):
        """{mount point: (mount options, type, super options)}, topmost last wins."""
        table = {}
        for line in self.proc("mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            f, t = left.split(), right.split()
            table[f[4]] = (set(f[5].split(",")), t[0], set(t[2].split(",")), f)
        return table

    # ---- init's channel ----

    def send(self, verb, body=b""):
        self.channel.send(initrig.MSG.pack(verb, 0, len(body), 0) + body)

    def packets(self, until=None, seconds=10.0):
        """Yields (verb, body, fds) up to end of file."""
        while True:
            assert select.select([self.channel], [], [], seconds * rig.SLOW)[0], "init is silent"
            try:
                data, anc, _, _ = self.channel.recvmsg(16384, socket.CMSG_SPACE(64))
            except ConnectionResetError:
                return
            if not data:
                return
            verb = initrig.MSG.unpack_from(data)[0]
            fds = [fd for _, _, d in anc for fd in struct.unpack(f"{len(d) // 4}i", d)]
            yield verb, data[initrig.MSG.size:], fds

    def start(self):
        """Starts the service; pipes and the service's host pid are kept."""
        assert self.outcome == OK, (self.result, self.log())
        self.send(initrig.START)
        self.service = None
        if self.flags & NO_INIT:
            return self
        for verb, body, fds in self.packets():
            if verb == initrig.PIPES:
                self.output = {1: fds[0], 2: fds[1]}
            elif verb == initrig.STARTED:
                self.service_pidfd = fds[0]
                info = rig.read(f"/proc/self/fdinfo/{fds[0]}")
                self.service = int(next(x for x in info.splitlines()
                                        if x.startswith("Pid:")).split()[1])
                return self
            elif verb == initrig.RECORDED:
                self.send(initrig.ACK, body)
                raise AssertionError(f"not started: {self.record()}")
        raise AssertionError(f"init left: {self.log()}")

    def record(self, seq=1):
        data = os.pread(self.shared, initrig.RECORD.size,
                        initrig.SLOTS_OFF + (seq - 1) * initrig.SLOT)
        return dict(zip(initrig.RECORD_NAMES, initrig.RECORD.unpack(data)))

    def finish(self):
        """Lets the service end; (status as of wait(2), stdout, stderr)."""
        if not self.flags & NO_INIT:
            for verb, body, _ in self.packets():
                if verb == initrig.RECORDED:
                    self.send(initrig.ACK, body)
                    break
            end = self.record()
            self.end = end
        out = b"".join(self._drain(self.output.get(n) or self.fds.get((0, HELD_STDOUT,
                                                                      HELD_STDERR)[n]))
                       for n in (1,))
        err = self._drain(self.output.get(2) or self.fds.get(HELD_STDERR))
        status = self._reap()
        if not self.flags & NO_INIT:
            status = end["signal"] + 128 if end["signal"] else end["code"]
        return status, out.decode(errors="replace"), err.decode(errors="replace")

    @staticmethod
    def _drain(fd):
        data = b""
        while fd is not None:
            try:
                part = os.read(fd, 65536)
            except BlockingIOError:
                select.select([fd], [], [], 5)
                continue
            except OSError:
                break
            if not part:
                break
            data += part
        return data

    def run(self):
        return self.start().finish()

    def _reap(self, seconds=10):
        fd = self.fds[INIT_PIDFD]
        assert select.select([fd], [], [], seconds * rig.SLOW)[0], "PID 1 does not end"
        info = os.waitid(os.P_PIDFD, fd, os.WEXITED | 0x40000000)  # __WALL
        return info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status

    def close(self):
        """Kills what is left and removes the groups: the shim's work."""
        if INIT_PIDFD in self.fds:
            try:
                signal.pidfd_send_signal(self.fds[INIT_PIDFD], signal.SIGKILL)
                self._reap()
            except (ProcessLookupError, ChildProcessError):
                pass
        for fd in [*self.fds.values(), *self.output.values(), self.shared]:
            try:
                os.close(fd)
            except OSError:
                pass
        self.channel.close()
        remove_groups(self.cgroup)
        shutil.rmtree(self.state, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def groups(path):
    return [root + path for root, _ in rig.cgroup_roots() if os.path.isdir(root + path)]


def remove_groups(path):
    while path != "/":
        for group in groups(path):
            def gone():
                try:
                    os.rmdir(group)
                except FileNotFoundError:
                    return True
                except OSError:
                    return bool(path.count("/") < 3)
                return True
            rig.eventually(gone, what=f"{group} is empty")
        path = os.path.dirname(path)
