"""The report in Markdown. Pure; returns text."""

from allocators import ALLOCATORS, GLIBC
from figures import different_outputs, ratio
from goals import common, judge, mean
from markdown import table
from patterns import PATTERNS
from programs import PROGRAMS
from units import human_bytes

NOTES = """## How to read this

Medians over the rounds; each round runs every workload under every allocator, in an order that turns. A ratio is to
glibc's figure of the same series. Time is wall time of the whole process, CPU that of the process and its children.
The peak is that of the largest process, as the kernel tells a small parent; what is left is what is resident when a
pattern has freed everything. Instructions are callgrind's, of one run at a small scale, the pattern's own included.
"""


def _cell(value, base, show):
    if value is None:
        return "n/a"
    part = ratio(value, base)
    return show(value) + ("" if part is None else f" ({part:.2f})")


def _seconds(value):
    return f"{value:.2f} s"


def _number(value):
    return f"{value:.0f}"


MEASURES = (("wall time", lambda s: s.wall, _seconds), ("CPU", lambda s: s.cpu, _seconds),
            ("peak memory", lambda s: s.peak, human_bytes), ("left when all is freed", lambda s: s.end, human_bytes),
            ("page faults", lambda s: s.faults, _number))


def _measure(cells, workloads, allocators, title, value, show):
    rows = []
    for w in workloads:
        base = value(cells[(w, GLIBC)]) if (w, GLIBC) in cells else None
        row = [_cell(value(cells[(w, a)]), base, show) if (w, a) in cells else "" for a in allocators]
        if any(cell not in ("", "n/a") for cell in row):
            rows.append((w, *row))
    if not rows:
        return []
    means = [mean(cells, [w for w in common(cells, [a, GLIBC]) if w in workloads], a, GLIBC, value) for a in allocators]
    rows.append(("**geometric mean**", *("" if m is None else f"**{m:.2f}**" for m in means)))
    return [f"### {title}", ""] + table(("", *allocators), rows)


def _counts(counts, allocators):
    rows = []
    for w in sorted({w for w, _ in counts}):
        base = counts.get((w, GLIBC))
        rows.append((w, *(_cell(counts.get((w, a)), base, lambda v: f"{v:.0f}") if (w, a) in counts else "" for a in allocators)))
    return ["## Instructions per operation", ""] + table(("", *allocators), rows) if rows else []


def _micro(micro, allocators):
    rows = []
    for name in sorted({n for n, _ in micro}):
        base = micro.get((name, GLIBC))
        rows.append((name, *(_cell(micro.get((name, a)), base, lambda v: f"{v:.1f} ns") for a in allocators)))
    return ["## Single calls", "", "Google Benchmark; nanoseconds of CPU for one operation.", ""] + table(("", *allocators), rows) \
        if rows else []


def report(records, cells, counts, micro, skipped, facts):
    """`cells` {(workload, allocator): Summary}, `counts` and `micro` {(name, allocator): value}."""
    lines = ["# Allocators side by side", ""]
    lines += [f"- {name}: {value}" for name, value in facts]
    present = [a for a in ALLOCATORS if any(a == other for _, other in [*cells, *counts, *micro])]
    lines += [f"- {a}: {ALLOCATORS[a].what}" for a in present] + [""]
    goals = judge(cells)
    if goals:
        lines += ["## Goals", ""] + table(("goal", "wanted", "measured", "verdict"),
                                          [(g.what, g.wanted, g.measured, g.verdict()) for g in goals])
    for title, names in (("Patterns", PATTERNS), ("Programs", PROGRAMS)):
        workloads = [w for w in names if any(w == other for other, _ in cells)]
        allocators = [a for a in present if any((w, a) in cells for w in workloads)]
        if workloads:
            lines += [f"## {title}", ""]
            for measure in MEASURES:
                lines += _measure(cells, workloads, allocators, *measure)
    for part in (_counts, _micro):
        values = counts if part is _counts else micro
        lines += part(values, [a for a in present if any(a == other for _, other in values)])
    for (w, a), s in cells.items():
        for reason in sorted(set(s.failures)):
            lines += [f"**{w} under {a} FAILED in {s.failures.count(reason)} round(s)**: {' '.join(reason.split())}", ""]
    for w, sums in different_outputs(records).items():
        lines += [f"**{w} printed different things**: " + "; ".join(" ".join(a) for a in sums.values()), ""]
    lines += [f"Skipped: {what}: {why}." for what, why in sorted(skipped.items())] + [""] * bool(skipped)
    return "\n".join(lines) + "\n" + NOTES
