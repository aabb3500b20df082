// limit_outcome_test.cc: what becomes of a program on neap at a real limit, on cgroup v1 or v2: killed or not, and what
// it holds. The same cases run on this machine and in the VM.
#include <errno.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/cgroup/control_group.h"

namespace neap::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

// Sizes below are MiB for a real machine; the VM, whose faults are slow, takes a share of them.
uint64_t Scaled(uint64_t mib) {
  const char* percent = getenv("NEAP_TEST_SCALE");
  return percent == nullptr ? mib : mib * static_cast<uint64_t>(atoi(percent)) / 100;
}

std::string Order(const char* what, std::initializer_list<uint64_t> numbers) {
  std::string line = what;
  for (uint64_t number : numbers) line += " " + std::to_string(number);
  return line;
}

class LimitOutcome : public testing::Test {
 protected:
  void SetUp() override {
    if (auto reason = ControlGroup::WhyNot()) GTEST_SKIP() << *reason;
    group_ = std::make_unique<ControlGroup>();
  }

  void Limit(uint64_t mib) { ASSERT_EQ(group_->SetLimit(mib * kMiB), 0); }
  void Start(std::vector<std::string> environment = {}) {
    environment.push_back(std::string("LD_PRELOAD=") + NEAP_LIBRARY);
    program_ = std::make_unique<Program>(*group_, std::vector<std::string>{NEAP_MEMORY_PROGRAM}, environment);
    ASSERT_GE(Anon(), 0);
  }
  long Anon() {
    std::string answer = program_->Ask("anon");
    return answer == "ended" ? -1 : atol(answer.c_str());
  }
  // What the container counts: of a huge page that is freed in part, the whole, until the kernel has split it.
  long Used() { return static_cast<long>(group_->Used() / kMiB); }
  // Waits until that is at most so much; what it is then.
  long UsedSoonBelow(long mib) {
    auto until = Clock::now() + seconds(60);  // an emulated machine splits huge pages slowly
    while (Used() > mib && Clock::now() < until) std::this_thread::sleep_for(milliseconds(50));
    return Used();
  }
  // EBUSY while more is used than that. v1 says so itself; v2 would kill, so whoever resizes a pod looks first, and
  // leaves room for what happens between the look and the write.
  int LowerLimit(uint64_t bytes) {
    if (ControlGroup::Version() == 2 && group_->Used() > bytes * 9 / 10) return EBUSY;
    return group_->SetLimit(bytes);
  }

  std::unique_ptr<ControlGroup> group_;
  std::unique_ptr<Program> program_;
};

// Shows that the limit is real: without it the cases below would prove nothing.
TEST_F(LimitOutcome, GrowthPastTheLimitIsKilled) {
  Limit(Scaled(200));
  Start();
  EXPECT_EQ(program_->Ask(Order("grow", {Scaled(400)})), "ended");
  EXPECT_EQ(program_->End(), 137);
  EXPECT_EQ(group_->OomKills(), 1u);
}

