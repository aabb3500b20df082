// Threads: many at once, short-lived ones, blocks that cross from one to another, small stacks.
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

TEST(Threads, EachKeepsWhatItWrites) { EXPECT_EQ(Workout("threads"), 0); }

TEST(Threads, FreeEachOthersBlocks) {
  struct Item {
    void* block;
    size_t size;
    uint64_t seed;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Item> queue;
  std::atomic<int> wrong{0}, producing{4};
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      for (uint64_t i = 0; i < 20000; ++i) {
        Item item = {nullptr, random.Size(8 * kKiB), seed * 1000000 + i};
        item.block = random.Below(2) == 0 ? malloc(item.size) : memalign(64, item.size);
        Fill(item.block, item.size, item.seed);
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return queue.size() < 1000; });
        queue.push_back(item);
        changed.notify_all();
      }
      std::lock_guard lock(mutex);
      --producing;
      changed.notify_all();
    });
    threads.emplace_back([&] {
      for (;;) {
        Item item;
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return !queue.empty() || producing == 0; });
          if (queue.empty()) return;
          item = queue.front();
          queue.pop_front();
          changed.notify_all();
        }
        if (!Holds(item.block, item.size, item.seed)) ++wrong;
        if (item.seed % 3 == 0) item.block = realloc(item.block, item.size + 100);
        free(item.block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, ExitWhileOthersFreeTheirBlocks) {
  constexpr size_t kBlocks = 200;
  for (int round = 0; round < Rounds(100); ++round) {
    std::vector<std::atomic<void*>> blocks(kBlocks * 4);
    std::vector<std::thread> makers, freers;
    for (size_t maker = 0; maker < 4; ++maker) {
      makers.emplace_back([&, maker] {
        for (size_t i = 0; i < kBlocks; ++i) {
          void* block = malloc(1 + i * 20);
          Fill(block, 1 + i * 20, i);
          blocks[maker * kBlocks + i] = block;
        }
      });
      freers.emplace_back([&, maker] {
        for (size_t i = 0; i < kBlocks; ++i) {
          void* block;
          while ((block = blocks[maker * kBlocks + i]) == nullptr) std::this_thread::yield();
          if (!Holds(block, 1 + i * 20, i)) abort();
          free(block);
        }
      });
    }
    for (std::thread& thread : makers) thread.join();
    for (std::thread& thread : freers) thread.join();
  }
}

TEST(Threads, ComeAndGoByTheThousandAndLeaveNothing) {
  auto rounds = [](int count) {
    for (int i = 0; i < count; ++i) {
      std::thread([] {
        std::vector<std::vector<char>> blocks;
        for (size_t size = 1; size < 50000; size *= 2) blocks.emplace_back(size);
      }).join();
    }
  };
  rounds(200);
  size_t before = Resident();
  rounds(Rounds(100) * 20);
  EXPECT_LT(Resident(), before + 2 * kMiB);
}

TEST(Threads, AThousandAtOnce) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * kKiB);
  static pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, 1000);
  std::vector<pthread_t> threads(1000);
  for (size_t i = 0; i < threads.size(); ++i) {
    auto body = +[](void*) -> void* {
      void* block = malloc(300);
      pthread_barrier_wait(&barrier);
      free(block);
      return malloc(20);
    };
    ASSERT_EQ(pthread_create(&threads[i], &attributes, body, nullptr), 0);
  }
  for (pthread_t thread : threads) {
    void* block = nullptr;
    pthread_join(thread, &block);
    EXPECT_NE(block, nullptr);
    free(block);
  }
}

TEST(Threads, WithTheSmallestStackAllocate) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, static_cast<size_t>(PTHREAD_STACK_MIN)), 0);
  for (int i = 0; i < 50; ++i) {
    pthread_t thread;
    auto body = +[](void*) -> void* {
      for (size_t size = 1; size < 4 * kMiB; size *= 2) {
        void* block = malloc(size);
        void* aligned = memalign(4096, size);
        block = realloc(block, size * 3);
        free(aligned);
        free(block);
        free(calloc(1, size));
      }
      malloc_trim(0);
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, &attributes, body, nullptr), 0);
    pthread_join(thread, nullptr);
  }
}

TEST(Threads, MayBeCancelledBetweenCalls) {
  for (int i = 0; i < Rounds(100); ++i) {
    std::atomic<bool> started{false};
    pthread_t thread;
    auto body = +[](void* flag) -> void* {
      for (;;) {
        void* block = malloc(1000);
        pthread_cleanup_push(free, block);
        *static_cast<std::atomic<bool>*>(flag) = true;
        pthread_testcancel();
        pthread_cleanup_pop(1);
      }
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, body, &started), 0);
    while (!started) std::this_thread::yield();
    pthread_cancel(thread);
    pthread_join(thread, nullptr);
  }
  EXPECT_EQ(Workout("small"), 0);
}

// malloc and free are no cancellation points: a pending cancellation passes through them.
TEST(Threads, ArePassedByCancellationInsideMalloc) {
  pthread_t thread;
  auto body = +[](void*) -> void* {
    pthread_cancel(pthread_self());
    std::vector<void*> blocks;
    for (size_t size = 1; size < 64 * kMiB; size *= 2) {
      void* block = malloc(size);
      memset(block, 1, size);
      free(realloc(block, size * 2));
    }
    for (int i = 0; i < 20000; ++i) blocks.push_back(malloc(1000));
    for (void* block : blocks) free(block);
    malloc_trim(0);
    return malloc(1);
  };
  ASSERT_EQ(pthread_create(&thread, nullptr, body, nullptr), 0);
  void* block = nullptr;
  pthread_join(thread, &block);
  ASSERT_NE(block, PTHREAD_CANCELED);
  free(block);
}

TEST(Threads, OnStacksFromMallocWork) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  for (int i = 0; i < 100; ++i) {
    void* stack = memalign(4096, 256 * kKiB);
    ASSERT_EQ(pthread_attr_setstack(&attributes, stack, 256 * kKiB), 0);
    pthread_t thread;
    auto body = +[](void*) -> void* { return malloc(100); };
    ASSERT_EQ(pthread_create(&thread, &attributes, body, nullptr), 0);
    void* block = nullptr;
    pthread_join(thread, &block);
    free(block);
    free(stack);
  }
}

TEST(Threads, ThatMoveBetweenCpusKeepTheHeapWhole) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  int cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      std::vector<std::pair<void*, size_t>> held(100);
      for (int step = 0; step < 50000; ++step) {
        if (step % 20 == 0) {
          cpu_set_t set;
          CPU_ZERO(&set);
          CPU_SET(random.Below(static_cast<size_t>(cpus)), &set);
          sched_setaffinity(0, sizeof set, &set);
        }
        size_t i = random.Below(held.size());
        if (held[i].first != nullptr && !Holds(held[i].first, held[i].second, seed * 100 + i)) ++wrong;
        free(held[i].first);
        held[i].second = random.Size(2000);
        held[i].first = malloc(held[i].second);
        Fill(held[i].first, held[i].second, seed * 100 + i);
      }
      for (auto& each : held) free(each.first);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace outside
