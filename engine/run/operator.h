// operator.h: what a query is made of while it runs.
//
// A Chain is a list of operators fed by inputs: sources, or other chains (a union). Batches are pushed: every thread
// (Worker) has its own Stage of every operator, and a stage calls Push of the next one. One protocol serves streaming
// and stateful operators alike. For each operator of a chain, in order:
//
//   Before      what must have run before the chain's first batch: the build side of a join, as a chain of its own
//   Push        on every thread: pass on, keep, or both
//   End         on every thread, once nothing will be pushed to this operator any more: flush what the stage holds
//   Settle      on one thread, after all threads' End: merge, decide; leaves numbered tasks
//   SettleTask  on any thread, any order: e.g. build the table of one partition
//   Rest        a source of what was kept, pushed on to the *next* operator by all threads: groups of an aggregate,
//               sorted rows, spilled partitions of a join
//   Close       frees everything; nothing will be asked again
//
// So filter and project are Push alone; sort and aggregate keep in Push and give all in Rest; a hash join passes on in
// Push and gives in Rest what had to wait on disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"

namespace neap::engine {

class Query;

// One thread of a query.
struct Worker {
  Query* query;
  uint32_t index;  // 0 to query->threads()-1
};

class Stage {
 public:
  explicit Stage(Stage* next) : next_(next) {}
  virtual ~Stage() = default;
  virtual void Push(Batch& batch) = 0;
  virtual void End() {}
  // Nothing that is pushed from here on can change the result: sources may stop.
  virtual bool Done() const { return next_ != nullptr && next_->Done(); }

 protected:
  Stage* next_;
};

// The rows of one input on one thread.
class Cursor {
 public:
  virtual ~Cursor() = default;
  // False at the end. The batch is valid until the next call.
  virtual bool Next(Batch& batch) = 0;
};

struct Chain;

// Figures of one operator or source, for --analyze and telemetry. Rows and time are the query's to count, the rest is
// written by the operator.
struct OperatorFigures {
  std::string name;  // "hash join", and what tells it from others: "inner, l_orderkey = o_orderkey"
  std::string detail;
  uint64_t rows_in = 0;
  uint64_t rows_out = 0;
  uint64_t time_ns = 0;  // of all threads, without the operators after it
  uint64_t peak = 0;     // bytes, of its arena
  uint64_t spilled = 0;  // bytes written to disk
  uint64_t spilled_rows = 0;
  uint64_t freed = 0;   // resident bytes that spilling freed: difference of two readings of the arena
  uint32_t spills = 0;  // how often
};

// Rows for all threads. A cursor takes morsels (a row group, a partition) from what all cursors share.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::unique_ptr<Cursor> MakeCursor(Worker& worker) = 0;
  OperatorFigures& figures() { return figures_; }

 protected:
  OperatorFigures figures_;
};

class Operator {
 public:
  virtual ~Operator() = default;
  virtual std::vector<Chain*> Before() { return {}; }
  virtual std::unique_ptr<Stage> MakeStage(Worker& worker, Stage* next) = 0;
  virtual size_t Settle() { return 0; }
  virtual void SettleTask(Worker& /*worker*/, size_t /*task*/) {}
  virtual Source* Rest() { return nullptr; }
  virtual void Close() {}

  // Bytes that SpillAtBoundary could free now; 0 for what is not spillable or holds nothing.
  virtual size_t Spillable() { return 0; }
  // Frees about `wanted` bytes by writing to disk. Called on one thread while every other one of the query waits at a
  // batch boundary, so no stage is inside Push. Returns what the arena's resident figure fell by.
  virtual size_t SpillAtBoundary(size_t /*wanted*/) { return 0; }

  OperatorFigures& figures() { return figures_; }

 protected:
  OperatorFigures figures_;
};

struct Chain {
  struct Input {
    std::unique_ptr<Source> source;  // one of the two
    std::unique_ptr<Chain> chain;
  };
  std::vector<Input> inputs;  // one after the other
  std::vector<std::unique_ptr<Operator>> operators;
};

}  // namespace neap::engine
