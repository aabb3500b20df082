// substrait_join.cc: joins, and where NULLs decide what an anti or a mark join gives.
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "engine/core/error.h"
#include "engine/plan/substrait_scope.h"

namespace neap::engine {
namespace {

using substrait::JoinRel;

struct JoinForm {
  JoinKind kind;
  bool swapped;  // the inputs: the engine's kind is the mirror image
};

JoinForm FormOf(JoinRel::JoinType type) {
  switch (type) {
    case JoinRel::JOIN_TYPE_INNER:
      return {JoinKind::kInner, false};
    case JoinRel::JOIN_TYPE_OUTER:
      return {JoinKind::kFull, false};
    case JoinRel::JOIN_TYPE_LEFT:
      return {JoinKind::kLeft, false};
    case JoinRel::JOIN_TYPE_RIGHT:
      return {JoinKind::kRight, false};
    case JoinRel::JOIN_TYPE_LEFT_SEMI:
      return {JoinKind::kLeftSemi, false};
    case JoinRel::JOIN_TYPE_LEFT_ANTI:
      return {JoinKind::kLeftAnti, false};
    case JoinRel::JOIN_TYPE_LEFT_SINGLE:
      return {JoinKind::kLeftSingle, false};
    case JoinRel::JOIN_TYPE_RIGHT_SEMI:
      return {JoinKind::kRightSemi, false};
    case JoinRel::JOIN_TYPE_RIGHT_ANTI:
      return {JoinKind::kRightAnti, false};
    case JoinRel::JOIN_TYPE_RIGHT_SINGLE:
      return {JoinKind::kLeftSingle, true};
    case JoinRel::JOIN_TYPE_LEFT_MARK:
      return {JoinKind::kLeftMark, false};
    case JoinRel::JOIN_TYPE_RIGHT_MARK:
      return {JoinKind::kLeftMark, true};
    default:
      RefusePlan("a join without a type");
  }
}

bool IsAntiJoin(const JoinRel& rel) {
  return rel.type() == JoinRel::JOIN_TYPE_LEFT_ANTI || rel.type() == JoinRel::JOIN_TYPE_RIGHT_ANTI;
}

bool IsSemiOrAnti(JoinKind kind) {
  return kind == JoinKind::kLeftSemi || kind == JoinKind::kLeftAnti || kind == JoinKind::kRightSemi ||
         kind == JoinKind::kRightAnti;
}

bool Contains(const std::vector<ColumnId>& columns, ColumnId id) {
  return std::find(columns.begin(), columns.end(), id) != columns.end();
}

// Which inputs an expression reads: 1 the left one, 2 the right one, 3 both, 0 none.
int SidesOf(const Expression& expression, const Rel& left, const Rel& right) {
  int sides = 0;
  expression.ForEachColumn([&](ColumnId id) {
    if (Contains(left.output, id)) sides |= 1;
    if (Contains(right.output, id)) sides |= 2;
  });
  return sides;
}

bool IsEquality(const Expression& term) {
  return term.kind == Expression::Kind::kCall &&
         (term.function == Function::kEqual || term.function == Function::kIsNotDistinctFrom);
}

// Whether a condition asks of `mark` only that it be TRUE, so that NULL may be FALSE.
bool AsksForTrueAlone(const Expression& condition, ColumnId mark) {
  if (condition.is_column()) return true;
  if (condition.kind == Expression::Kind::kCall &&
      (condition.function == Function::kAnd || condition.function == Function::kOr)) {
    return std::all_of(condition.args.begin(), condition.args.end(),
                       [&](const Expression& arg) { return AsksForTrueAlone(arg, mark); });
  }
  bool reads = false;
  condition.ForEachColumn([&](ColumnId id) { reads |= id == mark; });
  return !reads;
}

// Whether a relation or one below tells a NULL mark from a FALSE one.
bool TellsNullFromFalse(const Rel& rel, ColumnId mark) {
  bool reads = false;
  auto look = [&](const Expression& expression) {
    expression.ForEachColumn([&](ColumnId id) { reads |= id == mark; });
  };
  for (const Expression& expression : rel.expressions) look(expression);
  for (const SortKey& key : rel.sort) look(key.expression);
  for (const AggregateCall& call : rel.aggregates) {
    for (const Expression& arg : call.args) look(arg);
    if (call.filter) reads |= !AsksForTrueAlone(*call.filter, mark);
  }
  for (const WindowCall& call : rel.windows) WindowCall::ForEachExpression(call, look);
  for (const Expression& key : rel.left_keys) look(key);
  for (const Expression& key : rel.right_keys) look(key);
  for (const auto& columns : rel.set_inputs) reads |= Contains(columns, mark);
  if (rel.filter) reads |= !AsksForTrueAlone(*rel.filter, mark);
  if (reads) return true;
  return std::any_of(rel.inputs.begin(), rel.inputs.end(),
                     [&](const RelPtr& input) { return TellsNullFromFalse(*input, mark); });
}

}  // namespace

// Equalities between the sides become keys, the rest becomes the filter.
void SubstraitReader::SplitJoinCondition(Rel& join, Expression condition) {
  std::vector<Expression> terms, rest;
  SplitConjunction(std::move(condition), &terms);
  for (Expression& term : terms) {
    if (IsEquality(term)) {
      Expression left = term.args[0], right = term.args[1];
      const int left_side = SidesOf(left, *join.inputs[0], *join.inputs[1]);
      const int right_side = SidesOf(right, *join.inputs[0], *join.inputs[1]);
      if (left_side == 2 && right_side == 1) std::swap(left, right);
      if (left_side + right_side == 3 && left_side * right_side == 2 && Unify(&left, &right)) {
        join.left_keys.push_back(std::move(left));
        join.right_keys.push_back(std::move(right));
        join.null_equals.push_back(term.function == Function::kIsNotDistinctFrom);
        continue;
      }
    }
    const bool always = term.kind == Expression::Kind::kLiteral && !term.literal.null &&
                        term.type.id == TypeId::kBool && std::get<bool>(term.literal.value);
    if (!always) rest.push_back(std::move(term));
  }
  if (!rest.empty()) join.filter = Conjunction(std::move(rest));
}

RelPtr SubstraitReader::ReadJoin(const JoinRel& rel) {
  const JoinForm form = FormOf(rel.type());
  auto join = std::make_shared<Rel>(Rel::Kind::kJoin);
  join->join = form.kind;
  RelPtr left = ReadRelation(rel.left()), right = ReadRelation(rel.right());
  Scope scope;
  scope.columns = left->output;
  scope.columns.insert(scope.columns.end(), right->output.begin(), right->output.end());

  switch (form.kind) {
    case JoinKind::kLeftSemi:
    case JoinKind::kLeftAnti:
      join->output = left->output;
      break;
    case JoinKind::kRightSemi:
    case JoinKind::kRightAnti:
      join->output = right->output;
      break;
    case JoinKind::kLeftMark:
      join->mark = NewColumn({TypeId::kBool});
      join->output = form.swapped ? right->output : left->output;
      join->output.push_back(join->mark);
      break;
    default:
      join->output = scope.columns;
  }
  join->inputs = {left, right};
  if (form.swapped) std::swap(join->inputs[0], join->inputs[1]);
  if (rel.has_expression()) SplitJoinCondition(*join, Read(rel.expression(), scope));
  if (notes_.semi_joins_are_sets && IsSemiOrAnti(form.kind)) return MakeSetOfJoin(*join);
  DecideNulls(*join, rel);
  if (form.kind == JoinKind::kLeft || form.kind == JoinKind::kFull || form.kind == JoinKind::kLeftSingle)
    MarkNullable(join->inputs[1]->output);
  if (form.kind == JoinKind::kRight || form.kind == JoinKind::kFull) MarkNullable(join->inputs[0]->output);

  if (!rel.has_post_join_filter()) return join;
  Scope joined;
  joined.columns = join->output;
  std::vector<ColumnId> output = join->output;
  return MakeFilter(std::move(join), Read(rel.post_join_filter(), joined), std::move(output));
}

// INTERSECT ALL and EXCEPT ALL, for which DataFusion writes a semi and an anti join on all columns of both sides.
RelPtr SubstraitReader::MakeSetOfJoin(const Rel& join) {
  const bool intersect = join.join == JoinKind::kLeftSemi;
  const std::vector<ColumnId>& columns = join.output;
  if ((!intersect && join.join != JoinKind::kLeftAnti) || join.filter || join.left_keys.size() != columns.size())
    RefusePlan("INTERSECT ALL or EXCEPT ALL on something else than all columns");
  std::vector<RelPtr> sides;
  for (const RelPtr& input : join.inputs) {
    const std::vector<Expression>& keys = &input == join.inputs.data() ? join.left_keys : join.right_keys;
    RelPtr project = Unary(Rel::Kind::kProject, input);
    project->output.clear();
    for (const ColumnId column : columns) {
      // The key of this column, which may have been cast to the type that both sides have.
      const auto key = std::find_if(join.left_keys.begin(), join.left_keys.end(), [&](const Expression& left) {
        const Expression& value = left.kind == Expression::Kind::kCast ? left.args[0] : left;
        return value.is_column() && value.column == column;
      });
      if (key == join.left_keys.end()) RefusePlan("INTERSECT ALL or EXCEPT ALL on something else than all columns");
      const Expression& value = keys[static_cast<size_t>(key - join.left_keys.begin())];
      project->expressions.push_back(value);
      project->defines.push_back(NewColumn(value.type, MayBeNull(value)));
    }
    project->output = project->defines;
    sides.push_back(std::move(project));
  }
  RelPtr set = MakeSet(intersect ? Rel::Set::kIntersectAll : Rel::Set::kExceptAll, std::move(sides));
  RelPtr project = Unary(Rel::Kind::kProject, set);
  for (size_t i = 0; i < columns.size(); ++i) {
    const Type type = plan_.columns[columns[i]].type;
    if (plan_.columns[set->output[i]].type == type) continue;
    project->expressions.push_back(Expression::Cast(ColumnOf(set->output[i]), type));
    project->defines.push_back(NewColumn(type, plan_.columns[columns[i]].nullable));
    project->output[i] = project->defines.back();
  }
  return project->defines.empty() ? set : project;
}

RelPtr SubstraitReader::ReadCross(const substrait::CrossRel& rel) {
  auto join = std::make_shared<Rel>(Rel::Kind::kJoin);
  join->inputs = {ReadRelation(rel.left()), ReadRelation(rel.right())};
  for (const RelPtr& input : join->inputs)
    join->output.insert(join->output.end(), input->output.begin(), input->output.end());
  return join;
}

// An anti join is that of NOT EXISTS, unless the notes say that it is that of NOT IN. A mark join gives NULL where its
// condition is not TRUE for any row and NULL for some: so says Substrait, and so it is for IN; DataFusion writes the
// same relation for EXISTS, which is never NULL.
void SubstraitReader::DecideNulls(Rel& join, const JoinRel& rel) {
  std::vector<size_t> nullable;
  for (size_t i = 0; i < join.left_keys.size(); ++i) {
    if (MayBeNull(join.left_keys[i]) || MayBeNull(join.right_keys[i])) nullable.push_back(i);
  }
  if (nullable.empty()) return;
  if (join.join == JoinKind::kLeftMark) marks_.push_back(&join);
  const auto number = anti_joins_.find(&rel);
  if (number == anti_joins_.end() || number->second >= notes_.anti_joins.size()) return;
  const PlanNotes::Anti anti = notes_.anti_joins[number->second];
  if (anti == PlanNotes::Anti::kOfNotExists) return;
  if (join.join == JoinKind::kLeftAnti && join.left_keys.size() == 1 && !join.filter) {
    join.null_aware = true;
    return;
  }
  // The subquery refers to the query around it: x = y is that of NOT IN, where NULL counts as a match, and the rest of
  // the condition chooses the rows of the subquery, where it does not.
  if (anti == PlanNotes::Anti::kOfNotIn) {
    throw Error(ErrorKind::kPlan,
                "NOT IN (SELECT ...) refers to the query around it by columns that may be NULL, in a form that hides "
                "which: write NOT EXISTS, or add IS NOT NULL to both sides");
  }
  if (nullable[0] != 0) return;
  const Type boolean{TypeId::kBool};
  Expression left = std::move(join.left_keys[0]), right = std::move(join.right_keys[0]);
  join.left_keys.erase(join.left_keys.begin());
  join.right_keys.erase(join.right_keys.begin());
  join.null_equals.erase(join.null_equals.begin());
  Expression equal = Expression::Call(Function::kEqual, boolean, {std::move(left), std::move(right)});
  std::vector<Expression> terms;
  if (join.filter) terms.push_back(*std::move(join.filter));
  terms.push_back(Expression::Call(Function::kIsNotFalse, boolean, {std::move(equal)}));
  join.filter = Conjunction(std::move(terms));
}

void SubstraitReader::CheckMarks() {
  for (Rel* join : marks_) {
    if (!TellsNullFromFalse(*plan_.root, join->mark) && !Contains(plan_.root->output, join->mark)) continue;
    const auto marks = notes_.marks;
    if (marks == PlanNotes::Marks::kExists) continue;
    const bool known = marks == PlanNotes::Marks::kIn || (marks == PlanNotes::Marks::kAsSubstrait && !datafusion_);
    if (!known || join->left_keys.size() != 1 || join->filter) {
      throw Error(ErrorKind::kPlan,
                  "a negated or selected IN (SELECT ...) over columns that may be NULL, beside EXISTS or with a "
                  "reference to the query around it: write EXISTS, or add IS NOT NULL to both sides");
    }
    join->null_aware = true;
  }
}

// Numbers anti joins and window functions as a walk over DataFusion's plan meets them: a relation, then the subqueries
// in its expressions, then its inputs.
void SubstraitReader::NumberWhatNotesName(const google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  using google::protobuf::Message;
  if (message.GetDescriptor() == JoinRel::descriptor()) {
    const auto& join = static_cast<const JoinRel&>(message);
    if (IsAntiJoin(join)) anti_joins_.emplace(&join, anti_joins_.size());
  }
  if (message.GetDescriptor() == substrait::Expression::WindowFunction::descriptor())
    windows_.emplace(&message, windows_.size());
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::stable_partition(fields.begin(), fields.end(), [&](const FieldDescriptor* field) {
    return field->message_type() != substrait::Rel::descriptor();
  });
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      NumberWhatNotesName(message.GetReflection()->GetMessage(message, field));
      continue;
    }
    for (int i = 0, n = message.GetReflection()->FieldSize(message, field); i < n; ++i)
      NumberWhatNotesName(message.GetReflection()->GetRepeatedMessage(message, field, i));
  }
}

}  // namespace neap::engine
