#!/usr/bin/env python3
"""The leaks: run.py BINARY [--gib N] [--jobs N] [NAME…]

Law: each kind of leak, with one thread and with four, in a process of its own with no setting of ours in its
environment; BINARY has the allocator linked in and judges its own peak. Prints `ok NAME` or `FAIL NAME why`, each
with the peak and the time, and a count; status 0 when none failed. NAMEs choose cases by part of their name.
"""
import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

KINDS = ("small", "mid", "large", "cyclic", "chain")
THREADS = (1, 4)
TIMEOUT = 120


def run(binary, kind, threads, gib):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_") and k != "LD_PRELOAD"}
    begin = time.monotonic()
    no_core = lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        done = subprocess.run([binary, kind, str(threads), str(gib)], env=env, capture_output=True, text=True,
                              errors="replace", timeout=TIMEOUT, preexec_fn=no_core)
    except subprocess.TimeoutExpired:
        return "hangs: did not end within %d s" % TIMEOUT, TIMEOUT
    took = time.monotonic() - begin
    said = (done.stdout + done.stderr).strip().replace("\n", " | ")[:600]
    if done.returncode < 0:
        return "killed by %s %s" % (signal.Signals(-done.returncode).name, said), took
    if done.returncode != 0:
        return "status %d: %s" % (done.returncode, said), took
    return None, "%s, %.1f s" % (said, took)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_intermixed_args()
    binary = os.path.abspath(arguments.binary)
    cases = [("%s, %d thread%s" % (kind, threads, "s" if threads > 1 else ""), kind, threads)
             for kind in KINDS for threads in THREADS]
    if arguments.names:
        cases = [case for case in cases if any(name in case[0] for name in arguments.names)]
    passed = failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = pool.map(lambda case: run(binary, case[1], case[2], arguments.gib), cases)
        for (name, _, _), (why, note) in zip(cases, outcomes):
            if why is None:
                passed += 1
                print("ok %s: %s" % (name, note), flush=True)
            else:
                failed += 1
                print("FAIL %s: %s, %.1f s" % (name, why, note), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
