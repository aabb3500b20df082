// task_pages_test.cc: the page table, its addresses, and which consumer spills when.
#include "engine/memory/task_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

using enum MemoryMode;
constexpr uint64_t kMiB = 1 << 20;

// Keeps pages, and frees as many as asked, or all of them.
class Keeper : public Consumer {
 public:
  Keeper(TaskPages& table, std::string name, std::vector<std::string>* spilled = nullptr)
      : Consumer(table, std::move(name)), table_(table), spilled_(spilled) {}
  ~Keeper() override { FreePages(UINT64_MAX); }

  bool Add(uint64_t bytes) {
    const auto page = table_.Allocate(bytes, *this);
    if (page) pages.push_back(*page);
    return page && page->size == bytes;
  }
  uint64_t Spill(uint64_t bytes, Consumer& trigger) override {
    if (spilled_ != nullptr) spilled_->push_back(name());
    if (&trigger == this && !spills_itself) return 0;
    return FreePages(bytes);
  }
  uint64_t FreePages(uint64_t bytes) {
    uint64_t freed = 0;
    while (freed < bytes && !pages.empty()) {
      freed += pages.back().size;
      table_.Free(pages.back(), *this);
      pages.pop_back();
    }
    return freed;
  }

  std::vector<Page> pages;
  bool spills_itself = false;

 private:
  TaskPages& table_;
  std::vector<std::string>* spilled_;
};

struct TaskPagesTest : testing::Test {
  Memory heap{nullptr, "heap", 100 * kMiB};
  MemoryManager manager{heap, nullptr, {}};
  Task task{manager, "task"};
  TaskPages pages{manager, task, kOnHeap};
  std::vector<std::string> spilled;
  using Names = std::vector<std::string>;
};

TEST_F(TaskPagesTest, AddressesAreThirteenBitsOfPageAndFiftyOneOfOffset) {
  const Page page{reinterpret_cast<uint8_t*>(0x1000), 1 << 20, 8191};
  const uint64_t encoded = TaskPages::Encode(page, page.data + 77);
  EXPECT_EQ(encoded, 0xfff800000000004dULL);
  EXPECT_EQ(TaskPages::PageNumber(encoded), 8191u);
  EXPECT_EQ(TaskPages::Offset(encoded), 77u);
}

TEST_F(TaskPagesTest, AnAddressLeadsBackToItsByte) {
  Keeper keeper(pages, "keeper");
  std::mt19937_64 random(3);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(keeper.Add(4096 * (1 + random() % 100)));
  for (const Page& page : keeper.pages) {
    for (const uint64_t offset : {uint64_t{0}, random() % page.size, page.size - 1}) {
      EXPECT_EQ(pages.Decode(TaskPages::Encode(page, page.data + offset)), page.data + offset);
    }
  }
}

TEST_F(TaskPagesTest, TheLowestFreeNumberIsTakenAgain) {
  Keeper keeper(pages, "keeper");
  for (int i = 0; i < 130; ++i) ASSERT_TRUE(keeper.Add(4096));
  for (uint32_t i = 0; i < 130; ++i) EXPECT_EQ(keeper.pages[i].number, i);
  pages.Free(keeper.pages[64], keeper);
  keeper.pages.erase(keeper.pages.begin() + 64);
  ASSERT_TRUE(keeper.Add(4096));
  EXPECT_EQ(keeper.pages.back().number, 64u);
}

TEST_F(TaskPagesTest, ThePageTableHasEightThousandOneHundredNinetyTwoEntries) {
  Keeper keeper(pages, "keeper");
  for (int i = 0; i < 8192; ++i) ASSERT_TRUE(keeper.Add(64));
  EXPECT_THROW(keeper.Add(64), Error);
  EXPECT_EQ(keeper.used(), 8192u * 64) << "nothing is left granted for the page that had no number";
  EXPECT_EQ(task.granted(kOnHeap), 8192u * 64);
}

TEST_F(TaskPagesTest, APageBeyondTheLargestIsRefused) {
  Keeper keeper(pages, "keeper");
  EXPECT_THROW(keeper.Add(TaskPages::kMaxPageBytes + 1), Error);
}

TEST_F(TaskPagesTest, APageIsShorterWhereLessIsGrantedAndNoneWhereNothingIs) {
  Keeper keeper(pages, "keeper");
  ASSERT_TRUE(keeper.Add(70 * kMiB));
  EXPECT_FALSE(keeper.Add(50 * kMiB));
  EXPECT_EQ(keeper.pages.back().size, 30 * kMiB);
  EXPECT_FALSE(pages.Allocate(kMiB, keeper).has_value());
}

TEST_F(TaskPagesTest, NobodySpillsWhileThereIsRoom) {
  Keeper a(pages, "a", &spilled), b(pages, "b", &spilled);
  EXPECT_TRUE(a.Add(50 * kMiB));
  EXPECT_TRUE(b.Add(50 * kMiB));
  EXPECT_EQ(spilled, Names{});
}

