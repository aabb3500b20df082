// Signals: handlers that allocate where the program may, storms that interrupt malloc itself, tiny signal stacks.
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

std::atomic<int> handled{0};

void On(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}

void AllocateInHandler(int) {
  for (size_t size = 1; size < 2 * kMiB; size *= 2) free(Hidden(realloc(malloc(size), size + 1)));
  ++handled;
}

TEST(Handlers, MayAllocateWhereTheSignalWasRaised) {
  On(SIGUSR1, AllocateInHandler);
  for (int i = 0; i < 2000; ++i) {
    Block block(malloc(static_cast<size_t>(i)));
    raise(SIGUSR1);
  }
  EXPECT_EQ(handled, 2000);
}

TEST(Handlers, OnTheSmallestSignalStackMayAllocate) {
  size_t size = static_cast<size_t>(sysconf(_SC_MINSIGSTKSZ)) + 2 * kKiB;  // the kernel's frame and the handler's own
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t whole = (size + page - 1) / page * page;
  auto* memory =
      static_cast<char*>(mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(memory, page, PROT_NONE);
  stack_t stack = {};
  stack.ss_sp = memory + page;
  stack.ss_size = whole;
  ASSERT_EQ(sigaltstack(&stack, nullptr), 0);
  On(SIGUSR1, AllocateInHandler, SA_ONSTACK);
  for (int i = 0; i < 100; ++i) raise(SIGUSR1);
  EXPECT_EQ(handled, 100);
}

// A timer that interrupts malloc and free some thousand times a second; the handler itself touches no heap.
class Storm {
 public:
  explicit Storm(int which, int signal) : which_(which) {
    On(
        signal, [](int) { ++handled; }, SA_RESTART);
    itimerval often = {{0, 200}, {0, 200}};
    setitimer(which, &often, nullptr);
  }
  ~Storm() {
    itimerval never = {};
    setitimer(which_, &never, nullptr);
  }

 private:
  int which_;
};

TEST(Storms, LeaveTheHeapWhole) {
  Storm storm(ITIMER_REAL, SIGALRM);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Workout("threads"), 0);
  EXPECT_GT(handled, 10);
}

TEST(Storms, OfTheProfilerLeaveTheHeapWhole) {
  Storm storm(ITIMER_PROF, SIGPROF);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Workout("threads"), 0);
  EXPECT_GT(handled, 10);
}

TEST(Storms, OnEveryThreadLeaveTheHeapWhole) {
  On(
      SIGUSR1, [](int) { ++handled; }, SA_RESTART);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      std::vector<std::pair<void*, size_t>> held(100);
      while (!stop) {
        size_t i = random.Below(held.size());
        if (held[i].first != nullptr && !Holds(held[i].first, held[i].second, i)) ++wrong;
        free(held[i].first);
        held[i].second = random.Size(3000);
        Fill(held[i].first = malloc(held[i].second), held[i].second, i);
      }
      for (auto& each : held) free(each.first);
    });
  }
  for (int i = 0; i < 100000 || handled <= 100; ++i) {
    pthread_kill(threads[static_cast<size_t>(i) % 4].native_handle(), SIGUSR1);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(handled, 100);
}

// Jumps out of a handler that interrupted a computation, not malloc; the heap is used on both sides of the jump.
sigjmp_buf escape;

TEST(Handlers, MayJumpOutOfWhatTheyInterrupted) {
  On(SIGUSR1, [](int) { siglongjmp(escape, 1); });
  volatile int jumps = 0;
  for (int i = 0; i < 1000; ++i) {
    Block block(malloc(1000));
    if (sigsetjmp(escape, 1) == 0) {
      raise(SIGUSR1);
      FAIL();
    }
    jumps = jumps + 1;
  }
  EXPECT_EQ(jumps, 1000);
}

TEST(Handlers, MayJumpOutOfAFault) {
  On(SIGSEGV, [](int) { siglongjmp(escape, 1); });
  volatile int faults = 0;
  for (int i = 0; i < 1000; ++i) {
    Block block(malloc(1000));
    if (sigsetjmp(escape, 1) == 0) {
      *Hidden(static_cast<volatile int*>(nullptr)) = 1;
      FAIL();
    }
    faults = faults + 1;
  }
  EXPECT_EQ(faults, 1000);
  EXPECT_EQ(Workout("small"), 0);
}

// Frees enough that whoever gives back in the background has work.
void Burst() {
  std::vector<void*> blocks;
  for (int i = 0; i < 100000; ++i) memset(blocks.emplace_back(malloc(1000)), 1, 1000);
  for (void* block : blocks) free(block);
}

// A program that blocks a signal in all its threads takes it with sigwait: no thread that malloc started may take it.
TEST(Process, SignalsReachTheProgramsOwnThreads) {
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  Burst();
  usleep(200'000);
  for (int signal : {SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGCHLD, SIGRTMIN + 3}) {
    ASSERT_EQ(kill(getpid(), signal), 0);
    timespec soon = {5, 0};
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    EXPECT_EQ(sigtimedwait(&one, nullptr, &soon), signal);
  }
}

TEST(Process, HandlersRunInTheProgramsOwnThreads) {
  static pthread_t self;
  static std::atomic<int> elsewhere{0};
  self = pthread_self();
  On(SIGUSR1, [](int) {
    ++handled;
    if (!pthread_equal(self, pthread_self())) ++elsewhere;
  });
  Burst();
  for (int i = 0; i < 300; ++i) {
    kill(getpid(), SIGUSR1);
    usleep(1000);
  }
  EXPECT_GT(handled, 0);
  EXPECT_EQ(elsewhere, 0);
}

TEST(Process, ChildrenAreTheProgramsOwn) {
  Burst();
  usleep(200'000);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1);  // no child that the program did not make
  pid_t child = fork();
  if (child == 0) _exit(5);
  int status = 0;
  EXPECT_EQ(wait(&status), child);
}

}  // namespace
}  // namespace outside
