// estimate.cc: estimates of rows.
#include "engine/plan/estimate.h"

#include <algorithm>
#include <cmath>

namespace neap::engine {
namespace {

// Shares of rows where nothing better is known. Source: Selinger et al., "Access Path Selection", SIGMOD 1979, but for
// patterns, which are more selective in practice.
constexpr double kUnknown = 1.0 / 3;
constexpr double kRange = 1.0 / 3;
constexpr double kPattern = 0.1;
constexpr double kDistinctUnknown = 10;

std::optional<double> Number(const Expression& expression) {
  if (expression.kind != Expression::Kind::kLiteral || expression.literal.null) return std::nullopt;
  const auto& value = expression.literal.value;
  if (const auto* v = std::get_if<int64_t>(&value)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<double>(&value)) return *v;
  if (const auto* v = std::get_if<Int128>(&value)) return static_cast<double>(*v);
  return std::nullopt;
}

const Expression& WithoutCast(const Expression& expression) {
  const Expression* inner = &expression;
  while (inner->kind == Expression::Kind::kCast) inner = &inner->args[0];
  return *inner;
}

// What of the first `drawn` of `distinct` equally frequent values are seen in a draw of so many rows.
double Seen(double distinct, double drawn) {
  if (distinct <= 0) return 0;
  return distinct * (1 - std::exp(-drawn / distinct));
}

}  // namespace

double Estimates::Rows(Rel& rel) {
  double first = 0, second = 0, sum = 0;
  for (size_t i = 0; i < rel.inputs.size(); ++i) {
    const double rows = Rows(*rel.inputs[i]);
    sum += rows;
    (i == 0 ? first : second) = rows;
  }
  double rows = first;
  switch (rel.kind) {
    case Rel::Kind::kRead:
      rows = Read(rel);
      break;
    case Rel::Kind::kValues:
      rows = static_cast<double>(rel.rows.size());
      break;
    case Rel::Kind::kFilter:
      rows = first * Selectivity(*rel.filter);
      break;
    case Rel::Kind::kJoin:
      rows = Join(rel, first, second);
      break;
    case Rel::Kind::kAggregate: {
      double groups = 1;
      for (const Expression& group : rel.expressions) groups *= std::max(1.0, Distinct(group, first));
      rows = rel.expressions.empty() ? 1 : std::min(groups, first);
      for (size_t i = 0; i < rel.expressions.size(); ++i) {
        columns_[rel.defines[i]].distinct = Distinct(rel.expressions[i], first);
      }
      break;
    }
    case Rel::Kind::kSort:
    case Rel::Kind::kLimit:
      if (rel.limit >= 0) rows = std::min(first, static_cast<double>(rel.limit));
      break;
    case Rel::Kind::kExpand:
      rows = first * static_cast<double>(rel.projections.size());
      break;
    case Rel::Kind::kSet:
      rows = sum;
      break;
    case Rel::Kind::kProject:
    case Rel::Kind::kWindow:
      break;
  }
  return rel.estimated_rows = std::max(rows, 1.0);
}

double Estimates::Read(const Rel& rel) {
  const auto found = catalog_.find(rel.table);
  if (found == catalog_.end()) return 1;
  const Table& table = *found->second;
  const auto rows = static_cast<double>(table.rows());
  for (size_t i = 0; i < rel.defines.size(); ++i) {
    for (size_t c = 0; c < table.columns().size(); ++c) {
      if (table.columns()[c].name != rel.field_names[i]) continue;
      const ColumnStatistics statistics = table.Statistics(c);
      ColumnEstimate& column = columns_[rel.defines[i]];
      column.table_rows = rows;
      column.distinct = std::min(statistics.distinct, rows);
      if (statistics.min && statistics.max) {
        column.min = static_cast<double>(*statistics.min);
        column.max = static_cast<double>(*statistics.max);
        const double range = *column.max - *column.min + 1;
        column.distinct = std::min(column.distinct > 0 ? column.distinct : rows, range);
      }
    }
  }
  return rel.filter ? rows * Selectivity(*rel.filter) : rows;
}

double Estimates::Distinct(const Expression& expression, double rows) const {
  const Expression& inner = WithoutCast(expression);
  if (inner.is_column()) {
    const auto found = columns_.find(inner.column);
    if (found == columns_.end() || found->second.distinct <= 0)
      return std::min(rows, std::max(kDistinctUnknown, rows / 10));
    return std::max(1.0, Seen(found->second.distinct, rows));
  }
  if (inner.kind == Expression::Kind::kLiteral) return 1;
  if (inner.kind == Expression::Kind::kCall && inner.function == Function::kDatePart) return std::min(rows, 30.0);
  double distinct = 1;
  inner.ForEachColumn([&](ColumnId id) {
    const auto found = columns_.find(id);
    distinct *= found == columns_.end() || found->second.distinct <= 0 ? kDistinctUnknown : found->second.distinct;
  });
  return std::max(1.0, std::min(rows, distinct));
}

double Estimates::JoinSelectivity(const std::vector<Expression>& left, const std::vector<Expression>& right,
                                  double left_rows, double right_rows) const {
  double distinct_left = 1, distinct_right = 1;
  double table_left = left_rows, table_right = right_rows;
  const auto domain = [&](const Expression& key, double rows, double& table) {
    const Expression& inner = WithoutCast(key);
    if (inner.is_column()) {
      const auto found = columns_.find(inner.column);
      if (found != columns_.end() && found->second.distinct > 0) {
        if (found->second.table_rows > 0) table = std::max(table, found->second.table_rows);
        return found->second.distinct;
      }
    }
    return Distinct(key, rows);
  };
  double selectivity = 1;
  for (size_t i = 0; i < left.size(); ++i) {
    const double a = domain(left[i], left_rows, table_left);
    const double b = domain(right[i], right_rows, table_right);
    distinct_left *= a;
    distinct_right *= b;
    selectivity /= std::max({a, b, 1.0});
  }
  // Keys of several columns are seldom independent: a table has no more combinations than rows.
  if (left.size() > 1) {
    const double combinations = std::max(std::min(distinct_left, table_left), std::min(distinct_right, table_right));
    selectivity = std::max(selectivity, 1 / std::max(1.0, combinations));
  }
  return selectivity;
}

double Estimates::Join(const Rel& rel, double left, double right) const {
  const double filter = rel.filter ? Selectivity(*rel.filter) : 1;
  const double matches = left * right * JoinSelectivity(rel.left_keys, rel.right_keys, left, right) * filter;
  // The share of the rows of one side that find a partner: of its key's values, how many the other side has.
  const auto found_share = [&](const std::vector<Expression>& keys, const std::vector<Expression>& others, double rows,
                               double other_rows) {
    if (keys.empty()) return other_rows >= 1 ? 1.0 : 0.0;
    double share = 1;
    for (size_t i = 0; i < keys.size(); ++i) {
      const double own = WithoutCast(keys[i]).is_column() && columns_.contains(WithoutCast(keys[i]).column) &&
                                 columns_.at(WithoutCast(keys[i]).column).distinct > 0
                             ? columns_.at(WithoutCast(keys[i]).column).distinct
                             : Distinct(keys[i], rows);
      share = std::min(share, Distinct(others[i], other_rows) / std::max(own, 1.0));
    }
    return std::min(1.0, share) * (rel.filter ? std::sqrt(filter) : 1);
  };
  switch (rel.join) {
    case JoinKind::kInner:
      return matches;
    case JoinKind::kLeft:
      return std::max(matches, left);
    case JoinKind::kRight:
      return std::max(matches, right);
    case JoinKind::kFull:
      return std::max(matches, left + right);
    case JoinKind::kLeftMark:
    case JoinKind::kLeftSingle:
      return left;
    case JoinKind::kLeftSemi:
      return left * found_share(rel.left_keys, rel.right_keys, left, right);
    case JoinKind::kRightSemi:
      return right * found_share(rel.right_keys, rel.left_keys, right, left);
    case JoinKind::kLeftAnti:
      return left * (1 - 0.9 * found_share(rel.left_keys, rel.right_keys, left, right));
    case JoinKind::kRightAnti:
      return right * (1 - 0.9 * found_share(rel.right_keys, rel.left_keys, right, left));
  }
  __builtin_unreachable();
}

double Estimates::Comparison(const Expression& call) const {
  const Expression* column = &WithoutCast(call.args[0]);
  const Expression* other = &WithoutCast(call.args[1]);
  Function function = call.function;
  if (!column->is_column() && other->is_column()) {
    std::swap(column, other);
    if (function == Function::kLess)
      function = Function::kGreater;
    else if (function == Function::kLessEqual)
      function = Function::kGreaterEqual;
    else if (function == Function::kGreater)
      function = Function::kLess;
    else if (function == Function::kGreaterEqual)
      function = Function::kLessEqual;
  }
  const auto found = column->is_column() ? columns_.find(column->column) : columns_.end();
  const bool equality = function == Function::kEqual || function == Function::kIsNotDistinctFrom;
  if (equality || function == Function::kNotEqual || function == Function::kIsDistinctFrom) {
    const double distinct =
        found != columns_.end() && found->second.distinct > 0 ? found->second.distinct : kDistinctUnknown;
    return equality ? 1 / distinct : 1 - 1 / distinct;
  }
  const std::optional<double> bound = Number(*other);
  if (found == columns_.end() || !found->second.min || !bound) return kRange;
  const double min = *found->second.min, max = *found->second.max;
  if (max <= min) return kRange;
  const double below = std::clamp((*bound - min) / (max - min), 0.0, 1.0);
  const bool less = function == Function::kLess || function == Function::kLessEqual;
  return std::max(less ? below : 1 - below, 1e-6);
}

double Estimates::Selectivity(const Expression& condition) const {
  if (condition.kind == Expression::Kind::kIn) {
    double sum = 0;
    for (size_t i = 1; i < condition.args.size(); ++i) {
      sum += Comparison(Expression::Call(Function::kEqual, condition.type, {condition.args[0], condition.args[i]}));
    }
    return std::min(sum, 1.0);
  }
  if (condition.kind == Expression::Kind::kLiteral) {
    const auto* value = std::get_if<bool>(&condition.literal.value);
    return !condition.literal.null && value != nullptr && *value ? 1 : 0;
  }
  if (condition.kind != Expression::Kind::kCall) return kUnknown;
  switch (condition.function) {
    case Function::kAnd: {
      double share = 1;
      for (const Expression& arg : condition.args) share *= Selectivity(arg);
      return share;
    }
    case Function::kOr: {
      double none = 1;
      for (const Expression& arg : condition.args) none *= 1 - Selectivity(arg);
      return 1 - none;
    }
    case Function::kNot:
      return 1 - Selectivity(condition.args[0]);
    case Function::kEqual:
    case Function::kNotEqual:
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
    case Function::kIsDistinctFrom:
    case Function::kIsNotDistinctFrom:
      return Comparison(condition);
    case Function::kLike:
    case Function::kILike:
    case Function::kRegexpLike:
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
      return kPattern;
    case Function::kNotLike:
    case Function::kNotILike:
      return 1 - kPattern;
    case Function::kIsNull:
      return 0.05;
    case Function::kIsNotNull:
      return 0.95;
    default:
      return kUnknown;
  }
}

}  // namespace neap::engine
