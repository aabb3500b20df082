// join_shape.cc: from the specification of a join to its columns.
#include "engine/operators/join_shape.h"

#include <algorithm>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

// Where keys lie in a batch with its keys; `width` becomes how many columns that has.
std::vector<uint32_t> PlaceKeys(const Slots& slots, const std::vector<Expression>& keys, uint32_t* width) {
  std::vector<uint32_t> places;
  *width = static_cast<uint32_t>(slots.ids.size());
  for (const Expression& key : keys) places.push_back(key.is_column() ? slots.Find(key.column) : (*width)++);
  return places;
}

// The place of `value` in `list`, where it is put if it is not there.
uint32_t PlaceIn(std::vector<uint32_t>& list, uint32_t value) {
  const auto found = std::find(list.begin(), list.end(), value);
  if (found == list.end()) {
    list.push_back(value);
    return static_cast<uint32_t>(list.size() - 1);
  }
  return static_cast<uint32_t>(found - list.begin());
}

Type TypeOf(const Slots& slots, const std::vector<Expression>& keys, const std::vector<uint32_t>& key_places,
            uint32_t column) {
  if (column < slots.types.size()) return slots.types[column];
  const auto key = std::find(key_places.begin(), key_places.end(), column);
  return keys[static_cast<size_t>(key - key_places.begin())].type;
}

}  // namespace

JoinShape::JoinShape(HashJoinSpec given) : spec(std::move(given)) {
  for (size_t k = 0; k < keys(); ++k) {
    if (spec.probe_keys[k].type.physical() != spec.build_keys[k].type.physical()) {
      throw Error(ErrorKind::kPlan, "join of " + spec.probe_keys[k].type.Name() + " with " +
                                        spec.build_keys[k].type.Name() + ": cast one side");
    }
  }
  spec.null_equals.resize(keys(), 0);
  if (spec.null_aware && keys() != 0 && (keys() != 1 || spec.filter.has_value())) CompareInFilter();
  probe_keys = PlaceKeys(spec.probe, spec.probe_keys, &probe_columns);
  build_keys = PlaceKeys(spec.build, spec.build_keys, &build_columns);

  // A key is stored at its own number even where two are the same column: MatchKeys takes them by number.
  build_kept = build_keys;
  probe_kept = probe_keys;
  const auto find = [&](ColumnId id, Type type) -> JoinColumn {
    if (spec.kind == JoinKind::kLeftMark && id == spec.mark) return {JoinColumn::Side::kMark, 0, {TypeId::kBool}};
    if (spec.probe.Has(id)) {
      const uint32_t column = spec.probe.Find(id);
      PlaceIn(probe_kept, column);
      return {JoinColumn::Side::kProbe, column, spec.probe.types[column]};
    }
    const uint32_t column = spec.build.Find(id);
    return {JoinColumn::Side::kBuild, PlaceIn(build_kept, column), type};
  };
  const auto type_of = [&](ColumnId id) { return spec.build.Has(id) ? spec.build.types[spec.build.Find(id)] : Type{}; };
  for (const ColumnId id : spec.output) output.push_back(find(id, type_of(id)));
  if (spec.filter.has_value()) {
    spec.filter->ForEachColumn([&](ColumnId id) {
      if (filter_slots.Has(id)) return;
      filtered.push_back(find(id, type_of(id)));
      filter_slots.ids.push_back(id);
      filter_slots.types.push_back(filtered.back().type);
    });
  }

  std::vector<Type> types;
  for (const uint32_t column : probe_kept) types.push_back(TypeOf(spec.probe, spec.probe_keys, probe_keys, column));
  types.push_back({TypeId::kInt64});
  probe_rows = RowLayout(std::move(types));

  types.clear();
  for (const uint32_t column : build_kept) types.push_back(TypeOf(spec.build, spec.build_keys, build_keys, column));
  if (flags_build()) {
    flag = static_cast<uint32_t>(types.size());
    types.push_back({TypeId::kBool});
    build_kept.push_back(build_columns);
  }
  link = static_cast<uint32_t>(types.size());
  types.push_back({TypeId::kInt64});
  build_rows = RowLayout(std::move(types));
}

// With one key and nothing else a NULL on either side says at once that the answer is NULL. Otherwise it depends on
// what else the pair has: every pair is looked at, and the three-valued AND of the filter says it.
void JoinShape::CompareInFilter() {
  const Type boolean{TypeId::kBool};
  std::vector<Expression> terms;
  for (size_t k = 0; k < keys(); ++k) {
    const Function equal = spec.null_equals[k] != 0 ? Function::kIsNotDistinctFrom : Function::kEqual;
    terms.push_back(Expression::Call(equal, boolean, {spec.probe_keys[k], spec.build_keys[k]}));
  }
  if (spec.filter.has_value()) terms.push_back(std::move(*spec.filter));
  spec.filter = Expression::Call(Function::kAnd, boolean, std::move(terms));
  spec.probe_keys.clear();
  spec.build_keys.clear();
  spec.null_equals.clear();
}

bool JoinShape::flags_build() const {
  return spec.kind == JoinKind::kRight || spec.kind == JoinKind::kFull || spec.kind == JoinKind::kRightSemi ||
         spec.kind == JoinKind::kRightAnti;
}

bool JoinShape::keeps_null_keys() const {
  return spec.kind == JoinKind::kRight || spec.kind == JoinKind::kFull || spec.kind == JoinKind::kRightAnti;
}

bool JoinShape::gives_unmatched_probe() const {
  return spec.kind == JoinKind::kLeft || spec.kind == JoinKind::kFull || spec.kind == JoinKind::kLeftSingle ||
         spec.kind == JoinKind::kLeftAnti || spec.kind == JoinKind::kLeftMark;
}

bool JoinShape::wants_one_match() const {
  return spec.kind == JoinKind::kLeftSemi || spec.kind == JoinKind::kLeftAnti || spec.kind == JoinKind::kLeftMark;
}

bool JoinShape::gives_pairs() const {
  return spec.kind == JoinKind::kInner || spec.kind == JoinKind::kLeft || spec.kind == JoinKind::kRight ||
         spec.kind == JoinKind::kFull || spec.kind == JoinKind::kLeftSingle;
}

bool JoinShape::empty_without_build() const { return !gives_unmatched_probe(); }

uint32_t JoinShape::RowsWithKeys(const Batch& batch, const uint32_t* key_columns, RowIndex* rows,
                                 const RowIndex** found) const {
  *found = batch.selection;
  uint32_t count = batch.selected;
  for (size_t k = 0; k < keys(); ++k) {
    const Column& column = batch.columns[key_columns[k]];
    if (column.valid == nullptr || spec.null_equals[k] != 0) continue;
    const RowIndex* from = *found;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const RowIndex row = from == nullptr ? static_cast<RowIndex>(i) : from[i];
      rows[kept] = row;
      kept += column.valid[column.position(row)];
    }
    count = kept;
    *found = rows;
  }
  return count;
}

JoinKeys::JoinKeys(const Slots& slots, const std::vector<Expression>& keys, Memory& memory) {
  for (const Expression& key : keys) {
    if (!key.is_column()) computed_.emplace_back(key, slots, memory);
  }
}

void JoinKeys::Extend(const Batch& batch, Batch& with_keys) {
  with_keys.columns = batch.columns;
  with_keys.rows = batch.rows;
  with_keys.selection = batch.selection;
  with_keys.selected = batch.selected;
  for (Evaluator& key : computed_) with_keys.columns.push_back(key.Evaluate(batch));
}

}  // namespace neap::engine
