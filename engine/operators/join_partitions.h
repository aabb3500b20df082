// join_partitions.h: the build side of a join: rows split by the bits of their hash at one level of recursion, each
// partition in memory with its table or on disk. What is on disk is joined afterwards, one partition at a time, split
// by the next level (join_rest.h).
//
// A partition's life: every thread fills a JoinInput of its own; where memory is short, its largest partition goes to
// the partition's build file, and so do later rows of it from all threads. Settle takes all inputs over and decides
// what stays in memory. BuildTable makes a table of what stays. SpillPartition still sends it to disk afterwards.
//
// Lock: Partition::mutex guards its two files while several threads write. All else changes on one thread at a time, or
// while no thread is inside of a Push.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/core/hash.h"
#include "engine/memory/memory.h"
#include "engine/operators/join_filters.h"
#include "engine/operators/join_shape.h"
#include "engine/operators/join_table.h"
#include "engine/rows/row_store.h"
#include "engine/run/query.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// One join while it runs: what all its parts share.
struct JoinRun {
  JoinRun(Query& query, HashJoinSpec spec, const std::string& name);

  // Gives freed pages back and counts what a spill freed; `before` is memory.Resident() before it.
  void CountSpill(size_t before);
  void CountFile(const SpillFile& file);

  Query& query;
  JoinShape shape;
  Memory memory;
  JoinFilters filters;

  // Of the whole build side, once it is complete.
  std::atomic<bool> has_build_rows{false};
  std::atomic<bool> has_null_keys{false};

  std::atomic<uint64_t> spilled{0}, spilled_rows{0}, freed{0};
  std::atomic<uint32_t> spills{0};
};

// With less than this in memory a thread does not spill: the files would be too small to be worth it.
constexpr size_t kWorthSpilling = size_t{1} << 20;

class JoinPartitions {
 public:
  struct Partition {
    explicit Partition(JoinRun& run) : rows(&run.shape.build_rows, &run.memory) {}

    RowStore rows;
    JoinTable table;
    std::atomic<bool> on_disk{false};
    std::mutex mutex;
    std::unique_ptr<SpillFile> build, probe;
  };

  JoinPartitions(JoinRun& run, int level);

  JoinRun& run() const { return run_; }
  int level() const { return level_; }
  Partition& partition(uint32_t p) { return partitions_[p]; }
  bool on_disk(uint32_t p) const { return partitions_[p].on_disk.load(std::memory_order_relaxed); }

  // While rows come in; any thread. Writes rows of partition p to its file and frees them.
  void SpillBuild(uint32_t p, RowStore& rows);
  void SpillProbe(uint32_t p, RowStore& rows);
  void Adopt(PartitionedRows& rows);

  // After all inputs are adopted. Where memory is short for the tables, partitions go to disk if they may.
  // `bounds`: of the only key, if it is an integer; a dense range of it gets one table for all partitions.
  void Settle(bool may_spill, const std::optional<KeyBounds>& bounds);
  void BuildTable(uint32_t p);  // any thread, each once; nothing for a partition on disk

  // Once tables are built.
  bool any_on_disk() const { return any_on_disk_; }
  bool has_duplicates() const { return has_duplicates_.load(std::memory_order_relaxed); }
  const DenseTable& dense() const { return dense_; }
  uint64_t rows() const;  // in memory
  size_t bytes() const;   // of rows and tables in memory

  // Sends the largest partition in memory to disk, with its flags; says whether there was one.
  bool SpillLargest();
  void FinishProbe();  // no probe rows will come any more
  void DropTables();   // of them, only rows are still needed

 private:
  size_t TableBytes() const;
  void RestoreHashes(Partition& partition);

  JoinRun& run_;
  int level_;
  std::deque<Partition> partitions_;
  DenseTable dense_;
  bool any_on_disk_ = false;
  std::atomic<bool> has_duplicates_{false};
};

// The rows of one thread on their way into the partitions.
class JoinInput {
 public:
  explicit JoinInput(JoinPartitions& partitions);

  // Whether so many more rows, with their table, may be kept.
  bool MayGrow(uint32_t count) const;
  // Before so many more rows are appended: spills where they may not be kept.
  void MakeRoom(uint32_t count);
  // Sends about `wanted` bytes to disk: what belongs to partitions that are there already, then the largest.
  void Spill(size_t wanted);
  PartitionedRows& rows() { return rows_; }

 private:
  size_t BytesFor(uint32_t count) const;

  JoinPartitions& partitions_;
  PartitionedRows rows_;
};

}  // namespace neap::engine
