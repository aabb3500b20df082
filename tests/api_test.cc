// api_test.cc: neap.h: its C face from C11, its C++ face, and the answers to arguments that make no sense.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory_resource>
#include <string>
#include <vector>

#include "alloc/heap.h"
#include "alloc/neap.h"

extern "C" int UseFromC(void);

// In this program malloc is the C library's. What the C++ face returns with free() is neap's.
extern "C" void __real_free(void* block);
extern "C" void __wrap_free(void* block) { neap::Free(block); }

namespace {

TEST(Api, FromC) { EXPECT_EQ(UseFromC(), 0); }

TEST(Api, NonsenseIsRefused) {
  neap_arena_stats_t stats;
  EXPECT_EQ(neap_arena_destroy(nullptr), EINVAL);
  EXPECT_EQ(neap_arena_set_bound(nullptr, 1), EINVAL);
  EXPECT_EQ(neap_arena_set_mode(nullptr, NEAP_ARENA_SOFT), EINVAL);
  EXPECT_EQ(neap_arena_stats(nullptr, &stats), EINVAL);
  EXPECT_EQ(neap_arena_stats(neap_arena_root(), nullptr), EINVAL);
  EXPECT_EQ(neap_arena_unreserve(nullptr, 1), EINVAL);
  EXPECT_EQ(neap_arena_may_grow(nullptr, 1), EINVAL);
  EXPECT_EQ(neap_stats(nullptr), EINVAL);
  EXPECT_EQ(neap_ledger(nullptr, nullptr), EINVAL);
}

TEST(Api, ReturnedErrorsLeaveErrnoAlone) {
  neap_arena_root();
  errno = 0;
  neap_arena_destroy(nullptr);
  neap_arena_reserve(nullptr, 1);
  neap_scope_push(nullptr);
  EXPECT_EQ(errno, 0);
}

TEST(Api, PeakIsNeverBelowWhatIsResident) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) {
    blocks.push_back(neap::Allocate(100'000));
    neap_stats_t stats;
    ASSERT_EQ(neap_stats(&stats), 0);
    EXPECT_GE(stats.peak_resident, stats.resident);
    EXPECT_GE(stats.reserved_space, stats.resident - stats.metadata);
  }
  for (void* block : blocks) neap::Free(block);
}

class CxxFace : public ::testing::Test {
 protected:
  void SetUp() override { arena_ = neap_arena_create(nullptr, "containers", NEAP_UNBOUNDED); }
  void TearDown() override { EXPECT_EQ(neap_arena_destroy(arena_), 0); }
  uint64_t Live() {
    neap_arena_stats_t stats;
    neap_arena_stats(arena_, &stats);
    return stats.live;
  }
  neap_arena* arena_ = nullptr;
};

TEST_F(CxxFace, AMemoryResource) {
  neap::ArenaResource resource(arena_);
  {
    std::pmr::vector<std::pmr::string> strings(&resource);
    for (int i = 0; i < 1000; ++i) strings.emplace_back(100, 'x');
    EXPECT_GT(Live(), 100'000u);
    EXPECT_EQ(strings[999], std::string(100, 'x').c_str());
  }
  EXPECT_EQ(Live(), 0u);
  void* aligned = resource.allocate(10, 4096);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(aligned) % 4096, 0u);
  resource.deallocate(aligned, 10, 4096);
  EXPECT_TRUE(resource == neap::ArenaResource(arena_));
  EXPECT_FALSE(resource == neap::ArenaResource(neap_arena_root()));
  EXPECT_FALSE(resource == *std::pmr::new_delete_resource());
}

TEST_F(CxxFace, AnAllocator) {
  using Pair = std::pair<const int, double>;
  {
    std::map<int, double, std::less<int>, neap::ArenaAllocator<Pair>> map{neap::ArenaAllocator<Pair>(arena_)};
    for (int i = 0; i < 1000; ++i) map[i] = i;
    EXPECT_GT(Live(), 40'000u);
    auto copy = map;
    EXPECT_EQ(copy, map);
  }
  EXPECT_EQ(Live(), 0u);
  EXPECT_THROW((void)neap::ArenaAllocator<Pair>(arena_).allocate(PTRDIFF_MAX), std::bad_array_new_length);
  EXPECT_EQ(neap::ArenaAllocator<int>(arena_), neap::ArenaAllocator<char>(arena_));
  EXPECT_NE(neap::ArenaAllocator<int>(arena_), neap::ArenaAllocator<int>(neap_arena_root()));
}

TEST_F(CxxFace, ThrowsWhereAStrictBoundHasNoRoom) {
  neap_arena_set_bound(arena_, 1 << 20);
  neap_arena_set_mode(arena_, NEAP_ARENA_STRICT);
  neap::ArenaResource resource(arena_);
  std::pmr::vector<char> vector(&resource);
  EXPECT_THROW(vector.resize(2 << 20), std::bad_alloc);
  EXPECT_THROW((void)neap::ArenaAllocator<char>(arena_).allocate(2 << 20), std::bad_alloc);
  vector.resize(1000);
}

TEST_F(CxxFace, TheLedgerAsATable) {
  void* block = neap_arena_malloc(arena_, 1000, 0);
  uint64_t live = 0;
  bool found = false;
  const std::vector<neap_ledger_row_t> rows = neap::LedgerTable();
  for (const neap_ledger_row_t& row : rows) {
    if (row.kind != NEAP_LEDGER_ARENA) continue;
    live += row.live;
    if (row.name != std::string("containers")) continue;
    found = true;
    EXPECT_EQ(row.live, neap::UsableSize(block));
    EXPECT_EQ(row.bound, NEAP_UNBOUNDED);
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(rows.back().kind, uint32_t{NEAP_LEDGER_TOTAL});
  EXPECT_EQ(rows.back().live, live);
  neap::Free(block);
}

TEST_F(CxxFace, AScope) {
  {
    neap::Scope scope(arena_);
    void* block = neap::Allocate(1000);
    EXPECT_EQ(Live(), neap::UsableSize(block));
    neap::Free(block);
  }
  void* block = neap::Allocate(1000);
  EXPECT_EQ(Live(), 0u);
  neap::Free(block);
  EXPECT_THROW(neap::Scope(nullptr), std::bad_alloc);
}

}  // namespace
