// limit_gate.cc: see limit_gate.h. Owns the process's LimitReader and LimitWatcher.
#include "alloc/limit_gate.h"

#include <algorithm>

#include "alloc/config.h"
#include "alloc/consumers.h"
#include "alloc/foreign_parts.h"
#include "alloc/fork.h"
#include "alloc/huge_pages.h"
#include "alloc/ledger.h"
#include "alloc/limit.h"
#include "alloc/os.h"
#include "alloc/release.h"
#include "alloc/stats_page.h"

namespace neap {
namespace {

constexpr size_t kPublishEvery = 16u << 20;

// Without a limit too: one may be set later.
constexpr size_t kUnlimitedAllowance = 64u << 20;

constexpr size_t kLastBytes = 2u << 20;  // charges come in batches per CPU

constinit Mutex g_lock;
constinit LimitReader g_reader;
constinit LimitWatcher g_watcher;
constinit std::atomic<bool> g_watching{false};

// The published view: one writer under g_lock, readers take what is there field by field.
constinit std::atomic<uint64_t> g_limit{kNoLimit}, g_used{0}, g_headroom{kNoLimit}, g_anon{0}, g_foreign{0},
    g_changes{0};
constinit std::atomic<uint32_t> g_stall_permille{0};

void Watch(void*) {
  g_watcher.Run(
      [](void*) {
        Releaser::Wake();
        return !Releaser::Ending();
      },
      [](void*) { return Releaser::Ending(); }, nullptr);
}

}  // namespace

Mutex& LimitGate::lock() { return g_lock; }

uint32_t LimitGate::Refresh() {
  MutexLock lock(g_lock);
  return RefreshLocked();
}

uint32_t LimitGate::RefreshLocked() {
  const LimitReading& reading = g_reader.Refresh();
  // Of the same moment: when the ledger is read the kernel's figure is an old one.
  const int64_t counted = static_cast<int64_t>(ResidentBytes()) + ForeignParts::BeyondLedger();
  const uint64_t resident = counted > 0 ? static_cast<uint64_t>(counted) : 0;
  g_limit.store(reading.limit, std::memory_order_relaxed);
  g_used.store(reading.used, std::memory_order_relaxed);
  g_headroom.store(reading.headroom, std::memory_order_relaxed);
  g_anon.store(reading.process_anon, std::memory_order_relaxed);
  g_foreign.store(reading.process_anon > resident ? reading.process_anon - resident : 0, std::memory_order_relaxed);
  g_stall_permille.store(reading.stall_permille, std::memory_order_relaxed);
  if (reading.changed) g_changes.fetch_add(1, std::memory_order_relaxed);
  const uint32_t level = static_cast<uint32_t>(reading.level);
  level_.store(level, std::memory_order_relaxed);
  grown_.store(0, std::memory_order_relaxed);
  PublishCgroup(reading.binding_path);
  const size_t allowance = reading.headroom == kNoLimit ? kUnlimitedAllowance : GrowthAllowance(reading.headroom);
  allowance_.store(std::min<size_t>(allowance, kPublishEvery + reading.process_anon / 16), std::memory_order_relaxed);
  // What was refused stays refused until there is room: a program that goes on all the same gets ever less of what is
  // left for its small needs, and never the last of it.
  if (Config::oom_null() && reading.headroom <= CriticalMark(reading.limit)) {
    const size_t left = reading.headroom > kLastBytes ? reading.headroom - kLastBytes : 0;
    allowance_.store(left / 32, std::memory_order_relaxed);
  }
  g_watcher.Aim(g_reader);
  return level;
}

bool LimitGate::PassSlow(size_t bytes) {
  if (!g_lock.TryLock()) {
    if (Ample() && !Config::oom_null()) return true;  // one reader is enough
    g_lock.Lock();
  }
  uint32_t level = RefreshLocked();
  g_lock.Unlock();
  uint64_t headroom = g_headroom.load(std::memory_order_relaxed);
  // A process that only grows has no release thread, and nothing else would tell how far it got before it was killed.
  Releaser::Publish(false);
  if (headroom == kNoLimit) return true;
  Releaser::StartThread();
  // The reading leaves out what huge pages hoard, which the kernel could free but does not before it kills.
  if (!Spares(HugePages::HoardedBytes())) Releaser::SplitHugePages();
  if (level > 0 || headroom < bytes) {
    Releaser::ReclaimNow(PurgeCause::kLimit);
    level = Refresh();
    headroom = g_headroom.load(std::memory_order_relaxed);
    if (level > 0) {
      const uint64_t mark = LowMarkBytes();
      if (headroom < mark + bytes) Consumers::Ask(mark + bytes - headroom);
    }
  }
  return !Config::oom_null() || headroom > bytes + CriticalMark(g_limit.load(std::memory_order_relaxed));
}

bool LimitGate::HasRoomFor(size_t bytes) {
  if (Pass(bytes) && g_limit.load(std::memory_order_relaxed) == kNoLimit) return true;
  uint64_t headroom = g_headroom.load(std::memory_order_relaxed);
  const uint64_t grown = grown_.load(std::memory_order_relaxed);
  headroom = headroom > grown ? headroom - grown : 0;
  if (headroom > bytes + LowMarkBytes()) return true;
  Releaser::ReclaimNow(PurgeCause::kLimit);
  Refresh();
  return g_headroom.load(std::memory_order_relaxed) > bytes + LowMarkBytes();
}

LimitGate::View LimitGate::Read() {
  return {g_limit.load(std::memory_order_relaxed),    g_used.load(std::memory_order_relaxed),
          g_headroom.load(std::memory_order_relaxed), g_anon.load(std::memory_order_relaxed),
          g_foreign.load(std::memory_order_relaxed),  level_.load(std::memory_order_relaxed),
          g_changes.load(std::memory_order_relaxed),  g_stall_permille.load(std::memory_order_relaxed)};
}

uint64_t LimitGate::LowMarkBytes() { return LowMark(g_limit.load(std::memory_order_relaxed)); }

void LimitGate::StartWatcher() {
  if (!Config::background() || g_limit.load(std::memory_order_relaxed) == kNoLimit || Releaser::Ending()) return;
  if (g_watching.exchange(true)) return;
  Os::StartThread(Watch, nullptr, "neap-watch", Os::Files::kOwn);
}

void LimitGate::ForgetInChild() {
  g_watcher.ForgetInChild();
  g_watching.store(false, std::memory_order_relaxed);
}

}  // namespace neap
