#!/usr/bin/python3
"""Man pages say how things are: each is installed, refers to pages that exist, and names the files,
variables, exit statuses and signals of the code, all of them and no others. The tests that README
and docs name as proof exist.

Options are compared with what the built tool says: `tests/lint/manual.py --tool build/cli/holdfast`
(tests/run does so with the installed one, in test_manual.py)."""

import os
import re
import subprocess
import sys

import lint

sys.path.insert(0, os.path.join(lint.ROOT, "tests"))
import manpage  # noqa: E402

LITERAL = re.compile(r'"((?:\\.|[^"\\\n])*)"')
STATUSES = {  # page -> where its exit statuses from 64 on are numbers
    "holdfast-run.1": ("cli/command.h",),
    "holdfast-shim.8": ("shim/main.c",),
    "holdfast-launch.8": ("shim/launch/main.c",),
    "holdfast-keeper.8": ("init/keeper.c", "init/launches.c"),
    "holdfast-init.8": ("init/alone.c", "init/exec.c", "init/pid1.c"),
}
SIGNALS = {  # page -> where the signals of its SIGNALS are listed
    "holdfast-run.1": ("cli/attach.c", r"passed_on\[\] = \{(.*?)\};"),
    "holdfast-shim.8": ("shim/main.c", r"block_signals\(void\)\n\{(.*?)sigprocmask"),
}


def literals(root):
    """Every string of the programs, quotes off."""
    found = set()
    for path in lint.files(root, ".c", ".h", under=lint.FOLDERS):
        found |= set(LITERAL.findall(lint.code(lint.text(root, path), keep_strings=True)))
    return found


def pages(root):
    """("holdfast.1", text) of every page."""
    for path in lint.files(root, ".scd", under=("docs",)):
        yield os.path.basename(path)[:-4], lint.text(root, path)


def installed(root, found):
    """Name and first line of each, and that meson knows it."""
    try:
        build = lint.text(root, "docs/meson.build")
    except FileNotFoundError:
        build = ""
    for name, text in found:
        title = "{}({})".format(*name.rsplit(".", 1))
        if text.split("\n", 1)[0] != title:
            yield f"docs/{name}.scd: begins with another title than \"{title}\""
        if f"'{name}'" not in build:
            yield f"docs/{name}.scd: not installed (add it to docs/meson.build)"


def references(found):
    titles = {"{}({})".format(*name.rsplit(".", 1)) for name, _ in found}
    for name, text in found:
        for page, section in re.findall(r"\*(holdfast[a-z-]*)\*\((\d)\)", text):
            if f"{page}({section})" not in titles:
                yield f"docs/{name}.scd: refers to {page}({section}), which is no page"


def variables(found, strings):
    described = {t: name for name, text in found
                 for t in manpage.terms(manpage.sections(text).get("ENVIRONMENT", ""))}
    used = {m for s in strings for m in re.findall(r"^HOLDFAST_[A-Z_]*[A-Z]\b", s)}
    for v in sorted(used - set(described)):
        yield f"docs: {v}: the programs know it, no page's ENVIRONMENT does"
    for v, name in described.items():
        if v not in used:
            yield f"docs/{name}.scd: ENVIRONMENT: {v}: no program knows it"


def file_known(path, strings):
    """The part before a placeholder in capitals, and its last words, are strings of the code."""
    if path.startswith("/"):
        return any(s.startswith("/") and s.count("/") > 1 and path.startswith(s) for s in strings)
    words = [w for w in re.split(r"[-.]?\b[A-Z]+\b[-.]?", path.strip("/").split("/")[-1]) if w]
    return all(any(s == w or s.endswith("/" + w) for s in strings) for w in words)


def files_named(found, strings):
    for name, text in found:
        for path in manpage.terms(manpage.sections(text).get("FILES", "")):
            if not file_known(path, strings):
                yield f"docs/{name}.scd: FILES: {path}: no program has a file of that name"


def numbers(root, paths):
    text = "".join(lint.code(lint.text(root, p)) for p in paths
                   if os.path.exists(os.path.join(root, p)))
    return {int(n) for n in re.findall(r"(?<![\w.])(64|12[5-7])(?![\w.])", text)}


