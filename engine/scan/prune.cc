// prune.cc: a filter as a set of rows: conjunctions intersect, disjunctions unite, a comparison of a column with
// literals asks the bounds, and whatever else there is may be true anywhere.
#include "engine/scan/prune.h"

#include <parquet/page_index.h>
#include <parquet/properties.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "engine/core/column.h"
#include "engine/scan/plain_decoding.h"

namespace neap::engine {
namespace {

// One value of a column as its PLAIN bytes, decoded; nothing where the bytes are wrong.
template <class T>
std::optional<T> DecodeBound(const Leaf& leaf, const std::string& bytes) {
  std::string plain = bytes;
  if (leaf.conversion == Conversion::kBytesDecimal64 || leaf.conversion == Conversion::kBytesDecimal128) {
    const auto length = static_cast<uint32_t>(bytes.size());
    plain.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
  }
  const auto* data = reinterpret_cast<const uint8_t*>(plain.data());
  PlainValues values{data, data + plain.size(), 0};
  T value;
  try {
    FindPlainDecoder(leaf.conversion)(leaf, values, 1, &value);
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
  return value;
}

// Types whose values NumberOfBound knows.
bool IsNumber(const Type& type) {
  switch (type.id) {
    case TypeId::kBool:
    case TypeId::kInt8:
    case TypeId::kInt16:
    case TypeId::kInt32:
    case TypeId::kInt64:
    case TypeId::kDecimal:
    case TypeId::kDate:
    case TypeId::kTimestamp:
    case TypeId::kTimestampTz:
      return true;
    default:
      return false;
  }
}

using Value = std::variant<std::monostate, Int128, double, std::string>;

Value ValueOfBound(const Leaf& leaf, const std::string& bytes) {
  if (leaf.type.is_view()) return bytes;
  if (leaf.type.id == TypeId::kDouble) {
    if (const auto value = DecodeBound<double>(leaf, bytes)) return *value;
  } else if (leaf.type.id == TypeId::kFloat) {
    if (const auto value = DecodeBound<float>(leaf, bytes)) return static_cast<double>(*value);
  } else if (const auto value = NumberOfBound(leaf, bytes)) {
    return *value;
  }
  return {};
}

// A literal as what it is compared with; nothing where its values do not lie as those of the column do.
Value ValueOfLiteral(const Expression& expression, const Type& column) {
  if (expression.kind != Expression::Kind::kLiteral || expression.literal.null) return {};
  const Type& type = expression.type;
  const bool same = type == column || (type.is_integer() && column.is_integer()) ||
                    (type.id == TypeId::kDecimal && column.id == TypeId::kDecimal && type.scale == column.scale);
  if (!same) return {};
  return std::visit(
      [](const auto& value) -> Value {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, Interval>) {
          return {};
        } else if constexpr (std::is_integral_v<T> || std::is_same_v<T, Int128>) {
          return static_cast<Int128>(value);
        } else if constexpr (std::is_same_v<T, double>) {
          return std::isnan(value) ? Value() : Value(value);
        } else {
          return value;
        }
      },
      expression.literal.value);
}

// What is known of some rows of a column.
struct Known {
  Value min, max;  // of the rows that are not NULL; nothing: unknown
  int64_t rows = 0;
  int64_t nulls = -1;  // -1: unknown
  bool all_null() const { return nulls == rows; }
};

enum class Answer : uint8_t { kNone, kSome, kAll };  // which of the rows that are not NULL may pass

// A comparison of one column.
struct Test {
  Function function;
  std::vector<Value> literals;  // several: IN
};

Answer Ask(const Test& test, const Value& literal, const Known& known) {
  const bool comparable = known.min.index() == literal.index() && known.max.index() == literal.index();
  if (!comparable || std::holds_alternative<std::monostate>(literal)) return Answer::kSome;
  // Statistics leave NaN out, which some order above all: of reals, only what NaN never passes can be ruled out, and
  // nothing is sure to pass.
  const bool real = std::holds_alternative<double>(literal);
  const auto answer = [&](bool none, bool all) {
    return none ? Answer::kNone : all && !real ? Answer::kAll : Answer::kSome;
  };
  switch (test.function) {
    case Function::kEqual:
      return answer(literal < known.min || known.max < literal, false);
    case Function::kLess:
      return answer(known.min >= literal, known.max < literal);
    case Function::kLessEqual:
      return answer(known.min > literal, known.max <= literal);
    case Function::kGreater:
      return answer(!real && known.max <= literal, known.min > literal);
    case Function::kGreaterEqual:
      return answer(!real && known.max < literal, known.min >= literal);
    default:
      return Answer::kSome;
  }
}

Answer Ask(const Test& test, const Known& known) {
  if (test.function == Function::kIsNull) {
    return known.nulls == 0 ? Answer::kNone : known.all_null() ? Answer::kAll : Answer::kSome;
  }
  if (known.all_null()) return Answer::kNone;
  if (test.function == Function::kIsNotNull) return known.nulls == 0 ? Answer::kAll : Answer::kSome;
  Answer answer = Answer::kNone;
  for (const Value& literal : test.literals) answer = std::max(answer, Ask(test, literal, known));
  return answer;
}

// `literal function column` as `column function literal`.
Function Mirror(Function function) {
  switch (function) {
    case Function::kLess:
      return Function::kGreater;
    case Function::kLessEqual:
      return Function::kGreaterEqual;
    case Function::kGreater:
      return Function::kLess;
    case Function::kGreaterEqual:
      return Function::kLessEqual;
    default:
      return function;
  }
}

bool IsComparison(Function function) {
  return function == Function::kEqual || function == Function::kLess || function == Function::kLessEqual ||
         function == Function::kGreater || function == Function::kGreaterEqual;
}

// One filter asked about one row group.
class RowGroupPruning {
 public:
  RowGroupPruning(const Slots& slots, const std::vector<size_t>& columns, const FileHandle& handle,
                  const ParquetFile& file, const RowGroup& group, bool with_index)
      : slots_(slots), columns_(columns), handle_(handle), file_(file), group_(group), with_index_(with_index) {}

