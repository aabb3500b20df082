// history.h: the readings that a page keeps, in the order of time, and what they say about where memory is going.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "alloc/stats_page.h"

namespace neap::command {

// Readings ten seconds apart, then those of the last ten minutes, then the present one.
std::vector<StatsSample> Samples(const StatsPage& page);

// In the order of time.
std::vector<StatsEvent> Events(const StatsPage& page);
// "gave back 31 MiB at once: headroom was short".
std::string EventText(const StatsEvent& event);

// What became more from the lowest reading of the last minute to the last reading. Bytes.
struct Growth {
  uint64_t ms = 0;
  int64_t live = 0;
  int64_t held = 0;  // cached, dirty and metadata
  int64_t foreign = 0;
  int64_t others = 0;  // of the cgroup and not of this process's anonymous memory
  int64_t used = 0;    // of the cgroup, or of the process where there is no limit
};
Growth RecentGrowth(const StatsPage& page);
// "foreign memory (JVM heap, stacks, mmap) grew by 1.2 GiB in 8.0 s": of the part that grew most; "" where none grew
// much.
std::string GrowthText(const StatsPage& page);

// How long headroom lasts if it goes on shrinking as in the last half minute; nothing where there is no limit or it
// does not shrink.
std::optional<uint64_t> MsToLimit(const StatsPage& page);

enum class PageState { kRuns, kEnded, kGone };  // kGone: without a normal exit
PageState StateOf(const StatsPage& page);

// What the page says, in words: a headline, then reasons and advice.
struct Story {
  std::string headline;
  std::vector<std::string> lines;
};
Story Tell(const StatsPage& page, PageState state);

}  // namespace neap::command
