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

class Profile {
 public:
  static constexpr uint32_t kNoSample = UINT32_MAX;

  // From now on about one sample each `interval` bytes, 1 or more. What is allocated already is not seen.
  static void Start(uint64_t interval);
  static bool On() { return on_.load(std::memory_order_relaxed); }

  // Requests below it may be served from the running CPU's cache: kSmallMax + 1; 0 without a profile and in the
  // hardened mode.
  static size_t HitLimit() { return hit_limit_.load(std::memory_order_relaxed); }

  // The hit path counts by itself. Bytes left before the next sample, after so many more; 0 or less: not its business.
  static int64_t LeftAfter(size_t requested) { return t_left - static_cast<int64_t>(requested); }
  static void SetLeft(int64_t left) { t_left = left; }

  // The block, of which so many bytes were asked for: counts them, and samples it where the thread's count ends.
  static void* Noted(void* block, size_t requested) {
    return __builtin_expect(Pass(requested), 1) ? block : NotedSlow(block, requested);
  }

  // False: the block was not sampled.
  static bool MayHave(const void* block) {
    const uint32_t* buckets = buckets_.load(std::memory_order_acquire);
    return buckets != nullptr && __atomic_load_n(&buckets[BucketOf(block)], __ATOMIC_RELAXED) != 0;
  }
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
  static constexpr unsigned kBucketBits = 14;
  static size_t BucketOf(const void* block) {
    return reinterpret_cast<uintptr_t>(block) * 0x9e37'79b9'7f4a'7c15 >> (64 - kBucketBits);
  }
  static bool Pass(size_t requested) {
    const int64_t left = LeftAfter(requested);
    if (left > 0) SetLeft(left);
    return left > 0;
  }
  static void* NotedSlow(void* block, size_t requested);
  static void ForgetSlow(const void* block);

  static inline constinit std::atomic<bool> on_{false};
  static inline constinit std::atomic<size_t> hit_limit_{0};
  static inline constinit std::atomic<uint32_t*> buckets_{nullptr};  // 1 + the first sample of each; the lock's
  // Bytes until the thread's next sample; 0: not drawn yet.
  static inline thread_local constinit int64_t t_left __attribute__((tls_model("initial-exec"))) = 0;
};

}  // namespace neap
