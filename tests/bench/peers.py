"""Who is measured, and how each is asked to run a bundle."""

import os
import shutil
import subprocess

PROGRAMS = ["crun", "runc", "bwrap", "runsv", "s6-supervise", "dockerd", "docker", "containerd",
            "ctr", "containerd-shim-runc-v2", "conmon", "tini", "catatonit"]


def have(*names):
    return all(shutil.which(n) for n in names)


def version(name):
    args = {"docker": ["--version"], "tini": ["--version"], "bwrap": ["--version"],
            "containerd-shim-runc-v2": ["-v"], "ctr": ["--version"]}.get(name, ["--version"])
    try:
        out = subprocess.run([name, *args], capture_output=True, text=True, timeout=10,
                             stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = (out.stdout or out.stderr).split("\n")[0].split()
    return next((w.rstrip(",") for w in words if w[:1].isdigit() or w[:1] == "v" and
                 w[1:2].isdigit()), "")


def debian_version(program):
    owner = subprocess.run(["dpkg", "-S", os.path.realpath(shutil.which(program))], text=True,
                           capture_output=True, check=False).stdout.split(":")[0]
    return subprocess.run(["dpkg-query", "-W", "-f=${Version}", owner], capture_output=True,
                          text=True, check=False).stdout if owner else ""


def hybrid():
    return os.path.isdir("/sys/fs/cgroup/unified")


def v1_only(argv):
    """crun refuses a host with both kinds of cgroups: it gets a view with one of them."""
    if not hybrid():
        return argv
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            'umount /sys/fs/cgroup/unified && exec "$@"', "sh", *argv]
