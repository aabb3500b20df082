// explain.h: expressions of a plan as text that reads like SQL. Explain itself is in plan.h.
#pragma once

#include <string>
#include <vector>

#include "engine/plan/plan.h"

namespace neap::engine {

// A name for every column that any relation below `root` makes, by ColumnId: its own where no other column has it, else
// with its number.
std::vector<std::string> DisplayNames(const Plan& plan);

std::string ExpressionText(const Expression& expression, const std::vector<std::string>& names);

}  // namespace neap::engine
