#!/usr/bin/python3
"""Only the listed files end a process. In init/ that is main.c, and the child's path of spawn.c
(between fork and exec there is nothing but _exit); elsewhere the files with a main() or a child."""

import lint

CALL = r"(?<![\w.>])(_exit|exit|_Exit|quick_exit|abort|err|errx|exit_group|__builtin_trap)\s*\("
# file -> the calls that may stand in it, and why
ALLOWED = {
    "init/main.c": {"exit", "_exit"},  # one place where PID 1 and the keeper end
    "init/spawn.c": {"_exit"},  # the service's child, before exec
    "init/brood.c": {"_exit"},  # the keeper's children, before exec
}


def allowed(path):
    if path in ALLOWED:
        return ALLOWED[path]
    return set() if path.startswith("init/") else EVERYWHERE.get(path, set())


# Outside init: a child between fork and exec may only _exit; everything else returns.
EVERYWHERE = {
    "cli/exec_run.c": {"_exit"},  # the child that holds a terminal after its client has left
    "cli/keeper_start.c": {"_exit"},  # the keeper's child, before exec
    "cli/probe.c": {"_exit"},  # a child that tries something out
    "cli/probe_ns.c": {"_exit"},  # the same, for namespaces
    "ipc/let_go.c": {"_exit"},  # the child whose end closes what it has a copy of
    "shim/dump.c": {"_exit"},  # the child that becomes the dump's hook, before exec
    "shim/launch/beside.c": {"_exit"},  # an exec without init, before it is the command
    "shim/exec_alone.c": {"_exit"},  # the child that becomes launch, before exec
    "shim/launch/blob.c": {"abort"},  # the reader's child only: its parent reports the signal
    "shim/launch/born.c": {"_exit"},  # what becomes PID 1, before exec
    "shim/launch/enter.c": {"_exit"},  # the same child, inside its namespaces
    "shim/launch/service.c": {"_exit"},  # the same child as --init none's service, before exec
    "shim/launch/reader.c": {"_exit"},  # the child that parses config.json
    "shim/takeover.c": {"_exit"},  # the next keeper's child; and the end of a shim that handed over
}


def check(root):
    findings = []
    for path in lint.files(root, ".c", ".h", under=lint.FOLDERS):
        for line, m in lint.matches(lint.code(lint.text(root, path)), CALL):
            if m.group(1) not in allowed(path):
                findings.append(f"{path}:{line}: {m.group(1)}(): only the files listed in "
                                "tests/lint/exits.py end a process; return a fault instead")
    return findings


BAD = {
    "init/reap.c": "void f(void)\n{\n\t_exit(1);\n}\n",
    "init/spawn.c": "void f(void)\n{\n\texit(1);\n}\n",
    "shim/store.c": "void f(void)\n{\n\texit(1);\n}\n",
    "ipc/base/file.c": "void f(void)\n{\n\tabort();\n}\n",
}
GOOD = {
    "init/main.c": "int main(void)\n{\n\t_exit(0);\n}\n",
    "shim/a.c": '/* exit(1) */\nconst char *s = "exit(1)";\nint on_exit_(int x);\nint y = f->exit(1);\n',
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
