// program.cc: the operations of a case and the model beside them. Owned by one run.
#include "tests/fuzz/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "alloc/page_map.h"
#include "alloc/release.h"
#include "tests/fake_os.h"

namespace neap_fuzz {
namespace {

using neap::Fake;
using neap::kGranuleSize;
using neap::kPageSize;

#define EXPECT(condition)                                                                    \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "fuzz: step %zu, line %d: not so: %s\n", step_, __LINE__, #condition); \
      abort();                                                                               \
    }                                                                                        \
  } while (false)

class Bytes {
 public:
  Bytes(const uint8_t* bytes, size_t count) : next_(bytes), end_(bytes + count) {}
  bool Ended() const { return next_ == end_; }
  unsigned Next() { return Ended() ? 0 : *next_++; }
  unsigned Next16() { return Next() << 8 | Next(); }

 private:
  const uint8_t* next_;
  const uint8_t* end_;
};

class Program {
 public:
  Program(const uint8_t* bytes, size_t count) : bytes_(bytes, count) { Configure(bytes_.Next()); }

  void Run() {
    while (!bytes_.Ended()) {
      ++step_;
      Step();
      CheckLedger();
      if (step_ % 64 == 0) CheckEverything();
    }
    Finish();
  }

 private:
  struct Block {
    size_t size;   // usable
    size_t bytes;  // with its guard, where it has one
    uint8_t fill;
    neap_arena* owner;  // null: the root
  };
  struct ArenaModel {
    neap_arena* parent;  // null: the root
    size_t bound;
    bool strict;
  };

  void Configure(unsigned mode) {
    if ((mode & 3) == 1) Fake().real_rseq = true;
    if ((mode & 3) == 2) Fake().nodes = 2;
    if ((mode & 4) != 0) Fake().SetEnvironment("NEAP_BACKGROUND", "0");
    if ((mode & 8) != 0) Fake().SetEnvironment("NEAP_OOM", "null");
    if ((mode & 16) != 0) Fake().address_space = (64u << 20) + (size_t{mode} << 20);
    hardened_ = (mode & 96) == 32;
    if (hardened_) Fake().SetEnvironment("NEAP_HARDENED", "1");
    may_refuse_ = (mode & 24) != 0;
  }

  // ---- Operations.

  void Step() {
    const unsigned operation = bytes_.Next();
    // Some are another thread's, which has other caches.
    if (operation >= 252) {
      std::thread([this] { Act(bytes_.Next() % 22); }).join();
      return;
    }
    Act(operation % 32);
  }

