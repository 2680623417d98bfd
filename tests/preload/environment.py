"""The environment variables, and what the library prints.

Law: the tables repeat the contract: a variable, a value that cannot be understood, and what the line about it
must name as used instead; the form of the trace line; the keys of the JSON objects.
"""
import json
import os
import re
import threading
import time

from harness import Skipped, expect, folder, helper, peak_mib, program, run, works

# variable -> (values that cannot be understood, what the line says is used)
BAD = {
    "GCMALLOC_MODE": (["banana", "COLLECTED", ""], r"collect"),
    "GCMALLOC_PERCENT": (["banana", "12x", "-5"], r"100"),
    "GCMALLOC_LIMIT": (["banana", "12Q", "-5M", "99999999999999999999"], r"auto"),
    "GCMALLOC_WORKERS": (["banana", "-1", "2x", "1025"], r"\d+|a quarter of the processors"),
    "GCMALLOC_INTERVAL": (["banana", "-3", "5y"], r"120"),
    "GCMALLOC_SCAVENGE": (["banana", "-1", "10x"], r"10s"),
    "GCMALLOC_DIRTY": (["banana"], r"auto"),
    "GCMALLOC_THP": (["banana", "1", "always"], r"auto"),
    "GCMALLOC_STACKS": (["banana", "-1"], r"off"),
    "GCMALLOC_CONTROL": (["banana"], r"on"),
    "GCMALLOC_ALIGN": (["banana", "3", "16", "0"], r"4"),
    "GCMALLOC_FOREIGN": (["banana"], r"abort"),
    "GCMALLOC_POISON": (["banana", "7"], r"0|off"),
    "GCMALLOC_STRESS": (["banana", "-1"], r"0|off"),
    "GCMALLOC_CHECKMARK": (["banana", "7"], r"0|off"),
    "GCMALLOC_VERBOSE": (["banana", "7"], r"0|off"),
}

GOOD = {
    "GCMALLOC_MODE": ["collect", "guard", "report", "off"],
    "GCMALLOC_PERCENT": ["100", "0", "25", "1000", "off"],
    "GCMALLOC_LIMIT": ["auto", "off", "64M", "1G", "2T", "100000K", "123456789", "1g"],
    "GCMALLOC_WORKERS": ["0", "1", "4"],
    "GCMALLOC_INTERVAL": ["0", "1", "120"],
    "GCMALLOC_SCAVENGE": ["10s", "0", "off", "1s", "100s", "5"],
    "GCMALLOC_DIRTY": ["auto", "uffd", "softdirty", "mprotect", "none"],
    "GCMALLOC_THP": ["auto", "on", "off"],
    "GCMALLOC_STACKS": ["512K", "1", "off", "64M"],
    "GCMALLOC_CONTROL": ["on", "off"],
    "GCMALLOC_ALIGN": ["8", "4", "1", "word"],
    "GCMALLOC_FOREIGN": ["abort", "ignore"],
    "GCMALLOC_POISON": ["0", "1"],
    "GCMALLOC_STRESS": ["0", "1000"],
    "GCMALLOC_CHECKMARK": ["0", "1"],
    "GCMALLOC_VERBOSE": ["0"],
    "GCMALLOC_TRACE": ["0", "off"],
    "GCMALLOC_REPORT": ["/dev/null"],
}

N = r"\d+(?:\.\d+)?"
TRACE = re.compile(
    rf"gc \d+ @{N}s {N}%: {N}\+{N}\+{N} ms clock, {N}\+{N}/{N}/{N}\+{N} ms cpu, "
    rf"{N}->{N}->{N} MB, {N} MB goal, {N} MB stacks, {N} MB globals, \d+ P"
    rf" \| reclaimed {N} MB in \d+ blocks, \d+ dirty pages, (?:uffd|softdirty|mprotect|none)"
    r"(?: \([a-z ]+\))?")

