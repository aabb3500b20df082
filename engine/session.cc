// session.cc: tables, and statements from their text to a query that runs.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <utility>

#include "engine/neap_engine.h"
#include "engine/plan/optimize.h"
#include "engine/plan/substrait_reader.h"
#include "engine/result_run.h"
#include "engine/scan/stream_table.h"
#include "engine/sql/planner.h"
#include "engine/sql/statements.h"

namespace neap::engine {
namespace {

// Of what the container leaves: for what the process does beside the query, and for pages on their way back.
constexpr uint64_t kReserveShare = 16;
constexpr uint64_t kLeastReserve = 8 << 20;
// Of the machine's free memory, where no container has a limit.
constexpr double kShareOfMachine = 0.8;
// Of the limit, or of the machine's memory: what a planner that waits for the next statement may hold beside queries.
constexpr uint64_t kPlannerShare = 16;

uint64_t OfMachine(int pages) {
  return static_cast<uint64_t>(sysconf(pages)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

bool NamesFiles(const std::string& name) {
  std::error_code ignored;
  return std::filesystem::exists(name, ignored) || name.find_first_of("*?[") != std::string::npos;
}

}  // namespace

size_t DefaultMemory() {
  neap_stats_t process;
  if (neap_stats(&process) != 0) return 0;
  if (process.limit == UINT64_MAX) {
    return static_cast<size_t>(static_cast<double>(OfMachine(_SC_AVPHYS_PAGES)) * kShareOfMachine);
  }
  const uint64_t room = process.resident + process.headroom;
  const uint64_t reserve = std::max(process.limit / kReserveShare, kLeastReserve);
  return room > 2 * reserve ? room - reserve : reserve;
}

class Session::State {
 public:
  explicit State(SessionOptions given)
      : options(std::move(given)), spill(std::make_shared<SpillDirectory>(options.spill_dir)) {
    query_options.memory = options.memory;
    query_options.threads = options.threads;
    query_options.force_spill = options.force_spill;
    query_options.analyze = options.analyze;
  }

  void Add(const std::string& name, std::shared_ptr<Table> table) {
    const std::lock_guard lock(mutex_);
    tables_[name] = std::move(table);
  }

  // Tables live as long as somebody reads them.
  Catalog Tables() const {
    const std::lock_guard lock(mutex_);
    return tables_;
  }

  // The planner that the statement before has left, or a new one.
  std::unique_ptr<Planner> TakePlanner() {
    std::unique_ptr<Planner> planner;
    {
      const std::lock_guard lock(mutex_);
      planner = std::move(planner_);
    }
    if (planner != nullptr && planner->IsReady()) return planner;
    return std::make_unique<Planner>(options.python);
  }

  // For the next statement, unless it is too large to wait for that.
  void LeavePlanner(std::unique_ptr<Planner> planner) {
    neap_stats_t process;
    const bool limited = neap_stats(&process) == 0 && process.limit != UINT64_MAX;
    const uint64_t memory = limited ? process.limit : OfMachine(_SC_PHYS_PAGES);
    if (planner->ResidentBytes() > memory / kPlannerShare) return;
    const std::lock_guard lock(mutex_);
    planner_ = std::move(planner);
  }

  neap::engine::Plan PlanOf(const Statement& statement, const Catalog& catalog) const {
    neap::engine::Plan plan = ReadSubstrait(statement.plan, catalog, ReadNotes(statement.notes));
    Optimize(plan, catalog);
    return plan;
  }

  const SessionOptions options;
  QueryOptions query_options;
  const std::shared_ptr<SpillDirectory> spill;

 private:
  mutable std::mutex mutex_;  // guards what follows
  Catalog tables_;
  std::unique_ptr<Planner> planner_;
};

Session::Session(SessionOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Session::~Session() = default;

void Session::AddTable(const std::string& name, const std::vector<std::string>& paths) {
  if (paths.empty()) throw Error(ErrorKind::kData, "the table " + name + " has no files: name at least one");
  state_->Add(name, Table::Open(paths));
}

void Session::AddTable(const std::string& name, std::function<void(ArrowArrayStream*)> open, uint64_t rows) {
  state_->Add(name, MakeStreamTable(std::move(open), rows));
}

std::vector<Statement> Session::Plan(const std::string& sql) {
  std::unique_ptr<Planner> planner;
  if (!state_->options.planner) planner = state_->TakePlanner();  // loads while files are opened
  const Catalog known = state_->Tables();
  for (const std::string& name : QuotedTables(sql)) {
    if (!known.contains(name) && NamesFiles(name)) AddTable(name, {name});
  }
  std::vector<std::string> declarations;
  for (const auto& [name, table] : state_->Tables()) declarations.push_back(DeclareTable(name, table->columns()));
  const std::vector<std::string> statements = SplitStatements(sql);
  if (planner == nullptr) return state_->options.planner(declarations, statements);
  std::vector<Statement> plans = planner->Plan(declarations, statements);
  state_->LeavePlanner(std::move(planner));
  return plans;
}

std::string Session::Explain(const Statement& statement) {
  return neap::engine::Explain(state_->PlanOf(statement, state_->Tables()));
}

std::unique_ptr<Result> Session::Execute(const Statement& statement) {
  Catalog catalog = state_->Tables();
  neap::engine::Plan plan = state_->PlanOf(statement, catalog);
  QueryOptions options = state_->query_options;
  if (options.memory == 0) options.memory = DefaultMemory();
  return std::unique_ptr<Result>(
      new Result(std::make_shared<Result::Run>(std::move(plan), std::move(catalog), options, state_->spill)));
}

}  // namespace neap::engine