TEST_F(LimitOutcome, BurstsNearTheLimitSurvive) {
  Limit(Scaled(600));
  Start();
  EXPECT_EQ(program_->Ask(Order("bursts", {10, Scaled(400), 4})), "ok");
  // All but one block in 500 is free; survivors pin pages, but few. The kernel's own part does not scale.
  const long few = static_cast<long>(Scaled(100)) + 4;
  EXPECT_LE(UsedSoonBelow(few), few);
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, WhatOneRoundFreedTheNextMayTake) {
  Limit(Scaled(300));
  Start();
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(program_->Ask(Order("grow", {Scaled(240), 4})), "ok");
    EXPECT_EQ(program_->Ask("shrink 100"), "ok");
  }
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, LimitLoweredBelowWhatWasHeldOnce) {
  Limit(Scaled(600));
  Start();
  ASSERT_EQ(program_->Ask(Order("grow", {Scaled(400), 4})), "ok");
  ASSERT_EQ(program_->Ask("shrink 80"), "ok");
  EXPECT_LE(UsedSoonBelow(static_cast<long>(Scaled(200))), static_cast<long>(Scaled(200)));
  ASSERT_EQ(group_->SetLimit(Scaled(240) * kMiB), 0);
  // Under the new limit it goes on as before.
  EXPECT_EQ(program_->Ask(Order("churn", {20, Scaled(60)})), "ok");
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

// The limit falls to little more than what is live while a program allocates and frees all the time.
TEST_F(LimitOutcome, LimitLoweredWhileRunning) {
  Limit(Scaled(600));
  Start();
  ASSERT_EQ(program_->Ask(Order("grow", {Scaled(300), 4})), "ok");
  ASSERT_EQ(program_->Ask("shrink 70"), "ok");
  program_->Order(Order("churn", {60, Scaled(40)}));
  for (uint64_t mib : {Scaled(500), Scaled(400), Scaled(300), Scaled(220)}) {
    auto until = Clock::now() + seconds(20);
    int error;
    while ((error = LowerLimit(mib * kMiB)) == EBUSY && Clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(100));
    }
    EXPECT_EQ(error, 0) << "at " << mib << " MiB";
  }
  EXPECT_EQ(program_->Answer().value_or("ended"), "ok");
  EXPECT_LE(Used(), static_cast<long>(Scaled(220)));
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, NullInPlaceOfTheKill) {
  Limit(Scaled(200));
  Start({"NEAP_OOM=null"});
  EXPECT_EQ(program_->Ask(Order("grow", {Scaled(400)})), "null ENOMEM");
  long held = Anon();
  EXPECT_GE(held, static_cast<long>(Scaled(200) * 3 / 4)) << "refused long before the limit";
  // Nothing latches.
  EXPECT_EQ(program_->Ask("shrink 100"), "ok");
  EXPECT_EQ(program_->Ask(Order("grow", {Scaled(140)})), "ok");
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, NullOnEveryThread) {
  Limit(Scaled(300));
  Start({"NEAP_OOM=null"});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(program_->Ask(Order("grow", {Scaled(600), 8})), "null ENOMEM");
    EXPECT_EQ(program_->Ask("shrink 100"), "ok");
  }
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, NullAtAnAncestorsLimit) {
  Limit(Scaled(200));
  ControlGroup inner(group_.get());
  Program program(inner, {NEAP_MEMORY_PROGRAM}, {std::string("LD_PRELOAD=") + NEAP_LIBRARY, "NEAP_OOM=null"});
  EXPECT_EQ(program.Ask(Order("grow", {Scaled(400)})), "null ENOMEM");
  EXPECT_EQ(program.End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(LimitOutcome, PageCacheIsNoPressure) {
  struct statfs fs;
  constexpr long kTmpfs = 0x01021994;
  if (statfs(".", &fs) != 0 || fs.f_type == kTmpfs || fs.f_type == 0x858458f6) GTEST_SKIP() << "no disk under the test";
  Limit(Scaled(300));
  Start({"NEAP_OOM=null"});
  std::string file = "page-cache." + std::to_string(getpid());
  {
    Program writer(*group_, {"sh", "-c", "head -c " + std::to_string(Scaled(500) * kMiB) + " /dev/zero > " + file}, {});
    EXPECT_EQ(writer.End(), 0);
  }
  EXPECT_EQ(program_->Ask(Order("grow", {Scaled(200)})), "ok");
  EXPECT_EQ(program_->End(), 0);
  unlink(file.c_str());
  EXPECT_EQ(group_->OomKills(), 0u);
}

// What neap keeps for its next burst must go when a neighbour in the same container needs it.
TEST_F(LimitOutcome, ANeighbourGetsWhatNeapDoesNotNeed) {
  Limit(Scaled(400));
  Start();
  ASSERT_EQ(program_->Ask(Order("grow", {Scaled(250), 4})), "ok");
  ASSERT_EQ(program_->Ask("shrink 90"), "ok");
  Program neighbour(*group_, {NEAP_MEMORY_PROGRAM}, {});
  for (int step = 0; step < 10; ++step) ASSERT_EQ(neighbour.Ask(Order("grow", {Scaled(30)})), "ok");
  EXPECT_EQ(program_->Ask(Order("churn", {5, Scaled(20)})), "ok");
  EXPECT_EQ(neighbour.End(), 0);
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

}  // namespace
}  // namespace neap::test
