// values.h: VALUES: rows of constants; also the one row without columns that SELECT 1 reads.
#pragma once

#include <memory>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/run/operator.h"

namespace neap::engine {

// rows[i][j]: an expression without columns, column j of row i.
std::unique_ptr<Source> MakeValues(Query& query, std::vector<std::vector<Expression>> rows);

}  // namespace neap::engine
