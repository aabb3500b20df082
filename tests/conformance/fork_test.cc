// fork and its relatives, in processes with many threads that allocate meanwhile.
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "outside.h"

extern char** environ;

namespace outside {
namespace {

// Threads that allocate, free and ask for statistics as long as the object lives.
class Busy {
 public:
  explicit Busy(int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, i] {
        Random random(static_cast<uint64_t>(i));
        std::vector<void*> held(300);
        while (!stop_) {
          size_t at = random.Below(held.size());
          free(held[at]);
          held[at] = malloc(random.Size(random.Below(50) == 0 ? 4 * kMiB : 4 * kKiB));
          if (i == 0 && random.Below(1000) == 0) malloc_trim(0);
          if (i == 1 && random.Below(200) == 0) (void)mallinfo2();
        }
        for (void* block : held) free(block);
      });
    }
  }
  ~Busy() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Waits for a child, some seconds at most; true if it ended with 0.
testing::AssertionResult EndsWell(pid_t child) {
  if (child < 0) return testing::AssertionFailure() << "no child: " << strerror(errno);
  int status = 0;
  for (int i = 0; i < 20000; ++i) {
    if (waitpid(child, &status, WNOHANG) == child) {
      if (status == 0) return testing::AssertionSuccess();
      return testing::AssertionFailure() << "status " << status;
    }
    usleep(1000);
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return testing::AssertionFailure() << "hung";
}

// What a child must be able to do: use the parent's blocks, allocate of all kinds, run threads, fork again.
int LiveInChild(const std::vector<void*>& inherited, bool deep) {
  for (size_t i = 0; i < inherited.size(); ++i) {
    if (!Holds(inherited[i], 100 + i * 50, i)) return 1;
    free(inherited[i]);
  }
  for (size_t size = 1; size < 8 * kMiB; size *= 3) {
    void* block = malloc(size);
    if (block == nullptr) return 2;
    memset(block, 1, size);
    block = realloc(block, size * 2);
    free(block);
  }
  if (deep) {
    int good = 0;
    std::thread([&good] { good = Workout("small") == 0; }).join();
    if (!good) return 3;
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(Workout("small"));
    if (!EndsWell(grandchild)) return 4;
  }
  return 0;
}

TEST(Fork, WhileOtherThreadsAllocate) {
  Busy busy(4);
  std::vector<void*> blocks;
  for (size_t i = 0; i < 100; ++i) Fill(blocks.emplace_back(malloc(100 + i * 50)), 100 + i * 50, i);
  for (int round = 0; round < Rounds(100); ++round) {
    pid_t child = fork();
    if (child == 0) _exit(LiveInChild(blocks, round % 10 == 0));
    ASSERT_TRUE(EndsWell(child)) << "round " << round;
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(Holds(blocks[i], 100 + i * 50, i));
    free(blocks[i]);
  }
}

TEST(Fork, FromManyThreadsAtOnce) {
  Busy busy(2);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  const int rounds = Rounds(100) / 4;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        pid_t child = fork();
        if (child == 0) _exit(LiveInChild({}, false));
        if (EndsWell(child)) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4 * rounds);
}

TEST(Fork, ChildrenThatExitRunTheirHandlers) {
  Busy busy(4);
  for (int round = 0; round < Rounds(100); ++round) {
    pid_t child = fork();
    if (child == 0) {
      atexit([] { free(Hidden(malloc(10000))); });
      std::thread([] { free(Hidden(malloc(100))); }).join();
      exit(0);
    }
    ASSERT_TRUE(EndsWell(child)) << "round " << round;
  }
}

TEST(Fork, InChildrenOfChildren) {
  Busy busy(2);
  std::function<int(int)> descend = [&](int depth) -> int {
    if (LiveInChild({}, false) != 0) return 1;
    if (depth == 0) return 0;
    pid_t child = fork();
    if (child == 0) _exit(descend(depth - 1));
    return EndsWell(child) ? 0 : 2;
  };
  for (int round = 0; round < Rounds(100) / 10; ++round) EXPECT_EQ(descend(6), 0);
}

TEST(Fork, AfterABurstThatLeftMuchToGiveBack) {
  for (int round = 0; round < Rounds(100) / 10; ++round) {
    std::vector<void*> blocks;
    for (int i = 0; i < 100000; ++i) memset(blocks.emplace_back(malloc(500)), 1, 500);
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (i % 50 != 0) free(blocks[i]);
    }
    pid_t child = fork();
    if (child == 0) {
      for (size_t i = 0; i < blocks.size(); i += 50) free(blocks[i]);
      size_t before = Resident();
      for (int i = 0; i < 100000; ++i) memset(blocks[static_cast<size_t>(i)] = malloc(500), 1, 500);
      for (void* block : blocks) free(block);
      // Whoever gives back in the child has had time to.
      const size_t most = before + 20 * kMiB;
      for (int i = 0; i < 300 && !OnGlibc() && Resident() >= most; ++i) usleep(50'000);
      _exit(OnGlibc() || Resident() < most ? 0 : 5);
    }
    for (size_t i = 0; i < blocks.size(); i += 50) free(blocks[i]);
    ASSERT_TRUE(EndsWell(child));
  }
}

