// heap_double.h: what a test sees and sets of the heap that stands in for alloc/ under interpose/.
#pragma once

#include <stddef.h>

#include "alloc/neap.h"

struct HeapDouble {
  bool refuse;        // no request is met
  size_t size;        // of the last request
  size_t alignment;   // of the last request, 0 where it asked for none
  void* freed;        // the block freed last
  size_t freed_size;  // and what was said about it; 0 where nothing was
  size_t freed_alignment;
  size_t frees;
  bool trimmed;  // what Trim answers
  neap_stats_t stats;
  const neap_ledger_row_t* rows;  // of the ledger
  size_t row_count;
};

extern "C" NEAP_EXPORT HeapDouble heap_double;
