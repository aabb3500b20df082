// expr_dictionary_test.cc: expressions computed once for every entry of a dictionary; columns made flat; what an
// evaluator holds.
#include <numeric>

#include "tests/engine/expressions.h"

namespace neap::engine {
namespace {

using namespace expressions;

constexpr ColumnId kId = 7;

// A dictionary of texts "entry 0, ...", with every tenth NULL, and rows that read it.
struct Dictionary {
  explicit Dictionary(uint32_t entries) : values(kText) {
    for (uint32_t i = 0; i < entries; ++i) {
      values.Add(i % 10 == 9 ? Literal{} : Literal{false, "entry " + std::to_string(i) + " of the dictionary"});
    }
  }
  // Rows first, first+step, ...
  Batch Rows(uint32_t first, uint32_t step, uint32_t count, uint64_t id) {
    indices.clear();
    for (uint32_t i = 0; i < count; ++i) indices.push_back((first + i * step) % static_cast<uint32_t>(values.size()));
    Batch batch;
    batch.columns.push_back(values.Indexed(indices, id));
    batch.SetAll(count);
    return batch;
  }
  std::string Text(uint32_t row) const {
    return indices[row] % 10 == 9 ? "NULL" : "entry " + std::to_string(indices[row]) + " of the dictionary";
  }

