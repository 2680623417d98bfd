#!/usr/bin/env python3
"""Budgets that do not depend on how busy the machine is: run.py LIB PAIR

Law: what is counted here is exact, or nearly so: instructions of malloc and free for hot small sizes (the loop that
calls them, and libc's way to them, included), memory that a program with an empty main writes to, and touches, on
account of the library, its system calls, threads before the first collection, bytes of metadata for a heap. A budget is
what the library takes now, and a little; where it takes less, the budget follows.
"""
import os
import re
import shutil
import subprocess
import sys

# Of a pair eleven are the loop's and the way to malloc and free. In a batch blocks come from a cursor over a span's free
# slots, and most go back there.
PAIR_INSTRUCTIONS = 60
BATCH_INSTRUCTIONS = {1: 86, 24: 86, 48: 90, 200: 108, 1000: 250}  # bytes of a block; of large ones a span holds few
BATCH = 500
WRITTEN_KIB = 64
TOUCHED_KIB = 300
CALLS = 20
HEAP_MIB = 64
METADATA = {16: 100, 64: 90, 1000: 56, 100000: 40}  # bytes of a block -> KiB for a MiB of them
FEW, MANY = 1000, 11000


def environment(lib):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GCMALLOC_", "GCM_TEST_", "LD_PRELOAD"))}
    if lib:
        env["LD_PRELOAD"] = os.path.abspath(lib)
    return env


def instructions(lib, *command):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *map(str, command)],
                          env=environment(lib), capture_output=True, text=True, timeout=120)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise RuntimeError("valgrind: " + done.stderr[-300:].replace("\n", " | "))
    return int(found.group(1))


def idle(lib, pair):
    """(KiB written to, KiB touched, threads) of a program that does nothing."""
    process = subprocess.Popen([pair, "idle"], env=environment(lib), stdout=subprocess.PIPE)
    process.stdout.read()
    with open("/proc/%d/smaps_rollup" % process.pid) as rollup:
        text = rollup.read()
    written, touched = (int(re.search(r"^%s: +(\d+)" % what, text, re.M).group(1)) for what in ("Anonymous", "Rss"))
    threads = len(os.listdir("/proc/%d/task" % process.pid))
    process.kill()
    process.wait()
    return written, touched, threads


def means(lib, pair):
    """The same, the mean of some: what the kernel maps beside a page depends on where the library lies."""
    rows = [idle(lib, pair) for _ in range(20)]
    return [sum(column) / len(rows) for column in zip(*rows)]


def printed(lib, command):
    return subprocess.run(command, env=environment(lib), capture_output=True, text=True, timeout=60, check=True).stdout


def report(name, value, budget, unit):
    good = value <= budget
    print("%s %s %.1f %s, budget %d" % ("ok" if good else "FAIL", name, value, unit, budget))
    return good


def main():
    lib, pair = sys.argv[1:]
    good = True
    for size, of_batch in BATCH_INSTRUCTIONS.items():
        for batch, kind, budget in ((1, "pair", PAIR_INSTRUCTIONS), (BATCH, "batch", of_batch)):
            name = "%s_of_%d" % (kind, size)
            if shutil.which("valgrind") is None:
                print("skip %s there is no valgrind" % name)
                continue
            counts = [instructions(lib, pair, size, times, batch) for times in (FEW, MANY)]
            good &= report(name, (counts[1] - counts[0]) / (MANY - FEW), budget, "instructions")
    plain_written, plain_touched, _ = means(None, pair)
    written, touched, threads = means(lib, pair)
    good &= report("empty_main", written - plain_written, WRITTEN_KIB, "KiB written to")
    good &= report("empty_main_touched", touched - plain_touched, TOUCHED_KIB, "KiB touched")
    good &= report("threads_before_a_collection", threads, 1, "threads")
    calls = [int(printed(l, [pair, "calls", pair, "end"])) for l in (None, lib)]
    good &= report("system_calls", calls[1] - calls[0], CALLS, "system calls")
    for size, budget in METADATA.items():
        metadata = int(printed(lib, [pair, "heap", str(size), str(HEAP_MIB)])) / HEAP_MIB / 1024
        good &= report("metadata_of_%d" % size, metadata, budget, "KiB for a MiB of blocks")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
