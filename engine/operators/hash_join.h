// hash_join.h: hybrid hash join. The right input is built: rows split into partitions by hash, one table a partition;
// the left input probes. Partitions that do not fit go to disk, and the probe rows that belong to them, to be joined
// afterwards, split further where a partition alone does not fit, and block by block where one key does not.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/plan/plan.h"
#include "engine/run/operator.h"
#include "engine/scan/runtime_filter.h"

namespace neap::engine {

struct HashJoinSpec {
  JoinKind kind;  // left: the probe side, right: the build side; all kinds
  Slots probe, build;
  std::vector<Expression> probe_keys, build_keys;  // equal types, key by key
  std::vector<uint8_t> null_equals;                // one a key: IS NOT DISTINCT FROM
  std::optional<Expression> filter;                // over both sides; a pair that fails it does not match
  std::vector<ColumnId> output;                    // of both sides, and `mark`
  ColumnId mark = 0;                               // kLeftMark
  bool null_aware = false;                         // kLeftAnti and kLeftMark as NOT IN and IN have it
  // Filled once the build side is complete, for the scan below the probe side: filters[i] is of probe_keys[i].
  // Only for kinds that drop probe rows without a match (inner, left semi, right, right semi, right anti).
  std::vector<std::shared_ptr<RuntimeFilter>> filters;
};

// The operator of the probe side's chain. It runs `build` (Before), to which it appends the operator that keeps the
// rows.
std::unique_ptr<Operator> MakeHashJoin(Query& query, HashJoinSpec spec, std::unique_ptr<Chain> build);

}  // namespace neap::engine
