// report.cc: the tree of operators with its figures, and the ledger of the query's arena.
#include "tools/neap_sql/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/neap/bytes.h"
#include "tools/neap/output.h"

namespace neap::command {
namespace {

using neap::engine::OperatorReport;
using neap::engine::QueryReport;

constexpr size_t kWidestName = 60;

double Seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string Label(const OperatorReport& op) {
  std::string label(size_t{op.depth} * 2, ' ');
  label += op.name;
  if (!op.detail.empty()) label += ": " + op.detail;
  if (label.size() > kWidestName) label = label.substr(0, kWidestName - 3) + "...";
  return label;
}

std::string BytesOrNothing(uint64_t bytes) { return bytes == 0 ? "" : FormatBytes(bytes); }

}  // namespace

std::string ReportText(const QueryReport& report) {
  size_t width = 8;
  for (const OperatorReport& op : report.operators) width = std::max(width, Label(op).size());
  std::string text = fmt::format("{:<{}} {:>13} {:>13} {:>9} {:>9} {:>9} {:>9} {:>7}\n", "operator", width, "rows in",
                                 "rows out", "seconds", "peak", "spilled", "freed", "spills");
  for (const OperatorReport& op : report.operators) {
    text += fmt::format("{:<{}} {:>13} {:>13} {:>9.3f} {:>9} {:>9} {:>9} {:>7}\n", Label(op), width, op.rows_in,
                        op.rows_out, Seconds(op.time_ns), BytesOrNothing(op.peak), BytesOrNothing(op.spilled),
                        BytesOrNothing(op.freed), op.spills == 0 ? "" : std::to_string(op.spills));
  }
  text += fmt::format("\n{} rows in {:.3f} s\n", report.rows, Seconds(report.time_ns));
  text += fmt::format("memory: peak {} of {}; at the end live {}, cached {}, dirty {}\n", FormatBytes(report.peak),
                      report.bound == UINT64_MAX ? "no bound" : FormatBytes(report.bound), FormatBytes(report.live),
                      FormatBytes(report.cached), FormatBytes(report.dirty));
  if (report.overruns > 0) text += fmt::format("allocations past the bound: {}\n", report.overruns);
  if (const std::string pressure = PressureText(report); !pressure.empty()) text += pressure + "\n";
  return text;
}

std::string PressureText(const QueryReport& report) {
  if (report.pressure_spills == 0 && report.pressure_uncached == 0) return "";
  std::string text = fmt::format("container short of memory: {} spill{} freed {}", report.pressure_spills,
                                 report.pressure_spills == 1 ? "" : "s", FormatBytes(report.pressure_freed));
  if (report.pressure_uncached != 0)
    text += fmt::format(", {} of cached tables left memory", FormatBytes(report.pressure_uncached));
  return text;
}

std::string ReportJson(const QueryReport& report) {
  nlohmann::ordered_json json;
  json["rows"] = report.rows;
  json["seconds"] = Seconds(report.time_ns);
  json["arena"] = {{"live", report.live},         {"cached", report.cached},    {"dirty", report.dirty},
                   {"resident", report.resident}, {"charged", report.charged},  {"peak", report.peak},
                   {"bound", report.bound},       {"overruns", report.overruns}};
  if (report.bound == UINT64_MAX) json["arena"]["bound"] = nullptr;
  json["pressure"] = {
      {"spills", report.pressure_spills}, {"freed", report.pressure_freed}, {"uncached", report.pressure_uncached}};
  auto& operators = json["operators"] = nlohmann::ordered_json::array();
  for (const OperatorReport& op : report.operators) {
    operators.push_back({{"depth", op.depth},
                         {"name", op.name},
                         {"detail", op.detail},
                         {"rows_in", op.rows_in},
                         {"rows_out", op.rows_out},
                         {"seconds", Seconds(op.time_ns)},
                         {"peak", op.peak},
                         {"spilled", op.spilled},
                         {"spilled_rows", op.spilled_rows},
                         {"freed", op.freed},
                         {"spills", op.spills}});
  }
  return JsonText(json, JsonLayout::kOneLine) + "\n";
}

}  // namespace neap::command
