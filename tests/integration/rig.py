"""The rig: the staged tool, containers seen from outside through /proc, and the state of the host.

Nothing here trusts the program under test: pids come from the container's cgroup and from /proc,
output from the raw log files, limits from the cgroup files."""

import ctypes
import glob
import itertools
import json
import os
import re
import signal
import subprocess
import time

STAGE = os.environ.get("HOLDFAST_STAGE", "")
KIND = os.environ.get("HOLDFAST_KIND", "gcc")
SCALE = float(os.environ.get("HOLDFAST_SCALE", "1"))
SANITIZER_LOGS = os.environ.get("HOLDFAST_SANITIZER_LOGS")
TOOL = os.path.join(STAGE, "usr/bin/holdfast")
LANE = os.environ.get("HOLDFAST_LANE")  # the emulated machine that this is, see tests/vm
SLOW = 4 if LANE else 3 if KIND == "sanitize" else 1  # deadlines only; no measurement is scaled

_serial = itertools.count(1)


# A service that crashes at once, whose supervisors die as well. PID 1 keeps 63 exits while nobody reads
# them, and a sanitized supervisor may take longer to come back than as many crashes.
CRASHES = ("--restart", "always", "--restart-mode", "in-place", *(
    ("--restart-delay", "10ms", "--restart-max-delay", "10ms", "--restart-jitter", "0")
    if KIND == "sanitize" else ("--restart-delay", "0")))


def scaled(ci, full):
    """A count of repetitions: ci at HOLDFAST_SCALE=1, never more than full."""
    return max(1, min(full, int(ci * SCALE)))


def now_usec():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class Late(AssertionError):
    pass


def eventually(condition, timeout=10.0, what=None):
    """Waits until condition() is true and returns what it gave."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late(f"not within {timeout * SLOW:.1f} s: {what or condition}")
        time.sleep(0.002)


def in_one_of(batches, batch):
    """That a bar in milliseconds is met: batch() measures, prints and tells. A machine whose own host
    takes CPU time away measures its host, so one of at most so many batches must meet it."""
    assert any(batch() for _ in range(batches)), f"missed in each of {batches} batches"


def read(path, otherwise=None):
    try:
        with open(path, "rb") as f:
            return f.read().decode(errors="replace")
    except OSError:
        return otherwise


def number(path):
    """Written by a shell, which makes the file empty first."""
    return int(eventually(lambda: read(path, "").strip(), 10, f"a number in {path}"))


def status_field(pid, name):
    m = re.search(rf"^{name}:\s*(.*)$", read(f"/proc/{pid}/status", ""), re.M)
    return m.group(1) if m else None


def starttime(pid):
    stat = read(f"/proc/{pid}/stat")
    return stat.rpartition(")")[2].split()[19] if stat else None


def alive(pid):
    """A first thread that is gone is a zombie at once; what the others hold open, they hold until they are gone, too."""
    state = status_field(pid, "State")
    if not state or state.startswith("X"):
        return False
    return not state.startswith("Z") or other_threads(pid)


def other_threads(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def cmdline(pid):
    return (read(f"/proc/{pid}/cmdline", "") or "").split("\0")[:-1]


def pids():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def descriptors(pid):
    """{number: what it is}; one that is closed meanwhile is none."""
    found = {}
    for number_ in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(number_)] = os.readlink(f"/proc/{pid}/fd/{number_}")
        except FileNotFoundError:
            pass
    return found


def rss_kib(pid):
    return int(status_field(pid, "VmRSS").split()[0])


def switches(pid):
    """How often its threads have waited for something and were woken."""
    return sum(int(read(f"/proc/{pid}/task/{t}/status").partition("\nvoluntary_ctxt_switches:")[2].split()[0])
               for t in os.listdir(f"/proc/{pid}/task"))


def falls_asleep(pid, seconds=0.5):
    """Waits until nothing has woken it for so long."""
    still = [switches(pid), time.monotonic()]

    def asleep():
        if still[0] != (now := switches(pid)):
            still[:] = [now, time.monotonic()]
        return time.monotonic() - still[1] > seconds
    eventually(asleep, 15, f"process {pid} to sleep")


def private_kib(pid):
    rollup = read(f"/proc/{pid}/smaps_rollup", "")
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", rollup, re.M))


def connected_to_none():
    """No connection to a container's client socket is left (the path is that by which the keeper binds it)."""
    return not re.search(r" 00000000 \w+ 03 +\d+ /proc/self/fd/\d+/sock$", read("/proc/net/unix"), re.M)


