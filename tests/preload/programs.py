"""Real programs, and odd circumstances to run them in.

Law: a program prints the same with the library as without, also when a cycle runs every few thousand
allocations and each is checked by a second mark.
"""
import os

from harness import Failed, Setting, Skipped, expect, folder, helper, program, run, works

HARD = {"GCMALLOC_STRESS": "3000", "GCMALLOC_CHECKMARK": "1"}

PYTHON = """
import collections, json, re, threading
tree = {str(i): [i, {"x": list(range(i % 7))}, "t" * (i % 50)] for i in range(3000)}
for _ in range(3): tree = json.loads(json.dumps(tree))
words = collections.Counter(re.findall(r"\\w+", json.dumps(tree)))
results = []
def work(n): results.append(sum(len(str(i)) for i in range(n)))
threads = [threading.Thread(target=work, args=(3000 * i,)) for i in range(1, 5)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(tree), words.most_common(3), sorted(results))
"""

SHELL = """
total=0
for i in 1 2 3 4 5 6 7 8 9 10; do
  x=$(echo "line $i" | tr a-z A-Z | cut -d' ' -f2)
  total=$((total + x))
done
printf '%s\\n' "$total"
seq 1 2000 | sort -rn | head -3
( trap 'echo left' EXIT; exit 3 ); echo $?
"""

AWK = 'BEGIN { for (i = 0; i < 20000; i++) { a[i % 977] = a[i % 977] "x" i; if (i % 50 == 0) delete a[i % 977] } ' \
      'n = 0; for (k in a) n += length(a[k]); print n }'

PERL = 'my %h; for my $i (1..20000) { $h{$i % 999} = [ $i, "x" x ($i % 40), { a => $i } ]; } ' \
       'my $n = 0; $n += $_->[2]{a} for values %h; print "$n\n";'

SOURCE = """
#include <map>
#include <string>
#include <vector>
int main() {
  std::map<std::string, std::vector<int>> m;
  for (int i = 0; i < 10; ++i) m[std::to_string(i % 3)].push_back(i);
  return m.size() == 3 ? 0 : 1;
}
"""


