"""Tests of the parts that need no library and no compiler; run: python3 bench/malloc/test_malloc.py"""

import json
import os
import pathlib
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import charts
import figures
import goals
import inputs
import instructions
import libraries
import machine
import rounds
import run
import runner
import tables
import workloads
from allocators import (ALLOCATORS, BDWGC, FAMILIES, GLIBC, JEMALLOC, MICRO, MIMALLOC, OFF, OURS, OURS_LINKED, PATTERNS,
                        PROGRAMS, TCMALLOC)
from workloads import WORKLOADS

MIB = 1 << 20
TWO = {name: WORKLOADS[name] for name in ("larson", "perl", "micro")}


def record(workload="larson", allocator=OURS, failure=None, **fields):
    found = dict(wall_s=1.0, user_s=0.6, system_s=0.2, peak_bytes=10 * MIB, faults=5, status=0)
    return dict(found, workload=workload, allocator=allocator, failure=failure, **fields)


def cell(time=1.0, peak=10 * MIB, **fields):
    return figures.Summary(runs=3, wall=time, cpu=time, peak=peak, **fields)


class FiguresTest(unittest.TestCase):
    def test_medians_leave_out_what_is_missing(self):
        self.assertEqual(figures.median([3, None, 1, 2]), 2)
        self.assertIsNone(figures.median([None]))
        self.assertEqual(figures.deviation([1, 2, 2, 3, 9]), 1)
        self.assertIsNone(figures.deviation([]))

    def test_geometric_mean(self):
        self.assertAlmostEqual(figures.geometric_mean([2, 0.5, None]), 1.0)
        self.assertIsNone(figures.geometric_mean([None]))
        self.assertIsNone(figures.ratio(1, 0))
        self.assertIsNone(figures.ratio(None, 1))

    def test_summary(self):
        found = figures.summarize([dict(record(), wall_s=w, end_bytes=w) for w in (5, 1, 2)] + [record(failure="x")])
        self.assertEqual((found.runs, found.wall, found.wall_scatter, found.end, found.failures), (3, 2, 1, 2, ["x"]))
        self.assertAlmostEqual(found.cpu, 0.8)
        self.assertEqual(figures.summarize([record(failure="x")]).wall, None)

    def test_micro_times_are_medians_of_each(self):
        found = figures.summarize([record(times={"a": v, "b": 1.0}) for v in (1.0, 9.0, 3.0)])
        self.assertEqual(found.times, {"a": 3.0, "b": 1.0})

    def test_an_output_of_its_own_is_a_failure(self):
        records = [record(output="x"), record(output="x"), record(output="y"), record("perl", output="y"),
                   record("redis", output="")]
        figures.compare_outputs(records)
        self.assertEqual([bool(r["failure"]) for r in records], [False, False, True, False, False])


class LibrariesTest(unittest.TestCase):
    def text(self, *pairs):
        return "\n".join(f"  77:\tbinding file {a} [0] to {b} [0]: normal symbol `malloc' [GLIBC_2.2.5]" for a, b in pairs)

    def objection(self, *pairs):
        return libraries.objection(libraries.bindings(self.text(*pairs), "malloc"), "/lib/ours.so")

    def test_all_must_be_bound_to_the_library(self):
        self.assertIsNone(self.objection(("/bin/p", "/lib/ours.so"), ("/lib/x.so", "/lib/ours.so")))
        self.assertIn("libc.so.6", self.objection(("/bin/p", "/lib/ours.so"), ("/lib/x.so", "/lib/libc.so.6")))
        self.assertIn("no shared library", self.objection())

    def test_an_entry_of_the_program_that_leads_there_will_do(self):
        self.assertIsNone(self.objection(("/bin/p", "/lib/ours.so"), ("/lib/x.so", "/bin/p")))
        self.assertIn("p", self.objection(("/lib/x.so", "/bin/p"), ("/lib/y.so", "/lib/ours.so")))

    def test_names_are_whole(self):
        text = self.text(("/bin/p", "/lib/a.so")).replace("`malloc'", "`malloc_trim'")
        self.assertEqual(libraries.bindings(text, "malloc"), set())


