// join_cases.h: joins of random rows and what they must give, worked out row by row: for the tests of joins.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "alloc/neap.h"
#include "engine/core/error.h"
#include "engine/core/hash.h"
#include "engine/operators/hash_join.h"
#include "engine/operators/nested_loop_join.h"
#include "engine/run/query.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {

using Row = std::vector<Cell>;

// Rows in random batches of many sizes, up to `largest`.
struct Side {
  Side(std::mt19937_64& random, std::vector<ColumnId> ids, std::vector<Type> types, uint32_t rows,
       const RandomShape& shape, uint32_t largest = kBatchRows)
      : slots{std::move(ids), std::move(types)} {
    while (rows != 0) {
      const uint32_t sizes[] = {1, 7, 300, kBatchRows};
      const uint32_t count = std::min({rows, sizes[random() % 4], largest});
      RandomShape of_batch = shape;
      of_batch.selection = random() % 2 == 0;
      batches.push_back(std::make_unique<RandomBatch>(random, slots.types, count, of_batch));
      // A dictionary with a name is the same wherever it comes.
      static uint64_t last_dictionary = 0;
      for (Column& column : batches.back()->batch.columns) {
        if (column.dictionary_id != 0) column.dictionary_id = ++last_dictionary;
      }
      rows -= count;
    }
  }
  std::vector<Row> rows() const {
    std::vector<Row> all;
    for (const auto& batch : batches) {
      batch->batch.ForEach([&](uint32_t row) { all.push_back(RowAt(batch->batch, row)); });
    }
    return all;
  }

  Slots slots;
  std::vector<std::unique_ptr<RandomBatch>> batches;
};

// Gives the batches of a side to whoever asks; calls `between` before each.
class SideSource : public Source {
 public:
  explicit SideSource(const Side& side, std::function<void(size_t)> between = nullptr)
      : side_(side), between_(std::move(between)) {}
  std::unique_ptr<Cursor> MakeCursor(Worker&) override {
    struct Each : Cursor {
      explicit Each(SideSource& from) : source(from) {}
      bool Next(Batch& batch) override {
        const size_t i = source.next_.fetch_add(1);
        if (i >= source.side_.batches.size()) return false;
        if (source.between_) source.between_(i);
        const Batch& given = source.side_.batches[i]->batch;
        batch.columns = given.columns;
        batch.rows = given.rows;
        batch.selection = given.selection;
        batch.selected = given.selected;
        return true;
      }
      SideSource& source;
    };
    return std::make_unique<Each>(*this);
  }

 private:
  const Side& side_;
  std::function<void(size_t)> between_;
  std::atomic<size_t> next_{0};
};

// Keeps all rows as text.
struct Collect : Stage {
  Collect() : Stage(nullptr) {}
  void Push(Batch& batch) override {
    // What the test keeps is not the query's.
    neap_scope_push(neap_arena_root());
    EXPECT_NE(batch.selected, 0U);
    EXPECT_LE(batch.rows, kBatchRows);
    EXPECT_TRUE(batch.selection != nullptr || batch.selected == batch.rows);
    batch.ForEach([&](uint32_t row) { rows.push_back(RowAt(batch, row)); });
    neap_scope_pop();
  }
  std::vector<Row> rows;
};

// Whether two values are the same key, as KeysEqual has it.
inline Cell KeyOf(const Type& type, const Cell& cell) {
  if (!cell.has_value()) return cell;
  const auto plain = [&](auto zero) -> Cell {
    using T = decltype(zero);
    T value;
    std::memcpy(&value, cell->data(), sizeof value);
    if (value == 0) return "0";
    if (value != value) return "nan";
    return cell;
  };
  if (type.physical() == Physical::kDouble) return plain(double{});
  if (type.physical() == Physical::kFloat) return plain(float{});
  return cell;
}

// A join of the first `keys` columns of both sides, and the filter p < b on the column after them (int64) of each.
struct JoinCase {
  JoinKind kind = JoinKind::kInner;
  std::vector<uint8_t> null_equals = {};
  size_t keys = 1;
  bool filter = false;
  bool null_aware = false;
  bool computed_keys = false;  // keys are expressions, of the same value as the column

  // Probe columns have ids 0, 1, ..., build columns kBuildId, ...
  static constexpr ColumnId kBuildId = 100, kMark = 200;

  bool gives_probe() const { return kind != JoinKind::kRightSemi && kind != JoinKind::kRightAnti; }
  bool gives_build() const {
    return kind != JoinKind::kLeftSemi && kind != JoinKind::kLeftAnti && kind != JoinKind::kLeftMark;
  }

