// top_view.cc: see top_view.h.
#include "tools/neap/top_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

#include "alloc/pressure.h"
#include "tools/neap/history.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"

namespace neap::command {
namespace {

constexpr size_t kSparkFrom = 72;  // columns before the sparkline with the narrowest command
constexpr size_t kCommandWidth = 12;
constexpr std::array<const char*, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

uint64_t TimeToLimit(const TopRow& row) {
  uint64_t least = UINT64_MAX;
  for (const StatsPage& page : row.pages) least = std::min(least, MsToLimit(page).value_or(UINT64_MAX));
  return least;
}

std::string Name(const StatsPage& page) {
  std::string command = Printable(page.command);
  const std::string program = command.substr(0, command.find(' '));
  return command.substr(std::min(program.rfind('/') + 1, command.size()));
}

void Add(Ledger& sum, const Ledger& one) {
  sum.live += one.live;
  sum.cached += one.cached;
  sum.dirty += one.dirty;
  sum.metadata += one.metadata;
  sum.foreign += one.foreign;
  sum.anon += one.anon;
  sum.limit = one.limit;
  sum.headroom = std::min(sum.headroom, one.headroom);
  sum.cgroup_used = std::max(sum.cgroup_used, one.cgroup_used);
  sum.stall_permille = std::max(sum.stall_permille, one.stall_permille);
  sum.level = std::max(sum.level, one.level);
}

// Cut or filled to so many columns; the text is of one column a character but for UTF-8's continuation bytes.
std::string Fit(const std::string& text, size_t columns) {
  std::string fitted;
  size_t used = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && used == columns) break;
    used += starts ? 1 : 0;
    fitted += c;
  }
  return fitted + std::string(columns - used, ' ');
}

std::string Short(uint64_t ms) { return ms == UINT64_MAX ? "-" : FormatDuration(ms); }

// The highest figure of each of `columns` stretches of the last `ms`; 0 where nothing was read.
std::vector<uint64_t> Stretches(const StatsPage& page, uint64_t ms, size_t columns,
                                uint64_t (*figure)(const StatsSample&)) {
  std::vector<uint64_t> highest(columns);
  const uint64_t from = page.update_ms > ms ? page.update_ms - ms : 0;
  for (const StatsSample& sample : Samples(page)) {
    if (sample.time_ms < from || sample.time_ms > page.update_ms) continue;
    const size_t at = std::min<size_t>((sample.time_ms - from) * columns / ms, columns - 1);
    highest[at] = std::max(highest[at], figure(sample));
  }
  // Between two readings nothing has changed.
  for (size_t i = 1; i < columns; ++i) {
    if (highest[i] == 0) highest[i] = highest[i - 1];
  }
  return highest;
}

uint64_t Anon(const StatsSample& sample) { return sample.Anon(); }

std::string Sparkline(const TopRow& row, size_t columns) {
  constexpr uint64_t kMinuteMs = 60'000;
  if (row.pages.size() != 1 || columns == 0) return "";
  const std::vector<uint64_t> figures = Stretches(row.pages[0], kMinuteMs, columns, Anon);
  const uint64_t most = std::max<uint64_t>(1, *std::max_element(figures.begin(), figures.end()));
  std::string line;
  for (const uint64_t figure : figures) line += kBlocks[(figure * 8 + most - 1) / most];
  return line;
}

// Columns of blocks under each other: live full, the rest up to anon shaded, the limit a line.
std::vector<std::string> Chart(const StatsPage& page, size_t width, size_t height) {
  constexpr size_t kScale = 8;  // columns of the figures at the left
  constexpr uint64_t kTenMinutesMs = 600'000;
  if (width <= kScale + 2 || height == 0) return {};
  const size_t columns = width - kScale;
  const uint64_t span = std::clamp<uint64_t>(page.update_ms - page.start_ms, 10'000, kTenMinutesMs);
  const std::vector<uint64_t> live = Stretches(page, span, columns, [](const StatsSample& s) { return s.live; });
  const std::vector<uint64_t> anon = Stretches(page, span, columns, Anon);
  uint64_t top = std::max<uint64_t>(1, *std::max_element(anon.begin(), anon.end()));
  const bool limit_in_view = page.now.limit != kNoLimit && page.now.limit / 2 < top;
  if (limit_in_view) top = page.now.limit;
  std::vector<std::string> lines;
  for (size_t row = height; row-- > 0;) {
    const uint64_t floor = top / height * row;
    std::string line = fmt::format("{:>6} ", ShortBytes(floor + top / height));
    for (size_t i = 0; i < columns; ++i) {
      line += live[i] > floor ? "█" : anon[i] > floor ? "░" : limit_in_view && row + 1 == height ? "-" : " ";
    }
    lines.push_back(line);
  }
  lines.push_back(Fit("", kScale - 1) + fmt::format("█ live  ░ anon{}   the last {}", limit_in_view ? "  - limit" : "",
                                                    FormatDuration(span)));
  return lines;
}

void AddLines(std::vector<std::string>& lines, const std::string& text) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
}

