"""Shows the progress: a plot that is redrawn in place on a terminal, or plain lines elsewhere."""

import math
import shutil
import time
from dataclasses import dataclass, field
from typing import List, Optional

from plot import BOLD, Series, Style, paint, render
from units import human_bytes, human_seconds

FRAME_SECONDS = 0.12
LINE_SECONDS = 1.0
MIN_COLUMNS, MIN_ROWS = 60, 14
PLOT_ROWS = 14
PLAIN_COLUMNS = 80
SPINNER = "|/-\\"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@dataclass
class View:
    """What there is to show at a moment."""
    series: List[Series] = field(default_factory=list)
    stage: str = ""
    elapsed: float = 0.0
    resident: int = 0
    fraction: Optional[float] = None
    overall: Optional[float] = None
    left: Optional[float] = None
    expected_seconds: float = 0.0


def locale_is_utf8(environment):
    """Whether the first of the locale variables that is set names UTF-8."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environment.get(name)
        if value:
            return "utf8" in value.lower().replace("-", "")
    return False


def choose_style(environment, is_terminal):
    """Braille needs a UTF-8 locale and a font that has it; colours a terminal that wants them."""
    term = environment.get("TERM", "")
    unicode = locale_is_utf8(environment) and term != "linux"
    return Style(unicode, is_terminal and term not in ("", "dumb") and not environment.get("NO_COLOR"))


def can_redraw(environment, is_terminal, size):
    """Whether the cursor can be moved, and a frame fits."""
    return (is_terminal and environment.get("TERM", "") not in ("", "dumb")
            and size.columns >= MIN_COLUMNS and size.lines >= MIN_ROWS)


def progress_bar(view, width, style, frame=0):
    """One line: stage, bar with percent, time left, memory now."""
    if view.overall is None:
        middle = f"{SPINNER[frame % len(SPINNER)]} {human_seconds(view.elapsed)}"
        percent = ""
    else:
        cells = max(8, width - 58)
        full = int(view.overall * cells)
        done, open_ = ("\u2588", "\u2591") if style.unicode else ("#", ".")
        middle = f"[{done * full}{open_ * (cells - full)}]"
        percent = f" {view.overall * 100:3.0f} %"
    left = "" if view.left is None else f"  ETA {math.ceil(view.left)} s"
    return f"{view.stage:<10} {middle}{percent}{left}  RSS {human_bytes(view.resident)}"[:width]


class LiveScreen:
    """Redraws the frame in place: one write a frame, the cursor moved up, no clearing."""

    def __init__(self, out, style, title):
        self._out, self._style, self._title = out, style, title
        self._drawn = 0
        self._size = None
        self._frame = 0
        self._next = 0.0
        out.write(HIDE_CURSOR)

    def update(self, view):
        """Draws the view, unless the last frame is too young."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + FRAME_SECONDS
            self._draw(view, progress=True)

    def final(self, view):
        """Draws the view once more, without the bar, and leaves it."""
        self._draw(view, progress=False)

    def close(self):
        """Gives the cursor back."""
        self._out.write(SHOW_CURSOR)
        self._out.flush()

    def _draw(self, view, progress):
        size = shutil.get_terminal_size()
        width = size.columns - 1
        rows = max(4, min(PLOT_ROWS, size.lines - 7))
        self._frame += 1
        lines = [paint(self._title[:width], BOLD, self._style)]
        lines += render(view.series, width, rows, self._style, view.expected_seconds)
        if progress:
            lines.append(progress_bar(view, width, self._style, self._frame))
        up = f"\x1b[{self._drawn}A" if size == self._size else ""  # after a resize: a new frame below
        self._out.write(up + "\r" + "".join(line + "\x1b[K\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._drawn, self._size = len(lines), size


class LineScreen:
    """A line a second, and the plot once at the end: for pipes, logs and dumb terminals."""

    def __init__(self, out, style, title):
        self._out, self._style = out, style
        self._next = 0.0
        self._stage = None
        out.write(title + "\n")

    def update(self, view):
        """Writes a line when the last is a second old, or when the stage is new."""
        if time.monotonic() < self._next and view.stage == self._stage:
            return
        self._next = time.monotonic() + LINE_SECONDS
        self._stage = view.stage
        percent = "  --" if view.fraction is None else f"{view.fraction * 100:3.0f} %"
        left = "" if view.left is None else f"  ETA {view.left:.0f} s"
        self._out.write(f"  {view.stage:<10} {percent}  {view.elapsed:5.1f} s"
                        f"  RSS {human_bytes(view.resident):>9}{left}\n")
        self._out.flush()

    def final(self, view):
        """Writes the plot."""
        columns = shutil.get_terminal_size((PLAIN_COLUMNS, 24)).columns - 1
        lines = render(view.series, max(MIN_COLUMNS, columns), PLOT_ROWS, self._style)
        self._out.write("\n" + "\n".join(line.rstrip() for line in lines) + "\n")

    def close(self):
        """Nothing was changed, nothing is to be restored."""
        self._out.flush()