  RowRanges Evaluate(const Expression& expression) {
    switch (expression.kind) {
      case Expression::Kind::kCall:
        return EvaluateCall(expression);
      case Expression::Kind::kIn: {
        if (!expression.args[0].is_column()) return All();
        return EvaluateTest(expression.args[0], Function::kEqual, {expression.args.begin() + 1, expression.args.end()});
      }
      case Expression::Kind::kLiteral: {
        const bool* value = std::get_if<bool>(&expression.literal.value);
        const bool passes = !expression.literal.null && (value == nullptr || *value);
        return passes ? All() : RowRanges{};
      }
      default:
        return All();
    }
  }

  bool index_read() const { return index_read_; }
  bool index_used() const { return index_used_; }

 private:
  RowRanges All() const { return {{0, group_.rows}}; }

  RowRanges EvaluateCall(const Expression& call) {
    const std::vector<Expression>& args = call.args;
    if (call.function == Function::kAnd) {
      RowRanges ranges = All();
      for (const Expression& arg : args) {
        if (!ranges.empty()) ranges = Intersect(ranges, Evaluate(arg));
      }
      return ranges;
    }
    if (call.function == Function::kOr) {
      RowRanges ranges;
      for (const Expression& arg : args) {
        if (ranges != All()) ranges = Union(ranges, Evaluate(arg));
      }
      return ranges;
    }
    if (call.function == Function::kIsNull || call.function == Function::kIsNotNull) {
      return args[0].is_column() ? EvaluateTest(args[0], call.function, {}) : All();
    }
    if (!IsComparison(call.function)) return All();
    if (args[0].is_column()) return EvaluateTest(args[0], call.function, {args[1]});
    if (args[1].is_column()) return EvaluateTest(args[1], Mirror(call.function), {args[0]});
    return All();
  }

