"""Shows the progress: a plot that is redrawn in place on a terminal, or plain lines elsewhere."""

import shutil
import time

from plot import render
from terminal import BOLD, HIDE_CURSOR, MIN_COLUMNS, SHOW_CURSOR, paint, progress_bar
from units import human_bytes

FRAME_SECONDS = 0.12
LINE_SECONDS = 1.0
PLOT_ROWS = 14
PLAIN_COLUMNS = 80


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