void AddArenas(std::vector<std::string>& lines, const StatsPage& page) {
  std::vector<StatsArena> arenas(page.tables.arena, page.tables.arena + page.tables.arenas);
  const auto resident = [](const StatsArena& a) { return a.live + a.cached + a.dirty; };
  std::sort(arenas.begin(), arenas.end(),
            [&](const StatsArena& a, const StatsArena& b) { return resident(a) > resident(b); });
  lines.push_back("");
  lines.push_back(
      fmt::format("{:<32} {:>7} {:>7} {:>7} {:>7} {:>7}", "ARENA", "LIVE", "CACHED", "DIRTY", "PEAK", "BOUND"));
  for (const StatsArena& arena : arenas) {
    lines.push_back(fmt::format("{} {:>7} {:>7} {:>7} {:>7} {:>7}", Fit(Printable(arena.name), 32),
                                ShortBytes(arena.live), ShortBytes(arena.cached), ShortBytes(arena.dirty),
                                ShortBytes(arena.peak), ShortBytes(arena.bound)));
  }
}

void AddClasses(std::vector<std::string>& lines, const StatsPage& page) {
  std::vector<size_t> classes;
  for (size_t c = 0; c <= kClasses; ++c) {
    if (page.tables.size_class[c].resident > 0) classes.push_back(c);
  }
  std::sort(classes.begin(), classes.end(), [&](size_t a, size_t b) {
    return page.tables.size_class[a].resident > page.tables.size_class[b].resident;
  });
  lines.push_back("");
  lines.push_back(fmt::format("{:<32} {:>7} {:>7} {:>7} {:>7}", "BLOCKS OF", "RESIDNT", "LIVE", "WASTE", "DIRTY"));
  for (const size_t c : classes) {
    const StatsClass& row = page.tables.size_class[c];
    lines.push_back(fmt::format("{:<32} {:>7} {:>7} {:>7} {:>7}",
                                c < kClasses ? ShortBytes(kSizeClasses[c].size) : "larger", ShortBytes(row.resident),
                                ShortBytes(row.live), ShortBytes(row.live - row.requested), ShortBytes(row.dirty)));
  }
}

}  // namespace

const char* SortName(TopSort sort) {
  constexpr std::array<const char*, kTopSorts> kNames = {"anon", "live", "held", "foreign", "oom in", "pid"};
  return kNames[static_cast<size_t>(sort)];
}

std::string ShortBytes(uint64_t bytes) {
  if (bytes == kNoLimit) return "-";
  constexpr std::array<const char*, 6> kUnits = {"", "K", "M", "G", "T", "P"};
  auto figure = static_cast<double>(bytes);
  size_t unit = 0;
  for (; figure >= 999.5 && unit + 1 < kUnits.size(); ++unit) figure /= 1024;
  return unit > 0 && figure < 9.95 ? fmt::format("{:.1f}{}", figure, kUnits[unit])
                                   : fmt::format("{:.0f}{}", figure, kUnits[unit]);
}

std::vector<TopRow> TopRows(const std::vector<StatsPage>& pages, const TopChoices& choices) {
  std::map<std::string, TopRow> by_key;
  for (const StatsPage& page : pages) {
    const std::string pid = std::to_string(page.pid), command = Name(page), cgroup = Printable(page.cgroup);
    if ((pid + " " + command + " " + cgroup).find(choices.filter) == std::string::npos) continue;
    const std::string key = choices.by_cgroup ? (cgroup.empty() ? "no limit" : cgroup) : pid;
    TopRow& row = by_key.try_emplace(key, TopRow{key, command, {}, {}}).first->second;
    if (row.pages.empty()) row.sum.headroom = page.now.headroom;
    row.pages.push_back(page);
    Add(row.sum, page.now);
    if (choices.by_cgroup) row.command = fmt::format("{} on neap", row.pages.size());
  }
  std::vector<TopRow> rows;
  for (auto& [key, row] : by_key) rows.push_back(std::move(row));
  const auto rank = [&](const TopRow& row) -> uint64_t {
    switch (choices.sort) {
      case TopSort::kAnon:
        return ~std::max(row.sum.anon, row.sum.Resident());
      case TopSort::kLive:
        return ~row.sum.live;
      case TopSort::kHeld:
        return ~(row.sum.cached + row.sum.dirty + row.sum.metadata);
      case TopSort::kForeign:
        return ~row.sum.foreign;
      case TopSort::kTimeToLimit:
        return TimeToLimit(row);
      case TopSort::kPid:
        return row.pages[0].pid;
    }
    return 0;
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const TopRow& a, const TopRow& b) { return rank(a) < rank(b); });
  return rows;
}

