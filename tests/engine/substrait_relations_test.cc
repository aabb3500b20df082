// substrait_relations_test.cc: joins, subqueries, aggregates, windows, sorts and sets as they come from Substrait.
#include <gtest/gtest.h>

#include "tests/engine/substrait_plans.h"

namespace neap::engine {
namespace {

std::string ExplainedJoin(JoinRel::JoinType type, const PlanNotes& notes = {}) {
  Builder b;
  return b.Explained(Builder::Join(type, Builder::Read("t"), Builder::Read("u"),
                                   b.Call("equal", {Builder::Field(1), Builder::Field(3)})),
                     notes);
}

TEST(Substrait, JoinConditionsAreSplitIntoKeysAndTheRest) {
  Builder b;
  const PbExpression condition = b.Call("and", {b.Call("equal", {Builder::Field(3), Builder::Field(0)}),
                                                b.Call("is_not_distinct_from", {Builder::Field(1), Builder::Field(4)}),
                                                b.Call("lt", {Builder::Field(0), Builder::Field(4)}),
                                                b.Call("equal", {Builder::Field(0), Builder::Field(1)}),
                                                b.Call("equal", {Builder::Field(0), Builder::Number(1)})});
  EXPECT_EQ(b.Explained(Builder::Join(JoinRel::JOIN_TYPE_LEFT, Builder::Read("t"), Builder::Read("u"), condition)),
            "left join on a = x and b is not distinct from y and a < y and a = b and a = 1\n"
            "  read t (a, b, c)\n"
            "  read u (x, y)\n");
}

TEST(Substrait, EveryKindOfJoin) {
  const std::string inputs = "  read t (a, b, c)\n  read u (x, y)\n";
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_INNER), "inner join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_OUTER), "full join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_RIGHT), "right join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_SEMI), "left semi join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_ANTI), "left anti join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_SINGLE), "left single join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_RIGHT_SEMI), "right semi join on b = x\n" + inputs);
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_RIGHT_ANTI), "right anti join on b = x\n" + inputs);
  // Those that the engine has mirrored only.
  const std::string mirrored = "  read u (x, y)\n  read t (a, b, c)\n";
  EXPECT_EQ(ExplainedJoin(JoinRel::JOIN_TYPE_RIGHT_SINGLE), "left single join on x = b\n" + mirrored);
}