class RunnerTest(unittest.TestCase):
    def test_failures_are_told(self):
        for change, word in ((dict(status=-11), "signal 11"), (dict(status=3), "status 3: oops"),
                             (dict(status=None), "by itself"),
                             (dict(printed={}), "printed nothing"), (dict(times={}), "printed nothing")):
            self.assertIn(word, runner.failure(dict(record(), **change), "oops\n"), change)
        self.assertIsNone(runner.failure(record(printed={"a": 1}), "a warning"))

    def test_micro_times_are_nanoseconds(self):
        entries = [{"name": "a/8/iterations:3", "real_time": 9.0, "cpu_time": 2.0, "time_unit": "ns"},
                   {"name": "b/iterations:3/real_time", "real_time": 9.0, "cpu_time": 2.0, "time_unit": "us"},
                   {"name": "c", "error_occurred": True}]
        self.assertEqual(runner.micro_times(json.dumps({"benchmarks": entries})), {"a/8": 2.0, "b": 9000.0})
        self.assertEqual(runner.micro_times(b"nothing"), {})

    def test_environments_do_not_mix(self):
        kept = dict(os.environ)
        os.environ.update(GCMALLOC_WORKERS="2", GCMALLOC_MODE="guard", LD_PRELOAD="x.so", MIMALLOC_VERBOSE="1",
                          MALLOC_ARENA_MAX="1")
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = runner.Runner("/lib.so", "/bin", folder, 1, 1)
                ours, off, linked, theirs = (found.environment(WORKLOADS["perl"], a)
                                             for a in (OURS, OFF, OURS_LINKED, MIMALLOC))
                self.assertTrue(found.library(OURS).startswith(folder))
                self.assertIsNone(found.library(BDWGC))
        finally:
            os.environ.clear()
            os.environ.update(kept)
        self.assertEqual([e.get("GCMALLOC_WORKERS") for e in (ours, off, linked, theirs)], ["2", "2", "2", None])
        self.assertEqual([e.get("GCMALLOC_MODE") for e in (ours, off, linked, theirs)], [None, "off", None, None])
        for name in ("LD_PRELOAD", "MIMALLOC_VERBOSE", "MALLOC_ARENA_MAX"):
            self.assertNotIn(name, theirs)
        self.assertEqual(theirs["PERL_HASH_SEED"], "0")

    def test_instructions(self):
        self.assertEqual(instructions.parse("==1== Collected : 1234\n"), 1234)
        self.assertIsNone(instructions.parse("nothing"))


