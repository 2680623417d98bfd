/* Allocates once. */
#include <stdlib.h>

int main(void) {
  void *volatile block = malloc(100);
  free(block);
  return block ? 0 : 1;
}
