#!/usr/bin/python3
"""The tree says how things are. No unfinished business, no numbers of a tracker, no paths of one
developer's machine."""

import lint

# A word is spelled with a class in it so that this file does not find itself.
WORDS = (
    (r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K]|WI[P])\b", "finish it or leave it out"),
    (r"(?i)\b(issue|ticket|milestone)s?\s*(#\s*)?\d", "a tracker's number means nothing here"),
    (r"(?i)\bas (requested|instructed|asked)\b", "say how it is, not who wanted it"),
    (r"(?<![\w$.}])/(work|home/\w+|root/\w+|tmp/scratc[h])/", "a path of one machine"),
    (r"(?i)\b(chat\W?bo[t]|language mode[l]|a[i] assistan[t]|coordinato[r]|my brie[f])\b",
     "speak of the project alone"),
)
SUFFIXES = (".c", ".h", ".py", ".md", ".sh", ".build", ".txt", ".scd", "/run", "/list",
            "/quickstart", ".yml")


def check(root):
    findings = []
    for path in lint.files(root, *SUFFIXES):
        source = lint.text(root, path)
        for pattern, why in WORDS:
            for line, m in lint.matches(source, pattern):
                findings.append(f"{path}:{line}: \"{m.group().strip()}\": {why}")
    return findings


BAD = {
    "shim/a.c": "/* TO" "DO: later */\n",
    "docs/b.md": "as described in issue " "#12\n",
    "init/c.c": "/* see /wo" "rk/main/notes.txt */\n",
    "README.md": "as reque" "sted\n",
}
GOOD = {
    "shim/a.c": "/* mkstemp(\"nameXXXXXX\"); overlay: workdir=%s/work */\n",
    "docs/b.md": "An exit issues one event. Files: /var/log/holdfast/local/web/\n",
}

if __name__ == "__main__":
    lint.main(check, BAD, GOOD)
