// stats_page_test.cc: the writer of the page of statistics on real files, seen by a reader that maps them.
#include "alloc/stats_page.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "alloc/stats_files.h"

namespace neap {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kStartNs = 1'700'000'000 * kSecondNs;

class StatsPageTest : public testing::Test {
 protected:
  void SetUp() override {
    ForgetStatsPage();
    char name[] = "/tmp/stats_page_test.XXXXXX";
    folder_ = mkdtemp(name);
    prefix_ = folder_ + "/page";
  }
  void TearDown() override {
    for (StatsPage* page : mapped_) munmap(page, sizeof(StatsPage));
    CloseStatsPage();  // removes a file at the default place
    ForgetStatsPage();
    fs::remove_all(folder_);
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path());
    return names;
  }

  StatsPage& MapFile(const std::string& path) {
    int fd = open(path.c_str(), O_RDWR);
    EXPECT_GE(fd, 0) << path;
    void* memory = mmap(nullptr, sizeof(StatsPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT_NE(memory, MAP_FAILED);
    close(fd);
    mapped_.push_back(static_cast<StatsPage*>(memory));
    return *mapped_.back();
  }

  StatsPage& Open() {
    EXPECT_TRUE(OpenStatsPage(prefix_.c_str()));
    return MapFile(Files().at(0));
  }

  std::string folder_;
  std::string prefix_;
  std::vector<StatsPage*> mapped_;
};

Ledger LedgerOf(uint64_t figure) {
  Ledger ledger{};
  ledger.live = ledger.cached = ledger.dirty = ledger.metadata = figure;
  ledger.foreign = ledger.anon = ledger.limit = ledger.headroom = ledger.cgroup_used = figure;
  return ledger;
}

uint64_t StartTimeFromStat() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return std::stoull(field);
}

TEST_F(StatsPageTest, WithoutAPageEveryCallIsHarmless) {
  uint64_t target;
  uint32_t number;
  PublishLedger(LedgerOf(1), kStartNs);
  PublishCgroup("/somewhere");
  AnswerShrink(1, 1);
  EXPECT_EQ(Doorbell(), nullptr);
  EXPECT_FALSE(ShrinkRequested(&target, &number));
}

TEST_F(StatsPageTest, FileIsNamedByPrefixPidAndStartTimeAndIsPrivate) {
  StatsPage& page = Open();
  std::string expected = prefix_ + "." + std::to_string(getpid()) + "." + std::to_string(StartTimeFromStat());
  ASSERT_EQ(Files(), std::vector<std::string>{expected});
  struct stat status {};
  ASSERT_EQ(stat(expected.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_GE(static_cast<size_t>(status.st_size), sizeof(StatsPage));
  EXPECT_EQ(page.magic, kStatsMagic);
  EXPECT_EQ(page.size, sizeof(StatsPage));
  EXPECT_EQ(page.pid, static_cast<uint64_t>(getpid()));
  EXPECT_EQ(page.start_time, StartTimeFromStat());
  EXPECT_STREQ(page.version, NEAP_VERSION);
  EXPECT_NE(strstr(page.command, "stats_page_test"), nullptr);
  EXPECT_EQ(page.exited, 0u);
  EXPECT_EQ(page.peak.lowest_headroom, UINT64_MAX);
}

TEST_F(StatsPageTest, ZeroAsPrefixKeepsNoPage) {
  EXPECT_FALSE(OpenStatsPage("0"));
  EXPECT_EQ(Doorbell(), nullptr);
}

TEST_F(StatsPageTest, APrefixThatCannotBeHadFallsBackToTheDefaultPlace) {
  std::string file =
      std::string(kStatsDefaultPrefix) + "." + std::to_string(getpid()) + "." + std::to_string(StartTimeFromStat());
  ASSERT_TRUE(OpenStatsPage((folder_ + "/missing/page").c_str()));
  EXPECT_TRUE(fs::exists(file));
  CloseStatsPage();
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(StatsPageTest, PeaksAreEachFiguresOwnAndHeadroomHasALowest) {
  StatsPage& page = Open();
  Ledger ledger = LedgerOf(10);
  PublishLedger(ledger, kStartNs);
  ledger.live = 90;
  ledger.cached = 3;
  ledger.headroom = 4;
  PublishLedger(ledger, kStartNs);
  ledger.live = 7;
  ledger.headroom = 50;
  PublishLedger(ledger, kStartNs);
  EXPECT_EQ(page.now.live, 7u);
  EXPECT_EQ(page.now.headroom, 50u);
  EXPECT_EQ(page.peak.live, 90u);
  EXPECT_EQ(page.peak.cached, 10u);
  EXPECT_EQ(page.peak.resident, 90u + 3 + 10 + 10);
  EXPECT_EQ(page.peak.lowest_headroom, 4u);
}

TEST_F(StatsPageTest, HistoryHasOneSampleASecondAndKeepsTheLatest) {
  StatsPage& page = Open();
  for (uint64_t i = 0; i < 4; ++i) PublishLedger(LedgerOf(i), kStartNs + i * kSecondNs / 2);
  EXPECT_EQ(page.seconds.next, 2u);
  EXPECT_EQ(page.seconds.at(0).live, 0u);
  EXPECT_EQ(page.seconds.at(1).live, 2u);
  EXPECT_EQ(page.seconds.at(1).Resident(), 8u);
  EXPECT_EQ(page.seconds.at(1).time_ms, kStartNs / 1'000'000 + 1000);
  for (uint64_t i = 2; i < kStatsSeconds + 2; ++i) PublishLedger(LedgerOf(i), kStartNs + i * kSecondNs);
  EXPECT_EQ(page.seconds.next, kStatsSeconds + 2);
  EXPECT_EQ(page.seconds.at(0).live, 2u);
  EXPECT_EQ(page.seconds.at(kStatsSeconds - 1).live, kStatsSeconds + 1);
}

TEST_F(StatsPageTest, OfTenSecondsTheHighestReadingIsKeptForAnHour) {
  StatsPage& page = Open();
  const uint64_t figures[] = {3, 9, 4, 1, 7};  // two seconds apart: one round ten seconds
  for (uint64_t i = 0; i < 5; ++i) PublishLedger(LedgerOf(figures[i]), kStartNs + i * 2 * kSecondNs);
  EXPECT_EQ(page.tens.next, 1u);
  EXPECT_EQ(page.tens.at(0).live, 9u);
  EXPECT_EQ(page.tens.at(0).time_ms, kStartNs / 1'000'000 + 2000);
  for (uint64_t i = 1; i <= kStatsTens; ++i) PublishLedger(LedgerOf(i), kStartNs + i * 10 * kSecondNs);
  EXPECT_EQ(page.tens.next, kStatsTens + 1);
  EXPECT_EQ(page.tens.at(0).live, 1u);
  EXPECT_EQ(page.tens.at(kStatsTens - 1).live, kStatsTens);
}

TEST_F(StatsPageTest, EventsAreToldByTwoReadingsAndThoseOfASecondAreOne) {
  StatsPage& page = Open();
  Ledger ledger = LedgerOf(10);
  ledger.limit = UINT64_MAX;
  PublishLedger(ledger, kStartNs);
  EXPECT_EQ(page.events.next, 0u);
  ledger.limit = 500;
  ledger.level = 2;
  PublishLedger(ledger, kStartNs + kSecondNs);
  for (int i = 0; i < 3; ++i) {
    ledger.purges[static_cast<size_t>(PurgeCause::kLimit)] += 1;
    ledger.purged[static_cast<size_t>(PurgeCause::kLimit)] += 40;
    PublishLedger(ledger, kStartNs + 2 * kSecondNs + static_cast<uint64_t>(i));
  }
  ledger.callbacks = 1;
  ledger.wanted = 77;
  ledger.foreign_purges = 2;
  ledger.foreign_purged = 88;
  ledger.purges[static_cast<size_t>(PurgeCause::kOrdered)] = 1;
  PublishLedger(ledger, kStartNs + 9 * kSecondNs);
  ASSERT_EQ(page.events.size(), 6u);
  const auto is = [&](uint32_t i, StatsEventKind kind, uint32_t cause, uint64_t count, uint64_t from, uint64_t value) {
    const StatsEvent& event = page.events.at(i);
    EXPECT_EQ(event.kind, kind) << i;
    EXPECT_EQ(event.cause, cause) << i;
    EXPECT_EQ(event.count, count) << i;
    EXPECT_EQ(event.from, from) << i;
    EXPECT_EQ(event.value, value) << i;
  };
  is(0, StatsEventKind::kLimit, 0, 1, UINT64_MAX, 500);
  is(1, StatsEventKind::kLevel, 0, 1, 0, 2);
  is(2, StatsEventKind::kPurge, static_cast<uint32_t>(PurgeCause::kLimit), 3, 0, 120);
  is(3, StatsEventKind::kPurge, static_cast<uint32_t>(PurgeCause::kOrdered), 1, 0, 0);
  is(4, StatsEventKind::kAsked, 0, 1, 0, 77);
  is(5, StatsEventKind::kForeign, 0, 2, 0, 88);
  EXPECT_EQ(page.events.at(2).time_ms, kStartNs / 1'000'000 + 2000);
}

TEST_F(StatsPageTest, TablesAreReadOnceASecond) {
  StatsPage& page = Open();
  const auto read = [](StatsTables& tables) {
    tables.arenas = kStatsArenas;
    tables.arena[kStatsArenas - 1].live = 5;
  };
  EXPECT_TRUE(TablesAreDue(kStartNs));
  PublishTables(read, kStatsArenas + 9, kStartNs);
  EXPECT_EQ(page.tables.arena[kStatsArenas - 1].live, 5u);
  EXPECT_EQ(page.tables_ms, kStartNs / 1'000'000);
  EXPECT_FALSE(TablesAreDue(kStartNs + kSecondNs / 2));
  EXPECT_TRUE(TablesAreDue(kStartNs + kSecondNs));
  EXPECT_TRUE(TablesAreDue(kStartNs - kSecondNs));
}

TEST_F(StatsPageTest, HistoryGoesOnWhenTheClockIsSetBack) {
  StatsPage& page = Open();
  PublishLedger(LedgerOf(1), kStartNs);
  PublishLedger(LedgerOf(2), kStartNs - 3600 * kSecondNs);
  EXPECT_EQ(page.seconds.next, 2u);
}

TEST_F(StatsPageTest, ReaderThatMindsTheSequenceNeverSeesAMixture) {
  StatsPage& page = Open();
  PublishLedger(LedgerOf(0), kStartNs);
  std::atomic<bool> stop{false};
  std::thread writer([&stop] {
    for (uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i)
      PublishLedger(LedgerOf(i), kStartNs + i * kSecondNs);
  });
  std::atomic_ref<uint32_t> sequence(page.sequence);
  uint64_t different = 0, disturbed = 0, last = 0;
  while (different < 500 || disturbed == 0) {
    uint32_t before = sequence.load(std::memory_order_acquire);
    Ledger copy;
    memcpy(&copy, &page.now, sizeof copy);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 != 0 || sequence.load(std::memory_order_relaxed) != before) {
      ++disturbed;
      continue;
    }
    different += copy.live != last;
    EXPECT_EQ(copy.cached, copy.live);
    EXPECT_EQ(copy.cgroup_used, copy.live);
    EXPECT_GE(copy.live, last);
    last = copy.live;
  }
  stop = true;
  writer.join();
}

TEST_F(StatsPageTest, ShrinkOrderIsSeenOnceAnswered) {
  StatsPage& page = Open();
  uint64_t target = 0;
  uint32_t number = 0;
  EXPECT_FALSE(ShrinkRequested(&target, &number));
  page.shrink_target = 4096;
  page.shrink_request = 1;
  ASSERT_TRUE(ShrinkRequested(&target, &number));
  EXPECT_EQ(target, 4096u);
  EXPECT_EQ(number, 1u);
  page.shrink_request = 2;  // a second order while the first is at work
  AnswerShrink(number, 77);
  EXPECT_EQ(page.shrink_done, 1u);
  EXPECT_EQ(page.shrink_freed, 77u);
  ASSERT_TRUE(ShrinkRequested(&target, &number));
  EXPECT_EQ(number, 2u);
  AnswerShrink(number, 0);
  EXPECT_FALSE(ShrinkRequested(&target, &number));
}

TEST_F(StatsPageTest, AnOrderToProfileIsTakenOnce) {
  EXPECT_EQ(TakeProfileOrder(), 0u) << "no page yet";
  StatsPage& page = Open();
  EXPECT_EQ(TakeProfileOrder(), 0u);
  page.profile_request = 4096;
  EXPECT_EQ(TakeProfileOrder(), 4096u);
  EXPECT_EQ(TakeProfileOrder(), 0u);
}

TEST_F(StatsPageTest, DoorbellIsTheWordInThePage) {
  StatsPage& page = Open();
  ASSERT_NE(Doorbell(), nullptr);
  ++*Doorbell();
  EXPECT_EQ(page.doorbell, 1u);
}

TEST_F(StatsPageTest, ClosedPageIsMarkedStaysForItsReaderAndIsNotWrittenAgain) {
  StatsPage& page = Open();
  PublishLedger(LedgerOf(5), kStartNs);
  CloseStatsPage();
  EXPECT_EQ(page.exited, 1u);
  EXPECT_EQ(Files().size(), 1u);
  PublishLedger(LedgerOf(6), kStartNs);
  EXPECT_EQ(page.now.live, 5u);
  EXPECT_FALSE(OpenStatsPage(prefix_.c_str()));
  EXPECT_EQ(Doorbell(), nullptr);
}

TEST_F(StatsPageTest, CgroupIsCutToItsField) {
  StatsPage& page = Open();
  std::string path(300, 'x');
  PublishCgroup(path);
  EXPECT_EQ(page.cgroup, path.substr(0, sizeof page.cgroup - 1));
  PublishCgroup("/a");
  EXPECT_STREQ(page.cgroup, "/a");
}

TEST_F(StatsPageTest, APrefixTooLongForAPathIsRefusedAndNotCut) {
  std::string prefix = folder_ + "/" + std::string(600, 'x');
  OpenStatsPage(prefix.c_str());
  EXPECT_TRUE(Files().empty());
}

TEST_F(StatsPageTest, ForkedChildLeavesTheParentsPageAloneAndOpensItsOwn) {
  StatsPage& page = Open();
  PublishLedger(LedgerOf(5), kStartNs);
  pid_t child = fork();
  if (child == 0) {
    ForgetStatsPage();
    if (Doorbell() != nullptr) _exit(1);
    PublishLedger(LedgerOf(9), kStartNs);
    if (!OpenStatsPage(prefix_.c_str())) _exit(2);
    PublishLedger(LedgerOf(8), kStartNs);
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(page.now.live, 5u);
  EXPECT_EQ(page.exited, 0u);
  std::vector<std::string> files = Files();
  ASSERT_EQ(files.size(), 2u);
  for (const std::string& file : files) {
    StatsPage& seen = MapFile(file);
    EXPECT_EQ(seen.now.live, seen.pid == static_cast<uint64_t>(child) ? 8u : 5u);
  }
}

TEST_F(StatsPageTest, TakesMemoryForWhatIsUsedAlone) {
  StatsPage& page = Open();
  const auto taken = [this] {
    struct stat status {};
    EXPECT_EQ(stat(Files().at(0).c_str(), &status), 0);
    return static_cast<size_t>(status.st_blocks) * 512;
  };
  for (uint64_t i = 0; i < 60; ++i) PublishLedger(LedgerOf(i), kStartNs + i * kSecondNs);
  EXPECT_EQ(page.seconds.next, 60u);
  // For each of the three rings two pages more than what is written (it begins and ends in one), and two before them.
  constexpr size_t kPages = (2 + 3 * 2) * 4096;
  EXPECT_LE(taken(), kPages + 60 * (sizeof(StatsEvent) + sizeof(StatsSample)) + 6 * sizeof(StatsSample));
  for (uint64_t i = 60; i < 200; ++i) PublishLedger(LedgerOf(i), kStartNs + i * kSecondNs);
  EXPECT_EQ(page.seconds.next, 200u);
  EXPECT_EQ(page.seconds.at(199).live, 199u);
  EXPECT_LE(taken(), kPages + 200 * (sizeof(StatsEvent) + sizeof(StatsSample)) + 20 * sizeof(StatsSample));
}

// ---- Which files are kept.

constexpr uint64_t kNowMs = kStartNs / 1'000'000;
constexpr uint64_t kMinuteMs = 60'000;

// A process that waits to be killed.
class Waiting {
 public:
  Waiting() : pid_(fork()) {
    if (pid_ != 0) return;
    for (;;) pause();
  }
  ~Waiting() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  ProcessImage image() const {
    ProcessImage image = ProcessImage::Own();
    image.pid = static_cast<uint64_t>(pid_);
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string field;
    for (int i = 3; i <= 28; ++i) {
      fields >> field;
      if (i == 22) image.start_time = std::stoull(field);
    }
    image.stack = std::stoull(field);
    return image;
  }

 private:
  pid_t pid_;
};

class StatsFilesTest : public StatsPageTest {
 protected:
  void SetUp() override {
    StatsPageTest::SetUp();
    Waiting past;
    dead_ = past.image();
  }

  std::string Place(const ProcessImage& image, uint64_t age_ms) {
    std::string path = prefix_ + "." + std::to_string(image.pid) + "." + std::to_string(image.start_time);
    auto page = std::make_unique<StatsPage>();
    page->magic = kStatsMagic;
    page->pid = image.pid;
    page->start_time = image.start_time;
    page->stack = image.stack;
    page->pid_namespace = image.pid_namespace;
    page->update_ms = kNowMs - age_ms;
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(page.get()), sizeof *page);
    return path;
  }
  void Sweep() { RemoveDeadPages(prefix_.c_str(), ProcessImage::Own(), kNowMs); }

  ProcessImage dead_;
};

TEST_F(StatsFilesTest, PageOfADeadProcessStaysTenMinutes) {
  std::string path = Place(dead_, 9 * kMinuteMs);
  Sweep();
  EXPECT_TRUE(fs::exists(path));
  Place(dead_, 11 * kMinuteMs);
  Sweep();
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(StatsFilesTest, OfManyTheNewestStay) {
  std::vector<std::string> newest, others;
  for (uint64_t i = 0; i < kStatsKeepCount + 20; ++i) {
    ProcessImage image = dead_;
    image.start_time += i;
    (i < kStatsKeepCount ? newest : others).push_back(Place(image, i * 1000));
  }
  Sweep();
  for (const std::string& path : newest) EXPECT_TRUE(fs::exists(path)) << path;
  for (const std::string& path : others) EXPECT_FALSE(fs::exists(path)) << path;
}

TEST_F(StatsFilesTest, PageOfARunningProcessStaysHoweverOld) {
  Waiting process;
  std::string path = Place(process.image(), 10'000 * kMinuteMs);
  std::string own = Place(ProcessImage::Own(), 10'000 * kMinuteMs);
  Sweep();
  EXPECT_TRUE(fs::exists(path));
  EXPECT_TRUE(fs::exists(own));
}

TEST_F(StatsFilesTest, LaterProcessWithThePidIsNotTheWriter) {
  Waiting process;
  ProcessImage earlier = process.image();
  --earlier.start_time;
  std::string path = Place(earlier, 11 * kMinuteMs);
  Sweep();
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(StatsFilesTest, PageThatExecLeftBehindIsToldFromOneInUse) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    ForgetStatsPage();
    dup2(ends[1], STDOUT_FILENO);
    if (OpenStatsPage(prefix_.c_str())) execlp("sh", "sh", "-c", "echo; exec sleep 60", nullptr);
    _exit(1);
  }
  char line;
  ASSERT_EQ(read(ends[0], &line, 1), 1);  // it runs the shell now, or sleep
  const uint64_t now_ms = static_cast<uint64_t>(time(nullptr)) * 1000;
  ASSERT_EQ(Files().size(), 1u);
  RemoveDeadPages(prefix_.c_str(), ProcessImage::Own(), now_ms + 9 * kMinuteMs);
  EXPECT_EQ(Files().size(), 1u);
  RemoveDeadPages(prefix_.c_str(), ProcessImage::Own(), now_ms + 11 * kMinuteMs);
  EXPECT_EQ(Files().size(), 0u);
  EXPECT_EQ(kill(child, SIGKILL), 0);
  waitpid(child, nullptr, 0);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(StatsFilesTest, PageOfAnotherPidNamespaceStaysADay) {
  ProcessImage image = dead_;
  ++image.pid_namespace;
  std::string path = Place(image, 60 * kMinuteMs);
  Sweep();
  EXPECT_TRUE(fs::exists(path));
  Place(image, 25 * 60 * kMinuteMs);
  Sweep();
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(StatsFilesTest, WhatIsNoPageIsLeftAlone) {
  std::string page = Place(dead_, 11 * kMinuteMs);
  std::string name = prefix_ + "." + std::to_string(dead_.pid) + ".";
  std::string moved = prefix_ + ".1" + page.substr(prefix_.size() + 1);  // of another process than it says
  fs::rename(page, moved);
  fs::create_symlink(moved, name + "2");
  std::ofstream(name + "3") << "short";
  std::ofstream(name + "4") << std::string(10'000, 'x');
  std::ofstream(name + "x").close();
  fs::create_directory(name + "5");
  Sweep();
  EXPECT_EQ(Files().size(), 6u);
}

TEST_F(StatsFilesTest, WhatIsNoFileIsNotWaitedFor) {
  ASSERT_EQ(mkfifo((prefix_ + "." + std::to_string(dead_.pid) + ".1").c_str(), 0600), 0);
  Sweep();
}

TEST_F(StatsFilesTest, PageThatWasNeverFinishedGoesWithItsProcess) {
  Waiting process;
  for (uint64_t pid : {dead_.pid, process.image().pid}) {
    std::string name = prefix_ + "." + std::to_string(pid) + ".";
    std::ofstream(name + "1").close();
    std::ofstream(name + "2") << std::string(sizeof(StatsPage), 0);
  }
  Sweep();
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(StatsFilesTest, ChildrenThatEndByTheHundredLeaveABoundedNumber) {
  std::vector<std::string> own;
  for (int i = 0; i < 200; ++i) {
    pid_t child = fork();
    if (child == 0) {
      ForgetStatsPage();
      _exit(OpenStatsPage(nullptr) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    own.push_back("neap." + std::to_string(child) + ".");
  }
  size_t left = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(kStatsDefaultPrefix).parent_path())) {
    for (const std::string& name : own) {
      std::string found = entry.path().filename().string();
      if (!found.starts_with(name) || found.find('.', name.size()) != found.npos) continue;
      ++left;
      fs::remove(entry.path());
    }
  }
  EXPECT_GT(left, 0u);
  EXPECT_LE(left, kStatsKeepCount + 1u);
}

}  // namespace
}  // namespace neap
