// plan.h: what is to be computed: a tree of relations over numbered columns. Made by substrait_reader.cc, rewritten by
// optimize.cc, turned into chains of operators by physical.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/type.h"
#include "engine/plan/expression.h"

namespace neap::engine {

struct Rel;
using RelPtr = std::shared_ptr<Rel>;

struct ColumnInfo {
  std::string name;
  Type type;
  bool nullable = true;
};

struct SortKey {
  Expression expression;
  bool descending = false;
  bool nulls_first = false;

  friend bool operator==(const SortKey&, const SortKey&) = default;
};

enum class JoinKind : uint8_t {
  kInner,
  kLeft,  // every row of the left input, NULLs where nothing matches
  kRight,
  kFull,
  kLeftSemi,    // rows of the left input that match something; left columns alone
  kLeftAnti,    // that match nothing
  kLeftMark,    // every row of the left input and one more column: TRUE, FALSE, or NULL as IN has it
  kLeftSingle,  // like kLeft, but more than one match is an error: a scalar subquery
  kRightSemi,
  kRightAnti,
};

enum class Aggregate : uint8_t {
  kCount,  // of rows where args is empty
  kSum,
  kMin,
  kMax,
  kAvg,
  kStddevSample,
  kStddevPopulation,
  kVarianceSample,
  kVariancePopulation,
  kBoolAnd,
  kBoolOr,
  kAnyValue,  // first_value without order
  kGrouping,  // which grouping set: args are grouping columns (SQL's GROUPING())
};

struct AggregateCall {
  Aggregate function;
  std::vector<Expression> args = {};
  bool distinct = false;
  std::optional<Expression> filter = {};
  ColumnId output = 0;
};

enum class WindowFunction : uint8_t {
  kRowNumber,
  kRank,
  kDenseRank,
  kPercentRank,
  kCumeDist,
  kNtile,
  kLag,
  kLead,
  kFirstValue,
  kLastValue,
  kNthValue,
  kAggregate,  // `aggregate` over the frame
};

struct FrameBound {
  enum class Kind : uint8_t { kUnboundedPreceding, kPreceding, kCurrentRow, kFollowing, kUnboundedFollowing } kind;
  int64_t offset = 0;                    // of ROWS
  std::optional<Expression> value = {};  // of RANGE with an offset: the key at which the frame starts, or ends

  bool has_offset() const { return kind == Kind::kPreceding || kind == Kind::kFollowing; }
};

struct WindowCall {
  WindowFunction function;
  Aggregate aggregate = Aggregate::kCount;
  std::vector<Expression> args = {};
  bool rows = false;  // ROWS, else RANGE
  FrameBound start{FrameBound::Kind::kUnboundedPreceding};
  FrameBound end{FrameBound::Kind::kCurrentRow};
  // RANGE with an offset: what rows are ordered by, in the type of the bounds' values, which it is compared with.
  std::optional<Expression> key = {};
  bool descending = false, nulls_first = false;
  ColumnId output = 0;

  // Calls f with every expression that is computed for a row.
  template <class Call, class F>
  static void ForEachExpression(Call& call, F&& f) {
    for (auto& arg : call.args) f(arg);
    for (auto* expression : {&call.key, &call.start.value, &call.end.value}) {
      if (*expression) f(**expression);
    }
  }
};

// One struct for all relations: `kind` says which members count. `output` lists the columns it gives, in order.
struct Rel {
  enum class Kind : uint8_t {
    kRead,       // table, filter (pushed down; exact: rows that fail it do not come out)
    kValues,     // rows of literals; no inputs
    kFilter,     // filter
    kProject,    // expressions[i] becomes column defines[i]; output picks among them and the input's
    kJoin,       // join, left_keys[i] = right_keys[i], filter (residual, over both sides)
    kAggregate,  // expressions become columns defines (the grouping columns); grouping_sets; aggregates
    kSort,       // sort; limit where >= 0 (top-N), offset
    kLimit,      // limit, offset
    kWindow,     // expressions: PARTITION BY; sort: ORDER BY; windows
    kExpand,     // every row once for each of projections, whose expressions[j] becomes column defines[j]
    kSet,        // set; set_inputs[i][j] of inputs[i] is output[j]
  };
  enum class Set : uint8_t {
    kUnionAll,
    kUnionDistinct,
    kIntersectDistinct,
    kIntersectAll,
    kExceptDistinct,
    kExceptAll
  };

  explicit Rel(Kind k) : kind(k) {}

  Kind kind;
  std::vector<RelPtr> inputs;
  std::vector<ColumnId> output;

  // kRead
  std::string table;
  std::vector<std::string> field_names;  // of the table, one per `defines`
  std::vector<ColumnId> defines;  // columns that this relation makes (kRead, kValues, kProject, kAggregate, kExpand)
  // kValues
  std::vector<std::vector<Expression>> rows;
  // kRead, kFilter, kJoin
  std::optional<Expression> filter;
  // kProject, kAggregate, kWindow
  std::vector<Expression> expressions;
  // kExpand
  std::vector<std::vector<Expression>> projections;
  // kJoin
  JoinKind join = JoinKind::kInner;
  std::vector<Expression> left_keys, right_keys;
  std::vector<uint8_t> null_equals;  // one a key: IS NOT DISTINCT FROM
  ColumnId mark = 0;                 // kLeftMark's column
  bool null_aware = false;           // kLeftAnti of NOT IN: a NULL on the right side empties the result
  // kAggregate
  std::vector<std::vector<uint32_t>> grouping_sets;  // indices into expressions; empty: one set of them all
  std::vector<AggregateCall> aggregates;
  // kSort, kWindow
  std::vector<SortKey> sort;
  // kSort, kLimit
  int64_t limit = -1;
  int64_t offset = 0;
  // kWindow
  std::vector<WindowCall> windows;
  // kSet
  Set set = Set::kUnionAll;
  std::vector<std::vector<ColumnId>> set_inputs;

  double estimated_rows = 0;  // by optimize.cc
};

struct Plan {
  std::vector<ColumnInfo> columns;  // by ColumnId
  RelPtr root;
  std::vector<std::string> names;  // of root->output

  ColumnId NewColumn(std::string name, Type type, bool nullable = true) {
    columns.push_back({std::move(name), type, nullable});
    return static_cast<ColumnId>(columns.size() - 1);
  }
};

// The plan as an indented tree, one relation a line: --explain.
std::string Explain(const Plan& plan);

}  // namespace neap::engine
