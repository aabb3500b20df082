// ledger_test.cc: resident = live + cached + dirty + metadata, after every step of a random program: the figures add
// up, each is what the test knows of it, and their sum is what the kernel says is resident.
#include "alloc/ledger.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <thread>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/neap.h"
#include "alloc/release.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

class Program {
 public:
  explicit Program(unsigned seed) : random_(seed) {}

  void Step() {
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
        AllocateMany(Small(), random_() % 60 + 1);
        break;
      case 4:
        Keep(AllocateAligned(Small(), size_t{16} << random_() % 12));
        break;
      case 5:
        Keep(AllocateZeroed(random_() % (300 << 10)));
        break;
      case 6:
        Keep(Allocate(random_() % (2 << 20)));
        break;
      case 7:
      case 8:
        FreeSome(random_() % 100);
        break;
      case 9:
        ReallocateOne();
        break;
      case 10:
        Fake().AdvanceMs(random_() % 40);
        Releaser::Tick();
        break;
      case 11:
        if (random_() % 4 == 0) Trim();
        break;
      case 12:
        MakeArena();
        break;
      case 13:
        EnterOrLeave();
        break;
      case 14:
        if (random_() % 4 == 0) DestroyArena();
        break;
      case 15:
        if (random_() % 4 == 0) FreeSome(SIZE_MAX);
        break;
    }
  }

  size_t live() const {
    size_t bytes = 0;
    for (const auto& [block, size] : live_) bytes += size;
    return bytes;
  }

 private:
  size_t Small() {
    const size_t limit = size_t{16} << random_() % 12;
    return random_() % limit + 1;
  }

  void Keep(void* block) {
    ASSERT_NE(block, nullptr);
    const size_t size = UsableSize(block);
    memset(block, 0x11, size);
    ASSERT_TRUE(live_.emplace(block, size).second);
  }
  void AllocateMany(size_t size, size_t count) {
    for (size_t i = 0; i < count; ++i) Keep(Allocate(size));
  }
  void FreeSome(size_t count) {
    for (auto it = live_.begin(); it != live_.end() && count > 0; --count) {
      if (random_() % 3 == 0) {
        ++it;
        continue;
      }
      Free(it->first);
      it = live_.erase(it);
    }
  }
  void ReallocateOne() {
    if (live_.empty()) return;
    auto it = live_.begin();
    std::advance(it, random_() % live_.size());
    void* block = it->first;
    live_.erase(it);
    Keep(Reallocate(block, random_() % (random_() % 4 == 0 ? 3u << 20 : 4096) + 1));
  }
  void MakeArena() {
    if (arenas_.size() >= 4) return;
    neap_arena* parent = arenas_.empty() || random_() % 2 == 0 ? nullptr : arenas_.back();
    arenas_.push_back(neap_arena_create(parent, "of the program", SIZE_MAX));
  }
  void EnterOrLeave() {
    if (scopes_ > 0 && random_() % 2 == 0) {
      neap_scope_pop();
      --scopes_;
    } else if (!arenas_.empty() && scopes_ < 5) {
      EXPECT_EQ(neap_scope_push(arenas_[random_() % arenas_.size()]), 0);
      ++scopes_;
    }
  }
  // The latest, which has no children.
  void DestroyArena() {
    if (arenas_.empty() || scopes_ > 0) return;
    const auto* doomed = reinterpret_cast<Arena*>(arenas_.back());
    for (auto it = live_.begin(); it != live_.end();) {
      const Span* span = PageMap::Find(it->first);
      const Arena* owner = span->kind == SpanKind::kLarge ? static_cast<const LargeSpan*>(span)->arena
                                                          : static_cast<const Slab*>(span)->pool->arena();
      if (owner == doomed)
        it = live_.erase(it);
      else
        ++it;
    }
    EXPECT_EQ(neap_arena_destroy(arenas_.back()), 0);
    arenas_.pop_back();
  }

  std::minstd_rand random_;
  std::map<void*, size_t> live_;
  std::vector<neap_arena*> arenas_;
  int scopes_ = 0;
};

