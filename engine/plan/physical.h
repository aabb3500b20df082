// physical.h: an optimized plan turned into chains of operators.
#pragma once

#include <memory>

#include "engine/plan/catalog.h"
#include "engine/plan/plan.h"
#include "engine/run/query.h"

namespace neap::engine {

// The chain that computes the plan; its batches have the columns of plan.root->output, in order. The query must outlive
// it.
std::unique_ptr<Chain> MakeChain(const Plan& plan, const Catalog& catalog, Query& query);

}  // namespace neap::engine