  HashJoinSpec Spec(const Side& probe, const Side& build) const {
    HashJoinSpec spec;
    spec.kind = kind;
    spec.probe = probe.slots;
    spec.build = build.slots;
    for (uint32_t k = 0; k < keys; ++k) {
      const Type type = probe.slots.types[k];
      const auto key = [&](ColumnId id) {
        const Expression column = Expression::Column(id, type);
        if (!computed_keys) return column;
        Expression same;
        same.kind = Expression::Kind::kCase;
        same.type = type;
        same.args = {Expression::Call(Function::kIsNull, {TypeId::kBool}, {column}), column, column};
        return same;
      };
      spec.probe_keys.push_back(key(k));
      spec.build_keys.push_back(key(kBuildId + k));
    }
    spec.null_equals = null_equals;
    const auto k = static_cast<uint32_t>(keys);
    if (filter) {
      spec.filter = Expression::Call(
          Function::kLess, {TypeId::kBool},
          {Expression::Column(k, {TypeId::kInt64}), Expression::Column(kBuildId + k, {TypeId::kInt64})});
    }
    spec.null_aware = null_aware;
    spec.mark = kMark;
    if (gives_probe()) spec.output = probe.slots.ids;
    // In another order than they lie.
    std::reverse(spec.output.begin(), spec.output.end());
    if (gives_build()) spec.output.insert(spec.output.end(), build.slots.ids.begin(), build.slots.ids.end());
    if (kind == JoinKind::kLeftMark) spec.output.push_back(kMark);
    return spec;
  }

  // TRUE, FALSE, or NULL (-1): whether the rows match.
  int Matches(const Side& probe, const Row& p, const Row& b) const {
    int result = 1;
    for (size_t k = 0; k < keys; ++k) {
      const bool open = (!p[k].has_value() || !b[k].has_value()) && (null_equals.empty() || null_equals[k] == 0);
      if (open) {
        result = -1;
      } else if (KeyOf(probe.slots.types[k], p[k]) != KeyOf(probe.slots.types[k], b[k])) {
        return 0;
      }
    }
    if (filter) {
      if (!p[keys].has_value() || !b[keys].has_value()) {
        result = -1;
      } else {
        int64_t x, y;
        std::memcpy(&x, p[keys]->data(), 8);
        std::memcpy(&y, b[keys]->data(), 8);
        if (!(x < y)) return 0;
      }
    }
    return result;
  }

  std::vector<Row> Expected(const Side& probe, const Side& build) const {
    const std::vector<Row> probe_rows = probe.rows(), build_rows = build.rows();
    // Candidates by key, so that the test ends; all rows where a NULL may be of interest.
    std::map<Row, std::vector<size_t>> by_key;
    const auto key_of = [&](const Row& row) {
      Row key;
      for (size_t k = 0; k < keys; ++k) key.push_back(KeyOf(probe.slots.types[k], row[k]));
      return key;
    };
    std::vector<size_t> all;
    for (size_t b = 0; b < build_rows.size(); ++b) {
      by_key[key_of(build_rows[b])].push_back(b);
      all.push_back(b);
    }
    std::vector<Row> result;
    const auto emit = [&](const Row* p, const Row* b) {
      Row row;
      if (gives_probe()) {
        row = p != nullptr ? *p : Row(probe.slots.ids.size());
        std::reverse(row.begin(), row.end());
      }
      if (gives_build()) {
        const Row from = b != nullptr ? *b : Row(build.slots.ids.size());
        row.insert(row.end(), from.begin(), from.end());
      }
      result.push_back(std::move(row));
    };
    std::vector<bool> build_matched(build_rows.size());
    for (const Row& p : probe_rows) {
      size_t matches = 0;
      bool open = false;
      const std::vector<size_t>& candidates = null_aware ? all : by_key[key_of(p)];
      for (const size_t b : candidates) {
        const int match = Matches(probe, p, build_rows[b]);
        open |= match < 0;
        if (match != 1) continue;
        ++matches;
        build_matched[b] = true;
        if (kind == JoinKind::kInner || kind == JoinKind::kLeft || kind == JoinKind::kRight ||
            kind == JoinKind::kFull || kind == JoinKind::kLeftSingle) {
          emit(&p, &build_rows[b]);
        }
      }
      if (kind == JoinKind::kLeftSingle && matches > 1) throw Error(ErrorKind::kData, "more than one");
      if (matches == 0 && (kind == JoinKind::kLeft || kind == JoinKind::kFull || kind == JoinKind::kLeftSingle)) {
        emit(&p, nullptr);
      }
      if (kind == JoinKind::kLeftSemi && matches != 0) emit(&p, nullptr);
      if (kind == JoinKind::kLeftAnti && matches == 0 && !(null_aware && open)) emit(&p, nullptr);
      if (kind == JoinKind::kLeftMark) {
        emit(&p, nullptr);
        const bool null = null_aware && matches == 0 && open;
        result.back().push_back(null ? Cell() : Cell(std::string(1, static_cast<char>(matches != 0))));
      }
    }
    for (size_t b = 0; b < build_rows.size(); ++b) {
      const bool wanted = kind == JoinKind::kRight || kind == JoinKind::kFull || kind == JoinKind::kRightAnti
                              ? !build_matched[b]
                              : kind == JoinKind::kRightSemi && build_matched[b];
      if (wanted) emit(nullptr, &build_rows[b]);
    }
    std::sort(result.begin(), result.end());
    return result;
  }
};

