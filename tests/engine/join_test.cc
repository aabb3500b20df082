// join_test.cc: joins against a row by row reference: every kind, many keys, in memory and by disk.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/join_cases.h"

namespace neap::engine {
namespace {

const Type kInt{TypeId::kInt64};
const Type kText{TypeId::kString};

// What a side has besides its keys: the filter's column, and one to be seen.
std::vector<Type> WithPayload(std::vector<Type> keys) {
  keys.push_back(kInt);
  keys.push_back(kText);
  return keys;
}

Side MakeSide(std::mt19937_64& random, ColumnId first, const std::vector<Type>& types, uint32_t rows,
              const RandomShape& shape, uint32_t largest = kBatchRows) {
  std::vector<ColumnId> ids;
  for (uint32_t i = 0; i < types.size(); ++i) ids.push_back(first + i);
  return Side(random, ids, types, rows, shape, largest);
}

struct Keys {
  std::string name;
  std::vector<Type> types;
  std::vector<uint8_t> null_equals;
};

const Keys kKeys[] = {
    {"int64", {kInt}, {}},
    {"date", {{TypeId::kDate}}, {}},
    {"string", {kText}, {}},
    {"double", {{TypeId::kDouble}}, {}},
    {"decimal", {Type::Decimal(38, 4)}, {}},
    {"two", {{TypeId::kInt32}, kText}, {}},
    {"two ints", {{TypeId::kInt32}, kInt}, {}},
    {"two, one of them NULL equal", {{TypeId::kInt16}, kInt}, {1, 0}},
    {"NULL equal", {kInt}, {1}},
};

struct Sizes {
  uint32_t probe, build, distinct;
};

class Join : public testing::TestWithParam<size_t> {};

TEST_P(Join, GivesWhatTheReferenceGives) {
  const Keys& keys = kKeys[GetParam()];
  std::mt19937_64 random(7 + GetParam());
  // Many matches each, few, none on one side, one row.
  const Sizes sizes[] = {{2000, 700, 300}, {5000, 9000, 6000}, {300, 0, 10}, {0, 300, 10}, {500, 1, 3}, {1, 500, 3}};
  for (const Sizes& size : sizes) {
    RandomShape shape;
    shape.distinct = size.distinct;
    shape.nulls = 0.05;
    const Side probe = MakeSide(random, 0, WithPayload(keys.types), size.probe, shape);
    const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload(keys.types), size.build, shape);
    for (const JoinKind kind : kAllKinds) {
      for (const bool filter : {false, true}) {
        JoinCase of{.kind = kind, .null_equals = keys.null_equals, .keys = keys.types.size(), .filter = filter};
        of.computed_keys = random() % 3 == 0;
        SCOPED_TRACE(keys.name + ", kind " + std::to_string(static_cast<int>(kind)) + (filter ? ", filter" : "") +
                     (of.computed_keys ? ", computed" : "") + ", rows " + std::to_string(size.probe) + " and " +
                     std::to_string(size.build));
        QueryOptions options;
        options.threads = random() % 2 == 0 ? 1 : 3;
        CheckJoin(of, probe, build, options);
        options.force_spill = true;
        options.batch_rows = 100;
        const OperatorFigures figures = CheckJoin(of, probe, build, options);
        if (size.build >= 700 && kind == JoinKind::kInner) {
          EXPECT_GT(figures.spilled, 0U);
          EXPECT_GT(figures.spilled_rows, 0U);
        }
        if (HasFailure()) return;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Keys, Join, testing::Range(size_t{0}, std::size(kKeys)));

TEST(JoinNulls, NotInAndInAreThreeValued) {
  std::mt19937_64 random(3);
  const std::vector<std::vector<Type>> key_types = {{}, {kInt}, {kInt, {TypeId::kInt32}}};
  for (const auto& types : key_types) {
    for (const JoinKind kind : {JoinKind::kLeftAnti, JoinKind::kLeftMark}) {
      for (const bool filter : {false, true}) {
        for (const double nulls : {0.0, 0.01, 0.3}) {
          for (const uint32_t build_rows : {0U, 1U, 3U, 200U}) {
            RandomShape shape;
            shape.distinct = 100;
            shape.nulls = nulls;
            const Side probe = MakeSide(random, 0, WithPayload(types), 150, shape);
            const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload(types), build_rows, shape);
            const JoinCase of{.kind = kind, .keys = types.size(), .filter = filter, .null_aware = true};
            SCOPED_TRACE(std::to_string(types.size()) + " keys, kind " + std::to_string(static_cast<int>(kind)) +
                         (filter ? ", filter" : "") + ", build rows " + std::to_string(build_rows));
            QueryOptions options;
            options.threads = 2;
            CheckJoin(of, probe, build, options);
            options.force_spill = true;
            CheckJoin(of, probe, build, options);
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST(NestedLoop, GivesWhatTheReferenceGives) {
  std::mt19937_64 random(11);
  const Sizes sizes[] = {{300, 40, 30}, {30, 700, 30}, {5, 9000, 5000}, {400, 1, 30}, {300, 0, 10}, {0, 30, 10}};
  for (const Sizes& size : sizes) {
    RandomShape shape;
    shape.distinct = size.distinct;
    const Side probe = MakeSide(random, 0, WithPayload({}), size.probe, shape);
    const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload({}), size.build, shape);
    for (const JoinKind kind : kAllKinds) {
      for (const bool filter : {false, true}) {
        const JoinCase of{.kind = kind, .keys = 0, .filter = filter};
        SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + (filter ? ", filter" : "") + ", rows " +
                     std::to_string(size.probe) + " and " + std::to_string(size.build));
        QueryOptions options;
        options.threads = random() % 2 == 0 ? 1 : 3;
        CheckJoin(of, probe, build, options);
        options.force_spill = true;
        CheckJoin(of, probe, build, options);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(JoinSpill, PartitionsGoToDiskWhileProbeRowsCome) {
  std::mt19937_64 random(5);
  // An integer of a dense range, one that is not, and no key at all.
  const std::pair<std::vector<Type>, uint32_t> cases[] = {{{kInt}, 600}, {{kText}, 500}, {{}, 50}};
  for (const auto& [types, distinct] : cases) {
    RandomShape shape;
    shape.distinct = distinct;
    shape.nulls = 0.05;
    const uint32_t rows = types.empty() ? 200 : 3000;
    const Side probe = MakeSide(random, 0, WithPayload(types), rows, shape, 100);
    const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload(types), rows / 2, shape);
    for (const JoinKind kind : kAllKinds) {
      for (const bool filter : {false, true}) {
        SCOPED_TRACE(std::to_string(types.size()) + " keys, kind " + std::to_string(static_cast<int>(kind)) +
                     (filter ? ", filter" : ""));
        const JoinCase of{.kind = kind, .keys = types.size(), .filter = filter};
        QueryOptions options;
        options.threads = 1;
        const OperatorFigures figures = CheckJoin(of, probe, build, options, {1, 2, 5, 7, 9});
        if (kind == JoinKind::kInner) {
          EXPECT_GE(figures.spills, types.empty() ? 1U : 4U);
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// What the scans of the probe side are told: no build key is ruled out, and most others are, also where the build side
// did not fit.
TEST(JoinFilters, RuleOutWhatHasNoMatch) {
  std::mt19937_64 random(17);
  struct Memory {
    std::string name;
    size_t bound;
    bool force_spill;
  };
  const std::vector<Type> both = {{TypeId::kDate}, kText};
  for (const Memory& memory : {Memory{"ample", 0, false}, {"bound", size_t{4} << 20, false}, {"forced", 0, true}}) {
    for (const bool two_keys : {false, true}) {
      SCOPED_TRACE(memory.name + (two_keys ? ", two keys" : ", one key"));
      RandomShape shape;
      shape.distinct = 20000;
      shape.longest = 100;
      const std::vector<Type> types = two_keys ? both : std::vector<Type>{kInt};
      const Side probe = MakeSide(random, 0, WithPayload(types), 100, shape);
      const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload(types), 80000, shape);
      const JoinCase of{.keys = types.size()};
      std::vector<std::shared_ptr<RuntimeFilter>> filters;
      for (size_t k = 0; k < types.size(); ++k) filters.push_back(std::make_shared<RuntimeFilter>());
      QueryOptions options;
      options.threads = 2;
      options.memory = memory.bound;
      options.force_spill = memory.force_spill;
      bool asked = false;
      const JoinOutcome outcome = RunJoin(of, probe, build, options, {}, filters, [&] {
        asked = true;
        for (size_t k = 0; k < types.size(); ++k) {
          const RuntimeFilter& filter = *filters[k];
          ASSERT_TRUE(filter.ready());
          EXPECT_FALSE(filter.empty());
          ASSERT_TRUE(filter.has_bloom());
          EXPECT_EQ(filter.has_bounds(), !types[k].is_view());
          std::set<int64_t> values;
          for (const auto& batch : build.batches) {
            const auto column = static_cast<uint32_t>(k);
            Column& key = batch->batch.columns[column];
            uint64_t hashes[kBatchRows];
            HashRows(batch->batch, &column, 1, hashes);
            batch->batch.ForEach([&](uint32_t row) {
              // Rows that match nothing do not count.
              for (size_t other = 0; other < types.size(); ++other) {
                if (!batch->batch.columns[other].is_valid(row)) return;
              }
              EXPECT_TRUE(filter.MayContain(hashes[row]));
              if (types[k].id == TypeId::kInt64) values.insert(key.values<int64_t>()[key.position(row)]);
              if (types[k].id == TypeId::kDate) values.insert(key.values<int32_t>()[key.position(row)]);
            });
          }
          if (!types[k].is_view()) {
            EXPECT_TRUE(filter.min() == *values.begin());
            EXPECT_TRUE(filter.max() == *values.rbegin());
          }
          int let_through = 0;
          for (int64_t i = 0; i < 10000; ++i) let_through += filter.MayContain(HashValue(1000000 + i)) ? 1 : 0;
          EXPECT_LT(let_through, 1000);
        }
      });
      EXPECT_TRUE(asked);
      EXPECT_EQ(outcome.figures.spilled != 0, memory.bound != 0 || memory.force_spill);
    }
  }
  // Nothing matches nothing.
  RandomShape shape;
  const Side probe = MakeSide(random, 0, WithPayload({kInt}), 100, shape);
  const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload({kInt}), 0, shape);
  const auto filter = std::make_shared<RuntimeFilter>();
  QueryOptions options;
  options.threads = 1;
  RunJoin({}, probe, build, options, {}, {filter});
  EXPECT_TRUE(filter->ready());
  EXPECT_TRUE(filter->empty());
}

// Rows that take about ten times the bound.
TEST(JoinSpill, ABoundIsKept) {
  std::mt19937_64 random(9);
  for (const JoinKind kind : {JoinKind::kInner, JoinKind::kFull, JoinKind::kRightSemi}) {
    for (const uint32_t threads : {1U, 3U}) {
      SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + ", threads " + std::to_string(threads));
      RandomShape shape;
      shape.distinct = 200000;
      shape.longest = 200;
      shape.nulls = 0.01;
      const Side probe = MakeSide(random, 0, WithPayload({kInt}), 100000, shape);
      const Side build = MakeSide(random, JoinCase::kBuildId, WithPayload({kInt}), 200000, shape);
      const JoinCase of{.kind = kind};
      QueryOptions options;
      options.threads = threads;
      options.memory = size_t{12} << 20;
      const OperatorFigures figures = CheckJoin(of, probe, build, options);
      EXPECT_GT(figures.spilled_rows, 100000U);
      EXPECT_GT(figures.freed, 0U);
      EXPECT_LT(figures.peak, options.memory * 3 / 2);
      if (testing::Test::HasFailure()) return;
    }
  }
}

// One key has nine tenths of the build side, and does not fit: it is joined block by block.
TEST(JoinSpill, OneKeyThatDoesNotFit) {
  std::mt19937_64 random(13);
  RandomShape one{.nulls = 0, .dictionaries = 0, .selection = false, .distinct = 1, .longest = 200};
  RandomShape many = one;
  many.distinct = 10000;
  std::vector<Type> types = WithPayload({kInt});
  Side build = MakeSide(random, JoinCase::kBuildId, types, 3000, many);
  {
    // The key is the same, the rest is not.
    Side heavy = MakeSide(random, JoinCase::kBuildId, types, 30000, many);
    for (auto& batch : heavy.batches) {
      Column& key = batch->batch.columns[0];
      static const int64_t kSame = 77;
      key.data = &kSame;
      key.indices = kZeroIndices;
      key.positions = 1;
      build.batches.push_back(std::move(batch));
    }
  }
  Side probe = MakeSide(random, 0, types, 3000, many);
  {
    Side heavy = MakeSide(random, 0, types, 2, one);
    for (auto& batch : heavy.batches) {
      static const int64_t kSame = 77;
      batch->batch.columns[0].data = &kSame;
      batch->batch.columns[0].indices = kZeroIndices;
      batch->batch.columns[0].positions = 1;
      probe.batches.push_back(std::move(batch));
    }
  }
  for (const JoinKind kind : kAllKinds) {
    for (const bool filter : {false, true}) {
      SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + (filter ? ", filter" : ""));
      const JoinCase of{.kind = kind, .filter = filter};
      QueryOptions options;
      options.threads = 2;
      options.memory = size_t{3} << 20;
      CheckJoin(of, probe, build, options);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace neap::engine
