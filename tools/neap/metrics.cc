// metrics.cc: see metrics.h.
#include "tools/neap/metrics.h"

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "alloc/pressure.h"
#include "tools/neap/history.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"

namespace neap::command {
namespace {

// A row of the table below. `figure` gives nothing where the process has none; a counter's name ends in _total.
struct Metric {
  const char* name;
  const char* unit;  // the name's last word but _total, as OpenMetrics has it; "" for none
  const char* help;
  std::function<std::optional<double>(const StatsPage&)> figure;
};

std::optional<double> Bytes(uint64_t bytes) {
  return bytes == kNoLimit ? std::nullopt : std::optional(static_cast<double>(bytes));
}

std::optional<double> Seconds(std::optional<uint64_t> ms) {
  return ms ? std::optional(static_cast<double>(*ms) / 1000) : std::nullopt;
}

const std::vector<Metric>& Metrics() {
  static const std::vector<Metric> metrics = {
      {"neap_live_bytes", "bytes", "In blocks handed out and not yet freed.",
       [](const StatsPage& p) { return Bytes(p.now.live); }},
      {"neap_cached_bytes", "bytes", "Free blocks in pages that also hold live ones, and in the CPUs' caches.",
       [](const StatsPage& p) { return Bytes(p.now.cached); }},
      {"neap_dirty_bytes", "bytes", "Pages without a live block, not yet given back.",
       [](const StatsPage& p) { return Bytes(p.now.dirty); }},
      {"neap_metadata_bytes", "bytes", "neap's own.", [](const StatsPage& p) { return Bytes(p.now.metadata); }},
      {"neap_resident_bytes", "bytes", "Live, cached, dirty and metadata together.",
       [](const StatsPage& p) { return Bytes(p.now.Resident()); }},
      {"neap_foreign_bytes", "bytes", "Anonymous memory of the process that neap did not map.",
       [](const StatsPage& p) { return Bytes(p.now.foreign); }},
      {"neap_anon_bytes", "bytes", "Anonymous memory of the process, as the kernel counts it.",
       [](const StatsPage& p) { return Bytes(p.now.anon); }},
      {"neap_peak_anon_bytes", "bytes", "The highest anonymous memory of the process.",
       [](const StatsPage& p) { return Bytes(p.peak.anon); }},
      {"neap_limit_bytes", "bytes", "The limit of the cgroup that binds; absent where there is none.",
       [](const StatsPage& p) { return Bytes(p.now.limit); }},
      {"neap_headroom_bytes", "bytes", "What is left under the limit; absent where there is none.",
       [](const StatsPage& p) { return Bytes(p.now.headroom); }},
      {"neap_cgroup_used_bytes", "bytes", "What the kernel could not reclaim in the cgroup that binds.",
       [](const StatsPage& p) { return p.now.limit == kNoLimit ? std::nullopt : Bytes(p.now.cgroup_used); }},
      {"neap_time_to_limit_seconds", "seconds",
       "Until headroom is used up at the pace of the last half minute; absent where it does not shrink.",
       [](const StatsPage& p) { return Seconds(MsToLimit(p)); }},
      {"neap_pressure_level", "", "0 ample, 1 low, 2 critical.", [](const StatsPage& p) { return Bytes(p.now.level); }},
      {"neap_memory_stall_ratio", "ratio", "Share of the time in which a task of the cgroup waited for memory (PSI).",
       [](const StatsPage& p) { return std::optional(p.now.stall_permille / 1000.0); }},
      {"neap_arenas", "", "Arenas, the root included.", [](const StatsPage& p) { return Bytes(p.now.arenas); }},
      {"neap_start_time_seconds", "seconds", "When the process began to keep its page, since the epoch.",
       [](const StatsPage& p) { return Seconds(p.start_ms); }},
      {"neap_released_bytes_total", "bytes", "Given back to the kernel.",
       [](const StatsPage& p) { return Bytes(p.now.released); }},
      {"neap_regret_bytes_total", "bytes", "Given back and soon taken again.",
       [](const StatsPage& p) { return Bytes(p.now.regret); }},
      {"neap_callbacks_total", "", "Consumers asked to free memory.",
       [](const StatsPage& p) { return Bytes(p.now.callbacks); }},
      {"neap_wanted_bytes_total", "bytes", "What consumers were asked to free.",
       [](const StatsPage& p) { return Bytes(p.now.wanted); }},
      {"neap_foreign_purges_total", "", "Calls to other allocators inside the process to give back.",
       [](const StatsPage& p) { return Bytes(p.now.foreign_purges); }},
      {"neap_foreign_purged_bytes_total", "bytes", "By how much foreign memory fell in these.",
       [](const StatsPage& p) { return Bytes(p.now.foreign_purged); }},
      {"neap_limit_changes_total", "", "How often the limit was seen to change.",
       [](const StatsPage& p) { return Bytes(p.now.limit_changes); }},
      {"neap_overruns_total", "", "Allocations past the bound of a soft arena.",
       [](const StatsPage& p) { return Bytes(p.now.overruns); }},
  };
  return metrics;
}

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : Printable(text)) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string Labels(const StatsPage& page) {
  std::string_view command = page.command;
  command = command.substr(0, command.find(' '));
  command = command.substr(command.rfind('/') + 1);
  return fmt::format("pid=\"{}\",command=\"{}\"", page.pid, Escaped(command));
}

class Writer {
 public:
  explicit Writer(MetricsFormat format) : format_(format) {}

