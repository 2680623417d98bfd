#!/usr/bin/env python3
"""The root tests' own control: controls.py LIB ROOTS_TESTS [KIND…] [KIND/CASE…]

Law: LIB is a build in which rules can be left out (CONFIG=hooks). For each kind of place that may hold a pointer,
the cases that prove it run once as they are, and must pass, and once with the kind left out of the root scan, and
must lose blocks. Every kind that platform/test_skip.h names for the root scan stands here, or this fails.
"""
import os
import pathlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run as roots

# (what is left out, cases that must then lose blocks). Two names where a place is of both kinds, or is kept by
# another, too: the saved registers of a stopped thread hold its stack pointer; a thread that waits with its state
# published has its registers on its stack.
KINDS = [
    ("registers", "spin_rbx spin_r12 spin_r15 spin_rax spin_xmm0 spin_xmm15_high spin_ymm5_high futex_rbx futex_r15 "
                  "alternate_stack_kept_by_kernel"),
    ("stack_pointer", "coroutine_collects_in_heap"),
    ("stack_pointer,registers", "coroutine_running_in_heap clone_stack_in_heap"),
    ("alternate_stack", "alternate_stack_kept_by_kernel_collects"),
    ("main_stack", "main_stack main_stack_other_collects fork_main_stack"),
    ("thread_stack", "thread_stack thread_stack_deep below_alternate_stack below_coroutine in_read in_mutex in_futex "
                     "fork_from_thread"),
    ("thread_stack,thread_data", "call_r13 call_rbx"),
    ("thread_data", "static_tls_main static_tls_thread library_tls_thread specific_low_main specific_low_thread "
                    "specific_high_main specific_high_thread fork_tls alternate_stack_kept_by_kernel_waiting"),
    ("statics", "static_data static_bss static_local library_data library_bss fork_static library_opened_repeatedly"),
    ("program_break", "program_break"),
    ("anonymous", "mapping_private mapping_sparse mapping_fixed mapping_moved foreign_reservation foreign_guard_region "
                  "alternate_stack coroutine_in_mapping return_value exit_value"),
    ("private_file", "mapping_private_file foreign_clean_private_file"),
    ("read_only", "mapping_read_only"),
    ("shared_anonymous", "mapping_shared mapping_sysv"),
    ("shared_file", "mapping_shared_file mapping_shared_file_after_fork foreign_sparse_file foreign_cached_file"),
    ("memfd", "mapping_memfd mapping_truncated_file foreign_sparse_memfd foreign_copying_forbidden"),
    ("code_bytes", "code_operand"),
    ("rings", "kernel_io_uring kernel_aio"),
    ("epoll", "kernel_epoll"),
    ("timers", "kernel_timer kernel_timer_of_thread"),
    ("sigqueue", "kernel_sigqueue kernel_sigqueue_many kernel_sigqueue_of_thread kernel_mq_notify_fired"),
    ("mq_notify", "kernel_mq_notify kernel_mq_notify_function"),
    ("protected_blocks", "heap_protected"),
    ("large_blocks", "heap_large_array heap_resized"),
]

# What a case, or the allocator that is handed a lost block, says when blocks have been lost. A crash proves it as
# well where what is lost is what the program runs on.
LOST = re.compile(r"\d+ of \d+ (reachable blocks were reclaimed|arguments were reclaimed|functions found their blocks)|"
                  r"no block is there|double free of a block")
MAY_CRASH = {"coroutine_collects_in_heap", "alternate_stack_kept_by_kernel", "library_tls_thread",
             "library_opened_repeatedly", "coroutine_running_in_heap", "clone_stack_in_heap"}

# Addresses are random. A mapping may come to lie right behind an object's zeroed data and be one with them, which
# makes it of another kind: seen in 6 of 100 runs.
ATTEMPTS = 4

# What keeps their blocks at the end is of another kind as well: only cycles while they are being placed tell.
MEANWHILE = {"below_alternate_stack", "below_coroutine", "library_tls_thread"}


def control(lib, binary, kind, case):
    name = "%s/%s" % (kind, case)
    setting = {"GCMALLOC_STRESS": "20"} if case in MEANWHILE else {}
    outcome, _, said = roots.run(lib, binary, case, False, setting)
    if outcome != "ok":
        return outcome, name, "with nothing left out: " + said
    for _ in range(ATTEMPTS):
        outcome, _, said = roots.run(lib, binary, case, False, {"GCM_TEST_SKIP": kind, **setting})
        if outcome == "FAIL" and (LOST.search(said) or case in MAY_CRASH):
            return "ok", name, ""
    return "FAIL", name, "nothing is lost without it: %s %s" % (outcome, said)


def names_of_kinds():
    text = (pathlib.Path(__file__).resolve().parents[2] / "platform" / "test_skip.h").read_text()
    kinds = re.findall(r"X\((\w+)\)", text.split("The root scan leaves out")[1].split("/* Marking beside")[0])
    # What the collecting thread's caller keeps in registers lies in the frames of ours above it, too: they save them.
    return [kind for kind in kinds if kind != "own_registers"]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    lib, binary = sys.argv[1], os.path.abspath(sys.argv[2])
    missing = set(names_of_kinds()) - {kind for kind, _ in KINDS}
    jobs = [(lib, binary, kind, case) for kind, cases in KINDS for case in cases.split()
            if not sys.argv[3:] or kind in sys.argv[3:] or "%s/%s" % (kind, case) in sys.argv[3:]]
    counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def report(outcome, name, why):
        counts[outcome] += 1
        print(outcome, name, why, flush=True)

    report("FAIL" if missing else "ok", "every_kind_has_a_case", " ".join(sorted(missing)))
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda job: control(*job), jobs):
            report(*result)
    print("%(ok)d passed, %(FAIL)d failed, %(skip)d skipped" % counts)
    sys.exit(1 if counts["FAIL"] else 0)


if __name__ == "__main__":
    main()
