"""How long a command beside a running service takes that does nothing: by command line from the
command's fork until it is reaped, over the API from the request until the end is told."""

import os
import shutil
import subprocess
import time

import bundle
import peers
from place import eventually
from state import Caller, field

GAP_USEC = {"hot": 0, "cold": 100000}
NAME = "bench-exec"


def make_bundle(place, helpers):
    """A service that stays, and the /bin/true that is run beside it."""
    return bundle.make(place.folder("run", "exec"),
                       {"true": f"{helpers}/nothing", "stay": f"{helpers}/stay"}, ["/bin/stay"])


class Own:
    def __init__(self, ours, where):
        self.ours = ours
        self.tool([ours.tool, "run", "-d", "--name", NAME, "--bundle", where])

    def tool(self, argv):
        subprocess.run(argv, env=self.ours.env, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def argv(self):
        return [self.ours.tool, "exec", NAME, "/bin/true"]

    def stop(self):
        self.tool([self.ours.tool, "rm", "-f", NAME])


class Oci:
    """crun or runc: both keep their service in the foreground of `run`."""

    def __init__(self, place, name, where):
        self.base = [shutil.which(name), "--root", place.folder("run", name)]
        self.wrap, self.place = peers.v1_only if name == "crun" else list, place
        self.short, self.name = name, f"{NAME}-{name}"
        self.process = place.start(self.wrap([*self.base, "run", "-b", where, self.name]))
        eventually(self.running, 10, f"{name} to run its service")

    def running(self):
        out = subprocess.run(self.wrap([*self.base, "state", self.name]), capture_output=True,
                             text=True, check=False, stdin=subprocess.DEVNULL)
        return '"running"' in out.stdout

    def argv(self):
        return [*self.base, "exec", self.name, "/bin/true"]

    def stop(self):
        subprocess.run(self.wrap([*self.base, "kill", self.name, "KILL"]), check=False,
                       capture_output=True, stdin=subprocess.DEVNULL)
        self.process.wait(10)
        self.place.daemons.remove(self.process)
        subprocess.run(self.wrap([*self.base, "delete", "-f", self.name]), check=False,
                       capture_output=True, stdin=subprocess.DEVNULL)


def spawned(ours, helpers, who, argv, count, gap):
    """Wall times in ms."""
    cmd = [f"{helpers}/spawn", str(count), str(gap), *argv]
    if who == "crun exec":
        cmd = peers.v1_only(cmd)
    out = subprocess.run(cmd, env=ours.env, capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL)
    if out.returncode != 0:
        raise RuntimeError(f"{who}: {out.stderr}")
    return [int(line.split()[0]) / 1000 for line in out.stdout.splitlines()]


def called(ours, count, gap):
    """Exec with `wait`, on one connection: from the request until its end is told. ms."""
    caller = Caller(os.path.join(ours.state, "local", NAME, "control"), "holdfast.v1.Supervisor",
                    "Exec", field(1, b"/bin/true") + b"\x50\x01")
    times = []
    for _ in range(count):
        time.sleep(gap / 1e6)
        begin = time.monotonic()
        answer = caller.call()
        times.append((time.monotonic() - begin) * 1000)
        if answer[:2] != b"\x0a\x00":
            raise RuntimeError(f"Exec: {answer!r}")
    caller.sock.close()
    return times


def measure_all(run, place, ours, helpers, rows):
    plan = {"hot": (2, 10), "cold": (1, 3)} if run.quick else {"hot": (10, 50), "cold": (8, 6)}
    for state, (blocks, count) in plan.items():
        wall = {who: [] for who, _ in rows}
        for _ in range(blocks):
            for who, argv in rows:  # in turn: a busy minute of the machine hits everybody
                run.block("exec")
                wall[who] += spawned(ours, helpers, who, argv, count, GAP_USEC[state]) if argv \
                    else called(ours, count, GAP_USEC[state])
                place.reap()
        for who, _ in rows:
            run.add("exec", state, who, "ms", wall[who])


def measure(run, place, ours, helpers, stamp):
    where = make_bundle(place, helpers)
    peers_there = [Oci(place, name, where) for name in ("crun", "runc") if peers.have(name)]
    own = Own(ours, where)
    rows = [("floor: vfork + exec", [f"{helpers}/nothing"]), ("holdfast", own.argv()),
            ("holdfast, over the API", None)]
    rows += [(f"{p.short} exec", p.argv()) for p in peers_there]
    try:
        measure_all(run, place, ours, helpers, rows)
    finally:
        own.stop()
        for peer in peers_there:
            peer.stop()