  void Act(unsigned operation) {
    switch (operation) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        Keep(neap::Allocate(size_), size_, false);
        NextSize();
        break;
      case 5:
      case 6:
        NextSize();
        Keep(neap::AllocateZeroed(size_), size_, true);
        break;
      case 7:
      case 8:
        AllocateAligned();
        break;
      case 9:
        Many();
        break;
      case 10:
      case 11:
      case 12:
      case 13:
        FreeOne();
        break;
      case 14:
        FreeMany();
        break;
      case 15:
      case 16:
      case 17:
        ReallocateOne();
        break;
      case 18:
        Fake().AdvanceMs(bytes_.Next());
        Fake().UseCpuMs(bytes_.Next());
        break;
      case 19:
        Fake().AdvanceMs(10);
        if (neap::StartHeap()) neap::Releaser::Tick();
        break;
      case 20:
        neap::Trim();
        break;
      case 21:
        if (neap::StartHeap()) neap::CpuCaches::Drain(neap::CpuCaches::Which::kIdle);
        break;
      case 22:
        MakeArena();
        break;
      case 23:
      case 24:
        EnterOrLeave();
        break;
      case 25:
        ChangeArena();
        break;
      case 26:
        DestroyArena();
        break;
      case 27:
        Reserve();
        break;
      case 28:
        Refuse();
        break;
      case 29:
        Limit();
        break;
      case 30:
        Fake().current_node = static_cast<int>(bytes_.Next() % 2);
        break;
      case 31:
        InArena();
        break;
    }
  }

  // From small to large, each scale as likely as the other.
  void NextSize() {
    const unsigned draw = bytes_.Next16();
    const size_t scale = size_t{16} << (draw >> 12);  // 16 B to 512 KiB
    size_ = (draw & 0xfff) * scale / 0xfff;
  }

  // Scopes are the main thread's.
  neap_arena* Current() const {
    return scopes_.empty() || std::this_thread::get_id() != main_thread_ ? nullptr : scopes_.back();
  }

  // Whether a null may have come: memory was refused, or some strict bound on the way had no room.
  bool NullAllowed(neap_arena* owner) const {
    if (may_refuse_ || refusing_) return true;
    for (; owner != nullptr; owner = arenas_.at(owner).parent) {
      if (arenas_.at(owner).strict) return true;
    }
    return false;
  }

  void Keep(void* block, size_t size, bool zeroed, size_t alignment = 1) {
    KeepOf(Current(), block, size, zeroed, alignment);
  }
  void KeepOf(neap_arena* owner, void* block, size_t size, bool zeroed, size_t alignment = 1) {
    if (block == nullptr) {
      EXPECT(NullAllowed(owner));
      return;
    }
    const uintptr_t begin = reinterpret_cast<uintptr_t>(block);
    const size_t usable = neap::UsableSize(block);
    const size_t bytes = BlockBytes(block);
    EXPECT(hardened_ ? usable == size && bytes > size : usable >= size && usable == bytes);
    EXPECT(begin % std::max<size_t>(alignment, 16) == 0);
    auto next = blocks_.lower_bound(begin);
    EXPECT(next == blocks_.end() || begin + bytes <= next->first);
    EXPECT(next == blocks_.begin() || std::prev(next)->first + std::prev(next)->second.bytes <= begin);
    auto* content = static_cast<uint8_t*>(block);
    if (zeroed) EXPECT(std::all_of(content, content + size, [](uint8_t byte) { return byte == 0; }));
    const auto fill = static_cast<uint8_t>(++fill_);
    memset(block, fill, usable);
    blocks_[begin] = {usable, bytes, fill, owner};
    live_ += bytes;
  }
  static size_t BlockBytes(const void* block) {
    const neap::Span* span = neap::PageMap::Find(block);
    return span->kind == neap::SpanKind::kLarge ? static_cast<const neap::LargeSpan*>(span)->bytes
                                                : neap::kSizeClasses[span->size_class].size;
  }
  static bool Holds(const void* block, size_t size, uint8_t fill) {
    const auto* bytes = static_cast<const uint8_t*>(block);
    return std::all_of(bytes, bytes + size, [fill](uint8_t byte) { return byte == fill; });
  }

  std::map<uintptr_t, Block>::iterator Pick() {
    auto it = blocks_.lower_bound(last_ + (size_t{bytes_.Next16()} << 12));
    return it == blocks_.end() ? blocks_.begin() : it;
  }
  void Forget(std::map<uintptr_t, Block>::iterator it) {
    last_ = it->first;
    live_ -= it->second.bytes;
    blocks_.erase(it);
  }
  void FreeAt(std::map<uintptr_t, Block>::iterator it) {
    void* block = reinterpret_cast<void*>(it->first);
    EXPECT(Holds(block, it->second.size, it->second.fill));
    Forget(it);
    neap::Free(block);
  }

  void AllocateAligned() {
    const size_t alignment = size_t{1} << bytes_.Next() % 22;
    NextSize();
    Keep(neap::AllocateAligned(size_, alignment), size_, false, alignment);
  }
  void Many() {
    NextSize();
    const size_t size = size_ % 5000;
    for (unsigned i = bytes_.Next() % 128; i > 0; --i) Keep(neap::Allocate(size), size, false);
  }
  void FreeOne() {
    if (!blocks_.empty()) FreeAt(Pick());
  }
  void FreeMany() {
    const unsigned stride = bytes_.Next() % 5 + 1;
    unsigned i = 0;
    for (auto it = blocks_.begin(); it != blocks_.end();) {
      auto here = it++;
      if (++i % stride == 0) FreeAt(here);
    }
  }
  void ReallocateOne() {
    if (blocks_.empty()) return;
    auto it = Pick();
    const Block old = it->second;
    void* block = reinterpret_cast<void*>(it->first);
    EXPECT(Holds(block, old.size, old.fill));
    NextSize();
    const size_t size = std::max<size_t>(size_, 1);
    void* moved = neap::Reallocate(block, size);
    if (moved == nullptr) {
      EXPECT(NullAllowed(old.owner) && size > old.size);
      EXPECT(Holds(block, old.size, old.fill));
      return;
    }
    EXPECT(Holds(moved, std::min(size, old.size), old.fill));
    Forget(it);
    KeepOf(old.owner, moved, size, false);
  }

  // ---- Arenas.

  neap_arena* PickArena() {
    const unsigned index = bytes_.Next();
    if (arenas_.empty()) return nullptr;
    auto it = arenas_.begin();
    std::advance(it, index % arenas_.size());
    return it->first;
  }
  void MakeArena() {
    neap_arena* parent = PickArena();
    const size_t bound = bytes_.Next() % 4 != 0 ? SIZE_MAX : size_t{bytes_.Next()} << 14;
    if (arenas_.size() >= 6) return;
    neap_arena* arena = neap_arena_create(parent, "fuzz", bound);
    if (arena == nullptr) {
      EXPECT(may_refuse_ || refusing_);
      return;
    }
    arenas_[arena] = {parent, bound, parent != nullptr && arenas_[parent].strict};
  }
  void EnterOrLeave() {
    neap_arena* arena = PickArena();
    if (bytes_.Next() % 2 == 0 && !scopes_.empty()) {
      neap_scope_pop();
      scopes_.pop_back();
    } else if (arena != nullptr && scopes_.size() < 15 && std::this_thread::get_id() == main_thread_) {
      EXPECT(neap_scope_push(arena) == 0);
      scopes_.push_back(arena);
    }
  }
  void InArena() {
    neap_arena* arena = PickArena();
    NextSize();
    if (arena != nullptr) KeepOf(arena, neap_arena_malloc(arena, size_, 0), size_, false);
  }
  void ChangeArena() {
    neap_arena* arena = PickArena();
    const unsigned what = bytes_.Next();
    if (arena == nullptr) return;
    if (what % 2 == 0) {
      arenas_[arena].bound = size_t{what} << 14;
      neap_arena_set_bound(arena, arenas_[arena].bound);
    } else {
      arenas_[arena].strict = what % 4 == 1;
      neap_arena_set_mode(arena, arenas_[arena].strict ? NEAP_ARENA_STRICT : NEAP_ARENA_SOFT);
    }
  }
  void Reserve() {
    neap_arena* arena = PickArena();
    const size_t bytes = size_t{bytes_.Next()} << 13;
    if (arena == nullptr) return;
    if (bytes_.Next() % 2 == 0)
      neap_arena_reserve(arena, bytes);
    else
      neap_arena_unreserve(arena, bytes);
  }
  void DestroyArena() {
    neap_arena* arena = PickArena();
    if (arena == nullptr) return;
    std::set<neap_arena*> doomed = {arena};
    for (bool grown = true; grown;) {
      grown = false;
      for (const auto& [other, model] : arenas_) {
        if (doomed.count(model.parent) != 0) grown = doomed.insert(other).second || grown;
      }
    }
    for (neap_arena* scope : scopes_) {
      if (doomed.count(scope) != 0) return;
    }
    for (auto it = blocks_.begin(); it != blocks_.end();) {
      auto here = it++;
      if (doomed.count(here->second.owner) != 0) Forget(here);
    }
    for (neap_arena* gone : doomed) arenas_.erase(gone);
    EXPECT(neap_arena_destroy(arena) == 0);
  }

  // ---- The system.

  void Refuse() {
    const unsigned what = bytes_.Next();
    switch (what % 8) {
      case 0:
        Fake().map.Always();
        break;
      case 1:
      case 2:
        Fake().map.Nth(what / 8 + 1);
        break;
      case 3:
        Fake().move_pages.Always();
        break;
      case 4:
        Fake().start_thread.Always();
        break;
      case 5:
        Fake().fence.Nth(what / 8 + 1);
        break;
      default:
        Fake().map.Never();
        Fake().move_pages.Never();
        Fake().start_thread.Never();
        refusing_ = false;
        return;
    }
    refusing_ = refusing_ || what % 8 < 3;
  }
  void Limit() {
    const unsigned what = bytes_.Next();
    if (what % 4 == 0)
      Fake().RemoveFile("/proc/self/cgroup");
    else
      Fake().SetContainer(size_t{what} << 22, size_t{bytes_.Next()} << 18);
  }

  // ---- What must be true.

  void CheckLedger() {
    if (!neap::StartHeap()) {
      EXPECT(NullAllowed(nullptr) && live_ == 0 && arenas_.empty());
      return;
    }
    const neap::Ledger ledger = neap::ReadLedger();
    EXPECT(ledger.live == live_);
    EXPECT(ledger.arenas == 1 + arenas_.size());
    for (const auto& [arena, model] : arenas_) {
      neap_arena_stats_t stats;
      neap_arena_stats(arena, &stats);
      EXPECT(stats.resident == stats.live + stats.cached + stats.dirty);
      EXPECT(stats.charged >= stats.resident + stats.reserved && stats.peak >= stats.charged);
    }
  }

  void CheckEverything() {
    if (!neap::StartHeap()) return;
    for (const auto& [begin, block] : blocks_) {
      EXPECT(Holds(reinterpret_cast<void*>(begin), block.size, block.fill));
    }
    const neap::Ledger ledger = neap::ReadLedger();
    const size_t window = Window();
    const size_t counted = ledger.live + ledger.cached + ledger.dirty;
    EXPECT(counted >= window);
    // A cache may hold a block that reaches into one page that nobody has touched yet. Of a guarded block all counts,
    // and what lies between its canary and its last word may be untouched.
    EXPECT(hardened_ ||
           counted <= window + neap::kCachedClasses * kPageSize * static_cast<size_t>(neap::Os::PossibleCpus() + 2));
    std::map<neap_arena*, size_t> live;
    for (const auto& [begin, block] : blocks_) live[block.owner] += block.bytes;
    for (const auto& [arena, model] : arenas_) {
      neap_arena_stats_t stats;
      neap_arena_stats(arena, &stats);
      EXPECT(stats.live == live[arena]);
    }
  }

  static size_t Window() {
    return neap::FakeOs::ResidentBytesIn(reinterpret_cast<void*>(neap::hot::window),
                                         neap::PageMap::Granules() * kGranuleSize);
  }

  void Finish() {
    Fake().map.Never();
    Fake().fence.Never();
    CheckEverything();
    for (; !scopes_.empty(); scopes_.pop_back()) neap_scope_pop();
    while (!blocks_.empty()) FreeAt(blocks_.begin());
    while (!arenas_.empty()) {
      auto last = std::find_if(arenas_.begin(), arenas_.end(), [this](const auto& candidate) {
        return std::none_of(arenas_.begin(), arenas_.end(),
                            [&](const auto& other) { return other.second.parent == candidate.first; });
      });
      EXPECT(neap_arena_destroy(last->first) == 0);
      arenas_.erase(last);
    }
    EXPECT(neap::StartHeap());
    neap::Trim();
    const neap::Ledger ledger = neap::ReadLedger();
    EXPECT(ledger.live + ledger.cached + ledger.dirty == 0);
    EXPECT(Window() == 0);
    EXPECT(neap::Arena::Root().charged() == 0);
  }

  Bytes bytes_;
  size_t step_ = 0;
  std::map<uintptr_t, Block> blocks_;
  std::map<neap_arena*, ArenaModel> arenas_;
  std::vector<neap_arena*> scopes_;
  const std::thread::id main_thread_ = std::this_thread::get_id();
  size_t live_ = 0;
  size_t size_ = 100;
  unsigned fill_ = 0;
  uintptr_t last_ = 0;
  bool may_refuse_ = false, refusing_ = false, hardened_ = false;
};

}  // namespace

void Run(const uint8_t* bytes, size_t count) { Program(bytes, count).Run(); }

}  // namespace neap_fuzz
