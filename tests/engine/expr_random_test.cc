// expr_random_test.cc: random expressions over random columns, in batches of every shape, against an interpreter that
// knows rows and literals alone.
#include <map>
#include <optional>
#include <random>
#include <set>

#include "engine/plan/explain.h"
#include "tests/engine/expressions.h"

namespace neap::engine {
namespace {

using namespace expressions;

// What the interpreter throws where SQL has an error, and where the test does not know better.
struct Failure {};
struct Beyond {};

Int128 AsInteger(const Literal& v) {
  if (const auto* decimal = std::get_if<Int128>(&v.value)) return *decimal;
  return std::get<int64_t>(v.value);
}

Int128 Times(Int128 a, Int128 b) {
  Int128 product;
  if (__builtin_mul_overflow(a, b, &product)) throw Beyond();
  return product;
}

Int128 RoundedQuotient(Int128 a, Int128 b) {
  const bool negative = (a < 0) != (b < 0);
  const Int128 x = a < 0 ? -a : a, y = b < 0 ? -b : b;
  const Int128 quotient = (Times(x, 2) + y) / Times(y, 2);
  return negative ? -quotient : quotient;
}

Int128 Rescaled(Int128 value, int from, int to) {
  for (; from < to; ++from) value = Times(value, 10);
  Int128 divisor = 1;
  for (; from > to; --from) divisor = Times(divisor, 10);
  return divisor == 1 ? value : RoundedQuotient(value, divisor);
}

// An exact value as one of type `type`, or a failure.
Literal Fitted(Int128 value, Type type) {
  if (type.id == TypeId::kDecimal) {
    if (!HasDigits(value, type.precision)) throw Failure();
    return {false, value};
  }
  const int bits = type.id == TypeId::kInt32 ? 31 : 63;
  if (value >= Int128{1} << bits || value < -(Int128{1} << bits)) throw Failure();
  return {false, static_cast<int64_t>(value)};
}

int Order(const Literal& a, Type a_type, const Literal& b, Type b_type) {
  const auto sign = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (const auto* text = std::get_if<std::string>(&a.value))
    return sign(text->compare(std::get<std::string>(b.value)), 0);
  if (const auto* number = std::get_if<double>(&a.value)) return sign(*number, std::get<double>(b.value));
  if (const auto* truth = std::get_if<bool>(&a.value)) return sign(*truth, std::get<bool>(b.value));
  const int scale = std::max(a_type.scale, b_type.scale);
  return sign(Rescaled(AsInteger(a), a_type.scale, scale), Rescaled(AsInteger(b), b_type.scale, scale));
}

// reaches[i]: whether the pattern so far can match the first i characters.
bool LikeByTable(std::string_view text, std::string_view pattern) {
  std::vector<bool> reaches(text.size() + 1, false);
  reaches[0] = true;
  for (char c : pattern) {
    std::vector<bool> next(text.size() + 1, false);
    for (size_t i = 0; i <= text.size(); ++i) {
      if (c == '%') {
        next[i] = reaches[i] || (i > 0 && next[i - 1]);
      } else {
        next[i] = i > 0 && reaches[i - 1] && (c == '_' || c == text[i - 1]);
      }
    }
    reaches = std::move(next);
  }
  return reaches[text.size()];
}

class Interpreter {
 public:
  explicit Interpreter(const std::vector<std::vector<Literal>>* rows) : rows_(rows) {}

  Literal Value(const Expression& e, uint32_t row) const {
    switch (e.kind) {
      case Expression::Kind::kColumn:
        return (*rows_)[row][e.column];
      case Expression::Kind::kLiteral:
        return e.literal;
      case Expression::Kind::kCast:
        return CastTo(Value(e.args[0], row), e.args[0].type, e.type);
      case Expression::Kind::kCase:
        for (size_t i = 0; i + 1 < e.args.size(); i += 2) {
          if (IsTrue(Value(e.args[i], row))) return Value(e.args[i + 1], row);
        }
        return Value(e.args.back(), row);
      case Expression::Kind::kIn: {
        const Literal value = Value(e.args[0], row);
        if (value.null) return {};
        bool nulls = false;
        for (size_t i = 1; i < e.args.size(); ++i) {
          const Literal& other = e.args[i].literal;
          nulls |= other.null;
          if (!other.null && Order(value, e.args[0].type, other, e.args[i].type) == 0) return {false, true};
        }
        return nulls ? Literal{} : Literal{false, false};
      }
      default:
        return CallOf(e, row);
    }
  }

