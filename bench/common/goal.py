"""One goal, and whether a run has reached it. Pure.

A goal that a run cannot judge (a workload was left out or failed) is neither met nor missed.
"""

from dataclasses import dataclass
from typing import Optional

from markdown import table


@dataclass
class Goal:
    """One line of the verdict."""
    what: str
    wanted: str
    measured: str = "n/a"
    met: Optional[bool] = None
    remark: str = ""

    def verdict(self):
        """In a word, or with the reason why there is none."""
        word = {True: "met", False: "missed", None: "not judged"}[self.met]
        return f"{word} ({self.remark})" if self.remark else word


def section(goals):
    """The part of a report that tells them: its lines."""
    rows = [(g.what, g.wanted, g.measured, g.verdict()) for g in goals]
    return ["## Goals", ""] + table(("goal", "wanted", "measured", "verdict"), rows)


def section_of(report):
    """That part of a report's text."""
    return report.split("## Goals", 1)[1].split("\n## ", 1)[0].strip()
