// explain.cc: a plan as an indented tree, one relation a line.
#include "engine/plan/explain.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <type_traits>
#include <utility>

#include "engine/core/value_text.h"
#include "engine/plan/functions.h"

namespace neap::engine {
namespace {

// How tightly an operator binds; what binds less than its surroundings is put in parentheses.
enum Binding { kLoose, kOr, kAnd, kNot, kCompare, kBits, kSum, kProduct, kTight };

Binding BindingOf(Function function) {
  switch (function) {
    case Function::kOr:
      return kOr;
    case Function::kAnd:
      return kAnd;
    case Function::kNot:
      return kNot;
    case Function::kEqual:
    case Function::kNotEqual:
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
    case Function::kIsDistinctFrom:
    case Function::kIsNotDistinctFrom:
    case Function::kLike:
    case Function::kNotLike:
    case Function::kILike:
    case Function::kNotILike:
      return kCompare;
    case Function::kBitwiseAnd:
    case Function::kBitwiseOr:
    case Function::kShiftLeft:
    case Function::kShiftRight:
      return kBits;
    case Function::kAdd:
    case Function::kSubtract:
      return kSum;
    case Function::kMultiply:
    case Function::kDivide:
    case Function::kModulus:
      return kProduct;
    default:
      return kTight;
  }
}

bool IsPostfix(Function function) { return function >= Function::kIsNull && function <= Function::kIsNotFalse; }

std::string Quoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

// AppendValue wants the value as it lies in a column.
template <class T>
std::string TextOf(const Type& type, const T& value) {
  std::string text;
  if constexpr (std::is_same_v<T, std::string>) {
    text = value;
  } else {
    DispatchPhysical(type.physical(), [&](auto zero) {
      using Native = decltype(zero);
      if constexpr (std::is_convertible_v<T, Native> || std::is_same_v<T, Native>) {
        const auto native = static_cast<Native>(value);
        AppendValue(type, &native, text);
      }
    });
  }
  return text;
}

std::string LiteralText(const Expression& literal) {
  if (literal.literal.null) return "null";
  if (literal.type.id == TypeId::kString) return Quoted(std::get<std::string>(literal.literal.value));
  if (literal.type.id == TypeId::kBool) return std::get<bool>(literal.literal.value) ? "true" : "false";
  if (literal.type.id == TypeId::kBinary) return "binary " + Quoted(std::get<std::string>(literal.literal.value));
  const std::string value = std::visit([&](const auto& v) { return TextOf(literal.type, v); }, literal.literal.value);
  const bool number = literal.type.is_integer() || literal.type.id == TypeId::kDecimal ||
                      literal.type.id == TypeId::kFloat || literal.type.id == TypeId::kDouble;
  return number ? value : literal.type.Name() + " " + Quoted(value);
}

class Writer {
 public:
  explicit Writer(const std::vector<std::string>& names) : names_(names) {}

  std::string Text(const Expression& e, Binding around = kLoose) const {
    using Kind = Expression::Kind;
    switch (e.kind) {
      case Kind::kColumn:
        return names_[e.column];
      case Kind::kLiteral:
        return LiteralText(e);
      case Kind::kCall:
        return Call(e, around);
      case Kind::kCast:
        return fmt::format("{}({} as {})", e.try_cast ? "try_cast" : "cast", Text(e.args[0]), e.type.Name());
      case Kind::kCase: {
        std::string text = "case";
        for (size_t i = 0; i + 1 < e.args.size(); i += 2)
          text += fmt::format(" when {} then {}", Text(e.args[i]), Text(e.args[i + 1]));
        const Expression& otherwise = e.args.back();
        if (otherwise.kind != Kind::kLiteral || !otherwise.literal.null) text += " else " + Text(otherwise);
        return text + " end";
      }
      case Kind::kIn:
        return Around(around, kCompare, fmt::format("{} in ({})", Text(e.args[0], kCompare), List(e.args, 1)));
      case Kind::kScalarSubquery:
        return "(subquery)";
    }
    __builtin_unreachable();
  }

  std::string List(const std::vector<Expression>& expressions, size_t from = 0) const {
    std::string text;
    for (size_t i = from; i < expressions.size(); ++i) text += (i > from ? ", " : "") + Text(expressions[i]);
    return text;
  }

