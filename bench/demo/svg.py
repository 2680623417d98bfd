"""Draws the result as an SVG: memory over time of both runs, and below it, enlarged, the part
between zero and a little above what the live data needs. Pure; returns text.

Colours follow the reader's light or dark scheme; without one the drawing has a light ground.
"""

from drawing import head, line, text
from plot import column_ranges, extent
from units import MIB, axis_ticks, human_bytes, tick_label

WIDTH = 840
LEFT, RIGHT = 78, 28
MAIN_TOP, MAIN_HEIGHT = 104, 270
ZOOM_TOP, ZOOM_HEIGHT = 448, 120
HEIGHT = 626
CURVE_COLUMNS = 700
SUBTITLE_LENGTH = 118
CLASSES = ("one", "two")
STYLE = """
  .one { stroke: #d4600c } .two { stroke: #0969da } .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
  .need { stroke: #59636e; stroke-width: 1.2; stroke-dasharray: 6 4 }
  .goal { stroke: #59636e; stroke-width: 1.2; stroke-dasharray: 1.5 4 }
  @media (prefers-color-scheme: dark) {
    .one { stroke: #f0883e } .two { stroke: #58a6ff } .need, .goal { stroke: #9198a1 }
  }
"""


class Panel:
    """A pair of axes: seconds across, MiB up."""

    def __init__(self, top, height, seconds, highest_mib, tick_count):
        self.top, self.bottom = top, top + height
        self.x_ticks = axis_ticks(seconds, 10)
        self.y_ticks = axis_ticks(highest_mib, tick_count)

    def x(self, seconds):
        return LEFT + seconds / self.x_ticks[-1] * (WIDTH - LEFT - RIGHT)

    def y(self, mib):
        return self.bottom - mib / self.y_ticks[-1] * (self.bottom - self.top)

    def frame(self, time_label):
        """Grid, axes and their labels."""
        parts = []
        for value in self.y_ticks:
            y = self.y(value)
            parts.append(line(LEFT, y, WIDTH - RIGHT, y, "grid" if value else "axis"))
            parts.append(text(LEFT - 8, y + 4.5, tick_label(value), "soft", "end"))
        for value in self.x_ticks:
            x = self.x(value)
            parts.append(line(x, self.bottom, x, self.bottom + 5, "axis"))
            parts.append(text(x, self.bottom + 19, tick_label(value), "soft", "middle"))
        middle = (self.top + self.bottom) / 2
        parts.append(text(22, middle, "RSS (MiB)", "soft", "middle", f' transform="rotate(-90 22 {middle:.1f})"'))
        if time_label:
            parts.append(text((LEFT + WIDTH - RIGHT) / 2, self.bottom + 40, "time since start (s)", "soft", "middle"))
        return parts

    def curve(self, series, number):
        """The step line of a series."""
        points, last = [], 0
        ranges = column_ranges(series.samples, self.x_ticks[-1], CURVE_COLUMNS)
        for column, span in enumerate(ranges):
            if span is None:
                continue
            x = self.x((column + 0.5) / CURVE_COLUMNS * self.x_ticks[-1])
            ordered = sorted(set(span), key=lambda value: abs(value - last))
            points.extend(f"{x:.1f},{self.y(value / MIB):.1f}" for value in ordered)
            last = ordered[-1]
        return f'<polyline class="curve {CLASSES[number % 2]}" points="{" ".join(points)}"/>'

    def level(self, mib, classes, label, above):
        """A horizontal line with its name at the right end."""
        y = self.y(mib)
        return [line(LEFT, y, WIDTH - RIGHT, y, classes),
                text(WIDTH - RIGHT - 4, y - 5 if above else y + 15, label, "soft", "end")]


def _legend(series_list, peaks):
    parts, x = [], LEFT
    for number, (series, peak) in enumerate(zip(series_list, peaks)):
        label = f"{series.name}: peak {human_bytes(peak)}"
        parts.append(line(x, MAIN_TOP - 18, x + 24, MAIN_TOP - 18, f"curve {CLASSES[number % 2]}"))
        parts.append(text(x + 31, MAIN_TOP - 13.5, label))
        x += 31 + 7.6 * len(label) + 26
    return parts


def draw(title, subtitle, series_list, peaks, need=None, goal_ratio=1.3):
    """The SVG text. `series_list`: first glibc, then gcmalloc; `peaks` in bytes; `need` in bytes or None."""
    seconds, highest = extent(series_list)
    zoom_top = max(peaks[-1], (need or 0) * goal_ratio) / MIB * 1.12
    main = Panel(MAIN_TOP, MAIN_HEIGHT, seconds, highest / MIB, 6)
    zoom = Panel(ZOOM_TOP, ZOOM_HEIGHT, seconds, zoom_top, 4)
    if len(subtitle) > SUBTITLE_LENGTH:
        subtitle = subtitle[:SUBTITLE_LENGTH - 1] + "\u2026"
    parts = head(WIDTH, HEIGHT, title, STYLE) + [
        text(LEFT, 34, title, "ink title"), text(LEFT, 57, subtitle, "soft")]
    parts += _legend(series_list, peaks)
    parts += main.frame(time_label=False)
    parts += [main.curve(series, number) for number, series in enumerate(series_list)]
    parts.append(text(LEFT, ZOOM_TOP - 20, "The same, enlarged: what gcmalloc keeps, against what the live data needs"))
    parts += zoom.frame(time_label=True)
    if need:
        parts += zoom.level(need / MIB, "need", f"need of the live data {human_bytes(need)}", above=False)
        parts += zoom.level(need * goal_ratio / MIB, "goal", f"goal: {goal_ratio} \u00d7 need", above=True)
    parts.append(f'<clipPath id="zoom"><rect x="{LEFT}" y="{ZOOM_TOP}" '
                 f'width="{WIDTH - LEFT - RIGHT}" height="{ZOOM_HEIGHT + 1}"/></clipPath>')
    parts.append('<g clip-path="url(#zoom)">')
    parts += [zoom.curve(series, number) for number, series in enumerate(series_list)]
    parts += ["</g>", "</svg>"]
    return "\n".join(parts) + "\n"