def cgroup_roots():
    """(mount point, set of v1 controllers or {"unified"}) of every hierarchy."""
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            yield left.split()[4], {"unified"}
        elif kind == "cgroup":
            yield left.split()[4], set(options.split(","))


def cgroup_root(controller):
    """Where a controller is, and whether that is v2."""
    for root, names in cgroup_roots():
        if controller in names:
            return root, False
    for root, names in cgroup_roots():
        if "unified" in names and controller in read(f"{root}/cgroup.controllers", "").split():
            return root, True
    return None, False


class Container:
    """One container, looked at from the host."""

    def __init__(self, holdfast, name):
        self.holdfast = holdfast
        self.name = name

    @property
    def state_dir(self):
        return os.path.join(self.holdfast.state, "local", self.name)

    @property
    def log_dir(self):
        return os.path.join(self.holdfast.logs, "local", self.name)

    def _daemon(self, role):
        """A child of it that has not executed its program yet is none."""
        for pid in pids():
            if cmdline(pid)[:2] == [role, self.name] and alive(pid) and \
                    cmdline(status_field(pid, "PPid"))[:2] != [role, self.name] and self.holdfast.owns(pid):
                return pid
        return None

    @property
    def keeper(self):
        return self._daemon("holdfast-keeper")

    @property
    def shim(self):
        return self._daemon("holdfast-shim")

    def cgroup(self, controller):
        root, v2 = cgroup_root(controller)
        return f"{root}/holdfast/local/{self.name}", v2

    @property
    def pids(self):
        """Every process in the container's group."""
        for root, _ in cgroup_roots():
            procs = read(f"{root}/holdfast/local/{self.name}/cgroup.procs")
            if procs is not None:
                return [int(p) for p in procs.split()]
        return []

    @property
    def init(self):
        """Host pid of the container's PID 1."""
        for pid in self.pids:
            inner = status_field(pid, "NSpid")
            if inner and inner.split()[-1] == "1" and len(inner.split()) > 1:
                return pid
        return None

    @property
    def service(self):
        """Host pid of the service: PID 1's child that has left PID 1's program."""
        init = self.init
        for pid in self.pids:
            if status_field(pid, "PPid") == str(init) and alive(pid) and \
                    "holdfast-init" not in cmdline(pid)[:1]:
                return pid
        return None

    def answers(self):
        """Waits until its newest shim does, which then holds all that the keeper does: a keeper that dies
        before that takes it along."""
        self.holdfast("adopt", self.name)

    def crash(self, who):
        """Kills the keeper, the shim or PID 1, and waits for the next one. A keeper's death is over
        when there is another shim as well: killed before that, it would be the death of both."""
        shim = eventually(lambda: self.keeper and self.shim)
        victim = eventually(lambda: getattr(self, who), 10, f"a {who}")
        kill(victim, signal.SIGKILL)
        eventually(lambda: getattr(self, who) not in (None, victim), 15, f"another {who}")
        if who == "keeper":
            eventually(lambda: self.shim not in (None, shim), 15, "its shim")
        eventually(lambda: self.shim and self.keeper, 15)
        self.answers()

    def zombies(self):
        family = {str(p) for p in (self.init, self.keeper, self.shim) if p}
        return [p for p in pids() if (status_field(p, "State") or "").startswith("Z")
                and status_field(p, "PPid") in family]

    def raw(self, stream="stdout"):
        """The stream's bytes as they stand on disk."""
        data = b""
        for path in sorted(glob.glob(f"{self.log_dir}/{stream}-*.raw")):
            with open(path, "rb") as f:
                data += f.read()
        return data

    def lines(self, stream="stdout"):
        return self.raw(stream).decode(errors="replace").splitlines()

    def wait_line(self, text, timeout=10, stream="stdout"):
        return eventually(lambda: [x for x in self.lines(stream) if re.search(text, x)], timeout,
                          f"a line with {text!r} in {stream} of {self.name}")

    def wait_service(self, timeout=10, other_than=None):
        def there():
            pid = self.service
            return pid if pid and pid != other_than else None
        return eventually(there, timeout, f"a service in {self.name}")

    def wait_end(self, timeout=20):
        """The exit status that `holdfast wait` tells."""
        out = self.holdfast("wait", self.name, timeout=timeout)
        assert out.returncode == 0, out.stderr
        return int(out.stdout.split()[-1])

    def stop(self, *options, timeout=30):
        return self.holdfast.ok("stop", *options, self.name, timeout=timeout)

    def kill(self, *options):
        return self.holdfast.ok("kill", *options, self.name)

    def rm(self, *options):
        return self.holdfast.ok("rm", *options, self.name)

    def logs(self, *options):
        return self.holdfast.ok("logs", *options, self.name).stdout

    def ps(self):
        """The line of `holdfast ps -a` that is about this container."""
        for line in self.holdfast.ok("ps", "-a").stdout.splitlines():
            if self.name in line.split():
                return line
        return None


