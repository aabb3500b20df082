// limit_gate.h: where growth meets the container's limit. Growth is counted as clean pages are taken, less what was
// given back; when it has used up its allowance the next slow path reads the limit anew and, if headroom is short,
// gives back first.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/lock.h"

namespace neap {

class LimitGate {
 public:
  // What was read last.
  struct View {
    uint64_t limit, used, headroom, process_anon, foreign;
    uint32_t level;
    uint64_t changes;
    uint32_t stall_permille;
  };

  static void NoteGrowth(size_t bytes) { grown_.fetch_add(bytes, std::memory_order_relaxed); }
  // Never below what was read: what is given back may have come before, or was never touched.
  static void NoteRelease(size_t bytes) {
    size_t grown = grown_.load(std::memory_order_relaxed);
    while (!grown_.compare_exchange_weak(grown, grown > bytes ? grown - bytes : 0, std::memory_order_relaxed)) {
    }
  }

  // Before growing by about `bytes`, without any lock held. False only where the user chose NEAP_OOM=null and there is
  // no room even after everything was given back.
  static bool Pass(size_t bytes) {
    if (grown_.load(std::memory_order_relaxed) + bytes < allowance_.load(std::memory_order_relaxed)) return true;
    return PassSlow(bytes);
  }
  static bool HasRoomFor(size_t bytes);
  // Whether so much may lie idle for a while: an eighth of headroom.
  static bool Spares(size_t bytes) { return bytes <= Read().headroom / 8; }
  static bool Ample() { return level_.load(std::memory_order_relaxed) == 0; }
  static bool Critical() { return level_.load(std::memory_order_relaxed) == 2; }
  static uint32_t Level() { return level_.load(std::memory_order_relaxed); }

  // Reads the limit anew; by the release thread on its tick. Returns the level.
  static uint32_t Refresh();
  static View Read();
  // The headroom below which the level is low.
  static uint64_t LowMarkBytes();
  // Starts the thread that waits for the kernel's events, once a limit is known.
  static void StartWatcher();
  static void ForgetInChild();
  static Mutex& lock();

 private:
  static bool PassSlow(size_t bytes);
  static uint32_t RefreshLocked();

  // Nothing is read before this much has been taken: a small process never opens the files.
  static constexpr size_t kFirstReading = 8u << 20;
  static inline constinit std::atomic<size_t> grown_{0};
  static inline constinit std::atomic<size_t> allowance_{kFirstReading};
  static inline constinit std::atomic<uint32_t> level_{0};
};

}  // namespace neap