  void Head(std::string_view name, std::string_view unit, std::string_view help) {
    const bool counts = name.ends_with("_total");
    if (counts && format_ == MetricsFormat::kOpenMetrics) name.remove_suffix(std::string_view("_total").size());
    text_ += fmt::format("# TYPE {} {}\n", name, counts ? "counter" : "gauge");
    if (!unit.empty() && format_ == MetricsFormat::kOpenMetrics) text_ += fmt::format("# UNIT {} {}\n", name, unit);
    text_ += fmt::format("# HELP {} {}\n", name, help);
  }
  void Sample(std::string_view name, const std::string& labels, double figure) {
    text_ += fmt::format("{}{{{}}} {}\n", name, labels, figure);
  }
  std::string Finish() {
    if (format_ == MetricsFormat::kOpenMetrics) text_ += "# EOF\n";
    return std::move(text_);
  }

 private:
  MetricsFormat format_;
  std::string text_;
};

}  // namespace

std::string MetricsText(const std::vector<StatsPage>& pages, MetricsFormat format) {
  Writer writer(format);
  for (const Metric& metric : Metrics()) {
    writer.Head(metric.name, metric.unit, metric.help);
    for (const StatsPage& page : pages) {
      if (const std::optional<double> figure = metric.figure(page)) writer.Sample(metric.name, Labels(page), *figure);
    }
  }
  const auto by_cause = [&](const char* name, const char* unit, const char* help, auto figures) {
    constexpr const char* kCauses[kPurgeCauses] = {"limit", "called", "ordered", "no_memory"};
    writer.Head(name, unit, help);
    for (const StatsPage& page : pages) {
      for (uint32_t i = 0; i < kPurgeCauses; ++i) {
        writer.Sample(name, fmt::format("{},cause=\"{}\"", Labels(page), kCauses[i]),
                      static_cast<double>(figures(page.now)[i]));
      }
    }
  };
  by_cause("neap_purges_total", "", "Times that everything without a live block was given back at once.",
           [](const Ledger& ledger) { return ledger.purges; });
  by_cause("neap_purged_bytes_total", "bytes", "What these gave back.",
           [](const Ledger& ledger) { return ledger.purged; });
  writer.Head("neap_foreign_part_bytes", "bytes", "What foreign memory was made of at the last reading.");
  for (const StatsPage& page : pages) {
    const StatsForeign* parts = LastForeign(page);
    for (uint32_t i = 0; parts != nullptr && i < kForeignParts; ++i) {
      writer.Sample("neap_foreign_part_bytes", fmt::format("{},part=\"{}\"", Labels(page), kForeignPartNames[i].key),
                    static_cast<double>(parts->part[i]));
    }
  }
  const auto by_arena = [&](const char* name, const char* help, auto figure) {
    writer.Head(name, "bytes", help);
    for (const StatsPage& page : pages) {
      for (uint32_t i = 0; i < page.tables.arenas; ++i) {
        const StatsArena& arena = page.tables.arena[i];
        const std::optional<double> bytes = Bytes(figure(arena));
        const std::string labels =
            fmt::format("{},arena=\"{}\",id=\"{}\"", Labels(page), Escaped(arena.name), arena.id);
        if (bytes) writer.Sample(name, labels, *bytes);
      }
    }
  };
  by_arena("neap_arena_live_bytes", "Of the largest arenas: live, this arena alone.",
           [](const StatsArena& a) { return a.live; });
  by_arena("neap_arena_charged_bytes", "Resident and reserved, with all arenas below.",
           [](const StatsArena& a) { return a.charged; });
  by_arena("neap_arena_bound_bytes", "The arena's bound; absent where it has none.",
           [](const StatsArena& a) { return a.bound; });
  return writer.Finish();
}

}  // namespace neap::command
