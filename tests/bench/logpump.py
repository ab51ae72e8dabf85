"""The same lines of 80 bytes through each tool's log, in blocks as stdio writes them and one by one:
bytes per second of CPU time that its processes spent, and that every line is there, once, in order."""

import glob
import os
import subprocess
import threading
import time

import bundle
import memory
import peers
from place import eventually, read

LINE = 80
BY_BLOCK, BY_LINE = 51, 1  # lines in a write


class Load:
    """So many lines, so many of them a write."""

    def __init__(self, megabytes, each):
        self.count, self.each = megabytes * 1_000_000 // LINE, each
        self.bytes = self.count * LINE
        self.what = f"{megabytes} MB of 80-byte lines" + (", each a write of its own" if each == 1 else "")
        self.args = ["/bin/lines", "--stay", str(each), str(self.count)]


def cpu_nsec(pids):
    """Of all threads; the scheduler's own nanoseconds."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            total += int((read(path) or "0").split()[0])
    return total


class Keep(threading.Thread):
    """Keeps every segment by a second name: rotation takes away the first."""

    def __init__(self, log_dir, where):
        super().__init__(daemon=True)
        self.log_dir, self.where, self.over = log_dir, where, False

    def sweep(self):
        for path in glob.glob(f"{self.log_dir}/stdout-*.raw"):
            kept = os.path.join(self.where, os.path.basename(path))
            if not os.path.exists(kept):
                try:
                    os.link(path, kept)
                except FileNotFoundError:
                    pass

    def run(self):
        while not self.over:
            self.sweep()
            time.sleep(0.01)
        self.sweep()

    def size(self):
        return sum(os.path.getsize(p) for p in glob.glob(f"{self.where}/*"))


def check(helpers, paths, count, mode):
    """Every line, once, in order; raises otherwise."""
    cat = subprocess.Popen(["cat", *paths], stdout=subprocess.PIPE)
    out = subprocess.run([f"{helpers}/lines", mode, str(count)], stdin=cat.stdout, text=True,
                         capture_output=True, check=False)
    cat.stdout.close()
    cat.wait()
    if out.returncode != 0:
        raise RuntimeError(f"log is not what was written: {out.stderr}")


def result(run, who, load, nsec, note):
    run.add("log", load.what, who, "MB per CPU second", [load.bytes / 1e6 / (nsec / 1e9)], note)


def make_bundle(place, helpers, name, load):
    return bundle.make(place.folder("run", f"{name}-{load.each}"), {"lines": f"{helpers}/lines"}, load.args)


def holdfast(run, place, ours, helpers, load):
    name = "bench-log"
    log_dir = f"{ours.logs}/local/{name}"
    keep = Keep(log_dir, place.folder("kept"))
    b = make_bundle(place, helpers, "log-holdfast", load)
    keep.start()
    subprocess.run([ours.tool, "run", "-d", "--name", name, "--bundle", b], env=ours.env,
                   check=True, stdout=subprocess.DEVNULL)
    try:
        pids = memory.by_cmdline(lambda a: a[0] in ("holdfast-keeper", "holdfast-shim") and
                                 a[1] == name)
        pids.append(eventually(lambda: ours.init(name), 10, "PID 1"))
        eventually(lambda: keep.size() >= load.bytes, 300, "all output in the log")
        nsec = cpu_nsec(pids)
        keep.over = True
        keep.join()
        check(helpers, sorted(glob.glob(f"{keep.where}/*")), load.count, "--check")
        result(run, "holdfast", load, nsec, "raw segments and an index; shim, keeper, init")
    finally:
        keep.over = True
        subprocess.run([ours.tool, "rm", "-f", name], env=ours.env, check=True,
                       stdout=subprocess.DEVNULL)
        for path in glob.glob(f"{keep.where}/*"):
            os.unlink(path)


def conmon(run, place, helpers, load):
    name = "bench-log"
    b = make_bundle(place, helpers, "log-conmon", load)
    log = place.path(f"{name}.log")
    memory.start_conmon(place, name, b)
    try:
        pids = memory.by_cmdline(lambda a: os.path.basename(a[0]) == "conmon" and name in a)
        eventually(lambda: settled(log, load.bytes), 300, "all output in conmon's log")
        nsec = cpu_nsec(pids)
        check(helpers, [log], load.count, "--check-k8s")
        result(run, "conmon", load, nsec, "k8s-file: a time before each line")
    finally:
        memory.stop_conmon(place, name)
        os.unlink(log)


def settled(path, least):
    """Nothing more comes: at least that many bytes, and no more of them for a while."""
    try:
        before = os.path.getsize(path)
        if before < least:
            return False
        time.sleep(0.2)
        return os.path.getsize(path) == before
    except OSError:
        return False


def containerd(run, place, ours, helpers, stamp, load):
    name = "bench-log"
    c = memory.Containerd(place, ours, stamp)
    root = make_bundle(place, helpers, "log-containerd", load) + "/rootfs"
    log = place.path("containerd-shim.out")
    c.prepare([])
    try:
        out = c.ctr("run", "-d", "--log-uri", f"file://{log}", "--rootfs", root, name,
                    *load.args)
        if out.returncode != 0:
            raise RuntimeError(f"ctr run: {out.stderr}")
        pids = memory.by_cmdline(lambda a: a[0].endswith("containerd-shim-runc-v2") and "-id" in a)
        eventually(lambda: settled(log, load.bytes), 300, "all output in the shim's log")
        nsec = cpu_nsec(pids)
        check(helpers, [log], load.count, "--check")
        result(run, "containerd-shim-runc-v2", load, nsec, "file://: bytes as they come")
    finally:
        c.ctr("task", "rm", "--force", name)
        c.ctr("container", "rm", name)
        place.stop(c.daemon)
        if os.path.exists(log):
            os.unlink(log)


def measure(run, place, ours, helpers, stamp):
    loads = [Load(20, BY_BLOCK), Load(4, BY_LINE)] if run.quick else \
        [Load(500, BY_BLOCK), Load(40, BY_LINE)] * 2
    for load in loads:
        run.block("log")
        holdfast(run, place, ours, helpers, load)
        if peers.have("conmon", "runc"):
            run.block("log")
            conmon(run, place, helpers, load)
        if peers.have("containerd", "ctr", "containerd-shim-runc-v2"):
            run.block("log")
            containerd(run, place, ours, helpers, stamp, load)
        place.reap()
    run.merge("log")
