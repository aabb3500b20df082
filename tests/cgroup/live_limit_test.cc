// live_limit_test.cc: the reader and the watcher of the limit on the kernel's own files, v1 or v2. Each case runs in a
// child process that has entered a group with a limit.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "alloc/limit.h"
#include "tests/cgroup/control_group.h"

namespace neap::test {
namespace {

using std::chrono::milliseconds;

class LiveLimit : public testing::Test {
 protected:
  void SetUp() override {
    if (auto reason = ControlGroup::WhyNot()) GTEST_SKIP() << *reason;
    group_ = std::make_unique<ControlGroup>();
    ASSERT_EQ(group_->SetLimit(100 * kMiB), 0);
  }

  // Runs the body in a child inside the group.
  template <class Body>
  void Inside(const ControlGroup& group, Body body) {
    pid_t child = fork();
    if (child == 0) {
      group.Enter(getpid());
      body();
      fflush(nullptr);
      _exit(HasFailure() ? 1 : 0);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }

  std::unique_ptr<ControlGroup> group_;
};

// Resident anonymous pages until the end of the scope.
class Pages {
 public:
  explicit Pages(size_t mib) : bytes_(mib * kMiB) {
    address_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(address_, bytes_, MADV_NOHUGEPAGE);
    memset(address_, 1, bytes_);
  }
  ~Pages() { munmap(address_, bytes_); }
  void Advise(int advice) { EXPECT_EQ(madvise(address_, bytes_, advice), 0); }
  void Lock() { EXPECT_EQ(mlock(address_, bytes_), 0); }

 private:
  size_t bytes_;
  void* address_;
};

// The kernel counts pages and charges in batches per CPU, so figures are a few MiB off.
void ExpectAbout(uint64_t bytes, uint64_t mib, const char* what) {
  EXPECT_GE(bytes + 4 * kMiB, mib * kMiB) << what << ": " << bytes;
  EXPECT_LE(bytes, (mib + 4) * kMiB) << what << ": " << bytes;
}

TEST_F(LiveLimit, AnonymousPagesAreUseAndPageCacheIsNot) {
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    const LimitReading& reading = reader->Refresh();
    EXPECT_EQ(reading.limit, 100 * kMiB);
    EXPECT_EQ(reading.tightest_limit, 100 * kMiB);
    EXPECT_EQ(reading.binding_path, group_->path());
    EXPECT_EQ(reading.level, PressureLevel::kAmple);
    uint64_t anon_before = reading.process_anon;
    ExpectAbout(reading.used, 0, "at first");
    {
      Pages pages(40);
      ExpectAbout(reader->Refresh().used, 40, "used");
      ExpectAbout(reading.process_anon - anon_before, 40, "anonymous");
      EXPECT_EQ(reading.headroom, reading.limit - reading.used);
      Pages more(50);
      EXPECT_EQ(reader->Refresh().level, PressureLevel::kLow);
    }
    EXPECT_EQ(reader->Refresh().level, PressureLevel::kAmple);

    std::string file = "page-cache." + std::to_string(getpid());
    int fd = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    std::string piece(kMiB, 'x');
    for (int i = 0; i < 60; ++i) ASSERT_EQ(write(fd, piece.data(), piece.size()), static_cast<ssize_t>(kMiB));
    bool on_disk = group_->Read("memory.stat").find("shmem 0\n") != std::string::npos;
    if (on_disk) ExpectAbout(reader->Refresh().used, 1, "with 60 MiB of page cache");
    close(fd);
    unlink(file.c_str());
  });
}

TEST_F(LiveLimit, LazilyFreedPagesAreNoUse) {
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    Pages pages(40);
    pages.Advise(MADV_FREE);
    ExpectAbout(reader->Refresh().used, 0, "after MADV_FREE");
  });
}

TEST_F(LiveLimit, LockedPagesCountOnce) {
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    Pages pages(40);
    pages.Lock();
    ExpectAbout(reader->Refresh().used, 40, "locked");
  });
}

