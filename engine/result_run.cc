// result_run.cc: the thread of a query, its sinks, and its report.
#include "engine/result_run.h"

#include <arrow/c/abi.h>

#include <new>
#include <utility>

namespace neap::engine {
namespace {

constexpr char kCancelled[] = "the query was cancelled";

std::vector<ResultColumn> ColumnsOf(const Plan& plan) {
  std::vector<ResultColumn> columns;
  for (size_t i = 0; i < plan.names.size(); ++i)
    columns.push_back({plan.names[i], plan.columns[plan.root->output[i]].type});
  return columns;
}

// A stream that keeps its query.
struct KeptStream {
  ArrowArrayStream inner{};
  std::shared_ptr<void> run;

  static KeptStream& Of(ArrowArrayStream* stream) { return *static_cast<KeptStream*>(stream->private_data); }
  static int GetSchema(ArrowArrayStream* stream, ArrowSchema* out) {
    return Of(stream).inner.get_schema(&Of(stream).inner, out);
  }
  static int GetNext(ArrowArrayStream* stream, ArrowArray* out) {
    return Of(stream).inner.get_next(&Of(stream).inner, out);
  }
  static const char* GetLastError(ArrowArrayStream* stream) {
    return Of(stream).inner.get_last_error(&Of(stream).inner);
  }
  static void Release(ArrowArrayStream* stream) {
    KeptStream* kept = &Of(stream);
    kept->inner.release(&kept->inner);
    delete kept;
    stream->release = nullptr;
  }
};

}  // namespace

// The end of a worker's stages.
class Result::Run::Sink : public Stage {
 public:
  Sink(ArrowExport& out, bool rows_wanted) : Stage(nullptr), out_(out), rows_wanted_(rows_wanted) {}
  void Push(Batch& batch) override {
    rows_ += batch.selected;
    if (rows_wanted_) out_.Push(batch);
  }
  bool Done() const override { return rows_wanted_ && out_.abandoned(); }
  uint64_t rows() const { return rows_; }

 private:
  ArrowExport& out_;
  const bool rows_wanted_;
  uint64_t rows_ = 0;
};

Result::Run::Run(Plan plan, Catalog catalog, const QueryOptions& options, std::shared_ptr<BlockCache> cache,
                 bool rows_wanted)
    : cache_(std::move(cache)),
      rows_wanted_(rows_wanted),
      uncached_before_(cache_->blocks.evicted_for_container()),
      plan_(std::move(plan)),
      catalog_(std::move(catalog)),
      query_(options, cache_->spill.get(), cache_->pool),
      chain_(MakeChain(plan_, catalog_, query_)),
      export_(ArrowExport::Make(ColumnsOf(plan_))) {
  for (uint32_t i = 0; i < query_.threads(); ++i) sinks_.push_back(std::make_unique<Sink>(*export_, rows_wanted));
  thread_ = std::thread([this] { Main(); });
}

Result::Run::~Run() {
  if (rows_wanted_) Cancel();
  thread_.join();
}

void Result::Run::Cancel() noexcept {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  query_.Cancel();
  export_->Fail(kCancelled);
}

void Result::Run::Main() {
  try {
    std::vector<Stage*> stages;
    for (const auto& sink : sinks_) stages.push_back(sink.get());
    query_.Run(*chain_, stages);
  } catch (const Error& error) {
    report_.failure = error.kind();
    report_.message = error.what();
  } catch (const std::bad_alloc&) {
    report_.failure = ErrorKind::kMemory;
    report_.message = "there is no memory left for the query: give it more, or fewer threads";
  } catch (const std::exception& error) {
    report_.failure = ErrorKind::kData;
    report_.message = error.what();
  }
  FillReport();
  // What a query held and its files, and tables that nobody else has, must not wait for the reader to leave.
  chain_.reset();
  catalog_.clear();
  {
    const std::lock_guard lock(mutex_);
    // Too late for its threads to see, but the reader was told.
    if (query_.cancelled() && !report_.failure) {
      report_.failure = ErrorKind::kCancelled;
      report_.message = kCancelled;
    }
    ended_ = true;
  }
  changed_.notify_all();
  if (report_.failure) {
    export_->Fail(report_.message);
  } else {
    export_->Finish();
  }
}

uint64_t Result::Run::Elapsed() const {
  const auto elapsed = std::chrono::steady_clock::now() - start_;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
}

QueryProgress Result::Run::Progress() {
  const neap_arena_stats_t arena = query_.memory().Stats();
  return {Elapsed(), arena.charged, arena.bound, cache_->spill->bytes()};
}

QueryReport Result::Run::Report() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_; });
  return report_;
}

void Result::Run::FillReport() {
  report_.time_ns = Elapsed();
  for (const auto& sink : sinks_) report_.rows += sink->rows();
  const neap_arena_stats_t arena = query_.memory().Stats();
  report_.live = arena.live;
  report_.cached = arena.cached;
  report_.dirty = arena.dirty;
  report_.resident = arena.resident;
  report_.charged = arena.charged;
  report_.peak = arena.peak;
  report_.bound = arena.bound;
  report_.overruns = arena.overruns;
  report_.pressure_spills = query_.pressure().spills;
  report_.pressure_freed = query_.pressure().freed;
  report_.pressure_uncached = cache_->blocks.evicted_for_container() - uncached_before_;
  ReportChain(*chain_, chain_->operators.size(), 0);
}

// The last operator of a chain is the root of its tree; what it takes its rows from is below it, the chains that must
// have run before come after that. `left` operators of the chain are still to be told.
void Result::Run::ReportChain(Chain& chain, size_t left, unsigned depth) {
  if (left == 0) {
    for (Chain::Input& input : chain.inputs) {
      if (input.source != nullptr) {
        Add(input.source->figures(), depth);
      } else {
        ReportChain(*input.chain, input.chain->operators.size(), depth);
      }
    }
    return;
  }
  Operator& op = *chain.operators[left - 1];
  Add(op.figures(), depth);
  ReportChain(chain, left - 1, depth + 1);
  for (Chain* before : op.Before()) ReportChain(*before, before->operators.size(), depth + 1);
}

void Result::Run::Add(const OperatorFigures& figures, unsigned depth) {
  OperatorReport& report = report_.operators.emplace_back();
  report.depth = depth;
  report.name = figures.name;
  report.detail = figures.detail;
  report.rows_in = figures.rows_in;
  report.rows_out = figures.rows_out;
  report.time_ns = figures.time_ns;
  report.peak = figures.peak;
  report.spilled = figures.spilled;
  report.spilled_rows = figures.spilled_rows;
  report.freed = figures.freed;
  report.spills = figures.spills;
}

Result::Result(std::shared_ptr<Run> run) : run_(std::move(run)) {}

Result::~Result() = default;

void Result::Export(ArrowArrayStream* out) {
  auto kept = std::make_unique<KeptStream>();
  run_->Export(&kept->inner);
  kept->run = run_;
  *out = {KeptStream::GetSchema, KeptStream::GetNext, KeptStream::GetLastError, KeptStream::Release, kept.release()};
}

void Result::Cancel() noexcept { run_->Cancel(); }
QueryProgress Result::Progress() const { return run_->Progress(); }
QueryReport Result::Report() { return run_->Report(); }

}  // namespace neap::engine
