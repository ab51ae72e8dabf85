#!/usr/bin/python3
"""Zero-drop restart, side by side: one small HTTP server under 2,000 requests a second, each on a
new connection, is killed again and again under each supervisor. What is counted is what its clients
see. Run as root:

    tests/bench/zero_drop.py [--kills N] [--seconds N]

Two ways of dying: at once, some 50 ms after the server is back, and after a life of one to three
seconds, since runsv and s6 start at once only what has lived for a second. Ours is killed --kills
times (200) at once; every other measurement has --seconds (20), and as many kills as fit. A peer that
is not installed is named and left out. Everything runs in a mount namespace of its own, with
data of its own; what a peer leaves behind in cgroups is removed. Fails if a connection to ours was
refused, or a request failed that was not in flight at a kill."""

import argparse
import contextlib
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import load  # noqa: E402


def eventually(condition, limit, what):
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit} s: {what}")
        time.sleep(0.01)
    return value


def build(where):
    """Ours, staged, and the two programs of the test."""
    env = {**os.environ, "CC": "gcc"}
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    if not os.path.exists(f"{where}/build.ninja"):
        subprocess.run(["meson", "setup", "-Dman=disabled", where, ROOT],
                       env=env, **quiet)
    subprocess.run(["ninja", "-C", where], **quiet)
    subprocess.run(["meson", "install", "-C", where, "--no-rebuild", "--quiet", "--destdir",
                    f"{where}/stage"], **quiet)
    return f"{where}/stage/usr/bin/holdfast", f"{where}/tests/httpd", f"{where}/tests/httpload"


class Holdfast:
    name = "holdfast run --listen"

    def __init__(self, tool, httpd, place):
        self.tool, self.httpd = tool, httpd
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        self.env.update(HOLDFAST_STATE_DIR=f"{place}/state", HOLDFAST_LOG_DIR=f"{place}/logs")

    def start(self, port):
        subprocess.run([self.tool, "run", "-d", "--name", "zero-drop", "--listen",
                        f"127.0.0.1:{port}", "--notify", "--restart", "always", "--",
                        self.httpd, str(port)], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([self.tool, "rm", "-f", "zero-drop"], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)


class Supervised:
    """runsv and s6-supervise: a directory with a program `run`."""

    def __init__(self, name, httpd, place):
        self.name, self.httpd, self.dir = name, httpd, f"{place}/sv-{name}"

    def start(self, port):
        os.makedirs(self.dir)
        with open(f"{self.dir}/run", "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\nexec {self.httpd} {port}\n")
        os.chmod(f"{self.dir}/run", 0o755)
        self.process = subprocess.Popen([self.name, self.dir], stdin=subprocess.DEVNULL)

    def stop(self):
        if self.name == "runsv":
            with open(f"{self.dir}/supervise/control", "wb", buffering=0) as f:
                f.write(b"dx")
        else:
            subprocess.run(["s6-svc", "-dx", self.dir], check=True)
        self.process.wait(20)


class Docker:
    name = "docker run --restart always --network host"

    def __init__(self, httpd, place):
        self.httpd, self.place = httpd, place
        self.host = f"unix://{place}/docker.sock"

    def docker(self, *args, check=True):
        return subprocess.run(["docker", "--host", self.host, *args], check=check, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "HOME": self.place}).stdout.strip()

    def start(self, port):
        log = open(f"{self.place}/dockerd.log", "wb")
        self.daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{self.place}/docker", "--exec-root",
             f"{self.place}/docker-exec", "--pidfile", f"{self.place}/docker.pid", "--host",
             self.host, "--bridge", "none", "--iptables=false", "--ip6tables=false",
             "--ip-forward=false", "--storage-driver", "vfs", "--userland-proxy=false",
             "--exec-opt", "native.cgroupdriver=cgroupfs"], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log)
        log.close()
        eventually(lambda: self.docker("version", "-f", "{{.Server.Version}}", check=False), 60,
                   "dockerd")
        image = f"{self.place}/image"
        os.makedirs(image)
        shutil.copy(self.httpd, f"{image}/httpd")
        subprocess.run(["tar", "-C", image, "-cf", f"{self.place}/image.tar", "."], check=True)
        self.docker("import", f"{self.place}/image.tar", "zero-drop:1")
        self.container = self.docker("run", "-d", "--restart", "always", "--network", "host",
                                     "zero-drop:1", "/httpd", str(port))

    def stop(self):
        with contextlib.suppress(AttributeError):
            self.docker("rm", "-f", self.container, check=False)
        self.daemon.terminate()
        self.daemon.wait(30)
        for path in sorted(glob.glob("/sys/fs/cgroup/**/docker", recursive=True), reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)


