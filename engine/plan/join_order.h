// join_order.h: the order of inner joins, which side of a join is built, and how far down a semi join goes.
#pragma once

#include "engine/plan/estimate.h"
#include "engine/plan/plan.h"

namespace neap::engine {

// Inner and cross joins that meet without anything but filters between them are taken as one graph: relations,
// equalities (with those that follow from them: a = b and b = c give a = c) and other conditions. Up to kExhaustive
// relations the cheapest tree is found by dynamic programming over all subsets, beyond that by joining the cheapest
// pair again and again. Cost: rows of intermediate results, and rows built. Source: Moerkotte and Neumann, "Analysis of
// Two Existing and One New Dynamic Programming Algorithm for the Generation of Optimal Bushy Join Trees without Cross
// Products", VLDB 2006 (DPsub).
void OrderJoins(Plan& plan, const Catalog& catalog);

constexpr size_t kExhaustive = 12;

}  // namespace neap::engine
