"""The report in Markdown. Pure; returns text."""

from allocators import ALLOCATORS, FAMILIES, GLIBC, MICRO, PATTERNS
from figures import geometric_mean, ratio
from goal import section
from goals import judge_all
from markdown import table
from units import human_bytes

# (attribute, title, how a figure is shown)
MEASURES = (
    ("wall", "Wall time", lambda v: f"{v:.3f} s"), ("cpu", "User + system time", lambda v: f"{v:.3f} s"),
    ("peak", "Peak RSS", human_bytes), ("end", "RSS at the end, all freed", human_bytes),
    ("faults", "Page faults", lambda v: f"{v:.0f}"),
    ("instructions", "Instructions of a small share of the work, callgrind", lambda v: f"{v / 1e6:.1f} M"))
TITLES = {MICRO: "Micro benchmarks", PATTERNS: "Stress patterns", "programs": "Real programs"}
MISSING = "–"


def nanoseconds(value):
    """Of one operation."""
    return f"{value / 1e6:.3g} ms" if value >= 1e6 else f"{value / 1e3:.3g} us" if value >= 1e3 else f"{value:.3g} ns"


def _matrix(rows, allocators, show):
    """Glibc's figures, the others' as ratios to them (or figures, where glibc has none), the geometric means of those."""
    others = [a for a in allocators if a != GLIBC]
    header = [""] + ([GLIBC] if GLIBC in allocators else []) + others
    lines, ratios = [], {a: [] for a in others}
    for name, figures in rows:
        if all(v is None for v in figures.values()):
            continue
        base, cells = figures.get(GLIBC), [name]
        if GLIBC in allocators:
            cells.append(MISSING if base is None else show(base))
        for a in others:
            found = ratio(figures.get(a), base)
            ratios[a].append(found)
            cells.append(f"{found:.2f}" if found is not None else MISSING if figures.get(a) is None else show(figures[a]))
        lines.append(cells)
    if len(lines) > 1 and GLIBC in allocators:
        means = [geometric_mean(ratios[a]) for a in others]
        lines.append(["**geometric mean**", ""] + [MISSING if m is None else f"**{m:.2f}**" for m in means])
    return table(header, lines) if lines else []


def _family(family, workloads, summaries):
    names = [name for name, w in workloads.items() if w.family == family]
    allocators = [a for a in ALLOCATORS if any((name, a) in summaries for name in names)]
    if not allocators:
        return []
    lines = [f"## {TITLES[family]}", ""]
    if family == MICRO:
        times = {a: summaries[(name, a)].times for name in names for a in allocators if (name, a) in summaries}
        kinds = list(dict.fromkeys(kind for found in times.values() for kind in found))
        return lines + _matrix([(kind, {a: times[a].get(kind) for a in times}) for kind in kinds], allocators, nanoseconds)
    for attribute, title, show in MEASURES:
        rows = [(name, {a: getattr(summaries[(name, a)], attribute) for a in allocators if (name, a) in summaries})
                for name in names]
        matrix = _matrix(rows, allocators, show)
        lines += [f"### {title}", ""] + matrix if matrix else []
    return lines


def _means(workloads, summaries):
    """One table of geometric means against glibc over patterns and programs."""
    names = [name for name, w in workloads.items() if w.family != MICRO]
    rows = []
    for a, allocator in ALLOCATORS.items():
        if a == GLIBC or not any((name, a) in summaries for name in names):
            continue
        pairs = [(summaries[(n, a)], summaries[(n, GLIBC)]) for n in names if (n, a) in summaries and (n, GLIBC) in summaries]
        cells = [geometric_mean([ratio(getattr(s, m), getattr(g, m)) for s, g in pairs])
                 for m in ("wall", "cpu", "peak", "faults")]
        rows.append([a, len(pairs)] + [MISSING if c is None else f"{c:.2f}" for c in cells])
    header = ("against glibc, geometric means", "workloads", "wall time", "user + system", "peak RSS", "page faults")
    return ["## In short", ""] + table(header, rows) if rows else []


NOTES = """## How to read this

Medians over the runs, which interleave the allocators. The column of glibc has its figures, the others what theirs are
to glibc's: below 1 is faster or smaller. A process is measured from its start to its end by a small parent. Of redis
the wall time is that of its clients, the rest the server's. A micro benchmark's time is of one iteration: a batch where
it is called so, CPU time unless threads or processes are what it is about. What is linked, and bdwgc, has two runs
at most. Instructions of gcmalloc are counted without cycles. Peers are the plain mallocs but glibc. The machine should
have nothing else to do: see its load above.
"""


def report(workloads, summaries, skipped, facts):
    """The Markdown text. `facts`: (name, value) about machine and run; `skipped`: (workload, allocator, why)."""
    lines = ["# Allocators side by side", ""] + [f"- {name}: {value}" for name, value in facts]
    names = {a for _, a in summaries}
    lines += [f"- {name}: {allocator.what}" for name, allocator in ALLOCATORS.items() if name in names] + [""]
    lines += section(judge_all(workloads, summaries)) + _means(workloads, summaries)
    if skipped:
        lines += ["## Skipped", ""] + [f"- {name} under {', '.join(who)}: {why}" for name, who, why in skipped] + [""]
    failed = [(name, a, why) for (name, a), s in summaries.items() for why in sorted(set(s.failures))]
    if failed:
        lines += ["## Failed", ""] + [f"- **{name} under {a}**: {' '.join(why.split())}" for name, a, why in failed] + [""]
    for family in FAMILIES:
        lines += _family(family, workloads, summaries)
    return "\n".join(lines) + "\n" + NOTES
