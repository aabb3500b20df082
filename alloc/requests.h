// requests.h: how much of a block its program asked for, by size class, from a sample: the requests that a CPU's cache
// could not serve. Which of a class's requests these are does not depend on their size.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/size_classes.h"

namespace neap {

class Requests {
 public:
  static constexpr size_t kLarge = kClasses;  // stands for the class of larger blocks

  static void Note(size_t size_class, size_t requested, size_t block_size) {
    Sum& sum = sums_[size_class];
    sum.requested.fetch_add(requested, std::memory_order_relaxed);
    if (sum.blocks.fetch_add(block_size, std::memory_order_relaxed) < kLongest * block_size) return;
    // What was asked for long ago counts ever less. Two threads that come here at once: it does so a little faster.
    sum.requested.store(sum.requested.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
    sum.blocks.store(sum.blocks.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
  }

  // Of so many bytes in blocks; all of them where no request was seen.
  static uint64_t Of(size_t size_class, uint64_t bytes) {
    const uint64_t requested = sums_[size_class].requested.load(std::memory_order_relaxed);
    const uint64_t blocks = sums_[size_class].blocks.load(std::memory_order_relaxed);
    if (blocks <= requested) return bytes;
    return static_cast<uint64_t>(static_cast<double>(bytes) * static_cast<double>(requested) /
                                 static_cast<double>(blocks));
  }

 private:
  static constexpr uint64_t kLongest = 4096;  // requests
  struct Sum {
    std::atomic<uint64_t> requested, blocks;  // bytes
  };
  static inline constinit Sum sums_[kClasses + 1] = {};
};

}  // namespace neap
