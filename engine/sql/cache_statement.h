// cache_statement.h: Spark SQL's statements on cached tables, which the planner does not know:
//
//     CACHE [LAZY] TABLE name [OPTIONS ('storageLevel' [=] 'LEVEL')] [[AS] query]
//     UNCACHE TABLE [IF EXISTS] name
//     CLEAR CACHE
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/memory/storage_level.h"

namespace neap::engine {

struct CacheStatement {
  enum class Kind { kCache, kUncache, kClear } kind = Kind::kClear;
  std::string name;        // as tables are named: in lower case where it was not quoted
  bool lazy = false;       // kCache: fill it as it is read
  bool if_exists = false;  // kUncache
  StorageLevel level = {.disk = true, .memory = true, .deserialized = true};  // MEMORY_AND_DISK
  std::string query;                                                          // "": the table of that name
};

// Nothing for other statements. Throws Error(kPlan), which says what was expected where.
std::optional<CacheStatement> ParseCacheStatement(std::string_view sql);

}  // namespace neap::engine
