"""The report in Markdown. Pure; returns text."""

from allocators import ALLOCATORS, MACHINE
from goal import section
from goals import judge_all
from markdown import table
from units import human_bytes, human_micros, human_seconds


def rate(value):
    """Operations per second."""
    if value is None:
        return "n/a"
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{value / 1e3:.3g} k"


def _times(value):
    return "n/a" if value is None else f"{value:.2f} ×"


def _throughput(cells):
    rows = []
    for name, s in cells:
        rows.append((name, rate(s.ops_per_s), human_seconds(s.seconds), human_seconds(s.phase_cpu_s), human_seconds(s.wall_s),
                     human_seconds(s.cpu_s), human_bytes(s.peak), _times(s.ratio_to_live())))
    return table(("", "operations/s", "phase", "CPU in it", "whole run", "CPU of it", "peak memory", "peak / live"), rows)


def _waiting(cells):
    rows = []
    for name, s in cells:
        rounds = ", ".join(human_micros(v) for v in s.worst_stalls) or "n/a"
        rows.append((name, s.stops or "none", *map(human_micros, s.pauses), *map(human_micros, s.stalls[:3]), rounds))
    return table(("", "stops", "p50", "p99", "p99.9", "max", "stall p50", "p99", "p99.9", "worst stall of each round"), rows)


def _marking(cells, limits, linked):
    """Objects for what is linked, bytes for what is not: the other would say nothing."""
    index, limit, scale, unit = (0, "objects_per_s", 1e6, "million objects") if linked else (1, "bytes_per_s", 1e9, "GB")
    rows = []
    for name, s in cells:
        value, by_cpu = s.rates[index], s.rates[index + 2]
        share = f"{value / limits[limit]:.2f}" if value and limits.get(limit) else "n/a"
        rows.append((name, *("n/a" if v is None else f"{v / scale:.3g}" for v in (value, by_cpu)), share, human_bytes(s.peak)))
    return table(("", f"{unit}/s and core", f"{unit} a CPU second of the collection", "of the machine's limit", "peak memory"),
                 rows)


def _section(name, workload, cells, limits):
    lines = [f"## {name}", "", f"{workload.title[0].upper()}{workload.title[1:]}.", ""]
    done = [(allocator, s) for allocator, s in cells if s.rounds]
    if name.startswith("mark-"):
        lines += _marking(done, limits, name == "mark-linked")
    elif name == "limits":
        lines += table(("", "million objects/s", "GB/s"),
                       [("a core", f"{limits.get('objects_per_s', 0) / 1e6:.3g}", f"{limits.get('bytes_per_s', 0) / 1e9:.3g}")])
    elif done:
        lines += _throughput(done) + _waiting(done)
        sources = [f"{allocator}: {s.cycles:g} collections a round, dirty source {s.dirty_source}"
                   for allocator, s in done if s.cycles]
        lines += [line + "." for line in sources] + [""] * bool(sources)
    for allocator, s in cells:
        for reason in sorted(set(s.failures)):
            lines += [f"**{allocator} FAILED in {s.failures.count(reason)} round(s)**: {' '.join(reason.split())}", ""]
    return lines


NOTES = """## How to read this

Rates, times and memory are medians over the rounds; distributions are over all rounds. Operations, stops and stalls
are those of the measured phase, after the heap is built; the whole run and the peak include building it. A stall is
the time that one batch of 16 operations took from whatever cause (64 nodes in trees, 64 requests in leak), so it
contains what the scheduler gave to others. Stops: of gcmalloc from its trace; of bdwgc from its collection events
(before the stop to after the start); of Go from runtime/metrics. Mark rates: of gcmalloc its trace's marking time,
times its workers; of bdwgc the whole of a collection with one marker; the best collection of each, as the machine's
limit is that of its best stretch. The machine should have nothing else to do: see its load above.
"""


def report(workloads, summaries, size, facts):
    """The Markdown text. `facts`: (name, value) about machine and run."""
    limits = summaries[("limits", MACHINE)].limits if ("limits", MACHINE) in summaries else {}
    lines = ["# Collectors side by side", ""]
    lines += [f"- {name}: {value}" for name, value in facts]
    names = {a for _, a in summaries}
    lines += [f"- {name}: {allocator.what}" for name, allocator in ALLOCATORS.items() if name in names] + [""]
    lines += section(judge_all(summaries, size))
    for name, workload in workloads.items():
        cells = [(a, summaries[(name, a)]) for a in workload.allocators if (name, a) in summaries]
        if cells:
            lines += _section(name, workload, cells, limits)
    return "\n".join(lines) + "\n" + NOTES
