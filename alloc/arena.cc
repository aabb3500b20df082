// arena.cc: the tree of arenas and its accounts.
#include "alloc/arena.h"

#include <string.h>

#include <algorithm>

#include "alloc/clock.h"
#include "alloc/fork.h"
#include "alloc/hardened.h"
#include "alloc/large.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/profile.h"
#include "alloc/rcu.h"
#include "alloc/release.h"
#include "alloc/requests.h"

namespace neap {
namespace {

constinit Arena g_root;
constinit Mutex g_tree;
constinit std::atomic<Arena*> g_arenas[Arena::kMaxArenas] = {};
constinit std::atomic<uint32_t> g_count{1};
constinit std::atomic<size_t> g_highest{1};

constinit NodeHeap g_node0;
constinit NodeHeap* g_nodes[RootHeap::kMaxNodes] = {&g_node0};
constinit int g_node_count = 1;

// Read while others allocate, the three are of slightly different moments: cut so that taken and dirty lie within what
// is resident.
ArenaLedger ReadPool(const SlabPool& pool) {
  const PoolLedger& ledger = pool.ledger();
  const size_t resident = ledger.resident_pages.load(std::memory_order_relaxed) * kPageSize;
  const size_t dirty = std::min(ledger.dirty_pages.load(std::memory_order_relaxed) * kPageSize, resident);
  const size_t taken = ledger.taken_blocks.load(std::memory_order_relaxed) * pool.block_size();
  return {.taken = std::min(taken, resident - dirty), .resident = resident, .dirty = dirty};
}

}  // namespace

// ---- The root's heap.

void RootHeap::Start() {
  int nodes = Os::NodeCount();
  if (nodes > kMaxNodes) nodes = kMaxNodes;
  for (int node = 1; node < nodes; ++node) {
    g_nodes[node] = Metadata::New<NodeHeap>();
    if (g_nodes[node] == nullptr) nodes = node;
  }
  for (int node = 0; node < nodes; ++node) {
    g_nodes[node]->page_heap.Start(node, nodes > 1);
    for (size_t c = 0; c < kClasses; ++c) {
      const bool hit_path = nodes == 1 && c < kCachedClasses && !Hardened::On();
      g_nodes[node]->pools[c].Start(&g_root, &g_nodes[node]->page_heap, c, hit_path);
    }
  }
  g_node_count = nodes;
  memcpy(g_root.name_, "root", sizeof "root");
  g_arenas[0].store(&g_root, std::memory_order_release);
}

int RootHeap::Nodes() { return g_node_count; }
NodeHeap& RootHeap::Node(int node) { return *g_nodes[node]; }

int RootHeap::CurrentNode() {
  if (g_node_count == 1) return 0;
  const int node = Os::CurrentNode();
  return node >= 0 && node < g_node_count ? node : 0;
}

size_t RootHeap::DirtyPages() {
  size_t pages = 0;
  for (int node = 0; node < g_node_count; ++node) pages += g_nodes[node]->page_heap.DirtyPages();
  return pages;
}

// ---- The tree.

Arena& Arena::Root() { return g_root; }
Arena* Arena::ById(size_t id) { return id < kMaxArenas ? g_arenas[id].load(std::memory_order_acquire) : nullptr; }
size_t Arena::Highest() { return g_highest.load(std::memory_order_acquire); }
size_t Arena::Count() { return g_count.load(std::memory_order_relaxed); }

Arena* Arena::Create(Arena* parent, const char* name, size_t bound) {
  auto* arena = Metadata::New<Arena>();
  if (arena == nullptr) return nullptr;
  arena->parent_ = parent;
  arena->bound_.store(bound, std::memory_order_relaxed);
  arena->strict_.store(parent->strict_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  for (size_t i = 0; i + 1 < kNameBytes && name != nullptr && name[i] != 0; ++i) arena->name_[i] = name[i];
  MutexLock lock(g_tree);
  for (size_t id = 1; id < kMaxArenas; ++id) {
    if (g_arenas[id].load(std::memory_order_relaxed) != nullptr) continue;
    arena->id_ = static_cast<uint16_t>(id);
    parent->children_.fetch_add(1, std::memory_order_relaxed);
    g_count.fetch_add(1, std::memory_order_relaxed);
    g_arenas[id].store(arena, std::memory_order_release);
    if (id >= Highest()) g_highest.store(id + 1, std::memory_order_release);
    return arena;
  }
  Metadata::Delete(arena);
  return nullptr;
}

bool Arena::Destroy(Arena* arena) {
  if (arena->IsRoot()) return false;
  while (arena->children_.load(std::memory_order_acquire) != 0) {
    Arena* child = nullptr;
    {
      MutexLock lock(g_tree);
      for (size_t id = 1; id < kMaxArenas && child == nullptr; ++id) {
        Arena* other = g_arenas[id].load(std::memory_order_relaxed);
        if (other != nullptr && other->parent_ == arena) child = other;
      }
    }
    if (child != nullptr) Destroy(child);
  }
  {
    MutexLock lock(g_tree);
    g_arenas[arena->id_].store(nullptr, std::memory_order_release);
    g_count.fetch_sub(1, std::memory_order_relaxed);
  }
  Rcu::Synchronize();  // telemetry may be reading its pools
  arena->Unreserve(SIZE_MAX);
  Profile::ForgetArena(arena->id());
  while (LargeSpan* span = arena->FirstLarge()) Large::FreeAtOnce(span);
  Releaser::ReturnSlabs(arena);
  arena->parent_->children_.fetch_sub(1, std::memory_order_release);
  Metadata::Delete(arena);
  return true;
}

LargeSpan* Arena::FirstLarge() {
  MutexLock lock(lock_);
  return large_.Head();
}

size_t Arena::ReturnSlabs(ReleaseBatch& batch) {
  size_t released = 0;
  for (auto& pool : pools_) {
    SlabPool* made = pool.load(std::memory_order_acquire);
    if (made == nullptr) continue;
    released += made->Destroy(batch);
    Metadata::Delete(made);
  }
  return released;
}

// ---- Accounts.

bool Arena::GrowUpwards(size_t bytes, bool may_refuse) {
  for (Arena* arena = this; arena != nullptr; arena = arena->parent_) {
    const bool refuses = may_refuse || arena->strict_.load(std::memory_order_relaxed);
    size_t charged = arena->charged_.load(std::memory_order_relaxed);
    for (;;) {
      const size_t bound = arena->bound_.load(std::memory_order_relaxed);
      const bool room = charged <= bound && bytes <= bound - charged && !LimitGate::Critical();
      if (refuses && !room) {
        for (Arena* undo = this; undo != arena; undo = undo->parent_) {
          undo->charged_.fetch_sub(bytes, std::memory_order_relaxed);
        }
        return false;
      }
      if (arena->charged_.compare_exchange_weak(charged, charged + bytes, std::memory_order_relaxed)) break;
    }
  }
  for (Arena* arena = this; arena != nullptr; arena = arena->parent_) {
    const size_t now = arena->RaisePeak();
    if (now > arena->bound_.load(std::memory_order_relaxed)) arena->overruns_.fetch_add(1, std::memory_order_relaxed);
  }
  return true;
}

size_t Arena::RaisePeak() {
  const size_t now = charged_.load(std::memory_order_relaxed);
  size_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  return now;
}

void Arena::ShrinkUpwards(size_t bytes) {
  for (Arena* arena = this; arena != nullptr; arena = arena->parent_) {
    arena->charged_.fetch_sub(bytes, std::memory_order_relaxed);
  }
}

bool Arena::Charge(size_t bytes) {
  if (bytes == 0) return true;
  size_t reserved = reserved_.load(std::memory_order_relaxed);
  size_t used = 0;
  do {
    used = reserved < bytes ? reserved : bytes;
  } while (used != 0 && !reserved_.compare_exchange_weak(reserved, reserved - used, std::memory_order_relaxed));
  if (bytes > used && !GrowUpwards(bytes - used, false)) {
    reserved_.fetch_add(used, std::memory_order_relaxed);
    return false;
  }
  resident_.fetch_add(bytes, std::memory_order_relaxed);
  return true;
}

void Arena::ChargeAnyway(size_t bytes) {
  for (Arena* arena = this; arena != nullptr; arena = arena->parent_) {
    arena->charged_.fetch_add(bytes, std::memory_order_relaxed);
    arena->RaisePeak();
  }
  resident_.fetch_add(bytes, std::memory_order_relaxed);
}

void Arena::Uncharge(size_t bytes) {
  if (bytes == 0) return;
  resident_.fetch_sub(bytes, std::memory_order_relaxed);
  ShrinkUpwards(bytes);
}

bool Arena::Reserve(size_t bytes) {
  if (!GrowUpwards(bytes, true)) return false;
  reserved_.fetch_add(bytes, std::memory_order_relaxed);
  if (LimitGate::HasRoomFor(TotalReserved())) return true;
  Unreserve(bytes);
  return false;
}

bool Arena::MayGrow(size_t bytes) const {
  for (const Arena* arena = this; arena != nullptr; arena = arena->parent_) {
    const size_t charged = arena->charged_.load(std::memory_order_relaxed);
    const size_t bound = arena->bound_.load(std::memory_order_relaxed);
    if (charged > bound || bytes > bound - charged) return false;
  }
  return !LimitGate::Critical() && LimitGate::HasRoomFor(TotalReserved() + bytes);
}

size_t Arena::TotalReserved() {
  MutexLock lock(g_tree);
  size_t total = 0;
  const size_t highest = Highest();
  for (size_t id = 0; id < highest; ++id) {
    if (const Arena* arena = g_arenas[id].load(std::memory_order_relaxed)) total += arena->reserved();
  }
  return total;
}

void Arena::Unreserve(size_t bytes) {
  size_t reserved = reserved_.load(std::memory_order_relaxed);
  size_t returned = 0;
  do {
    returned = reserved < bytes ? reserved : bytes;
  } while (returned != 0 && !reserved_.compare_exchange_weak(reserved, reserved - returned, std::memory_order_relaxed));
  ShrinkUpwards(returned);
}

ArenaLedger Arena::ReadLarge() const {
  const size_t large = large_bytes_.load(std::memory_order_relaxed);
  const size_t slack = slack_pages_.load(std::memory_order_relaxed) * kPageSize;
  return {.taken = large, .resident = large + slack, .dirty = slack};
}

void Arena::AddRows(StatsClass* classes, StatsNode* nodes) const {
  const auto add = [](StatsClass& sum, const ArenaLedger& figures) {
    sum.live += figures.taken;
    sum.resident += figures.resident;
    sum.dirty += figures.dirty;
  };
  ForEachPool([&](const SlabPool& pool) {
    const ArenaLedger figures = ReadPool(pool);
    add(classes[pool.size_class()], figures);
    StatsNode& node = nodes[pool.heap()->node()];
    node.resident += figures.resident;
    node.dirty += figures.dirty;
  });
  add(classes[kClasses], ReadLarge());
}

ArenaLedger Arena::Read() const {
  ArenaLedger sum = ReadLarge();
  ForEachPool([&](const SlabPool& pool) { sum += ReadPool(pool); });
  return sum;
}

size_t Arena::Release(uint32_t cutoff_ms, ReleaseBatch& batch) {
  size_t released = ReleaseSlack(cutoff_ms, batch);
  ForEachPool([&](SlabPool& pool) { released += pool.Release(cutoff_ms, batch); });
  return released;
}

// ---- Blocks.

SlabPool* Arena::Pool(size_t size_class) {
  if (IsRoot()) return &g_nodes[RootHeap::CurrentNode()]->pools[size_class];
  SlabPool* pool = pools_[size_class].load(std::memory_order_acquire);
  if (pool != nullptr) return pool;
  MutexLock lock(lock_);
  pool = pools_[size_class].load(std::memory_order_relaxed);
  if (pool != nullptr) return pool;
  pool = Metadata::New<SlabPool>();
  if (pool == nullptr) return nullptr;
  pool->Start(this, &g_nodes[RootHeap::CurrentNode()]->page_heap, size_class, false);
  pools_[size_class].store(pool, std::memory_order_release);
  return pool;
}

void* Arena::Allocate(size_t size, size_t alignment) {
  const size_t size_class = AlignedClassOf(size, alignment);
  if (size_class == kClasses) return Large::Allocate(this, size, alignment, false);
  if (!LimitGate::Pass(0)) return nullptr;
  Requests::Note(size_class, size, kSizeClasses[size_class].size);
  SlabPool* pool = Pool(size_class);
  void* block = nullptr;
  if (pool == nullptr || pool->Take(&block, 1) == 1) return block;
  // Its own dirty pages may be what fills the bound.
  if (Releaser::ReleaseArena(this) > 0) pool->Take(&block, 1);
  return block;
}

void Arena::AddLarge(LargeSpan* span, size_t slack_pages) {
  MutexLock lock(lock_);
  large_bytes_.fetch_add(span->bytes, std::memory_order_relaxed);
  span->slack_pages = slack_pages;
  if (slack_pages == 0) return large_.PushBack(span);
  span->slack_since = NowMs();
  slack_pages_.fetch_add(slack_pages, std::memory_order_relaxed);
  ChargeAnyway(slack_pages * kPageSize);
  large_.PushFront(span);
}

void Arena::RemoveLarge(LargeSpan* span) {
  MutexLock lock(lock_);
  large_bytes_.fetch_sub(span->bytes, std::memory_order_relaxed);
  slack_pages_.fetch_sub(span->slack_pages, std::memory_order_relaxed);
  Uncharge(span->slack_pages * kPageSize);
  large_.Remove(span);
}

size_t Arena::ReleaseSlack(uint32_t cutoff_ms, ReleaseBatch& batch) {
  size_t released = 0;
  while (slack_pages_.load(std::memory_order_relaxed) > 0) {
    // The lock is held while the pages go, so that no block of theirs does: a few at a time.
    MutexLock lock(lock_);
    constexpr size_t kSpans = 32;
    size_t pages = 0;
    LargeSpan* next = nullptr;
    size_t count = 0;
    for (LargeSpan* span = large_.Head(); span != nullptr && span->slack_pages > 0 && count < kSpans; span = next) {
      next = span->next;
      if (static_cast<int32_t>(span->slack_since - cutoff_ms) > 0) continue;
      pages += Large::ReleaseSlack(span, batch);
      span->slack_pages = 0;
      large_.Remove(span);
      large_.PushBack(span);
      ++count;
    }
    batch.Flush();
    slack_pages_.fetch_sub(pages, std::memory_order_relaxed);
    Uncharge(pages * kPageSize);
    released += pages * kPageSize;
    if (count == 0) break;
  }
  return released;
}

Mutex& ForkLocks::ArenaTree() { return g_tree; }

}  // namespace neap
