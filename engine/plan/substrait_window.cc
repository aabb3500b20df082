// substrait_window.cc: the frames of window functions.
#include <sstream>
#include <string>
#include <variant>

#include "engine/core/error.h"
#include "engine/expression/evaluator.h"
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

// The type in which a key plus or minus an offset does not overflow, if one can be had.
Type WideTypeOf(const Type& key, const Interval* interval) {
  switch (key.id) {
    case TypeId::kInt8:
    case TypeId::kInt16:
    case TypeId::kInt32:
      if (interval == nullptr) return {TypeId::kInt64};
      break;
    case TypeId::kInt64:
    case TypeId::kDecimal:
      if (interval == nullptr) return Type::Decimal(kMaxPrecision, key.id == TypeId::kDecimal ? key.scale : 0);
      break;
    case TypeId::kFloat:
    case TypeId::kDouble:
      if (interval == nullptr) return {TypeId::kDouble};
      break;
    case TypeId::kDate:
      if (interval != nullptr && interval->micros != 0) return {TypeId::kTimestamp};
      [[fallthrough]];
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      if (interval != nullptr) return key;
      break;
    default:
      break;
  }
  throw Error(
      ErrorKind::kPlan,
      "RANGE with an offset takes ORDER BY of a number, or of a date or time where the offset is an interval, not of " +
          key.Name());
}

// What a note says of an offset: the text of a number, or an interval.
Expression ReadOffset(const std::string& text) {
  if (text.find(':') == std::string::npos) return Expression::Constant({false, text}, {TypeId::kString});
  std::istringstream parts(text);
  Interval interval{};
  int64_t nanos = 0;
  char colon;
  parts >> interval.months >> colon >> interval.days >> colon >> nanos;
  if (nanos % 1000 != 0) RefusePlan("an offset of a frame with nanoseconds");
  interval.micros = nanos / 1000;
  return Expression::Constant({false, interval}, {TypeId::kInterval});
}

void SetValue(const SortKey& key, const Expression& offset, WindowCall& call, FrameBound& bound) {
  const auto* interval = std::get_if<Interval>(&offset.literal.value);
  const Type wide = WideTypeOf(key.expression.type, interval);
  call.key = CastTo(key.expression, wide);
  call.descending = key.descending;
  call.nulls_first = key.nulls_first;
  const bool is_less = (bound.kind == Kind::kPreceding) != key.descending;
  const Expression by =
      interval != nullptr ? offset : Expression::Constant(EvaluateConstant(Expression::Cast(offset, wide)), wide);
  bound.value = Expression::Call(is_less ? Function::kSubtract : Function::kAdd, wide, {*call.key, by});
}

}  // namespace

void ReadFrame(Message::BoundsType type, const Message::Bound& lower, const Message::Bound& upper,
               const std::vector<SortKey>& order, const PlanNotes::Frame* note, WindowCall* call) {
  call->rows = type == Message::BOUNDS_TYPE_ROWS || (type == Message::BOUNDS_TYPE_UNSPECIFIED && order.empty());
  const auto read = [&](const Message::Bound& from, Kind unbounded, const std::string& noted) {
    FrameBound bound = ReadBound(from, unbounded);
    if (call->rows || (noted == "-" && !bound.has_offset())) {
      if (bound.offset < 0) throw Error(ErrorKind::kPlan, "the offset of a frame must not be negative");
      return bound;
    }
    if (noted != "-") bound.kind = noted[0] == 'P' ? Kind::kPreceding : Kind::kFollowing;
    const std::string offset = noted != "-" ? noted.substr(1) : std::to_string(bound.offset);
    if (offset.find('-') != std::string::npos)
      throw Error(ErrorKind::kPlan, "the offset of a frame must not be negative");
    if (order.size() != 1) throw Error(ErrorKind::kPlan, "RANGE with an offset takes ORDER BY of one key");
    SetValue(order[0], ReadOffset(offset), *call, bound);
    return bound;
  };
  call->start = read(lower, Kind::kUnboundedPreceding, note != nullptr ? note->start : "-");
  call->end = read(upper, Kind::kUnboundedFollowing, note != nullptr ? note->end : "-");
}

}  // namespace neap::engine