def statuses(root, found):
    for name, text in found:
        if name not in STATUSES:
            continue
        said = {int(t) for t in manpage.terms(manpage.sections(text).get("EXIT STATUS", ""))
                if t.isdigit() and int(t) >= 64}
        real = numbers(root, STATUSES[name])
        for n in sorted(said ^ real):
            yield (f"docs/{name}.scd: EXIT STATUS: {n}: " +
                   (f"not in {', '.join(STATUSES[name])}" if n in said else
                    f"missing; {', '.join(STATUSES[name])} has it"))


def signals(root, found):
    for name, text in found:
        if name not in SIGNALS:
            continue
        path, pattern = SIGNALS[name]
        m = os.path.exists(os.path.join(root, path)) and \
            re.search(pattern, lint.code(lint.text(root, path)), re.S)
        listed = set(re.findall(r"\bSIG([A-Z]+[12]?)\b", m.group(1))) if m else set()
        said = manpage.plain(manpage.sections(text).get("SIGNALS", ""))
        for s in sorted(listed):
            if not re.search(rf"\b{s}\b", said):
                yield f"docs/{name}.scd: SIGNALS: SIG{s} of {path} is missing"


def proofs(root):
    """`test_x.py` and `test_x.py::test_y` in a text are tests of that name."""
    tests = {os.path.basename(p): lint.text(root, p)
             for p in lint.files(root, ".py", under=("tests",))}
    for path in lint.files(root, ".md"):
        for line, m in lint.matches(lint.text(root, path), r"\b(test_\w+\.py)(?:::(test_\w+))?"):
            wanted = f"def {m.group(2)}(" if m.group(2) else "def test_"
            if wanted not in tests.get(m.group(1), ""):
                yield f"{path}:{line}: {m.group()}: no such test"


def check(root):
    found = list(pages(root))
    strings = literals(root)
    return [*proofs(root), *installed(root, found), *references(found), *variables(found, strings),
            *files_named(found, strings), *statuses(root, found), *signals(root, found)]


CODE = ('const char *v = getenv("HOLDFAST_LOG"); openat(d, "journal"); say("/run/holdfast");\n'
        'name("stdout", "raw");\n')
SUPPORT = {"+docs/meson.build": "'holdfast.1', 'holdfast-run.1', 'holdfast-shim.8'\n",
           "+cli/command.h": "enum { USAGE = 64 };\n",
           "+cli/attach.c": "static const int passed_on[] = {SIGHUP, SIGUSR1};\n",
           "+ipc/a.c": CODE.replace("HOLDFAST_LOG", "nothing")}
BAD = {
    **SUPPORT,
    "README.md": "proved by test_a.py::test_two\n",
    "docs/design.md": "proved by test_b.py\n",
    "+tests/integration/test_a.py": "def test_one(hf):\n    pass\n",
    "docs/holdfast.1.scd": "holdfast(8)\n",
    "docs/holdfast-top.1.scd": "holdfast-top(1)\n",
    "docs/holdfast-shim.8.scd": "holdfast-shim(8)\n\n*holdfast-nobody*(8)\n",
    "docs/holdfast-run.1.scd": "holdfast-run(1)\n\n# EXIT STATUS\n\n*64*\n\tBad.\n\n"
                               "# SIGNALS\n\nHUP is passed on.\n",
}
BAD_TEXTS = (  # of docs/holdfast.1.scd, in the GOOD tree
    ("# ENVIRONMENT\n\n*HOLDFAST_DREAM*\n\tNobody knows.\n", "HOLDFAST_DREAM: no program"),
    ("# ENVIRONMENT\n\nNothing.\n", "HOLDFAST_LOG: the programs know it"),
    ("# FILES\n\n_diary_\n\tNobody's.\n", "diary"),
    ("# FILES\n\n_/run/other/ID/_\n\tNobody's.\n", "/run/other"),
    ("# FILES\n\n_journal_, _stdout-N.txt_\n\tHalf.\n", "stdout-N.txt"),
)
ENVIRONMENT = "# ENVIRONMENT\n\n*HOLDFAST_LOG*\n\tA level.\n\n"
GOOD = {
    "docs/meson.build": "'holdfast.1', 'holdfast-run.1'\n",
    "cli/command.h": "enum { USAGE = 64 };\n",
    "cli/attach.c": "static const int passed_on[] = {SIGHUP, SIGUSR1};\n",
    "ipc/a.c": CODE,
    "README.md": "proved by test_a.py::test_one, `test_a.py`\n",
    "tests/integration/test_a.py": "def test_one(hf):\n    pass\n",
    "docs/holdfast.1.scd": "holdfast(1)\n\n" + ENVIRONMENT +
                           "# FILES\n\n_/run/holdfast/ID/_, _journal_\n\tState.\n\n"
                           "_stdout-N.raw_\n\tOutput.\n\n# SEE ALSO\n\n*holdfast-run*(1)\n",
    "docs/holdfast-run.1.scd": "holdfast-run(1)\n\n# EXIT STATUS\n\n*64*\n\tBad.\n\n"
                               "# SIGNALS\n\nHUP and USR1 are passed on.\n",
}

