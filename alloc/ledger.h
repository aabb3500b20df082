// ledger.h: one reading of the whole process's ledger: resident = live + cached + dirty + metadata.
#pragma once

#include "alloc/stats_page.h"

namespace neap {

Ledger ReadLedger();
void ReadTables(StatsTables& tables);

// Its sum, by three figures that are kept as sums.
uint64_t ResidentBytes();

// Bytes of the root's blocks that are free and yet out of the slabs: in the CPUs' caches and in the quarantine.
uint64_t FreeOutsideSlabs();

}  // namespace neap
