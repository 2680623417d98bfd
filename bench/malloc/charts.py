"""The drawing: a row for each workload, a dot for each allocator; to the left time, to the right memory, both as ratios
to glibc's on a logarithmic scale. Pure; returns text.
"""

import math

from allocators import ALLOCATORS, FAMILIES, GLIBC, MICRO
from drawing import head, line, text
from figures import geometric_mean, ratio

WIDTH, LEFT, GAP, PANEL = 1180, 210, 40, 450
TOP, ROW, TITLE, AXIS = 110, 19, 40, 34
COLOURS = {"collect": "#d4600c", "off": "#e8a36a", "jemalloc": "#0969da", "mimalloc": "#1a7f37", "tcmalloc": "#8250df",
           "collect-linked": "#d4600c", "jemalloc-linked": "#0969da", "bdwgc": "#818b98"}
LEAST, MOST = 0.125, 8.0
STYLE = "".join(f"  .k{i} {{ fill: {c}; stroke: {c} }}\n" for i, c in enumerate(COLOURS.values())) + """
  .dot { opacity: 0.8 } .ring { fill: none; stroke-width: 2 } .small { font-size: 11px }
  .one { stroke: #818b98; stroke-width: 1.6 }
"""


def _class(allocator):
    """A disc for what is preloaded, a ring for what is linked."""
    return f"k{list(COLOURS).index(allocator)} {'ring' if ALLOCATORS[allocator].variant else 'dot'}"


def _place(left, value):
    """What is off the scale sits on its edge."""
    share = math.log(min(max(value, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return left + share * PANEL


def _panel(left, top, rows, title):
    """One pair of axes with its dots. `rows`: for each a dictionary of allocator to ratio."""
    bottom = top + len(rows) * ROW
    parts = [text(left, top - 8, title, "soft small")]
    ticks = [2.0 ** n for n in range(-3, 4)]
    for tick in ticks:
        x = _place(left, tick)
        parts.append(line(x, top, x, bottom, "one" if tick == 1 else "grid"))
        parts.append(text(x, bottom + 14, f"{tick:g}", "soft small", "middle"))
    for number, ratios in enumerate(rows):
        y = top + (number + 0.5) * ROW
        known = {a: r for a, r in ratios.items() if r and a in COLOURS}
        # gcmalloc's last, so that they lie on top.
        for a in reversed([a for a in COLOURS if a in known]):
            beyond = "" if LEAST <= known[a] <= MOST else " (off the scale)"
            parts.append(f'<circle cx="{_place(left, known[a]):.1f}" cy="{y:.1f}" r="{5.5 if a == "collect" else 4:g}" '
                         f'class="{_class(a)}"><title>{a} {known[a]:.2f}{beyond}</title></circle>')
    return parts


def _ratios(summaries, name, attribute):
    base = summaries.get((name, GLIBC))
    return {a: ratio(getattr(summaries[(name, a)], attribute), getattr(base, attribute))
            for a in ALLOCATORS if base and a != GLIBC and (name, a) in summaries}


def _micro_rows(workloads, summaries):
    """(label, time, None) for each of the micro benchmarks."""
    for name in (n for n, w in workloads.items() if w.family == MICRO and (n, GLIBC) in summaries):
        base = summaries[(name, GLIBC)].times
        for kind, value in base.items():
            yield kind, {a: ratio(summaries[(name, a)].times.get(kind), value) for a in ALLOCATORS
                         if a != GLIBC and (name, a) in summaries}, None


def _rows(family, workloads, summaries):
    """(label, ratios of time, ratios of memory), with the geometric means at the end."""
    if family == MICRO:
        return list(_micro_rows(workloads, summaries))
    rows = [(n, _ratios(summaries, n, "wall"), _ratios(summaries, n, "peak"))
            for n, w in workloads.items() if w.family == family and (n, GLIBC) in summaries]
    if len(rows) > 1:
        means = [{a: geometric_mean([row[side].get(a) for row in rows]) for a in COLOURS} for side in (1, 2)]
        rows.append(("geometric mean", *means))
    return rows


def draw(title, subtitle, workloads, summaries):
    """The SVG text."""
    body, top = [], TOP
    for family in FAMILIES:
        rows = _rows(family, workloads, summaries)
        if not rows:
            continue
        body.append(text(24, top + 4, family, "ink"))
        top += TITLE
        body += [text(LEFT - 12, top + (n + 0.5) * ROW + 4, label, "ink small", "end") for n, (label, *_) in enumerate(rows)]
        body += _panel(LEFT, top, [row[1] for row in rows], "time, × glibc's (left is faster)")
        if rows[0][2] is not None:
            body += _panel(LEFT + PANEL + GAP, top, [row[2] for row in rows], "peak RSS, × glibc's (left is smaller)")
        top += len(rows) * ROW + AXIS + 20
    parts = head(WIDTH, top, title, STYLE)
    parts += [text(24, 34, title, "ink title"), text(24, 57, subtitle, "soft")]
    present, x = [a for a in COLOURS if any(b == a for _, b in summaries)], 24
    for a in present:
        parts += [f'<circle cx="{x + 5}" cy="78" r="5" class="{_class(a)}"/>', text(x + 15, 82, a, "ink small")]
        x += 34 + 7 * len(a)
    return "\n".join(parts + body + ["</svg>"]) + "\n"
