"""The drawing: for each workload a row of four panels (stops, stalls, throughput, memory), in each a
line for every allocator. Times are on a logarithmic scale. Pure; returns text.
"""

import math

from allocators import ALLOCATORS, MACHINE
from drawing import head, line, text
from units import MIB, axis_ticks, human_bytes, human_micros, tick_label

WIDTH, LEFT, GAP, PANEL = 1264, 118, 34, 252
TOP, ROW, TITLE, AXIS = 96, 22, 46, 40
COLOURS = ("#d4600c", "#e8a36a", "#0969da", "#7fb2ee", "#59636e", "#1a7f37")
STYLE = """
  .bar { opacity: 0.85 } .mark { stroke-width: 2.4 } .span { stroke-width: 1.4; opacity: 0.7 } .small { font-size: 11px }
""" + "".join(f"  .c{i} {{ fill: {c}; stroke: {c} }}\n" for i, c in enumerate(COLOURS))


def _class(allocator):
    return f"c{list(ALLOCATORS).index(allocator)}"


class Panel:
    """One pair of axes; values run to the right, allocators downwards."""

    def __init__(self, number, top, rows, title):
        self.left, self.top, self.bottom = LEFT + number * (PANEL + GAP), top, top + rows * ROW
        self.parts = [text(self.left, top - 8, title, "soft small")]

    def _ticks(self, places):
        """Lines with labels; those at the ends stay within the panel."""
        for number, (x, label) in enumerate(places):
            anchor = "start" if number == 0 else "end" if number + 1 == len(places) else "middle"
            self.parts.append(line(x, self.top, x, self.bottom, "grid"))
            self.parts.append(text(x, self.bottom + 14, label, "soft small", anchor))

    def middle(self, row):
        """The height of a row."""
        return self.top + (row + 0.5) * ROW

    def times(self, cells):
        """Spans from p50 to the maximum with a mark at each of (p50, p99, p99.9, max), logarithmic."""
        values = [v for _, quantiles in cells for v in quantiles if v]
        low = math.floor(math.log10(min(values, default=1)))
        high = max(low + 1, math.ceil(math.log10(max(values, default=10))))

        def x(value):
            return self.left + (math.log10(max(value, 10 ** low)) - low) / (high - low) * PANEL
        # Labels are wide: where there are many powers of ten, every other one has its name.
        powers = range(low, high + 1)
        self._ticks([(x(10 ** p), human_micros(10 ** p) if len(powers) < 7 or (p - low) % 2 == 0 else "") for p in powers])
        for row, (allocator, quantiles) in enumerate(cells):
            y, marks = self.middle(row), [v for v in quantiles if v is not None]
            if not marks:
                self.parts.append(text(self.left + 4, y + 4, "none", "soft small"))
                continue
            colour = _class(allocator)
            self.parts.append(line(x(marks[0]), y, x(marks[-1]), y, f"span {colour}"))
            self.parts += [line(x(v), y - 6, x(v), y + 6, f"mark {colour}") for v in marks[:-1]]
            self.parts.append(f'<circle cx="{x(marks[-1]):.1f}" cy="{y:.1f}" r="4.5" class="{colour}"/>')

    def bars(self, cells, scale, show, level=None):
        """A bar for each value; `level` is a value to compare with."""
        ticks = axis_ticks(max([v / scale for _, v in cells if v] + [(level or 0) / scale]), 4)

        def x(value):
            return self.left + value / scale / ticks[-1] * PANEL
        self._ticks([(x(value * scale), tick_label(value)) for value in ticks])
        for row, (allocator, value) in enumerate(cells):
            y = self.middle(row)
            if value is None:
                self.parts.append(text(self.left + 4, y + 4, "n/a", "soft small"))
                continue
            self.parts.append(f'<rect x="{self.left}" y="{y - 7:.1f}" width="{x(value) - self.left:.1f}" height="14" '
                              f'class="bar {_class(allocator)}"/>')
            # Where the bar is long its figure stands inside of it, so that it stays within the panel.
            inside = x(value) - self.left > PANEL * 0.7
            at, anchor = (x(value) - 4, "end") if inside else (x(value) + 4, "start")
            self.parts.append(text(at, y + 4, show(value), "ink small", anchor))
        if level:
            self.parts.append(line(x(level), self.top - 3, x(level), self.bottom + 3, "axis"))


def _row(top, cells):
    rows = len(cells)
    panels = [Panel(n, top, rows, title) for n, title in enumerate((
        "stops of the world: p50, p99, p99.9, max", "stalls of the mutator: p50, p99, p99.9, max",
        "million operations/s", "peak memory (MiB); line: what is alive"))]
    panels[0].times([(a, s.pauses) for a, s in cells])
    panels[1].times([(a, s.stalls) for a, s in cells])
    panels[2].bars([(a, s.ops_per_s) for a, s in cells], 1e6, lambda v: f"{v / 1e6:.3g}")
    panels[3].bars([(a, s.peak) for a, s in cells], MIB, human_bytes, max((s.live or 0 for _, s in cells), default=None))
    parts = [text(LEFT - 10, panels[0].middle(n) + 4, a, "ink small", "end") for n, (a, _) in enumerate(cells)]
    return parts + [p for panel in panels for p in panel.parts]


MARKING = (("mark-linked", 0, "objects_per_s", 1e6, "million linked objects/s, a core; line: limit"),
           ("mark-64k", 1, "bytes_per_s", 1e9, "GB/s of 64 KiB blocks; line: limit"),
           ("mark-1m", 1, "bytes_per_s", 1e9, "GB/s of 1 MiB blocks; line: limit"))


def _marking(top, summaries):
    """Mark rates: (parts, number of rows)."""
    limits = summaries[("limits", MACHINE)].limits if ("limits", MACHINE) in summaries else {}
    names = [a for a in ALLOCATORS if any((w, a) in summaries for w, *_ in MARKING)]
    parts = []
    for number, (workload, index, limit, scale, title) in enumerate(MARKING):
        cells = [(a, summaries[(workload, a)].rates[index] if (workload, a) in summaries else None) for a in names]
        panel = Panel(number, top, len(names), title)
        panel.bars(cells, scale, lambda v, scale=scale: f"{v / scale:.3g}", limits.get(limit))
        parts += panel.parts
    parts += [text(LEFT - 10, top + (n + 0.5) * ROW + 4, a, "ink small", "end") for n, a in enumerate(names)]
    return parts, len(names)


def draw(title, subtitle, workloads, summaries):
    """The SVG text: workloads that have a measured phase, then mark rates."""
    body, top = [], TOP
    for name, workload in workloads.items():
        cells = [(a, summaries[(name, a)]) for a in workload.allocators if (name, a) in summaries]
        if not any(s.ops_per_s for _, s in cells):
            continue
        body.append(text(LEFT, top, f"{name}: {workload.title}"))
        body += _row(top + TITLE - 10, cells)
        top += TITLE + len(cells) * ROW + AXIS
    marking, rows = _marking(top + TITLE - 10, summaries)
    if rows:
        body += [text(LEFT, top, "mark rates")] + marking
        top += TITLE + rows * ROW + AXIS
    parts = head(WIDTH, top, title, STYLE)
    parts += [text(LEFT, 34, title, "ink title"), text(LEFT, 57, subtitle, "soft")]
    return "\n".join(parts + body + ["</svg>"]) + "\n"