 private:
  static bool IsTrue(const Literal& v) { return !v.null && std::get<bool>(v.value); }

  static Literal CastTo(const Literal& v, Type from, Type to) {
    if (v.null) return {};
    if (to.id == TypeId::kDouble) {
      return {false, static_cast<double>(AsInteger(v)) / static_cast<double>(kPowersOfTen[from.scale])};
    }
    if (to.id == TypeId::kDecimal) return Fitted(Rescaled(AsInteger(v), from.scale, to.scale), to);
    return Fitted(AsInteger(v) / kPowersOfTen[from.scale], to);
  }

  Literal CallOf(const Expression& e, uint32_t row) const {
    switch (e.function) {
      case Function::kAnd:
      case Function::kOr: {
        const bool decides = e.function == Function::kOr;
        bool nulls = false;
        for (const Expression& arg : e.args) {
          const Literal value = Value(arg, row);
          if (!value.null && std::get<bool>(value.value) == decides) return {false, decides};
          nulls |= value.null;
        }
        return nulls ? Literal{} : Literal{false, !decides};
      }
      case Function::kIsNull:
        return {false, Value(e.args[0], row).null};
      case Function::kCoalesce:
        for (const Expression& arg : e.args) {
          const Literal value = Value(arg, row);
          if (!value.null) return value;
        }
        return {};
      default:
        break;
    }
    std::vector<Literal> v;
    for (const Expression& arg : e.args) v.push_back(Value(arg, row));
    for (const Literal& value : v) {
      if (value.null) return {};
    }
    return Strict(e, v);
  }

  static Literal Strict(const Expression& e, const std::vector<Literal>& v) {
    switch (e.function) {
      case Function::kNot:
        return {false, !std::get<bool>(v[0].value)};
      case Function::kEqual:
      case Function::kNotEqual:
      case Function::kLess:
      case Function::kLessEqual:
      case Function::kGreater:
      case Function::kGreaterEqual: {
        const int order = Order(v[0], e.args[0].type, v[1], e.args[1].type);
        const bool results[] = {order == 0, order != 0, order<0, order <= 0, order> 0, order >= 0};
        return {false, results[static_cast<int>(e.function) - static_cast<int>(Function::kEqual)]};
      }
      case Function::kLike:
        return {false, LikeByTable(std::get<std::string>(v[0].value), std::get<std::string>(v[1].value))};
      case Function::kConcat:
        return {false, std::get<std::string>(v[0].value) + std::get<std::string>(v[1].value)};
      case Function::kUpper: {
        std::string text = std::get<std::string>(v[0].value);
        for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        return {false, text};
      }
      case Function::kSubstring: {
        const std::string text = std::get<std::string>(v[0].value);
        std::string part;
        for (int64_t i = 0; i < std::get<int64_t>(v[2].value); ++i) {
          const int64_t at = std::get<int64_t>(v[1].value) + i - 1;
          if (at >= 0 && at < static_cast<int64_t>(text.size())) part += text[static_cast<size_t>(at)];
        }
        return {false, part};
      }
      default:
        return e.type.id == TypeId::kDouble ? OfDoubles(e.function, v) : Exact(e, v);
    }
  }

  static Literal OfDoubles(Function function, const std::vector<Literal>& v) {
    const double a = std::get<double>(v[0].value), b = std::get<double>(v[1].value);
    return {false, function == Function::kAdd ? a + b : function == Function::kSubtract ? a - b : a * b};
  }

