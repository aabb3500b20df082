// pair SIZE COUNT [traced]: COUNT pairs of malloc and free of SIZE bytes, for counting instructions. `traced`: a
// breakpoint before and after the pairs, the first with the address of this thread's rseq area in the first register;
// bench/steps.cc is at the other end.
#include <sys/rseq.h>

#include "bench/measure.h"

namespace bench {
namespace {

void Pairs(size_t size, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    void* block = malloc(size);
    asm volatile("" : : "r"(block) : "memory");
    free(block);
  }
}

void Breakpoint(uintptr_t value) {
#if defined(__x86_64__)
  asm volatile("int3" : : "a"(value) : "memory");
#elif defined(__aarch64__)
  register uintptr_t first asm("x0") = value;
  asm volatile("brk #0" : : "r"(first) : "memory");
#endif
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc < 3) {
    dprintf(STDERR_FILENO, "usage: pair SIZE COUNT [traced]\n");
    return 2;
  }
  const size_t size = strtoul(argv[1], nullptr, 10);
  const size_t count = strtoul(argv[2], nullptr, 10);
  const bool traced = argc > 3;
  bench::Pairs(size, 1000);  // whatever the first ones set up
  char* thread = static_cast<char*>(__builtin_thread_pointer());
  if (traced) bench::Breakpoint(__rseq_size == 0 ? 0 : reinterpret_cast<uintptr_t>(thread + __rseq_offset));
  bench::Pairs(size, count);
  if (traced) bench::Breakpoint(0);
}
