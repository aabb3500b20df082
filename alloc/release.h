// release.h: when memory goes back to the kernel, and the thread that sees to it.
//
// The thread starts when there is first something worth giving back, ticks while anything is dirty or cached, and
// sleeps without a timeout when nothing is (a process with a limit wakes once a second to read it). With
// NEAP_BACKGROUND=0, or where no thread can be had, the same tick runs on slow paths.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "alloc/lock.h"
#include "alloc/os.h"
#include "alloc/size_classes.h"
#include "alloc/stats_page.h"

namespace neap {

class Arena;

class Releaser {
 public:
  // Guards the batch of pages on their way back, and that each page is on its way once.
  static Mutex& lock();

  // Pages became dirty; any lock may be held.
  static void NoteDirty(size_t pages) { noted_.fetch_add(pages, std::memory_order_relaxed); }
  // After a free, with no lock held: starts or wakes the thread if there is enough to give back.
  static void Poke() {
    if (WorthWaking()) PokeSlow();
  }
  // Who calls free. The loader does under locks that starting a thread takes: for it none is started.
  class Caller {
   public:
    explicit Caller(const void* address) : is_loader_(Os::IsLoader(address)) {
      if (is_loader_) t_for_loader = true;
    }
    ~Caller() {
      if (is_loader_) t_for_loader = false;
    }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

   private:
    bool is_loader_;
  };
  static bool WorthWaking() { return noted_.load(std::memory_order_relaxed) >= kWorthWaking; }
  static void Wake();
  // Starts the thread whatever there is to give back.
  static void StartThread();

  // The C library ends a process when its last thread does, and counts ours: when the first thread (in a forked child,
  // the one that forked) ends by itself, ours end too, for good, and the work is done on slow paths.
  static void WatchFirstThread();
  static bool Ending() { return ending_.load(std::memory_order_relaxed); }

  // Gives back what has been dirty since cutoff_ms or longer, until it is about `most` bytes. Returns the bytes.
  static size_t ReleaseAt(uint32_t cutoff_ms, size_t most = SIZE_MAX);
  static size_t ReleaseArena(Arena* arena);
  // Of an arena that is being destroyed.
  static void ReturnSlabs(Arena* arena);
  // The dirty pages of a run that the caller owns.
  static void ReleaseRun(size_t first, size_t granules);
  // Everything that holds no live block, the caches included.
  static size_t ReclaimNow(PurgeCause cause);
  // All of which a part has been given back.
  static void SplitHugePages();

  static uint64_t ReleasedBytes();
  static uint64_t Purges(PurgeCause cause);
  static uint64_t PurgedBytes(PurgeCause cause);
  static uint32_t DecayMs();

  // Puts the ledger as it is now into the page of statistics, and makes that page first. at_rest: the tables and the
  // profile too, however young they are.
  static void Publish(bool at_rest);

  static void ForgetInChild();
  // One round of the thread's work. True: come again in a tick; false: nothing is left to do.
  static bool Tick();

 private:
  static constexpr size_t kWorthWaking = (256u << 10) / kPageSize;
  static constexpr size_t kWorthStarting = (1u << 20) / kPageSize;
  static bool TickLocked();
  static void PokeSlow();
  static inline constinit std::atomic<size_t> noted_{0};
  static inline constinit std::atomic<bool> ending_{false};
  static inline thread_local constinit bool t_for_loader __attribute__((tls_model("initial-exec"))) = false;
};

}  // namespace neap
