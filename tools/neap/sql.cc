// sql.cc: `neap sql`, which is another program: neap-sql beside this one, or in ../libexec/neap.
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"

namespace neap::command {

void AddSql(CLI::App& app) { app.add_subcommand("sql", "Runs SQL over Parquet files within a memory bound"); }

void ExecuteSql(char** argv) {
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& place : {folder, folder / ".." / "libexec" / "neap"}) {
    const auto program = std::filesystem::weakly_canonical(place / "neap-sql", error);
    if (!std::filesystem::exists(program, error)) continue;
    execv(program.c_str(), argv);
    throw Failure(kCannotExecute, fmt::format("cannot run {}: {}", program.string(), strerror(errno)));
  }
  throw Failure(kNotFound, fmt::format("neap-sql is not beside {}/neap: this neap was built without the engine, see "
                                       "NEAP_ENGINE in CMakeLists.txt",
                                       folder.string()));
}

}  // namespace neap::command
