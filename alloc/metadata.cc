// metadata.cc: a bump pointer, and a free list for each multiple of 64 bytes.
#include "alloc/metadata.h"

#include <stdint.h>

#include <atomic>

#include "alloc/fork.h"
#include "alloc/lock.h"
#include "alloc/os.h"

namespace neap {
namespace {

constexpr size_t kUnit = 64;
constexpr size_t kListed = 16384;  // larger objects are never freed
constexpr size_t kSmallestChunk = 64 * 1024;
constexpr size_t kFirstChunk = 256 * 1024;
constexpr size_t kLargestChunk = 4096 * 1024;

struct FreeObject {
  FreeObject* next;
};

constinit Mutex g_lock;
constinit FreeObject* g_free[kListed / kUnit + 1] = {};
constinit uintptr_t g_next = 0, g_end = 0;
constinit size_t g_chunk = kFirstChunk;
constinit std::atomic<ptrdiff_t> g_resident{0};

size_t Rounded(size_t bytes) { return (bytes + kUnit - 1) & ~(kUnit - 1); }

}  // namespace

void* Metadata::Allocate(size_t bytes) {
  bytes = Rounded(bytes);
  void* memory = nullptr;
  {
    MutexLock lock(g_lock);
    if (bytes <= kListed && g_free[bytes / kUnit] != nullptr) {
      FreeObject* object = g_free[bytes / kUnit];
      g_free[bytes / kUnit] = object->next;
      memory = object;
    } else {
      if (bytes > g_end - g_next) {
        size_t chunk = bytes > g_chunk ? bytes : g_chunk;
        uintptr_t begin = reinterpret_cast<uintptr_t>(Os::Map(nullptr, chunk));
        if (begin == 0) {  // a limit on address space, perhaps
          chunk = bytes > kSmallestChunk ? bytes : kSmallestChunk;
          begin = reinterpret_cast<uintptr_t>(Os::Map(nullptr, chunk));
        }
        if (begin == 0) return nullptr;
        Os::SetHuge(reinterpret_cast<void*>(begin), chunk, false);
        g_next = begin;
        g_end = begin + chunk;
        if (g_chunk < kLargestChunk) g_chunk *= 2;
      }
      const uintptr_t page_mask = 4095;
      g_resident.fetch_add(
          static_cast<ptrdiff_t>(((g_next + bytes + page_mask) & ~page_mask) - ((g_next + page_mask) & ~page_mask)),
          std::memory_order_relaxed);
      memory = reinterpret_cast<void*>(g_next);
      g_next += bytes;
      return memory;
    }
  }
  __builtin_memset(memory, 0, bytes);
  return memory;
}

void Metadata::Free(void* memory, size_t bytes) {
  bytes = Rounded(bytes);
  if (bytes > kListed) return;
  auto* object = static_cast<FreeObject*>(memory);
  MutexLock lock(g_lock);
  object->next = g_free[bytes / kUnit];
  g_free[bytes / kUnit] = object;
}

void Metadata::Count(ptrdiff_t resident_bytes) { g_resident.fetch_add(resident_bytes, std::memory_order_relaxed); }

size_t Metadata::ResidentBytes() { return static_cast<size_t>(g_resident.load(std::memory_order_relaxed)); }

Mutex& ForkLocks::Metadata() { return g_lock; }

}  // namespace neap