struct JoinOutcome {
  std::vector<Row> rows;
  OperatorFigures figures;
};

// Runs the join. spill_at: batches of the probe side before which one partition of the build side goes to disk (one
// thread only, so that none is inside of a Push). filters: of the keys; asked by `before`, before the first batch.
inline JoinOutcome RunJoin(const JoinCase& of, const Side& probe, const Side& build, const QueryOptions& options,
                           std::vector<size_t> spill_at = {},
                           const std::vector<std::shared_ptr<RuntimeFilter>>& filters = {},
                           const std::function<void()>& before = nullptr) {
  SpillDirectory spill;
  Query query(options, &spill);
  JoinOutcome outcome;
  {
    auto build_chain = std::make_unique<Chain>();
    build_chain->inputs.push_back({std::make_unique<SideSource>(build), nullptr});
    HashJoinSpec spec = of.Spec(probe, build);
    spec.filters = filters;
    std::unique_ptr<Operator> op;
    if (of.keys != 0) {
      op = MakeHashJoin(query, spec, std::move(build_chain));
    } else {
      op = MakeNestedLoopJoin(query,
                              {spec.kind, spec.probe, spec.build, spec.filter, spec.output, spec.mark, spec.null_aware},
                              std::move(build_chain));
    }
    Operator* join = op.get();
    Chain chain;
    const auto between = [&](size_t batch) {
      if (batch == 0 && before) before();
      if (std::count(spill_at.begin(), spill_at.end(), batch) != 0) join->SpillAtBoundary(1);
    };
    chain.inputs.push_back({std::make_unique<SideSource>(probe, between), nullptr});
    chain.operators.push_back(std::move(op));
    std::vector<Collect> collects(options.threads);
    std::vector<Stage*> results;
    for (Collect& collect : collects) results.push_back(&collect);
    query.Run(chain, results);
    for (Collect& collect : collects) {
      outcome.rows.insert(outcome.rows.end(), collect.rows.begin(), collect.rows.end());
    }
    outcome.figures = join->figures();
    neap_purge();
    // The query's own arena has what libraries set up on its threads; the join's is below it.
    EXPECT_EQ(query.memory().Charged(), query.memory().Resident()) << "memory is left after Close";
    EXPECT_EQ(spill.bytes(), 0U) << "files are left after Close";
  }
  std::sort(outcome.rows.begin(), outcome.rows.end());
  return outcome;
}

// Runs the join and compares. Prints little where they differ, as rows are many.
inline OperatorFigures CheckJoin(const JoinCase& of, const Side& probe, const Side& build, const QueryOptions& options,
                                 const std::vector<size_t>& spill_at = {}) {
  std::vector<Row> expected;
  bool throws = false;
  try {
    expected = of.Expected(probe, build);
  } catch (const Error&) {
    throws = true;
  }
  try {
    JoinOutcome outcome = RunJoin(of, probe, build, options, spill_at);
    EXPECT_FALSE(throws) << "a second match was not noticed";
    if (!throws) {
      EXPECT_EQ(outcome.rows.size(), expected.size());
      EXPECT_TRUE(outcome.rows == expected);
    }
    return outcome.figures;
  } catch (const Error& error) {
    EXPECT_TRUE(throws) << error.what();
    EXPECT_NE(std::string(error.what()).find("more than one row"), std::string::npos) << error.what();
    return {};
  }
}

constexpr JoinKind kAllKinds[] = {JoinKind::kInner,     JoinKind::kLeft,     JoinKind::kRight,    JoinKind::kFull,
                                  JoinKind::kLeftSemi,  JoinKind::kLeftAnti, JoinKind::kLeftMark, JoinKind::kLeftSingle,
                                  JoinKind::kRightSemi, JoinKind::kRightAnti};

}  // namespace neap::engine
