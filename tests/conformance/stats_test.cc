// What a program may ask and order: mallinfo, mallinfo2, malloc_info, malloc_stats, malloc_trim, mallopt.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

struct mallinfo OldMallinfo() {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return mallinfo();
#pragma GCC diagnostic pop
}

size_t InUse() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(Mallinfo2, InUseGrowsByWhatIsAllocatedAndFallsByWhatIsFreed) {
  std::vector<void*> blocks;
  blocks.reserve(1000);
  for (size_t size : {size_t{24}, size_t{160}, size_t{3000}, 40 * kKiB, 3 * kMiB}) {
    size_t before = InUse();
    size_t count = size < kMiB ? 1000 : 20;
    for (size_t i = 0; i < count; ++i) blocks.push_back(malloc(size));
    EXPECT_GE(InUse(), before + count * size) << size;
    EXPECT_LE(InUse(), before + count * (size + size / 4 + 64) + 8 * kKiB) << size;
    for (void* block : blocks) free(block);
    blocks.clear();
    // glibc counts what its threads cache as in use.
    EXPECT_LT(InUse(), before + count * size / 10 + 256 * kKiB) << size;
  }
}

TEST(Mallinfo2, CountsASingleBlock) {
  for (size_t size : {size_t{1}, size_t{100}, 10 * kKiB, 10 * kMiB}) {
    free(malloc(size));
    size_t before = InUse();
    Block first(malloc(size)), second(malloc(size)), third(malloc(size));  // glibc counts its cached blocks as in use
    EXPECT_GE(InUse() + 16, before + 2 * size) << size;
  }
}

TEST(Mallinfo2, CountsBlocksOfOtherThreads) {
  size_t before = InUse();
  std::vector<void*> blocks(1000);
  std::thread([&] {
    for (void*& block : blocks) block = malloc(1000);
  }).join();
  EXPECT_GE(InUse(), before + 1'000'000);
  for (void* block : blocks) free(block);
  EXPECT_LT(InUse(), before + 500'000);
}

TEST(Mallinfo2, AddsUp) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < 1000; ++i) blocks.emplace_back(malloc(500 + i));
  for (size_t i = 0; i < 1000; i += 2) blocks[i].reset();
  struct mallinfo2 info = mallinfo2();
  EXPECT_EQ(info.arena, info.uordblks + info.fordblks);
  EXPECT_LE(info.keepcost, info.arena + info.hblkhd);
}

TEST(Mallinfo, SaysTheSameAsMallinfo2) {
  Block block(malloc(100000));
  struct mallinfo2 wide = mallinfo2();
  struct mallinfo narrow = OldMallinfo();
  EXPECT_EQ(static_cast<size_t>(narrow.uordblks) + static_cast<size_t>(narrow.hblkhd), wide.uordblks + wide.hblkhd);
}

// Elements nested and closed, attributes quoted, one root: enough XML for a parser to take it.
testing::AssertionResult IsXml(const std::string& text) {
  std::vector<std::string> open;
  size_t roots = 0;
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at)) {
    size_t end = text.find('>', at);
    if (end == std::string::npos) return testing::AssertionFailure() << "unclosed tag";
    std::string tag = text.substr(at + 1, end - at - 1);
    at = end;
    if (tag.empty()) return testing::AssertionFailure() << "empty tag";
    if (tag[0] == '?') continue;
    std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" /", 1) - (tag[0] == '/'));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != name) return testing::AssertionFailure() << "stray end of " << name;
      open.pop_back();
      continue;
    }
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return testing::AssertionFailure() << "quotes in " << tag;
    if (open.empty()) ++roots;
    if (tag.back() != '/') open.push_back(name);
  }
  if (!open.empty()) return testing::AssertionFailure() << open.back() << " stays open";
  if (roots != 1) return testing::AssertionFailure() << roots << " roots";
  return testing::AssertionSuccess();
}

TEST(MallocInfo, WritesXml) {
  for (int round = 0; round < 10; ++round) {
    std::vector<Block> blocks;
    for (size_t i = 1; i < 2000; ++i) blocks.emplace_back(malloc(i * static_cast<size_t>(1 + round)));
    char* text = nullptr;
    size_t size = 0;
    FILE* stream = open_memstream(&text, &size);  // allocates while malloc_info writes
    ASSERT_EQ(malloc_info(0, stream), 0);
    fclose(stream);
    EXPECT_EQ(std::string(text).rfind("<malloc version=", 0), 0u) << text;
    EXPECT_TRUE(IsXml(text)) << text;
    free(text);
  }
}

TEST(MallocInfo, RefusesOptions) {
  for (int options : {1, -1, 42}) EXPECT_EQ(malloc_info(options, stderr), EINVAL);
}

