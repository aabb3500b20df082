// verdict.h: how a command under `neap run` ended, in one line of words. Values in, words out.
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "alloc/pressure.h"
#include "alloc/stats_page.h"
#include "tools/neap/child.h"

namespace neap::command {

struct RunOutcome {
  ChildEnd end;
  // The process whose page speaks for the command: the biggest, after a kill the biggest of those killed.
  std::optional<StatsPage> page;
  size_t pages = 0;           // processes that kept one
  uint64_t limit = kNoLimit;  // of the cgroup made for it; else the container's, where its page names one
  bool limit_is_ours = false;
  uint64_t oom_kills = 0;      // by the kernel in its cgroup while it ran
  bool limit_was_hit = false;  // our cgroup's limit, and not one above it
  size_t left_behind = 0;      // processes that still run in its cgroup

  // The command as a whole died of a limit; else the kernel at most killed parts that it could do without.
  bool KilledByLimit() const { return oom_kills > 0 && end.exit_code == 128 + SIGKILL; }
};

std::string OutcomeLine(const RunOutcome& outcome);
// How it ended alone: "killed by the limit of 1.0 GiB", "exit 0 after 12 s".
std::string EndWords(const RunOutcome& outcome);
nlohmann::ordered_json OutcomeJson(const RunOutcome& outcome);

}  // namespace neap::command
