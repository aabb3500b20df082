// stat.cc: `neap stat`, one reading of a process's page, or of a page left behind.
#include <fmt/format.h>
#include <stdio.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/ledger_text.h"
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

void Print(const StatsPage& page, const StatOptions& options) {
  if (options.json) {
    fmt::print("{}\n", LedgerJson(page).dump(options.watch ? -1 : 2));
  } else {
    fmt::print("{}", LedgerTable(page, NowMs()));
  }
  fflush(stdout);
}

int Stat(const StatOptions& options) {
  if (!IsPid(options.target)) {
    if (options.watch) throw Failure(kBadCall, "--watch needs a PID: a page that was left behind does not change");
    Print(PageView::OfFile(options.target).Read(), options);
    return kDone;
  }
  RemoveStalePages();
  PageView view = PageView::OfProcess(static_cast<pid_t>(std::stol(options.target)), Access::kRead);
  StatsPage page = view.Read();
  Print(page, options);
  pid_t pid = static_cast<pid_t>(std::stol(options.target));
  while (options.watch && page.exited == 0 && ProcessRuns(pid)) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    page = view.Read();
    if (!options.json) fmt::print("\n");
    Print(page, options);
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