TEST(Substrait, FieldsOfJoins) {
  const auto fields = [](JoinRel::JoinType type) {
    Builder b;
    return b
        .Finish(Builder::Join(type, Builder::Read("t"), Builder::Read("u"),
                              b.Call("equal", {Builder::Field(1), Builder::Field(3)})))
        .names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(fields(JoinRel::JOIN_TYPE_LEFT), (Names{"a", "b", "c", "x", "y"}));
  EXPECT_EQ(fields(JoinRel::JOIN_TYPE_RIGHT_SINGLE), (Names{"a", "b", "c", "x", "y"}));
  EXPECT_EQ(fields(JoinRel::JOIN_TYPE_LEFT_ANTI), (Names{"a", "b", "c"}));
  EXPECT_EQ(fields(JoinRel::JOIN_TYPE_RIGHT_SEMI), (Names{"x", "y"}));
  EXPECT_EQ(fields(JoinRel::JOIN_TYPE_LEFT_MARK), (Names{"a", "b", "c", ""}));
}

TEST(Substrait, AntiJoinsOfNotIn) {
  PlanNotes notes;
  notes.anti_joins = {PlanNotes::Anti::kOfNotIn};
  EXPECT_TRUE(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_ANTI, notes).starts_with("left anti join (null aware) on b = x\n"));
  notes.anti_joins = {PlanNotes::Anti::kOfNotExists};
  EXPECT_TRUE(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_ANTI, notes).starts_with("left anti join on b = x\n"));

  // b = y is that of NOT IN, a = x the condition of the subquery: NULLs count in the one alone.
  Builder b;
  const PbExpression condition = b.Call("and", {b.Call("equal", {Builder::Field(1), Builder::Field(4)}),
                                                b.Call("equal", {Builder::Field(0), Builder::Field(3)})});
  const PbRel correlated =
      Builder::Join(JoinRel::JOIN_TYPE_LEFT_ANTI, Builder::Read("t"), Builder::Read("u"), condition);
  EXPECT_TRUE(b.Refused(correlated, {.anti_joins = {PlanNotes::Anti::kOfNotIn}})
                  .starts_with("NOT IN (SELECT ...) refers to the query around it by columns that may be NULL"));
  Builder first;
  PbRel again = correlated;
  *again.mutable_join()->mutable_expression() =
      first.Call("and", {first.Call("equal", {Builder::Field(1), Builder::Field(4)}),
                         first.Call("equal", {Builder::Field(0), Builder::Field(3)})});
  EXPECT_EQ(first.Explained(again, {.anti_joins = {PlanNotes::Anti::kOfNotInFirst}}),
            "left anti join on a = x and (b = y) is not false\n"
            "  read t (a, b, c)\n"
            "  read u (x, y)\n");
  // a is never NULL: what the subquery is chosen by may be.
  Builder never;
  const PbExpression swapped = never.Call("and", {never.Call("equal", {Builder::Field(0), Builder::Field(3)}),
                                                  never.Call("equal", {Builder::Field(1), Builder::Field(4)})});
  EXPECT_EQ(
      never.Explained(Builder::Join(JoinRel::JOIN_TYPE_LEFT_ANTI, Builder::Read("t"), Builder::Read("t"), swapped),
                      {.anti_joins = {PlanNotes::Anti::kOfNotInFirst}}),
      "left anti join on a#0 = a#3 and b#1 = b#4\n"
      "  read t (a#0, b#1, c#2)\n"
      "  read t (a#3, b#4, c#5)\n");

  notes.anti_joins = {PlanNotes::Anti::kOfNotIn, PlanNotes::Anti::kOfNotExists};
  Builder other;
  EXPECT_TRUE(other
                  .Refused(Builder::Join(JoinRel::JOIN_TYPE_LEFT_ANTI, Builder::Read("t"), Builder::Read("u"),
                                         other.Call("equal", {Builder::Field(1), Builder::Field(3)})),
                           notes)
                  .starts_with("a NOT IN (SELECT ...) cannot be told from NOT EXISTS"));
}

std::string MarkUsed(const std::string& by, PlanNotes::Marks marks, bool datafusion) {
  Builder b;
  if (datafusion) b.plan.mutable_version()->set_producer("datafusion");
  PbRel join = Builder::Join(JoinRel::JOIN_TYPE_LEFT_MARK, Builder::Read("t"), Builder::Read("u"),
                             b.Call("equal", {Builder::Field(1), Builder::Field(3)}));
  const PbExpression mark = Builder::Field(3), also = b.Call("is_null", {Builder::Field(0)});
  PlanNotes notes;
  notes.marks = marks;
  PbRel filter = Builder::Filter(join, b.Call("or", {by.empty() ? mark : b.Call(by, {mark}), also}));
  Emit(filter.mutable_filter(), {0, 1, 2});
  return b.Refused(filter, notes);
}

TEST(Substrait, MarksAreNullOnlyWhereItCanBeSeenAndWasMeant) {
  using Marks = PlanNotes::Marks;
  const std::string plain = "left mark join on b = x as #5", aware = "left mark join (null aware) on b = x as #5";
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(MarkUsed("", Marks::kIn, true), plain));
  EXPECT_TRUE(has(MarkUsed("", Marks::kMixed, true), plain));
  EXPECT_TRUE(has(MarkUsed("not", Marks::kExists, true), plain));
  EXPECT_TRUE(has(MarkUsed("not", Marks::kIn, true), aware));
  EXPECT_TRUE(has(MarkUsed("not", Marks::kAsSubstrait, false), aware));
  EXPECT_TRUE(has(MarkUsed("not", Marks::kAsSubstrait, true), "a negated or selected IN (SELECT ...)"));
  EXPECT_TRUE(has(MarkUsed("not", Marks::kMixed, true), "a negated or selected IN (SELECT ...)"));
}

