"""What healthy services do: run in a container by the host's Python, it imports nothing of the rig.

    calmload.py load SEED SECONDS MIB HEAP_MIB   in the directory that is its own
    calmload.py spike MIB SECONDS                a heap grows and is dropped
    calmload.py leak MIB                         grows by 256 KiB until there is a file "enough", and stays

The service keeps a heap of HEAP_MIB below its limit of MIB. Two lanes run side by side, each a deck of
loads that is shuffled anew when all of it was run: one of programs (builds, spikes, forks, CPU, output),
one of files (scans, hot files, writes). Each load that was done is a line "KIND COUNT" in the file
"progress", and its amount is what it really moved or made."""

import mmap
import os
import random
import shutil
import subprocess
import sys
import threading
import time

MIB = 1 << 20
OVERHEAD = 26 << 20  # three interpreters, page tables, a shell: what a spike leaves to them
SPIKE = 0.87  # of the limit, with the heap
JOBS = 2
CHUNK = b"x" * MIB

FUNCTION = """
static unsigned f{n}(unsigned *a, unsigned n)
{{
	unsigned s = {k};

	for (unsigned i = 0; i < n; i++)
		switch ((a[i] + s) % {m}) {{
		case 0: s += a[i] * {k}; break;
		case 1: s ^= a[i] << {sh}; break;
		case 2: a[i] = s; break;
		default: s = s / ({k} | 1) + a[(i + {n}) % n];
		}}
	return s;
}}
"""