 private:
  static std::string Around(Binding around, Binding own, std::string text) {
    return own <= around ? fmt::format("({})", text) : text;
  }

  std::string Call(const Expression& e, Binding around) const {
    const Binding own = BindingOf(e.function);
    const char* name = FunctionName(e.function);
    if (e.function == Function::kNot) return Around(around, kNot, fmt::format("not {}", Text(e.args[0], kNot)));
    if (IsPostfix(e.function)) return Around(around, kCompare, fmt::format("{} {}", Text(e.args[0], kCompare), name));
    if (own == kTight || e.args.size() < 2) return fmt::format("{}({})", name, List(e.args));
    if (own == kCompare && e.args.size() == 3)
      return Around(
          around, own,
          fmt::format("{} {} {} escape {}", Text(e.args[0], own), name, Text(e.args[1], own), Text(e.args[2], own)));
    // The same operator again needs no parentheses on its left side.
    std::string text = Text(e.args[0], static_cast<Binding>(own - (own == kCompare ? 0 : 1)));
    for (size_t i = 1; i < e.args.size(); ++i) text += fmt::format(" {} {}", name, Text(e.args[i], own));
    return Around(around, own, std::move(text));
  }

  const std::vector<std::string>& names_;
};

const char* JoinName(JoinKind kind) {
  switch (kind) {
    case JoinKind::kInner:
      return "inner join";
    case JoinKind::kLeft:
      return "left join";
    case JoinKind::kRight:
      return "right join";
    case JoinKind::kFull:
      return "full join";
    case JoinKind::kLeftSemi:
      return "left semi join";
    case JoinKind::kLeftAnti:
      return "left anti join";
    case JoinKind::kLeftMark:
      return "left mark join";
    case JoinKind::kLeftSingle:
      return "left single join";
    case JoinKind::kRightSemi:
      return "right semi join";
    case JoinKind::kRightAnti:
      return "right anti join";
  }
  __builtin_unreachable();
}

const char* SetName(Rel::Set set) {
  switch (set) {
    case Rel::Set::kUnionAll:
      return "union all";
    case Rel::Set::kUnionDistinct:
      return "union";
    case Rel::Set::kIntersectDistinct:
      return "intersect";
    case Rel::Set::kIntersectAll:
      return "intersect all";
    case Rel::Set::kExceptDistinct:
      return "except";
    case Rel::Set::kExceptAll:
      return "except all";
  }
  __builtin_unreachable();
}

std::string CountText(double rows) {
  if (rows < 1e4) return fmt::format("{:.0f}", rows);
  if (rows < 1e7) return fmt::format("{:.0f}k", rows / 1e3);
  return fmt::format("{:.0f}M", rows / 1e6);
}

class Explainer {
 public:
  explicit Explainer(const Plan& plan) : plan_(plan), names_(DisplayNames(plan)), writer_(names_) {}

  std::string Run() {
    Line(*plan_.root, 0);
    return std::move(text_);
  }

 private:
  void Line(const Rel& rel, int depth) {
    subqueries_.clear();
    std::string line = Describe(rel);
    if (rel.estimated_rows > 0) line += fmt::format("  [about {} rows]", CountText(rel.estimated_rows));
    Indent(depth, line);
    for (const Rel* subquery : std::exchange(subqueries_, {})) {
      Indent(depth + 1, "subquery");
      Line(*subquery, depth + 2);
    }
    for (const RelPtr& input : rel.inputs) Line(*input, depth + 1);
  }

  void Indent(int depth, const std::string& line) {
    text_.append(static_cast<size_t>(depth) * 2, ' ');
    text_ += line + '\n';
  }

  std::string Text(const Expression& expression) {
    FindSubqueries(expression);
    return writer_.Text(expression);
  }

  void FindSubqueries(const Expression& expression) {
    if (expression.kind == Expression::Kind::kScalarSubquery) subqueries_.push_back(expression.subquery.get());
    for (const Expression& arg : expression.args) FindSubqueries(arg);
  }

