"""What a supervised container costs beside its service: all processes of the tool together, one
container and fifty. Resident, proportional and private memory come from smaps_rollup; what the
kernel charges, its own memory included, from a memory group in which the tool was started."""

import contextlib
import glob
import os
import re
import subprocess

import bundle
import peers
from place import eventually, read

FIELDS = {"PSS": r"^Pss:\s+(\d+)", "RSS": r"^Rss:\s+(\d+)",
          "private": r"^Private_(?:Clean|Dirty):\s+(\d+)"}
NOTE = {"holdfast": "keeper, shim, init"}


def memory_root():
    v1 = "/sys/fs/cgroup/memory"
    return v1 if os.path.isdir(v1) else None


class Group:
    """A memory group that processes are started in; None where the host has none to make."""

    def __init__(self, name):
        root = memory_root()
        self.dir = f"{root}/{name}" if root else None
        if self.dir:
            os.makedirs(self.dir, exist_ok=True)

    def prefix(self):
        return ["sh", "-c", f'echo 0 > {self.dir}/cgroup.procs && exec "$@"', "sh"] \
            if self.dir else []

    def charged_kib(self):
        return charged_kib(self.dir) if self.dir else None

    def remove(self):
        if self.dir:
            eventually(lambda: not read(f"{self.dir}/cgroup.procs"), 20, "an empty memory group")
            os.rmdir(self.dir)


def charged_kib(group):
    """Anonymous and shared memory, and the kernel's own; the page cache belongs to nobody."""
    stat = dict(re.findall(r"^(\w+) (\d+)$", read(f"{group}/memory.stat"), re.M))
    kernel = read(f"{group}/memory.kmem.usage_in_bytes").strip() or "0"
    return (int(stat.get("rss", 0)) + int(stat.get("shmem", 0)) + int(kernel)) / 1024


def add_up(pids):
    total = dict.fromkeys(FIELDS, 0)
    for pid in pids:
        rollup = read(f"/proc/{pid}/smaps_rollup")
        for name, pattern in FIELDS.items():
            total[name] += sum(int(n) for n in re.findall(pattern, rollup, re.M))
    return total


def by_cmdline(test):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        argv = read(path).split("\0")
        if test(argv):
            found.append(int(path.split("/")[2]))
    return found


class Holdfast:
    who = "holdfast"

    def __init__(self, place, ours, stamp):
        self.ours = ours
        self.bundle = bundle.make(place.folder("run", "memory"), {"stamp": stamp}, ["/bin/stamp"])

    def prepare(self, prefix):
        self.prefix = prefix

    def start(self, n):
        subprocess.run([*self.prefix, self.ours.tool, "run", "-d", "--name", f"bench-mem-{n}",
                        "--restart", "always", "--bundle", self.bundle], env=self.ours.env,
                       check=True, stdout=subprocess.DEVNULL)

    def processes(self, count):
        pids = by_cmdline(lambda a: a[0] in ("holdfast-keeper", "holdfast-shim") and
                          a[1].startswith("bench-mem-"))
        pids += [self.ours.init(f"bench-mem-{n}") for n in range(count)]
        return pids if len(pids) == 3 * count and all(pids) else None

    def inside_kib(self, count):
        """PID 1 is in the container's own group, with the service."""
        return sum(charged_kib(f"{memory_root()}/holdfast/local/bench-mem-{n}")
                   for n in range(count))

    def stop(self, count):
        for n in range(count):
            subprocess.run([self.ours.tool, "rm", "-f", f"bench-mem-{n}"], env=self.ours.env,
                           check=True, stdout=subprocess.DEVNULL)


class Beside:
    """A peer whose processes are all outside the container."""

    def inside_kib(self, count):
        return 0


class Containerd(Beside):
    who = "containerd-shim-runc-v2"
    needs = ("containerd", "ctr", "containerd-shim-runc-v2")

    def __init__(self, place, ours, stamp):
        self.place = place
        self.rootfs = place.path("run", "memory-ctr", "rootfs")
        bundle.make(os.path.dirname(self.rootfs), {"stamp": stamp}, ["/bin/stamp"])
        self.socket = place.path("run", "containerd.sock")

    def prepare(self, prefix):
        config = self.place.path("containerd.toml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'version = 2\nroot = "{self.place.folder("containerd")}"\n'
                    f'state = "{self.place.folder("run", "containerd")}"\n'
                    'disabled_plugins = ["io.containerd.grpc.v1.cri", '
                    '"io.containerd.internal.v1.opt"]\n'
                    f'[grpc]\n  address = "{self.socket}"\n')
        self.daemon = self.place.start([*prefix, "containerd", "--config", config])
        eventually(lambda: self.ctr("version").returncode == 0, 30, "containerd")

    def ctr(self, *args):
        return subprocess.run(["ctr", "--address", self.socket, *args], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, check=False)

    def start(self, n):
        out = self.ctr("run", "-d", "--null-io", "--rootfs", self.rootfs,
                       f"bench-mem-{n}", "/bin/stamp")
        if out.returncode != 0:
            raise RuntimeError(f"ctr run: {out.stderr}")

    def processes(self, count):
        pids = by_cmdline(lambda a: a[0].endswith("containerd-shim-runc-v2") and "-id" in a)
        return pids if len(pids) == count else None

    def stop(self, count):
        for n in range(count):
            self.ctr("task", "rm", "--force", f"bench-mem-{n}")
            self.ctr("container", "rm", f"bench-mem-{n}")
        self.place.stop(self.daemon)


