// Substrait plans as they are read: each is built here as a producer would write it, and compared by what EXPLAIN
// shows.
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "engine/core/error.h"
#include "engine/plan/substrait_reader.h"
#include "substrait/plan.pb.h"

namespace neap::engine {
namespace {

using PbExpression = substrait::Expression;
using PbRel = substrait::Rel;
using PbType = substrait::Type;
using substrait::JoinRel;

class FakeTable : public Table {
 public:
  explicit FakeTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}
  const std::vector<TableColumn>& columns() const override { return columns_; }
  uint64_t rows() const override { return 0; }
  ColumnStatistics Statistics(size_t) const override { return {}; }
  std::unique_ptr<Source> Scan(std::vector<size_t>, std::vector<ColumnId>, size_t, std::optional<Expression>,
                               std::vector<RuntimeFilterUse>, Memory&) override {
    return nullptr;
  }

 private:
  std::vector<TableColumn> columns_;
};

const Type kBigint{TypeId::kInt64}, kText{TypeId::kString};

// t (a bigint not null, b bigint, c varchar), u (x bigint, y bigint)
Catalog Tables() {
  return {{"t", std::make_shared<FakeTable>(
                    std::vector<TableColumn>{{"a", kBigint, false}, {"b", kBigint, true}, {"c", kText, true}})},
          {"u", std::make_shared<FakeTable>(std::vector<TableColumn>{{"x", kBigint, true}, {"y", kBigint, true}})}};
}

// ---- Building plans.

class Builder {
 public:
  uint32_t Function(const std::string& name) {
    auto* function = plan.add_extensions()->mutable_extension_function();
    function->set_function_anchor(next_);
    function->set_name(name);
    return next_++;
  }

  static PbType I64() {
    PbType type;
    type.mutable_i64();
    return type;
  }
  static PbType Text() {
    PbType type;
    type.mutable_string();
    return type;
  }
  static PbType Bool() {
    PbType type;
    type.mutable_bool_();
    return type;
  }

  static PbExpression Field(int number) {
    PbExpression expression;
    auto* selection = expression.mutable_selection();
    selection->mutable_direct_reference()->mutable_struct_field()->set_field(number);
    selection->mutable_root_reference();
    return expression;
  }
  static PbExpression Number(int64_t value) {
    PbExpression expression;
    expression.mutable_literal()->set_i64(value);
    return expression;
  }
  PbExpression Call(const std::string& name, std::vector<PbExpression> args, PbType type = Bool()) {
    PbExpression expression;
    auto* call = expression.mutable_scalar_function();
    call->set_function_reference(Function(name));
    *call->mutable_output_type() = std::move(type);
    for (PbExpression& arg : args) *call->add_arguments()->mutable_value() = std::move(arg);
    return expression;
  }

  static PbRel Read(const std::string& table) {
    PbRel rel;
    auto* read = rel.mutable_read();
    read->mutable_named_table()->add_names(table);
    const std::vector<std::string> names =
        table == "t" ? std::vector<std::string>{"a", "b", "c"} : std::vector<std::string>{"x", "y"};
    for (const std::string& name : names) {
      read->mutable_base_schema()->add_names(name);
      *read->mutable_base_schema()->mutable_struct_()->add_types() = name == "c" ? Text() : I64();
    }
    return rel;
  }
  static PbRel Filter(PbRel input, PbExpression condition) {
    PbRel rel;
    *rel.mutable_filter()->mutable_input() = std::move(input);
    *rel.mutable_filter()->mutable_condition() = std::move(condition);
    return rel;
  }
  static PbRel Project(PbRel input, std::vector<PbExpression> expressions) {
    PbRel rel;
    *rel.mutable_project()->mutable_input() = std::move(input);
    for (PbExpression& expression : expressions) *rel.mutable_project()->add_expressions() = std::move(expression);
    return rel;
  }
  static PbRel Join(JoinRel::JoinType type, PbRel left, PbRel right, PbExpression condition) {
    PbRel rel;
    rel.mutable_join()->set_type(type);
    *rel.mutable_join()->mutable_left() = std::move(left);
    *rel.mutable_join()->mutable_right() = std::move(right);
    *rel.mutable_join()->mutable_expression() = std::move(condition);
    return rel;
  }

  Plan Finish(const PbRel& root, const PlanNotes& notes = {}) {
    *plan.add_relations()->mutable_rel() = root;
    return ReadSubstrait(plan.SerializeAsString(), Tables(), notes);
  }
  std::string Explained(const PbRel& root, const PlanNotes& notes = {}) { return Explain(Finish(root, notes)); }
  std::string Refused(const PbRel& root, const PlanNotes& notes = {}) {
    try {
      return "read: " + Explained(root, notes);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPlan);
      return error.what();
    }
  }

  substrait::Plan plan;

 private:
  uint32_t next_ = 0;
};

template <class Relation>
void Emit(Relation* relation, const std::vector<int>& fields) {
  for (int field : fields) relation->mutable_common()->mutable_emit()->add_output_mapping(field);
}

// ---- Reads.

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
  notes.null_aware_anti_joins = {true};
  EXPECT_TRUE(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_ANTI, notes).starts_with("left anti join (null aware) on b = x\n"));
  notes.null_aware_anti_joins = {false};
  EXPECT_TRUE(ExplainedJoin(JoinRel::JOIN_TYPE_LEFT_ANTI, notes).starts_with("left anti join on b = x\n"));

  // a = x is the condition of the subquery, b = y that of NOT IN. Only b = y can be NULL when a is not, and x is not.
  notes.null_aware_anti_joins = {true};
  Builder b;
  const PbExpression condition = b.Call("and", {b.Call("equal", {Builder::Field(0), Builder::Field(3)}),
                                                b.Call("equal", {Builder::Field(1), Builder::Field(4)})});
  const auto none_null = Builder::Filter(Builder::Read("u"), b.Call("is_not_null", {Builder::Field(0)}));
  EXPECT_TRUE(b.Refused(Builder::Join(JoinRel::JOIN_TYPE_LEFT_ANTI, Builder::Read("t"), none_null, condition), notes)
                  .starts_with("NOT IN (SELECT ...) refers to the query around it by columns that may be NULL"));
  Builder one;
  const PbExpression sides = one.Call("and", {one.Call("equal", {Builder::Field(0), Builder::Field(3)}),
                                              one.Call("equal", {Builder::Field(1), Builder::Field(5)})});
  PbRel twice = Builder::Join(JoinRel::JOIN_TYPE_LEFT_ANTI, Builder::Read("t"), Builder::Read("t"), sides);
  *twice.mutable_join()->mutable_expression() =
      one.Call("and", {one.Call("equal", {Builder::Field(0), Builder::Field(3)}),
                       one.Call("equal", {Builder::Field(1), Builder::Field(4)})});
  EXPECT_EQ(one.Explained(twice, notes),
            "left anti join on a#0 = a#3 and (b#1 = b#4) is not false\n"
            "  read t (a#0, b#1, c#2)\n"
            "  read t (a#3, b#4, c#5)\n");

  notes.null_aware_anti_joins = {true, false};
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