// The rows that a program is given, and their sums; that a row holds is seen as it comes.
struct Rows {
  neap_ledger_row_t shared = {}, of_arena = {}, arenas = {}, classes = {}, nodes = {}, total = {};
  uint64_t larger = 0;
  size_t arena_count = 0;

  Rows() {
    EXPECT_EQ(neap_ledger(Add, this), 0);
    EXPECT_EQ(total.kind, uint32_t{NEAP_LEDGER_TOTAL});
    for (const neap_ledger_row_t& sum : {arenas, classes}) {
      EXPECT_EQ(sum.live, total.live);
      EXPECT_EQ(sum.requested, total.requested);
      EXPECT_EQ(sum.cached, total.cached);
      EXPECT_EQ(sum.dirty + shared.dirty, total.dirty);
      EXPECT_EQ(sum.resident + shared.resident, total.resident);
    }
    EXPECT_EQ(nodes.resident + larger + total.metadata, total.resident);
    EXPECT_EQ(shared.metadata, total.metadata);
    EXPECT_GE(total.peak, total.resident);
  }

  static void Sum(neap_ledger_row_t& sum, const neap_ledger_row_t& row) {
    sum.live += row.live;
    sum.requested += row.requested;
    sum.cached += row.cached;
    sum.dirty += row.dirty;
    sum.resident += row.resident;
  }

  static void Add(void* context, const neap_ledger_row_t* row) {
    Rows& rows = *static_cast<Rows*>(context);
    EXPECT_EQ(row->size, sizeof *row);
    EXPECT_EQ(rows.total.size, 0u) << "a row behind the last";
    EXPECT_LE(row->requested, row->live);
    const uint64_t parts = row->live + row->cached + row->dirty + row->metadata;
    EXPECT_TRUE(row->resident == parts || row->kind == NEAP_LEDGER_NODE);
    switch (row->kind) {
      case NEAP_LEDGER_SHARED:
        rows.shared = *row;
        break;
      case NEAP_LEDGER_CLASS_OF_ARENA:
        rows.of_arena.id = row->id;
        Sum(rows.of_arena, *row);
        break;
      case NEAP_LEDGER_ARENA:
        EXPECT_EQ(row->id == 0, rows.arena_count++ == 0);
        EXPECT_TRUE(rows.of_arena.id == row->id || rows.of_arena.resident == 0);
        EXPECT_EQ(rows.of_arena.resident, row->resident);
        EXPECT_EQ(rows.of_arena.live, row->live);
        EXPECT_EQ(rows.of_arena.requested, row->requested);
        rows.of_arena = {};
        Sum(rows.arenas, *row);
        break;
      case NEAP_LEDGER_CLASS:
        if (row->block_size == 0) rows.larger = row->resident;
        Sum(rows.classes, *row);
        break;
      case NEAP_LEDGER_NODE:
        Sum(rows.nodes, *row);
        break;
      case NEAP_LEDGER_TOTAL:
        rows.total = *row;
        break;
    }
  }
};

