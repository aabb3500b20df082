// external_sort.h: rows in, the same rows in order out, with memory for part of them. Every thread fills runs of its
// own; a run that may not grow is sorted and written to disk; at the end all runs are merged. Comparisons are memcmp of
// normalized keys (one byte string a row, built once), whose first 8 bytes lie beside the row's address in what is
// sorted. Source: Graefe, "Implementing Sorting in Database Systems", ACM Computing Surveys 2006 (normalized keys,
// merging).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/run/operator.h"

namespace neap::engine {

struct SortColumn {
  uint32_t column;  // of the rows
  bool descending = false;
  bool nulls_first = false;
};

class ExternalSort {
 public:
  // keep: only the first so many rows of the order are wanted (top-N); UINT64_MAX: all.
  ExternalSort(Query& query, Memory& memory, std::vector<Type> types, std::vector<SortColumn> order, uint64_t keep,
               OperatorFigures& figures);
  ~ExternalSort();

  // From thread `worker`: copies the rows that count; spills the thread's run where it may not grow.
  void Append(uint32_t worker, const Batch& batch);
  void End(uint32_t worker);  // sorts what is left of the thread's run

  // After all have ended, on one thread. More runs than can be merged at once are merged in passes.
  void StartMerge();
  // The rows in order; one thread. The batch is valid until the next call.
  bool Next(Batch& batch);
  void Close();

  size_t Spillable();
  size_t SpillAtBoundary(size_t wanted);  // as Operator has them

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::engine