CYCLE_KEYS = """cycle start_s reason mode dirty_source threads workers pause_us mark_ms sweep_ms cpu_ms heap_before
heap_marked heap_goal roots_bytes stacks_bytes dirty_pages rescanned_bytes marked_objects reclaimed_objects
reclaimed_bytes quarantined_bytes released_bytes""".split()

STATISTICS_KEYS = """version mode heap_mapped heap_used heap_live heap_released metadata_bytes cycles pause_us gc_cpu_s
allocated_bytes allocated_objects freed_bytes freed_objects reclaimed_bytes reclaimed_objects quarantined_bytes
hidden_pointers""".split()
PAUSE_KEYS = "p50 p99 p999 max total".split()


def leak(megabytes=20, size=1000, *more, **settings):
    return works([helper("leak"), str(megabytes), str(size), *more], **settings)


def bad_value(variable):
    def test():
        values, used = BAD[variable]
        for value in values:
            done = run([program("echo"), "text"], **{variable: value})
            expect(done.status == 0 and done.out == "text\n", done.summary())
            lines = done.ours()
            if value == "" and not lines:
                continue  # an empty value may count as not set
            expect(len(lines) == 1, "%s=%r gives %d lines: %r" % (variable, value, len(lines), done.err))
            rest = lines[0].replace(variable, "", 1).replace(value, "", 1)
            expect(variable in lines[0] and value in lines[0], "%r does not name %s and %r" % (lines[0], variable, value))
            expect(re.search(r"\b(?:%s)\b" % used, rest), "%r does not say that %s is used" % (lines[0], used))
            expect(len(done.err.splitlines()) == 1, "more than one line: %r" % done.err)
    return test


def good_values(variable):
    def test():
        for value in GOOD[variable]:
            done = run([program("echo"), "text"], **{variable: value})
            expect(done.status == 0 and done.out == "text\n", "%s: %s" % (value, done.summary()))
            # A dirty source that this kernel lacks may be complained of; nothing else.
            lacking = variable == "GCMALLOC_DIRTY" and len(done.ours()) == 1 and value in done.ours()[0]
            expect(done.err == "" or lacking, "%s=%s prints %r" % (variable, value, done.err))
    return test


for _variable in BAD:
    globals()["test_bad_" + _variable[9:].lower()] = bad_value(_variable)
for _variable in GOOD:
    globals()["test_good_" + _variable[9:].lower()] = good_values(_variable)


def test_quiet_by_default():
    done = works([program("echo"), "text"])
    expect(done.out == "text\n" and done.err == "", done.summary())


def test_unknown_variable():
    for name in ("GCMALLOC_FOO", "GCMALLOC_MODES", "GCMALLOC_", "GCMALLOC_LIMI"):
        done = works([program("echo"), "text"], **{name: "1"})
        expect(len(done.ours()) == 1 and len(done.err.splitlines()) == 1 and name in done.err, done.summary())


def test_two_mistakes_two_lines():
    done = works([program("echo"), "text"], GCMALLOC_FOO="1", GCMALLOC_MODE="banana")
    expect(len(done.ours()) == 2, done.summary())


def test_paths_that_cannot_be_opened():
    for variable in ("GCMALLOC_TRACE", "GCMALLOC_TRACE_JSON", "GCMALLOC_STATS"):
        path = "/nonexistent/folder/file"
        done = leak(**{variable: path, "GCMALLOC_STRESS": "5000"})
        lines = done.ours()
        expect(len(lines) == 1 and variable in lines[0] and path in lines[0], "%s: %s" % (variable, done.summary()))


def test_verbose_says_what_was_chosen():
    done = works([program("echo"), "text"], GCMALLOC_VERBOSE="1")
    expect(done.out == "text\n" and len(done.ours()) == 1, done.summary())
    expect("collect" in done.ours()[0], "no mode in %r" % done.ours()[0])
    done = works([program("echo"), "text"], GCMALLOC_VERBOSE="1", GCMALLOC_MODE="off")
    expect("off" in done.ours()[0], "no mode in %r" % done.ours()[0])