TEST(Substrait, CrossProductsAndFiltersAfterJoins) {
  Builder b;
  PbRel cross;
  *cross.mutable_cross()->mutable_left() = Builder::Read("t");
  *cross.mutable_cross()->mutable_right() = Builder::Read("u");
  EXPECT_EQ(b.Explained(cross), "cross join\n  read t (a, b, c)\n  read u (x, y)\n");
  Builder after;
  PbRel join = Builder::Join(JoinRel::JOIN_TYPE_LEFT, Builder::Read("t"), Builder::Read("u"),
                             after.Call("equal", {Builder::Field(0), Builder::Field(3)}));
  *join.mutable_join()->mutable_post_join_filter() = after.Call("is_null", {Builder::Field(3)});
  EXPECT_EQ(after.Explained(join), "filter x is null\n  left join on a = x\n    read t (a, b, c)\n    read u (x, y)\n");
}

// ---- Subqueries.

PbExpression Scalar(const PbRel& rel) {
  PbExpression expression;
  *expression.mutable_subquery()->mutable_scalar()->mutable_input() = rel;
  return expression;
}

TEST(Substrait, ScalarSubqueriesStayInTheirExpression) {
  Builder b;
  PbRel one = Builder::Read("u");
  one.mutable_read()->mutable_projection()->mutable_select()->add_struct_items()->set_field(0);
  EXPECT_EQ(b.Explained(Builder::Filter(Builder::Read("t"), b.Call("gt", {Builder::Field(0), Scalar(one)}))),
            "read t (a, b, c) where a > (subquery)\n"
            "  subquery\n"
            "    read u (x)\n");
  Builder two;
  EXPECT_EQ(
      two.Refused(Builder::Filter(Builder::Read("t"), two.Call("gt", {Builder::Field(0), Scalar(Builder::Read("u"))}))),
      "the plan holds a scalar subquery of 2 columns, which the engine does not have");
}

TEST(Substrait, InSubqueriesBecomeMarkJoins) {
  Builder b;
  PbExpression in;
  auto* predicate = in.mutable_subquery()->mutable_in_predicate();
  *predicate->add_needles() = Builder::Field(0);
  PbRel haystack = Builder::Read("u");
  haystack.mutable_read()->mutable_projection()->mutable_select()->add_struct_items()->set_field(1);
  *predicate->mutable_haystack() = haystack;
  EXPECT_EQ(b.Explained(Builder::Filter(Builder::Read("t"), b.Call("not", {in}))),
            "filter not #5\n"
            "  left mark join (null aware) on a = y as #5\n"
            "    read t (a, b, c)\n"
            "    read u (y)\n");
}

TEST(Substrait, ExistsCountsOneRow) {
  Builder b;
  PbExpression exists;
  auto* predicate = exists.mutable_subquery()->mutable_set_predicate();
  predicate->set_predicate_op(PbExpression::Subquery::SetPredicate::PREDICATE_OP_EXISTS);
  *predicate->mutable_tuples() = Builder::Read("u");
  EXPECT_EQ(b.Explained(Builder::Filter(Builder::Read("t"), exists)),
            "read t (a, b, c) where (subquery) = 1\n"
            "  subquery\n"
            "    aggregate count(*) as #5\n"
            "      limit 1\n"
            "        read u (x, y)\n");
}

TEST(Substrait, OuterReferencesAreRefused) {
  PbExpression outer = Builder::Field(0);
  outer.mutable_selection()->mutable_outer_reference()->set_steps_out(1);
  EXPECT_TRUE(Builder()
                  .Refused(Builder::Project(Builder::Read("t"), {outer}))
                  .starts_with("the plan holds a subquery that refers to the query around it"));
}

// ---- Aggregates.

substrait::AggregateFunction* Measure(Builder& b, PbRel& rel, const std::string& name, std::vector<PbExpression> args) {
  auto* measure = rel.mutable_aggregate()->add_measures()->mutable_measure();
  measure->set_function_reference(b.Function(name));
  for (PbExpression& arg : args) *measure->add_arguments()->mutable_value() = std::move(arg);
  return measure;
}

PbRel AggregateOf(const std::string& table) {
  PbRel rel;
  *rel.mutable_aggregate()->mutable_input() = Builder::Read(table);
  return rel;
}

