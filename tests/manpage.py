"""What man pages (scdoc) and `--help` say, and whether that is the same.

A page's entry is a line that begins with an option in bold, its text indented below:

	*-m*, *--memory* _SIZE_
		Memory limit.

Options of `holdfast NAME` stand below "## holdfast NAME ..." in holdfast(1), or below "# OPTIONS" in
holdfast-NAME(1) where there is such a page. A command that takes another one's options says so in
words: "the options of *holdfast-run*(1)". A default that --help states, "(10s)" or "default KILL",
must be in the entry: (10s), 10s by default, 10s (the default)."""

import os
import re
from collections import namedtuple

Option = namedtuple("Option", "name letter arg text")
Help = namedtuple("Help", "usage options")

OPTION = r"(?:-(\w), |)--([a-z0-9][a-z0-9-]*)(?: ([^\s,]+))?"
VALUE = r"[\w./:%+-]+"


def parse_help(text):
    """`holdfast NAME --help`."""
    usage = re.match(r"Usage: (.*)", text)
    options = {}
    for m in re.finditer(rf"^  (?:    )?{OPTION}(.*)$", text, re.M):
        options[m.group(2)] = Option(m.group(2), m.group(1), m.group(3), m.group(4).strip())
    return Help(usage.group(1) if usage else "", options)


def parse_commands(text):
    """The names of `holdfast --help`, in order."""
    return re.findall(r"^  ([a-z][a-z-]*) +\S", text, re.M)


def plain(text):
    """Without scdoc's marks."""
    text = re.sub(r"(?<![\\\w])[*_]|(?<!\\)[*_](?!\w)|(?<!\\)\*", "", text)
    return re.sub(r"\\(.)", r"\1", text)


def sections(text, mark="#"):
    """Title -> text, of a page's "# " or a section's "## " parts."""
    parts = re.split(rf"^{mark} (.*)$", text, flags=re.M)
    return {plain(title): body for title, body in zip(parts[1::2], parts[2::2])}


def entries(text):
    """Every described option of a section: [Option]; several may share one entry. A line of prose
    that begins with an option is none: nothing indented follows it."""
    found = []
    for m in re.finditer(r"^(\*-.*)\n(\t.*\n(?:(?:\t.*)?\n)*)", text + "\n", re.M):
        for o in re.finditer(OPTION, plain(m.group(1))):
            found.append(Option(o.group(2), o.group(1), o.group(3), plain(m.group(2))))
    return found


def terms(text):
    """What a section's entries are about, but options: exit statuses, variables, files."""
    return [plain(t) for line in re.findall(r"^([*_][^*_\s-].*)\n\t", text, re.M)
            for t in re.split(r", (?=[*_])", line)]


def table(text):
    """Row's title -> column's title -> cell, of a section's table."""
    rows = []
    for line in re.findall(r"^(?:\[\[|\||:-|:) .*", text, re.M):
        if line.startswith(("[[", "|")):
            rows.append([])
        rows[-1].append(plain(line.split(" ", 1)[1].strip()))
    return {row[0]: dict(zip(rows[0][1:], row[1:])) for row in rows[1:]}


def default_of(text):
    """The default that a line of --help states, or None."""
    m = (re.search(rf"\(({VALUE})(?:; [^()]*)?\)", text)
         or re.search(rf"\bdefault:? ({VALUE})$", text))
    return m.group(1) if m else None


def states(text, value):
    v = re.escape(value)
    text = " ".join(text.split())
    return re.search(rf"\({v}\)|(?<!\S){v}(?: is)? by default|by default {v}(?![\w])"
                     rf"|(?<!\S){v} (?:\(|is )the default|(?<!\S){v}, the default", text) is not None


def shown(o):
    return (f"-{o.letter}, " if o.letter else "") + f"--{o.name}" + (f" {o.arg}" if o.arg else "")


def marked(o):
    """As the head of an entry is written."""
    arg = f" _{o.arg}_" if o.arg else ""
    return (f"*-{o.letter}*, " if o.letter else "") + f"*--{o.name}*" + arg


def compare_options(where, command, helped, described, lent=()):
    """helped: name -> Option of --help; described: [Option] of the page; lent: of another page."""
    findings = []
    names = [o.name for o in described]
    for name in sorted({n for n in names if names.count(n) > 1}):
        findings.append(f"{where}: --{name} is described twice")
    pages = {**{o.name: o for o in lent}, **{o.name: o for o in described}}
    for name, o in helped.items():
        entry = pages.get(name)
        if not entry:
            findings.append(f"{where}: --{name}: no entry; `{command} --help` has it "
                            f"(add \"{marked(o)}\" and its text)")
            continue
        if (entry.letter, entry.arg) != (o.letter, o.arg):
            findings.append(f"{where}: --{name}: described as \"{shown(entry)}\", "
                            f"but `{command} --help` says \"{shown(o)}\"")
        default = default_of(o.text)
        if default and not states(entry.text, default):
            findings.append(f"{where}: --{name}: `{command} --help` states the default {default}, "
                            f"its entry does not (write ({default}), or {default} by default)")
    for o in described:
        if o.name not in helped:
            findings.append(f"{where}: --{o.name}: described, but not in `{command} --help` "
                            "(remove the entry, or add the option)")
    return findings


def command_findings(name, helped, page, own):
    """One command: its part of holdfast(1), and holdfast-NAME(1) (or None)."""
    command = f"holdfast {name}"
    commands = sections(sections(page("holdfast.1")).get("COMMANDS", ""), "##")
    title = next((t for t in commands if t.split()[:2] == command.split()), None)
    where = "docs/holdfast.1.scd"
    if title is None:
        return [f"{where}: no \"## {helped.usage or command}\" below # COMMANDS"]
    findings = []
    if helped.usage and title != helped.usage:
        findings.append(f"{where}: \"## {title}\": `{command} --help` says \"{helped.usage}\"")
    part = commands[title]
    lent = []
    for other in re.findall(r"options of\s+\*(holdfast-[a-z]+)\*\(1\)", part):
        lent += entries(sections(page(f"{other}.1")).get("OPTIONS", ""))
    if own:
        where = f"docs/holdfast-{name}.1.scd"
        synopsis = " ".join(plain(sections(own).get("SYNOPSIS", "")).split())
        if helped.usage and synopsis != helped.usage:
            findings.append(f"{where}: SYNOPSIS \"{synopsis}\": "
                            f"`{command} --help` says \"{helped.usage}\"")
        part = sections(own).get("OPTIONS", "")
    return findings + compare_options(where, command, helped.options, entries(part), lent)


def help_findings(tool, page):
    """tool(*args) -> text of --help; page("holdfast.1") -> its source, or None."""
    names = parse_commands(tool("--help"))
    findings = [] if names else ["`holdfast --help` lists no commands"]
    commands = sections(sections(page("holdfast.1")).get("COMMANDS", ""), "##")
    for title in commands:
        if title.split()[1:2] and title.split()[1] not in names:
            findings.append(f"docs/holdfast.1.scd: \"## {title}\": `holdfast --help` does not list it")
    for name in names:
        findings += command_findings(name, parse_help(tool(name, "--help")), page,
                                     page(f"holdfast-{name}.1"))
    return findings


def page_reader(root):
    def page(name):
        try:
            with open(os.path.join(root, "docs", name + ".scd"), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return None
    return page
