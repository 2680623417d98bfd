"""Tests of the parts that need no library and no compiler; run: python3 bench/gc/test_gc.py"""

import os
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import allocators
import charts
import figures
import goals
import machine
import rounds
import run
import runner
import tables
import watched
from allocators import BDWGC, GLIBC, MACHINE, OFF, OURS

MIB = 1 << 20
KNOWN = allocators.workloads(1024, 2.5, 18)


def record(cycles=(), failure=None, **printed):
    return dict(wall_s=4.0, user_s=2.0, system_s=1.0, peak_bytes=100 * MIB, status=0, failure=failure, cycles=list(cycles),
                printed=printed)


def cell(**fields):
    return figures.Summary(rounds=1, **fields)


class DistributionTest(unittest.TestCase):
    def test_percentile_counts_weights(self):
        spread = [(5.0, 1), (1.0, 98), (9.0, 1)]
        self.assertEqual([figures.percentile(spread, p) for p in (50, 98, 99, 99.9, 100)], [1, 1, 5, 9, 9])
        self.assertIsNone(figures.percentile([], 50))

    def test_percentile_is_exact_at_whole_ranks(self):
        for total in (10, 100, 1000, 12345000):
            spread = [(1, total - total // 10), (2, total // 10)]
            self.assertEqual(figures.percentile(spread, 90), 1, total)

    def test_pairs_leave_out_what_is_not_one(self):
        self.assertEqual(figures.pairs([[1000, 2], [1], "x", [None, 3], 7], 1e-3), [(1.0, 2)])
        self.assertEqual(figures.pairs(None), [])


class RecordTest(unittest.TestCase):
    def cycle(self, start, pauses, **more):
        return dict(start_s=start, mark_ms=100.0, sweep_ms=10.0, pause_us=pauses, **more)

    def test_only_cycles_of_the_phase_count(self):
        before, across, within = self.cycle(0.5, [1]), self.cycle(1.95, [2, 3]), self.cycle(4, [4])
        found = record([before, across, within], begin_s=2.0)
        self.assertEqual(figures.pauses_us(found), [(2, 1), (3, 1), (4, 1)])

    def test_pauses_of_others_are_in_nanoseconds(self):
        self.assertEqual(figures.pauses_us(record(pause_ns=[[2000, 3]])), [(2.0, 3)])
        self.assertEqual(figures.pauses_us(record()), [])

    def test_a_pause_may_be_one_number_or_many(self):
        for entry, count in ((5, 1), ([5], 1), ([], 0), ([1, 2, 3], 3), (None, 0)):
            self.assertEqual(len(figures.pauses_us(record([self.cycle(9, entry)]))), count, entry)

    def test_summary_pools_distributions_and_takes_medians(self):
        rounds = [record(ops_per_s=v, stall_ns=[[1000, 9], [v * 1000, 1]], live_bytes=50 * MIB) for v in (10, 30, 20)]
        rounds.append(record(failure="ended by signal 11"))
        found = figures.summarize(rounds)
        self.assertEqual((found.rounds, found.ops_per_s, found.cpu_s, found.ratio_to_live()), (3, 20, 3.0, 2.0))
        self.assertEqual(found.stalls, (1.0, 30.0, 30.0, 30.0))
        self.assertEqual(found.worst_stalls, [10.0, 30.0, 20.0])
        self.assertEqual(found.failures, ["ended by signal 11"])

    def test_nothing_but_failures(self):
        found = figures.summarize([record(failure="x")])
        self.assertEqual((found.rounds, found.ops_per_s, found.pauses), (0, None, (None,) * 4))

    def test_mark_rates(self):
        held = dict(begin_s=1.0, objects=1000, bytes=64000, collections=[[0.5, 0.25], [0.5, 0.25]])
        self.assertEqual(figures.mark_rates(record(**held), False)[0], (2000, 128000, 4000, 256000))
        cycle = self.cycle(2, [1], marked_objects=1000, heap_marked=64000, workers=2)
        early = self.cycle(0, [1], marked_objects=9, heap_marked=9)
        self.assertEqual(figures.mark_rates(record([early, cycle], **held), True), [(5000, 320000, 4000, 256000)])
        self.assertEqual(figures.mark_rates(record(), True), [])


class RunnerTest(unittest.TestCase):
    def test_failures_are_told(self):
        for change, word in ((dict(status=-11), "signal 11"), (dict(status=3), "status 3: oops"), (dict(status=None), "by itself"),
                             (dict(printed={}), "printed nothing"), (dict(printed={"intact": False}), "DATA LOST")):
            self.assertIn(word, runner.failure(dict(record(ops=1), **change), "oops\n"), change)
        self.assertIsNone(runner.failure(record(ops=1, intact=True), "a warning"))

    def test_the_last_line_is_the_object(self):
        self.assertEqual(watched.parse_object(b'hello\n{"a": 1}\n'), {"a": 1})
        for broken in (b"", b"[1]", b'{"a": ', b"\xff"):
            self.assertEqual(watched.parse_object(broken), {})

    def test_environments_do_not_mix(self):
        kept = dict(os.environ)
        os.environ.update(GCMALLOC_WORKERS="2", GCMALLOC_MODE="guard", LD_PRELOAD="x.so", GC_MARKERS="9", GOGC="off")
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = runner.Runner("/lib.so", "/bin", folder, 1, 1)
                ours, off, theirs = (found.environment(KNOWN["graph"], a, "trace") for a in (OURS, OFF, BDWGC))
        finally:
            os.environ.clear()
            os.environ.update(kept)
        self.assertEqual((ours["GCMALLOC_WORKERS"], ours["GCMALLOC_TRACE_JSON"]), ("2", "trace"))
        self.assertEqual((ours.get("GCMALLOC_MODE"), off["GCMALLOC_MODE"]), (None, "off"))
        for name in ("LD_PRELOAD", "BENCH_PRELOAD", "GC_MARKERS", "GOGC", "GCMALLOC_WORKERS"):
            self.assertNotIn(name, theirs)


class GoalsTest(unittest.TestCase):
    def verdicts(self, summaries, size=1024):
        return {g.what: g for g in goals.judge_all(summaries, size)}

    def good(self):
        return {("graph", OURS): cell(pauses=(50, 400, 900, 2900), stalls=(1, 2, 3, 9000), ops_per_s=5e6, peak=2000 * MIB,
                                      stops=9, dirty_source="uffd"),
                ("graph", BDWGC): cell(ops_per_s=4e6, peak=2048 * MIB),
                ("graph-tenth", OURS): cell(ops_per_s=4.6e5, stops=3), ("graph-tenth", OFF): cell(ops_per_s=5e5),
                ("trees", OURS): cell(seconds=1.0, peak=40 * MIB, live=16 * MIB), ("trees", BDWGC): cell(seconds=2.5),
                ("trees", GLIBC): cell(seconds=1.0), ("mark-linked", OURS): cell(rates=(5e7, 3e9, 5e7, 3e9)),
                ("mark-64k", OURS): cell(rates=(1, 3e9, 1, 3e9)), ("mark-1m", OURS): cell(rates=(1, 3e9, 1, 3e9)),
                ("limits", MACHINE): cell(limits={"objects_per_s": 1e8, "bytes_per_s": 3e10})}

    def test_all_met(self):
        self.assertEqual({g.met for g in self.verdicts(self.good()).values()}, {True})

    def test_each_can_be_missed(self):
        for key, change in ((("graph", OURS), dict(dirty_source="none")), (("graph", OURS), dict(pauses=(1, 501, 501, 501))),
                            (("graph", OURS), dict(pauses=(1, 1, 1, 3001))), (("graph", OURS), dict(stalls=(1, 1, 1, 10001))),
                            (("graph", OURS), dict(ops_per_s=3.9e6)), (("graph", OURS), dict(peak=2049 * MIB)),
                            (("graph-tenth", OURS), dict(ops_per_s=4.4e5)), (("trees", OURS), dict(peak=41 * MIB)),
                            (("trees", BDWGC), dict(seconds=1.9)), (("trees", GLIBC), dict(seconds=0.9)),
                            (("mark-linked", OURS), dict(rates=(3.9e7, 1, 1, 1))), (("mark-1m", OURS), dict(rates=(1, 1e9, 1, 1)))):
            summaries = self.good()
            for name, value in change.items():
                setattr(summaries[key], name, value)
            missed = [g for g in goals.judge_all(summaries, 1024) if g.met is False]
            self.assertEqual(len(missed), 1, (key, change, missed))

    def test_a_slow_machine_excuses_the_mark_rate(self):
        summaries = self.good()
        summaries[("limits", MACHINE)].limits["objects_per_s"] = 3e7
        for rate, met in ((2e7, None), (2.8e7, True), (4.1e7, True)):
            summaries[("mark-linked", OURS)].rates = (rate, 1, 1, 1)
            self.assertEqual(self.verdicts(summaries)["marking linked 64-byte objects, a core"].met, met, rate)

    def test_sizes_have_their_own_bounds(self):
        summaries = self.good()
        summaries[("graph", OURS)].pauses = (1, 1900, 2000, 4900)
        large = self.verdicts(summaries, 4096)
        self.assertTrue(large["graph: stops of the world, p99"].met and large["graph: stops of the world, longest"].met)
        self.assertNotIn("graph: worst stall of the mutator", large)
        self.assertIn("measured at 64", self.verdicts(summaries, 64)["graph: stops of the world, p99"].verdict())

    def test_nothing_measured_is_not_judged(self):
        found = goals.judge_all({}, 1024)
        self.assertEqual({g.met for g in found}, {None})
        self.assertTrue(all("not judged" in g.verdict() for g in found))


class OutputTest(unittest.TestCase):
    def summaries(self):
        rounds = [record([dict(start_s=1, mark_ms=1, pause_us=[50, 70], dirty_source="uffd")], ops_per_s=1e6, seconds=1.0,
                         cpu_s=1.0, live_bytes=MIB, stall_ns=[[900, 10], [5000000, 1]])]
        return {("graph", OURS): figures.summarize(rounds, True), ("graph", OFF): figures.summarize([record(ops_per_s=2e6)]),
                ("graph", GLIBC): figures.summarize([record(failure="a <b> | c")]),
                ("mark-linked", OURS): cell(rates=(1e7, 1e9, 1e7, 1e9), peak=MIB),
                ("limits", MACHINE): cell(limits={"objects_per_s": 1e8, "bytes_per_s": 1e10})}

    def test_tables_are_rectangular(self):
        text = tables.report(KNOWN, self.summaries(), 1024, [("commit", "abc")])
        widths, inside = set(), False
        for line in text.splitlines() + [""]:
            if line.startswith("|"):
                widths.add(line.replace("\\|", "").count("|"))
            elif widths:
                self.assertEqual(len(widths), 1, line)
                widths, inside = set(), True
        self.assertTrue(inside)
        self.assertIn("glibc FAILED in 1 round(s)", text)
        self.assertIn("dirty source uffd", text)

    def test_rates_have_a_unit_that_suits(self):
        self.assertEqual([tables.rate(v) for v in (None, 12, 4.2e4, 3.14e6)], ["n/a", "0.012 k", "42 k", "3.14 M"])

    def test_empty_report(self):
        self.assertIn("not judged", tables.report(KNOWN, {}, 1024, []))

    def test_drawing_is_well_formed(self):
        for summaries in (self.summaries(), {}):
            xml.dom.minidom.parseString(charts.draw("a < b", "c & d", KNOWN, summaries))

    def test_facts(self):
        options = run.parse_arguments([])
        self.assertTrue(all(isinstance(v, str) and v for _, v in machine.facts(run.words(options), run.versions())))
        self.assertEqual(machine.field("a: 1\nb\t: 2 3\n", "b"), "2 3")


class PlanTest(unittest.TestCase):
    def plan(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            return run.plan(run.parse_arguments(list(arguments)), runner.Runner("/lib.so", folder, folder, 1, 1))

    def test_go_is_left_out_where_it_is_not(self):
        self.assertNotIn(("graph", "go"), self.plan())
        self.assertIn(("limits", MACHINE), self.plan())

    def test_choices(self):
        self.assertEqual(self.plan("--only", "trees", "--allocators", "glibc,gcmalloc"), [("trees", OURS), ("trees", GLIBC)])
        self.assertEqual({name for name, _ in self.plan("--only", "mark", "--only", "leak")},
                         {"mark-linked", "mark-64k", "mark-1m", "leak"})

    def test_what_failed_is_not_run_again(self):
        class Runs(runner.Runner):
            def run(self, workload, allocator, observe):
                return record(failure="x" if allocator == BDWGC else None, ops_per_s=1.0)

        class Quiet:
            show = line = staticmethod(lambda *_: None)
        with tempfile.TemporaryDirectory() as folder:
            options = run.parse_arguments(["--only", "table", "--only", "leak", "--rounds", "3", "--allocators", "bdwgc,glibc"])
            bench = run.Bench(options, Runs("/lib.so", folder, folder, 1, 1), Quiet())
            bench.run()
        counts = {}
        for done in bench.records:
            pair = (done["workload"], done["allocator"])
            counts[pair] = counts.get(pair, 0) + 1
        self.assertEqual(counts, {("table", BDWGC): 1, ("table", GLIBC): 3, ("leak", BDWGC): 1, ("leak", GLIBC): 2})

    def test_rounds_turn(self):
        pairs = self.plan()
        for number in range(4):
            self.assertEqual(sorted(rounds.turned(pairs, number)), sorted(pairs))
        self.assertNotEqual(rounds.turned(pairs, 0)[0], rounds.turned(pairs, 1)[0])


if __name__ == "__main__":
    unittest.main()
