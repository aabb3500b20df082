// ledger_text.cc: a page of statistics as a person's table and as JSON.
#include "tools/neap/ledger_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "alloc/pressure.h"
#include "tools/neap/bytes.h"
#include "tools/neap/output.h"

namespace neap::command {
namespace {

using Json = nlohmann::ordered_json;

uint64_t Sum(const uint64_t (&figures)[kPurgeCauses]) {
  return std::accumulate(std::begin(figures), std::end(figures), uint64_t{0});
}

}  // namespace

const char* LevelName(uint32_t level) {
  switch (static_cast<PressureLevel>(level)) {
    case PressureLevel::kAmple:
      return "ample";
    case PressureLevel::kLow:
      return "low";
    case PressureLevel::kCritical:
      return "critical";
  }
  return "unknown";
}

std::string LedgerRow(const char* sign, const char* name, const std::string& figure, const std::string& words) {
  return fmt::format("{} {:<11}{:>10}   {}\n", sign, name, figure, words);
}

Json BytesOrNull(uint64_t bytes) { return bytes == kNoLimit ? Json() : Json(bytes); }

int64_t Residual(const Ledger& ledger) {
  return ledger.anon == 0 ? 0 : static_cast<int64_t>(ledger.anon - ledger.Resident() - ledger.foreign);
}

uint64_t CountedResident(const Ledger& ledger) {
  return ledger.anon == 0 ? ledger.Resident() : ledger.anon - std::min(ledger.anon, ledger.foreign);
}

std::string ForeignPartsText(const StatsPage& page) {
  const StatsForeign* parts = LastForeign(page);
  if (parts == nullptr) return "JVM heap, stacks, mmap";
  std::vector<std::pair<uint64_t, const char*>> named;
  for (uint32_t i = 0; i < kForeignParts; ++i) named.emplace_back(parts->part[i], kForeignPartNames[i].words);
  std::stable_sort(named.begin(), named.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text;
  for (const auto& [bytes, name] : named) {
    if (bytes < std::max<uint64_t>(named[0].first / 100, 1)) break;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, FormatBytes(bytes));
  }
  return text;
}

const StatsForeign* LastForeign(const StatsPage& page) {
  return page.foreign.size() == 0 ? nullptr : &page.foreign.at(page.foreign.size() - 1);
}

std::string FormatDuration(uint64_t ms) {
  if (ms < 100) return fmt::format("{} ms", ms);
  double seconds = static_cast<double>(ms) / 1000;
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string ResidentRows(const Ledger& ledger, const std::string& words) {
  return LedgerRow(" ", "live", FormatBytes(ledger.live), "in blocks handed out and not yet freed") +
         LedgerRow("+", "cached", FormatBytes(ledger.cached),
                   "free blocks in pages that also hold live ones, and in caches") +
         LedgerRow("+", "dirty", FormatBytes(ledger.dirty), "pages without a live block, not yet given back") +
         LedgerRow("+", "metadata", FormatBytes(ledger.metadata), "neap's own") +
         LedgerRow("=", "resident", FormatBytes(ledger.Resident()), words);
}

const char* ResidualText(int64_t residual) {
  return residual < 0 ? "pages of live blocks that were never written, or are swapped out"
                      : "what none of the above explains: free parts of huge pages";
}

std::string LedgerTable(const StatsPage& page, uint64_t now_ms) {
  const Ledger& now = page.now;
  auto since = [now_ms](uint64_t ms) { return FormatDuration(now_ms > ms ? now_ms - ms : 0); };
  std::string text = fmt::format("{} (pid {}, neap {}, page kept for {}, read {} ago{})\n", Printable(page.command),
                                 page.pid, Printable(page.version), since(page.start_ms), since(page.update_ms),
                                 page.exited != 0 ? ", ended normally" : "");
  text += ResidentRows(now, fmt::format("of neap; peak {}", FormatBytes(page.peak.resident)));
  if (now.anon == 0) {
    text += LedgerRow(" ", "anon", "-", "the kernel's figures were not read yet");
  } else {
    text += LedgerRow("+", "foreign", FormatBytes(now.foreign), "not mapped by neap: " + ForeignPartsText(page));
    text += LedgerRow("+", "residual", FormatSignedBytes(Residual(now)), ResidualText(Residual(now)));
    text += LedgerRow("=", "anon", FormatBytes(now.anon),
                      fmt::format("of the process, as the kernel counts; peak {}", FormatBytes(page.peak.anon)));
  }
  if (now.limit == kNoLimit) {
    text += LedgerRow(" ", "limit", "none", "");
  } else {
    text += LedgerRow(" ", "limit", FormatBytes(now.limit), Printable(page.cgroup));
    text += LedgerRow(" ", "headroom", FormatBytes(now.headroom),
                      fmt::format("{}; lowest seen {}; tasks waited {:.1f} % of the time", LevelName(now.level),
                                  FormatBytes(page.peak.lowest_headroom), now.stall_permille / 10.0));
  }
  text += LedgerRow(" ", "given back", FormatBytes(now.released),
                    fmt::format("since the start; regret (soon taken again) {}", FormatBytes(now.regret)));
  if (now.foreign_purges > 0) {
    text += LedgerRow(" ", "by others", FormatBytes(now.foreign_purged),
                      fmt::format("that other allocators gave back in {} calls", now.foreign_purges));
  }
  text += fmt::format("  arenas {}, purges {}, callbacks {}, limit changes {}, overruns {}\n", now.arenas,
                      Sum(now.purges), now.callbacks, now.limit_changes, now.overruns);
  return text;
}

std::optional<uint64_t> Requested(const StatsPage& page) {
  if (page.tables_ms == 0) return std::nullopt;
  uint64_t sum = 0;
  for (const StatsClass& row : page.tables.size_class) sum += row.requested;
  return sum;
}

Json TablesJson(const StatsPage& page) {
  const StatsTables& tables = page.tables;
  Json arenas = Json::array(), classes = Json::array(), nodes = Json::array();
  for (uint32_t i = 0; i < tables.arenas; ++i) {
    const StatsArena& row = tables.arena[i];
    arenas.push_back({{"id", row.id},
                      {"parent", row.parent},
                      {"name", Printable(row.name)},
                      {"live", row.live},
                      {"cached", row.cached},
                      {"dirty", row.dirty},
                      {"charged", row.charged},
                      {"peak", row.peak},
                      {"bound", BytesOrNull(row.bound)},
                      {"overruns", row.overruns}});
  }
  for (size_t c = 0; c <= kClasses; ++c) {
    const StatsClass& row = tables.size_class[c];
    classes.push_back({{"size", c < kClasses ? Json(kSizeClasses[c].size) : Json()},
                       {"live", row.live},
                       {"requested", row.requested},
                       {"resident", row.resident},
                       {"dirty", row.dirty}});
  }
  for (uint32_t i = 0; i < tables.nodes; ++i) {
    nodes.push_back({{"resident", tables.node[i].resident}, {"dirty", tables.node[i].dirty}});
  }
  return {{"arenas", arenas}, {"size_classes", classes}, {"nodes", nodes}};
}

Json ForeignJson(const StatsForeign& parts) {
  Json json = {{"time_ms", parts.time_ms}};
  for (uint32_t i = 0; i < kForeignParts; ++i) json[kForeignPartNames[i].key] = parts.part[i];
  json["shared"] = parts.shared;
  json["mapped"] = parts.mapped;
  json["threads"] = parts.threads;
  return json;
}

Json LedgerJson(const StatsPage& page) {
  const Ledger& now = page.now;
  const LedgerPeaks& peak = page.peak;
  const std::optional<uint64_t> requested = Requested(page);
  const StatsForeign* parts = LastForeign(page);
  return {
      {"pid", page.pid},
      {"command", Printable(page.command)},
      {"version", Printable(page.version)},
      {"start_ms", page.start_ms},
      {"update_ms", page.update_ms},
      {"exited", page.exited != 0},
      {"live", now.live},
      {"requested", requested ? Json(*requested) : Json()},
      {"cached", now.cached},
      {"dirty", now.dirty},
      {"metadata", now.metadata},
      {"resident", now.Resident()},
      {"foreign", now.foreign},
      {"foreign_parts", parts == nullptr ? Json() : ForeignJson(*parts)},
      {"residual", Residual(now)},
      {"anon", now.anon},
      {"limit", BytesOrNull(now.limit)},
      {"headroom", BytesOrNull(now.headroom)},
      {"level", LevelName(now.level)},
      {"stall", now.stall_permille / 1000.0},
      {"cgroup", Printable(page.cgroup)},
      {"cgroup_used", now.cgroup_used},
      {"released", now.released},
      {"regret", now.regret},
      {"purges", Sum(now.purges)},
      {"callbacks", now.callbacks},
      {"foreign_purges", now.foreign_purges},
      {"foreign_purged", now.foreign_purged},
      {"limit_changes", now.limit_changes},
      {"overruns", now.overruns},
      {"arenas", now.arenas},
      {"peak",
       {{"live", peak.live},
        {"cached", peak.cached},
        {"dirty", peak.dirty},
        {"metadata", peak.metadata},
        {"resident", peak.resident},
        {"foreign", peak.foreign},
        {"anon", peak.anon},
        {"cgroup_used", peak.cgroup_used},
        {"lowest_headroom", BytesOrNull(peak.lowest_headroom)}}},
  };
}

}  // namespace neap::command
