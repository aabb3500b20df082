// stats_history.h: what of a reading goes into the page's rings: samples, and the events that two readings in a row
// tell. The writer of the page calls it; readers see an odd sequence meanwhile.
#pragma once

#include <stdint.h>

#include "alloc/stats_page.h"

namespace neap {

// before: the reading that stood in the page. now_ms: CLOCK_REALTIME.
void AddEvents(StatsPage& page, const Ledger& before, const Ledger& now, uint64_t now_ms);

void AddSample(StatsPage& page, const Ledger& ledger, uint64_t now_ms);

void AddForeign(StatsPage& page, const StatsForeign& parts);

}  // namespace neap
