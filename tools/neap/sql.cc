// sql.cc: `neap sql`, which is another program: neap-sql beside this one or in PATH, where the engine's Python package
// puts it.
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"

namespace neap::command {
namespace {

constexpr char kProgram[] = "neap-sql";

}  // namespace

void AddSql(CLI::App& app) { app.add_subcommand("sql", "Runs SQL over Parquet files within a memory bound"); }

void ExecuteSql(char** argv) {
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).replace_filename(kProgram);
  const bool is_beside = std::filesystem::exists(beside, ignored);
  const std::string program = is_beside ? beside.string() : kProgram;
  execvp(program.c_str(), argv);
  if (errno == ENOENT && !is_beside) {
    throw Failure(kNotFound,
                  "the engine is not installed, no neap-sql beside neap or in PATH: run `pip install ./python` "
                  "in neap's source tree, in a venv that is in PATH");
  }
  throw Failure(kCannotExecute, fmt::format("cannot run {}: {}", program, strerror(errno)));
}

}  // namespace neap::command
