#!/usr/bin/python3
"""C files are as .clang-format (version 14) says."""

import os
import shutil
import subprocess

import lint

STYLE = lint.text(lint.ROOT, ".clang-format")


def check(root):
    program = shutil.which("clang-format-14")
    if not program:
        return ["clang-format-14: not installed (apt-get install clang-format-14)"]
    paths = lint.files(root, ".c", ".h", under=lint.FOLDERS + ("tests",))
    if not paths:
        return []
    style = "file:" + os.path.join(lint.ROOT, ".clang-format")
    out = subprocess.run([program, "--dry-run", "--style=" + style, *paths], cwd=root, text=True,
                         stdin=subprocess.DEVNULL, capture_output=True)
    findings = [line for line in out.stderr.split("\n") if "warning:" in line or "error:" in line]
    if out.returncode != 0 and not findings:
        findings.append("clang-format-14: " + out.stderr)
    return findings


BAD = {"shim/a.c": "int  main( void )\n{\n    return 0;\n}\n"}
GOOD = {"shim/a.c": "int main(void)\n{\n\treturn 0;\n}\n"}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
