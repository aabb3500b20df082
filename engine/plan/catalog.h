// catalog.h: the tables that a plan may name.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/scan/table.h"

namespace neap::engine {

using Catalog = std::map<std::string, std::shared_ptr<Table>>;

}  // namespace neap::engine
