"""The allocation patterns: names as the reports have them, and what each is about."""

PATTERNS = {
    "larson": "a server whose threads hand their blocks on to new ones",
    "sh6": "mixed lifetimes, a heap for each thread",
    "sh8": "mixed lifetimes, blocks passed between threads",
    "xmalloc": "one thread allocates, another frees",
    "cache_scratch": "passive false sharing",
    "cache_thrash": "active false sharing",
    "mstress": "threads that come and go, with a table that all share",
    "rptest": "random sizes, half of the blocks freed by the next thread",
    "alloc_test": "random order over a large heap",
    "glibc_simple": "one size at a time, in one thread",
    "glibc_thread": "a working set of 1000 blocks in each thread",
    "malloc_large": "blocks of 5 to 25 MiB",
    "mleak": "10,000 births of threads",
    "cfrac": "numbers that live for a moment",
    "espresso": "sets of bits in lists that grow",
}
