"""How long a container takes that does nothing: from the command's fork until it is reaped."""

import subprocess

import bundle
import peers

GAP_USEC = {"hot": 0, "cold": 100000}


def contestants(place, ours, helpers):
    b = bundle.make(place.folder("run", "start"), {"true": f"{helpers}/nothing"}, ["/bin/true"])
    tool = [ours.tool, "run", "--rm", "--bundle", b]
    rows = [
        ("floor: vfork + exec", [f"{helpers}/nothing"], "no container"),
        ("floor: clone3 + exec", ["--new", f"{helpers}/nothing"], "new namespaces, nothing else"),
        ("holdfast", tool, "supervised by keeper and shim"),
        ("holdfast --init none", [*tool[:3], "--init", "none", *tool[3:]], "supervised"),
        ("crun", ["/usr/bin/crun", "--root", place.folder("run", "crun"), "run", "-b", b,
                  "bench-crun"], "unsupervised"),
        ("runc", ["/usr/sbin/runc", "--root", place.folder("run", "runc"), "run", "-b", b,
                  "bench-runc"], "unsupervised"),
        ("bwrap", ["/usr/bin/bwrap", "--unshare-all", "--bind", f"{b}/rootfs", "/", "--proc",
                   "/proc", "--dev", "/dev", "/bin/true"], "no limits, no filter, no cgroup"),
    ]
    return [r for r in rows if r[0].split()[0].rstrip(":") in ("floor", "holdfast")
            or peers.have(r[0])]


def sample(place, ours, helpers, who, argv, count, gap):
    """(wall, cpu) in usec of each."""
    new = argv[:1] == ["--new"]
    cmd = [f"{helpers}/spawn", *argv[:new], str(count), str(gap), *argv[new:]]
    if who == "crun":
        cmd = peers.v1_only(cmd)
    out = subprocess.run(cmd, env=ours.env, capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL)
    if out.returncode != 0:
        raise RuntimeError(f"{who}: {out.stderr}")
    place.reap()
    return [tuple(map(int, line.split())) for line in out.stdout.splitlines()]


def measure(run, place, ours, helpers):
    plan = {"hot": (2, 5), "cold": (1, 3)} if run.quick else {"hot": (10, 12), "cold": (8, 5)}
    rows = contestants(place, ours, helpers)
    for state, (blocks, count) in plan.items():
        wall = {who: [] for who, _, _ in rows}
        for _ in range(blocks):
            for who, argv, _ in rows:  # in turn: a busy minute of the machine hits everybody
                run.block("start")
                got = sample(place, ours, helpers, who, argv, count, GAP_USEC[state])
                wall[who] += [w / 1000 for w, _ in got]
        for who, _, note in rows:
            run.add("start", state, who, "ms", wall[who], note)
