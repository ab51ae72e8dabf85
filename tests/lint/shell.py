#!/usr/bin/python3
"""Shell scripts pass shellcheck."""

import re
import shutil
import subprocess

import lint


def scripts(root):
    for path in lint.files(root):
        if re.match(r"#! ?/bin/(ba)?sh", lint.text(root, path)[:20]):
            yield path


def check(root):
    if not shutil.which("shellcheck"):
        return ["shellcheck: not installed (apt-get install shellcheck)"]
    paths = list(scripts(root))
    if not paths:
        return []
    out = subprocess.run(["shellcheck", "-f", "gcc", *paths], cwd=root, text=True,
                         stdin=subprocess.DEVNULL, capture_output=True)
    return [line for line in (out.stdout + out.stderr).split("\n") if line]


BAD = {"packaging/a": "#!/bin/sh\nrm -rf $1/*\n"}
GOOD = {"packaging/a": "#!/bin/sh\nset -eu\necho \"$1\"\n"}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
