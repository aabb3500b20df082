// top_view.h: what `neap top` shows, as lines of text: pages and the user's choices in, lines out. No terminal.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "alloc/stats_page.h"

namespace neap::command {

enum class TopSort { kAnon, kLive, kHeld, kForeign, kTimeToLimit, kPid };
inline constexpr size_t kTopSorts = 6;
const char* SortName(TopSort sort);

struct TopChoices {
  TopSort sort = TopSort::kAnon;
  std::string filter;      // part of the command, the pid or the cgroup
  bool by_cgroup = false;  // a row for each cgroup
  size_t selected = 0;     // the row; of a detail, the first line
  std::string detail;      // key of the row that is shown alone; "" for the list
};

// A process, or all of a cgroup.
struct TopRow {
  std::string key;      // pid, or path of the cgroup
  std::string command;  // or "3 processes"
  std::vector<StatsPage> pages;
  Ledger sum;  // of processes: live, cached, dirty, metadata, foreign, anon; the limit and its use are the cgroup's own
};

// Filtered and sorted.
std::vector<TopRow> TopRows(const std::vector<StatsPage>& pages, const TopChoices& choices);

// At most `height` lines of at most `width` columns. The selected row is line `*highlight`; -1: none.
std::vector<std::string> TopList(const std::vector<TopRow>& rows, const TopChoices& choices, size_t width,
                                 size_t height, int* highlight);
std::vector<std::string> TopDetail(const TopRow& row, const TopChoices& choices, size_t width, size_t height);

// "1.2G", "612M", "8.0M", "512K", "-" for none: four columns and the unit at most.
std::string ShortBytes(uint64_t bytes);

}  // namespace neap::command
