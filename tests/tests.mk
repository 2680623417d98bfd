# All tests. `make test` ends with their number; each suite prints its own lines.
TEST := $(OUT)/test
TEST_FLAGS := -g -O1 -fno-builtin $(WARNINGS) -I. -isystem /usr/include/libunwind -DGCM_VERSION='"$(VERSION)"'
TEST_CXX := $(CXX) -std=c++20 $(TEST_FLAGS)
TEST_CC := $(CC) -std=gnu11 -D_GNU_SOURCE $(TEST_FLAGS)

# Where glibc's malloc (or a sanitizer's) stays in place: unit tests, the race.
UNIT_TESTS := $(OUT)/release/unit_tests $(OUT)/asan/unit_tests $(OUT)/tsan/unit_tests
RACE_TESTS := $(foreach c,release tsan early,$(OUT)/$(c)/arena_race) $(OUT)/tsan/heap_threads
HELPERS := $(foreach h,leak poison idle resident,$(TEST)/$(h))

test: MORE_PACKAGES := libgtest-dev
test: all
	@$(MAKE) --no-print-directory -j2 test-programs
	@python3 tests/tools/run_all.py $(OUT)

.PHONY: test-programs
test-programs: $(UNIT_TESTS) $(RACE_TESTS) $(HELPERS) $(TEST)/func_tests $(TEST)/func_tests_static \
  $(TEST)/misuse $(TEST)/misuse_static $(TEST)/roots_tests $(TEST)/roots_plugin.so $(TEST)/leak_test

# A configuration's objects are made by this Makefile with CONFIG set.
$(OUT)/%/unit_tests: $(CORE) $(wildcard tests/unit/*/*.cc tests/unit/*.h core/*/*.h platform/*.h)
	@$(MAKE) --no-print-directory CONFIG=$* unit-binary
$(OUT)/%/arena_race: $(CORE) tests/race/arena_race.cc $(wildcard core/*/*.h platform/*.h)
	@$(MAKE) --no-print-directory CONFIG=$* race-binary
$(OUT)/%/heap_threads: $(CORE) tests/race/heap_threads.cc $(wildcard core/*/*.h platform/*.h)
	@$(MAKE) --no-print-directory CONFIG=$* threads-binary

.PHONY: unit-binary race-binary threads-binary
UNIT_OBJECTS := $(patsubst %.cc,$(BUILD)/%.o,$(wildcard tests/unit/*/*.cc))
$(BUILD)/tests/%.o: tests/%.cc
	@mkdir -p $(@D)
	@$(TEST_CXX) $(FLAGS_$(CONFIG)) -MMD -MP -c $< -o $@
SAN_LINK := $(CXX) $(FLAGS_$(CONFIG))
unit-binary: $(UNIT_OBJECTS) $(CORE_OBJECTS)
	@$(SAN_LINK) -o $(BUILD)/unit_tests $^ $(UNWIND) -lgtest -lgtest_main -lpthread -ldl
	@echo "built $(BUILD)/unit_tests"
race-binary: $(BUILD)/tests/race/arena_race.o $(CORE_OBJECTS)
	@$(SAN_LINK) -o $(BUILD)/arena_race $^ $(UNWIND) -lpthread -ldl
threads-binary: $(BUILD)/tests/race/heap_threads.o $(CORE_OBJECTS)
	@$(SAN_LINK) -o $(BUILD)/heap_threads $^ $(UNWIND) -lpthread -ldl

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
$(HELPERS): $(TEST)/%: tests/preload/%.c
	@mkdir -p $(@D)
	@$(TEST_CC) -o $@ $< -ldl
$(TEST)/leak_test: tests/leak/leak_test.cc $(ARCHIVE)
	@mkdir -p $(@D)
	@$(CXX) -std=c++20 -O2 -g $(WARNINGS) -I. -o $@ $< $(ARCHIVE) -pthread -ldl
