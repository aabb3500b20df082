// stat.cc: `neap stat`, one reading of a process's page, or of a page left behind.
#include <fmt/format.h>
#include <stdio.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "tools/neap/bytes.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

struct StatOptions {
  std::string target;
  bool json = false;
  bool watch = false;
};

bool IsPid(const std::string& text) {
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == text.npos;
}

// anon_now: of a process that runs. Foreign memory comes and goes without neap, which sleeps while it has nothing to
// do.
void Print(const StatsPage& page, std::optional<uint64_t> anon_now, const StatOptions& options) {
  if (options.json) {
    nlohmann::ordered_json json = LedgerJson(page);
    json["anon_now"] = anon_now ? nlohmann::ordered_json(*anon_now) : nullptr;
    fmt::print("{}\n", JsonText(json, options.watch ? JsonLayout::kOneLine : JsonLayout::kIndented));
  } else {
    fmt::print("{}", LedgerTable(page, NowMs()));
    if (anon_now) fmt::print("  anon at this moment: {}\n", FormatBytes(*anon_now));
  }
  fflush(stdout);
}

int Stat(const StatOptions& options) {
  if (!IsPid(options.target)) {
    if (options.watch) throw Failure(kBadCall, "--watch needs a PID: a page that was left behind does not change");
    Print(PageView::OfFile(options.target).Read(), std::nullopt, options);
    return kDone;
  }
  RemoveStalePages();
  pid_t pid = static_cast<pid_t>(std::stol(options.target));
  PageView view = PageView::OfProcess(pid, Access::kRead);
  StatsPage page = view.Read();
  Print(page, StatusBytes(pid, "RssAnon"), options);
  while (options.watch && page.exited == 0 && ProcessRuns(pid)) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    page = view.Read();
    if (!options.json) fmt::print("\n");
    Print(page, StatusBytes(pid, "RssAnon"), options);
  }
  return kDone;
}

}  // namespace

void AddStat(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<StatOptions>();
  CLI::App* stat = app.add_subcommand("stat", "One reading of the ledger of a process on neap");
  stat->add_option("PID", options->target, "A process, or the file of a page left behind (neap run --stats)")
      ->required()
      ->type_name("");
  stat->add_flag("--json", options->json, "As JSON; with --watch one line a reading");
  stat->add_flag("--watch", options->watch, "A reading every second until the process ends");
  stat->footer(
      "The process is neither touched nor stopped: 'read ... ago' tells when it wrote the page last.\n\n"
      "Exit codes: 0 printed; 1 the process is not on neap or keeps no page; 2 bad call; 3 no such process or file,\n"
      "or not ours to read.\n\n"
      "Example: neap stat $(pidof python3)");
  stat->callback([options, exit_code] { *exit_code = Stat(*options); });
}

}  // namespace neap::command
