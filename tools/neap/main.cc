// main.cc: the command `neap`: parses the line, runs the subcommand, turns every failure into one line and an exit
// code.
#include <fmt/format.h>
#include <string.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/output.h"

namespace {

// The command of `neap run` has options of its own, which the parser would take for ours.
std::optional<std::vector<std::string>> SetAsideAfterDashes(int& argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    if (strcmp(argv[1], "run") != 0 || strcmp(argv[i], "--") != 0) continue;
    std::vector<std::string> words(argv + i + 1, argv + argc);
    argc = i;
    return words;
  }
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace neap::command;
  CLI::App app("neap keeps a process's resident memory at the level of its live memory, under its container's limit.",
               "neap");
  app.set_version_flag("--version", "neap " NEAP_VERSION);
  app.set_help_all_flag("--help-all", "Help on all subcommands");
  app.require_subcommand(1);
  app.footer("Example: neap run --limit 1G -- python3 job.py");
  int exit_code = kDone;
  AddRun(app, SetAsideAfterDashes(argc, argv), &exit_code);
  AddStat(app, &exit_code);
  AddTop(app, &exit_code);
  AddReport(app, &exit_code);
  AddProfile(app, &exit_code);
  AddExport(app, &exit_code);
  AddShrink(app, &exit_code);
  AddDoctor(app, &exit_code);
  AddSql(app);

  // Its options are another program's to parse.
  const bool is_sql = argc > 1 && strcmp(argv[1], "sql") == 0;
  // `run` keeps the low exit codes for its command.
  auto fail = [&app, is_sql](int code, const std::string& line) {
    std::string name = is_sql                          ? " sql"
                       : app.get_subcommands().empty() ? ""
                                                       : " " + app.get_subcommands().front()->get_name();
    fmt::print(stderr, "neap{}: {}\n", name, Printable(line));
    return name == " run" && code == kBadCall ? static_cast<int>(kRunFailed) : code;
  };
  try {
    if (is_sql) ExecuteSql(argv + 1);
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return fail(kBadCall, fmt::format("{}; see --help", error.what()));
  } catch (const Failure& failure) {
    return fail(failure.code(), failure.what());
  } catch (const std::exception& error) {
    return fail(kBadCall, error.what());
  }
  return exit_code;
}
