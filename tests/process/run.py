#!/usr/bin/env python3
"""What processes do to themselves, under collections without rest: run.py [--controls] LIB PROCESS_TESTS [NAME…]

Law: prints `ok NAME`, `skip NAME why` or `FAIL NAME why` for each case of the program, each way to end a process,
and the setuid program; two run at a time. LIB is preloaded; `-` for a binary that has the allocator linked in. With --controls LIB leaves out one rule at a time (platform/test_skip.h), and the case that
the rule is for must fail.
"""
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

SKIPPED = 77
# A way to end -> (status, what it prints, whether statistics are written).
ENDS = {
    "returning": (5, "buffered\n", True),
    "exiting": (5, "buffered\n", True),
    "exiting_at_once": (5, "", False),
    "quick": (5, "quick\n", False),
    "at_exit": (5, "buffered\n", True),
    "exit_in_a_thread": (5, "buffered\n", True),
    "exit_in_two_threads": (5, "buffered\n", False),  # the second may end the process while the first writes them
    "main_thread_ends": (5, "buffered\n", True),
    "thread_locals": (5, "buffered\n", True),
    "aborting": (-signal.SIGABRT, "", False),
    "fatal_with_handler": (5, "handled\n", False),
    "exit_in_handler": (5, "buffered\n", True),
    "terminated": (-signal.SIGTERM, "", False),
    "child_exits": (5, "", True),
}
TIMES = 5  # each end is tried
# The rule that is left out -> the case that fails then.
CONTROLS = {
    "apart": "none_free",
    "keep_proc": "chroot_empty",
    "own_proc": "main_thread_has_ended",
    "numbers": "pid_namespace_threads",
    "thread_list,high": "lowest_number",
    "inside": "fork_in_handler_inside",
    "residence": "setuid_untouched_memory",
}


class Setting:
    lib = None
    binary = None


def run(arguments, timeout=90, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    env.update(pair.split("=", 1) for pair in os.environ.get("GCM_PROCESS_ENV", "").split())
    env.update(settings)
    if Setting.lib != "-":
        env["LD_PRELOAD"] = Setting.lib
    return subprocess.run([Setting.binary] + arguments, env=env, capture_output=True, timeout=timeout, text=True,
                          errors="replace", cwd="/")


def said(done):
    return (done.stdout + done.stderr).strip().replace("\n", " | ")[:500]


def ended(done):
    return signal.Signals(-done.returncode).name if done.returncode < 0 else "status %d" % done.returncode


def case(name):
    done = run([name])
    if done.returncode == 0 and not done.stderr:
        return "ok", ""
    if done.returncode == SKIPPED:
        return "skip", said(done)
    return "FAIL", ended(done) + ": " + said(done)


def end(name):
    status, text, statistics = ENDS[name]
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory(prefix="gcmalloc-") as folder:
            path = os.path.join(folder, "statistics")
            done = run(["--exit", name], GCMALLOC_STATS=path, GCMALLOC_STRESS="50")  # too short for a cycle of its own
            if done.returncode != status or done.stdout != text or done.stderr:
                return "FAIL", "%s: %s" % (ended(done), said(done))
            written = open(path).read() if os.path.exists(path) else ""
            if statistics and not json.loads(written or "{}").get("cycles"):
                return "FAIL", "the statistics are %r" % written
    return "ok", ""


# What goes wrong without a rule may need its moment: one failure in a few tries is the proof.
def control(rule):
    for _ in range(TIMES):
        try:
            done = run([CONTROLS[rule]], 20, GCM_TEST_SKIP=rule, GCM_TEST_SECONDS="8")
        except subprocess.TimeoutExpired:
            return "ok", "hangs"
        if done.returncode == SKIPPED:
            return "skip", said(done)
        if done.returncode != 0:
            return "ok", "%s: %s" % (ended(done), said(done)[:100])
    return "FAIL", "%s passes without the rule" % CONTROLS[rule]


# A copy that runs with other rights than its caller's: the environment is not read, and no file is written for it.
def privileged(_):
    if os.geteuid() != 0:
        return "skip", "needs root"
    if Setting.lib != "-":
        return "skip", "the loader itself ignores the library there"
    with tempfile.TemporaryDirectory(prefix="gcmalloc-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        copy, trace, own = (os.path.join(folder, name) for name in ("copy", "trace", "own"))
        shutil.copy(Setting.binary, copy)
        env = {"PATH": os.environ["PATH"], "GCMALLOC_STATS": trace, "GCMALLOC_TRACE": trace, "GCMALLOC_FOO": "1",
               "GCMALLOC_MODE": "banana"}
        outcomes = []
        for mode in (0o755, 0o4755):
            os.chmod(copy, mode)
            for name in (trace, own):
                if os.path.exists(name):
                    os.remove(name)
            os.chmod(folder, 0o777)
            done = subprocess.run([copy, "--use-heap"], env=env, capture_output=True, text=True, timeout=60, cwd="/",
                                  user=65534, group=65534, extra_groups=[])
            if done.returncode != 0:
                return "FAIL", ended(done) + ": " + said(done)
            outcomes.append((bool(done.stderr), os.path.exists(trace)))
        if outcomes[1] != (False, False):
            return "FAIL", "(complaints, files): %r" % (outcomes[1],)
        if outcomes[0] != (True, True):  # the control
            return "FAIL", "without privileges nothing is read either: %r" % (outcomes[0],)
    return "ok", ""


def main():
    controls = "--controls" in sys.argv
    if controls:
        sys.argv.remove("--controls")
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    Setting.lib = sys.argv[1] if sys.argv[1] == "-" else os.path.abspath(sys.argv[1])
    Setting.binary = os.path.abspath(sys.argv[2])
    listed = subprocess.run([Setting.binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    jobs = [(name, case, name) for name in sorted(listed)] + [("exit_" + name, end, name) for name in ENDS]
    jobs.append(("privileged", privileged, None))
    if controls:
        jobs = [("without_" + rule, control, rule) for rule in CONTROLS]
    if len(sys.argv) > 3:
        jobs = [job for job in jobs if any(fnmatch.fnmatch(job[0], pattern) for pattern in sys.argv[3:])]

    def attempt(job):
        try:
            return (job[0],) + job[1](job[2])
        except subprocess.TimeoutExpired:
            return job[0], "FAIL", "hangs"

    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    with ThreadPoolExecutor(2) as pool:
        for name, outcome, why in pool.map(attempt, jobs):
            counts[outcome] += 1
            print(outcome, name, why, flush=True)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    sys.exit(1 if counts["FAIL"] or not counts["ok"] else 0)


if __name__ == "__main__":
    main()
