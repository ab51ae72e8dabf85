#!/usr/bin/python3
"""Includes point one way: shim -> monitor -> ipc -> ipc/base, shim/launch -> ipc, init -> the
libc-neutral part of ipc, cli -> monitor (figures without a supervisor) -> ipc; and third-party headers stay behind their walls."""

import lint

# folder -> the folders whose headers it may include (its own always)
MAY = {
    "ipc/base": (),
    "ipc": ("ipc/base",),
    "ipc/lib": ("ipc", "ipc/base"),
    "init": (),
    "monitor": ("ipc", "ipc/base"),
    "shim": ("monitor", "ipc", "ipc/base"),
    "shim/launch": ("ipc", "ipc/base"),
    "cli": ("monitor", "ipc/lib", "ipc", "ipc/base"),
    "tests": ("ipc/lib", "ipc", "ipc/base", "init", "monitor", "shim", "shim/launch", "cli"),
}
# What init shares: plain C11 that needs nothing of a libc beyond what musl and glibc have in common,
# and the whole headers without code behind them.
NEUTRAL = {"ipc/channel.h", "ipc/exec_search.h", "ipc/policy.h", "ipc/verbs.h", "ipc/shared.h",
           "ipc/plan.h", "ipc/fds.h", "ipc/status.h", "ipc/exec_plan.h", "ipc/exec_view.h",
           "ipc/let_go.h"}
# Of ipc/base, init may take a header that is nothing but inline functions.
NEUTRAL_BASE = {"ipc/base/clock.h"}
WALLS = {
    "ev.h": ("ipc/base/loop.c", "ipc/base/loop.h"),
    "json-c/": ("shim/launch/", "cli/spec_"),
    "seccomp.h": ("shim/launch/", "tests/unit/test_callset.c"),
    "sys/capability.h": ("shim/launch/",),
    "protobuf-c/": ("ipc/", "shim/serve_", "cli/"),
    "cmocka.h": ("tests/unit/",),
}


def folder(path):
    parts = path.split("/")
    for depth in (2, 1):
        name = "/".join(parts[:depth])
        if name in MAY and len(parts) > depth:
            return name
    return None


def wall(header, path):
    for start, allowed in WALLS.items():
        if header == start or (start.endswith("/") and header.startswith(start)):
            return not path.startswith(allowed)
    return False


def wrong(path, quote, header):
    here, there = folder(path), folder(header)
    if quote == "<":
        return "third-party header outside its wall" if wall(header, path) else None
    if there is None:
        return 'write includes as "folder/file.h"'
    if here is None or here == there:
        return None
    if here == "init" and (header in NEUTRAL or header in NEUTRAL_BASE):
        return None
    if there not in MAY[here]:
        return f"{here} must not include {there}" if here != "init" else \
            "init may include only the libc-neutral headers of ipc"
    return None


def check(root):
    findings = []
    for path in lint.files(root, ".c", ".h", under=lint.FOLDERS + ("tests",)):
        for line, quote, header in lint.includes(lint.text(root, path)):
            why = wrong(path, quote, header)
            if why:
                findings.append(f"{path}:{line}: {header}: {why}")
    return findings


BAD = {
    "ipc/base/a.c": '#include "ipc/record.h"\n',
    "ipc/b.c": '#include "shim/life.h"\n',
    "init/c.c": '#include "ipc/base/file.h"\n',
    "init/d.c": '#include "ipc/history.h"\n',
    "monitor/e.c": '#include "shim/life.h"\n',
    "shim/f.c": '#include "shim/launch/ns.h"\n',
    "shim/launch/g.c": '#include "shim/life.h"\n',
    "cli/h.c": '#include "shim/life.h"\n',
    "cli/i.c": "#include <json-c/json.h>\n",
    "shim/j.c": "#include <seccomp.h>\n",
    "ipc/base/k.c": "#  include <ev.h>\n",
    "shim/l.c": '#include "life.h"\n',
}
GOOD = {
    "ipc/base/loop.c": "#include <ev.h>\n",
    "init/a.c": '#include "init/spawn.h"\n#include "ipc/plan.h"\n',
    "shim/launch/b.c": '#include <seccomp.h>\n#include "ipc/base/file.h"\n',
    "shim/c.c": '#include "monitor/cgfs.h"\n/* #include "cli/no.h" */\n',
    "cli/spec_write.c": "#include <json-c/json.h>\n",
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