def check_trace(lines):
    expect(lines, "no cycle")
    for line in lines:
        expect(TRACE.fullmatch(line), "trace line of another form: %r" % line)
    numbers = [int(line.split()[1]) for line in lines]
    expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "numbers are not in sequence: %r" % numbers)


def test_trace_lines():
    done = leak(GCMALLOC_STRESS="1000", GCMALLOC_TRACE="1")
    check_trace(done.cycles())
    expect(len(done.cycles()) >= 5, "20000 allocations with STRESS=1000 gave %d cycles" % len(done.cycles()))
    expect(len(done.cycles()) == len(done.err.splitlines()), "other lines, too: %r" % done.err[:300])


def test_trace_is_off_by_default():
    done = leak(GCMALLOC_STRESS="1000")
    expect(done.err == "", done.summary())


def test_trace_path_is_appended():
    with folder() as at:
        path = os.path.join(at, "trace")
        with open(path, "w", encoding="utf-8") as file:
            file.write("kept\n")
        for _ in range(2):
            expect(leak(GCMALLOC_STRESS="5000", GCMALLOC_TRACE=path).err == "", "lines on standard error, too")
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        expect(lines[0] == "kept", "the file was overwritten")
        starts = [i for i, line in enumerate(lines) if line.startswith("gc 1 ")]
        expect(len(starts) == 2, "two runs, but %d first cycles" % len(starts))
        check_trace(lines[starts[0]:starts[1]])
        check_trace(lines[starts[1]:])


def test_trace_json():
    with folder() as at:
        path = os.path.join(at, "trace.json")
        leak(GCMALLOC_STRESS="2000", GCMALLOC_TRACE_JSON=path)
        with open(path, encoding="utf-8") as file:
            cycles = [json.loads(line) for line in file]
        expect(len(cycles) >= 2, "%d cycles" % len(cycles))
        for cycle in cycles:
            missing = [key for key in CYCLE_KEYS if key not in cycle]
            expect(not missing, "missing: %s" % missing)
            expect(isinstance(cycle["pause_us"], list) and cycle["pause_us"], "pause_us: %r" % cycle["pause_us"])
            expect(cycle["mode"] == "collect", cycle["mode"])
            expect(cycle["dirty_source"] in ("uffd", "softdirty", "mprotect", "none"), cycle["dirty_source"])
            for key in CYCLE_KEYS:
                if key not in ("reason", "mode", "dirty_source", "pause_us"):
                    expect(isinstance(cycle[key], (int, float)) and cycle[key] >= 0, "%s: %r" % (key, cycle[key]))
        expect(sum(cycle["reclaimed_objects"] for cycle in cycles) > 5000, "hardly anything was reclaimed")


def test_statistics_json():
    with folder() as at:
        path = os.path.join(at, "stats")
        leak(200, 1000, GCMALLOC_STATS=path, GCMALLOC_STRESS="10000")
        with open(path, encoding="utf-8") as file:
            numbers = json.load(file)
        missing = [key for key in STATISTICS_KEYS if key not in numbers]
        missing += [key for key in PAUSE_KEYS if key not in numbers.get("pause_us", {})]
        expect(not missing, "missing: %s" % missing)
        expect(numbers["mode"] == "collect" and numbers["cycles"] >= 1, str(numbers))
        expect(200 << 20 <= numbers["allocated_bytes"] + 2000 and numbers["allocated_objects"] >= 209000, str(numbers))
        gone = numbers["freed_objects"] + numbers["reclaimed_objects"]
        expect(100000 <= gone <= numbers["allocated_objects"], "%d gone of %d" % (gone, numbers["allocated_objects"]))
        expect(numbers["heap_live"] <= numbers["heap_mapped"], str(numbers))