// Threads that allocate while they hold a stream, and threads that flush all streams: fork takes the list of streams
// too, and whoever takes malloc's locks before it waits for ever.
TEST(Fork, WhileStreamsAllocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&stop, i] {
      while (!stop) {
        if (i % 3 == 0) {
          fflush(nullptr);
          continue;
        }
        std::string text(static_cast<size_t>(20000 + i * 5000), 'x');
        FILE* file = fmemopen(text.data(), text.size(), "r");
        char* line = nullptr;
        size_t size = 0;
        if (getline(&line, &size, file) < 0) abort();
        free(line);
        fclose(file);
      }
    });
  }
  for (int round = 0; round < Rounds(100); ++round) {
    pid_t child = fork();
    if (child == 0) {
      fflush(nullptr);
      _exit(LiveInChild({}, false));
    }
    ASSERT_TRUE(EndsWell(child)) << "round " << round;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// Handlers that allocate; one of them registered before any library's constructor ran.
std::atomic<int> handled{0};
bool handlers_on;
void Handle() {
  if (!handlers_on) return;
  for (size_t size = 1; size < kMiB; size *= 4) free(Hidden(realloc(malloc(size), size * 2)));
  ++handled;
}
void RegisterFirst() { pthread_atfork(Handle, Handle, Handle); }
__attribute__((section(".preinit_array"), used)) void (*const first)() = RegisterFirst;

TEST(Fork, HandlersMayAllocate) {
  handlers_on = true;
  pthread_atfork(Handle, Handle, Handle);
  Busy busy(4);
  for (int round = 0; round < Rounds(100); ++round) {
    int before = handled;
    pid_t child = fork();
    if (child == 0) _exit(handled == before + 4 ? LiveInChild({}, false) : 6);
    ASSERT_TRUE(EndsWell(child)) << "round " << round;
    ASSERT_EQ(handled, before + 4);
  }
}

TEST(Fork, HandlersMayForkThemselves) {
  static thread_local bool inside;
  static std::atomic<int> good{0};
  pthread_atfork(
      nullptr,
      [] {
        if (inside) return;
        inside = true;
        pid_t child = fork();
        if (child == 0) _exit(LiveInChild({}, false));
        if (EndsWell(child)) ++good;
        inside = false;
      },
      nullptr);
  Busy busy(2);
  for (int round = 0; round < 20; ++round) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    ASSERT_TRUE(EndsWell(child));
  }
  EXPECT_EQ(good, 20);
}

// Leaves something to give back, so that whoever does it in the background is at work.
void Burst() {
  std::vector<void*> blocks;
  for (int i = 0; i < 5000; ++i) memset(blocks.emplace_back(malloc(2000)), 1, 2000);
  for (void* block : blocks) free(block);
}

TEST(Fork, WithoutHandlersOfAProcessWithOneThread) {
  std::vector<void*> blocks;
  for (size_t i = 0; i < 100; ++i) Fill(blocks.emplace_back(malloc(100 + i * 50)), 100 + i * 50, i);
  for (int round = 0; round < Rounds(100); ++round) {
    Burst();
    pid_t child = _Fork();
    if (child == 0) _exit(LiveInChild(blocks, false));
    ASSERT_TRUE(EndsWell(child));
  }
}

TEST(Fork, ByTheSystemCallAlone) {
  for (int round = 0; round < Rounds(100); ++round) {
    Burst();
    pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (child == 0) _exit(LiveInChild({}, false));
    ASSERT_TRUE(EndsWell(child));
  }
}

