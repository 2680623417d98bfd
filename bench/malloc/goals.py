"""What gcmalloc is to reach beside the plain mallocs, and whether a run has. Pure.

Judged over patterns and real programs; the micro benchmarks show where time goes, and are no goal. A goal on single
workloads is missed by one whose median is beyond the bound by more than the scatter of both medians (median absolute
deviations); those within the scatter are named.
"""

from allocators import GLIBC, OFF, OURS, PATTERNS, PEERS, PLAIN, PROGRAMS
from figures import geometric_mean, ratio
from goal import Goal
from units import MIB

TIME_GOAL, SINGLE_GOAL, PEAK_GOAL, SINGLE_PEAK_GOAL, SINGLE_PEAK_MORE, COLLECT_GOAL = 1.00, 1.10, 1.10, 1.25, 1.5 * MIB, 1.02
NAMED = 8


class Judge:
    """Looks figures up in {(workload, allocator): Summary}, and compares."""

    def __init__(self, workloads, summaries):
        self._names = [name for name, w in workloads.items() if w.family in (PATTERNS, PROGRAMS)]
        self._summaries = summaries
        self.goals = []

    def value(self, name, allocator, what):
        """An attribute of a summary, or None."""
        summary = self._summaries.get((name, allocator))
        return getattr(summary, what) if summary and summary.runs else None

    def mean(self, above, below, what):
        """The geometric mean of `above` to `below`, over the workloads that both have, or None."""
        return geometric_mean([ratio(self.value(n, above, what), self.value(n, below, what)) for n in self._names])

    def _at_most(self, title, value, bound, remark=""):
        self.goals.append(Goal(title, f"≤ {bound:.2f} ×", "n/a" if value is None else f"{value:.3f} ×",
                               None if value is None else value <= bound, remark))

    def _singles(self, title, wanted, cells):
        """`cells`: (name, ratio to the bound, words, beyond the scatter)."""
        if not cells:
            self.goals.append(Goal(title, wanted))
            return
        over = sorted((c for c in cells if c[1] > 1), key=lambda c: -c[1])
        clear, close = [c for c in over if c[3]], [c for c in over if not c[3]]
        words = [c[0] + " " + c[2] for c in clear[:NAMED]] + ([f"{len(clear) - NAMED} more"] if len(clear) > NAMED else [])
        scattered = f"within the scatter: {', '.join(c[0] for c in close)}" if close else ""
        remark = "; ".join(filter(None, [", ".join(words), scattered]))
        self.goals.append(Goal(title, wanted, f"{len(clear)} of {len(cells)} beyond", not clear, remark))

    def time(self, ours, what, words):
        """Time against the plain mallocs of the run."""
        means = {p: m for p, m in ((p, self.mean(ours, p, what)) for p in PEERS) if m is not None}
        best = max(means, key=means.get) if means else None
        spread = ", ".join(f"{p} {m:.2f}" for p, m in means.items())
        self._at_most(f"{ours}: {words}, geometric mean against the best peer", means.get(best), TIME_GOAL,
                      f"the best is {best}; against {spread}" if best else "")
        cells = []
        for name in self._names:
            mine = self.value(name, ours, what)
            plain = {p: v for p, v in ((p, self.value(name, p, what)) for p in PLAIN) if v}
            if mine is None or not plain:
                continue
            first = min(plain, key=plain.get)
            bounds = {first: SINGLE_GOAL * plain[first]}
            if GLIBC in plain:
                bounds[GLIBC] = min(plain[GLIBC], bounds.get(GLIBC, plain[GLIBC]))
            held = min(bounds, key=bounds.get)
            scatter = sum(self.value(name, a, f"{what}_scatter") or 0 for a in (ours, held))
            cells.append((name, mine / bounds[held], f"{mine / plain[held]:.2f} × {held}", mine > bounds[held] + scatter))
        self._singles(f"{ours}: {words}, each", f"≤ {SINGLE_GOAL:.2f} × the best plain malloc, ≤ glibc", cells)

    def peak(self, ours):
        """Peak memory against glibc and the peers."""
        self._at_most(f"{ours}: peak RSS, geometric mean against glibc", self.mean(ours, GLIBC, "peak"), PEAK_GOAL)
        means = {p: m for p, m in ((p, self.mean(ours, p, "peak")) for p in PEERS) if m is not None}
        self.goals.append(Goal(f"{ours}: peak RSS, geometric mean against each peer", "< 1 × all",
                               ", ".join(f"{p} {m:.2f} ×" for p, m in means.items()) or "n/a",
                               all(m < 1 for m in means.values()) if means else None))
        cells = []
        for name in self._names:
            mine, theirs = self.value(name, ours, "peak"), self.value(name, GLIBC, "peak")
            if mine and theirs:
                bound = max(SINGLE_PEAK_GOAL * theirs, theirs + SINGLE_PEAK_MORE)
                cells.append((name, mine / bound, f"{mine / theirs:.2f} × ({(mine - theirs) / MIB:+.1f} MiB)", mine > bound))
        wanted = f"≤ {SINGLE_PEAK_GOAL:.2f} × glibc's or {SINGLE_PEAK_MORE / MIB:.1f} MiB more"
        self._singles(f"{ours}: peak RSS, each", wanted, cells)

    def collecting(self, what, words):
        """What collecting costs programs that lose nothing."""
        worst = [(r, n) for r, n in ((ratio(self.value(n, OURS, what), self.value(n, OFF, what)), n) for n in self._names) if r]
        worst = sorted(worst, reverse=True)[:3]
        self._at_most(f"{OURS} against {OFF}: {words}, geometric mean", self.mean(OURS, OFF, what), COLLECT_GOAL,
                      "most: " + ", ".join(f"{n} {r:.2f} ×" for r, n in worst) if worst else "")


def judge_all(workloads, summaries):
    """The list of Goals."""
    judge = Judge(workloads, summaries)
    for ours in (OURS, OFF):
        judge.time(ours, "wall", "wall time")
        judge.time(ours, "cpu", "user + system time")
        judge.peak(ours)
    judge.collecting("wall", "wall time")
    judge.collecting("cpu", "user + system time")
    return judge.goals
