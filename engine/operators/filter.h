// filter.h: rows for which a condition is TRUE. The batch stays as it is; only its selection narrows.
#pragma once

#include <memory>

#include "engine/expression/evaluator.h"
#include "engine/run/operator.h"

namespace neap::engine {

std::unique_ptr<Operator> MakeFilter(Query& query, Expression condition, Slots input);

}  // namespace neap::engine
