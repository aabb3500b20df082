// session.cc: tables, and statements from their text to a query that runs.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>

#include "engine/neap_engine.h"
#include "engine/plan/optimize.h"
#include "engine/plan/substrait_reader.h"
#include "engine/result_run.h"
#include "engine/scan/cached_table.h"
#include "engine/scan/stream_table.h"
#include "engine/sql/cache_statement.h"
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
    const uint64_t room = process.resident + OfMachine(_SC_AVPHYS_PAGES);
    return static_cast<size_t>(static_cast<double>(room) * kShareOfMachine);
  }
  const uint64_t room = process.resident + process.headroom;
  const uint64_t reserve = std::max(process.limit / kReserveShare, kLeastReserve);
  return room > 2 * reserve ? room - reserve : reserve;
}

namespace {

neap::engine::Plan PlanOf(const Statement& statement, const Catalog& catalog) {
  neap::engine::Plan plan = ReadSubstrait(statement.plan, catalog, ReadNotes(statement.notes));
  Optimize(plan, catalog);
  return plan;
}

// All of a table, without its columns; of no table: no rows.
neap::engine::Plan PlanToRead(const std::string& table) {
  neap::engine::Plan plan;
  plan.root = std::make_shared<Rel>(table.empty() ? Rel::Kind::kValues : Rel::Kind::kRead);
  plan.root->table = table;
  return plan;
}

std::vector<TableColumn> ColumnsOf(const neap::engine::Plan& plan) {
  std::vector<TableColumn> columns;
  for (size_t i = 0; i < plan.names.size(); ++i) {
    const ColumnInfo& column = plan.columns[plan.root->output[i]];
    columns.push_back({plan.names[i], column.type, column.nullable});
  }
  return columns;
}

}  // namespace

// What queries run with. It outlives the session where a result does.
struct Means {
  explicit Means(const SessionOptions& options)
      : memory(options.memory),
        cache(std::make_shared<BlockCache>(std::make_shared<QueryPool>(memory == 0 ? DefaultMemory() : memory),
                                           std::make_shared<SpillDirectory>(options.spill_dir))) {
    query.threads = options.threads;
    query.force_spill = options.force_spill;
    query.analyze = options.analyze;
  }

  const size_t memory;
  QueryOptions query;
  const std::shared_ptr<BlockCache> cache;
};

class Session::State {
 public:
  explicit State(SessionOptions given) : options(std::move(given)), means(std::make_shared<Means>(options)) {}

