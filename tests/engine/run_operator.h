// run_operator.h: one operator run over batches in memory by several threads; its rows as cells to compare with.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/run/query.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {

using Rows = std::vector<std::vector<Cell>>;

class BatchSource : public Source {
 public:
  explicit BatchSource(std::vector<const Batch*> batches) : batches_(std::move(batches)) {}
  std::unique_ptr<Cursor> MakeCursor(Worker&) override {
    struct Shared : Cursor {
      explicit Shared(BatchSource& from) : source(from) {}
      bool Next(Batch& batch) override {
        const size_t mine = source.next_.fetch_add(1);
        if (mine >= source.batches_.size()) return false;
        batch = *source.batches_[mine];
        return true;
      }
      BatchSource& source;
    };
    return std::make_unique<Shared>(*this);
  }

 private:
  std::vector<const Batch*> batches_;
  std::atomic<size_t> next_{0};
};

struct RowSink : Stage {
  RowSink() : Stage(nullptr) {}
  void Push(Batch& batch) override {
    batch.ForEach([&](uint32_t row) { rows.push_back(RowAt(batch, row)); });
  }
  bool Done() const override { return false; }
  Rows rows;
};

struct OperatorRun {
  Rows rows;
  OperatorFigures figures;
};

// Nothing may be left in the query's arenas afterwards.
inline OperatorRun RunOperator(const std::vector<const Batch*>& batches, const QueryOptions& options,
                               const std::function<std::unique_ptr<Operator>(Query&)>& make) {
  SpillDirectory spill;
  Query query(options, &spill);
  std::vector<RowSink> sinks(query.threads());
  std::vector<Stage*> results;
  for (RowSink& sink : sinks) results.push_back(&sink);
  OperatorRun run;
  {
    Chain chain;
    chain.inputs.push_back({std::make_unique<BatchSource>(batches), nullptr});
    chain.operators.push_back(make(query));
    query.Run(chain, results);
    run.figures = chain.operators[0]->figures();
    EXPECT_EQ(spill.bytes(), 0U);
  }
  // Copies: what a sink keeps lies in the query's arena.
  for (RowSink& sink : sinks) {
    run.rows.insert(run.rows.end(), sink.rows.begin(), sink.rows.end());
    sink.rows = {};
  }
  EXPECT_EQ(query.memory().Charged(), query.memory().Resident()) << "an arena of an operator is left";
  return run;
}

// The ways in which every stateful operator must give the same result.
struct RunMode {
  const char* name;
  QueryOptions options;
};
inline std::vector<RunMode> RunModes(size_t tiny) {
  std::vector<RunMode> modes;
  for (uint32_t threads : {1U, 3U}) {
    QueryOptions options;
    options.threads = threads;
    modes.push_back({"ample", options});
    options.memory = tiny;
    modes.push_back({"tiny bound", options});
    options.memory = 0;
    options.force_spill = true;
    modes.push_back({"forced spill", options});
  }
  return modes;
}

}  // namespace neap::engine
