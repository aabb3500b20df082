// optimize_test.cc: what plans look like after their rewrites, on tables whose statistics are made up.
#include "engine/plan/optimize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "engine/core/error.h"
#include "engine/plan/estimate.h"

namespace neap::engine {
namespace {

const Type kInt{TypeId::kInt64};

class FakeTable : public Table {
 public:
  FakeTable(uint64_t rows, std::vector<std::pair<std::string, double>> distinct) : rows_(rows) {
    for (auto& [name, values] : distinct) {
      columns_.push_back({name, kInt});
      distinct_.push_back(values);
    }
  }
  const std::vector<TableColumn>& columns() const override { return columns_; }
  uint64_t rows() const override { return rows_; }
  ColumnStatistics Statistics(size_t column) const override {
    ColumnStatistics statistics;
    statistics.min = 1;
    statistics.max = static_cast<Int128>(distinct_[column]);
    statistics.distinct = distinct_[column];
    return statistics;
  }
  std::unique_ptr<Source> Scan(std::vector<size_t>, std::vector<ColumnId>, size_t, std::optional<Expression>,
                               std::vector<RuntimeFilterUse>, Memory&) override {
    return nullptr;
  }

 private:
  uint64_t rows_;
  std::vector<TableColumn> columns_;
  std::vector<double> distinct_;
};

class OptimizeTest : public testing::Test {
 protected:
  OptimizeTest() {
    catalog_["big"] = std::make_shared<FakeTable>(
        6000000, std::vector<std::pair<std::string, double>>{{"order", 1500000}, {"part", 200000}, {"quantity", 50}});
    catalog_["orders"] = std::make_shared<FakeTable>(
        1500000, std::vector<std::pair<std::string, double>>{{"key", 1500000}, {"customer", 100000}, {"day", 2400}});
    catalog_["customer"] = std::make_shared<FakeTable>(
        150000, std::vector<std::pair<std::string, double>>{{"id", 150000}, {"nation", 25}});
    catalog_["nation"] = std::make_shared<FakeTable>(25, std::vector<std::pair<std::string, double>>{{"nkey", 25}});
  }

  RelPtr Read(const std::string& table) {
    auto rel = std::make_shared<Rel>(Rel::Kind::kRead);
    rel->table = table;
    for (const TableColumn& column : catalog_[table]->columns()) {
      rel->field_names.push_back(column.name);
      rel->defines.push_back(plan_.NewColumn(column.name, column.type));
    }
    rel->output = rel->defines;
    return rel;
  }
  ColumnId Named(const RelPtr& rel, const std::string& name) {
    for (ColumnId id : rel->output) {
      if (plan_.columns[id].name == name) return id;
    }
    throw Error(ErrorKind::kPlan, "no column " + name);
  }
  Expression Column(const RelPtr& rel, const std::string& name) { return Expression::Column(Named(rel, name), kInt); }
  Expression Compare(Function function, const Expression& column, int64_t value) {
    return Expression::Call(function, {TypeId::kBool}, {column, Expression::Constant({false, value}, kInt)});
  }
  RelPtr Join(JoinKind kind, const RelPtr& left, const RelPtr& right, const std::string& a, const std::string& b) {
    auto rel = std::make_shared<Rel>(Rel::Kind::kJoin);
    rel->join = kind;
    rel->inputs = {left, right};
    rel->left_keys = {Column(left, a)};
    rel->right_keys = {Column(right, b)};
    rel->null_equals = {0};
    rel->output = left->output;
    if (kind == JoinKind::kInner || kind == JoinKind::kLeft) {
      rel->output.insert(rel->output.end(), right->output.begin(), right->output.end());
    }
    return rel;
  }
  RelPtr Filter(const RelPtr& input, const Expression& condition) {
    auto rel = std::make_shared<Rel>(Rel::Kind::kFilter);
    rel->inputs = {input};
    rel->output = input->output;
    rel->filter = condition;
    return rel;
  }
  RelPtr GroupBy(const RelPtr& input, const std::string& group) {
    auto rel = std::make_shared<Rel>(Rel::Kind::kAggregate);
    rel->inputs = {input};
    rel->expressions = {Column(input, group)};
    rel->defines = rel->output = {plan_.NewColumn("group " + group, kInt)};
    return rel;
  }

