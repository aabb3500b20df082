// substrait_plans.h: plans built message by message, and the tables that they read, for the tests of the reader.
#pragma once

#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "engine/core/error.h"
#include "engine/plan/substrait_reader.h"
#include "substrait/plan.pb.h"

namespace neap::engine {

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
inline Catalog Tables() {
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

}  // namespace neap::engine