# An object that gives back what the program has allocated, and the other way round.
DEEP_OBJECT = """
#include <stdlib.h>
void give(void *p) { free(p); }
void *take(void) { return malloc(100); }
"""
DEEP_PROGRAM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  void *object = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND) : NULL;
  if (object == NULL) return 1;
  void (*give)(void *);
  void *(*take)(void);
  *(void **)&give = dlsym(object, "give");
  *(void **)&take = dlsym(object, "take");
  give(malloc(100));
  free(take());
  return 0;
}
"""


def hard_as_possible(command, **settings):
    """Without the second mark in a version that does not have it."""
    try:
        return run(command, **settings)
    except Skipped:
        if "GCMALLOC_CHECKMARK" not in settings:
            raise
        return run(command, **{k: v for k, v in settings.items() if k != "GCMALLOC_CHECKMARK"})


def same(command, stdin=None, cwd=None, **settings):
    expected = run(command, preload=False, stdin=stdin, cwd=cwd)
    if expected.status != 0:
        raise Failed("fails without the library: " + expected.summary())
    done = hard_as_possible(command, stdin=stdin, cwd=cwd, timeout=90, **settings)
    expect(done.status == expected.status and done.out == expected.out and not done.ours(),
           "with %r: %s" % (settings, done.summary()))


def test_python():
    same([program("python3"), "-S", "-c", PYTHON])


def test_python_hard():
    same([program("python3"), "-S", "-c", PYTHON], PYTHONMALLOC="malloc", GCMALLOC_STRESS="20000",
         GCMALLOC_CHECKMARK="1")


def test_shell():
    same([program("sh"), "-c", SHELL])
    same([program("bash"), "-c", SHELL], **HARD)


def test_awk():
    same([program("awk"), AWK])
    same([program("awk"), AWK], **HARD)


def test_perl():
    same([program("perl"), "-e", PERL])
    same([program("perl"), "-e", PERL], **HARD)


def test_sort():
    lines = "".join("%d %s\n" % (i * 7919 % 100003, "x" * (i % 30)) for i in range(60000))
    same([program("sort"), "-n"], stdin=lines)
    same([program("sort"), "--parallel=4", "-S", "1M", "-r"], stdin=lines, **HARD)


def test_find_grep_tar():
    root = "/usr/include"
    same([program("find"), root, "-name", "std*.h"], **HARD)
    same([program("grep"), "-rc", "include", root + "/linux/can"] if os.path.isdir(root + "/linux/can")
         else [program("grep"), "-c", "root", "/etc/passwd"], **HARD)
    same(["sh", "-c", program("tar") + " cf - -C /usr/include/linux . | wc -c"]
         if os.path.isdir(root + "/linux") else ["true"])


def test_compiler():
    compiler = program("g++")
    with folder() as at:
        with open(os.path.join(at, "a.cc"), "w", encoding="utf-8") as file:
            file.write(SOURCE)
        done = works([compiler, "-std=c++17", "-O0", "-o", "a", "a.cc"], cwd=at, timeout=90)
        expect(not done.ours(), done.summary())
        done = hard_as_possible([os.path.join(at, "a")], **HARD)
        expect(done.status == 0, done.summary())


def test_objects_bound_deep():
    compiler = program("gcc")
    with folder() as at:
        for name, text, flags in (("o", DEEP_OBJECT, ["-shared", "-fPIC"]), ("p", DEEP_PROGRAM, [])):
            with open(os.path.join(at, name + ".c"), "w", encoding="utf-8") as file:
                file.write(text)
            works([compiler, *flags, "-o", name, name + ".c", "-ldl"], preload=False, cwd=at)
        works([os.path.join(at, "p"), os.path.join(at, "o")])


def test_guard_and_report_run_programs():
    for mode in ("guard", "report", "off"):
        same([program("python3"), "-S", "-c", PYTHON], GCMALLOC_MODE=mode, GCMALLOC_REPORT="/dev/null")
        same([program("bash"), "-c", SHELL], GCMALLOC_MODE=mode, GCMALLOC_REPORT="/dev/null")


def test_empty_environment():
    done = works([program("env")], clean=True)
    expect(done.out == "LD_PRELOAD=%s\n" % Setting.lib, "the environment was changed: %r" % done.out)
    done = run([program("env"), "-i", "LD_PRELOAD=" + Setting.lib, helper("leak"), "50", "1000"], preload=False)
    expect(done.status == 0 and done.err == "", done.summary())


def with_closed(descriptors, *command, **settings):
    closing = " ".join("%d>&-" % d for d in descriptors)
    return run([program("sh"), "-c", 'exec "$@" ' + closing, "sh", *command], **settings)


def test_closed_standard_error():
    done = with_closed([2], helper("leak"), "20", "1000", GCMALLOC_TRACE="1", GCMALLOC_STRESS="1000")
    expect(done.status == 0 and done.out.startswith("peak_kib"), done.summary())
    done = with_closed([2], helper("leak"), "20", "1000", GCMALLOC_FOO="1", GCMALLOC_VERBOSE="1")
    expect(done.status == 0 and done.out.startswith("peak_kib"), done.summary())


def test_all_descriptors_closed():
    done = with_closed([0, 1, 2], helper("leak"), "20", "1000", GCMALLOC_TRACE="1", GCMALLOC_STRESS="1000")
    expect(done.status == 0, done.summary())


def test_few_descriptors():
    # With a source of its own choice each cycle would run beside the program, which takes more of them.
    for extra in ({}, {"GCMALLOC_TRACE": "1"}, {"GCMALLOC_DIRTY": "uffd"}, {"GCMALLOC_DIRTY": "uffd", "GCMALLOC_WORKERS": "0"}):
        done = run([program("sh"), "-c", 'ulimit -n 4; exec "$@"', "sh", helper("leak"), "60", "1000"], **extra)
        expect(done.status == 0 and done.out.startswith("peak_kib"), done.summary())
        expect(int(done.out.split()[1]) < 50 * 1024, "did not collect with %s: %s" % (extra, done.out))


def test_little_address_space():
    # 1000 live blocks of 1 MB do not fit; those of 100 KB do, when garbage is collected.
    done = run([program("sh"), "-c", 'ulimit -v 1000000; exec "$@"', "sh", helper("leak"), "1000", "100000"])
    expect(done.status == 0, done.summary())
    done = run([program("sh"), "-c", 'ulimit -v 600000; exec "$@"', "sh", helper("leak"), "2000", "1000000"])
    expect(done.status == 3 and done.err == "", "malloc must give NULL: " + done.summary())


def test_descriptors_are_not_left_open():
    done = works([program("ls"), "/proc/self/fd"])
    expected = works([program("ls"), "/proc/self/fd"], preload=False)
    low = [name for name in done.out.split() if int(name) < 20]
    expect(low == [name for name in expected.out.split() if int(name) < 20], "open: %r" % done.out.split())


def test_full_signal_queue():
    done = run([helper("queue_full")], GCMALLOC_STRESS="5000", timeout=20)
    expect(done.status == 0 and done.out == "done\n", done.summary())


def test_filters_of_system_calls():
    for how in ("prctl", "syscall"):
        done = run([helper("filter"), how], GCMALLOC_STRESS="1000")
        expect(done.status == 0 and done.out == "done\n", how + ": " + done.summary())


def test_namespaces_beside_a_cycle():
    for _ in range(5):
        done = run([helper("unshare")])
        if done.status == 77:
            raise Skipped("no user namespaces here")
        expect(done.status == 0, done.summary())


def test_shifted_addresses():
    done = run([helper("shifted")])
    expect(done.status == 0 and done.out == "kept 64 of 64, reclaimed some\n", done.summary())
    done = run([helper("shifted")], GCMALLOC_ALIGN="1")
    expect(done.status == 0 and done.out == "kept 64 of 64, reclaimed some\n", done.summary())


def test_nothing_is_kept_by_the_library_itself():
    done = run([helper("lowest")])
    expect(done.status == 0 and done.out == "kept 0 of 96\n", done.summary())


def test_preloaded_before_others():
    done = run([program("env")], preload=False,
               LD_PRELOAD=Setting.lib + ":libm.so.6")
    expect(done.status == 0 and "libm.so.6" in done.out and not done.ours(), done.summary())
