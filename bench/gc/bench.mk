# `make bench-gc`: collectors side by side, into out/bench-gc.md and .svg. ARGS goes to bench/gc/run.py, as in
#   make bench-gc ARGS="--size 4096 --only graph"
BENCH := $(OUT)/bench
BENCH_CC := $(CC) -std=gnu11 -D_GNU_SOURCE -g -O2 -fno-builtin-malloc $(WARNINGS) -Ibench/common
BENCH_WORKLOADS := graph trees table leak markrate
BENCH_PROGRAMS := $(foreach w,$(BENCH_WORKLOADS),$(BENCH)/$w $(BENCH)/$w-bdwgc) \
  $(foreach w,$(filter-out markrate,$(BENCH_WORKLOADS)),$(BENCH)/$w-free)
BENCH_FLAGS_free := -DBENCH_FREE
BENCH_FLAGS_bdwgc := -DBENCH_BDWGC

.PHONY: bench-gc bench-programs
# Go is measured where it is, and builds these; it is too large to be installed for this.
bench-gc: MORE_PACKAGES := libgc-dev
bench-gc: all
	@$(MAKE) --no-print-directory bench-programs
	@python3 bench/gc/run.py --lib $(SO) --programs $(BENCH) --output $(OUT)/bench-gc $(ARGS)

bench-programs: $(BENCH_PROGRAMS) $(BENCH)/limits $(BENCH)/spawn
ifneq ($(shell command -v go),)
bench-programs: $(BENCH)/graph-go $(BENCH)/trees-go
endif

BENCH_COMMON := $(wildcard bench/common/*.[ch])
BENCH_SHARED = bench/gc/bench.c bench/common/program.c $(if $(filter graph markrate,$*),bench/gc/forest.c)
$(BENCH_WORKLOADS:%=$(BENCH)/%): $(BENCH)/%: bench/gc/%.c $(wildcard bench/gc/*.[ch]) $(BENCH_COMMON)
	@mkdir -p $(@D)
	@$(BENCH_CC) -o $@ $< $(BENCH_SHARED) -ldl
$(BENCH_WORKLOADS:%=$(BENCH)/%-free): $(BENCH)/%-free: bench/gc/%.c $(wildcard bench/gc/*.[ch]) $(BENCH_COMMON)
	@mkdir -p $(@D)
	@$(BENCH_CC) $(BENCH_FLAGS_free) -o $@ $< $(BENCH_SHARED) -ldl
$(BENCH_WORKLOADS:%=$(BENCH)/%-bdwgc): $(BENCH)/%-bdwgc: bench/gc/%.c $(wildcard bench/gc/*.[ch]) $(BENCH_COMMON)
	@mkdir -p $(@D)
	@$(BENCH_CC) $(BENCH_FLAGS_bdwgc) -o $@ $< $(BENCH_SHARED) -lgc -ldl
$(BENCH)/limits: bench/gc/limits.c bench/gc/bench.c bench/gc/bench.h $(BENCH_COMMON)
	@mkdir -p $(@D)
	@$(BENCH_CC) -O3 -o $@ $< bench/gc/bench.c bench/common/program.c -ldl
$(BENCH)/spawn: bench/common/spawn.c
	@mkdir -p $(@D)
	@$(BENCH_CC) -o $@ $<
GO = GO111MODULE=off GOFLAGS= GOCACHE=$(abspath $(OUT))/go-cache go
$(BENCH)/%-go: bench/gc/go/%.go bench/gc/go/phase.go
	@mkdir -p $(@D)
	-@$(GO) build -o $@ $^
