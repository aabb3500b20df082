// Resident memory as a program sees it from outside: untouched bytes cost nothing, freed bytes go.
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

// Whether resident memory falls under `most` within some seconds; decay may take its time.
testing::AssertionResult FallsUnder(size_t most) {
  for (int i = 0; i < 400 && Resident() >= most; ++i) usleep(50'000);
  if (Resident() < most) return testing::AssertionSuccess();
  return testing::AssertionFailure() << Resident() / kKiB << " KiB, not under " << most / kKiB;
}

TEST(Untouched, CallocOf2GiBCostsNothing) {
  size_t before = Resident();
  auto* block = static_cast<char*>(Hidden(calloc(2, kGiB)));
  ASSERT_NE(block, nullptr);
  EXPECT_LT(Resident(), before + kMiB);
  EXPECT_EQ(block[0] | block[kGiB] | block[2 * kGiB - 1], 0);
  EXPECT_LT(Resident(), before + 7 * kMiB);
  free(block);
  EXPECT_LT(Resident(), before + kMiB);
}

TEST(Untouched, LargeBlocksOfEveryKindCostNothing) {
  size_t before = Resident();
  Block first(malloc(kGiB)), second(memalign(2 * kMiB, kGiB)), third(valloc(kGiB)), fourth(realloc(nullptr, kGiB));
  EXPECT_TRUE(first && second && third && fourth);
  EXPECT_LT(Resident(), before + 2 * kMiB);  // 4 GiB of address space may cost some metadata
}

class FreedLarge : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(MiB, FreedLarge, testing::Values(1, 4, 32, 256), testing::PrintToStringParamName());

TEST_P(FreedLarge, IsGoneAtOnce) {
  const size_t size = GetParam() * kMiB;
  size_t before = Resident();
  void* block = malloc(size);
  memset(block, 1, size);
  EXPECT_GE(Resident(), before + size - 128 * kKiB);
  free(block);
  EXPECT_LT(Resident(), before + kMiB);
}

TEST(Freed, LargeBlocksTakenAgainAndAgainAreGoneSoon) {
  size_t before = Resident();
  for (int round = 0; round < 30; ++round) {
    void* block = malloc(32 * kMiB);
    memset(block, 1, 32 * kMiB);
    free(block);
  }
  EXPECT_TRUE(FallsUnder(before + 2 * kMiB));
}

TEST(Freed, ALargeBlockIsZeroFromCallocAfterwards) {
  for (int round = 0; round < 20; ++round) {
    void* block = malloc(16 * kMiB);
    memset(block, 0xff, 16 * kMiB);
    free(block);
    Block zeroed(calloc(1, 16 * kMiB));
    ASSERT_TRUE(IsZero(zeroed.get(), 16 * kMiB));
  }
}

TEST(Freed, SmallBlocksGo) {
  size_t before = Resident();
  {
    std::vector<void*> blocks(2'000'000);
    for (void*& block : blocks) memset(block = malloc(100), 1, 100);
    EXPECT_GT(Resident(), before + 200 * kMiB);
    for (void* block : blocks) free(block);
  }
  if (OnGlibc()) malloc_trim(0);
  EXPECT_TRUE(FallsUnder(before + 16 * kMiB));
}

TEST(Freed, BlocksOfThreadsThatExitedGo) {
  size_t before = Resident();
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> threads;
    for (uint64_t seed = 0; seed < 8; ++seed) {
      threads.emplace_back([seed] {
        Random random(seed);
        std::vector<void*> blocks;
        for (size_t bytes = 0; bytes < 16 * kMiB;) {
          size_t size = random.Size(64 * kKiB);
          blocks.push_back(malloc(size));
          memset(blocks.back(), 1, size);
          bytes += size;
        }
        for (void* block : blocks) free(block);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  if (OnGlibc()) malloc_trim(0);
  EXPECT_TRUE(FallsUnder(before + 24 * kMiB));
}

TEST(Threads, ThatSleepHoldLittle) {
  constexpr size_t kThreads = 200;
  auto resident_with = [](bool allocate) {
    pthread_barrier_t ready, done;
    pthread_barrier_init(&ready, nullptr, kThreads + 1);
    pthread_barrier_init(&done, nullptr, kThreads + 1);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (size_t size = 16; allocate && size <= 4 * kKiB; size *= 2) free(Hidden(malloc(size)));
        pthread_barrier_wait(&ready);
        pthread_barrier_wait(&done);
      });
    }
    pthread_barrier_wait(&ready);
    size_t resident = Resident();
    pthread_barrier_wait(&done);
    for (std::thread& thread : threads) thread.join();
    return resident;
  };
  size_t bare = resident_with(false);
  EXPECT_LT(resident_with(true), bare + kThreads * 32 * kKiB);
}

TEST(Start, OfAProgramThatDoesNothingIsCheap) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execlp("grep", "grep", "VmRSS", "/proc/self/status", nullptr);
    _exit(99);
  }
  char text[100] = {};
  ASSERT_GT(read(ends[0], text, sizeof text - 1), 0);
  waitpid(child, nullptr, 0);
  EXPECT_LT(strtoul(strchr(text, ':') + 1, nullptr, 10), 8 * kKiB) << text;
}

}  // namespace
}  // namespace outside
