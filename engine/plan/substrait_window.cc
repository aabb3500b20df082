// substrait_window.cc: the frames of window functions.
#include <utility>

#include "engine/core/error.h"
#include "engine/plan/substrait_scope.h"

namespace neap::engine {
namespace {

using Message = substrait::Expression::WindowFunction;
using Kind = FrameBound::Kind;

FrameBound ReadBound(const Message::Bound& bound, Kind unbounded) {
  switch (bound.kind_case()) {
    case Message::Bound::kPreceding:
      return {Kind::kPreceding, bound.preceding().offset()};
    case Message::Bound::kFollowing:
      return {Kind::kFollowing, bound.following().offset()};
    case Message::Bound::kCurrentRow:
      return {Kind::kCurrentRow};
    default:
      return {unbounded};
  }
}

bool HasOffset(const FrameBound& bound) { return bound.kind == Kind::kPreceding || bound.kind == Kind::kFollowing; }

// The type in which a key plus or minus an offset does not overflow, if one can be had.
Type WideTypeOf(const Type& key, const Type& offset) {
  switch (key.id) {
    case TypeId::kInt8:
    case TypeId::kInt16:
    case TypeId::kInt32:
      return {TypeId::kInt64};
    case TypeId::kInt64:
      return Type::Decimal(kMaxPrecision, 0);
    case TypeId::kDecimal:
      return Type::Decimal(kMaxPrecision, key.scale);
    case TypeId::kFloat:
    case TypeId::kDouble:
      return {TypeId::kDouble};
    case TypeId::kDate:
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      if (offset.id == TypeId::kInterval) return key;
      [[fallthrough]];
    default:
      throw Error(ErrorKind::kPlan, "RANGE with an offset of " + offset.Name() + " does not go with ORDER BY " +
                                        key.Name() + ": order by a number, or by a date or time for an interval");
  }
}

void SetValue(const SortKey& key, const Expression& offset, WindowCall& call, FrameBound& bound) {
  const Type wide = WideTypeOf(key.expression.type, offset.type);
  const auto widened = [&](Expression value) {
    return value.type == wide ? std::move(value) : Expression::Cast(std::move(value), wide);
  };
  call.key = widened(key.expression);
  call.descending = key.descending;
  call.nulls_first = key.nulls_first;
  const bool is_less = (bound.kind == Kind::kPreceding) != key.descending;
  const bool is_interval = offset.type.id == TypeId::kInterval;
  bound.value = Expression::Call(is_less ? Function::kSubtract : Function::kAdd, wide,
                                 {*call.key, is_interval ? offset : widened(offset)});
}

}  // namespace

void ReadFrame(Message::BoundsType type, const Message::Bound& lower, const Message::Bound& upper,
               const std::vector<SortKey>& order, WindowCall* call) {
  call->rows = type == Message::BOUNDS_TYPE_ROWS || (type == Message::BOUNDS_TYPE_UNSPECIFIED && order.empty());
  call->start = ReadBound(lower, Kind::kUnboundedPreceding);
  call->end = ReadBound(upper, Kind::kUnboundedFollowing);
  for (FrameBound* bound : {&call->start, &call->end}) {
    if (!HasOffset(*bound)) continue;
    if (bound->offset < 0) throw Error(ErrorKind::kPlan, "the offset of a frame must not be negative");
    if (call->rows) continue;
    if (order.size() != 1) throw Error(ErrorKind::kPlan, "RANGE with an offset takes ORDER BY of one key");
    SetValue(order[0], Expression::Constant({false, bound->offset}, {TypeId::kInt64}), *call, *bound);
  }
}

}  // namespace neap::engine
