// result_run.h: a query while it runs on a thread of its own, and what is told of it afterwards.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/neap_engine.h"
#include "engine/plan/physical.h"
#include "engine/result/arrow_stream.h"
#include "engine/scan/cached_table.h"

namespace neap::engine {

// Lock: mutex_ guards ended_. Until then the thread alone writes report_, afterwards nobody does.
class Result::Run {
 public:
  // rows_wanted: else they are dropped, and who leaves does not end the query but waits for it.
  Run(Plan plan, Catalog catalog, const QueryOptions& options, std::shared_ptr<BlockCache> cache,
      bool rows_wanted = true);
  ~Run();

  void Export(ArrowArrayStream* out) { export_->Export(out); }
  void Cancel() noexcept;
  QueryProgress Progress();
  QueryReport Report();

 private:
  class Sink;

  void Main();
  void FillReport();
  void ReportChain(Chain& chain, size_t left, unsigned depth);
  void Add(const OperatorFigures& figures, unsigned depth);
  uint64_t Elapsed() const;

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const std::shared_ptr<BlockCache> cache_;
  const bool rows_wanted_;
  const uint64_t uncached_before_;
  const Plan plan_;
  Catalog catalog_;
  Query query_;
  std::unique_ptr<Chain> chain_;
  std::shared_ptr<ArrowExport> export_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  QueryReport report_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace neap::engine