  static Literal Exact(const Expression& e, const std::vector<Literal>& v) {
    const int a_scale = e.args[0].type.scale, b_scale = e.args[1].type.scale;
    const Int128 a = AsInteger(v[0]), b = AsInteger(v[1]);
    const int both = std::max(a_scale, b_scale);
    switch (e.function) {
      case Function::kAdd:
        return Fitted(Rescaled(Rescaled(a, a_scale, both) + Rescaled(b, b_scale, both), both, e.type.scale), e.type);
      case Function::kSubtract:
        return Fitted(Rescaled(Rescaled(a, a_scale, both) - Rescaled(b, b_scale, both), both, e.type.scale), e.type);
      case Function::kMultiply:
        return Fitted(Rescaled(Times(a, b), a_scale + b_scale, e.type.scale), e.type);
      case Function::kModulus:
        if (b == 0) throw Failure();
        return Fitted(Rescaled(Rescaled(a, a_scale, both) % Rescaled(b, b_scale, both), both, e.type.scale), e.type);
      default: {
        if (b == 0) throw Failure();
        if (e.type.id != TypeId::kDecimal) return Fitted(a / b, e.type);
        const int shift = e.type.scale + b_scale - a_scale;
        return Fitted(RoundedQuotient(Rescaled(a, 0, std::max(shift, 0)), Rescaled(b, 0, std::max(-shift, 0))), e.type);
      }
    }
  }

  const std::vector<std::vector<Literal>>* rows_;
};

constexpr uint32_t kRows = 300;
const std::vector<Type> kColumns = {
    kBigint, kInteger, Type::Decimal(15, 2), Type::Decimal(30, 4), kDouble, kText, kBoolean,
    kBigint, kText,    Type::Decimal(9, 0)};

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed), null_literals_(seed % 2 == 0) {}