  Values values;
  std::vector<uint32_t> indices;
};

const Slots kSlots{{kId}, {kText}};
Expression Read() { return Expression::Column(kId, kText); }

TEST(DictionaryExpressions, ResultsAreDictionariesAgain) {
  Memory memory(nullptr, "test");
  {
    Dictionary dictionary(100);
    Evaluator evaluator(Call(Function::kUpper, kText, {Read()}), kSlots, memory);
    const Batch batch = dictionary.Rows(0, 7, 200, 5);
    const Column first = evaluator.Evaluate(batch);
    ASSERT_EQ(first.positions, 100U);
    ASSERT_EQ(first.indices, batch.columns[0].indices);
    ASSERT_NE(first.dictionary_id, 0U);
    ASSERT_NE(first.dictionary_id, 5U);
    const uint64_t first_id = first.dictionary_id;
    EXPECT_EQ(evaluator.Evaluate(dictionary.Rows(3, 11, 50, 5)).dictionary_id, first_id);
    EXPECT_NE(evaluator.Evaluate(dictionary.Rows(3, 11, 150, 6)).dictionary_id, first_id);
    const Column last = evaluator.Evaluate(dictionary.Rows(3, 11, 150, 6));
    for (uint32_t row = 0; row < 150; ++row) {
      std::string text = dictionary.Text(row);
      for (char& c : text) c = static_cast<char>(std::toupper(c));
      ASSERT_EQ(ValueText(LiteralOf(last, row), kText), text);
    }
  }
  EXPECT_EQ(memory.Stats().live, 0U);
}

TEST(DictionaryExpressions, ADictionaryIsNotComputedForFewRows) {
  Memory memory(nullptr, "test");
  Dictionary dictionary(1000);
  Evaluator evaluator(Call(Function::kUpper, kText, {Read()}), kSlots, memory);
  EXPECT_EQ(evaluator.Evaluate(dictionary.Rows(0, 1, 100, 5)).dictionary_id, 0U);
  EXPECT_EQ(evaluator.Evaluate(dictionary.Rows(0, 1, 800, 5)).dictionary_id, 0U);
  EXPECT_NE(evaluator.Evaluate(dictionary.Rows(0, 1, 100, 5)).dictionary_id, 0U);  // the thousandth row
  EXPECT_EQ(evaluator.Evaluate(dictionary.Rows(0, 1, 100, 6)).dictionary_id, 0U);  // another one
}

TEST(DictionaryExpressions, ManyEntriesAndLongStrings) {
  Memory memory(nullptr, "test");
  Dictionary dictionary(3 * kBatchRows + 17);
  Evaluator evaluator(Call(Function::kConcat, kText, {Text("before "), Read(), Text(" and after")}), kSlots, memory);
  Evaluator filter(Call(Function::kLike, kBoolean, {Read(), Text("%77%")}), kSlots, memory);
  uint32_t dictionaries = 0;
  for (uint32_t again = 0; again < 8; ++again) {
    const Batch batch = dictionary.Rows(again * 31, 13, kBatchRows, 5);
    const Column column = evaluator.Evaluate(batch);
    dictionaries += column.dictionary_id != 0;
    RowIndex kept[kBatchRows];
    const uint32_t count = filter.Select(batch, kept);
    uint32_t next = 0;
    for (uint32_t row = 0; row < kBatchRows; ++row) {
      const std::string text = dictionary.Text(row);
      ASSERT_EQ(ValueText(LiteralOf(column, row), kText), text == "NULL" ? text : "before " + text + " and after");
      if (text.find("77") == std::string::npos) continue;
      ASSERT_LT(next, count);
      ASSERT_EQ(kept[next++], row);
    }
    ASSERT_EQ(next, count);
  }
  EXPECT_EQ(dictionaries, 5U);  // from the fourth batch on
}

TEST(DictionaryExpressions, AnEntryThatFailsShowsOnlyWhereARowHasIt) {
  Memory memory(nullptr, "test");
  Values values(kText);
  for (const char* text : {"1", "2", "no number", "4"}) values.Add({false, std::string(text)});
  Evaluator evaluator(Expression::Cast(Read(), kBigint), kSlots, memory);
  std::vector<uint32_t> indices(20, 0);
  for (uint32_t row = 0; row < 20; ++row) indices[row] = row % 2 == 0 ? 3 : 1;
  Batch batch;
  batch.columns.push_back(values.Indexed(indices, 5));
  batch.SetAll(20);
  for (int again = 0; again < 3; ++again) {
    const Column column = evaluator.Evaluate(batch);
    for (uint32_t row = 0; row < 20; ++row) {
      ASSERT_EQ(ValueText(LiteralOf(column, row), kBigint), row % 2 == 0 ? "4" : "2");
    }
  }
  indices[19] = 2;
  EXPECT_THROW(evaluator.Evaluate(batch), Error);
}

TEST(DictionaryExpressions, WholeConditionsOfOneColumn) {
  Memory memory(nullptr, "test");
  Dictionary dictionary(50);
  const Expression condition = Call(Function::kOr, kBoolean,
                                    {Call(Function::kIsNull, kBoolean, {Read()}),
                                     Call(Function::kAnd, kBoolean,
                                          {Call(Function::kLike, kBoolean, {Read(), Text("entry 1%")}),
                                           Call(Function::kNotLike, kBoolean, {Read(), Text("% 12 %")})})});
  Evaluator evaluator(condition, kSlots, memory);
  const Batch batch = dictionary.Rows(0, 1, 200, 5);
  RowIndex kept[kBatchRows];
  const uint32_t count = evaluator.Select(batch, kept);
  uint32_t expected = 0;
  for (uint32_t row = 0; row < 200; ++row) {
    const uint32_t entry = row % 50;
    expected += entry % 10 == 9 || ((entry == 1 || entry / 10 == 1) && entry != 12);
  }
  EXPECT_EQ(count, expected);
  EXPECT_NE(evaluator.Evaluate(batch).dictionary_id, 0U);
}

TEST(Selections, MayBeNarrowedInPlace) {
  Memory memory(nullptr, "test");
  Values numbers(kBigint);
  for (int64_t i = 0; i < kBatchRows; ++i) numbers.Add({false, i});
  Batch batch;
  batch.columns.push_back(numbers.Flat());
  batch.SetAll(kBatchRows);
  const Slots slots{{kId}, {kBigint}};
  const Expression number = Expression::Column(kId, kBigint);
  const auto remainder = [&](int64_t by, int64_t is) {
    return Call(Function::kEqual, kBoolean, {Call(Function::kModulus, kBigint, {number, Int(by)}), Int(is)});
  };
  Evaluator first(remainder(2, 0), slots, memory);
  Evaluator second(Call(Function::kOr, kBoolean, {remainder(3, 0), remainder(5, 0)}), slots, memory);
  RowIndex kept[kBatchRows];
  batch.selected = first.Select(batch, kept);
  batch.selection = kept;
  batch.selected = second.Select(batch, kept);
  std::vector<RowIndex> expected;
  for (uint32_t i = 0; i < kBatchRows; ++i) {
    if (i % 2 == 0 && (i % 3 == 0 || i % 5 == 0)) expected.push_back(static_cast<RowIndex>(i));
  }
  EXPECT_EQ(std::vector<RowIndex>(kept, kept + batch.selected), expected);
}

TEST(Selections, WhatMayFailComesAfterWhatKeepsItFromFailing) {
  Memory memory(nullptr, "test");
  Values numbers(kBigint);
  for (int64_t i = 0; i < 1000; ++i) numbers.Add({false, i % 10});
  Batch batch;
  batch.columns.push_back(numbers.Flat());
  batch.SetAll(1000);
  const Expression number = Expression::Column(kId, kBigint);
  const Expression fifth =
      Call(Function::kEqual, kBoolean, {Call(Function::kDivide, kBigint, {Int(10), number}), Int(2)});
  const Expression nonzero = Call(Function::kNotEqual, kBoolean, {number, Int(0)});
  Evaluator evaluator(Call(Function::kAnd, kBoolean, {fifth, nonzero}), {{kId}, {kBigint}}, memory);
  RowIndex kept[kBatchRows];
  for (int again = 0; again < 40; ++again) EXPECT_EQ(evaluator.Select(batch, kept), 200U);  // 4 and 5
}

TEST(Selections, OfNothing) {
  Memory memory(nullptr, "test");
  Batch batch;
  batch.columns.push_back({kBigint, nullptr, nullptr, nullptr, 0, 0});
  batch.SetAll(0);
  const Expression number = Expression::Column(kId, kBigint);
  Evaluator evaluator(Call(Function::kLess, kBoolean, {number, Int(3)}), {{kId}, {kBigint}}, memory);
  RowIndex kept[1];
  EXPECT_EQ(evaluator.Select(batch, kept), 0U);
  EXPECT_EQ(evaluator.Evaluate(batch).type, kBoolean);
}

TEST(Evaluators, NameTheColumnThatIsNotThere) {
  Memory memory(nullptr, "test");
  try {
    Evaluator evaluator(Expression::Column(3, kBigint), kSlots, memory);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "column 3 is not among those that the input gives");
  }
}

TEST(Evaluators, FlattenCopiesWhatIsIndexed) {
  Memory memory(nullptr, "test");
  Dictionary dictionary(30);
  Batch batch = dictionary.Rows(0, 7, 100, 5);
  FlatBuffer buffer;
  Column column = batch.columns[0];
  Flatten(batch, column, buffer, memory);
  EXPECT_EQ(column.indices, nullptr);
  for (uint32_t row = 0; row < 100; ++row) ASSERT_EQ(ValueText(LiteralOf(column, row), kText), dictionary.Text(row));
  const Column flat = column;
  Flatten(batch, column, buffer, memory);
  EXPECT_EQ(column.data, flat.data);
}

TEST(Evaluators, KeepTheMemoryTheyHave) {
  Memory memory(nullptr, "test");
  {
    Dictionary dictionary(1000);
    Evaluator evaluator(Call(Function::kConcat, kText, {Read(), Text(" and quite a lot of text besides")}), kSlots,
                        memory);
    std::vector<Values> batches;
    const Batch batch = dictionary.Rows(0, 1, kBatchRows, 0);
    for (int warm = 0; warm < 3; ++warm) evaluator.Evaluate(batch);
    const size_t live = memory.Stats().live;
    for (int again = 0; again < 10; ++again) evaluator.Evaluate(batch);
    EXPECT_EQ(memory.Stats().live, live);
  }
  EXPECT_EQ(memory.Stats().live, 0U);
}

}  // namespace
}  // namespace neap::engine