def test_statistics_openmetrics():
    with folder() as at:
        path = os.path.join(at, "stats.prom")
        leak(20, 1000, GCMALLOC_STATS=path)
        expect(os.listdir(at) == ["stats.prom"], "in the folder: %r" % os.listdir(at))
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        expect(lines[-2:] == ["# EOF", ""], "the end: %r" % lines[-3:])
        name = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
        sample = re.compile(rf"{name}(?:\{{(?:{name}=\"[^\"]*\",?)*\}})? [-+0-9.eE]+(?:NaN)?")
        comment = re.compile(rf"# (?:TYPE {name} \w+|HELP {name} .*|UNIT {name} \w+)")
        samples = 0
        for line in lines[:-2]:
            expect(sample.fullmatch(line) or comment.fullmatch(line), "not OpenMetrics: %r" % line)
            samples += 0 if line.startswith("#") else 1
            expect(line.startswith("#") or line.startswith("gcmalloc_"), "another prefix: %r" % line)
        expect(samples >= 10, "%d samples" % samples)


def test_mode_off_runs_no_cycle():
    done = leak(100, 1000, GCMALLOC_MODE="off", GCMALLOC_STRESS="1000", GCMALLOC_TRACE="1")
    expect(not done.cycles(), "a cycle: %r" % done.cycles()[:1])
    expect(peak_mib(done) > 95, "less memory than was lost: %.0f MiB" % peak_mib(done))


def test_mode_report_keeps_what_leaks():
    done = leak(100, 1000, GCMALLOC_MODE="report", GCMALLOC_STRESS="20000", GCMALLOC_REPORT="/dev/null")
    expect(peak_mib(done) > 95, "less memory than was lost: %.0f MiB" % peak_mib(done))


def test_collects_by_default():
    for size in (48, 1000, 20000, 300000):
        done = leak(600 if size > 100 else 200, size)
        live = 1000 * size / (1 << 20)
        expect(peak_mib(done) < 3 * live + 60, "blocks of %d: %.0f MiB at peak" % (size, peak_mib(done)))


def test_without_threads_each_refill_takes_its_part():
    """Else such a cycle would last for many times the memory that it was to find."""
    peaks = []  # a part is as long as a piece of time, and on a busy machine much is allocated meanwhile
    while len(peaks) < 4 and (not peaks or min(peaks) >= 44):
        peaks.append(peak_mib(leak(300, 16, GCMALLOC_WORKERS="0")))
    expect(min(peaks) < 44, "%s MiB at peak" % ", ".join("%.0f" % peak for peak in peaks))


def test_a_program_that_frees_sees_no_cycles():
    done = leak(1500, 1000, "free", GCMALLOC_TRACE="1")
    expect(len(done.cycles()) <= 3, "%d cycles" % len(done.cycles()))
    expect(peak_mib(done) < 40, "%.0f MiB at peak" % peak_mib(done))


def test_percent_off():
    done = leak(300, 1000, GCMALLOC_PERCENT="off", GCMALLOC_LIMIT="off", GCMALLOC_INTERVAL="0", GCMALLOC_TRACE="1")
    expect(not done.cycles(), "a cycle: %r" % done.cycles()[:1])
    expect(peak_mib(done) > 290, "less memory than was lost: %.0f MiB" % peak_mib(done))


def test_percent_sets_the_pace():
    few = len(leak(300, 5000, GCMALLOC_PERCENT="1000", GCMALLOC_TRACE="1").cycles())
    many = len(leak(300, 5000, GCMALLOC_PERCENT="25", GCMALLOC_TRACE="1").cycles())
    expect(1 <= few < many, "%d cycles with 1000, %d with 25" % (few, many))


def test_limit():
    done = leak(600, 1000, GCMALLOC_PERCENT="off", GCMALLOC_LIMIT="64M", GCMALLOC_TRACE="1")
    expect(peak_mib(done) < 120, "%.0f MiB at peak" % peak_mib(done))
    check_trace(done.cycles())
    expect(any(line.endswith(" (limit)") for line in done.cycles()), "no cycle says (limit): %r" % done.cycles()[:1])


def test_limit_is_soft():
    done = leak(200, 300000, GCMALLOC_LIMIT="16M")  # 1000 live blocks need 200 MB
    expect(peak_mib(done) > 190, "live blocks are missing")


