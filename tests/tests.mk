# All tests. `make test` ends with their number; each suite prints its own lines.
TEST := $(OUT)/test
TEST_FLAGS := -g -O1 -fno-builtin $(WARNINGS) -I. -isystem /usr/include/libunwind -DGCM_VERSION='"$(VERSION)"'
TEST_CXX := $(CXX) -std=c++20 $(TEST_FLAGS)
TEST_CC := $(CC) -std=gnu11 -D_GNU_SOURCE $(TEST_FLAGS)

# Where glibc's malloc (or a sanitizer's) stays in place: unit tests, the race.
# One make for each configuration: two would write the same objects.
BINARIES_release := unit_tests arena_race
BINARIES_asan := unit_tests
BINARIES_tsan := unit_tests arena_race heap_threads
BINARIES_early := arena_race
BINARIES_hooks := libgcmalloc.so
HELPERS := $(foreach h,leak poison idle resident shifted queue_full filter unshare lowest,$(TEST)/$(h))

test: MORE_PACKAGES := libgtest-dev spin valgrind
test: all
	@$(MAKE) --no-print-directory -j2 test-programs
	@python3 tests/tools/run_all.py $(OUT)

.PHONY: test-programs
test-programs: $(TEST)/static_program $(foreach c,release asan tsan early hooks,binaries-$(c)) $(HELPERS) $(TEST)/func_tests $(TEST)/func_tests_static \
  $(TEST)/misuse $(TEST)/misuse_static $(TEST)/roots_tests $(TEST)/roots_plugin.so $(TEST)/host_tests $(TEST)/leak_test \
  $(TEST)/process_tests $(TEST)/process_tests_static $(TEST)/mutator $(TEST)/pair bench-patterns

# The configurations' own objects are made by this Makefile with CONFIG set; the release's belong to
# the library, which is there already.
.PHONY: binaries-release binaries-asan binaries-tsan binaries-early binaries
$(addprefix binaries-,release asan tsan early hooks): binaries-%: lib
	@$(MAKE) --no-print-directory CONFIG=$* binaries
binaries: $(addprefix $(BUILD)/,$(BINARIES_$(CONFIG)))

UNIT_OBJECTS := $(patsubst %.cc,$(BUILD)/%.o,$(wildcard tests/unit/*/*.cc))
$(BUILD)/tests/%.o: tests/%.cc
	@mkdir -p $(@D)
	@$(TEST_CXX) $(FLAGS_$(CONFIG)) -MMD -MP -c $< -o $@
$(BUILD)/unit_tests: $(UNIT_OBJECTS)
$(BUILD)/unit_tests: LIBRARIES := -lgtest -lgtest_main
$(BUILD)/arena_race: $(BUILD)/tests/race/arena_race.o
$(BUILD)/heap_threads: $(BUILD)/tests/race/heap_threads.o
$(addprefix $(BUILD)/,unit_tests arena_race heap_threads): $(CORE_OBJECTS)
	@$(CXX) $(FLAGS_$(CONFIG)) -o $@ $^ $(UNWIND) $(LIBRARIES) -lpthread -ldl
	@echo "built $@"

FUNC := $(wildcard tests/func/*.cc)
$(TEST)/func_tests: $(FUNC) tests/func/support.h
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $(FUNC) -lgtest -ldl -pthread
$(TEST)/func_tests_static: $(FUNC) tests/func/support.h $(ARCHIVE)
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $(FUNC) $(ARCHIVE) -lgtest -ldl -pthread
$(TEST)/misuse: tests/misuse/misuse.cc
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $< -pthread
$(TEST)/misuse_static: tests/misuse/misuse.cc $(ARCHIVE)
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $< $(ARCHIVE) -pthread
ROOTS := $(filter-out tests/roots/plugin.c,$(wildcard tests/roots/*.c))
$(TEST)/roots_tests: $(ROOTS) $(wildcard tests/roots/*.h)
	@mkdir -p $(@D)
	@$(TEST_CC) -rdynamic -o $@ $(ROOTS) -ldl -lrt -pthread
$(TEST)/roots_plugin.so: tests/roots/plugin.c
	@mkdir -p $(@D)
	@$(TEST_CC) -fPIC -shared -o $@ $<
PROCESS := $(wildcard tests/process/*.cc)
$(TEST)/process_tests: $(PROCESS) $(wildcard tests/process/*.h)
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $(PROCESS) -ldl -lrt -pthread
$(TEST)/process_tests_static: $(PROCESS) $(wildcard tests/process/*.h) $(ARCHIVE)
	@mkdir -p $(@D)
	@$(TEST_CXX) -rdynamic -o $@ $(PROCESS) $(ARCHIVE) -ldl -lrt -pthread
# Compiled with exceptions, so that a cancelled thread unwinds as one of C++ does.
HOST := $(wildcard tests/host/*.c tests/host/*.cc)
HOST_OBJECTS := $(HOST:%=$(TEST)/%.o)
$(TEST)/tests/host/%.c.o: tests/host/%.c
	@mkdir -p $(@D)
	@$(TEST_CC) -fexceptions -MMD -MP -c $< -o $@
$(TEST)/tests/host/%.cc.o: tests/host/%.cc
	@mkdir -p $(@D)
	@$(TEST_CXX) -fnon-call-exceptions -MMD -MP -c $< -o $@
$(TEST)/host_tests: $(HOST_OBJECTS)
	@$(CXX) -rdynamic -o $@ $^ -ldl -lrt -pthread
$(HELPERS): $(TEST)/%: tests/preload/%.c
	@mkdir -p $(@D)
	@$(TEST_CC) -rdynamic -o $@ $< -ldl -pthread
$(TEST)/leak_test: tests/leak/leak_test.cc $(ARCHIVE)
	@mkdir -p $(@D)
	@$(CXX) -std=c++20 -O2 -g $(WARNINGS) -I. -o $@ $< $(ARCHIVE) -pthread -ldl
$(TEST)/mutator: tests/stress/mutator.c
	@mkdir -p $(@D)
	@$(TEST_CC) -o $@ $< -pthread
$(TEST)/static_program: tests/preload/static.c $(ARCHIVE)
	@mkdir -p $(@D)
	@$(TEST_CC) -static -o $@ $< $(ARCHIVE) -pthread
$(TEST)/pair: tests/budget/pair.c
	@mkdir -p $(@D)
	@$(TEST_CC) -o $@ $<
