// limit_test.cc: the reader and the watcher of the limit on a system of texts. The stand-in for Os below has files, a
// clock and a script of events, and nothing else.
#include "alloc/limit.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "alloc/os.h"

namespace neap {
namespace {

struct System {
  std::map<std::string, std::string> files;
  uint64_t now_ns = 1;
  int reads = 0;
  size_t mapped = 0;

  std::map<int, std::string> open;  // fd to path, with what was written to it
  std::vector<std::string> opened;  // all there ever were
  std::set<std::string> refused;    // last parts of paths
  int next_fd = 3;
  std::deque<std::function<int()>> events;  // results of WaitForEvents with a long timeout
  std::vector<int> waited_for;
};
System* sys;

}  // namespace

long Os::ReadFile(const char* path, char* buffer, size_t size) {
  ++sys->reads;
  auto file = sys->files.find(path);
  if (file == sys->files.end()) return -ENOENT;
  size_t length = std::min(size - 1, file->second.size());
  memcpy(buffer, file->second.data(), length);
  buffer[length] = 0;
  return static_cast<long>(length);
}

void* Os::Map(void*, size_t bytes) {
  sys->mapped += bytes;
  return std::malloc(bytes);
}

void Os::Unmap(void* address, size_t bytes) {
  sys->mapped -= bytes;
  std::free(address);
}

uint64_t Os::MonotonicNs() { return sys->now_ns; }

int Os::OpenForEvents(const char* path, const char* write_once) {
  std::string name = path;
  if (sys->files.count(name) == 0) return -ENOENT;
  if (sys->refused.count(name.substr(name.rfind('/') + 1)) != 0) return -EACCES;
  if (write_once != nullptr) name += std::string(" < ") + write_once;
  sys->open[sys->next_fd] = name;
  sys->opened.push_back(name);
  return sys->next_fd++;
}

int Os::OpenEventFd() {
  if (sys->refused.count("eventfd") != 0) return -EMFILE;
  sys->open[sys->next_fd] = "eventfd";
  return sys->next_fd++;
}

int Os::WaitForEvents(const int* fds, size_t count, uint64_t timeout_ns) {
  sys->now_ns += timeout_ns;
  if (timeout_ns == LimitWatcher::kMinGapNs) return -ETIMEDOUT;
  sys->waited_for.assign(fds, fds + count);
  for (int fd : sys->waited_for) EXPECT_EQ(sys->open.count(fd < 0 ? ~fd : fd), 1u) << "waits for a closed fd";
  if (sys->events.empty()) return count == 0 ? -EINVAL : 0;
  auto event = sys->events.front();
  sys->events.pop_front();
  return event();
}

void Os::CloseFd(int fd) { EXPECT_EQ(sys->open.erase(fd), 1u) << "closes what it does not own"; }

namespace {

constexpr uint64_t kMiB = 1 << 20, kGiB = uint64_t{1} << 30, kSecond = 1'000'000'000;

std::string Number(uint64_t number) { return std::to_string(number) + "\n"; }

class LimitTest : public testing::Test {
 protected:
  LimitTest() {
    sys = &system_;
    system_.files["/proc/self/statm"] = "5000 700 200 5 0 123 0\n";
  }
  ~LimitTest() override { EXPECT_EQ(system_.mapped, 0u); }

