#!/usr/bin/python3
"""Every verb of ipc/verbs.h has its row in ipc/verbs.c, and its receiver handles it: a row of a
table, a case, or a comparison in the receiver's folder. A verb that nobody answers is a hang."""

import re

import lint

# hundreds -> the folder of the receiver
RECEIVER = {1: "init/", 2: "shim/", 3: "init/", 4: "shim/", 5: "init/", 6: "shim/", 7: "cli/"}
# Verbs that no row or case names, and why that is no hang.
EXCUSED = {
    "LAUNCH_RESULT": "launch says two verbs; the keeper asks for the other one",
    "INIT_HANDED": "answers INIT_HAND, which is asked by the tool that adopts (cli/adopt.c)",
    "CLIENT_STATE_IS": "answers CLIENT_STATE; the tool itself reads the journal",
}


def verbs(source):
    """(name, number, line) of enum verb_id."""
    body = re.search(r"enum verb_id \{(.*?)\};", lint.code(source), re.S)
    if not body:
        return
    number = -1
    for line, m in lint.matches(body.group(1), r"\b([A-Z][A-Z_0-9]+)(?:\s*=\s*(\d+))?\s*(?=,|$)"):
        number = int(m.group(2)) if m.group(2) else number + 1
        yield m.group(1), number, source.count("\n", 0, body.start()) + line


def handles(source, name):
    return re.search(rf"[{{\[]\s*{name}\s*[,\]\-]|\bcase {name}\s*:|[=!]= {name}\b|\b{name} [=!]=",
                     source)


def check(root):
    if "ipc/verbs.h" not in lint.files(root, ".h"):
        return []
    rows = lint.code(lint.text(root, "ipc/verbs.c"))
    sources = {p: lint.code(lint.text(root, p))
               for p in lint.files(root, ".c", ".h", under=lint.FOLDERS)}
    findings = []
    for name, number, line in verbs(lint.text(root, "ipc/verbs.h")):
        where = f"ipc/verbs.h:{line}: {name}"
        if len(re.findall(rf"\{{\s*{name}\s*,", rows)) != 1:
            findings.append(f"{where}: must have exactly one row in ipc/verbs.c")
        folder = RECEIVER[number // 100]
        if name not in EXCUSED and not any(handles(s, name) for p, s in sources.items()
                   if p.startswith(folder) and not p.startswith("shim/launch/")):
            findings.append(f"{where}: nothing in {folder} handles it")
    return findings


BAD = {
    "+ipc/verbs.c": "x = {{INIT_START, 1}, {CLIENT_STOP, 1}};\n",
    "+init/a.c": "x = {{INIT_START, start}};\n",
    "+shim/a.c": "void f(void) { send(CLIENT_STOP); }\n",
    "ipc/verbs.h": "enum verb_id {\n\tINIT_START = 100,\n\tCLIENT_STOP = 603,\n};\n",
}
GOOD = {
    "ipc/verbs.h": BAD["ipc/verbs.h"],
    "ipc/verbs.c": BAD["+ipc/verbs.c"],
    "init/a.c": BAD["+init/a.c"],
    "shim/a.c": "switch (v) { case CLIENT_STOP: stop(); }\n",
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