TEST(MallocInfo, ToWhatCannotBeWrittenDoesNoHarm) {
  FILE* full = fopen("/dev/full", "w");
  setvbuf(full, nullptr, _IONBF, 0);
  malloc_info(0, full);
  fclose(full);
  FILE* read_only = fopen("/dev/null", "r");
  malloc_info(0, read_only);
  fclose(read_only);
  Block block(malloc(100));
  EXPECT_TRUE(block);
}

TEST(MallocInfo, WhileOthersAllocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&stop, seed] {
      Random random(seed);
      while (!stop) free(Hidden(malloc(random.Size(64 * kKiB))));
    });
  }
  for (int i = 0; i < 200; ++i) {
    char* text = nullptr;
    size_t size = 0;
    FILE* stream = open_memstream(&text, &size);
    EXPECT_EQ(malloc_info(0, stream), 0);
    fclose(stream);
    EXPECT_TRUE(IsXml(text));
    free(text);
    (void)mallinfo2();
    if (i % 20 == 0) malloc_trim(0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(MallocStats, WritesToStandardError) {
  Outcome outcome = InChild([] {
    free(malloc(100));
    malloc_stats();
    return 0;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_NE(outcome.output.find("in use bytes"), std::string::npos) << outcome;
}

// No cancellation point: the text is whole, and the thread ends at the next one.
TEST(MallocStats, IsWholeWithACancellationPending) {
  Outcome outcome = InChild([] {
    pthread_t thread;
    auto body = +[](void*) -> void* {
      pthread_cancel(pthread_self());
      malloc_stats();
      pthread_testcancel();
      return nullptr;
    };
    void* result = nullptr;
    if (pthread_create(&thread, nullptr, body, nullptr) != 0 || pthread_join(thread, &result) != 0) return 1;
    return result == PTHREAD_CANCELED ? 0 : 2;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_NE(outcome.output.find("max mmap bytes"), std::string::npos) << outcome;
}

TEST(MallocStats, WithStandardErrorClosedDoesNoHarm) {
  Outcome outcome = InChild([] {
    close(STDERR_FILENO);
    malloc_stats();
    Block block(malloc(100));
    return block ? 0 : 1;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(MallocTrim, GivesBackWhatIsFree) {
  std::vector<void*> blocks;
  size_t before = Resident();
  for (int i = 0; i < 100000; ++i) {
    blocks.push_back(malloc(1000));
    memset(blocks.back(), 1, 1000);
  }
  for (void* block : blocks) free(block);
  int trimmed = malloc_trim(0);
  EXPECT_TRUE(trimmed == 0 || trimmed == 1);
  EXPECT_LT(Resident(), before + 8 * kMiB);
}

TEST(MallocTrim, LeavesLiveBlocksAlone) {
  std::vector<void*> blocks;
  for (size_t i = 0; i < 20000; ++i) {
    blocks.push_back(malloc(700));
    Fill(blocks.back(), 700, i);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % 10 != 0) free(blocks[i]);
  }
  for (size_t pad : {size_t{0}, size_t{1}, kMiB, SIZE_MAX}) malloc_trim(pad);
  for (size_t i = 0; i < blocks.size(); i += 10) {
    ASSERT_TRUE(Holds(blocks[i], 700, i));
    free(blocks[i]);
  }
}

TEST(Mallopt, TakesEveryParameterOfTheManual) {
  EXPECT_EQ(mallopt(M_MXFAST, 0), 1);
  EXPECT_EQ(mallopt(M_MXFAST, 64), 1);
  EXPECT_EQ(mallopt(M_TRIM_THRESHOLD, 128 * 1024), 1);
  EXPECT_EQ(mallopt(M_TOP_PAD, 0), 1);
  EXPECT_EQ(mallopt(M_TOP_PAD, 1 << 20), 1);
  EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
  EXPECT_EQ(mallopt(M_MMAP_MAX, 0), 1);
  EXPECT_EQ(mallopt(M_MMAP_MAX, 65536), 1);
  EXPECT_EQ(mallopt(M_CHECK_ACTION, 3), 1);
  EXPECT_EQ(mallopt(M_ARENA_TEST, 2), 1);
  EXPECT_EQ(mallopt(M_ARENA_MAX, 1), 1);
  EXPECT_EQ(mallopt(M_PERTURB, 0), 1);
  EXPECT_EQ(Workout("small"), 0);
}

TEST(Mallopt, RefusesWhatTheManualRefuses) {
  EXPECT_EQ(mallopt(M_MXFAST, 100000), 0);
  EXPECT_EQ(mallopt(M_MXFAST, -1), 0);
}

TEST(Mallopt, LargeBlocksWorkWithAnyThreshold) {
  for (int threshold : {0, 1, 4096, 1 << 20, 32 << 20}) {
    EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, threshold), 1);
    for (size_t size = 1; size < 80 * kMiB; size *= 5) {
      Block block(malloc(size));
      ASSERT_TRUE(block);
      memset(block.get(), 1, size);
    }
  }
}

}  // namespace
}  // namespace outside