  void UseV2(const std::string& own) {
    system_.files["/proc/self/cgroup"] = "0::" + own + "\n";
    system_.files["/proc/self/mountinfo"] = "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n";
  }
  void SetV2(const std::string& directory, const std::string& max, const std::string& high, uint64_t anon,
             uint64_t cache = 0) {
    system_.files[directory + "/cgroup.stat"] = "nr_descendants 0\n";
    system_.files[directory + "/memory.max"] = max;
    system_.files[directory + "/memory.high"] = high;
    system_.files[directory + "/memory.stat"] = "anon " + Number(anon) + "file " + Number(cache);
    system_.files[directory + "/memory.events"] = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n";
    SetStall(directory, 0);
  }
  void SetStall(const std::string& directory, uint64_t total_us) {
    system_.files[directory + "/memory.pressure"] = "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + Number(total_us) +
                                                    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
  }
  void UseV1(const std::string& own) {
    system_.files["/proc/self/cgroup"] = "4:memory:" + own + "\n3:cpu,cpuacct:" + own + "\n0::/\n";
    system_.files["/proc/self/mountinfo"] =
        "33 31 0:30 / /cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /mem rw - cgroup cgroup rw,memory\n";
  }
  void SetV1(const std::string& directory, uint64_t hierarchical_limit, uint64_t rss, uint64_t kmem) {
    system_.files[directory + "/notify_on_release"] = "0\n";
    system_.files[directory + "/memory.stat"] =
        "cache 1\nrss 2\nhierarchical_memory_limit " + Number(hierarchical_limit) + "total_rss " + Number(rss);
    system_.files[directory + "/memory.kmem.usage_in_bytes"] = Number(kmem);
    system_.files[directory + "/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n";
    for (const char* file : {"/memory.pressure_level", "/memory.usage_in_bytes", "/cgroup.event_control"}) {
      system_.files[directory + file] = "";
    }
  }
  const LimitReading& Tick(uint64_t ns = kSecond) {
    system_.now_ns += ns;
    return reader_->Refresh();
  }

  static constexpr uint64_t kNoV1Limit = 9223372036854771712u;
  System system_;
  std::unique_ptr<LimitReader> reader_ = std::make_unique<LimitReader>();
};

// ---- LimitReader.

TEST_F(LimitTest, NoProcNoLimit) {
  system_.files.clear();
  const LimitReading& reading = Tick();
  EXPECT_EQ(reading.limit, kNoLimit);
  EXPECT_EQ(reading.tightest_limit, kNoLimit);
  EXPECT_EQ(reading.headroom, kNoLimit);
  EXPECT_EQ(reading.level, PressureLevel::kAmple);
  EXPECT_EQ(reading.binding_level, -1);
  EXPECT_TRUE(reading.binding_path.empty());
  EXPECT_EQ(reading.process_anon, 0u);
}

TEST_F(LimitTest, LeastHeadroomBindsNotLeastLimit) {
  UseV2("/pod/box");
  SetV2("/cg/pod/box", Number(kGiB), "max\n", 100 * kMiB);
  SetV2("/cg/pod", Number(2 * kGiB), "max\n", 2040 * kMiB, 5 * kMiB);
  const LimitReading& reading = Tick();
  EXPECT_EQ(reading.binding_path, "/cg/pod");
  EXPECT_EQ(reading.binding_level, 1);
  EXPECT_EQ(reading.limit, 2 * kGiB);
  EXPECT_EQ(reading.used, 2040 * kMiB);
  EXPECT_EQ(reading.headroom, 8 * kMiB);
  EXPECT_EQ(reading.tightest_limit, kGiB);
  EXPECT_EQ(reading.level, PressureLevel::kCritical);
}

TEST_F(LimitTest, PageCacheIsNoUse) {
  UseV2("/box");
  SetV2("/cg/box", Number(kGiB), "max\n", 100 * kMiB, 920 * kMiB);
  EXPECT_EQ(Tick().headroom, 924 * kMiB);
  EXPECT_EQ(Tick().level, PressureLevel::kAmple);
}

TEST_F(LimitTest, HighBindsBelowMax) {
  UseV2("/box");
  SetV2("/cg/box", Number(kGiB), Number(600 * kMiB), 100 * kMiB);
  EXPECT_EQ(Tick().limit, 600 * kMiB);
  SetV2("/cg/box", Number(kGiB), Number(4 * kGiB), 100 * kMiB);
  EXPECT_EQ(Tick().limit, kGiB);
}

TEST_F(LimitTest, FollowsTheLimitWhileItMoves) {
  UseV2("/box");
  SetV2("/cg/box", "max\n", "max\n", 300 * kMiB);
  EXPECT_FALSE(Tick().changed);
  SetV2("/cg/box", Number(kGiB), "max\n", 300 * kMiB);
  EXPECT_TRUE(Tick(kSecond / 100).changed);
  EXPECT_EQ(reader_->reading().headroom, 724 * kMiB);
  EXPECT_FALSE(Tick(kSecond / 100).changed);
  SetV2("/cg/box", Number(320 * kMiB), "max\n", 300 * kMiB);
  EXPECT_TRUE(Tick(kSecond / 100).changed);
  EXPECT_EQ(reader_->reading().level, PressureLevel::kLow);
  SetV2("/cg/box", "max\n", "max\n", 300 * kMiB);
  EXPECT_TRUE(Tick(kSecond / 100).changed);
  EXPECT_EQ(reader_->reading().level, PressureLevel::kAmple);
  EXPECT_TRUE(reader_->reading().binding_path.empty());
}

TEST_F(LimitTest, FollowsTheProcessToAnotherCgroup) {
  UseV2("/a");
  SetV2("/cg/a", Number(kGiB), "max\n", 100);
  SetV2("/cg/b", Number(3 * kGiB), "max\n", 100);
  EXPECT_EQ(Tick().limit, kGiB);
  UseV2("/b");
  EXPECT_EQ(Tick().limit, 3 * kGiB);
  EXPECT_EQ(reader_->reading().binding_path, "/cg/b");
}

TEST_F(LimitTest, CgroupThatVanishesIsNoLimit) {
  UseV2("/a");
  SetV2("/cg/a", Number(kGiB), "max\n", kGiB);
  EXPECT_EQ(Tick().level, PressureLevel::kCritical);
  system_.files.clear();
  EXPECT_EQ(Tick().level, PressureLevel::kAmple);
  EXPECT_EQ(reader_->reading().limit, kNoLimit);
}

TEST_F(LimitTest, FindsItsCgroupAgainWhenTheMountIsGone) {
  UseV2("/a");
  system_.files["/proc/self/mountinfo"] = "29 23 0:26 / /old rw - cgroup2 cgroup2 rw\n";
  SetV2("/old/a", Number(kGiB), "max\n", 100);
  EXPECT_EQ(Tick().binding_path, "/old/a");
  for (auto file = system_.files.begin(); file != system_.files.end();) {
    file = file->first.rfind("/old", 0) == 0 ? system_.files.erase(file) : std::next(file);
  }
  UseV2("/a");
  SetV2("/cg/a", Number(kGiB), "max\n", 100);
  EXPECT_EQ(Tick().binding_path, "/cg/a");
}

TEST_F(LimitTest, MountsPastTheFirstPiecesAreFound) {
  UseV2("/box");
  std::string& mounts = system_.files["/proc/self/mountinfo"];
  std::string many;
  while (many.size() < 900'000)
    many += "99 98 0:77 / /var/lib/pods/" + std::to_string(many.size()) + " rw - tmpfs t rw\n";
  mounts = many + mounts;
  SetV2("/cg/box", Number(kGiB), "max\n", 5);
  EXPECT_EQ(Tick().limit, kGiB);
}

TEST_F(LimitTest, V1WalksUpWhileAnAncestorLimits) {
  UseV1("/pod/box");
  SetV1("/mem/pod/box", kGiB, 100 * kMiB, 7 * kMiB);
  SetV1("/mem/pod", 2 * kGiB, 1900 * kMiB, 48 * kMiB);
  SetV1("/mem", kNoV1Limit, 9 * kGiB, 0);
  const LimitReading& reading = Tick();
  EXPECT_EQ(reading.binding_path, "/mem/pod");
  EXPECT_EQ(reading.used, 1948 * kMiB);
  EXPECT_EQ(reading.headroom, 100 * kMiB);
  EXPECT_EQ(reading.tightest_limit, kGiB);
}

TEST_F(LimitTest, V1InnerLevelsWithoutALimitOfTheirOwnDoNotBind) {
  UseV1("/pod/box");
  SetV1("/mem/pod/box", kGiB, 100 * kMiB, 0);
  SetV1("/mem/pod", kGiB, 100 * kMiB, 0);
  SetV1("/mem", kNoV1Limit, 0, 0);
  EXPECT_EQ(Tick().binding_path, "/mem/pod");
}

TEST_F(LimitTest, V1LimitOfAnAncestorThatCannotBeSeen) {
  UseV1("/box");
  SetV1("/mem/box", 500 * kMiB, 100 * kMiB, 0);  // and /mem, in a container, says the same
  SetV1("/mem", 500 * kMiB, 120 * kMiB, 0);
  EXPECT_EQ(Tick().headroom, 380 * kMiB);
}

TEST_F(LimitTest, StallsAreAShareOfTimeAndEnd) {
  UseV2("/box");
  SetV2("/cg/box", Number(kGiB), "max\n", 824 * kMiB);  // headroom 200 MiB, mark 128
  SetStall("/cg/box", 7'000'000);
  EXPECT_EQ(Tick().stall_permille, 0u);  // what was before neap looked does not count
  SetStall("/cg/box", 7'250'000);
  EXPECT_EQ(Tick().stall_permille, 250u);
  EXPECT_EQ(reader_->reading().level, PressureLevel::kLow);
  EXPECT_EQ(Tick(kSecond / 10).stall_permille, 250u);  // too short a window to judge anew
  EXPECT_EQ(Tick().stall_permille, 0u);
  EXPECT_EQ(reader_->reading().level, PressureLevel::kAmple);
  SetStall("/cg/box", 5);  // another cgroup of the same name
  EXPECT_EQ(Tick().stall_permille, 0u);
}

TEST_F(LimitTest, AnonymousMemoryOfTheProcess) {
  UseV1("/box");
  SetV1("/mem/box", kGiB, 5, 5);
  EXPECT_EQ(Tick().process_anon, 500u * 4096);
}

TEST_F(LimitTest, FewFilesARefresh) {
  UseV2("/pod/box");
  SetV2("/cg/pod/box", Number(kGiB), "max\n", 5);
  SetV2("/cg/pod", "max\n", "max\n", 5);
  SetV2("/cg", "max\n", "max\n", 5);
  Tick();
  system_.reads = 0;
  Tick(kSecond / 100);
  EXPECT_LE(system_.reads, 2 * 3 + 1 + 1 + 1);  // two small ones a level, one memory.stat, pressure, statm
}

// ---- LimitWatcher.

class WatcherTest : public LimitTest {
 protected:
  WatcherTest() {
    UseV2("/box");
    SetV2("/cg/box", Number(kGiB), "max\n", 5);
  }
  ~WatcherTest() override { EXPECT_TRUE(system_.open.empty()) << "descriptors are left open"; }

  void Aim() {
    Tick();
    watcher_->Aim(*reader_);
  }
  // Runs until `wakes` wakes have come.
  bool Run(int wakes) {
    wakes_ = 0;
    wanted_ = wakes;
    return watcher_->Run(
        [](void* self) {
          auto* test = static_cast<WatcherTest*>(self);
          return ++test->wakes_ < test->wanted_;
        },
        [](void*) { return false; }, this);
  }

  std::unique_ptr<LimitWatcher> watcher_ = std::make_unique<LimitWatcher>();
  int wakes_ = 0, wanted_ = 0;
};

TEST_F(WatcherTest, V2WatchesEventsAndATrigger) {
  Aim();
  EXPECT_TRUE(Run(3));
  EXPECT_EQ(wakes_, 3);
  EXPECT_EQ(system_.opened,
            (std::vector<std::string>{"/cg/box/memory.events", "/cg/box/memory.pressure < some 150000 2000000"}));
}

TEST_F(WatcherTest, V2ReadOnlyMountStillGivesEvents) {
  system_.refused = {"memory.pressure"};
  Aim();
  EXPECT_TRUE(Run(1));
  EXPECT_EQ(system_.opened, std::vector<std::string>{"/cg/box/memory.events"});
}

TEST_F(WatcherTest, RefusalMeansPolling) {
  system_.refused = {"memory.pressure", "memory.events"};
  Aim();
  EXPECT_FALSE(Run(1));
  EXPECT_EQ(wakes_, 0);
}

TEST_F(WatcherTest, V1RegistersOneEventFdForThreeSources) {
  UseV1("/box");
  SetV1("/mem/box", kGiB, 5, 5);
  Aim();
  EXPECT_TRUE(Run(2));
  std::vector<std::string> orders;
  for (const std::string& name : system_.opened) {
    if (name.find(" < ") != name.npos) orders.push_back(name);
  }
  EXPECT_EQ(orders, (std::vector<std::string>{
                        "/mem/box/cgroup.event_control < 3 4", "/mem/box/cgroup.event_control < 3 6 medium",
                        "/mem/box/cgroup.event_control < 3 8 " + std::to_string(kGiB - 128 * kMiB)}));
  EXPECT_EQ(system_.waited_for, std::vector<int>{~3});
}

TEST_F(WatcherTest, V1WithoutTheRightToWrite) {
  UseV1("/box");
  SetV1("/mem/box", kGiB, 5, 5);
  system_.refused = {"cgroup.event_control"};
  Aim();
  EXPECT_FALSE(Run(1));
}

TEST_F(WatcherTest, V1WithoutADescriptorToSpare) {
  UseV1("/box");
  SetV1("/mem/box", kGiB, 5, 5);
  system_.refused = {"eventfd"};
  Aim();
  EXPECT_FALSE(Run(1));
}

TEST_F(WatcherTest, FollowsANewAimAndOutlivesItsCgroup) {
  Aim();
  system_.events = {
      [] { return 0; },
      [] { return -ENODEV; },  // the directory was removed
      [this] {
        EXPECT_TRUE(system_.waited_for.empty());
        UseV2("/next");
        SetV2("/cg/next", Number(2 * kGiB), "max\n", 5);
        Aim();
        return -ETIMEDOUT;
      },
      [this] {
        EXPECT_EQ(system_.waited_for.size(), 2u);
        return 1;
      },
  };
  EXPECT_TRUE(Run(2));
  EXPECT_EQ(system_.opened[2], "/cg/next/memory.events");
}

TEST_F(WatcherTest, AimOfTheSameTargetOpensNothing) {
  Aim();
  system_.events = {[this] {
    Aim();
    Aim();
    return -ETIMEDOUT;
  }};
  EXPECT_TRUE(Run(1));
  EXPECT_EQ(system_.opened.size(), 2u);
}

TEST_F(WatcherTest, ALimitThatIsLiftedIsWatchedNoMore) {
  Aim();
  system_.events = {[this] {
                      SetV2("/cg/box", "max\n", "max\n", 5);
                      Aim();
                      return -ETIMEDOUT;
                    },
                    [this] {
                      EXPECT_TRUE(system_.waited_for.empty());
                      SetV2("/cg/box", Number(kGiB), "max\n", 5);
                      Aim();
                      return -ETIMEDOUT;
                    }};
  EXPECT_TRUE(Run(1));
  EXPECT_EQ(system_.opened.size(), 4u);
}

TEST_F(WatcherTest, AForkedChildOpensItsOwn) {
  Aim();
  system_.events = {[this] {  // forked while the parent's thread waits: none of its descriptors are in the child
    system_.open.clear();
    watcher_->ForgetInChild();
    EXPECT_TRUE(Run(1));
    return 0;
  }};
  EXPECT_TRUE(Run(2));
  EXPECT_EQ(system_.opened.size(), 4u);
}

// Both serve before any constructor has run.
constinit LimitReader static_reader;
constinit LimitWatcher static_watcher;

TEST_F(WatcherTest, StaticStorage) {
  static_reader.Refresh();
  static_watcher.Aim(static_reader);
  EXPECT_EQ(static_reader.reading().limit, kGiB);
}

}  // namespace
}  // namespace neap
