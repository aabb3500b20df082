// The planner's process: asked several times, kept by its session, lost and started again, and gone at the end.
#include "engine/sql/planner.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "alloc/neap.h"
#include "engine/core/error.h"

namespace neap::engine {
namespace {

// What a folder of /proc holds.
std::vector<std::string> Entries(const char* folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder), closedir);
  while (const dirent* entry = readdir(entries.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The children of this process, dead ones that nobody has waited for among them.
std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  for (const std::string& name : Entries("/proc")) {
    if (std::isdigit(static_cast<unsigned char>(name[0])) == 0) continue;
    std::ifstream file("/proc/" + name + "/stat");
    std::stringstream text;
    text << file.rdbuf();
    const std::string line = text.str();
    const size_t after_name = line.rfind(')');
    if (after_name == std::string::npos) continue;
    if (std::stoi(line.substr(after_name + 4)) == getpid()) children.push_back(std::stoi(name));
  }
  return children;
}

bool HasMuchMemory() {
  neap_stats_t process;
  return neap_stats(&process) == 0 && process.limit >= uint64_t{1} << 30;
}

TEST(Planner, AnswersAgainAndForOtherTables) {
  Planner planner;
  const auto first = planner.Plan({"CREATE TABLE t (n BIGINT)"}, {"SELECT n FROM t", "SELECT 1"});
  ASSERT_EQ(first.size(), 2U);
  EXPECT_TRUE(planner.IsReady());
  EXPECT_EQ(planner.Plan({"CREATE TABLE t (n BIGINT)"}, {"SELECT n FROM t"}).front().plan, first.front().plan);
  EXPECT_NE(planner.Plan({"CREATE TABLE t (n VARCHAR)"}, {"SELECT n FROM t"}).front().plan, first.front().plan);
  EXPECT_TRUE(planner.Plan({}, {}).empty());
  EXPECT_GT(planner.ResidentBytes(), size_t{1} << 20);
  EXPECT_THROW(planner.Plan({}, {"SELECT n FROM t"}), Error);
}

TEST(Planner, OfASessionIsKeptAndEnds) {
  if (!HasMuchMemory()) GTEST_SKIP() << "the container is too small to keep a planner in";
  const auto open_before = Entries("/proc/self/fd");
  {
    Session session;
    session.Plan("SELECT 1");
    const auto children = Children();
    ASSERT_EQ(children.size(), 1U);
    session.Plan("SELECT 2");
    EXPECT_EQ(Children(), children);

    EXPECT_THROW(session.Plan("SELECT nothing"), Error);
    session.Plan("SELECT 3");
    EXPECT_EQ(Children().size(), 1U);

    // Two at a time need one each; one is kept.
    std::thread other([&] { session.Plan("SELECT 4"); });
    session.Plan("SELECT 5");
    other.join();
    EXPECT_EQ(Children().size(), 1U);
  }
  EXPECT_TRUE(Children().empty());
  EXPECT_EQ(Entries("/proc/self/fd"), open_before);
}

TEST(Planner, ThatDiedIsStartedAgain) {
  if (!HasMuchMemory()) GTEST_SKIP() << "the container is too small to keep a planner in";
  Session session;
  session.Plan("SELECT 1");
  ASSERT_EQ(Children().size(), 1U);
  const pid_t first = Children().front();
  kill(first, SIGKILL);
  siginfo_t ended;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(first), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(session.Plan("SELECT 2").size(), 1U);
  ASSERT_EQ(Children().size(), 1U);
  EXPECT_NE(Children().front(), first);
}

TEST(Planner, IsNotSharedWithAFork) {
  if (!HasMuchMemory()) GTEST_SKIP() << "the container is too small to keep a planner in";
  Session session;
  session.Plan("SELECT 1");
  const auto children = Children();
  const pid_t fork_of_this = fork();
  if (fork_of_this == 0) {
    int failed = 1;
    try {
      if (session.Plan("SELECT 2").size() == 1 && Children().size() == 1 && Children() != children) failed = 0;
    } catch (const Error&) {
      failed = 2;
    }
    _exit(failed);
  }
  int status;
  ASSERT_EQ(waitpid(fork_of_this, &status, 0), fork_of_this);
  EXPECT_EQ(status, 0);
  session.Plan("SELECT 3");
  EXPECT_EQ(Children(), children);
}

// What the caller has open is not the planner's: who waits for the end of a pipe must not wait for it.
TEST(Planner, HoldsNoFilesOfTheCallers) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Planner planner;
  planner.Plan({}, {"SELECT 1"});
  close(ends[1]);
  char byte;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);
  close(ends[0]);
}

}  // namespace
}  // namespace neap::engine
