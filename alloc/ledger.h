// ledger.h: one reading of the whole process's ledger: resident = live + cached + dirty + metadata.
#pragma once

#include "alloc/stats_page.h"

namespace neap {

Ledger ReadLedger();

}  // namespace neap