  template <class List, class F>
  static std::string Joined(const List& list, F&& f, const char* between = ", ") {
    std::string text;
    for (const auto& item : list) text += (text.empty() ? "" : between) + f(item);
    return text;
  }

  std::string Columns(const std::vector<ColumnId>& ids) {
    return Joined(ids, [&](ColumnId id) { return names_[id]; });
  }

  std::string Defines(const std::vector<Expression>& expressions, const std::vector<ColumnId>& ids) {
    std::string text;
    for (size_t i = 0; i < expressions.size(); ++i) {
      const std::string value = Text(expressions[i]);
      text += (i > 0 ? ", " : "") + value;
      if (value != names_[ids[i]]) text += " as " + names_[ids[i]];
    }
    return text;
  }

  std::string Sort(const std::vector<SortKey>& keys) {
    return Joined(keys, [&](const SortKey& key) {
      std::string text = Text(key.expression);
      if (key.descending) text += " desc";
      if (key.nulls_first != key.descending) text += key.nulls_first ? " nulls first" : " nulls last";
      return text;
    });
  }

  static std::string Limit(const Rel& rel) {
    std::string text;
    if (rel.limit >= 0) text += fmt::format(" limit {}", rel.limit);
    if (rel.offset > 0) text += fmt::format(" offset {}", rel.offset);
    return text;
  }

  std::string Call(const char* name, bool distinct, const std::vector<Expression>& args) {
    const std::string list = Joined(args, [&](const Expression& arg) { return Text(arg); });
    return fmt::format("{}({}{})", name, distinct ? "distinct " : "", list);
  }

  std::string Aggregates(const Rel& rel) {
    return Joined(rel.aggregates, [&](const AggregateCall& call) {
      std::string text = call.function == Aggregate::kCount && call.args.empty()
                             ? "count(*)"
                             : Call(AggregateName(call.function), call.distinct, call.args);
      if (call.filter) text += fmt::format(" filter (where {})", Text(*call.filter));
      return text + " as " + names_[call.output];
    });
  }

  std::string BoundText(const FrameBound& bound) {
    if (bound.value) return Text(*bound.value);
    switch (bound.kind) {
      case FrameBound::Kind::kUnboundedPreceding:
        return "unbounded preceding";
      case FrameBound::Kind::kPreceding:
        return fmt::format("{} preceding", bound.offset);
      case FrameBound::Kind::kCurrentRow:
        return "current row";
      case FrameBound::Kind::kFollowing:
        return fmt::format("{} following", bound.offset);
      case FrameBound::Kind::kUnboundedFollowing:
        return "unbounded following";
    }
    __builtin_unreachable();
  }

  std::string Windows(const Rel& rel) {
    return Joined(rel.windows, [&](const WindowCall& call) {
      const bool aggregate = call.function == WindowFunction::kAggregate;
      const char* name = aggregate ? AggregateName(call.aggregate) : WindowFunctionName(call.function);
      std::string text = Call(name, false, call.args);
      if (aggregate) {
        text += fmt::format(" {} between {} and {}", call.rows ? "rows" : "range", BoundText(call.start),
                            BoundText(call.end));
      }
      return text + " as " + names_[call.output];
    });
  }

  std::string Groups(const Rel& rel) {
    std::string text = Defines(rel.expressions, rel.defines);
    if (rel.grouping_sets.empty()) return text;
    text += " in sets ";
    return text + Joined(rel.grouping_sets, [&](const std::vector<uint32_t>& set) {
             return fmt::format("({})", Joined(set, [&](uint32_t i) { return names_[rel.defines[i]]; }));
           });
  }

  std::string Join(const Rel& rel) {
    const bool cross = rel.join == JoinKind::kInner && rel.left_keys.empty() && !rel.filter;
    std::string text = cross ? "cross join" : JoinName(rel.join);
    if (rel.null_aware) text += " (null aware)";
    for (size_t i = 0; i < rel.left_keys.size(); ++i) {
      text += fmt::format("{}{} {} {}", i > 0 ? " and " : " on ", Text(rel.left_keys[i]),
                          rel.null_equals[i] != 0 ? "is not distinct from" : "=", Text(rel.right_keys[i]));
    }
    if (rel.filter) text += (rel.left_keys.empty() ? " on " : " and ") + writer_.Text(*rel.filter, kOr);
    if (rel.filter) FindSubqueries(*rel.filter);
    if (rel.join == JoinKind::kLeftMark) text += " as " + names_[rel.mark];
    return text;
  }

