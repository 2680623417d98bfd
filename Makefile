# gcmalloc. The targets for people: run, test, all, deps, install is not yet there.
VERSION := 0.1.0
CXX ?= g++
OUT := out
CONFIG ?= release
BUILD := $(OUT)/$(CONFIG)

COMMON := -std=c++20 -g -Wall -Wextra -Wundef -Werror -fno-rtti -fvisibility=hidden -fPIC \
  -fno-plt -ftls-model=initial-exec -I. -isystem /usr/include/libunwind -DGCM_VERSION='"$(VERSION)"'
FLAGS_release := -O2 -fno-omit-frame-pointer -fno-semantic-interposition
CXXFLAGS_ALL := $(COMMON) $(FLAGS_$(CONFIG)) $(EXTRA)
UNWIND := /usr/lib/llvm-14/lib/libunwind.a

CORE := $(wildcard platform/*.cc core/*/*.cc)
PRELOAD := $(wildcard preload/*.cc)
OBJ = $(patsubst %.cc,$(BUILD)/%.o,$(1))

.PHONY: all clean
all: $(OUT)/libgcmalloc.so $(OUT)/libgcmalloc.a

$(BUILD)/preload/new.o: EXCEPTIONS := -fexceptions
$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	@$(CXX) $(CXXFLAGS_ALL) $(or $(EXCEPTIONS),-fno-exceptions) -MMD -MP -c $< -o $@

$(OUT)/libgcmalloc.so: $(call OBJ,$(CORE) $(PRELOAD))
	@$(CXX) -shared -o $@.$(VERSION) $^ $(UNWIND) -nodefaultlibs -lgcc -lc -Wl,-soname,libgcmalloc.so.1 \
	  -Wl,--exclude-libs,ALL -Wl,-z,defs,-z,now,-z,relro,-z,initfirst,-z,nodelete
	@ln -sf libgcmalloc.so.$(VERSION) $@.1
	@ln -sf libgcmalloc.so.1 $@

$(OUT)/libgcmalloc.a: $(call OBJ,$(CORE) $(PRELOAD))
	@rm -f $@; ar rcs $@ $^

clean:
	rm -rf $(OUT)
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
