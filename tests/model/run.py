#!/usr/bin/env python3
"""Checks the models of the protocols with spin: run.py [PATTERN…]

Law: a model as it is holds, in each of its configurations: the search is complete and finds nothing. With any of its
broken variants the checker finds an assertion that is violated or a deadlock, or the model proves nothing. What each
shows and breaks is said at the top of its file. Prints `ok NAME: states, seconds` or `FAIL NAME why`, and a count;
status 0 when none failed.
"""
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MEGABYTES = 1500
DEPTH = 300000
SECONDS = 300

# model: (configurations that hold, variants that must not). Words are -D flags.
MODELS = {
    "publish": ([""],
                ["EARLY FIRST", "EARLY ONLY_MORE", "EARLY ONLY_BELOW", "EARLY ONLY_ABOVE", "CARDS_AFTER", "RELAXED_USED",
                 "RELAXED_LO", "RELAXED_CHUNK", "RELAXED_SPAN", "GAP", "CACHED", "BOUND_ONLY"]),
    "cards": ([""], ["SWAPPED", "SPLIT", "ARM_LATE", "NO_FINAL", "NO_REGISTERS", "UNTRACKED", "BLIND"]),
    "world": (["SECTIONS CALLS BIRTHS", "CALLS BIRTHS GIVEUP", "SECTIONS GIVEUP", "CALLS VARY EPOCH_FIRST ALONE",
               "SECTIONS GIVEUP LATE", "CALLS GIVEUP LATE"],
              ["SECTIONS GIVEUP NO_CLAIM", "SECTIONS GIVEUP KEEP", "BIRTHS ONCE", "SECTIONS NO_DEFER", "SECTIONS NO_PARK",
               "CALLS NO_CHECK", "CALLS NO_LATE", "CALLS UNCLAIMED", "CALLS VARY ALONE", "SECTIONS GIVEUP LATE LATE_INSIDE"]),
    "sweep": ([""], ["WHITE", "REMOTE_WHITE", "UNSWEPT", "STALE", "NO_LOCK", "NO_LOOK", "NUMBER_FIRST", "INTO_FREE"]),
    "remote": (["", "RETIRES"],
               ["FLAG_LATE", "BIN_LATE", "FLAG_LOOK_FIRST", "BIN_LOOK_FIRST", "UNLOOKED", "RETIRES FLAG_LATE",
                "RETIRES BIN_STAYS"]),
    "summary": (["", "WHOLE"], ["RESTORE", "WHOLE FLAG_FIRST", "WHOLE CARDS_FIRST", "STOPPABLE"]),
    "termination": (["", "STALL"],
                    ["EARLY STALL", "COUNT_FIRST", "DROP", "NO_WAKE STALL", "NO_LAST_WAKE", "WORD_LATE", "PLAIN_MARK"]),
}


def check(model, flags, folder, optimize):
    """(errors, states, why the search says nothing)"""
    defines = ["-D" + f for f in flags.split()]
    spin = ["spin"] + defines + ["-a", os.path.join(HERE, model + ".pml")]
    done = subprocess.run(spin, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0 or "error" in (done.stdout + done.stderr).lower():
        return None, None, "spin: " + (done.stdout + done.stderr)[:2000]
    pan = ["gcc", optimize, "-w", "-DSAFETY", "-DNOFAIR", "-DMEMLIM=%d" % MEGABYTES, "-o", "pan", "pan.c"]
    done = subprocess.run(pan, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        return None, None, "gcc: " + done.stderr[:2000]
    search = ["./pan", "-n", "-w22", "-m%d" % DEPTH]
    done = subprocess.run(search, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    said = done.stdout + done.stderr
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"^\s*([\d.e+]+) states, stored", said, re.M)
    found = re.search(r"^pan:\d+: (assertion violated|invalid end state)", said, re.M)
    if errors is None or states is None or (int(errors.group(1)) != 0) != bool(found):
        return None, None, "pan: " + said[:2000]
    incomplete = re.search(r"max search depth too small|out of memory|Search not completed|aborted", said)
    return int(errors.group(1)), int(float(states.group(1))), incomplete and incomplete.group(0)


def test(model, flags, holds):
    """(why it failed, what is to be said)"""
    folder = tempfile.mkdtemp(prefix="model.")
    begin = time.monotonic()
    try:
        # What is refuted soon is not worth the compiler's time.
        errors, states, why = check(model, flags, folder, "-O1" if holds else "-O0")
    except subprocess.TimeoutExpired as late:
        return "%s did not end within %d s" % (late.cmd[0], SECONDS), ""
    finally:
        shutil.rmtree(folder)
    note = "%s states, %.1f s" % (states, time.monotonic() - begin)
    if errors is None:
        return why, ""
    if not holds:
        return (None, "refuted, " + note) if errors else ("is broken and was not refuted: " + note, "")
    if errors:
        return "errors: %d" % errors, ""
    return ("the search was cut short: " + why, "") if why else (None, note)


def main():
    patterns = sys.argv[1:]
    passed = failed = 0
    for model, (right, broken) in MODELS.items():
        for flags, holds in [(f, True) for f in right] + [(f, False) for f in broken]:
            name = "-".join([model] + flags.lower().split())
            if patterns and not any(fnmatch.fnmatch(name, p) for p in patterns):
                continue
            why, note = test(model, flags, holds)
            if why is None:
                passed += 1
                print("ok %s: %s" % (name, note), flush=True)
            else:
                failed += 1
                print("FAIL %s %s" % (name, why), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