  // "(big * (orders * customer))": probed * built; semi joins etc. by sign.
  std::string Shape(const RelPtr& rel) {
    if (rel->kind == Rel::Kind::kRead) return rel->table;
    if (rel->kind != Rel::Kind::kJoin) return Shape(rel->inputs[0]);
    const char* sign = " ? ";
    switch (rel->join) {
      case JoinKind::kInner:
        sign = " * ";
        break;
      case JoinKind::kLeft:
        sign = " left ";
        break;
      case JoinKind::kRight:
        sign = " right ";
        break;
      case JoinKind::kLeftSemi:
        sign = " semi ";
        break;
      case JoinKind::kRightSemi:
        sign = " rsemi ";
        break;
      case JoinKind::kLeftSingle:
        sign = " single ";
        break;
      default:
        break;
    }
    return "(" + Shape(rel->inputs[0]) + sign + Shape(rel->inputs[1]) + ")";
  }

  std::string Optimized(const RelPtr& root) {
    plan_.root = root;
    Optimize(plan_, catalog_);
    return Shape(plan_.root);
  }

  Plan plan_;
  Catalog catalog_;
};

TEST_F(OptimizeTest, LargeRelationsProbeAndSmallOnesAreBuilt) {
  const RelPtr orders = Read("orders"), big = Read("big");
  EXPECT_EQ(Optimized(Join(JoinKind::kInner, orders, big, "key", "order")), "(big * orders)");
}

TEST_F(OptimizeTest, SelectiveRelationsAreJoinedBeforeTheyMeetTheLargeOne) {
  const RelPtr customer = Read("customer"), orders = Read("orders"), big = Read("big"), nation = Read("nation");
  const RelPtr one = Filter(nation, Compare(Function::kEqual, Column(nation, "nkey"), 7));
  RelPtr join = Join(JoinKind::kInner, big, orders, "order", "key");
  join = Join(JoinKind::kInner, join, customer, "customer", "id");
  join = Join(JoinKind::kInner, join, one, "nation", "nkey");
  EXPECT_EQ(Optimized(join), "(big * (orders * (customer * nation)))");
}

TEST_F(OptimizeTest, EqualitiesThatFollowAreUsed) {
  // big.order = a.key and big.order = b.key: a and b may be joined with each other.
  const RelPtr a = Read("orders"), b = Read("orders"), big = Read("big");
  const RelPtr few = Filter(a, Compare(Function::kEqual, Column(a, "day"), 3));
  const RelPtr fewer = Filter(b, Compare(Function::kLess, Column(b, "key"), 100));
  RelPtr join = Join(JoinKind::kInner, big, few, "order", "key");
  join = Join(JoinKind::kInner, join, fewer, "order", "key");
  EXPECT_EQ(Optimized(join), "(big * (orders * orders))");
}

TEST_F(OptimizeTest, AStrongSemiJoinGoesDownToItsRelation) {
  const RelPtr orders = Read("orders"), big = Read("big"), customer = Read("customer");
  const RelPtr groups = GroupBy(Filter(customer, Compare(Function::kLess, Column(customer, "id"), 100)), "id");
  const RelPtr join = Join(JoinKind::kInner, big, orders, "order", "key");
  auto semi = Join(JoinKind::kLeftSemi, join, groups, "customer", "group id");
  EXPECT_EQ(Optimized(semi), "(big * (orders semi customer))");
}

TEST_F(OptimizeTest, OuterAndSemiJoinsAreMirroredSoThatTheSmallSideIsBuilt) {
  {
    const RelPtr customer = Read("customer"), orders = Read("orders");
    EXPECT_EQ(Optimized(Join(JoinKind::kLeft, customer, orders, "id", "customer")), "(orders right customer)");
  }
  const RelPtr customer = Read("customer"), orders = Read("orders");
  EXPECT_EQ(Optimized(Join(JoinKind::kLeftSemi, customer, orders, "id", "customer")), "(orders rsemi customer)");
}

TEST_F(OptimizeTest, RenamingProjectionsGoAndTheirColumnsAreFollowed) {
  const RelPtr orders = Read("orders"), big = Read("big");
  auto project = std::make_shared<Rel>(Rel::Kind::kProject);
  project->inputs = {orders};
  project->defines = project->output = {plan_.NewColumn("renamed", kInt)};
  project->expressions = {Column(orders, "key")};
  const RelPtr join = Join(JoinKind::kInner, project, big, "renamed", "order");
  EXPECT_EQ(Optimized(join), "(big * orders)");
  const RelPtr& optimized = plan_.root->kind == Rel::Kind::kJoin ? plan_.root : plan_.root->inputs[0];
  EXPECT_EQ(optimized->right_keys[0].column, orders->defines[0]);
  EXPECT_EQ(plan_.root->output[0], orders->defines[0]);
}

TEST_F(OptimizeTest, AScalarSubqueryBecomesASingleJoinBelowTheFilter) {
  const RelPtr customer = Read("customer"), nation = Read("nation");
  auto total = std::make_shared<Rel>(Rel::Kind::kAggregate);
  total->inputs = {nation};
  total->aggregates.push_back({Aggregate::kMax, {Column(nation, "nkey")}, false, {}, plan_.NewColumn("max", kInt)});
  total->output = {total->aggregates[0].output};
  Expression subquery;
  subquery.kind = Expression::Kind::kScalarSubquery;
  subquery.type = kInt;
  subquery.subquery = total;
  const RelPtr filter = Filter(
      customer, Expression::Call(Function::kLess, {TypeId::kBool}, {Column(customer, "nation"), std::move(subquery)}));
  EXPECT_EQ(Optimized(filter), "(customer single nation)");
}

TEST_F(OptimizeTest, DistinctAggregatesGroupTwice) {
  const RelPtr orders = Read("orders");
  RelPtr rel = GroupBy(orders, "day");
  const auto call = [&](Aggregate function, const char* arg, bool distinct) {
    rel->aggregates.push_back({function, {Column(orders, arg)}, distinct, {}, plan_.NewColumn(arg, kInt)});
    rel->output.push_back(rel->aggregates.back().output);
  };
  call(Aggregate::kCount, "customer", true);
  call(Aggregate::kSum, "key", false);
  Optimized(rel);
  ASSERT_EQ(plan_.root->kind, Rel::Kind::kAggregate);
  EXPECT_EQ(plan_.root->expressions.size(), 1U);
  EXPECT_EQ(plan_.root->aggregates.size(), 2U);
  ASSERT_EQ(plan_.root->inputs[0]->kind, Rel::Kind::kAggregate);
  EXPECT_EQ(plan_.root->inputs[0]->expressions.size(), 2U);
  EXPECT_EQ(plan_.root->inputs[0]->inputs[0]->kind, Rel::Kind::kRead);
}

TEST_F(OptimizeTest, SeveralDistinctArgumentsAndGroupingSetsReplicateRows) {
  const RelPtr orders = Read("orders");
  RelPtr rel = GroupBy(orders, "day");
  for (const char* arg : {"customer", "key"}) {
    rel->aggregates.push_back({Aggregate::kCount, {Column(orders, arg)}, true, {}, plan_.NewColumn(arg, kInt)});
    rel->output.push_back(rel->aggregates.back().output);
  }
  rel->grouping_sets = {{0}, {}};
  Optimized(rel);
  const auto find = [](RelPtr at, Rel::Kind kind) {
    while (at->kind != kind && !at->inputs.empty()) at = at->inputs[0];
    return at;
  };
  const RelPtr parts = find(plan_.root, Rel::Kind::kExpand);
  ASSERT_EQ(parts->kind, Rel::Kind::kExpand);
  EXPECT_EQ(parts->projections.size(), 2U);  // one a distinct argument
  const RelPtr sets = find(parts->inputs[0], Rel::Kind::kExpand);
  ASSERT_EQ(sets->kind, Rel::Kind::kExpand);
  EXPECT_EQ(sets->projections.size(), 2U);  // one a grouping set
}

TEST_F(OptimizeTest, EstimatesFollowStatistics) {
  const RelPtr orders = Read("orders");
  const RelPtr half = Filter(orders, Compare(Function::kLess, Column(orders, "day"), 1200));
  const RelPtr one = Filter(Read("nation"), Compare(Function::kEqual, Column(orders, "day"), 1200));
  Estimates estimates(catalog_);
  EXPECT_NEAR(estimates.Rows(*half), 750000, 10000);
  const RelPtr big = Read("big");
  EXPECT_NEAR(estimates.Rows(*Join(JoinKind::kInner, big, orders, "order", "key")), 6e6, 1e5);
  EXPECT_NEAR(estimates.Rows(*GroupBy(big, "quantity")), 50, 1);
}

}  // namespace
}  // namespace neap::engine
