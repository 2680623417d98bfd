/* markrate: how fast a collector marks one heap, by full collections that are asked for.
 *
 * --linked 1: linked 64-byte nodes. --linked 0: blocks of --block KiB that hold no pointers, which
 * the collector cannot know. Prints the seconds of each collection, and its CPU seconds: all of a
 * collection, of which marking is nearly everything, since nothing is to be reclaimed. */
#include "forest.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct forest forest;
static uint64_t **blocks;
static int (*collect_call)(void);

static void find_collector(void) {
#if defined BENCH_BDWGC
  collect_call = NULL;
#else
  *(void **)&collect_call = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  if (!collect_call) fail("there is no collector in this process");
#endif
}

static void collect(void) {
#if defined BENCH_BDWGC
  GC_gcollect();
#else
  if (collect_call() != 0) fail("the collection was refused");
#endif
}

/* Numbers below the first page that can be mapped: no address, and read all the same. */
static uint64_t build_poor(uint64_t bytes, uint64_t block) {
  uint64_t count = bytes / block;
  blocks = take(count * sizeof *blocks);
  memset(blocks, 0, count * sizeof *blocks);
  for (uint64_t i = 0; i < count; i++) {
    blocks[i] = take(block);
    for (uint64_t w = 0; w < block / sizeof(uint64_t); w++) blocks[i][w] = w * 7 & 4095;
  }
  return count;
}

int main(int argc, char **argv) {
  double size = 1024, linked = 1, block = 64, times = 3;
  const struct option options[] = {{"size", &size}, {"linked", &linked}, {"block", &block}, {"times", &times}, {NULL, NULL}};
  parse_options(argc, argv, options);
  bench_start();
  find_collector();
  uint64_t bytes = (uint64_t)(size * 1048576), objects;
  if (linked) {
    forest_build(&forest, bytes);
    objects = forest_nodes(&forest);
    bytes = objects * sizeof(struct node);
  } else {
    objects = build_poor(bytes, (uint64_t)(block * 1024));
  }
  collect(); /* what building has left over is none of this */
  printf("{\"workload\": \"markrate\", \"begin_s\": %.6f, \"objects\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"collections\": [",
         since_start(), objects, bytes);
  for (int i = 0; i < (int)times; i++) {
    uint64_t begin = now_ns();
    double cpu = cpu_seconds();
    collect();
    printf("%s[%.6f, %.6f]", i ? ", " : "", (double)(now_ns() - begin) / 1e9, cpu_seconds() - cpu);
  }
  printf("], \"intact\": %s}\n", !linked || forest_intact(&forest) ? "true" : "false");
}