  std::string Describe(const Rel& rel) {
    switch (rel.kind) {
      case Rel::Kind::kRead:
        return fmt::format("read {} ({}){}", rel.table, Columns(rel.output),
                           rel.filter ? " where " + Text(*rel.filter) : "");
      case Rel::Kind::kValues:
        return fmt::format("values ({}), {} rows", Columns(rel.output), rel.rows.size());
      case Rel::Kind::kFilter:
        return "filter " + Text(*rel.filter);
      case Rel::Kind::kProject:
        return rel.expressions.empty() ? "project " + Columns(rel.output)
                                       : "project " + Defines(rel.expressions, rel.defines);
      case Rel::Kind::kExpand: {
        std::string text = "expand " + Columns(rel.defines) + " =";
        for (const auto& projection : rel.projections)
          text += fmt::format(" ({})", Joined(projection, [&](const Expression& e) { return Text(e); }));
        return text;
      }
      case Rel::Kind::kJoin:
        return Join(rel);
      case Rel::Kind::kAggregate: {
        std::string text = "aggregate";
        if (!rel.aggregates.empty()) text += " " + Aggregates(rel);
        if (!rel.expressions.empty()) text += " by " + Groups(rel);
        return text;
      }
      case Rel::Kind::kSort:
        return "sort by " + Sort(rel.sort) + Limit(rel);
      case Rel::Kind::kLimit:
        return Limit(rel).substr(1);
      case Rel::Kind::kWindow: {
        std::string text = "window " + Windows(rel);
        if (!rel.expressions.empty())
          text += " partition by " + Joined(rel.expressions, [&](const Expression& e) { return Text(e); });
        if (!rel.sort.empty()) text += " order by " + Sort(rel.sort);
        return text;
      }
      case Rel::Kind::kSet:
        return fmt::format("{} as {}", SetName(rel.set), Columns(rel.output));
    }
    __builtin_unreachable();
  }

  const Plan& plan_;
  std::vector<std::string> names_;
  Writer writer_;
  std::string text_;
  std::vector<const Rel*> subqueries_;
};

// Calls f(Rel&) for every relation, those of subqueries included, inputs first.
void ForEachRel(const Rel& rel, const std::function<void(const Rel&)>& f) {
  const std::function<void(const Expression&)> look = [&](const Expression& expression) {
    if (expression.subquery != nullptr) ForEachRel(*expression.subquery, f);
    for (const Expression& arg : expression.args) look(arg);
  };
  for (const RelPtr& input : rel.inputs) ForEachRel(*input, f);
  if (rel.filter) look(*rel.filter);
  for (const Expression& expression : rel.expressions) look(expression);
  f(rel);
}

}  // namespace

// A column that only hands on another one's values, as a grouping column does, goes by the same name.
std::vector<std::string> DisplayNames(const Plan& plan) {
  std::vector<ColumnId> source(plan.columns.size());
  for (ColumnId id = 0; id < source.size(); ++id) source[id] = id;
  ForEachRel(*plan.root, [&](const Rel& rel) {
    if (rel.kind != Rel::Kind::kAggregate) return;
    for (size_t i = 0; i < rel.expressions.size(); ++i) {
      if (rel.expressions[i].is_column()) source[rel.defines[i]] = source[rel.expressions[i].column];
    }
  });
  std::map<std::string, int> uses;
  for (ColumnId id = 0; id < source.size(); ++id) {
    if (source[id] == id) ++uses[plan.columns[id].name];
  }
  std::vector<std::string> names;
  for (ColumnId id : source) {
    const std::string& name = plan.columns[id].name;
    names.push_back(name.empty() || uses[name] > 1 ? fmt::format("{}#{}", name, id) : name);
  }
  return names;
}

std::string ExpressionText(const Expression& expression, const std::vector<std::string>& names) {
  return Writer(names).Text(expression);
}

std::string Explain(const Plan& plan) { return Explainer(plan).Run(); }

}  // namespace neap::engine