class Conmon(Beside):
    who = "conmon"
    needs = ("conmon", "runc")

    def __init__(self, place, ours, stamp):
        self.place = place
        self.bundle = bundle.make(place.folder("run", "memory-conmon"), {"stamp": stamp},
                                  ["/bin/stamp"])

    def prepare(self, prefix):
        self.prefix = prefix

    def start(self, n):
        name = f"bench-mem-{n}"
        start_conmon(self.place, name, self.bundle, self.prefix)

    def processes(self, count):
        pids = by_cmdline(lambda a: os.path.basename(a[0]) == "conmon" and "-c" in a)
        return pids if len(pids) == count else None

    def stop(self, count):
        for n in range(count):
            stop_conmon(self.place, f"bench-mem-{n}")


def runc(place, *args):
    return subprocess.run(["runc", "--root", place.folder("run", "conmon-runc"), *args],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def start_conmon(place, name, where, prefix=()):
    """As podman does: conmon makes the container and stays, the engine starts it."""
    pidfile = place.path("run", f"{name}.pid")
    subprocess.run([*prefix, "conmon", "-c", name, "-u", name, "-n", name, "-r", "/usr/sbin/runc",
                    "-b", where, "-p", pidfile, "-l", f"k8s-file:{place.path(name + '.log')}",
                    "--exit-dir", place.folder("run", "exits"), "--socket-dir-path",
                    place.folder("run", "sockets"), "--runtime-arg", "--root", "--runtime-arg",
                    place.folder("run", "conmon-runc"), "--full-attach"],
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    eventually(lambda: read(pidfile).strip(), 20, f"conmon's {name}")
    out = runc(place, "start", name)
    if out.returncode != 0:
        raise RuntimeError(f"runc start: {out.stderr}")


def stop_conmon(place, name):
    out = runc(place, "delete", "--force", name)
    if out.returncode != 0:
        raise RuntimeError(f"runc delete: {out.stderr}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.path("run", f"{name}.pid"))  # the next of that name is waited for by it


def measure_one(run, place, contestant, counts):
    group = Group("bench-memory")
    contestant.prepare(group.prefix())
    started, base = 0, None
    try:
        for count in counts:
            while started < count:
                contestant.start(started)
                started += 1
            pids = eventually(lambda n=count: contestant.processes(n), 20, "all its processes")
            total = add_up(pids)
            for name, kib in total.items():
                run.add("memory", f"{name}, {count} container{'s' * (count > 1)}", contestant.who,
                        "kB", [kib / count], NOTE.get(contestant.who, "the shim alone"))
            charge = group.charged_kib()
            if charge is not None:
                charge += contestant.inside_kib(count)
            if charge is not None and base is not None:
                run.add("memory", "charged, each further container", contestant.who, "kB",
                        [(charge - base[1]) / (count - base[0])],
                        "anonymous, shared and kernel memory; ours with PID 1 and the service")
            base = (count, charge) if charge is not None else None
    finally:
        contestant.stop(started)
        place.reap()
        eventually(lambda: place.reap() or contestant.processes(0) is not None, 20,
                   "the end of its processes")
        group.remove()


def inits(run, place, stamp):
    """What engines put in as PID 1, by itself."""
    for who in ("tini", "catatonit"):
        if not peers.have(who):
            continue
        p = place.start([who, "--", stamp] if who == "catatonit" else [who, "-s", "--", stamp],
                        stdout=subprocess.DEVNULL)
        eventually(lambda pid=p.pid: read(f"/proc/{pid}/task/{pid}/children").strip(), 10, who)
        for name, kib in add_up([p.pid]).items():
            run.add("memory", f"{name}, 1 container", f"{who} (init only)", "kB", [kib],
                    "no supervisor, no log")
        place.stop(p)


def measure(run, place, ours, helpers, stamp):
    counts = [1, 3] if run.quick else [1, 50]
    for kind in (Holdfast, Containerd, Conmon):
        if kind is Holdfast or peers.have(*kind.needs):
            measure_one(run, place, kind(place, ours, stamp), counts)
    inits(run, place, stamp)
