// prune_test.cc: filters pushed into scans: the same rows come out as without, and what need not be read is not.
#include "engine/scan/prune.h"

#include <parquet/column_page.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/page_index.h>

#include <fstream>
#include <numeric>
#include <set>
#include <variant>

#include "engine/core/error.h"
#include "engine/scan/parquet_table.h"
#include "engine/scan/row_ranges.h"
#include "tests/engine/parquet_fixture.h"

namespace neap::engine {
namespace {

using parquet::WriterProperties;

TEST(RowRangesTest, AgainstBits) {
  std::mt19937_64 random(1);
  const auto bits_of = [](const RowRanges& ranges) {
    std::vector<bool> bits(100);
    int64_t last = -1;
    for (const RowRange& range : ranges) {
      EXPECT_LT(last, range.first);  // ascending, and a gap between
      EXPECT_LT(range.first, range.end);
      last = range.end;
      for (int64_t row = range.first; row < range.end; ++row) bits[static_cast<size_t>(row)] = true;
    }
    return bits;
  };
  const auto make = [&] {
    RowRanges ranges;
    for (int64_t row = static_cast<int64_t>(random() % 20); row < 99;) {
      const int64_t end = std::min<int64_t>(100, row + 1 + static_cast<int64_t>(random() % 20));
      ranges.push_back({row, end});
      row = end + 1 + static_cast<int64_t>(random() % 20);
    }
    return ranges;
  };
  for (int trial = 0; trial < 1000; ++trial) {
    const RowRanges a = make(), b = make();
    const auto x = bits_of(a), y = bits_of(b), both = bits_of(Intersect(a, b)), either = bits_of(Union(a, b));
    for (size_t row = 0; row < 100; ++row) {
      ASSERT_EQ(both[row], x[row] && y[row]);
      ASSERT_EQ(either[row], x[row] || y[row]);
    }
  }
}

// A value as the reference below sees it.
using Value = std::variant<std::monostate, Int128, double, std::string>;

Value ValueOf(const arrow::Scalar& scalar) {
  if (!scalar.is_valid) return {};
  switch (scalar.type->id()) {
    case arrow::Type::BOOL:
      return Int128{static_cast<const arrow::BooleanScalar&>(scalar).value};
    case arrow::Type::INT16:
      return Int128{static_cast<const arrow::Int16Scalar&>(scalar).value};
    case arrow::Type::INT32:
      return Int128{static_cast<const arrow::Int32Scalar&>(scalar).value};
    case arrow::Type::INT64:
      return Int128{static_cast<const arrow::Int64Scalar&>(scalar).value};
    case arrow::Type::DATE32:
      return Int128{static_cast<const arrow::Date32Scalar&>(scalar).value};
    case arrow::Type::TIMESTAMP:
      return Int128{static_cast<const arrow::TimestampScalar&>(scalar).value};
    case arrow::Type::DECIMAL128: {
      const auto& value = static_cast<const arrow::Decimal128Scalar&>(scalar).value;
      return static_cast<Int128>(static_cast<unsigned __int128>(value.high_bits()) << 64 | value.low_bits());
    }
    case arrow::Type::FLOAT:
      return double{static_cast<const arrow::FloatScalar&>(scalar).value};
    case arrow::Type::DOUBLE:
      return static_cast<const arrow::DoubleScalar&>(scalar).value;
    case arrow::Type::STRING:
      return std::string(static_cast<const arrow::StringScalar&>(scalar).view());
    default:
      throw std::runtime_error("a type that the filters do not use");
  }
}

Literal LiteralOf(const Value& value, const Type& type) {
  Literal literal;
  literal.null = std::holds_alternative<std::monostate>(value);
  if (literal.null) return literal;
  if (const auto* text = std::get_if<std::string>(&value)) literal.value = *text;
  if (const auto* real = std::get_if<double>(&value)) literal.value = *real;
  if (const auto* number = std::get_if<Int128>(&value)) {
    if (type.id == TypeId::kBool) {
      literal.value = *number != 0;
    } else if (type.id == TypeId::kDecimal) {
      literal.value = *number;
    } else {
      literal.value = static_cast<int64_t>(*number);
    }
  }
  return literal;
}

// Greater than all: NaN. Equal: 0.
int CompareValues(const Value& a, const Value& b) {
  if (const auto* x = std::get_if<double>(&a)) {
    const double y = std::get<double>(b);
    if (std::isnan(*x) || std::isnan(y)) return static_cast<int>(std::isnan(*x)) - static_cast<int>(std::isnan(y));
    return static_cast<int>(*x > y) - static_cast<int>(*x < y);
  }
  return static_cast<int>(a > b) - static_cast<int>(a < b);
}

// What the reference and the engine are to evaluate.
struct Node {
  enum class Kind { kAnd, kOr, kCompare, kIn, kIsNull, kIsNotNull } kind;
  Function function = Function::kEqual;
  bool literal_first = false;
  size_t column = 0;
  std::vector<Value> literals;
  std::vector<Node> children;
};

using Truth = std::optional<bool>;

Truth Evaluate(const Node& node, const std::vector<Value>& row) {
  switch (node.kind) {
    case Node::Kind::kAnd:
    case Node::Kind::kOr: {
      const bool decides = node.kind == Node::Kind::kOr;
      Truth all = !decides;
      for (const Node& child : node.children) {
        const Truth one = Evaluate(child, row);
        if (one == decides) return decides;
        if (!one) all = std::nullopt;
      }
      return all;
    }
    case Node::Kind::kIsNull:
    case Node::Kind::kIsNotNull:
      return std::holds_alternative<std::monostate>(row[node.column]) == (node.kind == Node::Kind::kIsNull);
    case Node::Kind::kIn:
    case Node::Kind::kCompare:
      break;
  }
  const Value& value = row[node.column];
  bool unknown = false;
  for (const Value& literal : node.literals) {
    if (std::holds_alternative<std::monostate>(value) || std::holds_alternative<std::monostate>(literal)) {
      unknown = true;
      continue;
    }
    const int order = node.literal_first ? CompareValues(literal, value) : CompareValues(value, literal);
    const bool holds =
        (node.function == Function::kEqual && order == 0) || (node.function == Function::kNotEqual && order != 0) ||
        (node.function == Function::kLess && order < 0) || (node.function == Function::kLessEqual && order <= 0) ||
        (node.function == Function::kGreater && order > 0) || (node.function == Function::kGreaterEqual && order >= 0);
    if (holds) return true;
  }
  return unknown ? Truth() : Truth(false);
}

Expression ToExpression(const Node& node, const std::vector<Type>& types) {
  const Type boolean{TypeId::kBool};
  if (node.kind == Node::Kind::kAnd || node.kind == Node::Kind::kOr) {
    std::vector<Expression> args;
    for (const Node& child : node.children) args.push_back(ToExpression(child, types));
    return Expression::Call(node.kind == Node::Kind::kAnd ? Function::kAnd : Function::kOr, boolean, std::move(args));
  }
  const Type& type = types[node.column];
  std::vector<Expression> args = {Expression::Column(static_cast<ColumnId>(node.column), type)};
  if (node.kind == Node::Kind::kIsNull) return Expression::Call(Function::kIsNull, boolean, std::move(args));
  if (node.kind == Node::Kind::kIsNotNull) return Expression::Call(Function::kIsNotNull, boolean, std::move(args));
  for (const Value& literal : node.literals) args.push_back(Expression::Constant(LiteralOf(literal, type), type));
  if (node.kind == Node::Kind::kIn) {
    Expression in;
    in.kind = Expression::Kind::kIn;
    in.type = boolean;
    in.args = std::move(args);
    return in;
  }
  if (node.literal_first) std::swap(args[0], args[1]);
  return Expression::Call(node.function, boolean, std::move(args));
}

// A table by rows, and filters over it.
class Filters {
 public:
  Filters(std::shared_ptr<arrow::Table> table, const Table& read, uint64_t seed)
      : table_(std::move(table)), random_(seed) {
    for (const auto& field : table_->fields()) types_.push_back(read.columns()[ColumnOf(read, field->name())].type);
    for (int64_t row = 0; row < table_->num_rows(); ++row) {
      rows_.emplace_back();
      for (const auto& column : table_->columns()) rows_.back().push_back(ValueOf(*Get(column->GetScalar(row))));
    }
  }

