#!/usr/bin/env python3
"""Runs the root tests: run.py LIB ROOTS_TESTS [CASE…]

Law: each case runs twice, once to see that reachable blocks are kept, once as a control (--drop) to see that
the same blocks are reclaimed when nothing points to them. Two run at a time. LIB is preloaded; `-` for a binary
that has the allocator linked in.
"""
import fnmatch
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# What a case needs beside the defaults.
SETTINGS = {
    "unaligned_by_4": {"GCMALLOC_ALIGN": "4"},
    "unaligned_by_1": {"GCMALLOC_ALIGN": "1"},
}
# Nothing is collected while a thread is where it cannot be stopped, so there is no control to be had: that the cycle
# is skipped is seen by the host tests.
SKIPPED_CYCLE = "the cycle is skipped, and the trace says so"
WITHOUT_CONTROL = {
    "signals_blocked_raw_spin": SKIPPED_CYCLE,
    "signals_blocked_raw_register": SKIPPED_CYCLE,
    "clone_signals_blocked": SKIPPED_CYCLE,
    "vfork_parent": SKIPPED_CYCLE,
    "vfork_parent_library_call": SKIPPED_CYCLE,
}
SKIPPED = 77


def run(lib, binary, case, drop, more=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    # GCM_ROOTS_ENV="NAME=VALUE NAME=VALUE" runs all cases under other settings.
    env.update(pair.split("=", 1) for pair in os.environ.get("GCM_ROOTS_ENV", "").split())
    env.update(SETTINGS.get(case, {}))
    env.update(more or {})
    if lib != "-":
        env["LD_PRELOAD"] = os.path.abspath(lib)
    command = [binary, case] + (["--drop"] if drop else [])
    name = case + (" --drop" if drop else "")
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=60, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return "FAIL", name, "hangs"
    said = (done.stdout + done.stderr).strip().replace("\n", " | ")[:500]
    if drop and case in WITHOUT_CONTROL and "dropped blocks were kept" in said:
        return "skip", name, WITHOUT_CONTROL[case]
    if done.returncode == 0:
        return "ok", name, ""
    if done.returncode == SKIPPED:
        return "skip", name, said
    ended = "status %d" % done.returncode
    if done.returncode < 0:
        ended = signal.Signals(-done.returncode).name
    return "FAIL", name, ended + ": " + said


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    lib, binary = sys.argv[1], os.path.abspath(sys.argv[2])
    names = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    if len(sys.argv) > 3:
        names = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in sys.argv[3:])]
    jobs = [(lib, binary, name, drop) for name in names for drop in (False, True)]
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    with ThreadPoolExecutor(2) as pool:
        for outcome, name, why in pool.map(lambda job: run(*job), jobs):
            counts[outcome] += 1
            print(outcome, name, why)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    sys.exit(1 if counts["FAIL"] or not counts["ok"] else 0)


if __name__ == "__main__":
    main()