class Holdfast:
    """The staged tool with state and log directories of its own."""

    def __init__(self, base):
        self.base = base
        self.state = os.path.join(base, "state")
        self.logs = os.path.join(base, "logs")
        self.torture = os.path.join(os.path.dirname(base), "torture")
        self.stamp = os.path.join(os.path.dirname(base), "stamp")
        self.daemon_reports = []

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        if "HOLDFAST_KERNEL" in os.environ:
            env["HOLDFAST_KERNEL"] = os.environ["HOLDFAST_KERNEL"]
        env.update(HOLDFAST_STATE_DIR=self.state, HOLDFAST_LOG_DIR=self.logs, **more)
        return env

    def owns(self, pid):
        return f"HOLDFAST_STATE_DIR={self.state}" in (read(f"/proc/{pid}/environ", "") or "") or \
            os.path.exists(self.state) and self._holds_state(pid)

    def _holds_state(self, pid):
        for fd in (3, 4):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(self.state):
                    return True
            except OSError:
                pass
        return False

    def name(self, stem="t"):
        return f"{stem}-{os.getpid()}-{next(_serial)}"

    def __call__(self, *args, timeout=30, input=None, env=None, cwd=None):
        if args[0] == "rm":
            self.read_daemon_logs()
        kwargs = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([TOOL, *map(str, args)], text=True, errors="replace",
                              capture_output=True, timeout=timeout * SLOW,
                              env=self.env(**(env or {})), cwd=cwd, **kwargs)

    def ok(self, *args, **kwargs):
        out = self(*args, **kwargs)
        assert out.returncode == 0, (args, out.returncode, out.stdout, out.stderr)
        return out

    def run(self, *args, **kwargs):
        """In the foreground, removed afterwards."""
        return self("run", "--rm", *args, **kwargs)

    def popen(self, *args, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([TOOL, *map(str, args)], text=True, errors="replace",
                                env=self.env(), **kwargs)

    def start(self, *args, name=None, service=True):
        """Detached; waits for the service unless told not to."""
        name = name or self.name()
        out = self.ok("run", "-d", "--name", name, *args)
        assert out.stdout.strip() == name
        container = Container(self, name)
        if service:
            container.wait_service()
        return container

    def show(self, *options, **kwargs):
        """What a service started with these options sees of itself."""
        out = self.run(*options, "--", self.torture, "show", **kwargs)
        assert out.returncode == 0, out.stderr
        return json.loads(out.stdout)

    def shell(self, *options, script, **kwargs):
        """stdout of a shell in a container with these options; it must succeed."""
        out = self.run(*options, "--", "/bin/sh", "-c", script, **kwargs)
        assert out.returncode == 0, (out.returncode, out.stdout, out.stderr)
        return out.stdout

    def containers(self):
        where = os.path.join(self.state, "local")
        return sorted(n for n in os.listdir(where) if not n.startswith(".")) \
            if os.path.isdir(where) else []

    def read_daemon_logs(self):
        """What the daemons wrote on stderr, should a sanitizer have spoken there."""
        for path in glob.glob(f"{self.state}/local/*/shim.log"):
            text = read(path, "")
            if re.search(r"Sanitizer|runtime error:", text):
                self.daemon_reports.append(f"{path}:\n{text}")

    def files(self):
        return sorted(os.path.join(here, n) for top in (self.state, self.logs)
                      for here, _, names in os.walk(top) for n in names)

    def assert_nothing_left(self):
        """Whoever waits is let go once the name is free: files may follow."""
        assert self.containers() == []
        eventually(lambda: not self.files(), 5, "files left: " + ", ".join(self.files()))

    def remove_all(self):
        """Through the tool; what it can't remove is reported by the caller."""
        self.read_daemon_logs()
        wrong = []
        for name in self.containers():
            out = self("rm", "-f", name, timeout=30)
            if out.returncode != 0:
                wrong.append(f"rm -f {name}: status {out.returncode}: {out.stderr}")
        return wrong

    def evidence(self):
        """What the daemons' own log says of a container that could not be removed."""
        return [f"{path}:\n{read(path, '')[-2000:]}"
                for path in glob.glob(f"{self.state}/local/*/shim.log")]

    def force(self):
        """Only after a failure: so that one broken test does not break the next."""
        for pid in pids():
            if cmdline(pid)[:1] in (["holdfast-keeper"], ["holdfast-shim"], ["holdfast-launch"]) \
                    and self.owns(pid):
                kill(pid, signal.SIGKILL)
        for name in self.containers():
            for pid in Container(self, name).pids:
                kill(pid, signal.SIGKILL)
            for root, _ in cgroup_roots():
                for group in ("holdfast", "holdfast.d"):
                    try:
                        os.rmdir(f"{root}/{group}/local/{name}")
                    except OSError:
                        pass


def kill(pid, signo):
    try:
        os.kill(pid, signo)
        return True
    except ProcessLookupError:
        return False


def pidfd_getfd(pidfd, fd):
    r = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, fd, 0)
    assert r >= 0, os.strerror(ctypes.get_errno())
    return r