  Node Make(int depth) {
    constexpr Function kComparisons[] = {Function::kEqual,     Function::kNotEqual, Function::kLess,
                                         Function::kLessEqual, Function::kGreater,  Function::kGreaterEqual};
    const uint64_t kind = random_() % 10;
    if (depth > 0 && kind < 6) {
      Node node{kind < 4 ? Node::Kind::kAnd : Node::Kind::kOr, {}, {}, {}, {}, {}};
      for (uint64_t i = 0; i < 2 + random_() % 2; ++i) node.children.push_back(Make(depth - 1));
      return node;
    }
    Node node{Node::Kind::kCompare, kComparisons[random_() % 6], random_() % 4 == 0, random_() % types_.size(), {}, {}};
    if (kind == 7) node = {Node::Kind::kIsNull, {}, {}, node.column, {}, {}};
    if (kind == 8) node = {Node::Kind::kIsNotNull, {}, {}, node.column, {}, {}};
    if (kind == 9) node = {Node::Kind::kIn, Function::kEqual, false, node.column, {}, {}};
    for (uint64_t i = 0; i < (kind == 9 ? 1 + random_() % 4 : 1); ++i) {
      node.literals.push_back(rows_[random_() % rows_.size()][node.column]);  // NULL now and then
    }
    return node;
  }