TEST_F(LiveLimit, FollowsTheLimitAndTheTightestAncestor) {
  ControlGroup inner(group_.get());
  Inside(inner, [&] {
    auto reader = std::make_unique<LimitReader>();
    const LimitReading& reading = reader->Refresh();
    EXPECT_EQ(reading.limit, 100 * kMiB);
    EXPECT_EQ(reading.binding_path, group_->path());
    EXPECT_EQ(inner.SetLimit(50 * kMiB), 0);
    EXPECT_TRUE(reader->Refresh().changed);
    EXPECT_EQ(reading.limit, 50 * kMiB);
    EXPECT_EQ(reading.binding_path, inner.path());
    EXPECT_FALSE(reader->Refresh().changed);
    EXPECT_EQ(group_->SetLimit(30 * kMiB), 0);
    EXPECT_TRUE(reader->Refresh().changed);
    EXPECT_EQ(reading.binding_path, group_->path());
  });
}

TEST_F(LiveLimit, FollowsTheProcess) {
  ControlGroup other;
  ASSERT_EQ(other.SetLimit(70 * kMiB), 0);
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    EXPECT_EQ(reader->Refresh().limit, 100 * kMiB);
    other.Enter(getpid());
    std::this_thread::sleep_for(milliseconds(1100));  // membership is looked up once a second
    EXPECT_EQ(reader->Refresh().limit, 70 * kMiB);
    EXPECT_TRUE(reader->reading().changed);
  });
}

// The watcher on a thread of its own, as the allocator runs it.
class Watching {
 public:
  explicit Watching(const LimitReader& reader) {
    watcher_->Aim(reader);
    std::thread([watcher = watcher_, wakes = &wakes_, refused = &refused_] {
      if (syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) != 0) {
        *refused = true;
        return;
      }
      *refused = !watcher->Run(
          [](void* count) {
            ++*static_cast<std::atomic<int>*>(count);
            return true;
          },
          [](void*) { return false; }, wakes);
    }).detach();
    std::this_thread::sleep_for(milliseconds(300));
  }
  bool refused() const { return refused_; }
  // Waits for a wake beyond those already seen.
  bool WokenSoon(int seen) const {
    for (int waited = 0; waited < 500 && wakes_ == seen; ++waited) std::this_thread::sleep_for(milliseconds(10));
    return wakes_ > seen;
  }
  int wakes() const { return wakes_; }

 private:
  LimitWatcher* watcher_ = new LimitWatcher;  // the detached thread's, to the end of the process
  std::atomic<int> wakes_ = 0;
  std::atomic<bool> refused_ = false;
};

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST_F(LiveLimit, WatcherWakesOnPressureAndIsQuietWithout) {
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    reader->Refresh();
    size_t before = OpenDescriptors();
    Watching watching(*reader);
    ASSERT_FALSE(watching.refused());
    EXPECT_EQ(OpenDescriptors(), before) << "the program sees neap's descriptors";
    EXPECT_EQ(watching.wakes(), 0);
    {
      // v1 wakes when use crosses the low mark; v2 when a page past memory.high makes the kernel reclaim.
      if (ControlGroup::Version() == 2) {
        EXPECT_EQ(group_->SetHigh(85 * kMiB), 0);
      }
      Pages pages(89);
      EXPECT_TRUE(watching.WokenSoon(0));
    }
    std::this_thread::sleep_for(milliseconds(3000));  // whatever was under way; PSI reports every 2 s
    int settled = watching.wakes();
    std::this_thread::sleep_for(milliseconds(3000));
    EXPECT_EQ(watching.wakes(), settled) << "wakes without a reason";
  });
}

// v1 refuses a limit below what is used, without a trace in any file: only the reclaim that it tried first is told.
TEST_F(LiveLimit, WatcherWakesWhenAnOperatorTriesToLowerTheLimit) {
  if (ControlGroup::Version() != 1) GTEST_SKIP() << "v2 does not refuse";
  Inside(*group_, [&] {
    auto reader = std::make_unique<LimitReader>();
    Pages pages(60);
    reader->Refresh();
    Watching watching(*reader);
    ASSERT_FALSE(watching.refused());
    int seen = watching.wakes();
    EXPECT_EQ(group_->SetLimit(40 * kMiB), EBUSY);
    EXPECT_TRUE(watching.WokenSoon(seen));
  });
}

}  // namespace
}  // namespace neap::test
