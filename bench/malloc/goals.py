"""What gcmalloc is to reach beside the others, and whether it did. Pure."""

from dataclasses import dataclass

from allocators import GLIBC, OFF, OURS, PEERS
from figures import geometric_mean, ratio

MIB = 1 << 20
TIME_OF_BEST, TIME_OF_ONE, PEAK_OF_GLIBC, PEAK_OF_ONE, PEAK_MORE, COLLECTING = 1.00, 1.10, 1.10, 1.25, 1.5 * MIB, 1.02


@dataclass
class Goal:
    """`met` is None where it cannot be told."""
    what: str
    wanted: str
    measured: str
    met: object

    def verdict(self):
        """For the table."""
        return "n/a" if self.met is None else "met" if self.met else "**missed**"


def common(cells, allocators):
    """Workloads that all of these allocators have figures of."""
    names = {w for w, _ in cells}
    return sorted(w for w in names if all((w, a) in cells and cells[(w, a)].rounds for a in allocators))


def mean(cells, workloads, allocator, base, value):
    """The geometric mean of an allocator's ratios to another."""
    return geometric_mean([ratio(value(cells[(w, allocator)]), value(cells[(w, base)])) for w in workloads])


def judge(cells):
    """All goals, for {(workload, allocator): Summary} of patterns and programs."""
    peers = [p for p in PEERS if any(a == p for _, a in cells)]
    workloads = common(cells, [OURS] + peers)
    if not workloads or GLIBC not in peers:
        return []
    wall, peak = (lambda s: s.wall), (lambda s: s.peak)
    times = {a: mean(cells, workloads, a, GLIBC, wall) for a in [OURS] + peers}
    peaks = {a: mean(cells, workloads, a, GLIBC, peak) for a in [OURS] + peers}
    best = min(peers, key=lambda p: times[p])
    found = ratio(times[OURS], times[best])
    goals = [Goal(f"time, geometric mean over {len(workloads)} workloads", f"<= {TIME_OF_BEST:.2f} x the best peer's",
                  f"{found:.2f} x {best}'s ({times[OURS]:.2f} x {GLIBC}'s)", found <= TIME_OF_BEST)]

    slow = []
    for w in workloads:
        ours = wall(cells[(w, OURS)])
        fastest = min(peers, key=lambda p: wall(cells[(w, p)]))
        to_best, to_glibc = ratio(ours, wall(cells[(w, fastest)])), ratio(ours, wall(cells[(w, GLIBC)]))
        if to_best > TIME_OF_ONE or to_glibc > 1:
            slow.append(f"{w} {to_best:.2f} x {fastest}, {to_glibc:.2f} x {GLIBC}")
    goals.append(Goal("time of each", f"<= {TIME_OF_ONE:.2f} x the fastest peer's and <= {GLIBC}'s",
                      "; ".join(slow) or "all", not slow))

    least = min((p for p in peers if p != GLIBC), key=lambda p: peaks[p], default=GLIBC)
    goals.append(Goal("peak memory, geometric mean", f"<= {PEAK_OF_GLIBC:.2f} x {GLIBC}'s and below every other peer's",
                      f"{peaks[OURS]:.2f} x ({least} {peaks[least]:.2f} x)",
                      peaks[OURS] <= PEAK_OF_GLIBC and all(peaks[OURS] < peaks[p] for p in peers if p != GLIBC)))
    fat = []
    for w in workloads:
        ours, theirs = peak(cells[(w, OURS)]), peak(cells[(w, GLIBC)])
        if ours > max(PEAK_OF_ONE * theirs, theirs + PEAK_MORE):
            fat.append(f"{w} {ours / theirs:.2f} x (+{(ours - theirs) / MIB:.1f} MiB)")
    goals.append(Goal("peak memory of each", f"<= {PEAK_OF_ONE:.2f} x {GLIBC}'s or {PEAK_MORE / MIB:g} MiB more",
                      "; ".join(fat) or "all", not fat))

    both = common(cells, [OURS, OFF])
    cost = mean(cells, both, OURS, OFF, lambda s: s.cpu) if both else None
    goals.append(Goal("collecting, where nothing leaks", f"<= {(COLLECTING - 1) * 100:.0f} % CPU over off",
                      "n/a" if cost is None else f"{(cost - 1) * 100:+.1f} %", None if cost is None else cost <= COLLECTING))
    return goals
