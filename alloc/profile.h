// profile.h: the sampling profiler: which stacks hold the live bytes, which allocated them, and which keep pages that
// are otherwise free. The layout of what it writes, and how it samples, are in profile_page.h.
//
// Off it costs nothing: what is on closes the hit path of malloc (hot::fast_limit), behind which is one that
// counts (fast_path.h). Free needs no look-up for most blocks either: a slab with a sampled block in it is closed to
// the hit path of free, and larger blocks never take that one.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/lock.h"

namespace neap {

// Which buckets of the table of samples have any. 2 KiB: free looks here at blocks beside a sampled one.
class SampleBuckets {
 public:
  static constexpr unsigned kBits = 14;
  static constexpr size_t kCount = size_t{1} << kBits;
  static size_t Of(const void* block) {
    return reinterpret_cast<uintptr_t>(block) * 0x9e37'79b9'7f4a'7c15 >> (64 - kBits);
  }
  static bool InUse(size_t bucket) {
    return (in_use_[bucket / 64].load(std::memory_order_relaxed) >> bucket % 64 & 1) != 0;
  }
  // Under the profile's lock.
  static void SetInUse(size_t bucket, bool in_use) {
    std::atomic<uint64_t>& word = in_use_[bucket / 64];
    const uint64_t bit = uint64_t{1} << bucket % 64;
    const uint64_t old = word.load(std::memory_order_relaxed);
    word.store(in_use ? old | bit : old & ~bit, std::memory_order_relaxed);
  }

 private:
  static inline constinit std::atomic<uint64_t> in_use_[kCount / 64] = {};
};

class Profile {
 public:
  static constexpr uint32_t kNoSample = UINT32_MAX;

  // From now on about one sample each `interval` bytes, 1 to 1 TiB. What is allocated already is not seen.
  static void Start(uint64_t interval);
  static bool On() { return on_.load(std::memory_order_relaxed); }

  // The hit path counts by itself. Bytes left before the next sample, after so many more; 0 or less: not its business.
  static int64_t LeftAfter(size_t requested) { return static_cast<int64_t>(t_left - requested); }
  static void SetLeft(int64_t left) { t_left = static_cast<uint64_t>(left); }

  // Between the two, nothing is the hit path's business: the thread is in a bounded arena's scope.
  static void CloseHitPath() { t_left -= kClosed; }
  static void OpenHitPath() { t_left += kClosed; }

  // The block, of which so many bytes were asked for: counts them, and samples it where the thread's count ends.
  static void* Noted(void* block, size_t requested) {
    return __builtin_expect(Pass(requested), 1) ? block : NotedSlow(block, requested);
  }

  // False: the block was not sampled.
  static bool MayHave(const void* block) { return SampleBuckets::InUse(SampleBuckets::Of(block)); }
  // Before a block is freed.
  static void Forget(const void* block) {
    if (MayHave(block)) ForgetSlow(block);
  }
  // Before a block is resized, which may move it, and after it: its sample, or kNoSample; `growth` in bytes asked for.
  static uint32_t Detach(const void* block);
  static void Attach(uint32_t sample, void* block, size_t growth);
  // Of an arena that is being destroyed.
  static void ForgetArena(uint16_t arena);

  // What the samples pin, and which files are mapped: about once a second, and whenever it is `due`.
  static void Publish(uint64_t now_ms, bool due);

  static void ForgetInChild();

 private:
  static uint64_t Left() { return t_left % kClosed; }
  static bool Pass(size_t requested) {
    const bool passes = requested < Left();
    if (passes) t_left -= requested;
    return passes;
  }
  static void SetCount(uint64_t left);
  static void* NotedSlow(void* block, size_t requested);
  static void ForgetSlow(const void* block);

  static inline constinit std::atomic<bool> on_{false};
  // Modulo kClosed: bytes until the thread takes a sample or asks for a profile; 0: before its first block. Negative
  // while the hit path is closed.
  static constexpr uint64_t kClosed = uint64_t{1} << 48;  // an interval drawn is below 64 TiB
  static inline thread_local constinit uint64_t t_left __attribute__((tls_model("initial-exec"))) = 0;
};

}  // namespace neap
