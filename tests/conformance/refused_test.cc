// A system that refuses: limits on address space, threads, files and locked memory, filtered system calls.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

// Expects a workout that was started anew to end well, and without a word.
#define EXPECT_WELL(call)                                           \
  do {                                                              \
    Outcome outcome = call;                                         \
    if (!outcome.signaled && outcome.code == kMayNot) GTEST_SKIP(); \
    EXPECT_TRUE(outcome.Succeeded()) << outcome;                    \
    EXPECT_EQ(outcome.output, "");                                  \
  } while (false)

bool Limit(__rlimit_resource_t resource, size_t most) {
  rlimit limit = {most, most};
  return setrlimit(resource, &limit) == 0;
}

TEST(AddressSpace, Of200MiBIsEnoughToStartAndWork) {
  EXPECT_WELL(Anew("threads", [] { return Limit(RLIMIT_AS, 200 * kMiB); }));
}

TEST(AddressSpace, Of64MiBIsEnoughToStartAndWork) {
  EXPECT_WELL(Anew("small", [] { return Limit(RLIMIT_AS, 64 * kMiB); }));
}

TEST(AddressSpace, Of32MiBIsEnoughToStartAndWork) {
  EXPECT_WELL(Anew("small", [] { return Limit(RLIMIT_AS, 32 * kMiB); }));
}

TEST(AddressSpace, ThatRunsOutGivesEnomemAndServesAgain) {
  for (size_t most : {64 * kMiB, 200 * kMiB, kGiB}) {
    EXPECT_WELL(Anew("exhaust", [most] { return Limit(RLIMIT_AS, most); }));
  }
}

// With the address space used up by large blocks, each that is freed makes room for one of its size.
TEST(AddressSpace, AFreedLargeBlockMakesRoomForAnother) {
  ASSERT_TRUE(Limit(RLIMIT_AS, 300 * kMiB));
  for (size_t size : {300 * kKiB, kMiB, 5 * kMiB, 8 * kMiB, 30 * kMiB, 50 * kMiB + 5}) {
    for (bool touch : {false, true}) {
      std::vector<void*> blocks;
      blocks.reserve(2000);
      for (void* block; (block = Hidden(malloc(size))) != nullptr;) {
        if (touch) memset(block, 1, size);
        blocks.push_back(block);
      }
      ASSERT_GE(blocks.size(), 2u) << size;
      for (void*& block : blocks) {
        free(block);
        block = malloc(size);
        EXPECT_NE(block, nullptr) << size << " of " << blocks.size() << (touch ? " touched" : " untouched");
      }
      for (void* block : blocks) free(block);
    }
  }
}

