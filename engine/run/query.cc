// query.cc: running chains, and making room at batch boundaries.
#include "engine/run/query.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

// What a stateful operator must find free before rows are pushed to it: an operator that starts with no room would
// spill a page at a time, while finished build sides hold all of the bound.
constexpr size_t kShares = 4;

// What a thread takes without asking: to write what it spills, and for a batch on its way. Kept free of what operators
// ask for, so that spilling needs no more than there is; no more than a share of a small bound.
constexpr size_t kWorkspace = size_t{2} << 20;
constexpr size_t kWorkspaceShare = 8;

// The bound of a pool that has none.
constexpr size_t kAmple = SIZE_MAX / 2;

// ---- Time and rows of every operator, where they are asked for.

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// Whose time it is on this thread: the operator whose Push, End or Next was called last and has not returned.
class Stopwatch {
 public:
  explicit Stopwatch(uint64_t* time) : outer_(std::exchange(g_time, time)) { Lap(outer_); }
  ~Stopwatch() {
    Lap(g_time);
    g_time = outer_;
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  static void Lap(uint64_t* time) {
    const uint64_t now = Now();
    if (time != nullptr) *time += now - g_since;
    g_since = now;
  }

  static thread_local uint64_t* g_time;
  static thread_local uint64_t g_since;
  uint64_t* outer_;
};
thread_local uint64_t* Stopwatch::g_time = nullptr;
thread_local uint64_t Stopwatch::g_since = 0;

class TimedStage : public Stage {
 public:
  TimedStage(std::unique_ptr<Stage> stage, OperatorFigures& figures, OperatorFigures* before, std::mutex& mutex)
      : Stage(stage.get()), stage_(std::move(stage)), figures_(figures), before_(before), mutex_(mutex) {}
  ~TimedStage() override {
    std::lock_guard lock(mutex_);
    figures_.time_ns += time_;
    figures_.rows_in += rows_;
    if (before_ != nullptr) before_->rows_out += rows_;
  }
  void Push(Batch& batch) override {
    rows_ += batch.selected;
    Stopwatch watch(&time_);
    stage_->Push(batch);
  }
  void End() override {
    Stopwatch watch(&time_);
    stage_->End();
  }

 private:
  std::unique_ptr<Stage> stage_;
  OperatorFigures& figures_;
  OperatorFigures* before_;  // of the operator whose output this takes in
  std::mutex& mutex_;
  uint64_t time_ = 0;
  uint64_t rows_ = 0;
};

}  // namespace

Query::Query(const QueryOptions& options, SpillDirectory* spill, std::shared_ptr<QueryPool> pool)
    : options_(options),
      memory_(pool != nullptr ? std::move(pool)
                              : std::make_shared<QueryPool>(options.memory == 0 ? kAmple : options.memory)),
      task_(memory_.manager(), memory_.memory(), [this](uint64_t bytes) { WantRoom(bytes); }),
      spill_(spill),
      threads_(options.threads == 0 ? AvailableCpus() : options.threads),
      workspace_(std::min(threads_ * kWorkspace, memory().Bound() / kWorkspaceShare)),
      pool_(threads_),
      consumer_(neap_pressure_register(
          [](void* query, size_t wanted) {
            static_cast<Query*>(query)->WantRoomForContainer(wanted);
            return wanted;
          },
          this)) {
  for (uint32_t index = 0; index < threads_; ++index) workers_.push_back({this, index});
}

Query::~Query() {
  if (consumer_ != nullptr) neap_pressure_unregister(consumer_);
}

void Query::Run(Chain& chain, const std::vector<Stage*>& results) {
  struct Active {
    explicit Active(Query& of) : query(of) { query.memory_.pool().Enter(query.task_); }
    ~Active() { query.memory_.pool().Leave(query.task_); }
    Query& query;
  } active(*this);
  RunChain(chain, results);
}

void Query::CheckCancelled() const {
  if (cancelled()) throw Error(ErrorKind::kCancelled, "the query was cancelled");
  if (failed_.load(std::memory_order_relaxed)) throw Error(ErrorKind::kCancelled, "another thread failed");
}

void Query::RunChain(Chain& chain, const std::vector<Stage*>& next) {
  const size_t count = chain.operators.size();
  // From the last to the first: what a later join learns of its build side serves the scans of earlier ones.
  for (size_t i = count; i-- > 0;) {
    for (Chain* before : chain.operators[i]->Before()) RunChain(*before, std::vector<Stage*>(threads_, nullptr));
  }
  MakeRoomForMore();

  std::vector<std::vector<std::unique_ptr<Stage>>> stages(count);  // [operator][worker]
  std::vector<std::vector<Stage*>> inputs(count + 1);              // the same, and `next` as the last
  inputs[count] = next;
  for (size_t i = count; i-- > 0;) {
    for (Worker& worker : workers_) {
      auto stage = chain.operators[i]->MakeStage(worker, inputs[i + 1][worker.index]);
      if (options_.analyze) {
        OperatorFigures* before = i == 0 ? nullptr : &chain.operators[i - 1]->figures();
        stage = std::make_unique<TimedStage>(std::move(stage), chain.operators[i]->figures(), before, mutex_);
      }
      inputs[i].push_back(stage.get());
      stages[i].push_back(std::move(stage));
    }
  }

  for (Chain::Input& input : chain.inputs) {
    if (input.source != nullptr) {
      Drain(*input.source, inputs[0]);
    } else {
      RunChain(*input.chain, inputs[0]);
    }
  }
  for (size_t i = 0; i < count; ++i) {
    Operator& op = *chain.operators[i];
    RunOnAll([&](Worker& worker) { inputs[i][worker.index]->End(); });
    const size_t tasks = op.Settle();
    std::atomic<size_t> task{0};
    if (tasks != 0) {
      RunOnAll([&](Worker& worker) {
        for (size_t mine; (mine = task.fetch_add(1)) < tasks;) {
          CheckCancelled();
          op.SettleTask(worker, mine);
        }
      });
    }
    if (Source* rest = op.Rest(); rest != nullptr) Drain(*rest, inputs[i + 1]);
    stages[i].clear();
    op.Close();
  }
}

