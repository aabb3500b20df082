// malloc at every moment of a program's life: before main, in libraries loaded late, at the end of threads, after exit.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

// Blocks taken before main, at three moments: .preinit_array runs before every library's constructors.
void* before_constructors;
void* in_constructor;

void AllocateFirst() {
  before_constructors = malloc(1000);
  Fill(before_constructors, 1000, 1);
  free(malloc(kMiB));
}
__attribute__((section(".preinit_array"), used)) void (*const first)() = AllocateFirst;

__attribute__((constructor(101))) void AllocateInConstructor() {
  in_constructor = calloc(10, 100);
  for (size_t size = 1; size < kMiB; size *= 2) free(realloc(malloc(size), size * 3));
}

TEST(BeforeMain, BlocksAreGoodAndCanBeFreed) {
  ASSERT_NE(before_constructors, nullptr);
  EXPECT_TRUE(Holds(before_constructors, 1000, 1));
  before_constructors = realloc(before_constructors, 5000);
  EXPECT_TRUE(Holds(before_constructors, 1000, 1));
  free(before_constructors);
  EXPECT_TRUE(IsZero(in_constructor, 1000));
  free(in_constructor);
}

bool Uses(const char* file, int flags) {
  void* module = dlopen(Beside(file).c_str(), flags);
  if (module == nullptr) {
    ADD_FAILURE() << dlerror();
    return false;
  }
  auto use = reinterpret_cast<bool (*)()>(dlsym(module, "module_use"));
  bool good = use();
  std::thread([&] { good = use() && good; }).join();
  return dlclose(module) == 0 && good;
}

TEST(Dlopen, OfALibraryWithItsOwnThreadLocals) {
  for (int i = 0; i < Rounds(100); ++i) {
    ASSERT_TRUE(Uses("libmodule_dynamic.so", RTLD_NOW | (i % 2 ? RTLD_LOCAL : RTLD_GLOBAL)));
  }
}

TEST(Dlopen, OfALibraryThatNeedsStaticThreadLocals) {
  for (int i = 0; i < Rounds(100); ++i) ASSERT_TRUE(Uses("libmodule_static.so", RTLD_LAZY));
}

TEST(Dlopen, WhileThreadsAllocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&stop, seed] {
      Random random(seed);
      while (!stop) free(Hidden(malloc(random.Size(10000))));
    });
  }
  for (int i = 0; i < Rounds(100); ++i) ASSERT_TRUE(Uses("libmodule_dynamic.so", RTLD_NOW));
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(Dlopen, InManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) good += Uses("libmodule_dynamic.so", RTLD_NOW);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 160);
}

TEST(Dlopen, IntoANamespaceOfItsOwn) {
  void* module = dlmopen(LM_ID_NEWLM, Beside("libmodule_dynamic.so").c_str(), RTLD_NOW);
  ASSERT_NE(module, nullptr) << dlerror();
  auto use = reinterpret_cast<bool (*)()>(dlsym(module, "module_use"));
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(use());
    Block block(malloc(1000));
    EXPECT_TRUE(block);
  }
}

TEST(Dlopen, ThatFailsLeaksNothing) {
  size_t before = Resident();
  for (int i = 0; i < 2000; ++i) {
    EXPECT_EQ(dlopen("/nowhere/libnothing.so", RTLD_NOW), nullptr);
    EXPECT_NE(dlerror(), nullptr);
  }
  EXPECT_LT(Resident(), before + 2 * kMiB);
}

TEST(CProgram, CatchesBadAllocOfALibraryThatBringsTheRuntime) {
  for (const char* what : {"module_use", "module_catches", "module_handler"}) {
    Outcome outcome = InChild([&] {
      execl(Beside("c_host").c_str(), "c_host", Beside("libmodule_dynamic.so").c_str(), what, nullptr);
      return 99;
    });
    EXPECT_TRUE(outcome.Succeeded()) << what << " " << outcome;
  }
}

// Key destructors run in rounds, each after the thread's own storage may be gone.
pthread_key_t key;

