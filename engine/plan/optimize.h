// optimize.h: a plan rewritten into what physical.h has operators for, in an order that keeps intermediate results
// small.
#pragma once

#include "engine/plan/catalog.h"
#include "engine/plan/plan.h"

namespace neap::engine {

// In this order: columns that only rename another are replaced by it (rewrite.cc); scalar subqueries, DISTINCT
// aggregates, grouping sets and set operations become joins, aggregates and kExpand (rewrite.cc); inner joins are put
// in the cheapest order and the smaller side of every join is built (join_order.cc), by the estimates of estimate.h.
void Optimize(Plan& plan, const Catalog& catalog);

}  // namespace neap::engine
