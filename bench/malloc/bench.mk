# `make bench`: gcmalloc beside the plain mallocs, into out/bench.md, .svg and .json. ARGS goes to bench/malloc/run.py, as in
#   make bench ARGS="--family patterns --only larson --runs 3"
# Patterns and the micro benchmarks are built three times over: for the preloaded library, and linked with an archive.
MALLOC_BENCH := $(OUT)/bench-malloc
PATTERNS := $(patsubst bench/malloc/patterns/%.c,%,$(filter-out %/pattern.c %/bignum.c,$(wildcard bench/malloc/patterns/*.c)))
PATTERN_PROGRAMS := $(PATTERNS:%=$(MALLOC_BENCH)/%)
PATTERN_CC := $(BENCH_CC) -pthread
PATTERN_SHARED = bench/malloc/patterns/pattern.c bench/common/program.c $(if $(filter cfrac,$*),bench/malloc/patterns/bignum.c)
PATTERN_SOURCES := $(wildcard bench/malloc/patterns/*.h $(addprefix bench/malloc/patterns/,pattern.c bignum.c)) $(BENCH_COMMON)
JEMALLOC := /usr/lib/x86_64-linux-gnu/libjemalloc_pic.a

.PHONY: bench bench-malloc-programs bench-patterns
bench-patterns: $(PATTERN_PROGRAMS)
# What is only run may be missing: the report names it.
bench: MORE_PACKAGES = python3 $(shell python3 bench/malloc/run.py --packages build)
bench: all
	@packages=$$(python3 bench/malloc/run.py --packages run); sh tests/tools/install.sh $$packages || \
	  for package in $$packages; do sh tests/tools/install.sh $$package || true; done
	@$(MAKE) --no-print-directory bench-malloc-programs
	@python3 bench/malloc/run.py --lib $(SO) --programs $(MALLOC_BENCH) --out $(OUT)/bench $(ARGS)

bench-malloc-programs: $(PATTERN_PROGRAMS) $(PATTERNS:%=$(MALLOC_BENCH)/%-bdwgc) $(PATTERNS:%=$(MALLOC_BENCH)/%-gcmalloc) \
  $(PATTERNS:%=$(MALLOC_BENCH)/%-jemalloc) $(addprefix $(MALLOC_BENCH)/,micro micro-gcmalloc micro-jemalloc) \
  $(addprefix $(MALLOC_BENCH)/,spawn first first-gcmalloc first-jemalloc)

$(PATTERN_PROGRAMS): $(MALLOC_BENCH)/%: bench/malloc/patterns/%.c $(PATTERN_SOURCES)
	@mkdir -p $(@D)
	@$(PATTERN_CC) -o $@ $< $(PATTERN_SHARED) -lm
$(PATTERNS:%=$(MALLOC_BENCH)/%-bdwgc): $(MALLOC_BENCH)/%-bdwgc: bench/malloc/patterns/%.c $(PATTERN_SOURCES)
	@mkdir -p $(@D)
	@$(PATTERN_CC) -DBENCH_BDWGC -o $@ $< $(PATTERN_SHARED) -lgc -lm
$(PATTERNS:%=$(MALLOC_BENCH)/%-gcmalloc): $(MALLOC_BENCH)/%-gcmalloc: bench/malloc/patterns/%.c $(PATTERN_SOURCES) $(ARCHIVE)
	@mkdir -p $(@D)
	@$(PATTERN_CC) -o $@ $< $(PATTERN_SHARED) $(ARCHIVE) -lm
$(PATTERNS:%=$(MALLOC_BENCH)/%-jemalloc): $(MALLOC_BENCH)/%-jemalloc: bench/malloc/patterns/%.c $(PATTERN_SOURCES)
	@mkdir -p $(@D)
	@$(PATTERN_CC) -o $@ $< $(PATTERN_SHARED) $(JEMALLOC) -lm -lstdc++
$(MALLOC_BENCH)/spawn: bench/common/spawn.c
	@mkdir -p $(@D)
	@$(BENCH_CC) -o $@ $<
FIRST_LINKED_gcmalloc := $(ARCHIVE)
FIRST_LINKED_jemalloc := $(JEMALLOC) -lm -lstdc++ -pthread
$(MALLOC_BENCH)/first: bench/malloc/micro/first.c
	@mkdir -p $(@D)
	@$(BENCH_CC) -o $@ $<
$(MALLOC_BENCH)/first-gcmalloc $(MALLOC_BENCH)/first-jemalloc: $(MALLOC_BENCH)/first-%: bench/malloc/micro/first.c $(ARCHIVE)
	@mkdir -p $(@D)
	@$(BENCH_CC) -o $@ $< $(FIRST_LINKED_$*)

MICRO := $(wildcard bench/malloc/micro/*.cc)
MICRO_OBJECTS := $(MICRO:bench/malloc/micro/%.cc=$(MALLOC_BENCH)/micro-objects/%.o)
$(MALLOC_BENCH)/micro-objects/%.o: bench/malloc/micro/%.cc
	@mkdir -p $(@D)
	@$(CXX) -std=c++20 -g -O2 -fno-builtin $(WARNINGS) -MMD -MP -c $< -o $@
$(MALLOC_BENCH)/micro: $(MICRO_OBJECTS)
	@$(CXX) -o $@ $^ -lbenchmark -pthread
$(MALLOC_BENCH)/micro-gcmalloc: $(MICRO_OBJECTS) $(ARCHIVE)
	@$(CXX) -o $@ $^ -lbenchmark -pthread
$(MALLOC_BENCH)/micro-jemalloc: $(MICRO_OBJECTS)
	@$(CXX) -o $@ $^ $(JEMALLOC) -lbenchmark -pthread
