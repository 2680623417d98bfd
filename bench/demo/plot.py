"""Draws memory over time as lines of text: braille dots, or plain ASCII. Pure; no I/O.

A series is a Series of (seconds, bytes) samples. Each draws as a step line; where two share a
character cell the later one gives the colour (braille) or the mark (ASCII).
"""

from dataclasses import dataclass
from typing import List, Tuple

from terminal import DIM, Style, paint
from units import MIB, axis_ticks, human_bytes, tick_label

LABEL_WIDTH = 8
COLOURS = ("\x1b[38;5;208m", "\x1b[38;5;39m")
ASCII_MARKS = "*o"
BRAILLE_BASE = 0x2800
BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass
class Series:
    """A named curve."""
    name: str
    samples: List[Tuple[float, int]]


class Canvas:
    """A grid of character cells, each of 2x4 dots in braille or of one in ASCII."""

    def __init__(self, width, height, style):
        self.style = style
        self.across, self.down = (2, 4) if style.unicode else (1, 1)
        self.columns, self.rows = width * self.across, height * self.down
        self._bits = [[0] * width for _ in range(height)]
        self._owner = [[None] * width for _ in range(height)]

    def dot(self, column, row, owner):
        """Sets the dot `row` from the bottom in the name of series number `owner`."""
        from_top = self.rows - 1 - row
        x, y = column // self.across, from_top // self.down
        self._bits[y][x] |= BRAILLE_BITS[from_top % self.down][column % self.across]
        self._owner[y][x] = owner

    def lines(self):
        """One string a row of cells."""
        return ["".join(map(self._cell, bits, owners))
                for bits, owners in zip(self._bits, self._owner)]

    def _cell(self, bits, owner):
        if owner is None:
            return " "
        if not self.style.unicode:
            return ASCII_MARKS[owner % len(ASCII_MARKS)]
        return paint(chr(BRAILLE_BASE + bits), COLOURS[owner % len(COLOURS)], self.style)


def column_ranges(samples, x_max, columns):
    """For each column the (lowest, highest) value to draw, or None outside the samples.

    The curve holds its value until the next sample, and each column joins on to the one before.
    """
    buckets = [[] for _ in range(columns)]
    for moment, value in samples:
        if 0 <= moment <= x_max:
            buckets[min(columns - 1, int(moment / x_max * columns))].append(value)
    last_filled = max((i for i, b in enumerate(buckets) if b), default=-1)
    ranges, held = [], None
    for index, bucket in enumerate(buckets):
        values = bucket if held is None else [held] + bucket
        ranges.append((min(values), max(values)) if values and index <= last_filled else None)
        held = bucket[-1] if bucket else held
    return ranges


def _draw(canvas, number, series, x_max, y_max):
    dashed = canvas.style.unicode and not canvas.style.colour and number == 0
    for column, span in enumerate(column_ranges(series.samples, x_max, canvas.columns)):
        if span is None or (dashed and column % 4 >= 2):
            continue
        low, high = (min(canvas.rows - 1, int(v / y_max * canvas.rows)) for v in span)
        for row in range(low, high + 1):
            canvas.dot(column, row, number)


def legend(series_list, style):
    """Marks and names of the curves, with the latest value of each."""
    parts = []
    for number, series in enumerate(series_list):
        if style.unicode:
            mark = "\u2812\u2812\u2812" if style.colour or number else "\u2812 \u2812"
        else:
            mark = ASCII_MARKS[number % len(ASCII_MARKS)] * 3
        now = human_bytes(series.samples[-1][1]) if series.samples else "-"
        parts.append(f"{paint(mark, COLOURS[number % len(COLOURS)], style)} {series.name} {now}")
    return "   ".join(parts)


def extent(series_list, least_seconds=0.0):
    """(seconds, bytes) that hold every sample."""
    seconds = max([least_seconds] + [s.samples[-1][0] for s in series_list if s.samples])
    highest = max([value for s in series_list for _, value in s.samples], default=MIB)
    return seconds, highest


def render(series_list, width, height, style, least_seconds=0.0):
    """The plot as a list of `height` + 3 lines, none wider than `width`: legend, curves, time axis."""
    seconds, highest = extent(series_list, least_seconds)
    inner = max(10, width - LABEL_WIDTH - 2)
    y_ticks = axis_ticks(highest / MIB, max(2, height // 3))
    x_ticks = axis_ticks(seconds, max(2, inner // 12))
    canvas = Canvas(inner, height, style)
    for number, series in enumerate(series_list):
        _draw(canvas, number, series, x_ticks[-1], y_ticks[-1] * MIB)
    edge, tick, corner, floor = ("\u2502", "\u2524", "\u2514", "\u2500") if style.unicode else ("|", "+", "+", "-")
    labels = {height - 1 - min(height - 1, round(v / y_ticks[-1] * height)): tick_label(v)
              for v in reversed(y_ticks[1:])}
    lines = [f"{'MiB':>{LABEL_WIDTH}}  {legend(series_list, style)}"]
    for row, cells in enumerate(canvas.lines()):
        label = labels.get(row, "")
        border = paint(f"{label:>{LABEL_WIDTH}}{tick if label else edge}", DIM, style)
        lines.append(border + cells)
    lines.append(paint(" " * LABEL_WIDTH + corner + floor * inner, DIM, style))
    lines.append(paint(" " * LABEL_WIDTH + _time_labels(x_ticks, inner), DIM, style))
    return lines


def _time_labels(ticks, inner):
    """Labels below the time axis, each starting at its tick; the unit follows the last."""
    text = [" "] * (inner + 1)
    for number, value in enumerate(ticks):
        label = tick_label(value) + (" s" if number == len(ticks) - 1 else "")
        start = min(round(value / ticks[-1] * inner), inner + 1 - len(label))
        text[start:start + len(label)] = label
    return "".join(text)