// Threads grow blocks against the limit and against each other: a move that the kernel refuses half-way leaves no hole.
TEST(AddressSpace, ReallocUpToTheLimitKeepsContents) {
  ASSERT_TRUE(Limit(RLIMIT_AS, 400 * kMiB));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      auto mark = [seed](void* block, size_t size) {
        for (size_t at = 0; at + 8 <= size; at += 4096) Fill(static_cast<char*>(block) + at, 8, seed + at);
      };
      auto marked = [seed](void* block, size_t size) {
        for (size_t at = 0; at + 8 <= size; at += 4096) {
          if (!Holds(static_cast<char*>(block) + at, 8, seed + at)) return false;
        }
        return true;
      };
      for (int round = 0; round < 30; ++round) {
        size_t size = 100 * kKiB + random.Below(2 * kMiB);
        void* block = malloc(size);
        if (block == nullptr) continue;
        mark(block, size);
        for (;;) {
          size_t larger = size + size / 2 + random.Below(kMiB);
          errno = 0;
          void* moved = Hidden(realloc(block, larger));
          if (moved == nullptr) break;
          block = moved;
          if (!marked(block, size)) ++wrong;
          mark(block, larger);
          size = larger;
        }
        if (errno != ENOMEM || !marked(block, size)) ++wrong;
        free(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(AddressSpace, LoweredBelowWhatIsUsedLeavesTheRestWorking) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) Fill(blocks.emplace_back(malloc(10000)), 10000, 1);
  ASSERT_TRUE(Limit(RLIMIT_AS, kMiB));
  errno = 0;
  EXPECT_EQ(malloc(Hidden(512 * kMiB)), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  for (void*& block : blocks) {
    EXPECT_TRUE(Holds(block, 10000, 1));
    free(block);
    block = malloc(10000);  // what was freed serves again
    ASSERT_NE(block, nullptr);
    Fill(block, 10000, 1);
  }
  for (void* block : blocks) free(block);
}

TEST(AddressSpace, ThatIsUsedUpByOthersGivesEnomem) {
  ASSERT_TRUE(Limit(RLIMIT_AS, kGiB));
  for (size_t size = 64 * kMiB; size >= 4096; size /= 2) {
    while (mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) continue;
  }
  errno = 0;
  EXPECT_EQ(malloc(Hidden(64 * kMiB)), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  void* last = nullptr;
  for (void** block; (block = static_cast<void**>(Hidden(malloc(100)))) != nullptr; last = block) *block = last;
  while (last != nullptr) {
    void* next = *static_cast<void**>(last);
    free(last);
    last = next;
  }
  Block block(malloc(100));
  EXPECT_TRUE(block);
}

TEST(DataSegment, ThatRunsOutGivesEnomemAndServesAgain) {
  EXPECT_WELL(Anew("exhaust", [] { return Limit(RLIMIT_DATA, 100 * kMiB); }));
}

TEST(Threads, ThatCannotBeStartedAreNotMissed) {
  EXPECT_WELL(Anew("large", [] {
    return setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 && Limit(RLIMIT_NPROC, 1);
  }));
}

TEST(Stack, OfAnySizeDoes) {
  EXPECT_WELL(Anew("threads", [] { return Limit(RLIMIT_STACK, 128 * kKiB); }));
  EXPECT_WELL(Anew("threads", [] { return Limit(RLIMIT_STACK, RLIM_INFINITY); }));
}

TEST(Personality, WithoutRandomAddresses) {
  EXPECT_WELL(Anew("threads", [] { return personality(ADDR_NO_RANDOMIZE) != -1; }));
  EXPECT_WELL(Anew("threads", [] { return personality(ADDR_COMPAT_LAYOUT | ADDR_NO_RANDOMIZE) != -1; }));
}

TEST(LockedMemory, HoldsWhatIsUsed) {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) GTEST_SKIP() << strerror(errno);
  size_t before = Resident();
  for (int i = 0; i < 100; ++i) free(Hidden(malloc(static_cast<size_t>(i) * 100)));
  EXPECT_LT(Resident(), before + 64 * kMiB);
  EXPECT_EQ(Workout("threads"), 0);
}

TEST(LockedMemory, OnFaultAndCurrentOnly) {
  for (int flags : {static_cast<int>(MCL_CURRENT), MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT}) {
    if (mlockall(flags) != 0) GTEST_SKIP() << strerror(errno);
    EXPECT_EQ(Workout("threads"), 0);
    munlockall();
  }
}

TEST(LockedMemory, ThatIsLimitedGivesEnomem) {
  EXPECT_WELL(InChild([] {
    Limit(RLIMIT_MEMLOCK, 8 * kMiB);
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return kMayNot;
    if (mlockall(MCL_FUTURE) != 0) return kMayNot;
    for (size_t size : {size_t{16}, size_t{1000}, 100 * kKiB}) {
      void** last = nullptr;
      errno = 0;
      for (void** block; (block = static_cast<void**>(Hidden(malloc(size)))) != nullptr; last = block) *block = last;
      if (errno != ENOMEM) return 1;
      while (last != nullptr) free(std::exchange(last, static_cast<void**>(*last)));
    }
    return Block(malloc(100)) ? 0 : 2;
  }));
}

TEST(Mappings, ThatRunOutGiveEnomemOrGoOn) {
  // Every second page of another kind: no two of them are one mapping.
  constexpr size_t kPages = 140'000;
  std::vector<void*> blocks;
  for (size_t i = 0; i < 2000; ++i) Fill(blocks.emplace_back(malloc(100 + i * 20)), 100 + i * 20, i);
  auto* pages =
      static_cast<char*>(mmap(nullptr, kPages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  size_t split = 0;
  while (split < kPages && mprotect(pages + split * 4096, 4096, PROT_READ) == 0) split += 2;
  if (split >= kPages) GTEST_SKIP() << "vm.max_map_count is above " << kPages;
  for (size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_TRUE(Holds(blocks[i], 100 + i * 20, i));
    errno = 1234;
    free(blocks[i]);
    ASSERT_EQ(errno, 1234);
  }
  size_t had = 0;
  for (size_t size : {size_t{16}, size_t{1000}, 40 * kKiB, 300 * kKiB, 8 * kMiB, 128 * kMiB}) {
    for (int i = 0; i < 50; ++i) {
      errno = 0;
      Block block(malloc(size)), zeroed(calloc(1, size)), aligned(memalign(64 * kKiB, size));
      had += (block ? 1u : 0u) + (zeroed ? 1u : 0u) + (aligned ? 1u : 0u);
      if (!block || !zeroed || !aligned) {
        ASSERT_EQ(errno, ENOMEM);
      }
      if (block && size < kMiB) Fill(block.get(), size, 1);
      block.reset(realloc(block.release(), size * 2));
    }
  }
  EXPECT_GT(had, 0u);
  munmap(pages, kPages * 4096);
  EXPECT_EQ(Workout("threads"), 0);
}

// free of a block whose neighbours are the program's own mappings, with no mapping to spare (glibc's tst-free-errno).
TEST(Mappings, ThatRunOutLeaveErrnoToFree) {
  std::vector<void*> large;
  for (int i = 0; i < 8; ++i) large.push_back(malloc(8 * kMiB));
  constexpr size_t kPages = 140'000;
  auto* pages =
      static_cast<char*>(mmap(nullptr, kPages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  for (size_t i = 0; i < kPages && mprotect(pages + i * 4096, 4096, PROT_READ) == 0; i += 2) continue;
  for (void* block : large) {
    errno = 1234;
    free(block);
    EXPECT_EQ(errno, 1234);
  }
}

// Installs a filter that gives `error` for the calls named, or kills for all calls but those named.
bool Refuse(const std::vector<int>& calls, int error) {
  std::vector<sock_filter> program;
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (int call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

const std::vector<int> kMemoryAdvice = {SYS_madvise,    SYS_membarrier,      SYS_rseq,         SYS_mbind, SYS_getcpu,
                                        SYS_move_pages, SYS_process_madvise, SYS_set_mempolicy};

TEST(Filter, OfMemoryAdviceFromTheStart) {
  for (int error : {EPERM, ENOSYS, EINVAL}) {
    EXPECT_WELL(Anew("threads", [error] { return Refuse(kMemoryAdvice, error); }));
  }
}

TEST(Filter, OfMemoryAdviceInTheMiddle) {
  EXPECT_EQ(Workout("threads"), 0);
  std::vector<int> calls = kMemoryAdvice;
  std::erase(calls, SYS_rseq);  // without it glibc itself aborts a new thread
  ASSERT_TRUE(Refuse(calls, EPERM));
  EXPECT_EQ(Workout("threads"), 0);
  for (int round = 0; round < 5; ++round) {
    void* block = malloc(64 * kMiB);
    memset(block, 0xff, 64 * kMiB);
    free(block);
    Block zeroed(calloc(1, 64 * kMiB));
    EXPECT_TRUE(IsZero(zeroed.get(), 64 * kMiB));
  }
  malloc_trim(0);
}

TEST(Filter, OfMremapAndMprotect) {
  EXPECT_WELL(Anew("threads", [] { return Refuse({SYS_mremap}, ENOSYS); }));
  EXPECT_EQ(Workout("threads"), 0);
  ASSERT_TRUE(Refuse({SYS_mremap, SYS_mprotect, SYS_munmap}, EPERM));
  EXPECT_EQ(Workout("large"), 0);
}

TEST(Filter, OfNewThreadsLeavesTheProcessWorking) {
  EXPECT_WELL(Anew("large", [] { return Refuse({SYS_clone, SYS_clone3}, EPERM); }));
}

TEST(Filter, OfFilesAndClocks) {
  EXPECT_WELL(Anew("nothing", [] { return true; }));
  ASSERT_TRUE(
      Refuse({SYS_open, SYS_openat, SYS_read, SYS_pread64, SYS_write, SYS_eventfd2, SYS_epoll_create1, SYS_poll,
              SYS_ppoll, SYS_epoll_wait, SYS_memfd_create, SYS_sched_getaffinity, SYS_prctl, SYS_clock_nanosleep},
             EPERM));
  int wrong = Workout("threads");
  _exit(wrong);
}

TEST(Filter, OfMmapGivesEnomemAndServesWhatIsFree) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(malloc(1000));
  ASSERT_TRUE(Refuse({SYS_mmap, SYS_mremap}, ENOMEM));
  errno = 0;
  EXPECT_EQ(malloc(Hidden(size_t{1} << 47)), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  for (void*& block : blocks) {
    free(block);
    ASSERT_NE(block = malloc(1000), nullptr);
  }
}

// Strict mode allows read, write, exit and sigreturn alone: what is warm must need no system call.
TEST(Filter, InStrictModeAWarmHeapServesSmallBlocks) {
  Outcome outcome = InChild([]() -> int {
    for (int i = 0; i < 1000; ++i) free(Hidden(malloc(100)));
    void* blocks[50];
    for (void*& block : blocks) block = malloc(200);
    for (void* block : blocks) free(block);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return kMayNot;
    for (int i = 0; i < 100000; ++i) free(Hidden(malloc(100)));
    for (void*& block : blocks) block = malloc(200);
    for (void* block : blocks) free(block);
    syscall(SYS_exit, 0);
    return 1;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// A user namespace, and joining one, is only for processes with one thread: a small process must have no other.
TEST(Namespaces, AreOpenToASmallProcess) {
  Outcome outcome = InChild([] {
    for (int i = 0; i < 1000; ++i) free(Hidden(malloc(1000)));
    if (unshare(CLONE_NEWUSER) != 0) return errno == EPERM || errno == ENOSPC ? kMayNot : 1;
    return Workout("small");
  });
  if (outcome.code == kMayNot) GTEST_SKIP() << "no user namespaces here";
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(Sbrk, IsTheProgramsOwn) {
  auto* own = static_cast<char*>(sbrk(1 << 20));
  ASSERT_NE(own, reinterpret_cast<char*>(-1));
  Fill(own, kMiB, 3);
  EXPECT_EQ(Workout("threads"), 0);
  EXPECT_TRUE(Holds(own, kMiB, 3));
  if (sbrk(0) == own + kMiB) {
    EXPECT_NE(sbrk(-(1 << 20)), reinterpret_cast<void*>(-1));
  }
  EXPECT_EQ(Workout("small"), 0);
}

}  // namespace
}  // namespace outside