  std::shared_ptr<arrow::Table> Apply(const Node& node) const {
    arrow::Int64Builder passing;
    for (size_t row = 0; row < rows_.size(); ++row) {
      if (Evaluate(node, rows_[row]) == true) Check(passing.Append(static_cast<int64_t>(row)));
    }
    return Get(Get(arrow::compute::Take(table_, Get(passing.Finish()))).table()->CombineChunks());
  }

  Expression Express(const Node& node) const { return ToExpression(node, types_); }

 private:
  std::shared_ptr<arrow::Table> table_;
  std::mt19937_64 random_;
  std::vector<Type> types_;
  std::vector<std::vector<Value>> rows_;
};

// Rows in ranges of values that grow and repeat, so that bounds rule some out.
std::shared_ptr<arrow::Table> ClusteredTable(uint64_t seed, int64_t rows, Nulls nulls) {
  TableMaker maker(seed, rows, nulls);
  const auto near = [&maker](int64_t row, int64_t spread) {
    return row / 200 * 100 + static_cast<int64_t>(maker.Random() % static_cast<uint64_t>(spread)) - 2000;
  };
  maker.Add<arrow::Int64Builder>("sorted", arrow::int64(), [](int64_t row) { return row - 3000; });
  maker.Add<arrow::Int32Builder>("i32", arrow::int32(), [&](int64_t row) { return near(row, 150); });
  maker.Add<arrow::Int16Builder>("i16", arrow::int16(), [&](int64_t row) { return near(row, 50); });
  maker.Add<arrow::UInt32Builder>("u32", arrow::uint32(), [&](int64_t row) { return near(row, 50) + 4'000'000'000; });
  maker.Add<arrow::BooleanBuilder>("bool", arrow::boolean(), [](int64_t row) { return row % 3000 > 2000; });
  maker.Add<arrow::Decimal128Builder>("d15", arrow::decimal128(15, 2),
                                      [&](int64_t row) { return arrow::Decimal128(near(row, 300)); });
  maker.Add<arrow::Decimal128Builder>("d38", arrow::decimal128(38, 4), [&](int64_t row) {
    return arrow::Decimal128(arrow::Decimal128(near(row, 300)) * arrow::Decimal128(1, 0));
  });
  maker.Add<arrow::Date32Builder>("date", arrow::date32(), [&](int64_t row) { return near(row, 100); });
  maker.Add<arrow::TimestampBuilder>("ms", arrow::timestamp(arrow::TimeUnit::MILLI),
                                     [&](int64_t row) { return near(row, 100); });
  maker.Add<arrow::TimestampBuilder>("ns", arrow::timestamp(arrow::TimeUnit::NANO),
                                     [&](int64_t row) { return near(row, 1000) * 333; });
  maker.Add<arrow::FloatBuilder>("float", arrow::float32(), [&](int64_t row) { return 0.5F * near(row, 100); });
  maker.Add<arrow::DoubleBuilder>("double", arrow::float64(), [&](int64_t row) {
    return maker.Random() % 100 == 0 ? NAN : static_cast<double>(near(row, 100)) / 7;
  });
  maker.Add<arrow::StringBuilder>("word", arrow::utf8(), [&](int64_t row) {
    return std::string("a long way to ") + std::to_string(near(row, 30));
  });
  maker.Add<arrow::StringBuilder>("text", arrow::utf8(), [&](int64_t row) {
    return std::to_string(row / 500) + "\xc3\xa9" + maker.RandomString(10);
  });
  return maker.Finish();
}

class FilterTest : public testing::TestWithParam<Nulls> {};

TEST_P(FilterTest, TheSameRowsAsWithout) {
  const std::vector<std::function<void(WriterProperties::Builder&)>> ways = {
      [](auto& p) { p.max_row_group_length(1'500); },
      [](auto& p) { p.max_row_group_length(3'000)->disable_dictionary()->data_pagesize(600)->write_batch_size(50); },
      [](auto& p) {
        p.max_row_group_length(3'000)->data_pagesize(200)->write_batch_size(70)->dictionary_pagesize_limit(1'000);
        p.data_page_version(parquet::ParquetDataPageVersion::V2)->compression(parquet::Compression::SNAPPY);
      },
      [](auto& p) { p.max_row_group_length(2'000)->disable_write_page_index(); },
      [](auto& p) { p.max_row_group_length(2'000)->disable_statistics(); },
  };
  uint64_t seed = static_cast<uint64_t>(GetParam()) * 100;
  for (const auto& way : ways) {
    SCOPED_TRACE(seed);
    const auto written = ClusteredTable(++seed, 6'000, GetParam());
    WriterProperties::Builder properties;
    way(properties);
    TestFolder folder;
    WriteParquet(*written, folder.File("t.parquet"), properties.build());
    const auto table = Table::Open(folder.File("t.parquet"));
    Filters filters(Expected(written, *table), *table, seed);
    for (int trial = 0; trial < 40; ++trial) {
      const Node filter = filters.Make(2);
      const uint32_t batch_rows = trial % 2 == 0 ? kBatchRows : 100;
      ExpectSame(filters.Apply(filter), Scanned(*table, {.filter = filters.Express(filter), .batch_rows = batch_rows}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FilterTest, testing::Values(Nulls::kNone, Nulls::kSome, Nulls::kRuns, Nulls::kAll));

TEST(FilterTest, ColumnsOfTheFilterAloneDoNotComeOut) {
  const auto written = ClusteredTable(1, 6'000, Nulls::kSome);
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  const std::vector<std::string> names = {"text", "i32", "sorted"};
  const auto expected = Get(Expected(written, *table)->SelectColumns({13, 1, 0}));
  Filters filters(expected, *table, 1);
  Node filter{Node::Kind::kCompare, Function::kGreater, false, 2, {Int128{1000}}, {}};
  ExpectSame(Get(filters.Apply(filter)->SelectColumns({0, 1})),
             Scanned(*table, {.columns = names, .filter = filters.Express(filter), .given = 2}));
}

// Overwrites the pages of columns from `column` on in rows [first, end) of a row group, so that reading them would be
// an error.
void SpoilPages(const std::string& path, int row_group, int64_t first, int64_t end, int column = 0) {
  const auto file = parquet::ParquetFileReader::OpenFile(path);
  const auto metadata = file->metadata();
  const auto group = file->metadata()->RowGroup(row_group);
  const auto index = file->GetPageIndexReader()->RowGroup(row_group);
  std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
  for (; column < group->num_columns(); ++column) {
    const auto offsets = index->GetOffsetIndex(column);
    const auto& pages = offsets->page_locations();
    for (size_t i = 0; i < pages.size(); ++i) {
      const int64_t page_end = i + 1 < pages.size() ? pages[i + 1].first_row_index : group->num_rows();
      if (pages[i].first_row_index < first || page_end > end) continue;
      // Behind the header, which must be read to pass over the page.
      constexpr int64_t kHeader = 100;
      ASSERT_GT(pages[i].compressed_page_size, kHeader);
      out.seekp(pages[i].offset + kHeader);
      for (int64_t byte = kHeader; byte < pages[i].compressed_page_size; ++byte) out.put('\xff');
    }
  }
}

Expression Compare(Function function, const Table& table, const std::string& column, ColumnId id, int64_t literal) {
  const Type type = table.columns()[ColumnOf(table, column)].type;
  return Expression::Call(function, {TypeId::kBool},
                          {Expression::Column(id, type), Expression::Constant(LiteralOf(Int128{literal}, type), type)});
}

std::shared_ptr<arrow::Table> SequenceTable(int64_t rows) {
  TableMaker maker(1, rows, Nulls::kNone);
  maker.Add<arrow::Int64Builder>("id", arrow::int64(), [](int64_t row) { return row; });
  maker.Add<arrow::Int64Builder>("random", arrow::int64(), [&](int64_t) { return maker.RandomInteger(); });
  maker.Add<arrow::StringBuilder>("text", arrow::utf8(), [&](int64_t) { return maker.RandomString(30); });
  return maker.Finish();
}

std::shared_ptr<WriterProperties> PlainPages() {
  return WriterProperties::Builder()
      .disable_dictionary()
      ->data_pagesize(4'000)
      ->write_batch_size(100)
      ->compression(parquet::Compression::ZSTD)
      ->build();
}

TEST(PruneTest, RowGroupsThatAreRuledOutAreNotRead) {
  const auto written = SequenceTable(30'000);
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*written, path, PlainPages(), 10'000);
  SpoilPages(path, 0, 0, 10'000);
  SpoilPages(path, 2, 0, 10'000);
  const auto table = Table::Open(path);
  EXPECT_THROW(Scanned(*table), Error);
  const auto filter = Expression::Call(
      Function::kAnd, {TypeId::kBool},
      {Compare(Function::kGreaterEqual, *table, "id", 0, 10'000), Compare(Function::kLess, *table, "id", 0, 20'000)});
  ExpectSame(Expected(Get(written->Slice(10'000, 10'000)->CombineChunks()), *table),
             Scanned(*table, {.filter = filter}));
}

TEST(PruneTest, PagesThatAreRuledOutAreNotRead) {
  const auto written = SequenceTable(20'000);
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*written, path, PlainPages());
  SpoilPages(path, 0, 0, 6'500);
  SpoilPages(path, 0, 9'500, 14'500);
  const auto table = Table::Open(path);
  const auto between = [&](int64_t first, int64_t last) {
    return Expression::Call(Function::kAnd, {TypeId::kBool},
                            {Compare(Function::kGreaterEqual, *table, "id", 0, first),
                             Compare(Function::kLessEqual, *table, "id", 0, last)});
  };
  const auto filter =
      Expression::Call(Function::kOr, {TypeId::kBool}, {between(8'000, 8'099), between(16'000, 16'299)});
  const auto expected = Get(arrow::ConcatenateTables({written->Slice(8'000, 100), written->Slice(16'000, 300)}));
  ExpectSame(Expected(Get(expected->CombineChunks()), *table), Scanned(*table, {.filter = filter}));
}

// Without a page index: batches in which no row passes leave the other columns alone.
TEST(PruneTest, ColumnsAreReadOnlyWhereRowsAreLeft) {
  TableMaker maker(1, 40'000, Nulls::kNone);
  maker.Add<arrow::Int32Builder>("rare", arrow::int32(), [](int64_t row) {
    return row == 25'000 ? 7 : row % 2 == 0 ? 6 : 8;
  });
  maker.Add<arrow::Int64Builder>("random", arrow::int64(), [&](int64_t) { return maker.RandomInteger(); });
  maker.Add<arrow::StringBuilder>("text", arrow::utf8(), [&](int64_t) { return maker.RandomString(30); });
  const auto written = maker.Finish();
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*written, path, PlainPages());
  SpoilPages(path, 0, 0, 20'000, 1);
  SpoilPages(path, 0, 30'000, 40'000, 1);
  const auto table = Table::Open(path);
  EXPECT_THROW(Scanned(*table), Error);
  ExpectSame(Expected(Get(written->Slice(25'000, 1)->CombineChunks()), *table),
             Scanned(*table, {.filter = Compare(Function::kEqual, *table, "rare", 0, 7)}));
}

// An index that says what is not so is believed; one that cannot be read is not missed.
TEST(PruneTest, ASpoiltPageIndexIsNoIndex) {
  const auto written = SequenceTable(20'000);
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*written, path, PlainPages());
  {
    const auto metadata = parquet::ParquetFileReader::OpenFile(path)->metadata();
    const auto location = metadata->RowGroup(0)->ColumnChunk(0)->GetColumnIndexLocation();
    std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(location->offset);
    for (int i = 0; i < location->length; ++i) out.put('\xff');
  }
  const auto table = Table::Open(path);
  ExpectSame(Expected(Get(written->Slice(700, 1)->CombineChunks()), *table),
             Scanned(*table, {.filter = Compare(Function::kEqual, *table, "id", 0, 700)}));
}

std::shared_ptr<RuntimeFilter> FilterOf(const std::vector<int64_t>& keys, bool bounds, Memory& memory) {
  auto filter = std::make_shared<RuntimeFilter>();
  filter->Start(keys.size(), memory);
  Array<uint64_t> hash(memory, 1);
  for (const int64_t key : keys) {
    Column column;
    column.type = {TypeId::kInt64};
    column.data = &key;
    Batch batch;
    batch.columns = {column};
    batch.SetAll(1);
    const uint32_t first = 0;
    HashRows(batch, &first, 1, hash.data());
    filter->Add(hash[0]);
  }
  if (bounds)
    filter->SetBounds(*std::min_element(keys.begin(), keys.end()), *std::max_element(keys.begin(), keys.end()));
  filter->Publish();
  return filter;
}

TEST(RuntimeFilterTest, KeepsAllThatMatchAndDropsMostOfTheRest) {
  const auto written = SequenceTable(50'000);
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties(), 10'000);
  const auto table = Table::Open(folder.File("t.parquet"));
  Memory memory(nullptr, "filters");
  std::vector<int64_t> keys;
  for (int64_t key = 12'000; key < 38'000; key += 26) keys.push_back(key);
  for (const bool bounds : {false, true}) {
    for (const bool with_filter : {false, true}) {
      ScanOptions options{.runtime_filters = {{0, FilterOf(keys, bounds, memory)}}};
      if (with_filter) options.filter = Compare(Function::kLess, *table, "id", 0, 20'000);
      const auto read = Scanned(*table, options);
      std::set<int64_t> ids;
      for (int64_t row = 0; row < read->num_rows(); ++row) {
        ids.insert(static_cast<const arrow::Int64Scalar&>(*Get(read->column(0)->GetScalar(row))).value);
      }
      int64_t matching = 0;
      for (const int64_t key : keys) {
        if (with_filter && key >= 20'000) continue;
        ++matching;
        EXPECT_TRUE(ids.contains(key));
      }
      EXPECT_LT(read->num_rows(), matching + 6'000);
      if (bounds) {
        EXPECT_GE(*ids.begin(), 12'000);
        EXPECT_LE(*ids.rbegin(), 37'999);
      }
    }
  }
}

TEST(RuntimeFilterTest, BoundsRuleRowGroupsOut) {
  const auto written = SequenceTable(30'000);
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*written, path, PlainPages(), 10'000);
  SpoilPages(path, 0, 0, 10'000);
  SpoilPages(path, 2, 0, 10'000);
  const auto table = Table::Open(path);
  Memory memory(nullptr, "filters");
  const auto read = Scanned(*table, {.runtime_filters = {{0, FilterOf({11'000, 12'000}, true, memory)}}});
  EXPECT_GE(read->num_rows(), 2);
}

TEST(RuntimeFilterTest, NotReadyIsNoFilterAndEmptyIsNothing) {
  const auto written = SequenceTable(30'000);
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  const auto filter = std::make_shared<RuntimeFilter>();
  EXPECT_EQ(Scanned(*table, {.runtime_filters = {{0, filter}}})->num_rows(), 30'000);
  filter->SetEmpty();
  filter->Publish();
  EXPECT_EQ(Scanned(*table, {.runtime_filters = {{0, filter}}})->num_rows(), 0);
}

// One that keeps all is no longer asked, and still nothing is lost.
TEST(RuntimeFilterTest, OneThatKeepsAllIsDropped) {
  const auto written = SequenceTable(200'000);
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  Memory memory(nullptr, "filters");
  std::vector<int64_t> keys(150'000);
  std::iota(keys.begin(), keys.end(), 0);
  const auto filter = FilterOf(keys, true, memory);
  // The first rows all match, so it is dropped before those that do not.
  EXPECT_EQ(Scanned(*table, {.runtime_filters = {{0, filter}}})->num_rows(), 200'000);
}

}  // namespace
}  // namespace neap::engine
