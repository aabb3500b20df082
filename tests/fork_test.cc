// fork_test.cc: fork in a process with several threads, on the real system: the child's heap is whole whatever the
// other threads were doing, and neither side waits for ever. Runs in both modes of the caches (tests/CMakeLists.txt).
#include "alloc/fork.h"

#include <gtest/gtest.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "alloc/release.h"

namespace neap {
namespace {

// Runs it in a child; 0 if it returned true. A child that hangs is ended by its alarm.
int InChild(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

// Every class and some large ones, with contents checked; true if all is well and comes home.
bool HeapWorks(unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  for (int i = 0; i < 400; ++i) {
    const size_t size = random() % (i % 50 == 0 ? 300'000 : 4000) + 1;
    auto* block = static_cast<unsigned char*>(Allocate(size));
    if (block == nullptr) return false;
    memset(block, static_cast<int>(size), size);
    blocks.emplace_back(block, size);
  }
  for (auto [block, size] : blocks) {
    if (block[0] != static_cast<unsigned char>(size) || block[size - 1] != static_cast<unsigned char>(size))
      return false;
    Free(block);
  }
  return true;
}

class Fork : public ::testing::Test {
 protected:
  // Under a preloaded malloc the heap has started, and has its fork handlers, before there is a second thread.
  void SetUp() override { Free(Allocate(1)); }
};

class Threads {
 public:
  // Returns when all have run: a thread that starts allocates from the address sanitizer, whose lock a child would
  // inherit.
  template <class F>
  Threads(int count, F body) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, body, i] {
        body(i);
        ++running_;
        while (!stop_) body(i);
      });
    }
    while (running_ < count) std::this_thread::yield();
  }
  ~Threads() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> running_{0};
  std::vector<std::thread> threads_;
};

TEST_F(Fork, TheChildOfOneThreadWorks) {
  void* before = Allocate(100);
  strcpy(static_cast<char*>(before), "inherited");
  EXPECT_EQ(InChild([&] {
              if (strcmp(static_cast<char*>(before), "inherited") != 0) return false;
              Free(before);
              return HeapWorks(1);
            }),
            0);
  EXPECT_STREQ(static_cast<char*>(before), "inherited");
  Free(before);
}

TEST_F(Fork, TheChildsHeapIsWholeWhileOthersAllocate) {
  Threads others(3, [](int i) {
    thread_local std::minstd_rand random(static_cast<unsigned>(i) + 1);
    void* blocks[50];
    for (void*& block : blocks) block = Allocate(random() % (random() % 30 == 0 ? 100'000 : 3000) + 1);
    for (void* block : blocks) Free(block);
  });
  for (unsigned round = 0; round < 60; ++round) {
    const int status = InChild([&] {
      // What the other threads had is lost to the child; all else comes home.
      if (!HeapWorks(round)) return false;
      Trim();
      const Ledger ledger = ReadLedger();
      return ledger.dirty == 0 && ledger.live < (4u << 20) && ledger.cached < (8u << 20);
    });
    ASSERT_EQ(status, 0) << "round " << round;
    ASSERT_TRUE(HeapWorks(round));
  }
}

TEST_F(Fork, ArenasComeAndGoMeanwhile) {
  Threads others(2, [](int) {
    neap_arena* arena = neap_arena_create(nullptr, "short", NEAP_UNBOUNDED);
    neap_arena* child = neap_arena_create(arena, "shorter", NEAP_UNBOUNDED);
    for (size_t size = 16; size < 200'000; size *= 3) neap_arena_malloc(child, size, 0);
    neap_arena_destroy(arena);
  });
  for (int round = 0; round < 60; ++round) {
    const int status = InChild([&] {
      neap_arena* arena = neap_arena_create(nullptr, "of the child", NEAP_UNBOUNDED);
      void* block = neap_arena_malloc(arena, 1000, 0);
      Free(block);
      return neap_arena_destroy(arena) == 0 && HeapWorks(1);
    });
    ASSERT_EQ(status, 0) << "round " << round;
  }
}

// A thread that reads the ledger for the first time takes a lock of RCU's while it holds the tick's.
TEST_F(Fork, BesideThreadsThatTickForTheFirstTime) {
  Threads others(2, [](int) { std::thread([] { Releaser::Tick(); }).join(); });
  for (int round = 0; round < 100; ++round) {
    ASSERT_EQ(InChild([] {
                Releaser::Tick();
                return HeapWorks(1);
              }),
              0)
        << "round " << round;
  }
}

TEST_F(Fork, BesideADrainerAndAReleaser) {
  Threads drainer(1, [](int) { Trim(); });
  Threads worker(1, [](int) {
    void* blocks[100];
    for (size_t i = 0; i < 100; ++i) blocks[i] = Allocate(i * 50 + 1);
    for (void* block : blocks) Free(block);
  });
  for (int round = 0; round < 60; ++round) {
    ASSERT_EQ(InChild([] {
                Trim();
                return HeapWorks(1);
              }),
              0)
        << "round " << round;
  }
}

TEST_F(Fork, AChildForksToo) {
  Threads others(2, [](int) { Free(Allocate(500)); });
  // What runs in the child beside the second fork allocates from neap alone: the address sanitizer's locks are
  // inherited.
  EXPECT_EQ(InChild([] {
              const bool works = HeapWorks(2);
              Threads more(1, [](int) { Free(Allocate(500)); });
              std::atomic<bool> ok{false};
              std::thread grandchild([&] { ok = InChild([] { return HeapWorks(3); }) == 0; });
              grandchild.join();
              return works && ok;
            }),
            0);
}

TEST_F(Fork, AScopeGoesOnInTheChild) {
  neap_arena* arena = neap_arena_create(nullptr, "scoped", NEAP_UNBOUNDED);
  ASSERT_EQ(neap_scope_push(arena), 0);
  EXPECT_EQ(InChild([&] {
              neap_arena_stats_t before, after;
              neap_arena_stats(arena, &before);
              Allocate(100'000);
              neap_arena_stats(arena, &after);
              return after.live - before.live >= 100'000;
            }),
            0);
  neap_scope_pop();
}

// Handlers of the program's own run while every lock is held.
TEST_F(Fork, HandlersMayAllocate) {
  static void* from_prepare = nullptr;
  pthread_atfork([] { from_prepare = Allocate(5000); }, [] { Free(from_prepare); },
                 [] {
                   Free(from_prepare);
                   Free(Allocate(70'000));
                 });
  Threads others(2, [](int) { Free(Allocate(500)); });
  for (int round = 0; round < 50; ++round) ASSERT_EQ(InChild([] { return HeapWorks(1); }), 0);
}

TEST_F(Fork, TheReleaseThreadIsStartedAnew) {
  void* large[16];
  for (void*& block : large) memset(block = Allocate(200'000), 1, 200'000);
  for (void* block : large) Free(block);
  usleep(50'000);
  EXPECT_EQ(InChild([] {
              void* blocks[300];
              for (void*& block : blocks) memset(block = Allocate(60'000), 1, 60'000);
              for (void* block : blocks) Free(block);
              for (int wait = 0; wait < 1000; ++wait) {
                if (ReadLedger().dirty < (1u << 20)) return true;
                usleep(10'000);
                Free(Allocate(60000));
              }
              return false;
            }),
            0);
}

}  // namespace
}  // namespace neap
