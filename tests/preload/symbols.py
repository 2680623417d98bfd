#!/usr/bin/env python3
"""What the shared library shows the dynamic linker: symbols.py LIB

Law: it needs libc and the loader only; it exports the malloc family, the C++ operators, the __libc_ aliases,
gcmalloc_* and the wrapped calls of the table below, and nothing else; it takes nothing from libstdc++ or libgcc
but through weak references.
"""
import pathlib
import re
import subprocess
import sys

FAMILY = """malloc free calloc realloc reallocarray memalign posix_memalign aligned_alloc valloc pvalloc cfree
malloc_usable_size free_sized free_aligned_sized mallinfo mallinfo2 malloc_stats malloc_info malloc_trim
mallopt""".split()

ALIASES = """__libc_malloc __libc_free __libc_calloc __libc_realloc __libc_memalign __libc_valloc
__libc_pvalloc __posix_memalign""".split()
MORE_ALIASES = "__libc_cfree __libc_reallocarray".split()

# %s is the letter of size_t.
OPERATORS = """_Znw%s _Zna%s _Znw%sRKSt9nothrow_t _Zna%sRKSt9nothrow_t _Znw%sSt11align_val_t
_Zna%sSt11align_val_t _Znw%sSt11align_val_tRKSt9nothrow_t _Zna%sSt11align_val_tRKSt9nothrow_t _ZdlPv _ZdaPv
_ZdlPv%s _ZdaPv%s _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t
_ZdlPv%sSt11align_val_t _ZdaPv%sSt11align_val_t _ZdlPvSt11align_val_tRKSt9nothrow_t
_ZdaPvSt11align_val_tRKSt9nothrow_t""".replace("%s", "m").split()

OWN = """gcmalloc_collect gcmalloc_base gcmalloc_version gcmalloc_get_stats gcmalloc_disable gcmalloc_enable
gcmalloc_blocking gcmalloc_write_barrier""".split()

# libc calls that have to be wrapped, each with its reason. Whatever is exported beyond the rest must stand there.
INC = pathlib.Path(__file__).resolve().parents[2] / "preload" / "wrapped.inc"
WRAPPED = re.findall(r'^WRAP\((\w+),\s*"[^"]+', INC.read_text(), re.M)

NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

# Helpers of libgcc that a compiler may call behind one's back.
LIBGCC = re.compile(r"(_Unwind_\w+|__(?:u?div|u?mod|mul|ash[lr]|lshr|popcount|parity|clz|ctz|ffs|bswap)[dt]i\d|"
                    r"__(?:de)?register_frame\w*|__gcc_\w+|__aarch64_\w+|__emutls_\w+)")
LIBSTDCXX = re.compile(r"(_Z\w+|__cxa_(?!finalize|atexit|thread_atexit_impl)\w+|__gxx_\w+|__dynamic_cast)")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def symbols(lib, which):
    for line in output("nm", "-D", which, lib).splitlines():
        fields = line.split()
        name, _, version = fields[-1].partition("@")
        yield fields[-2], name, version.lstrip("@")


def checks(lib):
    defined = list(symbols(lib, "--defined-only"))
    names = {name for kind, name, _ in defined if kind != "A"}
    missing = sorted(set(FAMILY + ALIASES + OPERATORS + OWN + WRAPPED) - names)
    yield "family_is_complete", "missing: " + " ".join(missing) if missing else None
    allowed = set(FAMILY + ALIASES + MORE_ALIASES + OPERATORS) | set(WRAPPED)
    surplus = sorted(name for name in names if name not in allowed and not name.startswith("gcmalloc_"))
    yield "nothing_else_is_exported", "surplus: " + " ".join(surplus) if surplus else None
    versioned = sorted(name for _, name, version in defined
                       if version and name in set(FAMILY + ALIASES + OPERATORS))
    yield "the_family_has_no_versions", "versioned: " + " ".join(versioned) if versioned else None
    kinds = sorted(name for kind, name, _ in defined if kind not in "TtWwVviA" or kind.islower() and kind != "i")
    yield "only_functions_are_exported", "data or local: " + " ".join(kinds) if kinds else None
    unwinder = sorted(name for name in names if "nwind" in name or name.startswith("unw_"))
    yield "no_unwinder_is_visible", " ".join(unwinder) or None

    strong = [(name, version) for kind, name, version in symbols(lib, "--undefined-only") if kind == "U"]
    foreign = sorted(name for name, _ in strong if LIBGCC.fullmatch(name) or LIBSTDCXX.fullmatch(name))
    yield "no_libstdcxx_no_libgcc", "takes: " + " ".join(foreign) if foreign else None
    unknown = sorted(name for name, version in strong if not version.startswith("GLIBC_"))
    yield "all_that_it_takes_is_glibc's", "takes: " + " ".join(unknown) if unknown else None

    dynamic = output("readelf", "-dW", lib)
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    yield "needs_only_libc", "needs: " + " ".join(sorted(needed - NEEDED)) if needed - NEEDED else None
    yield "is_position_independent", "TEXTREL" if "TEXTREL" in dynamic else None
    soname = re.findall(r"\(SONAME\).*\[(.+)\]", dynamic)
    yield "has_a_soname", None if soname and re.fullmatch(r"libgcmalloc\.so\.\d+", soname[0]) else str(soname)
    stack = re.search(r"GNU_STACK.*", output("readelf", "-lW", lib))
    yield "no_executable_stack", None if stack and " RW " in stack.group(0) else "GNU_STACK is missing or executable"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    passed = failed = 0
    for name, why in checks(sys.argv[1]):
        if why is None:
            passed += 1
            print("ok", name)
        else:
            failed += 1
            print("FAIL", name, why)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
