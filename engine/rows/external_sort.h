// external_sort.h: rows in, the same rows in order out, with memory for part of them. Every thread fills a run of its
// own, whose keys are sorted chunk by chunk as they come, while they lie in the cache; a run that may not grow is
// merged and written to disk; at the end all chunks and all files are merged. What is compared and moved is a row's
// normalized key and its address (sort_key.h, sort_entries.h). Source: Graefe, "Implementing Sorting in Database
// Systems", ACM Computing Surveys 2006 (normalized keys, merging).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/rows/sort_key.h"
#include "engine/run/operator.h"

namespace neap::engine {

class Sorter;

class ExternalSort {
 public:
  // keep: only the first so many rows of the order are wanted (top-N); UINT64_MAX: all.
  ExternalSort(Query& query, Memory& memory, std::vector<Type> types, std::vector<SortColumn> order, uint64_t keep,
               OperatorFigures& figures);
  ~ExternalSort();
  ExternalSort(const ExternalSort&) = delete;
  ExternalSort& operator=(const ExternalSort&) = delete;

  // From thread `worker`: copies the rows that count; spills the thread's run where it may not grow.
  void Append(uint32_t worker, const Batch& batch);
  void End(uint32_t worker);  // sorts what is left of the thread's run

  // After all have ended, on one thread. More files than can be merged at once are merged in passes.
  void StartMerge();
  // The rows in order, of equal rows any first; one thread. The batch is valid until the next call, or until
  // SpillAtBoundary.
  bool Next(Batch& batch);
  void Close();

  // As Operator has them. At any time, also between two calls of Next.
  size_t Spillable() const;
  size_t SpillAtBoundary(size_t wanted);

 private:
  RowLayout layout_;
  SortKeys keys_;
  std::unique_ptr<Sorter> sorter_;
};

}  // namespace neap::engine
