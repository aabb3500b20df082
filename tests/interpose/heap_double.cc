// heap_double.cc: a heap that hands out memory in a row, never uses it again, and does as the test says.
#include "tests/interpose/heap_double.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "alloc/fast_path.h"
#include "alloc/fork.h"
#include "alloc/heap.h"
#include "alloc/os.h"

HeapDouble heap_double;

namespace {

constexpr size_t kSpace = size_t{1} << 36;
constexpr size_t kMostRequest = size_t{1} << 30;

char* Space() {
  static std::atomic<char*> space;
  if (space.load() == nullptr) {
    void* mapped = mmap(nullptr, kSpace, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) abort();
    char* none = nullptr;
    space.compare_exchange_strong(none, static_cast<char*>(mapped));
  }
  return space.load();
}

// In front of each block is its size.
size_t& SizeOf(void* block) { return static_cast<size_t*>(block)[-1]; }

void* Hand(size_t size, size_t alignment) {
  static std::atomic<size_t> used;
  heap_double.size = size;
  heap_double.alignment = alignment;
  if (heap_double.refuse || size > kMostRequest || alignment > kMostRequest) return nullptr;
  alignment = std::max(alignment, size_t{16});
  const size_t at = used.fetch_add(size + alignment + 16);
  if (at + size + alignment + 16 > kSpace) return nullptr;
  char* block = Space() + at + 16;
  block += -reinterpret_cast<uintptr_t>(block) & (alignment - 1);
  SizeOf(block) = std::max(size, size_t{1});
  return block;
}

void Take(void* block, size_t size, size_t alignment) {
  heap_double.freed = block;
  heap_double.freed_size = size;
  heap_double.freed_alignment = alignment;
  ++heap_double.frees;
}

}  // namespace

namespace neap {

// All zero, as before the start: the hit paths of malloc and free lead to the slow ones.
namespace hot {
size_t fast_limit, granules;
ptrdiff_t rseq_area, rseq_cpu;
uintptr_t caches, window;
uintptr_t* map;
}  // namespace hot

void* AllocateSlow(size_t size) { return Hand(size, 0); }
void FreeSlow(void* block) { Take(block, 0, 0); }
void FreeToFullCache(void*, size_t) { abort(); }
void FillCache(size_t) { abort(); }

void* Allocate(size_t size) { return AllocateSlow(size); }
void* AllocateZeroed(size_t size) { return Hand(size, 0); }
void* AllocateAligned(size_t size, size_t alignment) { return Hand(size, alignment); }
void* Reallocate(void* block, size_t size) {
  void* larger = Hand(size, 0);
  if (larger != nullptr) memcpy(larger, block, std::min(size, SizeOf(block)));
  return larger;
}
void Free(void* block) { FreeSlow(block); }
void FreeSized(void* block, size_t size, size_t alignment) { Take(block, size, alignment); }
size_t UsableSize(const void* block) { return block == nullptr ? 0 : SizeOf(const_cast<void*>(block)); }
bool BeforeVfork() { return false; }
int AfterVfork(long result, bool) { return static_cast<int>(result); }
bool Trim() { return heap_double.trimmed; }

void Os::WriteError(const char* text, size_t length) {
  if (write(STDERR_FILENO, text, length) < 0) abort();
}
void Os::Abort() { abort(); }

}  // namespace neap

int neap_stats(neap_stats_t* stats) {
  *stats = heap_double.stats;
  return 0;
}

int neap_ledger(neap_ledger_fn fn, void* context) {
  for (size_t i = 0; i < heap_double.row_count; ++i) fn(context, &heap_double.rows[i]);
  return 0;
}
