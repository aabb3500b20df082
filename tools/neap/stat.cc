// stat.cc: `neap stat`, one reading of a process's page, or of a page left behind.
#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "tools/neap/bytes.h"
#include "tools/neap/cgroup_ledger.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/history.h"
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
  bool cgroup = false;
};

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

// Of a PID the cgroup whose limit binds it, or its own; or a cgroup by its folder.
CgroupPlace PlaceOf(const std::string& target) {
  if (target.starts_with('/')) {
    const std::optional<CgroupPlace> own = MemoryCgroupOf(getpid());
    if (!own || !target.starts_with(own->mount)) {
      throw Failure(kNoAccess, fmt::format("{} is no folder of the memory cgroups", target));
    }
    const std::string folder = target.substr(0, target.find_last_not_of('/') + 1);
    if (access((folder + "/memory.stat").c_str(), R_OK) != 0) {
      throw Failure(kNoAccess, fmt::format("{} is no memory cgroup that may be read", target));
    }
    return {own->version, own->mount, folder};
  }
  const auto pid = static_cast<pid_t>(strtol(target.c_str(), nullptr, 10));
  if (pid <= 0) throw Failure(kBadCall, "--cgroup takes a PID or the folder of a cgroup");
  RequireProcess(pid);
  std::optional<CgroupPlace> place = MemoryCgroupOf(pid);
  if (!place) throw Failure(kNo, "no memory controller is mounted here");
  const std::vector<CgroupLevel> levels = CgroupLevels(*place);
  const CgroupLevel* binding = BindingLevel(levels);
  if (binding != nullptr && !binding->folder.empty()) place->folder = binding->folder;
  return *place;
}

int StatCgroup(const StatOptions& options) {
  const CgroupLedger ledger = ReadCgroupLedger(PlaceOf(options.target));
  fmt::print("{}", options.json ? JsonText(CgroupJson(ledger), JsonLayout::kIndented) + "\n" : CgroupTable(ledger));
  return kDone;
}

int Stat(const StatOptions& options) {
  RemoveStalePages();
  if (options.cgroup) return StatCgroup(options);
  const PageView view = FindPage(options.target);
  StatsPage page = view.Read();
  const bool runs = StateOf(page) == PageState::kRuns;
  const auto pid = static_cast<pid_t>(page.pid);
  const auto print = [&] { Print(page, runs ? StatusBytes(pid, "RssAnon") : std::nullopt, options); };
  if (options.watch && !runs) {
    throw Failure(kBadCall, "--watch needs a process that runs: a page that was left behind does not change");
  }
  print();
  while (options.watch && page.exited == 0 && ProcessRuns(pid)) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    page = view.Read();
    if (!options.json) fmt::print("\n");
    print();
  }
  return kDone;
}

}  // namespace

void AddStat(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<StatOptions>();
  CLI::App* stat = app.add_subcommand("stat", "One reading of the ledger of a process on neap");
  stat->add_option("PID", options->target, kTargetHelp)->required()->type_name("PID|FILE");
  stat->add_flag("--json", options->json, "As JSON; with --watch one line a reading");
  stat->add_flag("--watch", options->watch, "A reading every second until the process ends");
  stat->add_flag("--cgroup", options->cgroup,
                 "Of all processes of the cgroup whose limit binds that one, or of a cgroup by its folder");
  stat->footer(
      "The process is neither touched nor stopped: 'read ... ago' tells when it wrote the page last.\n\n"
      "Exit codes: 0 printed; 1 the process is not on neap or keeps no page; 2 bad call; 3 no such process or file,\n"
      "or not ours to read.\n\n"
      "Example: neap stat $(pidof python3)");
  stat->callback([options, exit_code] { *exit_code = Stat(*options); });
}

}  // namespace neap::command