TEST(Substrait, GroupingsInTheOldFormAndTheNew) {
  const std::string expected = "aggregate sum(b) as #4 by a\n  read t (a, b, c)\n";
  Builder old;
  PbRel rel = AggregateOf("t");
  *rel.mutable_aggregate()->add_groupings()->add_grouping_expressions() = Builder::Field(0);
  Measure(old, rel, "sum:i64", {Builder::Field(1)});
  EXPECT_EQ(old.Explained(rel), expected);

  Builder now;
  rel = AggregateOf("t");
  *rel.mutable_aggregate()->add_grouping_expressions() = Builder::Field(0);
  rel.mutable_aggregate()->add_groupings()->add_expression_references(0);
  Measure(now, rel, "sum", {Builder::Field(1)});
  EXPECT_EQ(now.Explained(rel), expected);
}

TEST(Substrait, AggregatesOfManyKinds) {
  Builder b;
  PbRel rel = AggregateOf("t");
  Measure(b, rel, "count", {});
  Measure(b, rel, "count", {Builder::Number(1)});
  Measure(b, rel, "count:any", {Builder::Field(1)})
      ->set_invocation(substrait::AggregateFunction::AGGREGATION_INVOCATION_DISTINCT);
  Measure(b, rel, "stddev", {Builder::Field(1)});
  Measure(b, rel, "count", {Builder::Field(0), Builder::Field(1)});
  *rel.mutable_aggregate()->mutable_measures(0)->mutable_filter() = b.Call("is_null", {Builder::Field(1)});
  EXPECT_EQ(b.Explained(rel),
            "aggregate count(*) filter (where b is null) as #3, count(*) as #4, count(distinct b) as #5, stddev(b) as "
            "#6, count(case when a is not null and b is not null then true end) as #7\n"
            "  read t (a, b, c)\n");
}

TEST(Substrait, TypesThatDataFusionLeavesOut) {
  const auto type = [](const std::string& name, int field) {
    Builder b;
    PbRel rel = AggregateOf("t");
    Measure(b, rel, name, {Builder::Field(field)});
    const Plan plan = b.Finish(rel);
    return plan.columns[plan.root->output[0]].type;
  };
  EXPECT_EQ(type("sum", 0), kBigint);
  EXPECT_EQ(type("avg", 0), Type{TypeId::kDouble});
  EXPECT_EQ(type("min", 2), kText);
  EXPECT_EQ(type("count", 2), kBigint);
}

PbRel Rollup(Builder& b) {
  PbRel rel = AggregateOf("u");
  Measure(b, rel, "sum", {Builder::Field(1)});
  *rel.mutable_aggregate()->add_grouping_expressions() = Builder::Field(0);
  *rel.mutable_aggregate()->add_grouping_expressions() = Builder::Field(1);
  auto* both = rel.mutable_aggregate()->add_groupings();
  both->add_expression_references(0);
  both->add_expression_references(1);
  rel.mutable_aggregate()->add_groupings()->add_expression_references(0);
  rel.mutable_aggregate()->add_groupings();
  return rel;
}

TEST(Substrait, GroupingSetsEndWithTheirNumber) {
  Builder b;
  const Plan plan = b.Finish(Rollup(b));
  EXPECT_EQ(Explain(plan),
            "project case when #4 = 0 then 0 when #4 = 1 then 1 when #4 = 3 then 2 end as #6\n"
            "  aggregate grouping(x, y) as #4, sum(y) as #5 by x, y in sets (x, y), (x), ()\n"
            "    read u (x, y)\n");
  EXPECT_EQ(plan.root->output, (std::vector<ColumnId>{2, 3, 5, 6}));
}

TEST(Substrait, GroupingSetsOfDataFusionHaveGroupingAfterTheGroups) {
  Builder b;
  b.plan.mutable_version()->set_producer("datafusion");
  PbRel rel = Rollup(b);
  // It writes an expression once for every set.
  *rel.mutable_aggregate()->add_grouping_expressions() = Builder::Field(0);
  rel.mutable_aggregate()->mutable_groupings(1)->set_expression_references(0, 2);
  const Plan plan = b.Finish(rel);
  EXPECT_EQ(Explain(plan),
            "aggregate grouping(x, y) as #4, sum(y) as #5 by x, y in sets (x, y), (x), ()\n  read u (x, y)\n");
  EXPECT_EQ(plan.root->output, (std::vector<ColumnId>{2, 3, 4, 5}));
}

// ---- Windows.

