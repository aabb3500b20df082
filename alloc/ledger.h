// ledger.h: one reading of the whole process's ledger: resident = live + cached + dirty + metadata.
#pragma once

#include "alloc/arena.h"
#include "alloc/stats_page.h"

namespace neap {

Ledger ReadLedger();
void ReadTables(StatsTables& tables);

// The ledger row by row. Each figure is read once, so that the rows by arena and those by class have the same sum also
// while others allocate. 9 KiB: a table of classes of one arena, and one of all.
class LedgerRows {
 public:
  LedgerRows();

  // Reads the arena of that number; false where there is none. Its rows stay until the next is read.
  bool ReadArena(size_t id);
  const StatsArena& arena() const { return arena_; }
  const StatsClass& ClassOfArena(size_t size_class) const { return own_[size_class]; }

  // Of the arenas that were read; a node's row has its free runs too.
  const StatsClass& Class(size_t size_class) const { return all_[size_class]; }
  const StatsNode& Node(size_t node) const { return nodes_[node]; }

  uint64_t free_runs() const { return free_runs_; }  // dirty pages of no arena, in bytes

 private:
  StatsArena arena_ = {};
  StatsClass own_[kClasses + 1] = {}, all_[kClasses + 1] = {};
  StatsNode nodes_[RootHeap::kMaxNodes] = {};
  uint64_t free_runs_ = 0;
};

// Its sum, by three figures that are kept as sums.
uint64_t ResidentBytes();

// Bytes of the root's blocks that are free and yet out of the slabs: in the CPUs' caches and in the quarantine.
uint64_t FreeOutsideSlabs();
uint64_t FreeOutsideSlabs(size_t size_class);

}  // namespace neap