class GoalsTest(unittest.TestCase):
    def good(self):
        found = {}
        for name in ("larson", "perl"):
            found.update({(name, OURS): cell(0.7), (name, OFF): cell(0.7), (name, GLIBC): cell(1.0),
                          (name, JEMALLOC): cell(0.8, 11 * MIB), (name, MIMALLOC): cell(0.75, 12 * MIB), (name, TCMALLOC): cell(0.8, 20 * MIB)})
        return found

    def missed(self, summaries):
        return sorted(g.what for g in goals.judge_all(TWO, summaries) if g.met is False)

    def test_all_met(self):
        found = goals.judge_all(TWO, self.good())
        self.assertEqual({g.met for g in found}, {True})
        self.assertIn("mimalloc", next(g.remark for g in found if "best peer" in g.what))

    def test_each_can_be_missed(self):
        for change, wanted in (({("larson", MIMALLOC): cell(0.4, 12 * MIB), ("perl", MIMALLOC): cell(0.4, 12 * MIB)},
                                ["best peer", "wall time, each"]),
                               ({("larson", OURS): cell(0.9)}, ["wall time, each"]),
                               ({("larson", GLIBC): cell(0.69)}, ["wall time, each"]),
                               ({("larson", GLIBC): cell(1.0, 6 * MIB)}, ["peak RSS, each", "against glibc"]),
                               ({("larson", JEMALLOC): cell(0.8, 8 * MIB)}, ["against each peer"]),
                               ({("larson", OFF): cell(0.6)}, [f"against {OFF}"])):
            words = self.missed({**self.good(), **change})
            for word in wanted:
                self.assertTrue(any(word in w for w in words), (change, word, words))

    def test_what_is_within_the_scatter_is_only_named(self):
        summaries = {**self.good(), ("larson", GLIBC): cell(0.69, wall_scatter=0.02, cpu_scatter=0.0)}
        found = {g.what: g for g in goals.judge_all(TWO, summaries)}
        self.assertTrue(found["collect: wall time, each"].met)
        self.assertIn("within the scatter: larson", found["collect: wall time, each"].remark)
        self.assertFalse(found["collect: user + system time, each"].met)

    def test_small_processes_may_have_a_little_more(self):
        summaries = {**self.good(), ("larson", GLIBC): cell(1.0, 2 * MIB), ("larson", OURS): cell(0.7, 3.4 * MIB)}
        self.assertFalse(any("collect: peak RSS, each" in w for w in self.missed(summaries)))
        summaries["larson", OURS] = cell(0.7, 3.6 * MIB)
        self.assertTrue(any("collect: peak RSS, each" in w for w in self.missed(summaries)))

    def test_what_failed_does_not_count(self):
        summaries = {**self.good(), ("larson", OURS): figures.Summary(failures=["x"])}
        self.assertIn("of 1", next(g.measured for g in goals.judge_all(TWO, summaries) if "wall time, each" in g.what))

    def test_micro_benchmarks_are_no_goal(self):
        summaries = {("micro", OURS): cell(9.0, times={"a": 1.0}), ("micro", GLIBC): cell(1.0), ("micro", JEMALLOC): cell(1.0)}
        self.assertEqual({g.met for g in goals.judge_all(TWO, summaries)}, {None})

    def test_nothing_measured_is_not_judged(self):
        self.assertEqual({g.met for g in goals.judge_all(TWO, {})}, {None})


class OutputTest(unittest.TestCase):
    def summaries(self):
        found = GoalsTest().good()
        found.update({("micro", OURS): cell(times={"a": 2.0, "b": 1e6}), ("micro", GLIBC): cell(times={"a": 1.0}),
                      ("larson", BDWGC): figures.Summary(failures=["ended by signal 11"])})
        return found

    def test_report(self):
        skipped = [("node", [OURS, OFF], "node is not installed")]
        text = tables.report(TWO, self.summaries(), skipped, [("commit", "abc")])
        for word in ("commit: abc", "## Goals", "node under collect, off: node is not installed", "larson under bdwgc",
                     "signal 11", "| larson | 1.000 s | 0.70 |", "| a | 1 ns | 2.00 |", "| b | – | 1 ms |", "**geometric mean**"):
            self.assertIn(word, text)

    def test_without_glibc_figures_are_shown(self):
        text = tables.report(TWO, {("larson", OURS): cell(0.7)}, [], [])
        self.assertIn("| larson | 0.700 s |", text)

    def test_empty_report(self):
        self.assertIn("not judged", tables.report(TWO, {}, [], []))

    def test_drawing_is_well_formed(self):
        for summaries in (self.summaries(), {}):
            xml.dom.minidom.parseString(charts.draw("a < b", "c & d", TWO, summaries))

    def test_every_allocator_has_a_colour(self):
        self.assertEqual(set(charts.COLOURS), set(ALLOCATORS) - {GLIBC})

    def test_facts(self):
        self.assertTrue(all(isinstance(v, str) and v for _, v in machine.facts("a run", machine.versions([]))))