TEST(Fork, DaemonsGoOn) {
  Outcome outcome = InChild([] {
    int ends[2];
    if (pipe(ends) != 0) return 1;
    pid_t starter = fork();
    if (starter == 0) {
      if (daemon(0, 0) != 0) _exit(1);
      char result = Workout("threads") == 0 ? 'y' : 'n';
      _exit(write(ends[1], &result, 1) == 1 ? 0 : 1);
    }
    close(ends[1]);
    char result = 0;
    return read(ends[0], &result, 1) == 1 && result == 'y' && EndsWell(starter) ? 0 : 2;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(Vfork, AndExecWhileOthersAllocate) {
  Busy busy(4);
  for (int round = 0; round < Rounds(100); ++round) {
    pid_t child = vfork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(99);
    }
    ASSERT_TRUE(EndsWell(child));
  }
}

// What a child by vfork may do on its parent's memory, and what some do before exec: allocate, and free what it finds.
__attribute__((noinline)) int ChildsWork(std::vector<unsigned char*>& blocks) {
  for (int turn = 0; turn < 20; ++turn) {
    for (unsigned char*& block : blocks) {
      if (block != nullptr && (block[0] != 77 || block[63] != 77)) return 1;
      free(block);
      block = static_cast<unsigned char*>(malloc(64));
      if (block == nullptr) return 2;
      memset(block, 77, 64);
    }
  }
  return 0;
}

// A function of its own, so that the child writes over no variable of a test.
__attribute__((noinline)) pid_t VforkForWork(std::vector<unsigned char*>& blocks, bool nested) {
  pid_t child = vfork();
  if (child != 0) return child;
  int status = 0;
  if (nested) {
    pid_t grandchild = VforkForWork(blocks, false);
    if (waitpid(grandchild, &status, 0) != grandchild || status != 0) _exit(9);
  }
  _exit(ChildsWork(blocks));
}

TEST(Vfork, ChildrenAllocateBesideThreads) {
  std::atomic<bool> stop{false}, damaged{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      std::vector<unsigned char*> blocks(64);
      while (!stop) {
        for (unsigned char*& block : blocks) {
          block = static_cast<unsigned char*>(malloc(64));
          memset(block, i, 64);
        }
        for (unsigned char* block : blocks) {
          if (block[0] != i || block[63] != i) damaged = true;
          free(block);
        }
      }
    });
  }
  std::vector<unsigned char*> blocks(64);
  for (int round = 0; round < Rounds(200) && !damaged; ++round) {
    ASSERT_TRUE(EndsWell(VforkForWork(blocks, false)));
    ASSERT_EQ(ChildsWork(blocks), 0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(damaged);
  for (unsigned char* block : blocks) free(block);
}

// The child of a child has left the cache of neither; both go on with what they had.
TEST(Vfork, WithinAVforkedChild) {
  Busy busy(4);
  std::vector<unsigned char*> blocks(64);
  for (int round = 0; round < Rounds(100); ++round) {
    ASSERT_TRUE(EndsWell(VforkForWork(blocks, true)));
    ASSERT_EQ(ChildsWork(blocks), 0);
  }
  for (unsigned char* block : blocks) free(block);
}

// What the child frees is the process's to give back: no thread of the child's own takes that over and ends with it.
TEST(Vfork, MemoryThatAChildFreesGoesBack) {
  Outcome outcome = InChild([] {
    std::vector<void*> blocks(20'000);
    for (void*& block : blocks) block = memset(malloc(4000), 1, 4000);
    pid_t child = vfork();
    if (child == 0) {
      for (void* block : blocks) free(block);
      _exit(0);
    }
    if (!EndsWell(child)) return 1;
    blocks.assign(1000, nullptr);
    for (int i = 0; i < 100 && Resident() > 40 * kMiB; ++i) {
      for (void*& block : blocks) block = malloc(4000);
      for (void* block : blocks) free(block);
      usleep(20'000);
    }
    return Resident() > 40 * kMiB && OnNeap() ? 2 : 0;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(Spawn, WhileOthersAllocate) {
  Busy busy(4);
  std::string workout = "--workout=small";
  for (int round = 0; round < Rounds(100) / 4; ++round) {
    std::string program = ProgramPath();
    char* arguments[] = {program.data(), workout.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ), 0);
    ASSERT_TRUE(EndsWell(child));
  }
}

TEST(Spawn, BySystemAndPopen) {
  Busy busy(4);
  for (int round = 0; round < Rounds(100) / 2; ++round) {
    ASSERT_EQ(system("exit 0"), 0);
    FILE* pipe = popen("echo hello", "r");
    char line[100] = {};
    ASSERT_NE(fgets(line, sizeof line, pipe), nullptr);
    EXPECT_STREQ(line, "hello\n");
    ASSERT_EQ(pclose(pipe), 0);
  }
}

TEST(Exec, InAThreadOfMany) {
  for (int round = 0; round < Rounds(100) / 10; ++round) {
    Outcome outcome = InChild([] {
      Busy busy(4);
      std::thread([] { execl(ProgramPath().c_str(), "again", "--workout=small", nullptr); }).join();
      return 99;
    });
    ASSERT_TRUE(outcome.Succeeded()) << outcome;
  }
}

}  // namespace
}  // namespace outside