LIVES = [("at once", 0.05), ("after 1-3 s", 2.0)]


def measure(who, httpload, kills, budget):
    """(what, Load, times of the kills) for each way of dying."""
    port = load.free_port()
    who.start(port)
    try:
        eventually(lambda: load.answers(port), 30, f"an answer under {who.name}")
        for what, gap in LIVES:
            all_of_them = kills and what == "at once"
            run = load.Load(httpload, port)
            times = load.kill_often(port, kills if all_of_them else 10**6, gap=gap,
                                    budget=None if all_of_them else budget)
            # the last restart is part of it: what comes meanwhile counts, too
            eventually(lambda: load.answers(port), 90, f"an answer under {who.name}")
            yield what, run.end(), times
    finally:
        who.stop()


def show(who, what, run, times):
    c = run.count
    print(f"{who.name:44} {what:12} {len(times):6} {run.total:9} {c['refused']:9} {c['reset']:6} "
          f"{c['timeout'] + c['other']:6} {c['p50'] / 1000:8.1f} {c['p99'] / 1000:8.1f} "
          f"{c['max'] / 1000:8.1f}", flush=True)


def ours_is_wrong(run, times):
    stray = [f for f in run.failures if not load.in_flight_at_a_kill(f, times)]
    for failure in stray[:5]:
        print(f"zero_drop: not in flight at a kill: {failure}", file=sys.stderr)
    return bool(stray) or run.count["refused"] > 0


def contestants(tool, httpd, place):
    yield Holdfast(tool, httpd, place), None
    for name, programs, make in (
            ("runsv", ["runsv"], lambda: Supervised("runsv", httpd, place)),
            ("s6-supervise", ["s6-supervise", "s6-svc"],
             lambda: Supervised("s6-supervise", httpd, place)),
            ("docker", ["dockerd", "docker"], lambda: Docker(httpd, place))):
        missing = [p for p in programs if not shutil.which(p)]
        if missing:
            print(f"{name}: not installed ({', '.join(missing)}), left out")
        else:
            yield make(), name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("zero_drop: must run as root: it makes namespaces and cgroups")
    if os.environ.get("ZERO_DROP_PRIVATE") != str(os.getpid()):
        os.environ["ZERO_DROP_PRIVATE"] = str(os.getpid())
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                              "-B", *sys.argv])
    tool, httpd, httpload = build(os.environ.get("HOLDFAST_BENCH_BUILD", f"{ROOT}/build-bench"))
    place = tempfile.mkdtemp(prefix="holdfast-zero-drop-", dir="/var/tmp")
    os.chmod(place, 0o755)
    # sockets that a peer keeps at fixed places vanish with this namespace
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"], check=True)
    shutil.copy(httpd, f"{place}/httpd")
    wrong = False
    try:
        print(f"{'supervisor':44} {'dies':12} {'kills':>6} {'requests':>9} {'refused':>9} {'reset':>6} "
              f"{'other':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}", flush=True)
        for who, peer in contestants(tool, f"{place}/httpd", place):
            for what, run, times in measure(who, httpload, 0 if peer else args.kills,
                                            args.seconds):
                show(who, what, run, times)
                wrong = wrong or (not peer and ours_is_wrong(run, times))
    finally:
        subprocess.run(["umount", "-l", f"{place}/docker"], check=False,
                       stderr=subprocess.DEVNULL)
        shutil.rmtree(place, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
