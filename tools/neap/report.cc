// report.cc: see report.h; and `neap report`.
#include "tools/neap/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <time.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tools/neap/bytes.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"

// The template with the chart library inlined, by the assembler: report/embed.S.
extern "C" const char neap_report_begin[], neap_report_end[];

namespace neap::command {
namespace {

using Json = nlohmann::ordered_json;

struct ReportOptions {
  std::string target;
  std::string output;
};

// One array a column: short, and what the chart wants.
template <class Sample, class Figure>
void AddColumn(Json& json, const char* name, const std::vector<Sample>& samples, Figure figure) {
  Json& column = json[name] = Json::array();
  for (const Sample& sample : samples) column.push_back(figure(sample));
}

Json SamplesJson(const StatsPage& page) {
  Json json = Json::object();
  const std::vector<StatsSample> samples = Samples(page);
  const auto add = [&](const char* name, auto figure) { AddColumn(json, name, samples, figure); };
  add("time_ms", [](const StatsSample& s) { return s.time_ms; });
  add("live", [](const StatsSample& s) { return s.live; });
  add("cached", [](const StatsSample& s) { return s.cached; });
  add("dirty", [](const StatsSample& s) { return s.dirty; });
  add("metadata", [](const StatsSample& s) { return s.metadata; });
  add("resident", [](const StatsSample& s) { return s.Resident(); });
  add("foreign", [](const StatsSample& s) { return s.foreign; });
  add("anon", [](const StatsSample& s) { return s.anon; });
  add("cgroup_used", [](const StatsSample& s) { return s.cgroup_used; });
  add("limit", [](const StatsSample& s) { return BytesOrNull(s.limit); });
  return json;
}

Json ForeignPartsJson(const StatsPage& page) {
  std::vector<StatsForeign> readings;
  for (uint32_t i = 0; i < page.foreign.size(); ++i) readings.push_back(page.foreign.at(i));
  Json names = Json::object(), samples = Json::object();
  AddColumn(samples, "time_ms", readings, [](const StatsForeign& parts) { return parts.time_ms; });
  for (uint32_t i = 0; i < kForeignParts; ++i) {
    const ForeignPartName& name = kForeignPartNames[i];
    names[name.key] = name.words;
    AddColumn(samples, name.key, readings, [i](const StatsForeign& parts) { return parts.part[i]; });
  }
  return {{"names", names}, {"samples", samples}};
}

Json EventsJson(const StatsPage& page) {
  Json json = Json::array();
  for (const StatsEvent& event : Events(page)) {
    json.push_back({{"time_ms", event.time_ms}, {"text", EventText(event)}});
  }
  return json;
}

std::string LocalTime(uint64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

Json ProfileJson(const ProfileData& profile) {
  if (profile.stacks.empty()) return {};
  return {{"words", ProfileWords(profile)}, {"stacks", FramesJson(profile)}};
}

Json ReportJson(const StatsPage& page, const ProfileData& profile, const Story& story) {
  Json json = {
      {"who", fmt::format("{} · pid {} · neap {} · {} to {}", Printable(page.command), page.pid,
                          Printable(page.version), LocalTime(page.start_ms), LocalTime(page.update_ms))},
      {"headline", story.headline},
      {"story", story.lines},
      {"made", fmt::format("Made by neap {} at {}.", NEAP_VERSION, LocalTime(NowMs()))},
      {"ledger", LedgerJson(page)},
      {"residual", ResidualText(Residual(page.now))},
      {"samples", SamplesJson(page)},
      {"foreign", ForeignPartsJson(page)},
      {"events", EventsJson(page)},
      {"profile", ProfileJson(profile)},
  };
  json.update(TablesJson(page));
  return json;
}

std::string Html(const Json& data) {
  // In a script element nothing but "</" can end it.
  std::string json = JsonText(data, JsonLayout::kOneLine);
  for (size_t at = 0; (at = json.find("</", at)) != std::string::npos; at += 3) json.insert(at + 1, 1, '\\');
  std::string html(neap_report_begin, neap_report_end);
  constexpr std::string_view kPlace = "/*DATA*/";
  html.replace(html.find(kPlace), kPlace.size(), json);
  return html;
}

int Report(const ReportOptions& options) {
  const StatsPage page = FindPage(options.target).Read();
  const Story story = Tell(page, StateOf(page));
  WriteReport(page, ReadProfileIfAny(ProfilePaths(options.target)), story, options.output);
  fmt::print("{}: {}\n", options.output, story.headline);
  return kDone;
}

}  // namespace

void WriteReport(const StatsPage& page, const ProfileData& profile, const Story& story, const std::string& path) {
  WriteWholeFile(path, Html(ReportJson(page, profile, story)), kNoAccess);
}

void AddReport(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* report = app.add_subcommand("report", "One HTML page that says where a process's memory is and was");
  report->add_option("PID", options->target, kTargetHelp)->required()->type_name("PID|FILE");
  report->add_option("-o,--output", options->output, "The file to write")->default_val("neap-report.html");
  report->footer(
      "The page needs no network. Of a process that was killed its last page of statistics is read, which stays in\n"
      "/dev/shm for ten minutes.\n\n"
      "Exit codes: 0 written; 1 the process is not on neap or keeps no page; 2 bad call; 3 no such process or file,\n"
      "not ours to read, or the report cannot be written.\n\n"
      "Example: neap report $(pidof python3) -o report.html");
  report->callback([options, exit_code] { *exit_code = Report(*options); });
}

}  // namespace neap::command
