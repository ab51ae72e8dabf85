"""The table on the terminal, docs/bench.md, and docs/bench.svg for the README."""

import html
import os

LESS_IS_BETTER = {"ms": True, "kB": True, "MB per CPU second": False,
                  "calls per CPU second": False}
TITLES = {"start": "Start of a container that does nothing",
          "restart": "Restart after SIGKILL",
          "memory": "Memory per container, without the service",
          "log": "Log pump",
          "state": "Asking how it is",
          "exec": "A command beside the service, that does nothing"}


def groups(run):
    """(section, what) -> rows, in the order of measuring."""
    found = {}
    for row in run.rows:
        found.setdefault((row.section, row.what), []).append(row)
    return found


def ratio(run, row):
    """How many times ours a row is; what "better" means is the unit's."""
    ours = run.find(row.section, row.what, "holdfast")
    if ours is None or row is ours or not ours.median or not row.median:
        return ""
    times = row.median / ours.median if LESS_IS_BETTER[row.unit] else ours.median / row.median
    return f"{times:.3g} ×"


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def cells(run, row):
    return [row.who, number(row.median), number(row.p90), str(len(row.values)), ratio(run, row),
            row.note]


def table(run, section):
    lines = []
    for (of, what), rows in groups(run).items():
        if of != section:
            continue
        lines += ["", f"**{what}**", "",
                  f"| who | median, {rows[0].unit} | p90 | n | to ours | |",
                  "|---|---:|---:|---:|---:|---|"]
        lines += ["| " + " | ".join(cells(run, r)) + " |" for r in rows]
    return lines


def circumstances(run, section):
    text = f"CPU time taken away by this machine's own host meanwhile: {run.stolen[section]:.2f} s."
    if run.unquiet.get(section):
        text += f" Not quiet (others were computing) before {run.unquiet[section]} blocks of samples."
    return text


def markdown(run, about):
    lines = ["# Benchmark", "",
             "Measured by `tests/bench/run`, everybody in one run on one machine, in turn. \"to ours\": "
             "how many times better ours is (below 1: worse).", "", *about, ""]
    for section in run.stolen:
        lines += [f"## {TITLES[section]}", *table(run, section), "", circumstances(run, section), ""]
    if run.missing:
        lines += ["Not installed, so not measured: " + ", ".join(run.missing) + ".", ""]
    lines += [f"- {n}" for n in run.notes]
    return "\n".join(lines).rstrip() + "\n"


def show(run):
    for (section, what), rows in groups(run).items():
        print(f"\n{TITLES[section]}: {what} [{rows[0].unit}]")
        for row in rows:
            who, median, p90, n, times, note = cells(run, row)
            print(f"  {who:28} median {median:>8}  p90 {p90:>8}  n {n:>4}  {times:>9}  {note}")
    print("".join(f"\nmissing peer, not measured: {m}" for m in run.missing))


# ---- the chart: a group of bars for each figure, each against the longest of its own group

CHART = [("start", "hot"), ("start", "cold"), ("restart", "after a second of life"),
         ("memory", "PSS, 50 containers"), ("memory", "PSS, 3 containers")]
WIDTH, LEFT, BAR, GAP, HEAD = 720, 210, 16, 6, 34
STYLE = """<style>
text{font:13px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600}.v{fill:#59636e}
.us{fill:#0a7d6c}.peer{fill:#9aa4af}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9198a1}.us{fill:#2fb8a2}.peer{fill:#59636e}}
</style>"""


def bar(y, row, longest):
    width = max(2, (WIDTH - LEFT - 90) * row.median / longest)
    kind = "us" if row.who.startswith("holdfast") else "peer"
    return (f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{html.escape(row.who)}</text>'
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
            f'<text class="v" x="{LEFT + width + 6:.1f}" y="{y + 13}">{number(row.median)}</text>')


def svg(run):
    parts, y = [], 8
    chosen = [(k, rows) for k, rows in groups(run).items() if k in CHART or k[0] == "log"]
    for (section, what), rows in chosen:
        more = " (more is better)" if not LESS_IS_BETTER[rows[0].unit] else ""
        title = html.escape(f"{TITLES[section]}, {what}: {rows[0].unit}{more}")
        parts.append(f'<text class="h" x="8" y="{y + 18}">{title}</text>')
        y += HEAD
        longest = max(r.median for r in rows)
        for row in rows:
            parts.append(bar(y, row, longest))
            y += BAR + GAP
        y += 10
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'viewBox="0 0 {WIDTH} {y}" role="img" aria-label="Holdfast beside its peers">\n'
            + STYLE + "\n" + "\n".join(parts) + "\n</svg>\n")


def write(run, about, where):
    os.makedirs(where, exist_ok=True)
    for name, text in (("bench.md", markdown(run, about)), ("bench.svg", svg(run))):
        with open(os.path.join(where, name), "w", encoding="utf-8") as f:
            f.write(text)
