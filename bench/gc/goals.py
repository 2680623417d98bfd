"""What the collector is to reach, and whether a run has. Pure."""

from allocators import BDWGC, GLIBC, MACHINE, OFF, OURS
from goal import Goal
from units import human_bytes, human_micros

OBJECTS_GOAL, BYTES_GOAL = 40e6, 2e9
# MiB of the graph: highest p99 and maximum of stops, and worst stall, in microseconds.
STOPS = {1024: (500, 3000, 10000), 4096: (2000, 5000, None)}


class Judge:
    """Looks figures up in {(workload, allocator): Summary}, and compares."""

    def __init__(self, summaries):
        self._summaries = summaries
        self.goals = []

    def figure(self, workload, allocator, name):
        """An attribute of a summary, or None."""
        summary = self._summaries.get((workload, allocator))
        return getattr(summary, name) if summary else None

    def at_most(self, what, value, bound, show, remark=""):
        """value <= bound."""
        met = None if value is None else value <= bound
        self.goals.append(Goal(what, f"≤ {show(bound)}", show(value), met, remark))

    def ratio(self, what, above, below, least, wanted, remark=""):
        """above / below >= least."""
        if not above or not below:
            self.goals.append(Goal(what, wanted, remark=remark))
        else:
            self.goals.append(Goal(what, wanted, f"{above / below:.2f} ×", above / below >= least, remark))


def _graph(judge, size):
    stated = 4096 if size >= 4096 else 1024
    remark = "" if size == stated else f"stated for {stated} MiB, measured at {size:g}"
    p99, longest, stall = STOPS[stated]
    pauses = judge.figure("graph", OURS, "pauses") or (None,) * 4
    source = judge.figure("graph", OURS, "dirty_source")
    judge.goals.append(Goal("graph: dirty source", "uffd", source or "n/a", None if not source else source == "uffd"))
    if judge.figure("graph", OURS, "stops") == 0:
        remark = "; ".join(filter(None, (remark, "no collection fell into it: give more --seconds")))
    judge.at_most("graph: stops of the world, p99", pauses[1], p99, human_micros, remark)
    judge.at_most("graph: stops of the world, longest", pauses[3], longest, human_micros, remark)
    if stall:
        worst = judge.figure("graph", OURS, "stalls") or (None,) * 4
        control = (judge.figure("graph", GLIBC, "stalls") or (None,) * 4)[3]
        note = "; ".join(n for n in (remark, f"glibc in this run: {human_micros(control)}" if control else "") if n)
        judge.at_most("graph: worst stall of the mutator", worst[3], stall, human_micros, note)
    judge.ratio("graph: operations/s against bdwgc", judge.figure("graph", OURS, "ops_per_s"),
                judge.figure("graph", BDWGC, "ops_per_s"), 1, "≥ 1 ×")
    ours, theirs = judge.figure("graph", OURS, "peak"), judge.figure("graph", BDWGC, "peak")
    judge.goals.append(Goal("graph: peak memory", f"≤ bdwgc's {human_bytes(theirs)}", human_bytes(ours),
                            ours <= theirs if ours and theirs else None))
    tenth, full = judge.figure("graph-tenth", OFF, "ops_per_s"), judge.figure("graph", BDWGC, "ops_per_s")
    share = f"{tenth / full:.2f} of bdwgc's replacements at full speed" if tenth and full else ""
    if judge.figure("graph-tenth", OURS, "stops") == 0:
        share = "; ".join(filter(None, (share, "no collection fell into it")))
    judge.ratio("graph-tenth: speed against GCMALLOC_MODE=off", judge.figure("graph-tenth", OURS, "ops_per_s"), tenth, 0.9,
                "≥ 0.9 ×", share)


def _trees(judge):
    ours = judge.figure("trees", OURS, "seconds")
    judge.ratio("trees: speed against bdwgc", judge.figure("trees", BDWGC, "seconds"), ours, 2, "≥ 2 ×")
    judge.ratio("trees: speed against glibc with free", judge.figure("trees", GLIBC, "seconds"), ours, 1, "≥ 1 ×")
    peak, live = judge.figure("trees", OURS, "peak"), judge.figure("trees", OURS, "live")
    met = peak <= 2.5 * live if peak and live else None
    measured = f"{human_bytes(peak)} = {peak / live:.2f} × {human_bytes(live)}" if peak and live else "n/a"
    judge.goals.append(Goal("trees: peak memory against the live heap", "≤ 2.5 ×", measured, met))


def _mark(judge, workload, what, index, goal, limit_name, unit, scale):
    """A rate has to reach the goal where the machine could; a marker that is as fast as a machine too slow passes."""
    rate = (judge.figure(workload, OURS, "rates") or (None,) * 4)[index]
    limit = (judge.figure("limits", MACHINE, "limits") or {}).get(limit_name)
    if rate is None:
        judge.goals.append(Goal(what, f"≥ {goal / scale:g} {unit}"))
        return
    remark = f"{rate / limit:.2f} of the machine's limit, {limit / scale:.3g} {unit}" if limit else ""
    met = rate >= goal
    if not met and limit and limit < goal:
        met = True if rate >= 0.9 * limit else None
        remark += ", which does not allow it"
    judge.goals.append(Goal(what, f"≥ {goal / scale:g} {unit}", f"{rate / scale:.3g} {unit}", met, remark))


def judge_all(summaries, size):
    """The list of Goals; `size` of the graph in MiB."""
    judge = Judge(summaries)
    _graph(judge, size)
    _trees(judge)
    _mark(judge, "mark-64k", "marking 64 KiB blocks without pointers, a core", 1, BYTES_GOAL, "bytes_per_s", "GB/s", 1e9)
    _mark(judge, "mark-1m", "marking 1 MiB blocks without pointers, a core", 1, BYTES_GOAL, "bytes_per_s", "GB/s", 1e9)
    _mark(judge, "mark-linked", "marking linked 64-byte objects, a core", 0, OBJECTS_GOAL, "objects_per_s",
          "million/s", 1e6)
    return judge.goals