void DestroyInRounds(void* value) {
  auto* rounds = static_cast<int*>(value);
  for (size_t size = 1; size < 200000; size *= 3) free(Hidden(realloc(malloc(size), size * 2)));
  if (--*rounds > 0) {
    auto* next = static_cast<int*>(malloc(sizeof(int)));
    *next = *rounds;
    pthread_setspecific(key, next);
  }
  free(rounds);
}

TEST(ThreadEnd, KeyDestructorsMayAllocateAndFree) {
  ASSERT_EQ(pthread_key_create(&key, DestroyInRounds), 0);
  for (int i = 0; i < Rounds(300); ++i) {
    std::thread([] {
      auto* rounds = static_cast<int*>(malloc(sizeof(int)));
      *rounds = PTHREAD_DESTRUCTOR_ITERATIONS;
      pthread_setspecific(key, rounds);
    }).join();
  }
}

struct Late {
  ~Late() {
    for (size_t size = 1; size < 200000; size *= 3) free(Hidden(calloc(1, size)));
    blocks.clear();
  }
  std::vector<std::vector<char>> blocks = std::vector<std::vector<char>>(50, std::vector<char>(500));
};
thread_local Late late;

TEST(ThreadEnd, ThreadLocalObjectsMayAllocateAndFree) {
  for (int i = 0; i < Rounds(300); ++i) {
    std::thread([] { late.blocks.emplace_back(10000); }).join();
  }
}

TEST(ThreadEnd, AFirstMallocInADestructorWorks) {
  pthread_key_t only;
  ASSERT_EQ(pthread_key_create(&only, [](void*) { free(Hidden(malloc(100))); }), 0);
  for (int i = 0; i < Rounds(300); ++i) {
    pthread_t thread;
    auto body = +[](void* which) -> void* {
      pthread_setspecific(*static_cast<pthread_key_t*>(which), which);
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, body, &only), 0);
    pthread_join(thread, nullptr);
  }
}

// What exit runs, newest first: handlers that allocate, and a static object that frees last.
struct Last {
  std::vector<void*> blocks;
  ~Last() {
    for (void* block : blocks) free(block);
    free(Hidden(malloc(100)));
  }
};

TEST(Exit, HandlersMayAllocateAndFree) {
  for (bool with_threads : {false, true}) {
    Outcome outcome = InChild([=]() -> int {
      static Last last;
      for (size_t size = 1; size < kMiB; size *= 2) last.blocks.push_back(malloc(size));
      for (int i = 0; i < 40; ++i) {
        atexit([] {
          last.blocks.push_back(malloc(5000));
          atexit([] { free(Hidden(malloc(10))); });
        });
      }
      on_exit([](int, void* block) { free(block); }, malloc(100));
      if (with_threads) {
        for (int i = 0; i < 4; ++i) {
          std::thread([] {
            for (;;) free(Hidden(malloc(100)));
          }).detach();
        }
      }
      exit(0);
    });
    EXPECT_TRUE(outcome.Succeeded()) << outcome;
  }
}

TEST(Exit, WhileThreadsAllocate) {
  for (int i = 0; i < Rounds(100); ++i) {
    Outcome outcome = InChild([]() -> int {
      for (uint64_t seed = 0; seed < 4; ++seed) {
        std::thread([seed] {
          Random random(seed);
          for (;;) free(Hidden(malloc(random.Size(100000))));
        }).detach();
      }
      usleep(1000);
      exit(0);
    });
    ASSERT_TRUE(outcome.Succeeded()) << outcome;
  }
}

TEST(Exit, OfTheMainThreadAloneLeavesOthersRunning) {
  Outcome outcome = Anew("without-main", [] { return true; });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// The process ends with its last thread, whatever threads malloc has made for itself.
TEST(Exit, OfTheLastThreadEndsTheProcess) {
  for (const char* which : {"end-main-last", "end-thread-last", "end-forked-thread"}) {
    Outcome outcome = Anew(
        which, [] { return true; }, 30);
    EXPECT_TRUE(outcome.Succeeded()) << which << " " << outcome;
  }
}

TEST(Exit, QuickExitRunsItsHandlers) {
  Outcome outcome = InChild([]() -> int {
    at_quick_exit([] { free(Hidden(malloc(1000))); });
    quick_exit(0);
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

}  // namespace
}  // namespace outside
