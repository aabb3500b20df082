// options.cc: the command line of `neap sql`.
#include "tools/neap_sql/options.h"

#include <fmt/format.h>
#include <string.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tools/neap/bytes.h"
#include "tools/neap/failure.h"

namespace neap::command {
namespace {

const std::map<std::string, Format> kFormats = {{"table", Format::kTable},
                                                {"csv", Format::kCsv},
                                                {"json", Format::kJson},
                                                {"arrow", Format::kArrow},
                                                {"parquet", Format::kParquet}};

constexpr char kFooter[] =
    "Tables are Parquet files: named by -t, or by their path in quotes (FROM 'folder/*.parquet'). The SQL is that of\n"
    "DataFusion, and CACHE [LAZY] TABLE, UNCACHE TABLE and CLEAR CACHE that of Spark. Whatever does not fit into the\n"
    "memory is kept on disk while the query runs.\n\n"
    "With --format json every row is an object on a line of its own. --analyze drops the rows unless --output is "
    "given.\n"
    "Ctrl-C ends the query and removes its files; once more ends at once.\n\n"
    "Exit codes: 0 done; 1 the query failed: its data, its spill files; 2 bad call, SQL that cannot be planned; 3 a "
    "file\n"
    "cannot be read or written; 4 not even the least memory that it needs; 126 or 127 this program cannot be run;\n"
    "130 ended by Ctrl-C, 143 by SIGTERM.\n\n"
    "Variables:\n"
    "  NEAP_ENGINE_PYTHON  the Python whose package datafusion plans; by default that of Arrow's libraries\n"
    "  NEAP_SPILL_DIR      folder of spill files where --spill-dir names none\n\n"
    "Example: neap sql --memory 256M -t 'orders=data/orders/*.parquet' \"SELECT count(*) FROM orders\"";

std::string ReadFile(const std::string& option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    throw Failure(kNoAccess,
                  fmt::format("{} {}: cannot be read: {}", option, path, errno == 0 ? "it is empty" : strerror(errno)));
  }
  return text.str();
}

// NAME=FILES, where NAME is what SQL takes for a name.
size_t NameLength(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == word.size()) return 0;
  for (size_t i = 0; i < equals; ++i) {
    const auto c = static_cast<unsigned char>(word[i]);
    if (isalpha(c) == 0 && c != '_' && (i == 0 || (isdigit(c) == 0 && c != '.'))) return 0;
  }
  return equals;
}

// Words after -t: NAME=FILE, and further files where the shell has expanded a pattern. The statement may be the last.
void AddTables(const std::vector<std::string>& words, std::vector<std::string>* others, SqlOptions* options) {
  bool open = false;
  for (const std::string& word : words) {
    if (const size_t name = NameLength(word); name > 0) {
      const std::string table = word.substr(0, name);
      auto same = std::find_if(options->tables.begin(), options->tables.end(),
                               [&](const NamedFiles& t) { return t.name == table; });
      if (same == options->tables.end()) same = options->tables.insert(same, {table, {}});
      std::rotate(same, same + 1, options->tables.end());
      options->tables.back().paths.push_back(word.substr(name + 1));
      open = true;
    } else if (std::error_code ignored; open && std::filesystem::exists(word, ignored)) {
      options->tables.back().paths.push_back(word);
    } else {
      others->push_back(word);
      open = false;
    }
  }
}

Format FormatOf(const std::string& name, const std::string& output) {
  std::string key = name;
  if (key.empty()) {
    key = std::filesystem::path(output).extension().string();
    if (!key.empty()) key.erase(0, 1);
  }
  const auto found = kFormats.find(key);
  if (found != kFormats.end()) return found->second;
  if (name.empty() && output.empty()) return Format::kTable;
  throw Failure(kBadCall, name.empty() ? fmt::format("--output {}: name a format by --format", output)
                                       : fmt::format("--format {}: is one of table, csv, json, arrow, parquet", name));
}

}  // namespace

SqlOptions ParseSqlOptions(int argc, char** argv) {
  SqlOptions options;
  std::vector<std::string> statements, tables;
  std::string file, plan, memory, format;
  CLI::App app("Runs SQL over Parquet files within a memory bound.", "neap sql");
  app.add_option("SQL", statements, "Statements, separated by ';'")->type_name("");
  app.add_option("-f,--file", file, "Reads the statements from FILE")->type_name("FILE");
  app.add_option("--plan", plan, "Runs the Substrait plan in FILE instead")->type_name("FILE");
  app.add_option("-t,--table", tables, "A table and its Parquet files: a file, a folder or a pattern; may be repeated")
      ->type_name("NAME=FILES");
  app.add_option("--memory", memory,
                 "Most resident memory of the queries and what they cache; by default what the container leaves")
      ->type_name("SIZE");
  app.add_option("--threads", options.session.threads, "By default as many as the container has CPUs")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--format", format, "table, csv, json, arrow or parquet; by default that of --output, or a table")
      ->type_name("FORMAT");
  app.add_option("--output", options.output, "Writes the rows to FILE")->type_name("FILE");
  app.add_flag("--explain", options.explain, "Shows the plan and does not run it");
  app.add_flag("--analyze", options.analyze, "Runs it and shows what each operator did: rows, time, memory, spills");
  app.add_flag("--json", options.json, "The report of --analyze as JSON");
  app.add_option("--spill-dir", options.session.spill_dir,
                 "Folder of spill files; by default $NEAP_SPILL_DIR, $TMPDIR or /tmp")
      ->type_name("FOLDER");
  app.add_flag("--force-spill", options.session.force_spill,
               "Spills whatever can be spilled at every chance: shows what a query costs on disk");
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    exit(app.exit(help));
  } catch (const CLI::ParseError& error) {
    throw Failure(kBadCall, fmt::format("{}; see --help", error.what()));
  }

  std::vector<std::string> others;
  AddTables(tables, &others, &options);
  AddTables(statements, &others, &options);
  const size_t sources = others.size() + (file.empty() ? 0 : 1) + (plan.empty() ? 0 : 1);
  if (sources == 0) throw Failure(kBadCall, "there is nothing to run: give SQL, or --file or --plan; see --help");
  if (sources > 1) {
    throw Failure(kBadCall, others.size() > 1 ? fmt::format("'{}' is neither the statement nor a file of a table: put "
                                                            "the whole statement in quotes",
                                                            others[1])
                                              : "give one of SQL, --file and --plan");
  }
  if (options.json && !options.analyze) throw Failure(kBadCall, "--json is the form of --analyze: give that too");
  if (options.explain && options.analyze) throw Failure(kBadCall, "give one of --explain and --analyze");
  if (!others.empty()) options.sql = others[0];
  if (!file.empty()) options.sql = ReadFile("--file", file);
  if (!plan.empty()) options.plan = ReadFile("--plan", plan);
  if (!memory.empty()) options.session.memory = BytesOption("--memory", memory);
  options.session.analyze = options.analyze;
  options.format = FormatOf(format, options.output);
  return options;
}

}  // namespace neap::command
