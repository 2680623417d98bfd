"""How far a run is: a fraction, from the best evidence there is, and the time that is left.

In order of trust: bytes of input that the command has taken from the pipe; bytes of output
against the number expected; its position in the largest file it reads; time against an earlier
run.
"""

import time

POSITION_CHECK_SECONDS = 0.5
ALMOST = 0.99
LEAST_FRACTION, LEAST_SECONDS = 0.02, 0.4


class Progress:
    """Estimates the fraction of one run; never goes backwards."""

    def __init__(self, expected_output=None, expected_seconds=None):
        self._expected_output = expected_output
        self._expected_seconds = expected_seconds
        self._position = None
        self._next_check = 0.0
        self._best = None

    def fraction(self, run):
        """0..1, or None when nothing tells."""
        found = self._evidence(run)
        if found is not None:
            self._best = max(self._best or 0.0, min(found, ALMOST))
        return self._best

    def _evidence(self, run):
        if run.feed:
            return run.fed_bytes / run.feed.size
        if self._expected_output:
            return run.result.output_bytes / self._expected_output
        position = self._file_position(run)
        if position is not None:
            return position
        if self._expected_seconds:
            return run.elapsed() / self._expected_seconds
        return None

    def _file_position(self, run):
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + POSITION_CHECK_SECONDS
            self._position = run.tree.input_fraction()
        return self._position


def seconds_left(fraction, elapsed, expected_seconds=None):
    """Time that a run still needs; None when nothing tells."""
    if fraction and fraction >= LEAST_FRACTION and elapsed >= LEAST_SECONDS:
        return elapsed * (1 - fraction) / fraction
    if expected_seconds:
        return max(0.0, expected_seconds - elapsed)
    return None
