"""The table at the end, and the verdict. Pure; returns lines of text.

Verdict: a run fails when the library was not loaded, when the program crashed, hung or ended
with another exit status than under glibc, or when its output differs. Memory and time are
figures to read, not conditions.
"""

import textwrap
from dataclasses import dataclass
from typing import Optional

from measure import Result
from traces import GcFigures
from units import human_bytes, human_count, human_micros, human_seconds

GOAL_RATIO = 1.3
NAME_WIDTH, VALUE_WIDTH, LINE_WIDTH = 24, 16, 79


@dataclass
class Outcome:
    """Everything that was measured."""
    glibc: Result
    gcmalloc: Result
    small: Optional[Result]
    gc: GcFigures
    small_text: str = ""
    small_share: float = 0.0

    def need(self):
        """Bytes that the live data needs, or None where it was not measured."""
        return self.small.peak if self.small and self.small.peak else None

    def comparable(self):
        """Whether both runs did the same work, so that their figures can be set side by side."""
        return self.glibc.sha256 == self.gcmalloc.sha256 and self.glibc.status == self.gcmalloc.status

    def saving(self):
        """'66.7x less': memory at the peak against glibc."""
        if not self.comparable():
            return "n/a"
        if self.gcmalloc.peak > self.glibc.peak:
            return f"{self._ratio(self.gcmalloc.peak, self.glibc.peak)} more"
        return f"{self._ratio(self.glibc.peak, self.gcmalloc.peak, 1)} less"

    def slowdown(self):
        """'1.07x': wall time against glibc."""
        return self._ratio(self.gcmalloc.seconds, self.glibc.seconds)

    def cpu_slowdown(self):
        """The same for CPU time, background threads included."""
        return self._ratio(self.gcmalloc.cpu_seconds, self.glibc.cpu_seconds)

    def _ratio(self, above, below, digits=2):
        return f"{above / below:.{digits}f}x" if above and below and self.comparable() else "n/a"


def failures(outcome):
    """What went wrong under gcmalloc, one sentence each; empty when all is well."""
    glibc, ours = outcome.glibc, outcome.gcmalloc
    found = []
    if not ours.library_seen:
        found.append("the library was not loaded into the program (static or setuid binary, or a broken library?)")
    if ours.timed_out:
        found.append(f"the program hung under gcmalloc: killed after {human_seconds(ours.seconds)}")
    elif ours.crashed() and ours.status != glibc.status:
        found.append(f"the program crashed under gcmalloc: {ours.ending()}")
    elif ours.status != glibc.status:
        found.append(f"the exit status differs: {glibc.ending()} under glibc, {ours.ending()} under gcmalloc")
    if ours.sha256 != glibc.sha256:
        found.append(f"the output differs: {glibc.output_bytes} bytes under glibc, {ours.output_bytes} under gcmalloc")
    return found


def _row(name, *values):
    return f"{name:<{NAME_WIDTH}}" + "".join(f"{v:<{VALUE_WIDTH}}" for v in values[:2]) + "".join(values[2:])


def _wide(name, value):
    return f"{name:<{NAME_WIDTH}}{value}"


def need_lines(outcome):
    """The need of the live data, how it was measured, and the ratio to it."""
    need = outcome.need()
    if need is None:
        reason = "too short to be seen" if outcome.small else "no short run, see --small"
        return [_wide("need of the live data", f"n/a ({reason})"),
                _wide("gcmalloc peak / need", "n/a")]
    how = f"measured: peak RSS under glibc on {outcome.small_text}"
    if outcome.small_share:
        leaked = max(0, outcome.glibc.peak - need) * outcome.small_share
        how += f" ({outcome.small_share * 100:.2g} %), where about {human_bytes(leaked)} has leaked"
    verdict = "n/a (not the same work)"
    if outcome.comparable():
        reached = outcome.gcmalloc.peak / need
        verdict = f"{reached:.2f}  (goal \u2264 {GOAL_RATIO}: {'met' if reached <= GOAL_RATIO else 'missed'})"
    margin = " " * NAME_WIDTH
    return [_wide("need of the live data", human_bytes(need)),
            *textwrap.wrap(how, LINE_WIDTH, initial_indent=margin, subsequent_indent=margin),
            _wide("gcmalloc peak / need", verdict)]


def gc_lines(gc):
    """What the collector did."""
    if gc.collections is None:
        return [_wide("leaked memory reclaimed", "n/a (no trace was written)"),
                _wide("collections", "n/a"), _wide("pauses", "n/a")]
    objects = "" if gc.reclaimed_objects is None else f" in {human_count(gc.reclaimed_objects)} blocks"
    extra = [f"dirty source {gc.dirty_source}"] if gc.dirty_source else []
    extra += [f"{gc.gc_cpu_s:.2f} s of CPU"] if gc.gc_cpu_s is not None else []
    pauses = "n/a"
    if gc.pause_max_us is not None:
        pauses = (f"p50 {human_micros(gc.pause_p50_us)}, p99 {human_micros(gc.pause_p99_us)}, "
                  f"max {human_micros(gc.pause_max_us)}, total {human_micros(gc.pause_total_us)}")
    return [_wide("leaked memory reclaimed", human_bytes(gc.reclaimed_bytes) + objects),
            _wide("collections", str(gc.collections) + (f"  ({', '.join(extra)})" if extra else "")),
            _wide("pauses" if gc.stops is None else f"pauses ({gc.stops} stops)", pauses)]


def table(outcome):
    """The lines of the table."""
    glibc, ours = outcome.glibc, outcome.gcmalloc
    same_output = "same" if glibc.sha256 == ours.sha256 else "DIFFERENT"
    same_status = "same" if glibc.ending() == ours.ending() else "DIFFERENT"
    lines = [
        _row("", "glibc", "gcmalloc", ""),
        _row("peak RSS", human_bytes(glibc.peak), human_bytes(ours.peak),
             outcome.saving()),
        _row("time", human_seconds(glibc.seconds), human_seconds(ours.seconds),
             f"slow-down {outcome.slowdown()}"),
        _row("CPU time, all threads", human_seconds(glibc.cpu_seconds), human_seconds(ours.cpu_seconds),
             outcome.cpu_slowdown()),
        _row("output (sha256)", glibc.sha256[:12], ours.sha256[:12],
             f"{same_output}, {human_bytes(glibc.output_bytes)}"),
        _row("exit status", glibc.ending(), ours.ending(), same_status)]
    return [line.rstrip() for line in lines + need_lines(outcome) + gc_lines(outcome.gc)]