TEST_F(TaskPagesTest, TheSmallestThatAloneHoldsWhatIsMissingSpillsFirst) {
  Keeper a(pages, "a", &spilled), b(pages, "b", &spilled), c(pages, "c", &spilled), asks(pages, "asks", &spilled);
  ASSERT_TRUE(a.Add(50 * kMiB));
  ASSERT_TRUE(b.Add(30 * kMiB));
  ASSERT_TRUE(c.Add(20 * kMiB));
  EXPECT_TRUE(asks.Add(30 * kMiB));
  EXPECT_EQ(spilled, Names{"b"}) << "exactly what is missing is enough";
}

TEST_F(TaskPagesTest, WhereNoneAloneHoldsItTheLargestSpillsFirstUntilItIsThere) {
  Keeper a(pages, "a", &spilled), b(pages, "b", &spilled), c(pages, "c", &spilled), asks(pages, "asks", &spilled);
  ASSERT_TRUE(a.Add(40 * kMiB));
  ASSERT_TRUE(b.Add(35 * kMiB));
  ASSERT_TRUE(c.Add(25 * kMiB));
  EXPECT_TRUE(asks.Add(60 * kMiB));
  EXPECT_EQ(spilled, (Names{"a", "c"})) << "of the 20 MiB still missing c is the smallest that holds them";
}

TEST_F(TaskPagesTest, WhoAsksSpillsLast) {
  Keeper other(pages, "other", &spilled), asks(pages, "asks", &spilled);
  asks.spills_itself = true;
  ASSERT_TRUE(other.Add(20 * kMiB));
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(asks.Add(10 * kMiB));
  EXPECT_TRUE(asks.Add(30 * kMiB));
  EXPECT_EQ(spilled, (Names{"other", "asks"}));
  EXPECT_EQ(other.used(), 0u);
  EXPECT_EQ(asks.used(), 100 * kMiB);
}

TEST_F(TaskPagesTest, WhoCannotSpillIsAskedOnceAndPassedBy) {
  struct Stubborn : Keeper {
    using Keeper::Keeper;
    uint64_t Spill(uint64_t, Consumer&) override {
      ++asked;
      return 0;
    }
    int asked = 0;
  };
  Stubborn stubborn(pages, "stubborn");
  Keeper other(pages, "other", &spilled), asks(pages, "asks", &spilled);
  ASSERT_TRUE(stubborn.Add(60 * kMiB));
  ASSERT_TRUE(other.Add(40 * kMiB));
  EXPECT_FALSE(asks.Add(50 * kMiB));
  EXPECT_EQ(asks.used(), 40 * kMiB);
  EXPECT_EQ(stubborn.asked, 1);
  EXPECT_EQ(spilled, Names{"other"});
}

TEST_F(TaskPagesTest, MemoryWithoutAPageCountsForItsConsumer) {
  Keeper keeper(pages, "keeper");
  EXPECT_EQ(pages.Acquire(10 * kMiB, keeper), 10 * kMiB);
  EXPECT_EQ(keeper.used(), 10 * kMiB);
  EXPECT_EQ(pages.used(), 10 * kMiB);
  pages.Release(10 * kMiB, keeper);
  EXPECT_EQ(keeper.used(), 0u);
  EXPECT_EQ(task.granted(kOnHeap), 0u);
}

TEST_F(TaskPagesTest, WhatAConsumerForgotIsFreedAtTheEnd) {
  Keeper keeper(pages, "keeper");
  ASSERT_TRUE(keeper.Add(10 * kMiB));
  ASSERT_TRUE(keeper.Add(5 * kMiB));
  ASSERT_EQ(pages.Acquire(kMiB, keeper), kMiB);
  keeper.pages.clear();
  EXPECT_EQ(pages.FreeAll(), 16 * kMiB);
  EXPECT_EQ(keeper.used(), 0u);
  task.memory(kOnHeap).Purge();
  EXPECT_EQ(heap.Charged(), 0u);
}

TEST_F(TaskPagesTest, TasksOnThreadsSpillTheirOwnConsumersAloneAndAllFinish) {
  constexpr int kThreads = 6;
  std::vector<std::thread> threads;
  std::atomic<int> spills{0}, wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      Task mine(manager, "thread");
      TaskPages own(manager, mine, kOnHeap);
      std::vector<std::string> names;
      {
        Keeper a(own, "a", &names), b(own, "b", &names);
        a.spills_itself = b.spills_itself = true;
        for (int step = 0; step < 400; ++step) {
          Keeper& keeper = random() % 2 == 0 ? a : b;
          const uint64_t bytes = 4096 * (1 + random() % 1000);
          keeper.Add(bytes);
          for (const Keeper* each : {&a, &b}) {
            for (const Page& page : each->pages) {
              if (own.Decode(TaskPages::Encode(page, page.data + 5)) != page.data + 5) ++wrong;
              page.data[page.size - 1] = 1;
            }
          }
          if (random() % 4 == 0) keeper.FreePages(bytes);
        }
      }
      spills += static_cast<int>(names.size());
      if (mine.granted(kOnHeap) != 0) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(spills, 100);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(manager.figures(kOnHeap).execution_used, 0u);
}

}  // namespace
}  // namespace neap::engine
