// release_batch.h: ranges of pages on their way back to the kernel, collected so that one system call takes many.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/huge_pages.h"
#include "alloc/limit_gate.h"
#include "alloc/os.h"
#include "alloc/size_classes.h"
#include "alloc/span.h"

namespace neap {

class ReleaseBatch {
 public:
  static constexpr size_t kRanges = 512;

  // How much more may go, about: who collects ranges stops when it has been collected.
  void Limit(size_t bytes) { left_ = bytes; }
  size_t left() const { return left_; }
  bool Exhausted() const { return left_ == 0; }

  // Ranges that touch are joined. A full batch is flushed.
  void Add(uintptr_t begin, size_t bytes) {
    left_ -= bytes < left_ ? bytes : left_;
    if (count_ > 0) {
      Range& last = ranges_[count_ - 1];
      if (reinterpret_cast<uintptr_t>(last.begin) + last.bytes == begin) {
        last.bytes += bytes;
        return;
      }
      if (count_ == kRanges) Flush();
    }
    ranges_[count_++] = {reinterpret_cast<void*>(begin), bytes};
  }

  // The pages of `mask` in the granule at `start`.
  void AddPages(uintptr_t start, uint16_t mask) {
    ForEachRun(mask, [&](size_t first, size_t length) { Add(start + first * kPageSize, length * kPageSize); });
  }

  bool NearlyFull() const { return count_ + kPagesPerGranule > kRanges; }

  void Flush() {
    if (count_ == 0) return;
    HugePages::Off();
    Os::Release(ranges_, count_);
    size_t uncharged = 0;
    for (size_t i = 0; i < count_; ++i) {
      uncharged += HugePages::NoteReleased(reinterpret_cast<uintptr_t>(ranges_[i].begin), ranges_[i].bytes);
    }
    LimitGate::NoteRelease(uncharged);
    count_ = 0;
  }

 private:
  size_t left_ = SIZE_MAX;
  size_t count_ = 0;
  Range ranges_[kRanges] = {};
};

}  // namespace neap