void Query::RunOnAll(const std::function<void(Worker&)>& work) {
  // The first error, said again outside of the query's arena, which the error outlives.
  std::optional<Error> first;
  const std::function<void(uint32_t)> guarded = [&](uint32_t index) {
    ErrorKind kind{};
    std::string_view text;
    std::exception_ptr keep;
    {
      const bool scoped = neap_scope_push(memory().arena()) == 0;
      try {
        work(workers_[index]);
      } catch (const Error& error) {
        keep = std::current_exception();
        kind = error.kind();
        text = error.what();
      } catch (const std::bad_alloc&) {
        keep = std::current_exception();
        kind = ErrorKind::kMemory;
        text = "out of memory: give the query more with --memory, or the container";
      } catch (const std::exception& error) {
        keep = std::current_exception();
        kind = ErrorKind::kData;
        text = error.what();
      }
      if (scoped) neap_scope_pop();
    }
    if (keep == nullptr) return;
    std::lock_guard lock(mutex_);
    if (!failed_.exchange(true)) first.emplace(kind, std::string(text));
  };
  pool_.Run(guarded);
  failed_.store(false);
  if (first) throw *std::move(first);
}

void Query::Drain(Source& source, const std::vector<Stage*>& first) {
  running_ = threads_;
  RunOnAll([&](Worker& worker) {
    // Whoever leaves wakes those who wait for it at the boundary.
    struct Leave {
      Query& query;
      ~Leave() {
        std::lock_guard lock(query.mutex_);
        --query.running_;
        query.changed_.notify_all();
      }
    } leave{*this};

    Stage* stage = first[worker.index];
    uint64_t time = 0;
    uint64_t rows = 0;
    {
      const auto cursor = source.MakeCursor(worker);
      Batch batch;
      const auto next = [&] {
        if (!options_.analyze) return cursor->Next(batch);
        Stopwatch watch(&time);
        return cursor->Next(batch);
      };
      while (!stage->Done() && next()) {
        if (batch.selected != 0) {
          rows += batch.selected;
          stage->Push(batch);
        }
        AtBoundary();
      }
    }
    if (options_.analyze) {
      std::lock_guard lock(mutex_);
      source.figures().time_ns += time;
      source.figures().rows_out += rows;
    }
  });
}

// ---- Room.

size_t Query::Free() {
  size_t room = memory_.manager().Room(task_);
  neap_stats_t process;
  if (neap_stats(&process) == 0 && process.limit != UINT64_MAX) room = std::min<size_t>(room, process.headroom);
  return room;
}

bool Query::MayGrow(Memory& memory, size_t bytes) {
  if (options_.force_spill) return false;
  bytes += workspace_;
  if (memory.HasRoom(bytes)) return true;
  // What was freed and not yet given back is charged too.
  if (memory.Purge() + memory_.memory().Purge() != 0 && memory.HasRoom(bytes)) return true;
  return memory_.manager().MakeRoom(task_, memory, bytes, [this] { CheckCancelled(); });
}

void Query::WantRoomForContainer(size_t bytes) {
  for_container_.store(true, std::memory_order_relaxed);
  WantRoom(bytes);
}

void Query::Register(Operator* op) {
  std::lock_guard lock(mutex_);
  spillable_.push_back(op);
}

void Query::Unregister(Operator* op) {
  std::lock_guard lock(mutex_);
  std::erase(spillable_, op);
}

// Before a chain starts no stage of it holds anything, so that build sides may go to disk without ado.
void Query::MakeRoomForMore() {
  const size_t all = Free() + memory().Charged();
  const size_t share = all / kShares;
  std::lock_guard lock(mutex_);
  if (const size_t room = Free(); room < share) MakeRoom(share - room);
}

void Query::AtBoundary() {
  CheckCancelled();
  if (!room_wanted()) return;
  std::unique_lock lock(mutex_);
  if (!room_wanted()) return;
  const uint64_t mine = boundaries_;
  ++waiting_;
  changed_.wait(lock, [&] { return boundaries_ != mine || waiting_ == running_; });
  if (boundaries_ != mine) return;
  waiting_ = 0;
  ++boundaries_;
  changed_.notify_all();
  const bool for_container = for_container_.exchange(false);
  const size_t freed = MakeRoom(wanted_.exchange(0));
  if (for_container && freed != 0) {
    neap_purge();  // the container is to have it, and not the next who allocates
    ++pressure_.spills;
    pressure_.freed += freed;
  }
}

// Under mutex_, with every other thread at the boundary or outside of Drain.
size_t Query::MakeRoom(size_t bytes) {
  size_t freed = 0;
  while (freed < bytes) {
    Operator* largest = nullptr;
    size_t most = 0;
    for (Operator* op : spillable_) {
      if (const size_t size = op->Spillable(); size > most) largest = op, most = size;
    }
    if (largest == nullptr) break;
    const size_t now = largest->SpillAtBoundary(bytes - freed);
    if (now == 0) break;
    freed += now;
  }
  return freed;
}

}  // namespace neap::engine
