// unified_test.cc: what only cgroup v2 has: memory.high, and a hard limit that kills when it is lowered below what is
// used. Runs in the VM beside limit_outcome_test.cc.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/cgroup/control_group.h"

namespace neap::test {
namespace {

class Unified : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(ControlGroup::Version(), 2) << ControlGroup::WhyNot().value_or("cgroup v1");
    group_ = std::make_unique<ControlGroup>();
  }
  void Start(std::vector<std::string> environment = {}) {
    environment.push_back(std::string("LD_PRELOAD=") + NEAP_LIBRARY);
    program_ = std::make_unique<Program>(*group_, std::vector<std::string>{NEAP_MEMORY_PROGRAM}, environment);
  }

  std::unique_ptr<ControlGroup> group_;
  std::unique_ptr<Program> program_;
};

// Shows that memory.high is real: past it, with nothing to reclaim, the kernel throttles and says so.
TEST_F(Unified, GrowthPastHighIsThrottled) {
  ASSERT_EQ(group_->SetHigh(60 * kMiB), 0);
  Start();
  program_->Order("grow 70");
  program_->Answer(std::chrono::seconds(10));
  EXPECT_GT(group_->Event("high"), 0u);
}

// Live memory stays under memory.high, but all that was ever freed would not: neap must never run into the throttle.
TEST_F(Unified, BurstsUnderHighAreNotThrottled) {
  ASSERT_EQ(group_->SetHigh(100 * kMiB), 0);
  Start();
  EXPECT_EQ(program_->Ask("bursts 5 60 2"), "ok");
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->Event("high"), 0u);
}

TEST_F(Unified, NullAtHigh) {
  ASSERT_EQ(group_->SetHigh(80 * kMiB), 0);
  Start({"NEAP_OOM=null"});
  EXPECT_EQ(program_->Ask("grow 160"), "null ENOMEM");
  EXPECT_EQ(group_->Event("high"), 0u);
  EXPECT_EQ(program_->Ask("shrink 100"), "ok");
  EXPECT_EQ(program_->Ask("grow 50"), "ok");
  EXPECT_EQ(program_->End(), 0);
}

// On v2 a write below what is used kills at once, so what neap holds beyond what is live decides.
TEST_F(Unified, HardLimitLoweredToLittleMoreThanLive) {
  ASSERT_EQ(group_->SetLimit(200 * kMiB), 0);
  Start();
  ASSERT_EQ(program_->Ask("grow 120 2"), "ok");
  ASSERT_EQ(program_->Ask("shrink 80"), "ok");
  std::this_thread::sleep_for(std::chrono::seconds(3));  // emulation; a tenth of a second where machines are real
  ASSERT_EQ(group_->SetLimit(60 * kMiB), 0);
  EXPECT_EQ(program_->Ask("churn 10 10"), "ok");
  EXPECT_EQ(program_->End(), 0);
  EXPECT_EQ(group_->OomKills(), 0u);
}

TEST_F(Unified, LimitOfTheInnerGroupAndOfTheOuterOne) {
  ASSERT_EQ(group_->SetLimit(100 * kMiB), 0);
  ControlGroup roomy(group_.get());
  ASSERT_EQ(roomy.SetLimit(300 * kMiB), 0);
  Program program(roomy, {NEAP_MEMORY_PROGRAM}, {std::string("LD_PRELOAD=") + NEAP_LIBRARY, "NEAP_OOM=null"});
  EXPECT_EQ(program.Ask("grow 200"), "null ENOMEM");
  EXPECT_EQ(program.Ask("shrink 100"), "ok");
  ASSERT_EQ(group_->SetLimit(400 * kMiB), 0);
  EXPECT_EQ(program.Ask("grow 200"), "ok");  // the outer limit was raised while it ran
  EXPECT_EQ(program.End(), 0);
}

}  // namespace
}  // namespace neap::test
