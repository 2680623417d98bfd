#!/usr/bin/env python3
"""Checks what a compiler does not: layers, lengths, memory orders, and where conditions may stand.

  platform/   includes platform/ only
  core/X/     includes platform/ and the folders of core/ that stand before X in CORE, and itself
  preload/    includes anything
and in these three trees
  - a file has at most 400 lines
  - a line that names a memory order other than relaxed has "pairs with:" on it, or in a comment
    within the three lines above (signal fences order one thread only, and need none)
  - #if and its kin outside of platform/ name only GCM_TEST_*, __cplusplus, __cpp_exceptions, or are
    an include guard

Usage: check_layers.py [ROOT]; check_layers.py --self-test
"""
import pathlib
import re
import sys
import tempfile

CORE = ["base", "heap", "report", "gc", "api"]
TREES = ["platform", "core", "preload"]
MAX_LINES = 400
SUFFIXES = {".h", ".cc", ".c", ".S", ".inc"}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
ORDER = re.compile(r"memory_order(?:_|::)(acquire|release|acq_rel|seq_cst|consume)|"
                   r"__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST|CONSUME)")
CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b(.*)")
ALLOWED_NAME = re.compile(r"^(defined|GCM_TEST_\w+|__cplusplus|__cpp_exceptions|\d+\w*)$")


def layer(path):
    """('platform',), ('core', 'heap'), ('preload',), or None outside of the trees."""
    parts = pathlib.PurePosixPath(path).parts
    if not parts or parts[0] not in TREES:
        return None
    return parts[:2] if parts[0] == "core" and len(parts) > 2 else parts[:1]


def may_include(source, target):
    if source[0] == "preload":
        return True
    if target is None or target[0] == "preload":
        return False
    if target[0] == "platform":
        return True
    if source[0] == "platform" or len(source) < 2 or len(target) < 2:
        return False
    if source[1] not in CORE or target[1] not in CORE:
        return False
    return CORE.index(target[1]) <= CORE.index(source[1])


def is_guard(lines, at):
    """#ifndef X directly followed by #define X."""
    m = re.match(r"^\s*#\s*ifndef\s+(\w+)", lines[at])
    return bool(m and at + 1 < len(lines) and
                re.match(r"^\s*#\s*define\s+%s\s*$" % m.group(1), lines[at + 1]))