  uint32_t Next(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  Literal Value(Type type, bool nulls) {
    if (nulls && Next(5) == 0) return {};
    switch (type.id) {
      case TypeId::kBool:
        return {false, Next(2) == 0};
      case TypeId::kDouble:
        return {false, static_cast<double>(Next(41)) / 4 - 5};
      case TypeId::kString: {
        std::string text;
        for (uint32_t n = Next(4) == 0 ? 10 + Next(20) : Next(5); n > 0; --n) text += "abA"[Next(3)];
        return {false, text};
      }
      case TypeId::kDecimal:
        return {false, Int128{Next(2001)} - 1000};
      default:
        return {false, int64_t{Next(21)} - 10};
    }
  }

  // An expression of a type that ColumnTypes or Result made.
  Expression Make(Type type, int depth) {
    if (depth == 0 || Next(6) == 0) return Leaf(type);
    if (Next(8) == 0) {
      return Case(type, {Make(kBoolean, depth - 1), Make(type, depth - 1), Make(kBoolean, depth - 1),
                         Make(type, depth - 1), Make(type, depth - 1)});
    }
    if (Next(10) == 0) return Call(Function::kCoalesce, type, {Make(type, depth - 1), Make(type, depth - 1)});
    switch (type.id) {
      case TypeId::kBool:
        return Condition(depth);
      case TypeId::kString:
        return OfText(depth);
      case TypeId::kDouble:
        if (Next(4) == 0) return Expression::Cast(Make(Number(), depth - 1), kDouble);
        return Call(Pick({Function::kAdd, Function::kSubtract, Function::kMultiply}), kDouble,
                    {Make(kDouble, depth - 1), Make(kDouble, depth - 1)});
      case TypeId::kDecimal:
        if (Next(4) == 0) return Expression::Cast(Make(Number(), depth - 1), type);
        return OfDecimals(type, depth);
      default:
        if (Next(5) == 0) return Expression::Cast(Make(Number(), depth - 1), type);
        return Call(
            Pick({Function::kAdd, Function::kSubtract, Function::kMultiply, Function::kDivide, Function::kModulus}),
            type, {Make(type, depth - 1), Make(type, depth - 1)});
    }
  }

  Type AnyType() {
    const Type types[] = {kBigint, kInteger, Type::Decimal(18, 3), Type::Decimal(38, 6), kDouble, kText, kBoolean};
    return types[Next(7)];
  }

 private:
  Function Pick(std::initializer_list<Function> functions) {
    return functions.begin()[Next(static_cast<uint32_t>(functions.size()))];
  }
  Type Number() {
    return std::initializer_list<Type>{kBigint, kInteger, Type::Decimal(15, 2), Type::Decimal(30, 4)}.begin()[Next(4)];
  }

  Expression Leaf(Type type) {
    std::vector<ColumnId> ids;
    for (ColumnId id = 0; id < kColumns.size(); ++id) {
      if (kColumns[id] == type) ids.push_back(id);
    }
    if (ids.empty() || Next(3) == 0) return Expression::Constant(Value(type, null_literals_), type);
    return Expression::Column(ids[Next(static_cast<uint32_t>(ids.size()))], type);
  }

  Expression Condition(int depth) {
    switch (Next(8)) {
      case 0:
        return Call(Function::kNot, kBoolean, {Make(kBoolean, depth - 1)});
      case 1:
      case 2: {
        std::vector<Expression> terms;
        for (uint32_t n = 2 + Next(3); n > 0; --n) terms.push_back(Make(kBoolean, depth - 1));
        return Call(Pick({Function::kAnd, Function::kOr}), kBoolean, std::move(terms));
      }
      case 3:
        return Call(Function::kIsNull, kBoolean, {Make(AnyType(), depth - 1)});
      case 4: {
        const Type type = Next(2) == 0 ? kText : kBigint;
        std::vector<Expression> args = {Make(type, depth - 1)};
        for (uint32_t n = 1 + Next(Next(2) == 0 ? 3 : 30); n > 0; --n) {
          args.push_back(Expression::Constant(Value(type, Next(3) == 0), type));
        }
        return In(std::move(args));
      }
      case 5: {
        std::string pattern;
        for (uint32_t n = Next(6); n > 0; --n) pattern += "abA%_%"[Next(6)];
        return Call(Function::kLike, kBoolean, {Make(kText, depth - 1), Text(pattern)});
      }
      default: {
        const Type type = AnyType();
        const bool exact = type.is_integer() || type.id == TypeId::kDecimal;
        return Call(Pick({Function::kEqual, Function::kNotEqual, Function::kLess, Function::kLessEqual,
                          Function::kGreater, Function::kGreaterEqual}),
                    kBoolean, {Make(type, depth - 1), Make(exact ? Number() : type, depth - 1)});
      }
    }
  }

  Expression OfText(int depth) {
    switch (Next(3)) {
      case 0:
        return Call(Function::kConcat, kText, {Make(kText, depth - 1), Make(kText, depth - 1)});
      case 1:
        return Call(Function::kUpper, kText, {Make(kText, depth - 1)});
      default:
        return Call(Function::kSubstring, kText, {Make(kText, depth - 1), Make(kBigint, 0), Make(kBigint, 0)});
    }
  }

  Expression OfDecimals(Type type, int depth) {
    Expression a = Make(Number(), depth - 1), b = Make(Number(), depth - 1);
    if (a.type.is_integer() && b.type.is_integer()) a = Make(Type::Decimal(15, 2), depth - 1);
    const Function function =
        Pick({Function::kAdd, Function::kSubtract, Function::kMultiply, Function::kDivide, Function::kModulus});
    return Call(function, type, {std::move(a), std::move(b)});
  }

  std::mt19937_64 random_;
  bool null_literals_;
};

// The same rows as columns of one shape.
struct Table {
  std::vector<std::vector<Literal>> rows;
  std::vector<Values> values;
  std::vector<std::vector<uint32_t>> indices;
  std::vector<RowIndex> selection;
  Batch batch;
};

Table MakeTable(Generator& generator, bool nulls) {
  Table table;
  table.rows.resize(kRows);
  for (const Type& type : kColumns) {
    Values values(type);
    table.indices.emplace_back();
    const uint32_t shape = generator.Next(4);  // 0, 1: flat; 2: a dictionary; 3: rows that a join picked
    if (shape < 2) {
      for (auto& row : table.rows) values.Add(row.emplace_back(generator.Value(type, nulls)));
    } else {
      std::vector<Literal> entries;
      for (int i = 0; i < 40; ++i) values.Add(entries.emplace_back(generator.Value(type, nulls)));
      for (auto& row : table.rows) {
        table.indices.back().push_back(generator.Next(40));
        row.push_back(entries[table.indices.back().back()]);
      }
    }
    table.values.push_back(std::move(values));
    const uint64_t id = shape == 2 ? table.values.size() : 0;
    table.batch.columns.push_back(shape < 2 ? table.values.back().Flat() : Column{});
    if (shape >= 2) table.batch.columns.back() = table.values.back().Indexed(table.indices.back(), id);
  }
  // Indexed() keeps the address of indices, which must not move any more.
  for (size_t i = 0; i < table.indices.size(); ++i) {
    if (!table.indices[i].empty()) table.batch.columns[i].indices = table.indices[i].data();
  }
  table.batch.SetAll(kRows);
  const uint32_t share = generator.Next(3);
  if (share == 0) return table;
  for (uint32_t row = 0; row < kRows; ++row) {
    if (generator.Next(share == 1 ? 2 : 20) == 0) table.selection.push_back(static_cast<RowIndex>(row));
  }
  table.batch.selection = table.selection.data();
  table.batch.selected = static_cast<uint32_t>(table.selection.size());
  return table;
}

TEST(RandomExpressions, AgreeWithAnInterpreter) {
  Slots slots;
  for (ColumnId id = 0; id < kColumns.size(); ++id) {
    slots.ids.push_back(id);
    slots.types.push_back(kColumns[id]);
  }
  uint32_t compared = 0, failed = 0, spared = 0, beyond = 0;
  Memory memory(nullptr, "test");
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    Generator generator(seed);
    const Table table = MakeTable(generator, generator.Next(3) != 0);
    const Type type = generator.AnyType();
    const Expression expression = generator.Make(type, 1 + static_cast<int>(generator.Next(4)));
    const Interpreter interpreter(&table.rows);
    std::map<uint32_t, std::string> expected;
    std::vector<RowIndex> passing;
    bool fails = false;
    try {
      table.batch.ForEach([&](uint32_t row) {
        const Literal value = interpreter.Value(expression, row);
        expected[row] = ValueText(value, type);
        if (expected[row] == "true") passing.push_back(static_cast<RowIndex>(row));
      });
    } catch (const Failure&) {
      fails = true;
    } catch (const Beyond&) {
      ++beyond;
      continue;
    }
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
                 ExpressionText(expression, {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}));
    try {
      Evaluator evaluator(expression, slots, memory);
      const Column column = evaluator.Evaluate(table.batch);
      if (fails) {  // a term that cannot fail was asked first and decided, or a literal NULL did
        ++spared;
        continue;
      }
      for (const auto& [row, text] : expected)
        ASSERT_EQ(ValueText(LiteralOf(column, row), type), text) << "row " << row;
      if (type == kBoolean) {
        for (int again = 0; again < 6; ++again) {  // terms come in another order once they are measured
          RowIndex kept[kBatchRows];
          if (!table.selection.empty()) std::copy(table.selection.begin(), table.selection.end(), kept);
          Batch batch = table.batch;
          if (batch.selection != nullptr) batch.selection = kept;
          const uint32_t count = evaluator.Select(batch, kept);
          ASSERT_EQ(std::vector<RowIndex>(kept, kept + count), passing);
        }
      }
      ++compared;
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kData) << error.what();
      ASSERT_TRUE(fails) << error.what();
      ++failed;
    }
  }
  EXPECT_EQ(memory.Stats().live, 0U);
  EXPECT_GT(compared, 4000U);
  EXPECT_GT(failed, 100U);
  EXPECT_LT(spared, failed);
  EXPECT_LT(beyond, 300U);
}

}  // namespace
}  // namespace neap::engine
