// substrait_scope.h: the reading of one plan, as the files that do it share it: relations (substrait_reader.cc,
// substrait_join.cc, substrait_aggregate.cc) and expressions (substrait_expression.cc, substrait_functions.cc).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/plan/functions.h"
#include "engine/plan/substrait_reader.h"
#include "engine/plan/substrait_types.h"
#include "substrait/plan.pb.h"

namespace neap::engine {

// Window functions of one PARTITION BY and ORDER BY, on their way to a kWindow relation.
struct WindowGroup {
  std::vector<Expression> partition;
  std::vector<SortKey> order;
  std::vector<WindowCall> calls;
};

// What the expressions of a relation may refer to.
struct Scope {
  std::vector<ColumnId> columns;                // field i of the input
  RelPtr* input = nullptr;                      // where a subquery in an expression becomes a join; null: refused
  std::vector<WindowGroup>* windows = nullptr;  // where window functions go; null: refused
};

class SubstraitReader {
 public:
  SubstraitReader(const substrait::Plan& source, const Catalog& tables, const PlanNotes& notes, Plan& plan);

  void ReadPlan();

 private:
  // Relations. `output` of what they return lists the relation's fields after its emit.
  RelPtr ReadRelation(const substrait::Rel& rel);
  RelPtr ReadRead(const substrait::ReadRel& rel);
  RelPtr ReadNamedTable(const substrait::ReadRel& rel);
  RelPtr ReadVirtualTable(const substrait::ReadRel& rel);
  RelPtr ReadFilter(const substrait::FilterRel& rel);
  RelPtr ReadProject(const substrait::ProjectRel& rel);
  RelPtr ReadJoin(const substrait::JoinRel& rel);
  RelPtr ReadCross(const substrait::CrossRel& rel);
  RelPtr ReadAggregate(const substrait::AggregateRel& rel);
  RelPtr ReadSort(const substrait::SortRel& rel);
  RelPtr ReadFetch(const substrait::FetchRel& rel);
  RelPtr ReadSet(const substrait::SetRel& rel);
  RelPtr ReadWindow(const substrait::ConsistentPartitionWindowRel& rel);

  RelPtr Unary(Rel::Kind kind, RelPtr input);  // gives what its input gives
  RelPtr Choose(RelPtr rel, std::vector<ColumnId> output);
  RelPtr MakeFilter(RelPtr input, Expression condition, std::vector<ColumnId> output);
  RelPtr MakeWindows(RelPtr input, std::vector<WindowGroup> groups);
  RelPtr MakeSet(Rel::Set set, std::vector<RelPtr> inputs);
  RelPtr MakeSetOfJoin(const Rel& join);
  void SplitJoinCondition(Rel& join, Expression condition);
  void DecideNulls(Rel& join, const substrait::JoinRel& rel);
  // The grouping expressions, and the sets of them, in the old form and the new one.
  void ReadGroupings(const substrait::AggregateRel& rel, Scope& scope, Rel& aggregate);
  Expression SetNumber(const Rel& aggregate, ColumnId grouping);
  void DropUnread(Rel& read);
  void MarkNullable(const std::vector<ColumnId>& columns);
  void NumberWhatNotesName(const google::protobuf::Message& message);
  void CheckMarks();

  // Expressions.
  Expression Read(const substrait::Expression& expression, Scope& scope);
  Expression ReadReference(const substrait::Expression::FieldReference& reference, const Scope& scope);
  Expression ReadCall(const substrait::Expression::ScalarFunction& call, Scope& scope);
  Expression ReadCast(const substrait::Expression::Cast& cast, Scope& scope);
  Expression ReadIfThen(const substrait::Expression::IfThen& rel, Scope& scope);
  Expression ReadSwitch(const substrait::Expression::SwitchExpression& rel, Scope& scope);
  Expression ReadOrList(const substrait::Expression::SingularOrList& list, Scope& scope);
  Expression ReadSubquery(const substrait::Expression::Subquery& subquery, Scope& scope);
  Expression ReadIn(const substrait::Expression::Subquery::InPredicate& in, Scope& scope);
  Expression ReadExists(const substrait::Expression::Subquery::SetPredicate& exists, Scope& scope);
  Expression ReadWindowFunction(const substrait::Expression::WindowFunction& call, Scope& scope);
  Expression MakeCase(std::vector<Expression> args);
  std::vector<Expression> ReadArguments(
      const google::protobuf::RepeatedPtrField<substrait::FunctionArgument>& arguments,
      const google::protobuf::RepeatedPtrField<substrait::Expression>& old, Scope& scope);
  std::vector<SortKey> ReadSortFields(const google::protobuf::RepeatedPtrField<substrait::SortField>& fields,
                                      Scope& scope);
  AggregateCall ReadMeasure(const substrait::AggregateFunction& call, Scope& scope);
  WindowCall ReadWindowCall(const std::string& name, std::vector<Expression> args, bool distinct,
                            const substrait::Type* type);
  int64_t ReadCount(const substrait::Expression& expression, int64_t if_null);

  const std::string& FunctionNameOf(uint32_t reference) const;
  Expression ColumnOf(ColumnId id) const { return Expression::Column(id, plan_.columns[id].type); }
  ColumnId NewColumn(Type type, bool nullable = true) { return plan_.NewColumn("", type, nullable); }
  bool MayBeNull(const Expression& expression) const;

  const substrait::Plan& source_;
  const Catalog& tables_;
  const PlanNotes& notes_;
  Plan& plan_;
  bool datafusion_;  // whose plans differ from the specification, where a comment says so
  std::unordered_map<uint32_t, std::string> functions_;
  std::unordered_map<const google::protobuf::Message*, size_t> anti_joins_, windows_;
  std::vector<Rel*> marks_;
};

// The terms of a conjunction, and back.
void SplitConjunction(Expression condition, std::vector<Expression>* terms);
Expression Conjunction(std::vector<Expression> terms);

void ReadFrame(substrait::Expression::WindowFunction::BoundsType type,
               const substrait::Expression::WindowFunction::Bound& lower,
               const substrait::Expression::WindowFunction::Bound& upper, const std::vector<SortKey>& order,
               const PlanNotes::Frame* note, WindowCall* call);

// Both sides cast to one type that holds the values of both; false where there is none.
bool Unify(Expression* left, Expression* right);

}  // namespace neap::engine
