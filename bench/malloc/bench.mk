# `make bench`: allocators side by side, into out/bench.md, .svg and .json. ARGS goes to bench/malloc/run.py, as in
#   make bench ARGS="--family patterns --only larson --allocators gcmalloc,glibc"
MALLOC_BENCH := $(OUT)/bench/malloc
PATTERN_SOURCES := $(filter-out %/pattern.c,$(wildcard bench/malloc/patterns/*.c))
PATTERN_NAMES := $(PATTERN_SOURCES:bench/malloc/patterns/%.c=%)
PATTERN_PARTS := bench/malloc/patterns/pattern.c bench/malloc/patterns/pattern.h
PATTERNS := $(PATTERN_NAMES:%=$(MALLOC_BENCH)/%)

.PHONY: bench malloc-bench-programs malloc-bench-patterns
bench: MORE_PACKAGES = libbenchmark-dev libjemalloc2 libjemalloc-dev libmimalloc2.0 libtcmalloc-minimal4 libgc-dev valgrind \
  $(shell python3 bench/malloc/programs.py)
bench: all
	@$(MAKE) --no-print-directory malloc-bench-programs
	@python3 bench/malloc/run.py --lib $(SO) --programs $(MALLOC_BENCH) --output $(OUT)/bench $(ARGS)

malloc-bench-patterns: $(PATTERNS) $(BENCH)/spawn
malloc-bench-programs: malloc-bench-patterns $(PATTERNS:%=%-gcmalloc) $(PATTERNS:%=%-jemalloc) $(PATTERNS:%=%-bdwgc) $(MALLOC_BENCH)/micro

PATTERN_LINK = @mkdir -p $(@D); $(BENCH_CC) -o $@ $< bench/malloc/patterns/pattern.c
$(PATTERNS): $(MALLOC_BENCH)/%: bench/malloc/patterns/%.c $(PATTERN_PARTS)
	$(PATTERN_LINK) -pthread
$(PATTERNS:%=%-gcmalloc): $(MALLOC_BENCH)/%-gcmalloc: bench/malloc/patterns/%.c $(PATTERN_PARTS) $(ARCHIVE)
	$(PATTERN_LINK) $(ARCHIVE) -pthread
$(PATTERNS:%=%-jemalloc): $(MALLOC_BENCH)/%-jemalloc: bench/malloc/patterns/%.c $(PATTERN_PARTS)
	$(PATTERN_LINK) -ljemalloc -pthread
$(PATTERNS:%=%-bdwgc): $(MALLOC_BENCH)/%-bdwgc: bench/malloc/patterns/%.c $(PATTERN_PARTS)
	$(PATTERN_LINK) -DBENCH_BDWGC -lgc -pthread
$(MALLOC_BENCH)/micro: bench/malloc/micro/micro.cc
	@mkdir -p $(@D)
	@$(CXX) -std=c++20 -O2 -g $(WARNINGS) -fno-builtin -o $@ $< -lbenchmark -pthread
