// query_test.cc: the order in which a chain's operators are called, boundaries, cancelling, errors.
#include "engine/run/query.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

// Gives `batches` batches of 10 rows in all, to whoever asks first.
class Numbers : public Source {
 public:
  explicit Numbers(int batches) : left_(batches) {}
  std::unique_ptr<Cursor> MakeCursor(Worker&) override {
    struct Ten : Cursor {
      explicit Ten(std::atomic<int>& count) : left(count) {}
      bool Next(Batch& batch) override {
        batch.SetAll(10);
        return left.fetch_sub(1) > 0;
      }
      std::atomic<int>& left;
    };
    return std::make_unique<Ten>(left_);
  }

 private:
  std::atomic<int> left_;
};

// Keeps how many rows it was given, and gives as many in Rest.
class Keeping : public Operator {
 public:
  explicit Keeping(std::unique_ptr<Chain> before = nullptr) : before_(std::move(before)) {}
  std::vector<Chain*> Before() override {
    return before_ == nullptr ? std::vector<Chain*>{} : std::vector<Chain*>{before_.get()};
  }
  std::unique_ptr<Stage> MakeStage(Worker&, Stage* next) override {
    struct Count : Stage {
      Count(Stage* to, Keeping& all) : Stage(to), op(all) {}
      void Push(Batch& batch) override {
        EXPECT_EQ(op.ended, 0);
        op.kept += batch.selected;
      }
      void End() override { ++op.ended; }
      bool Done() const override { return false; }
      Keeping& op;
    };
    return std::make_unique<Count>(next, *this);
  }
  size_t Settle() override { return 5; }
  void SettleTask(Worker&, size_t task) override { tasks += 1 << (task * 4); }
  Source* Rest() override {
    EXPECT_EQ(tasks, 0x11111);
    rest_ = std::make_unique<Numbers>(kept / 10);
    return rest_.get();
  }
  size_t Spillable() override { return spillable; }
  size_t SpillAtBoundary(size_t) override {
    EXPECT_FALSE(inside);
    spillable = 0;
    ++spills;
    return 100;
  }

  std::atomic<int> kept{0}, ended{0}, tasks{0};
  std::atomic<bool> inside{false};
  size_t spillable = 0;
  int spills = 0;

 private:
  std::unique_ptr<Chain> before_;
  std::unique_ptr<Numbers> rest_;
};

struct Last : Stage {
  Last() : Stage(nullptr) {}
  void Push(Batch& batch) override {
    rows += batch.selected;
    if (act) act();
  }
  bool Done() const override { return rows >= enough; }
  int rows = 0;
  int enough = INT32_MAX;
  std::function<void()> act;
};

struct Fixture {
  explicit Fixture(uint32_t threads, QueryOptions options = {}) : query(With(options, threads), &spill) {
    for (Last& last : lasts) results.push_back(&last);
    results.resize(threads);
  }
  static QueryOptions With(QueryOptions options, uint32_t threads) {
    options.threads = threads;
    return options;
  }
  int rows() const {
    int sum = 0;
    for (const Last& last : lasts) sum += last.rows;
    return sum;
  }

  SpillDirectory spill;
  Query query;
  Last lasts[4];
  std::vector<Stage*> results;
};

std::unique_ptr<Chain> ChainOf(int batches) {
  auto chain = std::make_unique<Chain>();
  chain->inputs.push_back({std::make_unique<Numbers>(batches), nullptr});
  return chain;
}

TEST(Query, WhatIsKeptComesOutAfterAllInputsAndAfterWhatMustRunBefore) {
  for (uint32_t threads : {1U, 3U}) {
    Fixture fixture(threads);
    auto before = ChainOf(7);
    before->operators.push_back(std::make_unique<Keeping>());
    auto* build = static_cast<Keeping*>(before->operators[0].get());
    // The build side keeps its rows and gives them to nobody: nothing comes after it.
    struct Mute : Keeping {
      Source* Rest() override { return nullptr; }
    };
    before->operators[0] = std::make_unique<Mute>();
    build = static_cast<Keeping*>(before->operators[0].get());
    auto chain = ChainOf(100);
    chain->inputs.push_back({nullptr, ChainOf(20)});
    chain->operators.push_back(std::make_unique<Keeping>(std::move(before)));
    chain->operators.push_back(std::make_unique<Keeping>());
    fixture.query.Run(*chain, fixture.results);
    EXPECT_EQ(build->kept, 70);
    EXPECT_EQ(fixture.rows(), 1200);
  }
}

TEST(Query, SourcesStopWhenNobodyWantsMore) {
  Fixture fixture(1);
  fixture.lasts[0].enough = 25;
  auto chain = ChainOf(1000);
  fixture.query.Run(*chain, fixture.results);
  EXPECT_EQ(fixture.rows(), 30);
}

TEST(Query, TheFirstErrorEndsAllThreads) {
  Fixture fixture(3);
  fixture.lasts[0].act = [] { throw Error(ErrorKind::kData, "overflow"); };
  fixture.lasts[1].act = fixture.lasts[2].act = [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  auto chain = ChainOf(1 << 30);
  try {
    fixture.query.Run(*chain, fixture.results);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "overflow");
  }
}

TEST(Query, CancelStopsItSoon) {
  Fixture fixture(2);
  fixture.lasts[0].act = fixture.lasts[1].act = [&] { fixture.query.Cancel(); };
  auto chain = ChainOf(1 << 30);
  try {
    fixture.query.Run(*chain, fixture.results);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  EXPECT_LE(fixture.rows(), 20);
}

TEST(Query, TheLargestOperatorGivesWayAtABoundaryWithNobodyInsideIt) {
  for (uint32_t threads : {1U, 2U, 4U}) {
    Fixture fixture(threads);
    Keeping small, large;
    small.spillable = 10;
    large.spillable = 20;
    fixture.query.Register(&small);
    fixture.query.Register(&large);
    std::atomic<int> pushes{0};
    for (Last& last : fixture.lasts) {
      last.act = [&] {
        large.inside = true;
        if (++pushes == 50) fixture.query.WantRoom(50);
        large.inside = false;
      };
    }
    auto chain = ChainOf(1000);
    fixture.query.Run(*chain, fixture.results);
    EXPECT_EQ(fixture.rows(), 10000);
    EXPECT_EQ(large.spills, 1);
    EXPECT_EQ(small.spills, 0);
    fixture.query.Unregister(&small);
    fixture.query.Unregister(&large);
  }
}

TEST(Query, GrowthIsRefusedPastTheBoundAndUnderForcedSpill) {
  QueryOptions options;
  options.memory = size_t{8} << 20;
  Fixture bounded(1, options);
  Memory memory(&bounded.query.memory(), "operator");
  EXPECT_TRUE(bounded.query.MayGrow(memory, size_t{4} << 20));
  EXPECT_FALSE(bounded.query.MayGrow(memory, size_t{9} << 20));
  options = {};
  options.force_spill = true;
  Fixture forced(1, options);
  Memory other(&forced.query.memory(), "operator");
  EXPECT_FALSE(forced.query.MayGrow(other, 1));
}

}  // namespace
}  // namespace neap::engine
