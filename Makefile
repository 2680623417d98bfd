# gcmalloc. For people:
#   make        the library          make run    the demonstration
#   make test   all tests            make deps   what is missing of Debian's packages
#   make bench                       mallocs side by side, about twenty minutes
#   make bench-gc                    collectors side by side, about ten minutes
# A configuration (CONFIG=release|asan|tsan|early|hooks) builds into a folder of its own under out/.
VERSION := 0.1.0
CXX ?= g++
CC ?= gcc
OUT := out
CONFIG ?= release
BUILD := $(OUT)/$(CONFIG)

WARNINGS := -Wall -Wextra -Wundef -Werror
COMMON := -g $(WARNINGS) -fvisibility=hidden -fPIC -ffunction-sections -fno-plt -ftls-model=initial-exec \
  -I. -isystem /usr/include/libunwind -DGCM_VERSION='"$(VERSION)"'
FLAGS_release := -O2 -fno-omit-frame-pointer
FLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
# The negative control of the publication order: the bound is published before anything is mapped.
FLAGS_early := -O2 -DGCM_TEST_PUBLISH_EARLY
# Rules of the collector can be left out one by one: platform/test_skip.h.
FLAGS_hooks := -O2 -fno-omit-frame-pointer -DGCM_TEST_HOOKS
FLAGS := $(COMMON) $(FLAGS_$(CONFIG)) $(EXTRA)
UNWIND := /usr/lib/llvm-14/lib/libunwind.a

CORE := $(wildcard platform/*.cc core/*/*.cc)
PRELOAD := $(wildcard preload/*.cc)
CORE_OBJECTS := $(CORE:%.cc=$(BUILD)/%.o)
# What wraps calls of libc needs the dynamic linker: it is not in the archive.
WRAPPERS := $(foreach w,blocking chroot exec filters handlers kernel_values loading namespaces wrapped,$(BUILD)/preload/$(w).o)
ALL_OBJECTS := $(CORE_OBJECTS) $(PRELOAD:%.cc=$(BUILD)/%.o)

SO := $(OUT)/libgcmalloc.so
ARCHIVE := $(OUT)/libgcmalloc.a

.PHONY: all run test deps clean lib
all: deps
	@$(MAKE) --no-print-directory lib
lib: $(SO) $(ARCHIVE) $(OUT)/gcmalloc.h

# What needs only a compiler and make is built without looking for packages.
PACKAGES := g++ make libgtest-dev libunwind-14-dev python3 binutils
deps:
	@sh tests/tools/install.sh $(PACKAGES) $(MORE_PACKAGES)

# operator new must let a new_handler's exception through.
$(BUILD)/preload/new.o: LANGUAGE := -std=c++20 -fno-rtti -fexceptions
LANGUAGE := -std=c++20 -fno-rtti -fno-exceptions
# The fast paths: a frame would be a tenth of their instructions.
$(BUILD)/preload/malloc.o $(BUILD)/preload/new.o: FRAME := -fomit-frame-pointer
# What runs seldom, or waits for the system: each page of code that is there is memory of every small process.
SELDOM := $(filter-out preload/malloc.cc preload/new.cc,$(PRELOAD)) $(wildcard core/report/*.cc core/base/options.cc) \
  $(addprefix core/gc/,checkmark.cc collector.cc kernel_values.cc roots.cc world.cc) $(filter-out platform/dirty_uffd.cc,$(wildcard platform/*.cc))
SMALL_release := -Os
SMALL_hooks := -Os
$(SELDOM:%.cc=$(BUILD)/%.o): SMALL = $(SMALL_$(CONFIG))
$(BUILD)/platform/%.o $(BUILD)/core/%.o $(BUILD)/preload/%.o: FLAGS_HERE = $(LANGUAGE) $(FLAGS) $(FRAME) $(SMALL)
$(BUILD)/platform/%.o: platform/%.cc
	@mkdir -p $(@D)
	@$(CXX) $(FLAGS_HERE) -MMD -MP -c $< -o $@
$(BUILD)/core/%.o: core/%.cc
	@mkdir -p $(@D)
	@$(CXX) $(FLAGS_HERE) -MMD -MP -c $< -o $@
$(BUILD)/preload/%.o: preload/%.cc
	@mkdir -p $(@D)
	@$(CXX) $(FLAGS_HERE) -MMD -MP -c $< -o $@

LINK_SO = $(CXX) -shared $(filter %.o,$^) $(UNWIND) -nodefaultlibs -lgcc -lc \
  -Wl,-soname,libgcmalloc.so.1 -Wl,--exclude-libs,ALL \
  -Wl,-z,max-page-size=65536,-z,defs,-z,now,-z,relro,-z,initfirst,-z,nodelete,-T,preload/order.ld
$(SO): $(ALL_OBJECTS) preload/order.ld
	@$(LINK_SO) -o $@.$(VERSION)
	@ln -sf libgcmalloc.so.$(VERSION) $@.1
	@ln -sf libgcmalloc.so.1 $@
	@echo "built $@"

# The library of another configuration, for tests.
$(BUILD)/libgcmalloc.so: $(ALL_OBJECTS) preload/order.ld
	@$(LINK_SO) -o $@
	@echo "built $@"

# One object, so that whoever takes malloc takes the whole set; libunwind comes along, hidden.
$(ARCHIVE): $(filter-out $(WRAPPERS),$(ALL_OBJECTS))
	@rm -f $@ $(BUILD)/all.o
	@ld -r -o $(BUILD)/all.o $^ $(UNWIND)
	@objcopy --wildcard --localize-symbol='unw_*' --localize-symbol='_Unwind_*' \
	  --localize-symbol='__unw_*' --localize-symbol='_ZN9libunwind*' \
	  --localize-symbol='__register_frame*' --localize-symbol='__deregister_frame*' \
	  --localize-symbol='_ZNK9libunwind*' --localize-symbol='_ZT?N9libunwind*' $(BUILD)/all.o
	@ar rcs $@ $(BUILD)/all.o
	@echo "built $@"

$(OUT)/gcmalloc.h: core/api/gcmalloc.h
	@mkdir -p $(@D)
	@cp $< $@

run: MORE_PACKAGES = $(shell python3 bench/demo/run.py --packages $(DEMO) 2>/dev/null || echo python3 git)
run: DEMO = $(if $(PROGRAM),--program "$(PROGRAM)") $(if $(WORKLOAD),--workload "$(WORKLOAD)")
run: all
	@python3 bench/demo/run.py --lib $(SO) --svg $(OUT)/run.svg $(DEMO)

clean:
	rm -rf $(OUT)

include tests/tests.mk bench/gc/bench.mk bench/malloc/bench.mk
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
