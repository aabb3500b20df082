// optimize.cc: the order of the rewrites.
#include "engine/plan/optimize.h"

#include "engine/plan/join_order.h"
#include "engine/plan/rewrite.h"

namespace neap::engine {

void Optimize(Plan& plan, const Catalog& catalog) {
  RemoveAliases(plan);
  RewriteSubqueries(plan);
  RewriteSets(plan);
  RewriteAggregates(plan);
  OrderJoins(plan, catalog);
}

}  // namespace neap::engine
