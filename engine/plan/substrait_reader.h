// substrait_reader.h: plans as they come in: Substrait 0.85 to 0.89 in protobuf, of DataFusion or of any other
// producer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/plan/catalog.h"
#include "engine/plan/plan.h"

namespace neap::engine {

// What DataFusion knows of a plan and does not write into it (engine/sql/planner.py finds it out).
struct PlanNotes {
  // One an anti join, in the order of DataFusion's listing: whether it is that of NOT IN, where NULLs count, and
  // whether the first of its equalities is that of NOT IN, which the others choose the rows for.
  enum class Anti : uint8_t { kOfNotExists, kOfNotIn, kOfNotInFirst };
  std::vector<Anti> anti_joins = {};
  // What mark joins were made from: IN, where NULLs count, EXISTS, or some of both.
  enum class Marks : uint8_t { kAsSubstrait, kIn, kExists, kMixed } marks = Marks::kAsSubstrait;
  bool semi_joins_are_sets = false;  // and anti joins: they are INTERSECT ALL and EXCEPT ALL
  // One a window function, in the order of the listing, where a frame of RANGE has an offset, of which a plan holds
  // none but integers. A bound is "-", or P (PRECEDING) or F (FOLLOWING) and a number, or MONTHS:DAYS:NANOSECONDS.
  struct Frame {
    std::string start, end;
  };
  std::vector<Frame> frames = {};
};

// From the line that planner.py writes and describes. "": nothing is known.
PlanNotes ReadNotes(const std::string& line);

// Throws Error(kPlan), which names what the engine does not have: a relation, a function, a type, a field.
Plan ReadSubstrait(std::string_view bytes, const Catalog& tables, const PlanNotes& notes = {});

}  // namespace neap::engine