PbExpression Window(Builder& b, const std::string& name, std::vector<PbExpression> args, int partition, int order) {
  PbExpression expression;
  auto* window = expression.mutable_window_function();
  window->set_function_reference(b.Function(name));
  for (PbExpression& arg : args) *window->add_arguments()->mutable_value() = std::move(arg);
  *window->add_partitions() = Builder::Field(partition);
  auto* sort = window->add_sorts();
  *sort->mutable_expr() = Builder::Field(order);
  sort->set_direction(substrait::SortField::SORT_DIRECTION_DESC_NULLS_LAST);
  window->set_bounds_type(PbExpression::WindowFunction::BOUNDS_TYPE_ROWS);
  window->mutable_lower_bound()->mutable_preceding()->set_offset(2);
  window->mutable_upper_bound()->mutable_current_row();
  return expression;
}

TEST(Substrait, WindowFunctionsAreGroupedByTheirWindow) {
  Builder b;
  const PbRel rel = Builder::Project(
      Builder::Read("t"), {Window(b, "sum", {Builder::Field(1)}, 0, 1), Window(b, "row_number", {}, 1, 0),
                           b.Call("add", {Window(b, "rank", {}, 0, 1), Builder::Number(1)}, Builder::I64())});
  EXPECT_EQ(b.Explained(rel),
            "project #5 + 1 as #6\n"
            "  window row_number() as #4 partition by b order by a desc nulls last\n"
            "    window sum(b) rows between 2 preceding and current row as #3, rank() as #5 partition by a order by b "
            "desc nulls last\n"
            "      read t (a, b, c)\n");
}

// ---- Sorts, limits, sets.

TEST(Substrait, SortsAndLimits) {
  PbRel sort;
  *sort.mutable_sort()->mutable_input() = Builder::Read("t");
  auto* key = sort.mutable_sort()->add_sorts();
  *key->mutable_expr() = Builder::Field(1);
  key->set_direction(substrait::SortField::SORT_DIRECTION_ASC_NULLS_FIRST);
  PbRel fetch;
  *fetch.mutable_fetch()->mutable_input() = sort;
  fetch.mutable_fetch()->set_count(10);
  fetch.mutable_fetch()->set_offset(5);
  EXPECT_EQ(Builder().Explained(fetch), "sort by b nulls first limit 10 offset 5\n  read t (a, b, c)\n");
  *fetch.mutable_fetch()->mutable_count_expr() = Builder::Number(3);
  fetch.mutable_fetch()->clear_offset();
  EXPECT_EQ(Builder().Explained(fetch), "sort by b nulls first limit 3\n  read t (a, b, c)\n");
  *fetch.mutable_fetch()->mutable_input() = Builder::Read("t");
  fetch.mutable_fetch()->set_count(-1);
  EXPECT_EQ(Builder().Explained(fetch), "read t (a, b, c)\n");
}

TEST(Substrait, SetOperations) {
  const auto text = [](substrait::SetRel::SetOp op, int inputs) {
    PbRel rel;
    rel.mutable_set()->set_op(op);
    for (int i = 0; i < inputs; ++i) *rel.mutable_set()->add_inputs() = Builder::Read("u");
    return Builder().Explained(rel);
  };
  const std::string read = "read u (x#0, y#1)\n";
  EXPECT_EQ(text(substrait::SetRel::SET_OP_UNION_ALL, 2),
            "union all as x#4, y#5\n  read u (x#0, y#1)\n  read u (x#2, y#3)\n");
  EXPECT_TRUE(text(substrait::SetRel::SET_OP_UNION_DISTINCT, 2).starts_with("union as"));
  EXPECT_TRUE(text(substrait::SetRel::SET_OP_MINUS_PRIMARY, 2).starts_with("except as"));
  EXPECT_TRUE(text(substrait::SetRel::SET_OP_MINUS_PRIMARY_ALL, 2).starts_with("except all as"));
  EXPECT_TRUE(text(substrait::SetRel::SET_OP_INTERSECTION_MULTISET_ALL, 2).starts_with("intersect all as"));
  // What is in any, or in all, of the others.
  EXPECT_NE(text(substrait::SetRel::SET_OP_MINUS_PRIMARY, 3).find("\n  union all as"), std::string::npos);
  EXPECT_NE(text(substrait::SetRel::SET_OP_MINUS_MULTISET, 3).find("\n  intersect as"), std::string::npos);
}

}  // namespace
}  // namespace neap::engine
