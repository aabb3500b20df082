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

// What became most from the lowest reading of the last minute to the last reading:
// "foreign memory (Java heap) grew by 1.2 GiB in 8.0 s": of the part that grew most; "" where none grew
// much.
std::string GrowthText(const StatsPage& page);

// How long headroom lasts if it goes on shrinking as in the last half minute; nothing where there is no limit or it
// does not shrink.
std::optional<uint64_t> MsToLimit(const StatsPage& page);

// What would have helped a process that a limit killed, by its last ledger.
std::string Advice(const Ledger& ledger, uint64_t limit);

enum class PageState { kRuns, kEnded, kGone };  // kGone: without a normal exit
PageState StateOf(const StatsPage& page);

// What the page says, in words: a headline, then reasons and advice.
struct Story {
  std::string headline;
  std::vector<std::string> lines;
};
Story Tell(const StatsPage& page, PageState state);

}  // namespace neap::command