  void Add(const std::string& name, std::shared_ptr<Table> table) {
    const std::lock_guard lock(mutex_);
    tables_[name] = std::move(table);
    queries_.erase(name);
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

  static std::unique_ptr<Result> Start(const std::shared_ptr<const Means>& means, neap::engine::Plan plan,
                                       Catalog catalog, bool rows_wanted) {
    if (means->memory == 0) means->cache->pool->manager().Resize(DefaultMemory(), MemoryMode::kOnHeap);
    return std::unique_ptr<Result>(new Result(
        std::make_shared<Result::Run>(std::move(plan), std::move(catalog), means->query, means->cache, rows_wanted)));
  }

  // Puts a statement on cached tables into effect. Returns the table that is to be read now, or "".
  std::string Apply(const CacheStatement& cache, const Statement& statement);

  const SessionOptions options;
  const std::shared_ptr<const Means> means;

 private:
  std::shared_ptr<Table> TableOfQuery(const Statement& statement);
  void Uncache(std::shared_ptr<Table>& table);

  mutable std::mutex mutex_;  // guards what follows
  Catalog tables_;
  std::set<std::string> queries_;  // of them, what CACHE TABLE ... AS has made
  std::unique_ptr<Planner> planner_;
};

// The query runs whenever the table is read. It sees the tables of today, a table of its own name too.
std::shared_ptr<Table> Session::State::TableOfQuery(const Statement& statement) {
  const neap::engine::Plan plan = PlanOf(statement, tables_);
  auto open = [means = means, catalog = tables_, statement](ArrowArrayStream* out) {
    Start(means, PlanOf(statement, catalog), catalog, true)->Export(out);
  };
  return MakeStreamTable(std::move(open), static_cast<uint64_t>(plan.root->estimated_rows), ColumnsOf(plan));
}

void Session::State::Uncache(std::shared_ptr<Table>& table) {
  if (const auto cached = std::dynamic_pointer_cast<CachedTable>(table)) table = cached->source();
}

std::string Session::State::Apply(const CacheStatement& cache, const Statement& statement) {
  const std::lock_guard lock(mutex_);
  if (cache.kind == CacheStatement::Kind::kClear) {
    for (auto& [name, table] : tables_) Uncache(table);
    return "";
  }
  auto found = tables_.find(cache.name);
  if (cache.kind == CacheStatement::Kind::kUncache) {
    if (found != tables_.end()) {
      Uncache(found->second);
    } else if (!cache.if_exists) {
      throw Error(ErrorKind::kPlan,
                  "UNCACHE TABLE: there is no table " + cache.name + ": say IF EXISTS where none may be");
    }
    return "";
  }
  if (!cache.query.empty()) {
    if (found != tables_.end() && !queries_.contains(cache.name))
      throw Error(ErrorKind::kPlan, "CACHE TABLE: there is a table " + cache.name + " already: choose another name");
    found = tables_.insert_or_assign(cache.name, TableOfQuery(statement)).first;
    queries_.insert(cache.name);
  } else if (found == tables_.end()) {
    throw Error(ErrorKind::kPlan,
                "CACHE TABLE: there is no table " + cache.name + ": name its files with -t " + cache.name + "=FILES");
  }
  if (dynamic_cast<CachedTable*>(found->second.get()) != nullptr) return "";
  found->second = std::make_shared<CachedTable>(found->second, means->cache, cache.level);
  return cache.lazy ? "" : cache.name;
}

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
  const std::vector<std::string> texts = SplitStatements(sql);
  std::vector<std::optional<CacheStatement>> caches;
  bool to_plan = false;
  for (const std::string& text : texts) {
    caches.push_back(ParseCacheStatement(text));
    to_plan = to_plan || !caches.back() || !caches.back()->query.empty();
  }
  std::unique_ptr<Planner> planner;
  if (to_plan && !state_->options.planner) planner = state_->TakePlanner();  // loads while files are opened
  Catalog known = state_->Tables();
  for (const std::string& name : QuotedTables(sql)) {
    if (!known.contains(name) && NamesFiles(name)) AddTable(name, {name});
  }
  known = state_->Tables();

  // Statements are planned together, but a table that one of them makes is to be known to those after it.
  std::vector<Statement> statements;
  std::vector<std::string> waiting;
  std::vector<size_t> places;  // of those in `statements`
  const auto plan = [&] {
    if (waiting.empty()) return;
    std::vector<std::string> declarations;
    for (const auto& [name, table] : known) declarations.push_back(DeclareTable(name, table->columns()));
    std::vector<Statement> planned =
        planner != nullptr ? planner->Plan(declarations, waiting) : state_->options.planner(declarations, waiting);
    for (size_t i = 0; i < planned.size(); ++i) {
      planned[i].cache = std::move(statements[places[i]].cache);
      statements[places[i]] = std::move(planned[i]);
    }
    waiting.clear();
    places.clear();
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    statements.push_back({"", "", caches[i] ? texts[i] : ""});
    if (caches[i] && caches[i]->query.empty()) continue;
    waiting.push_back(caches[i] ? caches[i]->query : texts[i]);
    places.push_back(i);
    if (!caches[i] || i + 1 == texts.size()) continue;
    plan();
    known[caches[i]->name] = MakeStreamTable({}, 0, ColumnsOf(PlanOf(statements[i], known)));
  }
  plan();
  if (planner != nullptr) state_->LeavePlanner(std::move(planner));
  return statements;
}

std::string Session::Explain(const Statement& statement) {
  const std::string text = statement.plan.empty() && !statement.cache.empty()
                               ? ""
                               : neap::engine::Explain(PlanOf(statement, state_->Tables()));
  return statement.cache.empty() ? text : statement.cache + "\n" + text;
}

std::unique_ptr<Result> Session::Execute(const Statement& statement) {
  if (statement.cache.empty()) {
    const Catalog catalog = state_->Tables();
    return State::Start(state_->means, PlanOf(statement, catalog), catalog, true);
  }
  const std::optional<CacheStatement> cache = ParseCacheStatement(statement.cache);
  if (!cache) throw Error(ErrorKind::kPlan, "the statement is not one on cached tables: " + statement.cache);
  const std::string table = state_->Apply(*cache, statement);
  return State::Start(state_->means, PlanToRead(table), state_->Tables(), false);
}

}  // namespace neap::engine
