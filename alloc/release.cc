// release.cc: see release.h.
#include "alloc/release.h"

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/config.h"
#include "alloc/consumers.h"
#include "alloc/cpu_cache.h"
#include "alloc/decay.h"
#include "alloc/foreign.h"
#include "alloc/foreign_parts.h"
#include "alloc/fork.h"
#include "alloc/hardened.h"
#include "alloc/huge_pages.h"
#include "alloc/ledger.h"
#include "alloc/limit_gate.h"
#include "alloc/os.h"
#include "alloc/profile.h"
#include "alloc/rcu.h"
#include "alloc/regret.h"
#include "alloc/release_batch.h"
#include "alloc/stats_page.h"

namespace neap {
namespace {

constexpr uint64_t kTickNs = 10'000'000;
constexpr uint64_t kTickInBurstNs = 4'000'000;
constexpr uint64_t kLimitedTickNs = 1'000'000'000;
constexpr uint32_t kDrainEveryMs = 20;
constexpr uint32_t kReadLimitEveryMs = 250;
// While frees come in this fast, releasing beside them costs both: TLB shootdowns, and huge pages split under the
// program's reads. A burst is let finish, for so long at most. Small pages take longer to give back, and are begun with
// at once.
constexpr size_t kBurstPagesPerMs = (512u << 10) / kPageSize;  // that become dirty
constexpr uint32_t kPatienceMs = 250;
constexpr size_t kIdleCache = 64 << 10;  // bytes in CPU caches that are not worth another tick

constinit Mutex g_lock;  // the batch, and that each page is on its way back once
constinit ReleaseBatch g_batch;
constinit Decay g_decay;
constinit std::atomic<uint64_t> g_released{0};
constinit std::atomic<uint64_t> g_purges[kPurgeCauses] = {}, g_purged[kPurgeCauses] = {};
constinit std::atomic<uint32_t> g_decay_ms{Decay::kShortestMs};

enum ThreadState : uint32_t { kNone, kStarting, kRunning, kSleeping, kRefused };
constinit std::atomic<uint32_t> g_thread{kNone};
constinit uint32_t g_private_bell = 0;

// Of the tick; under g_tick.
constinit Mutex g_tick;
constinit uint32_t g_drained_ms = 0, g_limit_ms = 0;
constinit std::atomic<uint32_t> g_burst_ms{0};  // since when; 0: none
constinit std::atomic<uint32_t> g_ticked_ms{0};

uint32_t* Bell() {
  uint32_t* shared = Doorbell();
  return shared != nullptr ? shared : &g_private_bell;
}

// False: not due yet.
bool PublishForeignParts() {
  const uint64_t now_ms = Os::RealtimeNs() / 1'000'000;
  if (Doorbell() == nullptr) return true;
  if (!ForeignParts::AreDue(now_ms, LimitGate::Level())) return false;
  StatsForeign parts;
  if (ForeignParts::Read(now_ms, parts)) PublishForeign(parts);
  return true;
}

void Run(void*) {
  OpenStatsPage(Config::stats_prefix());
  if (ForeignAllocators::May()) Consumers::StartThread();
  bool settled = false, read_at_rest = false;
  for (;;) {
    uint32_t* bell = Bell();
    const uint32_t rung = __atomic_load_n(bell, __ATOMIC_ACQUIRE);
    g_thread.store(Releaser::Ending() ? kRefused : kRunning, std::memory_order_relaxed);
    if (Releaser::Ending()) return;
    const bool again = Releaser::Tick();
    LimitGate::StartWatcher();
    const bool read = PublishForeignParts();
    uint64_t timeout = g_burst_ms.load(std::memory_order_relaxed) != 0 ? kTickInBurstNs : kTickNs;
    if (again) {
      settled = read_at_rest = false;
    } else {
      // Some rounds more before sleeping for good: the page may stand for long, and the kernel's figures in it are to
      // be those of after the last release.
      const bool limited = LimitGate::Read().limit != UINT64_MAX;
      settled = read_at_rest;
      read_at_rest |= read;
      timeout = settled && !limited ? UINT64_MAX : kLimitedTickNs;
      g_thread.store(kSleeping, std::memory_order_seq_cst);
      if (Releaser::WorthWaking()) continue;  // noted while Tick was at its end, when nobody rang for it
    }
    Os::FutexWait(bell, rung, timeout, bell != &g_private_bell);
  }
}

void AnswerProfileOrder() {
  const uint64_t interval = TakeProfileOrder();
  if (interval != 0 && !Profile::On()) Profile::Start(interval);
}

// at_rest: nothing may be published for long, so that the tables are to be those of this ledger.
void PublishNow(bool at_rest) {
  const uint64_t now_ns = Os::RealtimeNs();
  PublishLedger(ReadLedger(), now_ns);
  if (at_rest || TablesAreDue(now_ns)) PublishTables(ReadTables, Arena::Count(), now_ns);
  AnswerProfileOrder();
  Profile::Publish(now_ns / 1'000'000, at_rest);
}

void AnswerShrinkOrder() {
  uint64_t target = 0;
  uint32_t number = 0;
  if (!ShrinkRequested(&target, &number)) return;
  const size_t freed = Releaser::ReclaimNow(PurgeCause::kOrdered);
  LimitGate::Refresh();
  const Ledger ledger = ReadLedger();
  if (ledger.anon > target) Consumers::Ask(ledger.anon - target);
  PublishLedger(ledger, Os::RealtimeNs());
  AnswerShrink(number, freed);
}

void NoteReleased(size_t bytes) { g_released.fetch_add(bytes, std::memory_order_relaxed); }

// A normal exit; programs' own exit handlers have run.
[[gnu::destructor]] void CloseAtExit() {
  if (Doorbell() != nullptr) Releaser::Publish(true);
  CloseStatsPage();
}

}  // namespace

Mutex& Releaser::lock() { return g_lock; }
uint64_t Releaser::ReleasedBytes() { return g_released.load(std::memory_order_relaxed); }
uint64_t Releaser::Purges(PurgeCause cause) {
  return g_purges[static_cast<uint32_t>(cause)].load(std::memory_order_relaxed);
}
uint64_t Releaser::PurgedBytes(PurgeCause cause) {
  return g_purged[static_cast<uint32_t>(cause)].load(std::memory_order_relaxed);
}
uint32_t Releaser::DecayMs() { return g_decay_ms.load(std::memory_order_relaxed); }

size_t Releaser::ReleaseAt(uint32_t cutoff_ms, size_t most) {
  size_t released = 0;
  const auto release_runs = [&] {
    for (int node = 0; node < RootHeap::Nodes(); ++node) {
      released += RootHeap::Node(node).page_heap.Release(cutoff_ms, g_batch);
    }
  };
  MutexLock lock(g_lock);
  g_batch.Limit(most);
  if (most != SIZE_MAX) release_runs();  // a page costs less to give back there
  // Slabs before runs: those that become free are runs then. An arena is not destroyed while the lock is held.
  for (size_t id = 0; id < Arena::Highest() && !g_batch.Exhausted(); ++id) {
    if (Arena* arena = Arena::ById(id)) released += arena->Release(cutoff_ms, g_batch);
  }
  release_runs();
  g_batch.Limit(SIZE_MAX);
  NoteReleased(released);
  return released;
}

void Releaser::ReleaseRun(size_t first, size_t granules) {
  MutexLock lock(g_lock);
  const uint32_t now = NowMs();
  size_t pages = 0;
  for (size_t g = first; g < first + granules; ++g) {
    GranuleInfo& info = PageMap::Info(g);
    if (info.dirty == 0) continue;
    g_batch.AddPages(PageMap::AddressOf(g), info.dirty);
    pages += CountBits(info.dirty);
    info.dirty = 0;
    info.released_at = now;
  }
  g_batch.Flush();
  NoteReleased(pages * kPageSize);
}

size_t Releaser::ReleaseArena(Arena* arena) {
  MutexLock lock(g_lock);
  const size_t released = arena->Release(NowMs(), g_batch);
  NoteReleased(released);
  return released;
}

void Releaser::ReturnSlabs(Arena* arena) {
  MutexLock lock(g_lock);  // none of them is on its way back already
  NoteReleased(arena->ReturnSlabs(g_batch));
}

size_t Releaser::ReclaimNow(PurgeCause cause) {
  Hardened::EmptyQuarantine();
  CpuCaches::Drain(CpuCaches::Which::kAll);
  const size_t released = ReleaseAt(NowMs());
  g_purges[static_cast<uint32_t>(cause)].fetch_add(1, std::memory_order_relaxed);
  g_purged[static_cast<uint32_t>(cause)].fetch_add(released, std::memory_order_relaxed);
  SplitHugePages();
  return released;
}

void Releaser::SplitHugePages() {
  MutexLock lock(g_lock);
  while (HugePages::SplitSome()) {
  }
}

bool Releaser::Tick() {
  MutexLock lock(g_tick);
  return TickLocked();
}

bool Releaser::TickLocked() {
  const uint32_t now = NowMs();
  const uint32_t since_last = now - g_ticked_ms.exchange(now, std::memory_order_relaxed);
  const size_t noted = noted_.exchange(0, std::memory_order_relaxed);

  uint32_t level = LimitGate::Level();
  bool just_read = false;
  const bool limited = LimitGate::Read().limit != UINT64_MAX;
  if (g_limit_ms == 0 || now - g_limit_ms >= (limited ? kReadLimitEveryMs : 4 * kReadLimitEveryMs)) {
    level = LimitGate::Refresh();
    g_limit_ms = now;
    just_read = true;
  }
  if (level > 0) Hardened::EmptyQuarantine();
  if (now - g_drained_ms >= kDrainEveryMs) {
    CpuCaches::Drain(level > 0 ? CpuCaches::Which::kAll : CpuCaches::Which::kIdle);
    g_drained_ms = now;
  }
  Ledger ledger = ReadLedger();
  const uint32_t age = g_decay.Update({now, Os::ProcessCpuNs(), Regret::Pages(), level});
  g_decay_ms.store(age, std::memory_order_relaxed);
  uint32_t burst_ms = g_burst_ms.load(std::memory_order_relaxed);
  if (noted < kBurstPagesPerMs * (since_last + 1) || level > 0 || !HugePages::InUse())
    burst_ms = 0;
  else if (burst_ms == 0)
    burst_ms = now;
  g_burst_ms.store(burst_ms, std::memory_order_relaxed);
  const bool in_burst = burst_ms != 0 && now - burst_ms < kPatienceMs && LimitGate::Spares(ledger.dirty);
  if (ledger.dirty > 0 && !in_burst) {
    if (ReleaseAt(now - age) > 0) ledger = ReadLedger();
    const size_t excess = Decay::Excess(ledger.dirty, ledger.live, LimitGate::Read().headroom);
    if (excess > 0 && ReleaseAt(now - Decay::kShortestMs, excess) > 0) ledger = ReadLedger();
  }
  if (level > 0 && just_read) {
    const LimitGate::View view = LimitGate::Read();
    const uint64_t mark = LimitGate::LowMarkBytes();
    if (view.headroom < mark) Consumers::Ask(mark - view.headroom);
  }
  AnswerShrinkOrder();
  bool to_split = false;
  if (ledger.dirty == 0 || !LimitGate::Spares(HugePages::HoardedBytes())) {
    MutexLock release(g_lock);
    to_split = HugePages::SplitSome();
  }
  const bool again = noted > 0 || ledger.dirty > 0 || to_split || CpuCaches::CachedBytes() > kIdleCache;
  PublishNow(!again);
  return again;
}

void Releaser::PokeSlow() {
  const uint32_t state = g_thread.load(std::memory_order_relaxed);
  if (state == kSleeping) return Wake();
  if (state == kRunning || state == kStarting) return;
  if (state == kNone && Config::background()) {
    if (noted_.load(std::memory_order_relaxed) >= kWorthStarting && !t_for_loader) StartThread();
    return;
  }
  const auto due = [] { return NowMs() - g_ticked_ms.load(std::memory_order_relaxed) >= kTickNs / 1'000'000; };
  if (!due() || !g_tick.TryLock()) return;
  if (due()) TickLocked();
  g_tick.Unlock();
}

void Releaser::Wake() {
  uint32_t* bell = Bell();
  __atomic_fetch_add(bell, 1, __ATOMIC_RELEASE);
  uint32_t expected = kSleeping;
  g_thread.compare_exchange_strong(expected, kRunning, std::memory_order_relaxed);
  Os::FutexWake(bell, 1, bell != &g_private_bell);
}

void Releaser::StartThread() {
  uint32_t expected = kNone;
  if (CpuCaches::InVforkChild()) return;  // the thread would be the child's and end with it
  if (!Config::background() || Ending() || !g_thread.compare_exchange_strong(expected, kStarting)) return;
  if (Os::StartThread(Run, nullptr, "neap-release", Os::Files::kOwnIfPossible) != 0) g_thread.store(kRefused);
}

void Releaser::WatchFirstThread() {
  if (Os::ThreadId() != Os::ProcessId()) return;  // a library that came late
  Os::CallAtThreadEnd([](void*) {
    ending_.store(true, std::memory_order_relaxed);
    if (g_thread.load(std::memory_order_relaxed) == kNone) g_thread.store(kRefused, std::memory_order_relaxed);
    Wake();
    Consumers::Wake();
  });
}

void Releaser::Publish(bool at_rest) {
  if (OpenStatsPage(Config::stats_prefix())) PublishNow(at_rest);
}

void Releaser::ForgetInChild() {
  ending_.store(false, std::memory_order_relaxed);
  WatchFirstThread();
  g_thread.store(kNone, std::memory_order_relaxed);
  ForgetStatsPage();
  ForeignParts::ForgetInChild();
}

Mutex& ForkLocks::Release() { return g_lock; }
Mutex& ForkLocks::Tick() { return g_tick; }

}  // namespace neap
