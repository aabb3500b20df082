// hardened.cc: see hardened.h.
#include "alloc/hardened.h"

#include <atomic>

#include "alloc/fork.h"
#include "alloc/lock.h"
#include "alloc/misuse.h"
#include "alloc/os.h"
#include "alloc/slab_pool.h"

namespace neap {
namespace {

using Word __attribute__((may_alias)) = uint64_t;

// Of the canary no more than this is written and read: the rest of a large block's guard stays untouched.
constexpr size_t kCanaryMax = kPageSize;
constexpr uint64_t kFreed = UINT64_MAX;  // in place of a size

struct Waiting {
  void* block;
  size_t bytes;
};

constinit uint64_t g_secret = 0;
constinit Mutex g_lock;  // all below; nothing is locked under it
constinit Waiting g_waiting[Hardened::kQuarantineBlocks] = {};
constinit size_t g_first = 0;
constinit size_t g_count = 0;
constinit std::atomic<size_t> g_bytes{0}, g_bytes_of[kClasses] = {};  // written under the lock

// The finaliser of MurmurHash3: every bit of the secret and of the address reaches every bit of the result.
uint64_t Mix(const void* block) {
  uint64_t bits = reinterpret_cast<uintptr_t>(block) ^ g_secret;
  bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccd;
  bits = (bits ^ bits >> 33) * 0xc4ceb9fe1a85ec53;
  return bits ^ bits >> 33;
}

// In every byte the highest and the lowest bit are set: neither a NUL nor a character of ASCII can be mistaken for it.
uint64_t Canary(const void* block) { return ~Mix(block) | 0x8181818181818181; }

Word* SizeWord(const void* block, size_t block_size) {
  return reinterpret_cast<Word*>(reinterpret_cast<uintptr_t>(block) + block_size - sizeof(Word));
}

// A multiple of a word, and at least one word behind where the request ends.
size_t CanaryEnd(size_t block_size, size_t requested) {
  const size_t end = block_size - sizeof(Word);
  return end - requested < kCanaryMax ? end : (requested + kCanaryMax) & ~(sizeof(Word) - 1);
}

// Calls f(word, mask of those of its bytes that are the canary's) for the block's canary.
template <class F>
void ForEachCanaryWord(const void* block, size_t block_size, size_t requested, F f) {
  auto* words = reinterpret_cast<Word*>(reinterpret_cast<uintptr_t>(block));
  const size_t first = requested / sizeof(Word);
  f(words[first], UINT64_MAX << requested % sizeof(Word) * 8);
  for (size_t i = first + 1; i < CanaryEnd(block_size, requested) / sizeof(Word); ++i) f(words[i], UINT64_MAX);
}

void CheckCanary(const void* block, size_t block_size, size_t requested) {
  const uint64_t canary = Canary(block);
  uint64_t damage = 0;
  ForEachCanaryWord(block, block_size, requested,
                    [&](const Word& word, uint64_t mask) { damage |= (word ^ canary) & mask; });
  if (damage != 0) Misuse::Overflow(block, block_size, requested);
}

// The word that says the requested size, and that size.
size_t Check(const void* block, size_t block_size, uint64_t word) {
  const uint64_t requested = word ^ Mix(block);
  if (requested == kFreed) Misuse::DoubleFree(block, block_size);
  if (requested > block_size - Hardened::kGuardBytes) Misuse::Overflow(block, block_size, SIZE_MAX);
  CheckCanary(block, block_size, requested);
  return requested;
}

void AddBytes(size_t block_size, size_t bytes) {
  for (std::atomic<size_t>* sum : {&g_bytes, &g_bytes_of[ClassOf(block_size)]})
    sum->store(sum->load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

// Under the lock; there is one.
Waiting TakeOldest() {
  const Waiting oldest = g_waiting[g_first];
  g_first = (g_first + 1) % Hardened::kQuarantineBlocks;
  --g_count;
  AddBytes(oldest.bytes, -oldest.bytes);
  return oldest;
}

void CheckUntouched(const Waiting& waiting) {
  const auto* words = static_cast<const Word*>(waiting.block);
  const uint64_t canary = Canary(waiting.block);
  uint64_t damage = *SizeWord(waiting.block, waiting.bytes) ^ kFreed ^ Mix(waiting.block);
  for (size_t i = 0; i < waiting.bytes / sizeof(Word) - 1; ++i) damage |= words[i] ^ canary;
  if (damage != 0) Misuse::WriteAfterFree(waiting.block, waiting.bytes);
}

}  // namespace

void Hardened::Start() {
  g_secret = Os::RandomBits();
  on_ = true;
}

void Hardened::Guard(void* block, size_t block_size, size_t requested) {
  const uint64_t canary = Canary(block);
  ForEachCanaryWord(block, block_size, requested,
                    [&](Word& word, uint64_t mask) { word = (word & ~mask) | (canary & mask); });
  __atomic_store_n(SizeWord(block, block_size), requested ^ Mix(block), __ATOMIC_RELAXED);
}

size_t Hardened::RequestedSize(const void* block, size_t block_size) {
  return Check(block, block_size, __atomic_load_n(SizeWord(block, block_size), __ATOMIC_RELAXED));
}

void Hardened::MarkFreed(void* block, size_t block_size) {
  const uint64_t word = __atomic_exchange_n(SizeWord(block, block_size), kFreed ^ Mix(block), __ATOMIC_RELAXED);
  Check(block, block_size, word);
}

void Hardened::Fill(void* block, size_t block_size) {
  auto* words = static_cast<Word*>(block);
  const uint64_t canary = Canary(block);
  for (size_t i = 0; i < block_size / sizeof(Word) - 1; ++i) words[i] = canary;
}

void* Hardened::Quarantine(void* block, size_t block_size) {
  Waiting oldest;
  {
    MutexLock lock(g_lock);
    if (g_count < kQuarantineBlocks && QuarantinedBytes() + block_size <= kQuarantineBytes) {
      g_waiting[(g_first + g_count) % kQuarantineBlocks] = {block, block_size};
      ++g_count;
      AddBytes(block_size, block_size);
      return nullptr;
    }
    oldest = TakeOldest();
  }
  CheckUntouched(oldest);
  return oldest.block;
}

size_t Hardened::QuarantinedBytes() { return g_bytes.load(std::memory_order_relaxed); }
size_t Hardened::QuarantinedBytes(size_t size_class) { return g_bytes_of[size_class].load(std::memory_order_relaxed); }

size_t Hardened::EmptyQuarantine() {
  size_t bytes = 0;
  for (;;) {
    Waiting taken[64];
    size_t count = 0;
    {
      MutexLock lock(g_lock);
      while (count < 64 && g_count > 0) taken[count++] = TakeOldest();
    }
    if (count == 0) return bytes;
    void* blocks[64];
    for (size_t i = 0; i < count; ++i) {
      CheckUntouched(taken[i]);
      blocks[i] = taken[i].block;
      bytes += taken[i].bytes;
    }
    SlabPool::Put(blocks, count);
  }
}

Mutex& ForkLocks::Quarantine() { return g_lock; }

}  // namespace neap
