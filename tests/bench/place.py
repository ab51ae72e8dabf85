"""Where the benchmark works, and that nothing of it stays.

All of it runs in a mount namespace of its own, so that no mount can outlive it, and as the reaper of
everything that its daemons leave behind: what is still there at the end is ended and counted."""

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def private_mounts():
    """Runs this program again in a mount namespace of its own."""
    if os.environ.get("BENCH_PRIVATE") == str(os.getpid()):
        return
    os.environ["BENCH_PRIVATE"] = str(os.getpid())  # unshare and python exec: the pid stays
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B",
                          *sys.argv])


def cgroups():
    return {here for root in glob.glob("/sys/fs/cgroup/*") if os.path.isdir(root)
            for here, _, _ in os.walk(root)}


HOST = f"/proc/{os.getppid()}/root"  # whoever called us is not in our mount namespace


def netns():
    return set(os.listdir(HOST + "/run/netns")) if os.path.isdir(HOST + "/run/netns") else set()


def read(path, otherwise=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return otherwise


def host_mounts():
    """Of the host, not of this namespace."""
    return set(read(f"/proc/{os.getppid()}/mountinfo").splitlines())


def places():
    """Where peers keep what they should not have kept."""
    return {p for top in ("/run/crun", "/run/runc", "/run/holdfast", "/var/log/holdfast",
                          "/run/containerd", "/run/docker", "/etc/docker", "/opt/containerd",
                          "/var/lib/docker", "/var/lib/containerd")
            for p in [HOST + top, *glob.glob(HOST + top + "/*")] if os.path.exists(p)}


def children_of(pid):
    return [int(p) for task in glob.glob(f"/proc/{pid}/task/*/children")
            for p in read(task).split()]


def descendants(pid):
    found, todo = [], children_of(pid)
    while todo:
        p = todo.pop()
        found.append(p)
        todo += children_of(p)
    return found


def eventually(condition, limit, what):
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit} s: {what}")
        time.sleep(0.002)


class Place:
    def __init__(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.witnesses = {"cgroup": cgroups, "network namespace": netns, "mount": host_mounts,
                          "file": places}
        self.before = {name: look() for name, look in self.witnesses.items()}
        # sockets and keys that peers keep at fixed places vanish with this namespace
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"], check=True)
        self.made = [] if os.path.isdir("/etc/docker") else ["/etc/docker"]
        os.makedirs("/etc/docker", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/docker"], check=True)
        self.dir = tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp")
        self.run = self.path("run")
        os.mkdir(self.run)
        # as on hosts that have /run in memory: state of every contestant
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", self.run], check=True)
        self.daemons = []

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def folder(self, *names):
        os.makedirs(self.path(*names), exist_ok=True)
        return self.path(*names)

    def start(self, argv, **kwargs):
        """A daemon of a peer's, ended at the end."""
        log = open(self.path(os.path.basename(argv[0]) + ".log"), "ab")
        kwargs.setdefault("stdout", log)
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log, **kwargs)
        log.close()
        self.daemons.append(p)
        return p

    def stop(self, p, limit=20):
        if p.poll() is None:
            p.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(limit)
        if p.poll() is None:
            p.kill()
            p.wait()
        self.daemons.remove(p)

    def reap(self):
        """Orphans that have come to us and ended."""
        ours = {p.pid for p in self.daemons}
        for pid in children_of(os.getpid()):
            if pid not in ours and read(f"/proc/{pid}/stat").rpartition(")")[2][1:2] == "Z":
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _end_processes(self, patience):
        """Names of what had to be ended."""
        names = []
        for p in list(self.daemons):
            self.stop(p)
        deadline = time.monotonic() + patience
        while (left := descendants(os.getpid())) and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.01)
        for pid in left:
            names.append(f"{pid} {read(f'/proc/{pid}/cmdline').replace(chr(0), ' ')[:100]}")
        while (left := descendants(os.getpid())):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.01)
        return names

    def _remove_cgroups(self, expected):
        """Engines leave the parents that they made: empty ones are removed, others are told."""
        for path in sorted(cgroups() - self.before["cgroup"], key=len, reverse=True):
            if any(f"/{name}" in path for name in expected):
                with contextlib.suppress(OSError):
                    os.rmdir(path)

    def finish(self, expected_groups, interrupted):
        """What was left behind, as lines. Peers that an interrupt met halfway are ended silently."""
        ended = self._end_processes(0.5 if interrupted else 10)
        wrong = [f"process left: {name}" for name in ended
                 if not interrupted or "holdfast" in name]
        self._remove_cgroups(expected_groups)
        subprocess.run("awk '{print $5}' /proc/self/mountinfo | grep -F " + self.dir +
                       " | sort -r | xargs -r umount -l", shell=True, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        subprocess.run(["umount", "-l", "/etc/docker"], check=False)
        for path in self.made:
            os.rmdir(path)
        if os.path.exists(self.dir):
            wrong.append(f"directory left: {self.dir}")
        for name, look in self.witnesses.items():
            for _ in range(500):
                new = look() - self.before[name]
                if not new:
                    break
                time.sleep(0.01)
            wrong += [f"{name} left: {x}" for x in sorted(new)]
        return wrong
