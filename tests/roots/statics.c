// Static data of the program and of a library opened at run time, thread-local storage, thread-specific values.
//
// Law: these places are read and written by address only; the pointers in them are the only ones.
#include "cases.h"
#include "roots.h"

#include <dlfcn.h>
#include <stdlib.h>

static void *volatile in_data[kBlocks] = {(void *)1};
static void *volatile in_bss[kBlocks];

void case_static_data(void) {
  fill_slots(in_data, kBlocks);
  judge();
}

void case_static_bss(void) {
  fill_slots(in_bss, kBlocks);
  judge();
}

void case_static_local(void) {
  static struct {
    char before[24];
    void *volatile slots[kBlocks];
  } record;
  fill_slots(record.slots, kBlocks);
  judge();
}

static void *plugin(void) {
  static void *handle;
  if (handle == NULL) handle = dlopen(beside("roots_plugin.so"), RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) fail("dlopen: %s", dlerror());
  return handle;
}

static void *volatile *plugin_slots(const char *name) {
  void *p = dlsym(plugin(), name);
  MUST(p != NULL);
  return p;
}

static void *volatile *plugin_tls(void) {
  void *volatile *(*function)(void);
  *(void **)&function = dlsym(plugin(), "plugin_tls_slots");
  MUST(function != NULL);
  return function();
}

void case_library_data(void) {
  fill_slots(plugin_slots("plugin_data"), kBlocks);
  judge();
}

void case_library_bss(void) {
  collect();  // a collection before the object is loaded must not fix what is scanned
  fill_slots(plugin_slots("plugin_bss"), kBlocks);
  judge();
}

void case_library_tls_main(void) {
  fill_slots(plugin_tls(), kBlocks);
  judge();
}

static void filling_thread(struct waiter *w, void *volatile *slots) {
  const int first = blocks;
  fill_slots(slots, kBlocks);
  wait_spinning(w);
  for (int i = 0; i < kBlocks; ++i) {
    if (!dropping && slots[i] != (void *)(uintptr_t)(hidden[first + i] ^ kKey)) fail("the storage was changed");
  }
}

static void run_thread(void (*body)(struct waiter *)) {
  static struct waiter w;
  start(&w, body, NULL);
  judge();
  finish(&w);
}

static void plugin_tls_thread(struct waiter *w) { filling_thread(w, plugin_tls()); }

// Loaded before the thread starts, and after.
void case_library_tls_thread(void) {
  plugin();
  run_thread(plugin_tls_thread);
}
void case_library_loaded_by_thread(void) { run_thread(plugin_tls_thread); }

static __thread void *volatile in_tls[kBlocks];

void case_static_tls_main(void) {
  fill_slots(in_tls, kBlocks);
  judge();
}

static void tls_thread(struct waiter *w) { filling_thread(w, in_tls); }
void case_static_tls_thread(void) { run_thread(tls_thread); }

// glibc keeps the first 32 keys in the thread's descriptor and the others in blocks of their own.
enum { kLowKeys = 16, kAllKeys = 200 };
static pthread_key_t keys[kAllKeys];

static void make_keys(void) {
  for (int i = 0; i < kAllKeys; ++i) MUST(pthread_key_create(&keys[i], NULL) == 0);
}

static GCM_NOINLINE void set_keys(int from, int to) {
  for (int i = from; i < to; ++i) {
    void *p = new_block();
    MUST(pthread_setspecific(keys[i], dropping ? NULL : p) == 0);
  }
  hide();
}

static void check_keys(int from, int to) {
  for (int i = from; i < to && !dropping; ++i) {
    MUST(pthread_getspecific(keys[i]) == (void *)(uintptr_t)(hidden[i - from] ^ kKey));
  }
}

static void keys_main(int from, int to) {
  make_keys();
  set_keys(from, to);
  judge();
  check_keys(from, to);
}

void case_specific_low_main(void) { keys_main(0, kLowKeys); }
void case_specific_high_main(void) { keys_main(40, kAllKeys); }

static void low_keys_thread(struct waiter *w) {
  set_keys(0, kLowKeys);
  wait_spinning(w);
  check_keys(0, kLowKeys);
}

static void high_keys_thread(struct waiter *w) {
  set_keys(40, kAllKeys);
  wait_spinning(w);
  check_keys(40, kAllKeys);
}

void case_specific_low_thread(void) {
  make_keys();
  run_thread(low_keys_thread);
}

void case_specific_high_thread(void) {
  make_keys();
  run_thread(high_keys_thread);
}

// Objects come and go while another thread collects; what is in their data counts while they are there.
static atomic_int stop_opening;

static void *opening_thread(void *unused) {
  (void)unused;
  while (atomic_load(&stop_opening) == 0) {
    void *handle = dlopen(beside("roots_plugin.so"), RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) fail("dlopen: %s", dlerror());
    void *volatile *slots = dlsym(handle, "plugin_bss");
    MUST(slots != NULL);
    void *volatile kept[8];
    for (int i = 0; i < 8; ++i) slots[i] = kept[i] = malloc(5000);
    for (int i = 0; i < 8; ++i) {
      MUST(block_base(slots[i]) == kept[i]);
      slots[i] = NULL;
      free(kept[i]);
    }
    dlclose(handle);
  }
  return NULL;
}

void case_library_opened_repeatedly(void) {
  pthread_t thread;
  fill_slots(in_bss, kBlocks);
  MUST(pthread_create(&thread, NULL, opening_thread, NULL) == 0);
  const double until = seconds() + 0.8;
  while (seconds() < until) {
    collect();
    churn();
  }
  atomic_store(&stop_opening, 1);
  MUST(pthread_join(thread, NULL) == 0);
  judge();
}
