"""What every lint shares: the tree's files, C without comments and strings, and main().

A lint is a function check(root) -> list of findings ("path:line: what is wrong"), with a BAD tree (a
dict path -> text) in which every file must be found, and a GOOD one in which nothing may be. Run it
without arguments for the findings, with --self-test to see that it can fail."""

import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("ipc", "init", "shim", "monitor", "cli")


def files(root, *suffixes, under=None):
    """Relative paths below root, sorted; build directories and git's own left out."""
    found = []
    for here, dirs, names in os.walk(root):
        dirs[:] = [d for d in dirs if d not in (".git", "__pycache__", ".pytest_cache")
                   and not d.startswith("build")]
        for name in names:
            path = os.path.relpath(os.path.join(here, name), root)
            if suffixes and not path.endswith(suffixes):
                continue
            if under is None or path.split(os.sep)[0] in under:
                found.append(path)
    return sorted(found)


def text(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as f:
        return f.read()


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(source, keep_strings=False):
    """C with comments (and strings' insides) blanked, every line where it was."""
    def blank(m):
        t = m.group()
        if t[0] in "\"'":
            return t if keep_strings else t[0] + " " * (len(t) - 2) + t[0]
        return re.sub(r"[^\n]", " ", t)
    return TOKEN.sub(blank, source)


def matches(source, pattern):
    """(line number, match) of every match."""
    for m in re.finditer(pattern, source, re.M):
        yield source.count("\n", 0, m.start()) + 1, m


INCLUDE = r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]'


def includes(source):
    for line, m in matches(code(source, keep_strings=True), INCLUDE):
        yield line, m.group(1), m.group(2)


def write_tree(root, tree):
    for path, content in tree.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(content)


def self_test(check, bad, good):
    """Every file of bad alone gives a finding that names it; good gives none."""
    wrong = []
    for path in (p for p in bad if not p.startswith("+")):
        with tempfile.TemporaryDirectory() as root:
            support = {p[1:]: t for p, t in bad.items() if p.startswith("+")}
            write_tree(root, {**support, path: bad[path]})
            if not any(path in finding for finding in check(root)):
                wrong.append(f"self-test: nothing was found in {path}")
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, good)
        wrong += [f"self-test: good code was refused: {f}" for f in check(root)]
    return wrong


def main(check, bad, good):
    findings = self_test(check, bad, good) if "--self-test" in sys.argv[1:] else check(ROOT)
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)
