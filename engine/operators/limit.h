// limit.h: LIMIT and OFFSET: counts rows over all threads, and lets sources stop.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/run/operator.h"

namespace neap::engine {

// limit: -1 for none.
std::unique_ptr<Operator> MakeLimit(Query& query, int64_t limit, int64_t offset);

}  // namespace neap::engine
