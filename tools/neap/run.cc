// run.cc: `neap run`, a command on neap, in a cgroup with a limit where one can be made, and one line when it ends.
#include <errno.h>
#include <fmt/format.h>
#include <string.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "alloc/config.h"
#include "tools/neap/bytes.h"
#include "tools/neap/cgroup.h"
#include "tools/neap/child.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/library.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"
#include "tools/neap/report.h"
#include "tools/neap/verdict.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

struct RunOptions {
  std::string limit;
  std::string stats;
  std::string report;
  bool profile = false;
  bool json = false;
  std::vector<std::string> command;
};

std::string VariablesTable() {
  std::string text = "Variables (default; values; why):\n";
  for (const ConfigRow& row : kConfigTable) {
    text += fmt::format("  {:<16} {:<14} {}; {}\n", row.name, row.fallback, row.range, row.reason);
  }
  text += fmt::format("  {:<16} {:<14} {}\n", "NEAP_LIBRARY", "", "a path; which libneap.so this command preloads");
  return text;
}

void Say(const std::string& line) { fmt::print(stderr, "neap run: {}\n", line); }

std::string RequireLibrary() {
  std::string library = FindLibrary();
  if (library.empty()) {
    throw Failure(kRunFailed, "libneap.so is not where it should be: set NEAP_LIBRARY to its path");
  }
  if (library.find_first_of(": ") != library.npos) {
    throw Failure(kRunFailed,
                  fmt::format("the loader cannot preload '{}': no blank or colon may be in its path; copy it "
                              "and set NEAP_LIBRARY",
                              library));
  }
  return library;
}

// The folder or the files of the pages, gone when the command has ended.
class PagePlace {
 public:
  explicit PagePlace(const std::string& stats) {
    if (!stats.empty()) {
      prefix_ = fs::absolute(stats);
      if (!fs::is_directory(prefix_.parent_path())) {
        throw Failure(kRunFailed, fmt::format("--stats {}: no folder {}", stats, prefix_.parent_path().string()));
      }
      return;
    }
    folder_ = MakeRunFolder();
    if (!folder_.empty()) prefix_ = folder_ / "page";
  }
  ~PagePlace() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  PagePlace(const PagePlace&) = delete;
  PagePlace& operator=(const PagePlace&) = delete;

  const fs::path& prefix() const { return prefix_; }

 private:
  fs::path prefix_;
  fs::path folder_;
};

std::unique_ptr<LimitedCgroup> MakeCgroup(const std::string& limit_text, uint64_t* limit) {
  if (limit_text.empty()) return nullptr;
  *limit = BytesOption("--limit", limit_text);
  std::string why_not;
  std::unique_ptr<LimitedCgroup> cgroup = LimitedCgroup::Make(*limit, &why_not);
  if (cgroup == nullptr) {
    Say(fmt::format("no limit of {} here: {}; running without", FormatBytes(*limit), why_not));
  }
  return cgroup;
}

// What was asked to be left behind. The command has run: its exit code stands, whatever fails here.
void Keep(const RunOptions& options, const fs::path& page_file, const RunPages& pages, const RunOutcome& outcome) {
  const auto nothing = [](const std::string& file) {
    Say(fmt::format("nothing to keep in {}: no process of the command kept a page", file));
  };
  try {
    const std::string profile = outcome.page ? pages.ProfileOf(*outcome.page) : "";
    if (!options.stats.empty()) outcome.page ? SavePage(*outcome.page, profile, page_file) : nothing(options.stats);
    if (options.report.empty()) return;
    if (!outcome.page) return nothing(options.report);
    Story story = Tell(*outcome.page, outcome.page->exited != 0 ? PageState::kEnded : PageState::kGone);
    story.headline = EndWords(outcome);
    WriteReport(*outcome.page, ReadProfileIfAny({profile}), story, options.report);
  } catch (const Failure& failure) {
    Say(failure.what());
  }
}

