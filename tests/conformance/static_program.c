/* A static program: whatever is preloaded does not reach it, and must not harm it. */
#include <stdlib.h>
#include <string.h>

int main(void) {
  for (size_t size = 1; size < 1 << 24; size *= 2) {
    void* block = malloc(size);
    memset(block, 1, size);
    free(block);
  }
  return 0;
}
