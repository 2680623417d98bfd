"""Runs in rounds that interleave what is compared, and the line that tells how far they are."""

import os
import shutil
import signal

from terminal import HIDE_CURSOR, SHOW_CURSOR, can_redraw, choose_style, progress_bar


def turned(pairs, number):
    """The order of a round: each begins elsewhere, so that nobody always runs after the same."""
    start = number * 5 % len(pairs)
    return pairs[start:] + pairs[:start]


class Screen:
    """A bar that is redrawn on a terminal; a line for each run elsewhere."""

    def __init__(self, out):
        self._out = out
        self._style = choose_style(os.environ, out.isatty())
        self._live = can_redraw(os.environ, out.isatty(), shutil.get_terminal_size())
        if self._live:
            out.write(HIDE_CURSOR)

    def show(self, view):
        """Redraws the bar."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._out.write("\r" + progress_bar(view, width, self._style) + "\x1b[K")
            self._out.flush()

    def line(self, words):
        """A line that stays."""
        self._out.write(("\r\x1b[K" if self._live else "") + words + "\n")
        self._out.flush()

    def close(self):
        """Gives the cursor back."""
        if self._live:
            self._out.write("\r\x1b[K" + SHOW_CURSOR)
            self._out.flush()


def write_files(path, texts):
    """`texts` by the ending that each adds to the path."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    for ending, content in texts.items():
        with open(path + ending, "w", encoding="utf-8") as file:
            file.write(content)


def _interrupt(_number, _frame):
    raise KeyboardInterrupt


def unwind_on_signals():
    """What ends the series raises KeyboardInterrupt, so that the child ends and what is done is written."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