int Run(const RunOptions& options) {
  ChildPlan plan;
  plan.command = options.command;
  if (plan.command.empty()) throw Failure(kRunFailed, "no command: neap run [--limit SIZE] [--stats FILE] -- CMD");
  std::string library = RequireLibrary();
  RemoveStalePages();
  PagePlace place(options.stats);

  uint64_t limit = kNoLimit;
  std::unique_ptr<LimitedCgroup> cgroup = MakeCgroup(options.limit, &limit);
  std::optional<CgroupPlace> watched = cgroup != nullptr ? cgroup->place() : MemoryCgroupOf(getpid());
  CgroupCounters before = watched ? ReadCounters(*watched) : CgroupCounters{};

  std::string preload = PreloadWith(library);
  std::string other = OtherAllocatorIn(preload);
  if (!other.empty()) Say(fmt::format("LD_PRELOAD already has {}, which comes before neap: unset it", other));
  plan.environment = {{"LD_PRELOAD", preload}};
  if (!place.prefix().empty()) plan.environment.emplace_back("NEAP_STATS", place.prefix());
  if (options.profile) plan.environment.emplace_back("NEAP_PROFILE", "1");
  if (cgroup != nullptr) plan.cgroup_processes_file = cgroup->ProcessesFile();

  Child child(plan);
  if (child.cgroup_error() != 0) {
    Say(fmt::format("no limit of {} here: the kernel did not let the command into its cgroup ({}); running without",
                    FormatBytes(limit), strerror(child.cgroup_error())));
    cgroup.reset();
    watched = MemoryCgroupOf(getpid());
    before = watched ? ReadCounters(*watched) : CgroupCounters{};
  }

  RunPages pages(place.prefix(), child.pid());
  RunOutcome outcome;
  outcome.end = child.Wait([&pages] { pages.Collect(/*all=*/false); });
  pages.Collect(/*all=*/true);
  CgroupCounters after = watched ? ReadCounters(*watched) : CgroupCounters{};
  outcome.oom_kills = after.oom_kills - before.oom_kills;
  outcome.limit_was_hit = after.limit_was_hit;
  outcome.limit_is_ours = cgroup != nullptr;
  outcome.left_behind = cgroup != nullptr ? cgroup->ProcessCount() : 0;
  outcome.pages = pages.count();
  outcome.page = outcome.KilledByLimit() && pages.killed() ? pages.killed() : pages.biggest();
  if (cgroup != nullptr) {
    outcome.limit = limit;
  } else if (outcome.page) {
    outcome.limit = outcome.page->now.limit;
  }
  Keep(options, place.prefix(), pages, outcome);
  fmt::print(stderr, "{}\n",
             options.json ? JsonText(OutcomeJson(outcome), JsonLayout::kOneLine) : OutcomeLine(outcome));
  return outcome.end.exit_code;
}

}  // namespace

void AddRun(CLI::App& app, const std::optional<std::vector<std::string>>& after_dashes, int* exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* run = app.add_subcommand("run", "Runs a command on neap, under a limit, and says how it went");
  run->add_option("--limit", options->limit, "Memory limit of its cgroup, such as 1G or 512MiB (powers of two)")
      ->type_name("SIZE");
  run->add_option("--stats", options->stats, "Keep the last page of statistics in this file, for neap stat")
      ->type_name("FILE");
  run->add_option("--report", options->report, "Write a report of it to this file, as neap report does")
      ->type_name("FILE");
  run->add_flag("--profile", options->profile, "Sample which stacks allocate, for neap profile and the report");
  run->add_flag("--json", options->json, "The line at the end as JSON (on stderr, as the words are)");
  run->prefix_command();
  run->footer(
      "Usage with a command: neap run [OPTIONS] -- CMD [ARGUMENTS]\n\n"
      "Signals sent to neap go on to the command. Where no cgroup can be made it says so and runs without a limit.\n\n"
      "Exit codes: that of the command; 128 + n if signal n ended it, 137 if the limit did; 125 neap run itself "
      "failed;\n"
      "126 the command cannot be executed; 127 there is no such command.\n\n" +
      VariablesTable() + "\nExample: neap run --limit 1.5G -- python3 job.py");
  run->callback([options, run, after_dashes, exit_code] {
    // Words before the dashes: the command began there, and the dashes are its own.
    options->command = run->remaining();
    if (!options->command.empty() && options->command[0].starts_with('-')) {
      throw Failure(kBadCall, fmt::format("no option {}; see --help", options->command[0]));
    }
    if (after_dashes) {
      if (!options->command.empty()) options->command.emplace_back("--");
      options->command.insert(options->command.end(), after_dashes->begin(), after_dashes->end());
    }
    *exit_code = Run(*options);
  });
}

}  // namespace neap::command
