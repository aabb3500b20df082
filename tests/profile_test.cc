// profile_test.cc: the sampling profiler on real files: that its estimates are those of the blocks there are, through
// frees, resizes, arenas and forks, and that the hit paths are open again where no sampled block is left.
#include "alloc/profile.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/heap.h"
#include "alloc/page_map.h"
#include "alloc/profile_page.h"
#include "alloc/stats_page.h"
#include "tests/page_picture.h"

namespace neap {
namespace {

namespace fs = std::filesystem;

class ProfileTest : public testing::Test {
 protected:
  static constexpr uint64_t kInterval = 4 << 10;

  void SetUp() override {
    char name[] = "/tmp/profile_test.XXXXXX";
    folder_ = mkdtemp(name);
    setenv("NEAP_STATS", (folder_ + "/page").c_str(), 1);
    setenv("NEAP_PROFILE", "4K", 1);
    ASSERT_TRUE(StartHeap());
    ASSERT_TRUE(Profile::On());
  }
  void TearDown() override { fs::remove_all(folder_); }

  static const ProfilePage* Map() {
    char path[kStatsPathBytes + sizeof kProfileSuffix];
    EXPECT_TRUE(StatsPath(path));
    const int fd = open((path + std::string(kProfileSuffix)).c_str(), O_RDONLY);
    if (fd < 0) return nullptr;
    void* memory = mmap(nullptr, sizeof(ProfilePage), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return static_cast<const ProfilePage*>(memory);
  }

  struct Totals {
    double live = 0, live_blocks = 0, pinned = 0, allocated = 0;
    size_t samples = 0;
  };
  static Totals Read() {
    Totals totals;
    const ProfilePage* page = Map();
    if (page == nullptr) return totals;
    EXPECT_EQ(page->magic, kProfileMagic);
    EXPECT_EQ(page->interval, kInterval);
    for (uint32_t i = 0; i < page->samples; ++i) {
      const ProfileSample& sample = page->sample[i];
      if (sample.address == 0) continue;
      const double blocks = -1 / std::expm1(-static_cast<double>(sample.counted) / static_cast<double>(kInterval));
      totals.live += blocks * static_cast<double>(sample.bytes);
      totals.live_blocks += blocks;
      totals.pinned += blocks * sample.pinned;
      ++totals.samples;
    }
    for (uint32_t i = 0; i < page->stacks; ++i) totals.allocated += page->stack[i].bytes;
    munmap(const_cast<ProfilePage*>(page), sizeof *page);
    return totals;
  }

  std::string folder_;
};

TEST_F(ProfileTest, EstimatesBlocksOfAllSizes) {
  std::mt19937 random(1);
  std::vector<void*> blocks;
  double bytes = 0;
  for (int i = 0; i < 100'000; ++i) {
    blocks.push_back(Allocate(std::uniform_int_distribution<size_t>(1, i % 100 == 0 ? 100'000 : 300)(random)));
    bytes += static_cast<double>(UsableSize(blocks.back()));
  }
  const Totals totals = Read();
  EXPECT_NEAR(totals.live, bytes, bytes / 10);
  EXPECT_NEAR(totals.live_blocks, 100'000, 20'000);
  EXPECT_NEAR(totals.allocated, bytes, bytes / 10);
  for (void* block : blocks) Free(block);
  EXPECT_EQ(Read().samples, 0U);
  EXPECT_NEAR(Read().allocated, bytes, bytes / 10) << "what was allocated stays";
}

TEST_F(ProfileTest, ABlockThatIsFreedAtOnceIsCountedEachTime) {
  for (int i = 0; i < 1'000'000; ++i) Free(Allocate(100));
  EXPECT_NEAR(Read().allocated, 112e6, 112e5);
  EXPECT_EQ(Read().samples, 0U);
}

TEST_F(ProfileTest, OpensTheHitPathWhenTheSampleIsGone) {
  std::vector<void*> blocks;
  for (int i = 0; i < 10'000; ++i) blocks.push_back(Allocate(100));
  size_t closed = 0;
  for (void* block : blocks) closed += OnHitPath(block) ? 0 : 1;
  EXPECT_GT(closed, 0U);
  for (void* block : blocks) {
    if (Profile::MayHave(block)) {
      Profile::Forget(block);
    }
  }
  for (void* block : blocks) EXPECT_TRUE(OnHitPath(block));
  for (void* block : blocks) Free(block);
}

TEST_F(ProfileTest, FollowsABlockThatGrowsAndMoves) {
  for (int i = 0; i < 100; ++i) {
    void* block = Allocate(100'000);
    void* in_the_way = Allocate(100'000);
    for (size_t size = 200'000; size <= 3'000'000; size += 200'000) block = Reallocate(block, size);
    const double whole = static_cast<double>(UsableSize(block) + UsableSize(in_the_way));
    EXPECT_NEAR(Read().live, whole, whole / 5);
    EXPECT_EQ(Profile::Detach(static_cast<char*>(block) + 16), Profile::kNoSample);
    block = Reallocate(block, 400'000);
    Free(block);
    Free(in_the_way);
    EXPECT_EQ(Read().samples, 0U);
  }
}

TEST_F(ProfileTest, ForgetsAnArenaThatIsDestroyed) {
  Arena* arena = Arena::Create(&Arena::Root(), "query", SIZE_MAX);
  double bytes = 0;
  for (int i = 0; i < 5000; ++i) {
    bytes += static_cast<double>(UsableSize(AllocateIn(*arena, i % 50 == 0 ? 100'000 : 300, kMinAlignment)));
  }
  EXPECT_NEAR(Read().live, bytes, bytes / 10);
  ASSERT_TRUE(Arena::Destroy(arena));
  EXPECT_EQ(Read().samples, 0U);
}

TEST_F(ProfileTest, PinnedIsWhatIsFreeBesideLiveBlocks) {
  std::vector<void*> blocks;
  for (int i = 0; i < 200'000; ++i) blocks.push_back(Allocate(112));
  // One of each page's 36 or 37 stays.
  std::vector<void*> kept;
  uintptr_t last = 0;
  for (void* block : blocks) {
    const uintptr_t page = reinterpret_cast<uintptr_t>(block) / kPageSize;
    if (page != last && reinterpret_cast<uintptr_t>(block) % kPageSize < 2048) {
      kept.push_back(block);
      last = page;
    } else {
      Free(block);
    }
  }
  Trim();  // what lies in the CPUs' caches counts as live for a slab
  Profile::Publish(1, true);
  const double expected = static_cast<double>(kept.size()) * (kPageSize - 112);
  EXPECT_NEAR(Read().pinned, expected, expected / 3);
  for (void* block : kept) Free(block);
}

TEST_F(ProfileTest, IsRightWhereManyThreadsAllocateAndFreeEachOthers) {
  constexpr int kThreads = 4;
  constexpr size_t kSlots = 4096;
  std::vector<std::atomic<void*>> slots(kSlots);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(static_cast<unsigned>(t + 1));
      for (int i = 0; i < 50'000; ++i) Free(slots[random() % kSlots].exchange(Allocate(random() % 2000)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  double bytes = 0;
  for (auto& slot : slots) bytes += static_cast<double>(UsableSize(slot.load()));
  EXPECT_NEAR(Read().live, bytes, bytes / 4);
  for (auto& slot : slots) Free(slot.load());
  EXPECT_EQ(Read().samples, 0U);
}

TEST_F(ProfileTest, AForkedChildBeginsAnew) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(Allocate(3000));
  const Totals before = Read();
  const pid_t child = fork();
  if (child == 0) {
    for (void* block : blocks) Free(block);
    // The release thread, which these frees have started, may be opening it: samples are dropped meanwhile.
    while (!OpenStatsPage(getenv("NEAP_STATS"))) std::this_thread::yield();
    bool right = true;
    for (int i = 0; i < 1000; ++i) blocks[static_cast<size_t>(i)] = Allocate(6000);
    const Totals own = Read();
    right = right && own.samples > 0 && std::abs(own.live - 6144e3) < 6144e3 / 3;
    for (void* block : blocks) Free(block);
    _exit(right && Read().samples == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const Totals after = Read();
  EXPECT_EQ(after.samples, before.samples) << "the child did not touch its parent's";
  for (void* block : blocks) Free(block);
}

}  // namespace
}  // namespace neap