# `holdfast run --help` of the self-test below, and pages that say the same and something else.
HELP = ("Usage: holdfast run [options] CMD...\nStarts.\n\nOptions:\n"
        "  -m, --memory SIZE                  limit: 512M, 2G\n"
        "      --time TIME                    then it is killed (10s)\n"
        "  -d, --detach                       leave it (as it is)\n")
SAME = ("*-m*, *--memory* _SIZE_\n\tLimit.\n\n*--time* _TIME_\n\tThen (10s).\n\n"
        "*-d*, *--detach*\n\tLeave it.\n\n")
OTHER = (
    (SAME.replace("*-d*, *--detach*\n\tLeave it.\n", ""), "--detach: no entry"),
    (SAME + "*--more*\n\tMore.\n", "--more: described"),
    (SAME + "*-d*, *--detach*\n\tAgain.\n", "--detach is described twice"),
    (SAME.replace("_SIZE_", "_BYTES_"), "described as \"-m, --memory BYTES\""),
    (SAME.replace("*-m*, ", ""), "described as \"--memory SIZE\""),
    (SAME.replace("(10s)", "(20s)"), "states the default 10s"),
)


def page_of(options, title="holdfast run [options] CMD..."):
    return f"holdfast(1)\n\n# COMMANDS\n\n## {title}\n\nStart.\n\n{options}\n# FILES\n"


def findings_of(text):
    tool = {("--help",): "Usage: holdfast\n\n  run   start\n", ("run", "--help"): HELP}
    return manpage.help_findings(lambda *args: tool[args],
                                 {"holdfast.1": text}.get)


def self_test():
    wrong = lint.self_test(check, BAD, GOOD)
    for text, expected in BAD_TEXTS:
        environment = "" if "ENVIRONMENT" in text else ENVIRONMENT
        tree = {"+" + p: t for p, t in GOOD.items() if p != "docs/holdfast.1.scd"}
        tree["docs/holdfast.1.scd"] = "holdfast(1)\n\n" + environment + text
        wrong += lint.self_test(lambda root, e=expected: [
            f"docs/holdfast.1.scd {f}" for f in check(root) if e in f], tree, {})
    prose = SAME + "As was said, it is not\n*--fast*, nor\n*--slow* ever.\n\n"
    for good in (SAME, prose):
        wrong += [f"self-test: good help was refused: {f}" for f in findings_of(page_of(good))]
    for text, expected in OTHER:
        if not any(expected in f for f in findings_of(page_of(text))):
            wrong.append(f"self-test: not found: {expected}")
    for page, expected in ((page_of(SAME, "holdfast run CMD"), "--help` says"),
                           (page_of(SAME, "holdfast fly"), "does not list it"),
                           (page_of(SAME, "holdfast fly"), "no \"## holdfast run")):
        if not any(expected in f for f in findings_of(page)):
            wrong.append(f"self-test: not found: {expected}")
    return wrong


def tool_findings(path):
    def tool(*args):
        return subprocess.run([path, *args], capture_output=True, text=True, check=True).stdout
    return manpage.help_findings(tool, manpage.page_reader(lint.ROOT))


if __name__ == "__main__":
    if "--tool" in sys.argv[1:]:
        result = tool_findings(sys.argv[sys.argv.index("--tool") + 1])
    else:
        result = self_test() if "--self-test" in sys.argv[1:] else check(lint.ROOT)
    for finding in result:
        print(finding)
    sys.exit(1 if result else 0)