def test_sizes_take_suffixes():
    for value in ("65536K", "64M", "67108864"):
        done = leak(300, 1000, GCMALLOC_PERCENT="off", GCMALLOC_LIMIT=value)
        expect(done.err == "" and peak_mib(done) < 120, "%s: %.0f MiB at peak" % (value, peak_mib(done)))
    for value in ("1G", "1T"):
        done = leak(300, 1000, GCMALLOC_PERCENT="off", GCMALLOC_LIMIT=value, GCMALLOC_INTERVAL="0")
        expect(done.err == "" and peak_mib(done) > 280, "%s: %.0f MiB at peak" % (value, peak_mib(done)))


def test_interval():
    done = works([helper("idle"), "3.5"], GCMALLOC_INTERVAL="1", GCMALLOC_TRACE="1")
    expect(1 <= len(done.cycles()) <= 4, "%d cycles in 3.5 s" % len(done.cycles()))
    check_trace(done.cycles())
    done = works([helper("idle"), "1.5"], GCMALLOC_INTERVAL="0", GCMALLOC_TRACE="1")
    expect(not done.cycles(), "a cycle: %r" % done.cycles())


def residents(done):
    return [int(number) / 1024 for number in re.findall(r"(?:full|freed|later) (\d+)", done.out)]


def test_scavenge_at_once():
    for size in ("4000", "60000", "2000000"):
        full, freed, later = residents(works([helper("resident"), "150", size, "300"], GCMALLOC_SCAVENGE="0"))
        expect(full > 145, "%.0f MiB when full" % full)
        expect(min(freed, later) < 50, "blocks of %s: %.0f MiB, later %.0f MiB" % (size, freed, later))


def test_scavenge_after_a_while():
    full, _, later = residents(works([helper("resident"), "150", "4000", "3500"], GCMALLOC_SCAVENGE="1s"))
    expect(full > 145 and later < 80, "%.0f MiB when full, %.0f MiB after 3.5 s" % (full, later))


def test_scavenge_off():
    full, _, later = residents(works([helper("resident"), "150", "4000", "1500"], GCMALLOC_SCAVENGE="off"))
    expect(full > 145 and later > 100, "%.0f MiB when full, %.0f MiB later" % (full, later))


def test_poison():
    done = works([helper("poison")], GCMALLOC_POISON="1")
    for line in done.out.splitlines():
        expect(line.split()[2] == "db", "after %s: %r" % (line.split()[0], done.out))
    expect(done.out.count("freed") == 5 and done.out.count("reclaimed") == 5, done.summary())


def test_workers_zero_makes_no_thread():
    done = leak(100, 1000, GCMALLOC_WORKERS="0", GCMALLOC_INTERVAL="0", GCMALLOC_TRACE="1")
    expect(done.out.rstrip().endswith("threads 1"), done.out)
    check_trace(done.cycles())


def test_no_thread_before_the_first_collection():
    done = leak(1, 1000)
    expect(done.out.rstrip().endswith("threads 1"), done.out)


def test_dirty_sources():
    for source in ("none", "uffd", "softdirty", "mprotect"):
        done = leak(20, 1000, GCMALLOC_DIRTY=source, GCMALLOC_STRESS="2000", GCMALLOC_TRACE="1", GCMALLOC_CHECKMARK="1")
        check_trace(done.cycles())
        if not done.ours():
            wrong = [line for line in done.cycles() if ", %s" % source not in line]
            expect(not wrong, "with DIRTY=%s: %r" % (source, wrong[:1]))
        else:
            expect(source != "none" and source in done.ours()[0], done.ours()[0])


def test_stats_while_running():
    if os.environ.get("GCM_TEST_SLOW") is None:
        raise Skipped("takes 12 s; GCM_TEST_SLOW=1 runs it")
    with folder() as at:
        path = os.path.join(at, "stats.prom")
        thread = threading.Thread(target=lambda: works([helper("idle"), "13"], GCMALLOC_STATS=path))
        thread.start()
        time.sleep(11.5)
        found = os.path.exists(path)
        thread.join()
        expect(found, "no file after 11.5 s")
