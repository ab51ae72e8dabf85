"""From the SIGKILL of a service to the first instruction of the next one. The service writes the
time of its first instruction by itself (tests/helpers/stamp.c), so each supervisor is measured by
the same clock."""

import json
import os
import shutil
import signal
import subprocess
import time

import bundle
import peers
from place import children_of, eventually, read

UP_USEC = 1_200_000  # runit and s6 start at once only what has lived for a second


def now_usec():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class Stamps:
    """What the service has written so far; lines() gives its text."""

    def __init__(self, lines):
        self.lines, self.seen = lines, 0

    def next(self, limit=60):
        lines = eventually(lambda: (x := self.lines()) and len(x) > self.seen and x, limit,
                           "the next start")
        self.seen += 1
        return int(lines[self.seen - 1].split()[0])


def plain_lines(path):
    return lambda: read(path).split("\n")[:-1]


def json_lines(path):
    return lambda: [json.loads(x)["log"] for x in read(path).split("\n")[:-1]]


def kills(stamps, service, count, gap):
    """Microseconds from each kill to the next first instruction."""
    times = []
    for _ in range(count):
        time.sleep(gap)
        pid = eventually(service, 10, "a service to kill")
        before = now_usec()
        os.kill(pid, signal.SIGKILL)
        times.append(stamps.next() - before)
    return times


def one_child(pid):
    return lambda: next(iter(children_of(pid)), None)


def holdfast(run, place, ours, stamp):
    b = bundle.make(place.folder("run", "restart"), {"stamp": stamp}, ["/bin/stamp"])
    name = "bench-restart"
    subprocess.run([ours.tool, "run", "-d", "--name", name, "--bundle", b, "--restart", "always",
                    "--restart-delay", "0", "--restart-mode", "in-place"], env=ours.env,
                   check=True, stdout=subprocess.DEVNULL)
    try:
        log = f"{ours.logs}/local/{name}/stdout-{0:020d}.raw"
        stamps = Stamps(plain_lines(log))
        stamps.next()
        init = eventually(lambda: ours.init(name), 10, "PID 1")
        for what, count, gap in plan(run):
            run.block("restart")
            run.add("restart", what, "holdfast", "ms",
                    [t / 1000 for t in kills(stamps, one_child(init), count, gap)],
                    "in place, same sandbox")
    finally:
        subprocess.run([ours.tool, "rm", "-f", name], env=ours.env, check=True,
                       stdout=subprocess.DEVNULL)


def plan(run):
    """What, how often, seconds between start and kill."""
    if run.quick:
        return [("crashing at once", 3, 0), ("after a second of life", 1, UP_USEC / 1e6)]
    return [("crashing at once", 100, 0), ("after a second of life", 12, UP_USEC / 1e6)]


def supervised(run, place, who, stamp, stop):
    """runsv and s6-supervise are asked in the same way: a directory with a program `run`."""
    service = place.folder("run", f"sv-{who}")
    shutil.copy(stamp, f"{service}/run")
    log = place.path("run", f"{who}.out")
    with open(log, "wb") as out:
        p = place.start([who, service], stdout=out)
    stamps = Stamps(plain_lines(log))
    stamps.next()
    for what, count, gap in plan(run):
        run.block("restart")
        run.add("restart", what, who, "ms",
                [t / 1000 for t in kills(stamps, one_child(p.pid), min(count, 12), gap)],
                "no sandbox" if gap else "no sandbox; waits until a second has passed")
    stop(p, service)


def stop_runsv(place):
    def stop(p, service):
        with open(f"{service}/supervise/control", "wb", buffering=0) as f:
            f.write(b"dx")
        p.wait(20)
        place.daemons.remove(p)
    return stop


def stop_s6(place):
    def stop(p, service):
        subprocess.run(["s6-svc", "-dx", service], check=True)
        p.wait(20)
        place.daemons.remove(p)
    return stop


class Docker:
    def __init__(self, place):
        self.place = place
        self.socket = f"unix://{place.path('run', 'docker.sock')}"
        self.root = place.folder("docker")
        # its containerd makes itself a place there; this mount namespace ends with us
        subprocess.run(["mount", "-t", "tmpfs", "bench", "/opt"], check=True)
        place.start(["dockerd", "--data-root", self.root, "--exec-root",
                     place.folder("run", "docker"), "--pidfile", place.path("run", "docker.pid"),
                     "--host", self.socket, "--bridge", "none", "--iptables=false",
                     "--ip6tables=false", "--ip-forward=false", "--storage-driver", "vfs",
                     "--userland-proxy=false", "--exec-opt", "native.cgroupdriver=cgroupfs"])
        self.daemon = place.daemons[-1]
        eventually(lambda: self("version").returncode == 0, 40, "dockerd")

    def __call__(self, *args, **kwargs):
        return subprocess.run(["/usr/bin/docker", "--host", self.socket, *args], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False,
                              env={**os.environ, "HOME": self.place.dir}, **kwargs)

    def ok(self, *args):
        out = self(*args)
        if out.returncode != 0:
            raise RuntimeError(f"docker {args[0]}: {out.stderr}")
        return out.stdout.strip()


def docker(run, place, stamp):
    root = place.folder("docker-image")
    shutil.copy(stamp, f"{root}/stamp")
    tar = place.path("image.tar")
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    d = Docker(place)
    d.ok("import", tar, "bench:1")
    cid = d.ok("run", "-d", "--restart", "always", "--network", "none", "bench:1", "/stamp")
    try:
        stamps = Stamps(json_lines(f"{d.root}/containers/{cid}/{cid}-json.log"))
        stamps.next()

        def service():
            pid = int(d.ok("inspect", "-f", "{{.State.Pid}}", cid) or 0)
            return pid if pid and os.path.exists(f"/proc/{pid}") else None
        # its delay starts anew at 100 ms once a container has run for ten seconds: the first one
        # of each container is what is measured
        times = []
        for _ in range(1 if run.quick else 6):
            run.block("restart")
            times += kills(stamps, service, 1, UP_USEC / 1e6)
            d.ok("stop", "-t", "0", cid)
            d.ok("start", cid)
            stamps.next()
        for what, _, _ in plan(run):
            run.add("restart", what, "docker --restart always", "ms", [t / 1000 for t in times],
                    "its first delay; a new sandbox")
    finally:
        d.ok("rm", "-f", cid)
        place.stop(d.daemon)
        subprocess.run(["umount", "-l", "/opt"], check=True)


def measure(run, place, ours, helpers, stamp):
    holdfast(run, place, ours, stamp)
    if peers.have("runsv"):
        supervised(run, place, "runsv", stamp, stop_runsv(place))
    if peers.have("s6-supervise"):
        supervised(run, place, "s6-supervise", stamp, stop_s6(place))
    if peers.have("dockerd", "docker") and not run.quick:
        docker(run, place, stamp)
    elif run.quick:
        run.notes.append("restart by dockerd is left out with --quick")
