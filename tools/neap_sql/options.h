// options.h: what `neap sql` was asked for.
#pragma once

#include <string>
#include <vector>

#include "engine/neap_engine.h"

namespace neap::command {

enum class Format { kTable, kCsv, kJson, kArrow, kParquet };

struct NamedFiles {
  std::string name;
  std::vector<std::string> paths;
};

struct SqlOptions {
  std::string sql;   // of the argument or of --file
  std::string plan;  // the bytes of --plan
  std::vector<NamedFiles> tables;
  neap::engine::SessionOptions session;
  Format format = Format::kTable;
  std::string output;  // "": standard output
  bool explain = false;
  bool analyze = false;
  bool json = false;
};

// Prints help and ends, or throws Failure.
SqlOptions ParseSqlOptions(int argc, char** argv);

}  // namespace neap::command
