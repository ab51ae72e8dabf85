#!/usr/bin/python3
"""Headers have #pragma once as their first line of code; a source file includes its own header
first, so that every header stands on its own; a file says in its first comment what it is for and
stays below 600 lines."""

import os

import lint

LINES_MAX = 600


def first_code_line(source):
    for line in lint.code(source, keep_strings=True).split("\n"):
        if line.strip():
            return line.strip()
    return ""


def own_header(root, path, source):
    own = path[:-2] + ".h"
    if not os.path.exists(os.path.join(root, own)):
        return None
    first = next(lint.includes(source), None)
    if first is None or first[2] != own:
        return f'{path}:{first[0] if first else 1}: include its own "{own}" first'
    return None


def check(root):
    findings = []
    for path in lint.files(root, ".c", ".h", under=lint.FOLDERS + ("tests",)):
        source = lint.text(root, path)
        lines = source.count("\n")
        if lines > LINES_MAX:
            findings.append(f"{path}:{lines}: more than {LINES_MAX} lines: one noun per file")
        if path.endswith(".h"):
            if first_code_line(source) != "#pragma once":
                findings.append(f"{path}:1: #pragma once must come first")
            if not source.startswith("/*"):
                findings.append(f"{path}:1: begin with a comment that says what it is")
        else:
            wrong = own_header(root, path, source)
            if wrong:
                findings.append(wrong)
    return findings


BAD = {
    "ipc/a.h": "/* x */\n#ifndef A_H\n#define A_H\n#endif\n",
    "ipc/b.h": "#pragma once\n",
    "+ipc/c.h": "/* x */\n#pragma once\n",
    "ipc/c.c": '#include <stdio.h>\n\n#include "ipc/c.h"\n',
    "ipc/long.c": "\n" * 601,
}
GOOD = {
    "ipc/c.h": "/* x\n * y */\n#pragma once\n\n#include <stdint.h>\n",
    "ipc/c.c": '/* model */\n#include "ipc/c.h"\n\n#include <stdio.h>\n',
    "ipc/main.c": "#include <stdio.h>\n",
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
