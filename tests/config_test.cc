// config_test.cc: the settings: what is understood, what is named in one line and left at its default.
#include "alloc/config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "alloc/heap.h"
#include "tests/fake_os.h"

namespace neap {
namespace {

void Start() { Free(Allocate(1)); }

size_t Lines() {
  const std::string errors = Fake().Errors();
  return static_cast<size_t>(std::count(errors.begin(), errors.end(), '\n'));
}

TEST(Config, Defaults) {
  Start();
  EXPECT_TRUE(Config::background());
  EXPECT_FALSE(Config::oom_null());
  EXPECT_FALSE(Config::foreign());
  EXPECT_EQ(Config::stats_prefix(), nullptr);
  EXPECT_EQ(Lines(), 0u);
}

TEST(Config, EveryRowIsRead) {
  Fake().SetEnvironment("NEAP_BACKGROUND", "0");
  Fake().SetEnvironment("NEAP_OOM", "null");
  Fake().SetEnvironment("NEAP_STATS", "/somewhere/neap");
  Fake().SetEnvironment("NEAP_FOREIGN", "1");
  Start();
  EXPECT_FALSE(Config::background());
  EXPECT_TRUE(Config::oom_null());
  EXPECT_TRUE(Config::foreign());
  EXPECT_STREQ(Config::stats_prefix(), "/somewhere/neap");
  EXPECT_EQ(Lines(), 0u);
}

TEST(Config, DefaultsMayBeSpeltOut) {
  for (const ConfigRow& row : kConfigTable) Fake().SetEnvironment(row.name, row.fallback);
  Start();
  EXPECT_TRUE(Config::background());
  EXPECT_FALSE(Config::oom_null());
  EXPECT_EQ(Lines(), 0u);
}

TEST(Config, AnUnknownValueIsNamedInOneLineAndTheDefaultUsed) {
  Fake().SetEnvironment("NEAP_BACKGROUND", "maybe");
  Fake().SetEnvironment("NEAP_OOM", std::string(5000, 'x'));
  Start();
  EXPECT_TRUE(Config::background());
  EXPECT_FALSE(Config::oom_null());
  EXPECT_EQ(Lines(), 2u);
  EXPECT_NE(Fake().Errors().find("neap: NEAP_BACKGROUND=maybe is not 0 or 1; using 1\n"), std::string::npos);
  EXPECT_NE(Fake().Errors().find("neap: NEAP_OOM=xxx"), std::string::npos);
}

TEST(Config, TheTableTellsEverything) {
  for (const ConfigRow& row : kConfigTable) {
    EXPECT_EQ(std::string(row.name).rfind("NEAP_", 0), 0u);
    EXPECT_GT(std::string(row.reason).size(), 10u) << row.name;
    EXPECT_GT(std::string(row.range).size(), 0u) << row.name;
  }
}

}  // namespace
}  // namespace neap