  RowRanges EvaluateTest(const Expression& column, Function function, const std::vector<Expression>& literals) {
    const Leaf& leaf = file_.schema->leaves[columns_[slots_.Find(column.column)]];
    const ColumnChunk& chunk = group_.chunks[leaf.column];
    Test test{function, {}};
    for (const Expression& literal : literals) {
      if (literal.kind == Expression::Kind::kLiteral && literal.literal.null) continue;  // passes nothing
      test.literals.push_back(ValueOfLiteral(literal, leaf.type));
    }
    Known known;
    known.rows = group_.rows;
    known.nulls = leaf.nullable ? chunk.nulls : 0;
    if (chunk.has_bounds) {
      known.min = ValueOfBound(leaf, chunk.min);
      known.max = ValueOfBound(leaf, chunk.max);
    }
    const Answer answer = Ask(test, known);
    if (answer == Answer::kNone) return {};
    if (answer == Answer::kAll || !with_index_ || chunk.column_index.bytes == 0 || chunk.offset_index.bytes == 0) {
      return All();
    }
    try {
      return EvaluatePages(test, leaf, chunk);
    } catch (const std::exception&) {
      return All();  // an index that cannot be read is no index; the pages themselves will tell what is wrong
    }
  }

  std::string ReadRange(const FileRange& range) const {
    std::string bytes(static_cast<size_t>(std::min(range.bytes, file_.bytes)), '\0');
    handle_.Read(range.offset, static_cast<int64_t>(bytes.size()), bytes.data());
    return bytes;
  }

  RowRanges EvaluatePages(const Test& test, const Leaf& leaf, const ColumnChunk& chunk) {
    index_read_ = true;
    const parquet::ReaderProperties properties;
    const std::string column_bytes = ReadRange(chunk.column_index), offset_bytes = ReadRange(chunk.offset_index);
    const auto index = parquet::ColumnIndex::Make(*leaf.descriptor, column_bytes.data(),
                                                  static_cast<int64_t>(column_bytes.size()), properties);
    const auto offsets =
        parquet::OffsetIndex::Make(offset_bytes.data(), static_cast<int64_t>(offset_bytes.size()), properties);
    const std::vector<parquet::PageLocation>& pages = offsets->page_locations();
    if (pages.size() != index->null_pages().size()) return All();
    RowRanges ranges;
    int64_t first = 0;
    for (size_t i = 0; i < pages.size(); ++i) {
      const int64_t end = i + 1 < pages.size() ? pages[i + 1].first_row_index : group_.rows;
      if (pages[i].first_row_index != first || end < first || end > group_.rows) return All();
      Known known;
      known.rows = end - first;
      if (index->null_pages()[i]) {
        known.nulls = known.rows;
      } else {
        if (index->has_null_counts()) known.nulls = index->null_counts()[i];
        known.min = ValueOfBound(leaf, index->encoded_min_values()[i]);
        known.max = ValueOfBound(leaf, index->encoded_max_values()[i]);
      }
      if (first < end) {
        if (Ask(test, known) == Answer::kNone) {
          index_used_ = true;
        } else {
          ranges = Union(ranges, {{first, end}});
        }
      }
      first = end;
    }
    return ranges;
  }

  const Slots& slots_;
  const std::vector<size_t>& columns_;
  const FileHandle& handle_;
  const ParquetFile& file_;
  const RowGroup& group_;
  const bool with_index_;
  bool index_read_ = false;
  bool index_used_ = false;
};

}  // namespace

std::optional<Int128> NumberOfBound(const Leaf& leaf, const std::string& bytes) {
  if (!IsNumber(leaf.type)) return std::nullopt;
  return DispatchPhysical(leaf.type.physical(), [&](auto zero) -> std::optional<Int128> {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T> || std::is_same_v<T, Int128>) {
      if (const auto value = DecodeBound<T>(leaf, bytes)) return static_cast<Int128>(*value);
    }
    return std::nullopt;
  });
}

Pruner::Pruner(const std::optional<Expression>& filter, const Slots& slots, const std::vector<size_t>& columns)
    : filter_(filter ? &*filter : nullptr), slots_(slots), columns_(columns) {}

void Pruner::Prune(const FileHandle& handle, const ParquetFile& file, const RowGroup& group, RowRanges& ranges) {
  if (filter_ == nullptr) return;
  constexpr uint32_t kTries = 8;
  const bool with_index = indexes_read_ < kTries || indexes_used_ * kTries >= indexes_read_;
  RowGroupPruning pruning(slots_, columns_, handle, file, group, with_index);
  ranges = Intersect(ranges, pruning.Evaluate(*filter_));
  indexes_read_ += pruning.index_read() ? 1 : 0;
  indexes_used_ += pruning.index_used() ? 1 : 0;
}

}  // namespace neap::engine
