// substrait_test.cc: reads, projections, literals, functions and what is refused.
#include <gtest/gtest.h>

#include "tests/engine/substrait_plans.h"

namespace neap::engine {
namespace {

TEST(Substrait, ReadsWhatTheProjectionAndTheFilterNeed) {
  Builder b;
  PbRel rel = Builder::Read("t");
  auto* items = rel.mutable_read()->mutable_projection()->mutable_select();
  items->add_struct_items()->set_field(2);
  items->add_struct_items()->set_field(0);
  // A filter refers to the table's columns, not to the projection's.
  *rel.mutable_read()->mutable_filter() = b.Call("gt:any_any", {Builder::Field(1), Builder::Number(5)});
  const Plan plan = b.Finish(rel);
  EXPECT_EQ(Explain(plan), "read t (c, a) where b > 5\n");
  EXPECT_EQ(plan.root->field_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(plan.names, (std::vector<std::string>{"c", "a"}));

  PbRel narrow = Builder::Read("t");
  narrow.mutable_read()->mutable_projection()->mutable_select()->add_struct_items()->set_field(2);
  EXPECT_EQ(Builder().Finish(narrow).root->field_names, (std::vector<std::string>{"c"}));
}

TEST(Substrait, AFilterAboveAReadIsTheReadsOwnAndTestedOnce) {
  Builder b;
  PbRel read = Builder::Read("t");
  const PbExpression first = b.Call("lt", {Builder::Field(0), Builder::Number(5)});
  *read.mutable_read()->mutable_filter() = first;
  const PbExpression second = b.Call("is_not_null", {Builder::Field(1)});
  EXPECT_EQ(b.Explained(Builder::Filter(read, b.Call("and", {first, second}))),
            "read t (a, b, c) where a < 5 and b is not null\n");
}

TEST(Substrait, ColumnsThatTheFilesHaveWithAnotherTypeAreCast) {
  Builder b;
  PbRel read = Builder::Read("t");
  auto* types = read.mutable_read()->mutable_base_schema()->mutable_struct_();
  types->mutable_types(1)->mutable_i32();
  *read.mutable_read()->mutable_filter() = b.Call("equal", {Builder::Field(1), Builder::Field(0)});
  EXPECT_EQ(b.Explained(read),
            "filter b#2 = a\n"
            "  project cast(b#1 as integer) as b#2\n"
            "    read t (a, b#1, c)\n");
}

TEST(Substrait, RowsOfValues) {
  Builder b;
  PbRel rel;
  auto* schema = rel.mutable_read()->mutable_base_schema();
  schema->add_names("n");
  *schema->mutable_struct_()->add_types() = Builder::I64();
  auto* values = rel.mutable_read()->mutable_virtual_table();
  for (int64_t value : {3, 4}) values->add_values()->add_fields()->set_i64(value);
  const Plan plan = b.Finish(rel);
  ASSERT_EQ(plan.root->rows.size(), 2U);
  EXPECT_EQ(plan.root->rows[1][0].literal, (Literal{false, int64_t{4}}));

  // SELECT without FROM: a row of nothing.
  PbRel one;
  one.mutable_read()->mutable_virtual_table()->add_expressions();
  EXPECT_EQ(Builder().Finish(one).root->rows.size(), 1U);
}

TEST(Substrait, UnknownTablesAndColumnsAreNamed) {
  PbRel rel = Builder::Read("t");
  rel.mutable_read()->mutable_named_table()->set_names(0, "missing");
  EXPECT_EQ(Builder().Refused(rel), "there is no table missing: name its files with -t missing=FILES");
  rel = Builder::Read("t");
  rel.mutable_read()->mutable_base_schema()->set_names(1, "z");
  EXPECT_EQ(Builder().Refused(rel), "the table t has no column z");
}

// ---- Projections and emits.

TEST(Substrait, ProjectionsKeepTheColumnsBelowAndAddTheirOwn) {
  Builder b;
  PbRel rel = Builder::Project(
      Builder::Read("u"), {b.Call("add", {Builder::Field(0), Builder::Number(1)}, Builder::I64()), Builder::Field(1)});
  const Plan plan = b.Finish(rel);
  EXPECT_EQ(plan.root->output.size(), 4U);
  EXPECT_EQ(plan.root->output[3], plan.root->output[1]);
  EXPECT_EQ(Explain(plan), "project x + 1 as #2\n  read u (x, y)\n");

  Emit(rel.mutable_project(), {3, 2, 2});
  Builder again;
  PbRel same =
      Builder::Project(Builder::Read("u"),
                       {again.Call("add", {Builder::Field(0), Builder::Number(1)}, Builder::I64()), Builder::Field(1)});
  Emit(same.mutable_project(), {3, 2, 2});
  const Plan emitted = again.Finish(same);
  EXPECT_EQ(emitted.root->output, (std::vector<ColumnId>{1, 2, 2}));

  Emit(same.mutable_project(), {4});
  EXPECT_EQ(Builder().Refused(Builder::Project(Builder::Read("u"), {Builder::Field(7)})),
            "the plan refers to field 7 of 2: it is broken or of another dialect");
}

TEST(Substrait, NamesOfTheRoot) {
  Builder b;
  auto* root = b.plan.add_relations()->mutable_root();
  *root->mutable_input() = Builder::Read("u");
  root->add_names("first");
  root->add_names("second");
  const Plan plan = ReadSubstrait(b.plan.SerializeAsString(), Tables());
  EXPECT_EQ(plan.names, (std::vector<std::string>{"first", "second"}));
  root->add_names("third");
  EXPECT_THROW(ReadSubstrait(b.plan.SerializeAsString(), Tables()), Error);
}

// ---- Expressions.

std::string ExplainedExpression(const PbExpression& expression, Builder& b) {
  PbRel rel = Builder::Project(Builder::Read("t"), {expression});
  const Plan plan = b.Finish(rel);
  const std::string text = Explain(plan);
  return text.substr(8, text.find(" as #") - 8);
}

TEST(Substrait, LiteralsOfEveryType) {
  const auto text = [](const auto& set) {
    Builder b;
    PbExpression expression;
    set(expression.mutable_literal());
    return ExplainedExpression(expression, b);
  };
  using L = PbExpression::Literal;
  EXPECT_EQ(text([](L* l) { l->set_boolean(true); }), "true");
  EXPECT_EQ(text([](L* l) { l->set_i8(-3); }), "-3");
  EXPECT_EQ(text([](L* l) { l->set_i16(300); }), "300");
  EXPECT_EQ(text([](L* l) { l->set_i32(-70000); }), "-70000");
  EXPECT_EQ(text([](L* l) { l->set_i64(1LL << 40); }), "1099511627776");
  EXPECT_EQ(text([](L* l) { l->set_fp64(1.25); }), "1.25");
  EXPECT_EQ(text([](L* l) { l->set_string("it's"); }), "'it''s'");
  EXPECT_EQ(text([](L* l) { l->set_fixed_char("ab"); }), "'ab'");
  EXPECT_EQ(text([](L* l) { l->mutable_var_char()->set_value("cd"); }), "'cd'");
  EXPECT_EQ(text([](L* l) { l->set_date(10471); }), "date '1998-09-02'");
  EXPECT_EQ(text([](L* l) { l->set_timestamp(1'500'000); }), "timestamp '1970-01-01 00:00:01.5'");
  EXPECT_EQ(text([](L* l) {
              l->mutable_precision_timestamp()->set_precision(9);
              l->mutable_precision_timestamp()->set_value(1'500'000'999);
            }),
            "timestamp '1970-01-01 00:00:01.5'");
  EXPECT_EQ(text([](L* l) {
              l->mutable_precision_timestamp()->set_precision(0);
              l->mutable_precision_timestamp()->set_value(-1);
            }),
            "timestamp '1969-12-31 23:59:59'");
  EXPECT_EQ(text([](L* l) {
              l->mutable_decimal()->set_value(std::string("\x85\xff", 2) + std::string(14, '\xff'));
              l->mutable_decimal()->set_precision(5);
              l->mutable_decimal()->set_scale(2);
            }),
            "-1.23");
  EXPECT_EQ(text([](L* l) { *l->mutable_null() = Builder::I64(); }), "null");
  EXPECT_EQ(text([](L* l) {
              auto* interval = l->mutable_interval_compound();
              interval->mutable_interval_year_to_month()->set_months(14);
              interval->mutable_interval_day_to_second()->set_days(3);
            }),
            "interval '1 year 2 months 3 days'");
  // Unsigned: the next wider type, and the value that the signed field carries in its bits.
  EXPECT_EQ(text([](L* l) {
              l->set_i8(-1);
              l->set_type_variation_reference(1);
            }),
            "255");
}

TEST(Substrait, TypesThatTheEngineLacksAreNamed) {
  PbRel read = Builder::Read("t");
  read.mutable_read()->mutable_base_schema()->mutable_struct_()->mutable_types(0)->mutable_list();
  EXPECT_EQ(Builder().Refused(read), "the plan holds the type list, which the engine does not have");
}

TEST(Substrait, FunctionsByAnyNameAndSignature) {
  const auto text = [](const std::string& name, std::vector<PbExpression> args) {
    Builder b;
    return ExplainedExpression(b.Call(name, std::move(args), Builder::Text()), b);
  };
  const PbExpression a = Builder::Field(0), c = Builder::Field(2), one = Builder::Number(1);
  EXPECT_EQ(text("SUBSTR:str_i64", {c, one}), "substring(c, 1)");
  EXPECT_EQ(text("char_length", {c}), "length(c)");
  EXPECT_EQ(text("str_concat", {c, c}), "concat(c, c)");
  EXPECT_EQ(text("nvl", {c, c}), "coalesce(c, c)");
  Builder b;
  EXPECT_EQ(ExplainedExpression(b.Call("between", {a, one, one}), b), "a >= 1 and a <= 1");
  Builder unknown;
  EXPECT_EQ(unknown.Refused(Builder::Project(Builder::Read("t"), {unknown.Call("soundex", {c})})),
            "the plan holds the function soundex, which the engine does not have");
  Builder arity;
  EXPECT_EQ(arity.Refused(Builder::Project(Builder::Read("t"), {arity.Call("abs", {a, a})})),
            "the plan holds the function abs with 2 arguments, which the engine does not have");
}

TEST(Substrait, ConcatOfDataFusionLeavesOutNulls) {
  Builder b;
  b.plan.mutable_version()->set_producer("datafusion");
  EXPECT_EQ(ExplainedExpression(b.Call("concat", {Builder::Field(2), Builder::Field(2)}, Builder::Text()), b),
            "concat(coalesce(c, ''), coalesce(c, ''))");
}

TEST(Substrait, LikeWithItsEscapeAndWithoutRegardToCase) {
  PbExpression pattern, none, escape;
  pattern.mutable_literal()->set_string("a%");
  *none.mutable_literal()->mutable_null() = Builder::Text();
  escape.mutable_literal()->set_string("!");
  Builder b;
  EXPECT_EQ(ExplainedExpression(b.Call("not", {b.Call("like", {Builder::Field(2), pattern, none})}), b),
            "c not like 'a%'");
  Builder with;
  EXPECT_EQ(ExplainedExpression(with.Call("like", {Builder::Field(2), pattern, escape}), with),
            "c like 'a%' escape '!'");
  Builder option;
  PbExpression call = option.Call("like", {Builder::Field(2), pattern});
  auto* asked = call.mutable_scalar_function()->add_options();
  asked->set_name("case_sensitivity");
  asked->add_preference("CASE_INSENSITIVE");
  EXPECT_EQ(ExplainedExpression(call, option), "c ilike 'a%'");
}

TEST(Substrait, CasesGetOneType) {
  Builder b;
  PbExpression expression;
  auto* clause = expression.mutable_if_then()->add_ifs();
  *clause->mutable_if_() = b.Call("is_null", {Builder::Field(0)});
  clause->mutable_then()->mutable_literal()->set_i32(1);
  *expression.mutable_if_then()->mutable_else_() = Builder::Field(1);
  EXPECT_EQ(ExplainedExpression(expression, b), "case when a is null then cast(1 as bigint) else b end");

  // DataFusion's CASE a WHEN 1 THEN b END.
  Builder with_base;
  PbExpression based;
  *based.mutable_if_then()->add_ifs()->mutable_if_() = Builder::Field(0);
  auto* when = based.mutable_if_then()->add_ifs();
  *when->mutable_if_() = Builder::Number(1);
  *when->mutable_then() = Builder::Field(1);
  EXPECT_EQ(ExplainedExpression(based, with_base), "case when a = 1 then b end");
}

TEST(Substrait, ListsAndCasts) {
  Builder b;
  PbExpression in;
  *in.mutable_singular_or_list()->mutable_value() = Builder::Field(0);
  *in.mutable_singular_or_list()->add_options() = Builder::Number(1);
  in.mutable_singular_or_list()->add_options()->mutable_literal()->set_i32(2);
  EXPECT_EQ(ExplainedExpression(in, b), "a in (1, cast(2 as bigint))");

  Builder casts;
  PbExpression cast;
  *cast.mutable_cast()->mutable_input() = Builder::Field(2);
  cast.mutable_cast()->mutable_type()->mutable_i32();
  cast.mutable_cast()->set_failure_behavior(PbExpression::Cast::FAILURE_BEHAVIOR_RETURN_NULL);
  EXPECT_EQ(ExplainedExpression(cast, casts), "try_cast(c as integer)");
}

// ---- What is refused wherever it stands.

TEST(Substrait, UnknownFieldsAreRefusedInAnyDepth) {
  Builder b;
  PbExpression condition = b.Call("gt", {Builder::Field(0), Builder::Number(5)});
  auto* call = condition.mutable_scalar_function();
  call->GetReflection()->MutableUnknownFields(call)->AddVarint(99, 1);
  EXPECT_EQ(b.Refused(Builder::Filter(Builder::Read("t"), condition)),
            "the plan has field 99 of substrait.Expression.ScalarFunction, which Substrait 0.85 does not know: have it "
            "written by a producer of version 0.85 to 0.89");
}

TEST(Substrait, RelationsThatTheEngineLacksAreNamed) {
  PbRel rel;
  rel.mutable_hash_join();
  EXPECT_EQ(Builder().Refused(rel), "the plan holds a relation of the kind hash_join, which the engine does not have");
  PbRel files;
  files.mutable_read()->mutable_local_files();
  EXPECT_EQ(Builder().Refused(files),
            "the plan holds a read of the kind local_files (name the files as a table instead), which the engine does "
            "not have");
}

TEST(Substrait, BytesThatAreNoPlan) {
  EXPECT_THROW(ReadSubstrait("no plan", Tables()), Error);
  EXPECT_THROW(ReadSubstrait("", Tables()), Error);
}

// ---- Joins.

}  // namespace
}  // namespace neap::engine