// A batch that a cache took may reach into one page that nobody has touched yet; after a trim there is none.
void ExpectTheEquation(size_t live, bool trimmed) {
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.live, live);
  EXPECT_EQ(ledger.Resident(), ResidentBytes());
  const size_t window =
      FakeOs::ResidentBytesIn(reinterpret_cast<void*>(hot::window), PageMap::Granules() * kGranuleSize);
  EXPECT_GE(ledger.live + ledger.cached + ledger.dirty, window);
  EXPECT_LE(ledger.live + ledger.cached + ledger.dirty, window + (trimmed ? 0 : kCachedClasses * kPageSize));
  const size_t metadata = Fake().ResidentBytes() - window;
  EXPECT_LE(metadata, ledger.metadata + (64u << 10));
  EXPECT_LE(ledger.metadata, metadata + (64u << 10));
  // Of the arenas: the charges of the tree add up to what the spans hold.
  size_t charged = 0;
  for (size_t id = 0; id < Arena::Highest(); ++id) {
    if (Arena* arena = Arena::ById(id)) {
      const ArenaLedger own = arena->Read();
      charged += own.resident;
      EXPECT_LE(own.dirty, own.resident);
      EXPECT_LE(arena->charged(), arena->peak());
    }
  }
  EXPECT_EQ(Arena::Root().charged(), charged);

  // The tables are the same figures by class and by arena.
  static StatsTables tables;
  ReadTables(tables);
  StatsClass classes = {};
  for (const StatsClass& row : tables.size_class) {
    classes.live += row.live;
    classes.requested += row.requested;
    classes.resident += row.resident;
    classes.dirty += row.dirty;
    EXPECT_LE(row.requested, row.live);
  }
  StatsArena arenas = {};
  for (uint32_t i = 0; i < tables.arenas; ++i) {
    arenas.live += tables.arena[i].live;
    arenas.cached += tables.arena[i].cached;
    arenas.dirty += tables.arena[i].dirty;
  }
  const size_t free_runs = RootHeap::DirtyPages() * kPageSize;
  EXPECT_EQ(classes.live, live);
  EXPECT_EQ(arenas.live, live);
  EXPECT_EQ(arenas.cached, ledger.cached);
  EXPECT_EQ(arenas.dirty + free_runs, ledger.dirty);
  EXPECT_EQ(classes.dirty + free_runs, ledger.dirty);
  EXPECT_EQ(classes.resident + free_runs, ledger.live + ledger.cached + ledger.dirty);

  const Rows rows;
  EXPECT_EQ(rows.arena_count, Arena::Count());
  EXPECT_EQ(rows.total.live, live);
  EXPECT_EQ(rows.total.requested, classes.requested);
  EXPECT_EQ(rows.total.cached, ledger.cached);
  EXPECT_EQ(rows.total.dirty, ledger.dirty);
  EXPECT_EQ(rows.total.resident, ResidentBytes());
}

class LedgerTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(LedgerTest, HoldsAfterEveryStep) {
  Program program(GetParam());
  for (int step = 0; step < 1500; ++step) {
    program.Step();
    ExpectTheEquation(program.live(), false);
    if (step % 8 == 0) {
      Trim();
      ExpectTheEquation(program.live(), true);
    }
    ASSERT_FALSE(::testing::Test::HasFailure()) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LedgerTest, ::testing::Range(1u, 9u));

TEST(Ledger, OfAProcessThatAllocatedNothingIsMetadataAlone) {
  Free(Allocate(16));
  CpuCaches::Drain(CpuCaches::Which::kAll);
  Trim();
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.live + ledger.cached + ledger.dirty, 0u);
  EXPECT_EQ(Arena::Root().charged(), 0u);
  EXPECT_LT(ledger.metadata, 1u << 20);
}

TEST(Ledger, CachedBytesAreCachedNotLive) {
  void* block = Allocate(64);
  memset(block, 1, 64);
  Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.live, 64u);
  EXPECT_EQ(ledger.cached, kPageSize - 64);
  EXPECT_EQ(ledger.dirty, 0u);
  Free(block);
  ledger = ReadLedger();
  EXPECT_EQ(ledger.live, 0u);
  EXPECT_EQ(ledger.cached, kPageSize);
  CpuCaches::Drain(CpuCaches::Which::kAll);
  ledger = ReadLedger();
  EXPECT_EQ(ledger.cached, 0u);
  EXPECT_EQ(ledger.dirty, kPageSize);
}

