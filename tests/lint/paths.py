#!/usr/bin/python3
"""In the program that builds sandboxes, system calls that take a path as a string stand only in the
listed files: a path that goes through the container's rootfs is a way out of it unless it is
resolved beneath an open root (openat2). Audit by primitive, not by incident."""

import lint

CALL = (r"(?<![\w.>])(open|creat|fopen|mount|umount2?|mkdir|mknod|mkfifo|chown|lchown|chmod|symlink"
        r"|link|unlink|rmdir|rename|chdir|chroot|access|realpath|readlink|stat|lstat|truncate|opendir"
        r"|openat|mkdirat|mknodat|fchownat|fchmodat|symlinkat|linkat|unlinkat|renameat2?|faccessat"
        r"|readlinkat|fstatat|execv[pe]*|execl[pe]*)\s*\(")
# file -> the calls it may make, with the reason why that is safe
ALLOWED = {
    "shim/launch/path.c": None,  # the only resolver beneath the rootfs; everything else asks it
    "shim/launch/copies.c": {"open", "openat", "faccessat"},  # the state directory and a tmpfs of ours
    "shim/launch/beside.c": {"open", "stat"},  # cgroupfs and /proc, before it enters the container
    # /proc of a process of ours, before anything of the image; the door, in the state directory
    "shim/launch/born.c": {"open", "unlinkat"},
    "shim/launch/enter.c": {"openat"},  # "ptmx" in the devpts that we have just mounted
    "shim/launch/groups.c": {"open", "openat", "mkdirat", "unlinkat"},  # cgroupfs only
    "shim/launch/limits.c": {"faccessat"},  # cgroupfs only
    "shim/launch/inside.c": {"open", "umount2", "chdir"},  # "." and "/" around pivot_root
    # our own tmpfs for upper and /dev before anybody else can see it; the host's paths (volumes'
    # sources, /dev/null) with the user's rights to name them
    "shim/launch/layers.c": {"open", "stat", "mkdirat", "fchownat", "openat", "mknodat", "fchmodat",
                             "symlinkat"},
    "shim/launch/places.c": {"readlinkat"},  # our own descriptor's name in our own procfs
    "shim/launch/probes.c": {"open"},  # "/" once it is the container's, O_PATH
    # the host's LSMs; config.json in the state directory; that directory's own name
    "shim/launch/reader.c": {"access", "openat", "readlink"},
    "shim/launch/service.c": {"chdir"},  # inside the finished root, as the service
}


def check(root):
    findings = []
    for path in lint.files(root, ".c", ".h", under=("shim",)):
        if not path.startswith("shim/launch/"):
            continue
        may = ALLOWED.get(path, ())
        if may is None:
            continue
        for line, m in lint.matches(lint.code(lint.text(root, path)), CALL):
            if m.group(1) not in may:
                findings.append(f"{path}:{line}: {m.group(1)}(): resolve it through "
                                "shim/launch/path.h, or list it with its reason in "
                                "tests/lint/paths.py")
    return findings


BAD = {
    "shim/launch/dev.c": 'void f(void)\n{\n\tmknod("/dev/null", 0, 0);\n}\n',
    "shim/launch/mounts.c": 'void f(void)\n{\n\tmount("a", "b", 0, 0, 0);\n}\n',
}
GOOD = {
    "shim/launch/path.c": 'int f(void)\n{\n\treturn openat(1, "x", 0);\n}\n',
    "shim/launch/x.c": "/* open(it) */ int f(int x)\n{\n\treturn path_open(x) + reopen(x);\n}\n",
    "shim/store.c": 'int f(void)\n{\n\treturn open("x", 0);\n}\n',
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
