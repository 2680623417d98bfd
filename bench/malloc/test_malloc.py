"""Tests of the parts that need no library and no compiler, and of the patterns where they were built; run:
python3 bench/malloc/test_malloc.py"""

import json
import os
import subprocess
import sys
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "common"))

import chart
import figures
import goals
import programs
import report
import run
import runner
from allocators import ALLOCATORS, GLIBC, OFF, OURS, PEERS
from figures import Summary
from patterns import PATTERNS

MIB = 1 << 20
FACTS = [("processor", "p"), ("commit", "c")]


def record(workload="larson", allocator=OURS, wall=1.0, failure=None, **more):
    return dict(workload=workload, allocator=allocator, wall_s=wall, user_s=wall, system_s=0.5, peak_bytes=10 * MIB, faults=7,
                status=0, failure=failure, printed={"end_bytes": MIB, "intact": True}, sum="", **more)


def cells(ours=1.0, off=1.0, others=1.0, peak=10 * MIB, names=("larson", "perl")):
    found = {}
    for w in names:
        for a in ALLOCATORS:
            value = ours if a == OURS else off if a == OFF else others
            found[(w, a)] = Summary(rounds=1, wall=value, cpu=value, peak=peak if a == OURS else 10 * MIB)
    return found


class FiguresTest(unittest.TestCase):
    def test_medians_are_of_what_succeeded(self):
        s = figures.summarize([record(wall=w) for w in (1, 5, 2)] + [record(wall=9, failure="killed")])
        self.assertEqual((s.rounds, s.wall, s.cpu, s.peak, s.end, s.faults), (3, 2, 2.5, 10 * MIB, MIB, 7))
        self.assertEqual(s.failures, ["killed"])
        self.assertIsNone(figures.summarize([record(failure="x")]).wall)

    def test_geometric_mean(self):
        self.assertAlmostEqual(figures.geometric_mean([0.5, 2, None]), 1)
        self.assertIsNone(figures.geometric_mean([]))

    def test_outputs_are_compared(self):
        same = [dict(record("perl", a), sum="1") for a in (OURS, GLIBC)]
        self.assertEqual(figures.different_outputs(same), {})
        other = same + [dict(record("perl", "mimalloc"), sum="2")]
        self.assertEqual(figures.different_outputs(other), {"perl": {"1": [OURS, GLIBC], "2": ["mimalloc"]}})


class GoalsTest(unittest.TestCase):
    def verdicts(self, **how):
        return [g.met for g in goals.judge(cells(**how))]

    def test_met(self):
        self.assertEqual(self.verdicts(ours=0.9, off=0.9, peak=9 * MIB), [True] * 5)

    def test_slower_than_the_best(self):
        self.assertEqual(self.verdicts(ours=1.01, off=1.01, peak=9 * MIB), [False, False, True, True, True])

    def test_fatter(self):
        self.assertEqual(self.verdicts(ours=0.9, off=0.9, peak=12 * MIB), [True, True, False, True, True])
        self.assertEqual(self.verdicts(ours=0.9, off=0.9, peak=13 * MIB), [True, True, False, False, True])

    def test_collecting_costs(self):
        self.assertEqual(self.verdicts(ours=0.93, off=0.9, peak=9 * MIB)[4], False)

    def test_only_what_all_have_counts(self):
        found = cells(ours=0.9, off=0.9)
        found[("perl", PEERS[1])] = Summary(failures=["x"])
        self.assertIn("1 workloads", goals.judge(found)[0].what)
        self.assertEqual(goals.judge({}), [])


class OutputTest(unittest.TestCase):
    def test_report(self):
        text = report.report([record()], cells(), {("cfrac", GLIBC): 50.0, ("cfrac", OURS): 25.0}, {("Pair/1", GLIBC): 10.0},
                             {"z3": "not installed"}, FACTS)
        for part in ("## Goals", "## Patterns", "## Programs", "25 (0.50)", "Skipped: z3: not installed.", "10.0 ns (1.00)"):
            self.assertIn(part, text)

    def test_failures_are_told(self):
        found = cells()
        found[("larson", OURS)] = figures.summarize([record(failure="ended by signal 11")])
        self.assertIn("larson under gcmalloc FAILED in 1 round(s)", report.report([], found, {}, {}, {}, FACTS))

    def test_drawing_is_well_formed(self):
        for found in (cells(), {}):
            xml.dom.minidom.parseString(chart.draw("a < b", "c & d", [*PATTERNS], found))


class RunnerTest(unittest.TestCase):
    def test_failures(self):
        good = record()
        self.assertIsNone(runner.failure("larson", good, ""))
        self.assertIn("signal 6", runner.failure("larson", dict(good, status=-6), "double free"))
        self.assertIn("did not hold", runner.failure("larson", dict(good, printed={"intact": False}), ""))
        self.assertIn("did not end", runner.failure("perl", {}, ""))

    def test_arguments(self):
        options = run.parse_arguments(["--only", "lar", "--allocators", "gcmalloc,glibc", "--family", "patterns"])
        self.assertEqual((run.wanted(options), options.chosen), (["larson"], [OURS, GLIBC]))

    def test_each_round_has_all(self):
        pairs = [(w, a) for w in PATTERNS for a in ALLOCATORS]
        self.assertEqual(sorted(run.turned(pairs, 3)), sorted(pairs))
        self.assertNotEqual(run.turned(pairs, 1)[0], pairs[0])

    def test_packages(self):
        self.assertIn("redis-server", programs.packages())


class PatternsTest(unittest.TestCase):
    def test_sources_are_those_that_are_run(self):
        sources = {name[:-2] for name in os.listdir(os.path.join(HERE, "patterns")) if name.endswith(".c")} - {"pattern"}
        self.assertEqual(sources, set(PATTERNS))

    @unittest.skipUnless(os.environ.get("BENCH_PATTERNS"), "BENCH_PATTERNS names no folder of built patterns")
    def test_each_runs(self):
        for name in PATTERNS:
            for library in ("", os.environ.get("BENCH_LIBRARY", "")):
                done = subprocess.run([os.path.join(os.environ["BENCH_PATTERNS"], name), "1"], capture_output=True, timeout=60,
                                      env=dict(os.environ, **({"LD_PRELOAD": library} if library else {})), check=False)
                self.assertEqual(done.returncode, 0, (name, library, done.stderr))
                self.assertTrue(json.loads(done.stdout)["intact"], name)


if __name__ == "__main__":
    unittest.main()