TEST(Ledger, RequestedIsEstimatedFromWhatWasAskedFor) {
  std::vector<void*> blocks;
  for (int i = 0; i < 2000; ++i) blocks.push_back(Allocate(40'000));  // in blocks of 40,960
  for (int i = 0; i < 20; ++i) blocks.push_back(Allocate(300'001));   // in 74 pages
  static StatsTables tables;
  ReadTables(tables);
  const auto near = [](uint64_t figure, uint64_t wanted) { return figure > wanted / 100 * 99 && figure <= wanted; };
  EXPECT_TRUE(near(tables.size_class[ClassOf(40'000)].requested, 2000 * 40'000));
  EXPECT_TRUE(near(tables.size_class[kClasses].requested, 20 * 300'001));
  for (void* block : blocks) Free(block);
  Trim();
}

// Other threads at work: readings need not be exact, are never absurd, and rows add up all the same.
TEST(Ledger, ReadBesideOthersIsNeverAbsurd) {
  ASSERT_TRUE(StartHeap());
  std::atomic<bool> stop{false};
  auto work = [&](unsigned seed) {
    std::minstd_rand random(seed);
    std::vector<void*> mine;
    while (!stop) {
      mine.push_back(Allocate(random() % 3000 + 1));
      if (mine.size() > 300) {
        for (void* block : mine) Free(block);
        mine.clear();
      }
    }
    for (void* block : mine) Free(block);
  };
  std::thread threads[] = {std::thread(work, 1), std::thread(work, 2)};
  for (int i = 0; i < 3000; ++i) {
    const Ledger ledger = ReadLedger();
    ASSERT_LT(ledger.Resident(), 64u << 20);
    ASSERT_LT(ledger.live, 16u << 20);
    const Rows rows;
    ASSERT_LT(rows.total.resident, 64u << 20);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  Trim();
  // The first thread is not here to free: what it never took is not there.
  EXPECT_EQ(ReadLedger().live, 0u);
}

// No lock is held while the program looks at a row.
TEST(Ledger, WhoIsGivenARowMayDoAnything) {
  static neap_arena* doomed;
  doomed = neap_arena_create(nullptr, "doomed", SIZE_MAX);
  Free(memset(neap_arena_malloc(doomed, 100, 0), 1, 100));
  static int rows;
  rows = 0;
  const neap_ledger_fn visit = [](void*, const neap_ledger_row_t* row) {
    ++rows;
    Free(Allocate(1000));
    Trim();
    const Rows inner;
    if (row->kind == NEAP_LEDGER_ARENA && row->id != 0) neap_arena_destroy(doomed);
  };
  EXPECT_EQ(neap_ledger(visit, nullptr), 0);
  EXPECT_GE(rows, 5);
  EXPECT_EQ(Arena::Count(), 1u);
}

TEST(Ledger, SlabsOfBoundedArenasAreOfTheirNode) {
  Fake().nodes = 2;
  Fake().current_node = 1;
  neap_arena* arena = neap_arena_create(nullptr, "on node 1", SIZE_MAX);
  void* block = memset(neap_arena_malloc(arena, 100, 0), 1, 100);
  static StatsTables tables;
  ReadTables(tables);
  ASSERT_EQ(tables.nodes, 2u);
  EXPECT_EQ(tables.node[0].resident, 0u);
  EXPECT_EQ(tables.node[1].resident, kPageSize);
  const Rows rows;
  EXPECT_EQ(rows.nodes.resident, kPageSize);
  Free(block);
}

TEST(Ledger, ForeignIsOfTheMomentWhenTheKernelWasAsked) {
  constexpr size_t kOthers = 50 << 20, kSize = 8 << 20;
  Fake().SetContainer(4ull << 30, 0);
  Fake().SetFile("/proc/self/statm", [] {
    return "9999999 " + std::to_string((Fake().ResidentBytes() + kOthers) / kPageSize) + " 0 5 0 123 0\n";
  });
  std::vector<void*> blocks;
  const auto expect_others = [&] {
    const uint64_t foreign = ReadLedger().foreign;
    EXPECT_GE(foreign, kOthers);
    EXPECT_LT(foreign, kOthers + (1 << 20));
  };
  blocks.push_back(memset(Allocate(kSize), 1, kSize));
  LimitGate::Refresh();
  expect_others();
  for (int i = 0; i < 3; ++i) blocks.push_back(memset(Allocate(kSize), 1, kSize));
  expect_others();
  LimitGate::Refresh();
  expect_others();
  for (void* block : blocks) Free(block);
  expect_others();
}

}  // namespace
}  // namespace neap
