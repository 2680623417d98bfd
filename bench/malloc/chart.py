"""The drawing: for each workload a point for every allocator, its ratio to glibc's, in two panels (time, peak memory);
the last line holds the geometric means. Logarithmic. Pure; returns text.
"""

import math

from allocators import ALLOCATORS, GLIBC
from drawing import head, line, text
from figures import ratio
from goals import common, mean

WIDTH, LEFT, GAP, PANEL, TOP, ROW = 1180, 130, 60, 470, 120, 20
LOW, HIGH = 0.25, 4.0
SHOWN = ("gcmalloc", "gcmalloc-off", "jemalloc", "mimalloc", "tcmalloc")
COLOURS = ("#d4600c", "#e8a36a", "#0969da", "#1a7f37", "#8250df")
STYLE = "  .small { font-size: 11px }\n" + "".join(f"  .c{i} {{ fill: {c} }}\n" for i, c in enumerate(COLOURS))


def _x(left, value):
    part = (math.log(min(max(value, LOW), HIGH)) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))
    return left + part * PANEL


def _panel(cells, names, left, title, value):
    bottom = TOP + (len(names) + 1) * ROW
    parts = [text(left, TOP - 28, title, "soft")]
    for tick in (0.25, 0.5, 1, 2, 4):
        parts.append(line(_x(left, tick), TOP - 6, _x(left, tick), bottom, "axis" if tick == 1 else "grid"))
        parts.append(text(_x(left, tick), TOP - 10, f"{tick:g}", "soft small", "middle"))
    for row, name in enumerate(names + ["geometric mean"]):
        y = TOP + (row + 0.5) * ROW
        for number, allocator in enumerate(SHOWN):
            if name == "geometric mean":
                found = mean(cells, common(cells, [allocator, GLIBC]), allocator, GLIBC, value)
            elif (name, allocator) in cells and (name, GLIBC) in cells:
                found = ratio(value(cells[(name, allocator)]), value(cells[(name, GLIBC)]))
            else:
                found = None
            if found:
                parts.append(f'<circle cx="{_x(left, found):.1f}" cy="{y:.1f}" r="{6 if number == 0 else 4}" class="c{number}">'
                             f"<title>{allocator} {found:.2f}</title></circle>")
    return parts


def draw(title, subtitle, workloads, cells):
    """The SVG text."""
    names = [w for w in workloads if any(w == other for other, _ in cells)]
    height = TOP + (len(names) + 1) * ROW + 30
    parts = head(WIDTH, height, title, STYLE)
    parts += [text(LEFT, 34, title, "ink title"), text(LEFT, 57, subtitle, "soft small")]
    for number, allocator in enumerate(SHOWN):
        assert allocator in ALLOCATORS
        parts.append(f'<circle cx="{LEFT + number * 130}" cy="74" r="5" class="c{number}"/>')
        parts.append(text(LEFT + number * 130 + 10, 78, allocator, "ink small"))
    for row, name in enumerate(names + ["geometric mean"]):
        parts.append(text(LEFT - 12, TOP + (row + 0.5) * ROW + 4, name, "ink small", "end"))
    parts += _panel(cells, names, LEFT, "time, as a ratio to glibc's", lambda s: s.wall)
    parts += _panel(cells, names, LEFT + PANEL + GAP, "peak memory, as a ratio to glibc's", lambda s: s.peak)
    return "\n".join(parts + ["</svg>"]) + "\n"