# ---- the host

SHARED_PLACES = ("/run/holdfast", "/var/log/holdfast", "/dev/shm", "/dev/mqueue")


def _namespaces():
    """Of who is alive: an orphan stays a zombie until the host's own PID 1 comes by."""
    found = set()
    for pid in pids():
        try:
            links = {os.readlink(link) for link in glob.glob(f"/proc/{pid}/ns/*")}
        except OSError:
            continue
        if alive(pid):
            found |= links
    return found


def _cgroups():
    found = set()
    for root, _ in cgroup_roots():
        for top in glob.glob(f"{root}/holdfast*"):
            for here, _, _ in os.walk(top):
                if here.count("/holdfast/") or here != f"{root}/holdfast":
                    found.add(here)
    return found


def _processes():
    """Ours, and whatever lives in another pid namespace than the tests."""
    home = os.readlink("/proc/self/ns/pid")
    found = set()
    for pid in pids():
        argv = cmdline(pid)
        try:
            inside = os.readlink(f"/proc/{pid}/ns/pid") != home
        except OSError:
            inside = False
        if (inside or any("holdfast" in os.path.basename(a) for a in argv[:1])
                or any(os.path.basename(a) in ("torture", "stamp", "again", "httpd", "pressured")
                       for a in argv[:1])) and alive(pid):
            found.add((pid, starttime(pid), " ".join(argv)[:120]))
    return found


def _unix_sockets():
    """An emulated machine may run beside these tests (tests/runner.py); its sockets are not ours."""
    return {line.split()[7] for line in read("/proc/net/unix").splitlines()[1:]
            if len(line.split()) > 7 and not line.split()[7].startswith("/tmp/holdfast-vm.")}


def _ipc_objects():
    return {(kind, *line.split()[:2]) for kind in ("shm", "sem", "msg")
            for line in (read(f"/proc/sysvipc/{kind}") or "\n").splitlines()[1:]}


def _places():
    """Fuzzers may run beside these tests (tests/runner.py), too."""
    found = {os.path.join(here, n) for top in SHARED_PLACES for here, dirs, names in os.walk(top)
             for n in names + dirs}
    return {path for path in found if not path.startswith("/dev/shm/holdfast-fuzz.")}


WITNESSES = {
    "mounts": lambda: set(read("/proc/self/mountinfo").splitlines()),
    "mounts of pid 1": lambda: set((read("/proc/1/mountinfo") or "").splitlines()),
    "cgroups": _cgroups,
    "processes": _processes,
    "namespaces": _namespaces,
    "unix sockets": _unix_sockets,
    "SysV IPC objects": _ipc_objects,
    "shared places": _places,
}


class Host:
    """The host's state before a test, and what is different afterwards."""

    def __init__(self):
        self.before = {name: look() for name, look in WITNESSES.items()}

    def differences(self):
        found = []
        for name, look in WITNESSES.items():
            after = look()
            found += [f"{name}: new: {x}" for x in sorted(map(str, after - self.before[name]))]
            if name.startswith("mounts"):
                found += [f"{name}: gone: {x}" for x in
                          sorted(map(str, self.before[name] - after))]
        return found

    def as_before(self, timeout=10):
        """Differences that stay."""
        left = []

        def same():
            left[:] = self.differences()
            return not left
        try:
            eventually(same, timeout)
        except Late:
            pass
        return left