std::vector<std::string> TopList(const std::vector<TopRow>& rows, const TopChoices& choices, size_t width,
                                 size_t height, int* highlight) {
  *highlight = -1;
  const size_t more = width > kSparkFrom + 8 ? std::min<size_t>((width - kSparkFrom - 8) / 2, 40) : 0;
  const size_t command_width = kCommandWidth + more;
  const size_t spark_width = width > kSparkFrom + more + 1 ? std::min<size_t>(width - kSparkFrom - more - 1, 60) : 0;
  const auto line = [&](const std::string& key, const std::string& command, const std::array<std::string, 8>& cells,
                        const std::string& spark) {
    return Fit(fmt::format("{:>7} {}{:>6}{:>6}{:>6}{:>7}{:>6}{:>8}{:>5}{:>8} {}",
                           Fit(key, std::min<size_t>(key.size(), 7)), Fit(command, command_width), cells[0], cells[1],
                           cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], Fit(spark, spark_width)),
               width);
  };
  std::vector<std::string> lines;
  lines.push_back(
      Fit(fmt::format("neap top: {} {}, by {}{}", rows.size(), choices.by_cgroup ? "cgroups" : "processes",
                      SortName(choices.sort), choices.filter.empty() ? "" : fmt::format(", with '{}'", choices.filter)),
          width));
  lines.push_back(line(choices.by_cgroup ? "CGROUP" : "PID", choices.by_cgroup ? "" : "COMMAND",
                       {"LIMIT", "ANON", "LIVE", "CACHED", "DIRTY", "FOREIGN", "PSI%", "OOM IN"}, "LAST MINUTE"));
  if (rows.empty()) lines.push_back(Fit("No process on neap keeps a page here: 'neap run -- CMD' starts one.", width));
  const size_t room = height > lines.size() + 1 ? height - lines.size() - 1 : 0;
  const size_t first = choices.selected >= room && room > 0 ? choices.selected - room + 1 : 0;
  for (size_t i = first; i < rows.size() && i < first + room; ++i) {
    const TopRow& row = rows[i];
    if (i == choices.selected) *highlight = static_cast<int>(lines.size());
    // A cgroup is told by the end of its path.
    const std::string key = row.key.size() > 7 ? row.key.substr(row.key.size() - 7) : row.key;
    const std::string command = choices.by_cgroup && row.key.size() > 7
                                    ? Fit(row.key.substr(0, row.key.size() - 7), command_width)
                                    : row.command;
    lines.push_back(line(key, command,
                         {ShortBytes(row.sum.limit), ShortBytes(row.sum.anon), ShortBytes(row.sum.live),
                          ShortBytes(row.sum.cached), ShortBytes(row.sum.dirty), ShortBytes(row.sum.foreign),
                          fmt::format("{:.0f}", row.sum.stall_permille / 10.0), Short(TimeToLimit(row))},
                         Sparkline(row, spark_width)));
  }
  while (lines.size() + 1 < height) lines.push_back(Fit("", width));
  lines.push_back(Fit("q quit  up/down select  enter details  s sort  / filter  g processes/cgroups", width));
  if (lines.size() > height) lines.resize(height);
  return lines;
}

std::vector<std::string> TopDetail(const TopRow& row, const TopChoices& choices, size_t width, size_t height) {
  std::vector<std::string> text;
  for (const StatsPage& page : row.pages) {
    const Story story = Tell(page, PageState::kRuns);
    text.push_back(story.headline);
    for (const std::string& line : story.lines) text.push_back("  " + line);
    text.push_back("");
    for (std::string& line : Chart(page, width, 6)) text.push_back(std::move(line));
    text.push_back("");
    AddLines(text, LedgerTable(page, NowMs()));
    AddArenas(text, page);
    AddClasses(text, page);
    text.push_back("");
  }
  const size_t room = height > 1 ? height - 1 : 0;
  const size_t first = std::min(choices.selected, text.size() > room ? text.size() - room : 0);
  std::vector<std::string> lines;
  for (size_t i = first; i < text.size() && lines.size() < room; ++i) lines.push_back(Fit(text[i], width));
  while (lines.size() < room) lines.push_back(Fit("", width));
  lines.push_back(Fit("q back  up/down scroll", width));
  return lines;
}

}  // namespace neap::command
