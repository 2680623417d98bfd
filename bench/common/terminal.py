"""What a terminal can show, and the line that tells how far something is. Pure, but for what it is told."""

import math
from dataclasses import dataclass, field
from typing import List, Optional

from units import human_bytes, human_seconds

DIM, BOLD, RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
MIN_COLUMNS, MIN_ROWS = 60, 14
SPINNER = "|/-\\"


@dataclass
class Style:
    """What the terminal can show."""
    unicode: bool = True
    colour: bool = False


@dataclass
class View:
    """What there is to show at a moment."""
    series: List = field(default_factory=list)
    stage: str = ""
    elapsed: float = 0.0
    resident: int = 0
    fraction: Optional[float] = None
    overall: Optional[float] = None
    left: Optional[float] = None
    expected_seconds: float = 0.0


def paint(text, code, style):
    """Text in a colour where there are colours."""
    return f"{code}{text}{RESET}" if style.colour and text.strip() else text


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