def offences(root):
    root = pathlib.Path(root)
    for tree in TREES:
        for path in sorted((root / tree).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield from offences_in(path.relative_to(root).as_posix(), path.read_text())


def offences_in(name, text):
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield f"{name}:{MAX_LINES + 1}: length: {len(lines)} lines, {MAX_LINES} are allowed"
    source = layer(name)
    if source[0] == "core" and (len(source) < 2 or source[1] not in CORE):
        yield f"{name}:1: layer: no known folder of core/"
    for i, line in enumerate(lines):
        where = f"{name}:{i + 1}"
        include = INCLUDE.match(line)
        if include and not may_include(source, layer(include.group(1))):
            yield f"{where}: layer: {line.strip()}"
        code = line.split("//")[0]
        if ORDER.search(code) and "atomic_signal_fence" not in code:
            near = lines[max(0, i - 3):i + 1]
            if not any("pairs with:" in n for n in near):
                yield f"{where}: order: {line.strip()}"
        condition = CONDITION.match(line)
        if condition and source[0] != "platform" and not is_guard(lines, i):
            names = re.findall(r"\w+", condition.group(2).split("//")[0])
            if not all(ALLOWED_NAME.match(n) for n in names):
                yield f"{where}: condition: {line.strip()}"


def self_test():
    good = {
        "platform/a.h": "#include <atomic>\n#include \"platform/b.h\"\n#ifdef __x86_64__\n#endif\n",
        "core/base/a.h": "#include \"platform/a.h\"\n#include \"core/base/b.h\"\n",
        "core/heap/a.cc": "#include \"core/base/a.h\"\n"
                          "x.store(1, std::memory_order_relaxed);\n"
                          "// pairs with: there\n\n\nx.store(1, std::memory_order_release);\n"
                          "x.load(std::memory_order_acquire);  // pairs with: here\n"
                          "std::atomic_signal_fence(std::memory_order_seq_cst);\n"
                          "#ifdef GCM_TEST_EARLY\n#endif\n#if defined(__cpp_exceptions)\n#endif\n",
        "core/api/g.h": "#ifndef GUARD_H\n#define GUARD_H\n#ifdef __cplusplus\n#endif\n#endif\n",
        "core/gc/a.cc": "#include \"core/report/r.h\"\n// memory_order_acquire in a comment\n",
        "preload/a.cc": "#include \"core/api/g.h\"\n",
        "core/gc/long.cc": "\n" * MAX_LINES,
        "tests/unit/a.cc": "#if defined(__clang__)\n#endif\n" + "\n" * 500,
    }
    bad = [
        ("platform/x.cc", "#include \"core/base/a.h\"\n", "layer"),
        ("platform/x.cc", "#include \"preload/a.h\"\n", "layer"),
        ("core/base/x.h", "#include \"core/heap/a.h\"\n", "layer"),
        ("core/heap/x.h", "#include \"core/report/a.h\"\n", "layer"),
        ("core/heap/x.h", " #  include \"core/gc/a.h\"\n", "layer"),
        ("core/report/x.h", "#include \"core/gc/a.h\"\n", "layer"),
        ("core/gc/x.h", "#include \"core/api/g.h\"\n", "layer"),
        ("core/gc/x.h", "#include \"preload/family.h\"\n", "layer"),
        ("core/gc/x.h", "#include \"tests/unit/support.h\"\n", "layer"),
        ("core/gc/x.h", "#include \"marker.h\"\n", "layer"),
        ("core/extra/x.h", "\n", "layer"),
        ("core/gc/x.cc", "\n" * (MAX_LINES + 1), "length"),
        ("preload/x.cc", "\n" * (MAX_LINES + 1), "length"),
        ("core/gc/x.cc", "x.load(std::memory_order_acquire);\n", "order"),
        ("core/gc/x.cc", "x.load(std::memory_order::seq_cst);\n", "order"),
        ("platform/x.cc", "x.exchange(1, std::memory_order_acq_rel);\n", "order"),
        ("platform/x.cc", "__atomic_store_n(p, v, __ATOMIC_RELEASE);\n", "order"),
        ("core/gc/x.cc", "// pairs with: far\n\n\n\nx.store(0, std::memory_order_release);\n", "order"),
        ("core/gc/x.cc", "std::atomic_thread_fence(std::memory_order_seq_cst);\n", "order"),
        ("core/gc/x.cc", "#ifdef __x86_64__\n#endif\n", "condition"),
        ("core/gc/x.cc", "#if defined(GCM_TEST_A) && defined(__clang__)\n#endif\n", "condition"),
        ("preload/x.cc", "#ifndef __GLIBC__\n#endif\n", "condition"),
        ("preload/x.cc", "#if GCM_TEST_A\n#elif __GNUC__ > 11\n#endif\n", "condition"),
    ]

    def run(files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(offences(root))

    found = run(good)
    print("FAIL good_tree: %s" % found if found else "ok good_tree")
    failures = len(found)
    for i, (name, text, kind) in enumerate(bad):
        found = run({**good, name: text})
        if len(found) == 1 and f"{name}:" in found[0] and f" {kind}: " in found[0]:
            print(f"ok offence_{i}_{kind}")
        else:
            print(f"FAIL offence_{i}_{kind}: {name}: {text.strip()[:60]!r} should be one offence: {found}")
            failures += 1
    return 1 if failures else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    found = list(offences(root))
    for offence in found:
        print("FAIL", offence)
    if not found:
        print("ok no_offence")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