class PlanTest(unittest.TestCase):
    def plan(self, *arguments):
        return run.plan(run.parse_arguments(list(arguments)))

    def test_all(self):
        found = self.plan()
        self.assertEqual({WORKLOADS[name].family for name, _ in found}, set(FAMILIES))
        self.assertNotIn(("perl", BDWGC), found)
        self.assertNotIn(("micro", BDWGC), found)
        self.assertIn(("larson", BDWGC), found)

    def test_choices(self):
        self.assertEqual(self.plan("--only", "sh", "cfrac", "--allocators", "glibc,collect"),
                         [(n, a) for n in ("sh6", "sh8", "cfrac") for a in (OURS, GLIBC)])
        families = self.plan("--family", MICRO, "--family", PROGRAMS)
        self.assertEqual({WORKLOADS[n].family for n, _ in families}, {MICRO, PROGRAMS})
        for wrong in (["--only", "nobody"], ["--allocators", "nobody"], ["--runs", "0"], ["--scale", "0"]):
            with self.assertRaises(SystemExit), open(os.devnull, "w", encoding="utf-8") as quiet:
                kept, sys.stderr = sys.stderr, quiet
                try:
                    run.parse_arguments(wrong)
                finally:
                    sys.stderr = kept

    def bench(self, runs, missing=None, failing=None):
        class Runs(runner.Runner):
            def missing(self, workload, allocator):
                return "gone" if allocator == missing else None

            def run(self, workload, allocator, observe):
                return record(failure="x" if allocator == failing else None)

        class Quiet:
            show = line = staticmethod(lambda *_: None)
        with tempfile.TemporaryDirectory() as folder:
            options = run.parse_arguments(["--only", "larson", "sh6", "--runs", str(runs), "--no-instructions"])
            bench = run.Bench(options, Runs("/lib.so", folder, folder, 1, 1), Quiet())
            bench.run()
        counts = {}
        for done in bench.records:
            pair = (done["workload"], done["allocator"])
            counts[pair] = counts.get(pair, 0) + 1
        return bench, counts

    def test_what_is_missing_is_named_and_not_run(self):
        bench, counts = self.bench(2, missing=MIMALLOC)
        self.assertEqual(bench.skipped, [("larson", [MIMALLOC], "gone"), ("sh6", [MIMALLOC], "gone")])
        self.assertEqual(set(counts.values()), {2})
        self.assertNotIn(("larson", MIMALLOC), counts)

    def test_what_failed_is_not_run_again_and_linked_ones_run_twice(self):
        _, counts = self.bench(4, failing=TCMALLOC)
        self.assertEqual((counts["larson", TCMALLOC], counts["larson", OURS], counts["larson", OURS_LINKED]), (1, 4, 2))

    def test_rounds_turn(self):
        pairs = self.plan()
        self.assertEqual(sorted(rounds.turned(pairs, 1)), sorted(pairs))
        self.assertNotEqual(rounds.turned(pairs, 0)[0], rounds.turned(pairs, 1)[0])


class WorkloadsTest(unittest.TestCase):
    def test_every_pattern_has_its_file_and_every_file_its_row(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "patterns")
        files = {name[:-2] for name in os.listdir(folder) if name.endswith(".c")} - {"pattern", "bignum"}
        self.assertEqual(files, {name for name, w in WORKLOADS.items() if w.family == PATTERNS})

    def test_packages(self):
        found = workloads.packages()
        for name in ("libjemalloc2", "libmimalloc2.0", "libtcmalloc-minimal4", "libbenchmark-dev", "redis-server", "z3"):
            self.assertIn(name, found)

    def test_inputs_are_the_same_at_every_run(self):
        def written(prepare):
            with tempfile.TemporaryDirectory() as folder:
                prepare(folder)
                return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
        for prepare in (inputs.c_source, inputs.sql, inputs.smt, inputs.postscript, inputs.script("work.py")):
            first = written(prepare)
            self.assertTrue(first)
            self.assertEqual(first, written(prepare))
        self.assertEqual(written(inputs.nothing), {})


if __name__ == "__main__":
    unittest.main()
