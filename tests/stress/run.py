#!/usr/bin/env python3
"""Runs the mutator under checkmark, poison and cycles without rest: run.py LIB MUTATOR [--hooks LIB] [--seconds N] [NAME…]

Law: prints `ok NAME`, `skip NAME why` or `FAIL NAME why` for each dirty source with each number of workers, and for each
negative control: LIB of --hooks leaves out one rule (platform/test_skip.h), and the mutator, or the checkmark, must
notice within some tries.
"""
import argparse
import fnmatch
import itertools
import os
import signal
import subprocess
import sys

SOURCES = ("uffd", "softdirty", "mprotect", "none")
WORKERS = ("0", "1", "2")
# Without checkmark, poison and stress malloc and free take their fast paths; cycles come from growth alone, as often as can be.
FAST = {"GCMALLOC_POISON": "0", "GCMALLOC_STRESS": "0", "GCMALLOC_PERCENT": "1"}
VARIANTS = {"": {"GCMALLOC_CHECKMARK": "1"}, "_fast": FAST, "_checkmark_only": {**FAST, "GCMALLOC_CHECKMARK": "1"}}
# The rule that is left out -> what is set beside it. Checkmark finds what was not marked, the mutator what was freed.
CONTROLS = {
    "dirty": {"GCMALLOC_CHECKMARK": "1"},
    # A page must be written, fetched and written again within one cycle: that takes a fast mutator and a larger heap.
    "rearm": {"GCMALLOC_CHECKMARK": "1", "GCMALLOC_POISON": "0", "GCMALLOC_STRESS": "20000"},
    "writes,selective": {"GCMALLOC_CHECKMARK": "1"},  # a small heap is never taken for one that nobody writes to
    "pass": {"GCMALLOC_CHECKMARK": "1"},
    "queued": {"GCMALLOC_CHECKMARK": "1"},
    "early_sweep": {},
    "black": {},
    "armed_again": {},
    "cached": FAST,
    # Minor cycles.
    "new_marks": FAST,
    "unscanned": FAST,
    "notes": FAST,
    "born_noted": FAST,
    "promoted": {**FAST, "GCMALLOC_CHECKMARK": "1"},
    "born_white": FAST,
    "trial_left": {"GCMALLOC_CHECKMARK": "1"},
    "beside,stop_arms": {**FAST, "GCMALLOC_CHECKMARK": "1"},
}
# What can be left out without harm. Where a thread cannot have descriptors of its own, there is none. What the dirty
# source does not report, the program's own barrier does.
WITHOUT = {
    "without_threads": {"GCM_TEST_SKIP": "own_descriptors"},
    "without_arm_first": {"GCM_TEST_SKIP": "arm_first"},
    "without_selective": {"GCM_TEST_SKIP": "selective"},
    "without_trial": {"GCM_TEST_SKIP": "trial"},
    "without_beside": {"GCM_TEST_SKIP": "beside"},
    "without_beside_fast": {**FAST, "GCM_TEST_SKIP": "beside"},
    "without_dirty_but_with_barriers": {"GCM_TEST_SKIP": "dirty", "MUTATOR_BARRIER": "1"},
}
TRIES = 8


def run(given, lib, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    env.update(GCMALLOC_POISON="1", GCMALLOC_STRESS="4000", LD_PRELOAD=os.path.abspath(lib))
    env.update(settings)
    done = subprocess.run([given.mutator, str(given.seconds), "3"], env=env, capture_output=True, text=True, errors="replace",
                          timeout=60 + 20 * given.seconds)
    said = (done.stdout + done.stderr).strip().replace("\n", " | ")[:400]
    ended = signal.Signals(-done.returncode).name if done.returncode < 0 else "status %d" % done.returncode
    return done.returncode, ended + ": " + said, "does not work here" in done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lib")
    parser.add_argument("mutator")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--hooks")
    parser.add_argument("--seconds", type=float, default=1.5)
    given = parser.parse_intermixed_args()
    chosen = lambda name: not given.names or any(fnmatch.fnmatch(name, pattern) for pattern in given.names)
    failed = 0
    for source, workers, variant in itertools.product(SOURCES, WORKERS, VARIANTS):
        name = "%s_workers_%s%s" % (source, workers, variant)
        if not chosen(name):
            continue
        settings = dict(VARIANTS[variant], GCMALLOC_DIRTY=source, GCMALLOC_WORKERS=workers)
        try:
            status, said, refused = run(given, given.lib, **settings)
        except subprocess.TimeoutExpired:
            status, said, refused = 1, "hangs", False
        failed += status != 0
        print("FAIL %s %s" % (name, said) if status else "skip %s the kernel has no such source" % name if refused else "ok " + name,
              flush=True)
    for name, settings in WITHOUT.items() if given.hooks else ():
        if not chosen(name):
            continue
        status, said, _ = run(given, given.hooks, GCMALLOC_DIRTY="uffd", GCMALLOC_CHECKMARK="1", **settings)
        failed += status != 0
        print("FAIL %s %s" % (name, said) if status else "ok " + name, flush=True)
    for rule, settings in CONTROLS.items() if given.hooks else ():
        name = "without_" + rule.replace(",", "_and_")
        if not chosen(name):
            continue
        noticed = None
        for _ in range(TRIES):
            try:
                status, said, _ = run(given, given.hooks, GCMALLOC_DIRTY="uffd", GCM_TEST_SKIP=rule, **settings)
            except subprocess.TimeoutExpired:
                status, said = 1, "hangs"
            if status != 0:
                noticed = said
                break
        failed += noticed is None
        print("ok %s %s" % (name, noticed[:120]) if noticed else "FAIL %s nobody noticed" % name, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
