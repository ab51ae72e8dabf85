#!/usr/bin/python3
"""The driver of tests/bench/run: builds a release, measures section by section, reports, cleans up."""

import argparse
import glob
import os
import platform
import signal
import subprocess
import sys

import beside
import logpump
import memory
import peers
import report
import restart
import start
import state
from measure import Run
from place import HERE, ROOT, Place, private_mounts, read

SECTIONS = {"start": start.measure, "restart": restart.measure, "memory": memory.measure,
            "log": logpump.measure, "state": state.measure, "exec": beside.measure}
GROUPS = ("docker", "default", "bench-", "holdfast")  # what contestants name theirs


class Ours:
    """A release build, with state and logs of its own."""

    def __init__(self, build):
        self.stage = os.path.join(build, "stage")
        self.tool = os.path.join(self.stage, "usr/bin/holdfast")

    def settle(self, place):
        self.state = place.folder("run", "holdfast")
        self.logs = place.folder("logs")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        self.env.update(HOLDFAST_STATE_DIR=self.state, HOLDFAST_LOG_DIR=self.logs)

    def clean(self):
        """Whatever an interrupt has left: through the tool."""
        top = os.path.join(self.state, "local")
        for name in os.listdir(top) if os.path.isdir(top) else ():
            subprocess.run([self.tool, "rm", "-f", name], env=self.env, check=False,
                           stdin=subprocess.DEVNULL, capture_output=True)

    def init(self, name):
        """Host pid of a container's PID 1."""
        for path in glob.glob(f"/sys/fs/cgroup/*/holdfast/local/{name}/cgroup.procs") + \
                glob.glob(f"/sys/fs/cgroup/holdfast/local/{name}/cgroup.procs"):
            for pid in read(path).split():
                for line in read(f"/proc/{pid}/status").split("\n"):
                    if line.startswith("NSpid:") and line.split()[-1] == "1":
                        return int(pid)
        return None


def build(where):
    """A release as `meson setup --buildtype=release` makes it, staged."""
    if not os.path.exists(os.path.join(where, "build.ninja")):
        subprocess.run(["meson", "setup", "--buildtype=release", "-Dman=disabled", where, ROOT],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, "CC": "gcc"})
    subprocess.run(["ninja", "-C", where], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["meson", "install", "-C", where, "--no-rebuild", "--quiet", "--destdir",
                    os.path.join(where, "stage")], check=True)
    return Ours(where)


def about():
    cpu = next((x.partition(":")[2].strip() for x in read("/proc/cpuinfo").split("\n")
                if x.startswith("model name")), platform.machine())
    kinds = "hybrid cgroups" if peers.hybrid() else "cgroup v2"
    versions = [f"{n} {v}" for n in peers.PROGRAMS
                if n not in ("docker", "ctr") and peers.have(n) and (v := peers.debian_version(n))]
    return [f"Linux {platform.release()}, {os.cpu_count()} CPUs ({cpu}), {kinds}. State of every "
            "contestant in memory, logs on disk. Debian's " + ", ".join(versions) + "."]


def measure(run, place, ours, only):
    helpers = os.path.join(os.path.dirname(ours.stage), "tests/bench/helpers")
    stamp = os.path.join(os.path.dirname(ours.stage), "tests/stamp")
    for name in SECTIONS:
        if only and name not in only:
            continue
        run.begin(name)
        extra = () if name == "start" else (stamp,)
        SECTIONS[name](run, place, ours, helpers, *extra)
        run.end(name)


def interrupted(signo, frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", help="where bench.md and bench.svg go; a whole run's: docs, a part's: nowhere")
    parser.add_argument("--only", action="append", choices=SECTIONS, default=[])
    parser.add_argument("--build", default=os.path.join(ROOT, "build-tests", "release"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    private_mounts()
    ours = build(os.path.abspath(args.build))
    run = Run(args.quick)
    run.missing = [n for n in peers.PROGRAMS if not peers.have(n)]
    place, failed = Place(), 0
    ours.settle(place)
    try:
        measure(run, place, ours, args.only)
    except KeyboardInterrupt:
        print("interrupted: cleaning up", file=sys.stderr)
        failed = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ours.clean()
        wrong = place.finish(GROUPS, bool(failed))
    for line in wrong:
        print(f"left behind: {line}", file=sys.stderr)
    if not failed:
        report.show(run)
        whole = not args.quick and not args.only
        out = args.out or (os.path.join(ROOT, "docs") if whole else None)
        if out:
            report.write(run, about(), os.path.abspath(out))
    return failed or bool(wrong)


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    sys.exit(main())
