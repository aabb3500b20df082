// runtime_filter.h: what a join learnt from its build side, for the scan of its probe side: the bounds of a key, and a
// blocked Bloom filter of its hashes. Filled, then published; a scan that finds it not ready reads on without.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/core/hash.h"
#include "engine/memory/memory.h"
#include "engine/plan/expression.h"

namespace neap::engine {

class RuntimeFilter {
 public:
  static constexpr size_t kMaxBytes = size_t{8} << 20;

  // The size of a Bloom filter of `keys` keys: about 16 bits each; 0 where that would be more than kMaxBytes.
  static size_t BytesFor(uint64_t keys);

  // For about `keys` keys. A key's hash chooses a 64-bit word and 4 bits of it.
  // Source: Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007.
  void Start(uint64_t keys, Memory& memory);
  // Any thread.
  void Add(uint64_t hash) {
    uint64_t* word = &words_[Word(hash)];
    const uint64_t bits = Bits(hash);
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bits) != bits) __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
  }
  void SetBounds(Int128 min, Int128 max) { min_ = min, max_ = max, has_bounds_ = true; }  // integers, dates, decimals
  void SetEmpty() { empty_ = true; }                                                      // nothing matches at all
  void Publish() { ready_.store(true, std::memory_order_release); }
  void Close() { words_.Reset(); }  // once nobody asks any more

  bool ready() const { return ready_.load(std::memory_order_acquire); }
  bool empty() const { return empty_; }
  bool has_bounds() const { return has_bounds_; }
  Int128 min() const { return min_; }
  Int128 max() const { return max_; }
  bool has_bloom() const { return !words_.empty(); }
  size_t bytes() const { return words_.size() * sizeof(uint64_t); }
  bool MayContain(uint64_t hash) const { return (words_[Word(hash)] & Bits(hash)) == Bits(hash); }

 private:
  size_t Word(uint64_t hash) const { return static_cast<size_t>(hash >> 24) & (words_.size() - 1); }
  static uint64_t Bits(uint64_t hash) {
    return 1ULL << (hash & 63) | 1ULL << ((hash >> 6) & 63) | 1ULL << ((hash >> 12) & 63) | 1ULL << ((hash >> 18) & 63);
  }

  Array<uint64_t> words_;  // a power of two of them
  Int128 min_ = 0, max_ = 0;
  bool has_bounds_ = false, empty_ = false;
  std::atomic<bool> ready_{false};
};

// A filter and the column that it is of. `hash` of a value: HashValue of its physical type, then as HashRows combines
// one column.
struct RuntimeFilterUse {
  ColumnId column;
  std::shared_ptr<RuntimeFilter> filter;
};

}  // namespace neap::engine
