// project.h: columns of expressions, as many sets of them as are given: one for a projection, several where every row
// counts in several grouping sets. A column that is merely passed on costs nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/run/operator.h"

namespace neap::engine {

// projections[i][j] is column j of the i-th batch that comes out for each batch that goes in.
std::unique_ptr<Operator> MakeProject(Query& query, std::string name, std::vector<std::vector<Expression>> projections,
                                      Slots input);

}  // namespace neap::engine
