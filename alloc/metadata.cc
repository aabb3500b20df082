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

void Push(void* memory, size_t bytes) {
  auto* object = static_cast<FreeObject*>(memory);
  object->next = g_free[bytes / kUnit];
  g_free[bytes / kUnit] = object;
}

void* Pop(size_t bytes) {
  FreeObject* object = g_free[bytes / kUnit];
  if (object != nullptr) g_free[bytes / kUnit] = object->next;
  return object;
}

// From the front of a larger free object, where nothing can be mapped: what a slab or a large block leaves behind must
// do for the free run that takes its place, or the run's address space would be lost.
void* CutFromLarger(size_t bytes) {
  for (size_t larger = bytes + kUnit; larger <= kListed; larger += kUnit) {
    void* object = Pop(larger);
    if (object == nullptr) continue;
    Push(static_cast<char*>(object) + bytes, larger - bytes);
    return object;
  }
  return nullptr;
}

bool MapChunk(size_t bytes) {
  size_t chunk = bytes > g_chunk ? bytes : g_chunk;
  uintptr_t begin = reinterpret_cast<uintptr_t>(Os::Map(nullptr, chunk));
  if (begin == 0) {  // a limit on address space, perhaps
    chunk = bytes > kSmallestChunk ? bytes : kSmallestChunk;
    begin = reinterpret_cast<uintptr_t>(Os::Map(nullptr, chunk));
  }
  if (begin == 0) return false;
  Os::SetHuge(reinterpret_cast<void*>(begin), chunk, false);
  g_next = begin;
  g_end = begin + chunk;
  if (g_chunk < kLargestChunk) g_chunk *= 2;
  return true;
}

void* Bump(size_t bytes) {
  const uintptr_t page_mask = 4095;
  g_resident.fetch_add(
      static_cast<ptrdiff_t>(((g_next + bytes + page_mask) & ~page_mask) - ((g_next + page_mask) & ~page_mask)),
      std::memory_order_relaxed);
  void* memory = reinterpret_cast<void*>(g_next);
  g_next += bytes;
  return memory;
}

}  // namespace

void* Metadata::Allocate(size_t bytes) {
  bytes = Rounded(bytes);
  void* memory = nullptr;
  {
    MutexLock lock(g_lock);
    if (bytes <= kListed) memory = Pop(bytes);
    if (memory == nullptr && (bytes <= g_end - g_next || MapChunk(bytes))) return Bump(bytes);
    if (memory == nullptr) memory = CutFromLarger(bytes);
  }
  return memory == nullptr ? nullptr : __builtin_memset(memory, 0, bytes);
}

void Metadata::Free(void* memory, size_t bytes) {
  bytes = Rounded(bytes);
  if (bytes > kListed) return;
  MutexLock lock(g_lock);
  Push(memory, bytes);
}

void Metadata::Count(ptrdiff_t resident_bytes) { g_resident.fetch_add(resident_bytes, std::memory_order_relaxed); }

size_t Metadata::ResidentBytes() { return static_cast<size_t>(g_resident.load(std::memory_order_relaxed)); }

Mutex& ForkLocks::Metadata() { return g_lock; }

}  // namespace neap