def touched(size):
    heap = mmap.mmap(-1, size)
    for _ in range(size // MIB):
        heap.write(CHUNK)
    return heap


def spike(mib, seconds):
    """As a garbage collector does: little by little up to the top, some use of it, and all gone."""
    heap = mmap.mmap(-1, int(mib) * MIB)
    for _ in range(int(mib)):
        heap.write(CHUNK)
        time.sleep(float(seconds) / 2 / int(mib))
    end = time.monotonic() + float(seconds) / 2
    while time.monotonic() < end:
        heap.find(b"y", random.randrange(len(heap)))
    heap.close()


def leak(mib):
    left = mmap.mmap(-1, int(mib) * MIB)
    while left.tell() < len(left) and not os.path.exists("enough"):
        left.write(CHUNK[:MIB // 4])
        time.sleep(0.01 if left.tell() < 0.8 * len(left) else 0.05)
    time.sleep(3600)


def again(*verb):
    return [sys.executable, os.path.abspath(__file__), *map(str, verb)]


def source(path, rng, functions):
    with open(path, "w", encoding="utf-8") as f:
        for n in range(functions):
            f.write(FUNCTION.format(n=n, k=rng.randrange(3, 999), m=rng.randrange(4, 9), sh=rng.randrange(1, 30)))
        calls = " + ".join(f"f{n}(a, n)" for n in range(functions))
        f.write(f"unsigned entry(unsigned *a, unsigned n) {{ return {calls}; }}\n")


class Lane(threading.Thread):
    def __init__(self, rng, end, limit, heap):
        super().__init__()
        self.rng, self.end, self.limit, self.heap = rng, end, limit, heap
        self.long = min(1, (end - time.monotonic()) / 300)
        self.error = None

    def some(self, least, most):
        """Seconds, or a count: near the least in a short run."""
        return self.rng.uniform(least, least + (most - least) * self.long)

    def run(self):
        try:
            first = True
            while first or time.monotonic() < self.end:
                self.deck(first)
                first = False
        except Exception as e:
            self.error = e

    def deck(self, whole):
        loads = list(self.LOADS)
        self.rng.shuffle(loads)
        for load in loads:
            if not whole and time.monotonic() >= self.end:
                return
            count = load(self)
            with open("progress", "a", encoding="ascii") as f:
                f.write(f"{load.__name__} {count}\n")
            time.sleep(self.some(0, 3))


class Programs(Lane):
    def build(self):
        """Objects and temporary files in memory or on the disk."""
        top = self.rng.choice(["/tmp/build", "build"])
        os.makedirs(top)
        names = [f"{top}/{n}" for n in range(int(self.some(4, 30)))]
        for name in names:
            source(f"{name}.c", self.rng, self.rng.randrange(20, 120))
        make = f"xargs -P {JOBS} -I + cc -O2 -Wno-all -c +.c -o +.o"
        subprocess.run(make, shell=True, input="\n".join(names), text=True, check=True,
                       env={**os.environ, "TMPDIR": top})
        subprocess.run(["ar", "rcs", f"{top}/all.a", *(f"{n}.o" for n in names)], check=True)
        made = sum(n.endswith(".o") for n in os.listdir(top))
        shutil.rmtree(top)
        return made

    def spikes(self):
        top = int(self.limit * SPIKE) - self.heap - OVERHEAD
        count = int(self.some(2, 8))
        for _ in range(count):
            subprocess.run(again("spike", top // MIB, self.rng.uniform(0.6, 2)), check=True)
            time.sleep(self.rng.uniform(0.1, 1))
        return count

    def forks(self):
        """Far more than a service has, and still below the limit."""
        count = 0
        for _ in range(int(self.some(2, 20))):
            children = [subprocess.Popen(["/bin/sleep", "0.2"]) for _ in range(60)]
            count += sum(c.wait() == 0 for c in children)
        return count

    def cpu(self):
        seconds = self.some(1, 8)
        script = "timeout $0 sh -c 'while :; do :; done' & timeout $0 sh -c 'while :; do :; done' & wait"
        subprocess.run(["/bin/sh", "-c", script, f"{seconds:.2f}"], check=True)
        return int(seconds * 100)

    def output(self):
        """More than the rule allows, and not for long."""
        lines, count = b"x" * 1023 + b"\n", 0
        end = time.monotonic() + self.some(1, 5)
        while time.monotonic() < end:
            count += os.write(1, lines * 512) // 1024
            time.sleep(0.01)
        return count

    def serve(self):
        """Little to do: what files were read stays in memory, and is no leak."""
        end, count = time.monotonic() + self.some(0.5, 30), 0
        while time.monotonic() < end:
            count += len(subprocess.run(["/bin/cat", "/etc/passwd"], check=True, capture_output=True).stdout) > 0
            time.sleep(0.05)
        return count

    LOADS = build, spikes, forks, cpu, output, serve


class Files(Lane):
    def scan(self):
        """Several times what fits."""
        tool = self.rng.choice(["cat scan-? >/dev/null", "grep -c needle scan-? || :", "tar cf - scan-? | wc -c",
                                "for f in scan-?; do dd bs=1M if=$f of=/dev/null 2>&- & done; wait",
                                "ls scan-? | xargs -P 2 -n 1 cksum"])
        for _ in range(int(self.some(1, 4))):
            subprocess.run(tool, shell=True, check=True, stdout=subprocess.DEVNULL)
        return sum(os.path.getsize(n) for n in os.listdir() if n.startswith("scan-")) // MIB

    def hot(self):
        """Files that just fit, used again and again, and still there when nobody uses them any more."""
        fits = self.limit - self.heap - OVERHEAD
        size = int(fits * self.rng.uniform(0.8, 1)) // MIB
        end, count = time.monotonic() + self.some(1.5, 30), 0
        while time.monotonic() < end or count < 3:
            subprocess.run(["/usr/bin/head", "-c", f"{size}M", "scan-0"], check=True, stdout=subprocess.DEVNULL)
            count += 1
            time.sleep(0.1)
        return count

    def write(self):
        mib = int(self.limit * self.rng.uniform(0.3, 1.2)) // MIB
        with open("written", "wb") as f:
            for n in range(mib):
                f.write(CHUNK)
                if n % 64 == 63 and self.rng.random() < 0.3:
                    os.fsync(f.fileno())
        size = os.path.getsize("written")
        os.unlink("written")
        return size // MIB

    def walk(self):
        """Names and small files, as indexers and backups do."""
        return int(subprocess.run("find /usr/lib/python3* /usr/include -type f -print0 | xargs -0 cat | wc -c",
                                  shell=True, check=True, capture_output=True).stdout) // MIB

    LOADS = scan, hot, write, walk


def load(seed, seconds, mib, heap_mib):
    limit, heap = int(mib) * MIB, int(heap_mib) * MIB
    kept = touched(heap)
    end = time.monotonic() + float(seconds)
    lanes = [kind(random.Random(f"{seed} {kind.__name__}"), end, limit, heap) for kind in (Programs, Files)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    errors = "; ".join(repr(lane.error) for lane in lanes if lane.error)
    with open("progress", "a", encoding="ascii") as f:
        f.write(f"failed {errors}\n" if errors else "end 0\n")
    while not os.path.exists("overload"):
        time.sleep(0.05)
    del kept
    os.execv(sys.executable, again("leak", mib))


if __name__ == "__main__":
    {"load": load, "spike": spike, "leak": leak}[sys.argv[1]](*sys.argv[2:])
