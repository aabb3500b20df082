// scan_test.cc: Parquet files written by Arrow in many ways, read by the engine, compared with what was written.
#include <arrow/io/memory.h>
#include <parquet/column_writer.h>
#include <parquet/file_writer.h>
#include <parquet/schema.h>

#include <fstream>

#include "engine/core/error.h"
#include "tests/engine/parquet_fixture.h"

namespace neap::engine {
namespace {

using parquet::WriterProperties;

struct Way {
  const char* name;
  std::function<void(WriterProperties::Builder&)> set;
};

const std::vector<Way>& Ways() {
  static const std::vector<Way> ways = {
      {"as Arrow likes it", [](auto&) {}},
      {"plain", [](auto& p) { p.disable_dictionary(); }},
      {"plain, small pages", [](auto& p) { p.disable_dictionary()->data_pagesize(900)->write_batch_size(17); }},
      {"dictionary, small pages", [](auto& p) { p.data_pagesize(300)->write_batch_size(100); }},
      {"dictionary, then plain",
       [](auto& p) { p.dictionary_pagesize_limit(2000)->data_pagesize(1000)->write_batch_size(64); }},
      {"version 2 pages",
       [](auto& p) {
         p.data_page_version(parquet::ParquetDataPageVersion::V2)->data_pagesize(2000)->write_batch_size(100);
       }},
      {"snappy", [](auto& p) { p.compression(parquet::Compression::SNAPPY)->data_pagesize(5000); }},
      {"zstd, version 2",
       [](auto& p) {
         p.compression(parquet::Compression::ZSTD)->data_page_version(parquet::ParquetDataPageVersion::V2);
       }},
      {"gzip", [](auto& p) { p.compression(parquet::Compression::GZIP)->disable_dictionary(); }},
      {"lz4", [](auto& p) { p.compression(parquet::Compression::LZ4); }},
      {"brotli", [](auto& p) { p.compression(parquet::Compression::BROTLI)->dictionary_pagesize_limit(5000); }},
      {"decimals as integers", [](auto& p) { p.enable_store_decimal_as_integer(); }},
      {"other encodings",
       [](auto& p) {
         p.disable_dictionary()->data_pagesize(3000)->write_batch_size(100);
         p.encoding("bool", parquet::Encoding::RLE);
         for (const char* column : {"i8", "i16", "i32", "few", "i64", "u8", "date", "us", "ms"}) {
           p.encoding(column, parquet::Encoding::DELTA_BINARY_PACKED);
         }
         for (const char* column : {"float", "double", "d15", "d38", "fixed"}) {
           p.encoding(column, parquet::Encoding::BYTE_STREAM_SPLIT);
         }
         p.encoding("text", parquet::Encoding::DELTA_BYTE_ARRAY);
         p.encoding("short", parquet::Encoding::DELTA_LENGTH_BYTE_ARRAY);
         p.encoding("binary", parquet::Encoding::DELTA_BYTE_ARRAY);
         p.encoding("d18", parquet::Encoding::DELTA_BYTE_ARRAY);
       }},
      {"other encodings, version 2",
       [](auto& p) {
         p.disable_dictionary()->data_page_version(parquet::ParquetDataPageVersion::V2)->data_pagesize(3000);
         p.encoding("bool", parquet::Encoding::RLE);
         p.encoding("i64", parquet::Encoding::DELTA_BINARY_PACKED);
         p.encoding("text", parquet::Encoding::DELTA_LENGTH_BYTE_ARRAY);
       }},
      {"no statistics", [](auto& p) { p.disable_statistics()->data_pagesize(1000)->write_batch_size(50); }},
  };
  return ways;
}

// Every way to write times every kind of NULLs.
class ScanTest : public testing::TestWithParam<std::tuple<size_t, Nulls>> {};

TEST_P(ScanTest, ReadsWhatWasWritten) {
  const auto& [number, nulls] = GetParam();
  const Way& way = Ways()[number];
  SCOPED_TRACE(way.name);
  const auto written = RandomTable(number * 10 + static_cast<uint64_t>(nulls), 11'000, nulls);
  WriterProperties::Builder properties;
  way.set(properties);
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), properties.build(), 4'500);
  const auto table = Table::Open(folder.File("t.parquet"));
  EXPECT_EQ(table->rows(), 11'000U);
  const auto expected = Expected(written, *table);
  for (const uint32_t batch_rows : {kBatchRows, 1000U, 7U}) {
    SCOPED_TRACE(batch_rows);
    ExpectSame(expected, Scanned(*table, {.batch_rows = batch_rows}));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ScanTest,
                         testing::Combine(testing::Range<size_t>(0, 15),
                                          testing::Values(Nulls::kNone, Nulls::kSome, Nulls::kRuns, Nulls::kAll)));

TEST(ScanTest, AllWaysAreTried) { EXPECT_EQ(Ways().size(), 15U); }

TEST(ScanTest, TypesOfColumns) {
  TestFolder folder;
  WriteParquet(*RandomTable(1, 10, Nulls::kNone), folder.File("t.parquet"), parquet::default_writer_properties());
  std::map<std::string, std::string> types;
  const auto table = Table::Open(folder.File("t.parquet"));
  for (const TableColumn& column : table->columns()) {
    types[column.name] = column.type.Name();
    EXPECT_FALSE(column.nullable);
  }
  const std::map<std::string, std::string> expected = {{"bool", "boolean"},       {"i8", "tinyint"},
                                                       {"i16", "smallint"},       {"i32", "integer"},
                                                       {"few", "integer"},        {"i64", "bigint"},
                                                       {"u8", "smallint"},        {"u16", "integer"},
                                                       {"u32", "bigint"},         {"u64", "decimal(20,0)"},
                                                       {"float", "float"},        {"double", "double"},
                                                       {"half", "float"},         {"d5", "decimal(5,2)"},
                                                       {"d15", "decimal(15,2)"},  {"d18", "decimal(18,0)"},
                                                       {"d38", "decimal(38,10)"}, {"date", "date"},
                                                       {"ms", "timestamp"},       {"us", "timestamp"},
                                                       {"ns", "timestamp"},       {"utc", "timestamp with time zone"},
                                                       {"word", "varchar"},       {"text", "varchar"},
                                                       {"short", "varchar"},      {"binary", "varbinary"},
                                                       {"fixed", "varbinary"}};
  EXPECT_EQ(types, expected);
}

TEST(ScanTest, OutdatedTimestamps) {
  TableMaker maker(3, 5'000, Nulls::kSome);
  maker.Add<arrow::TimestampBuilder>("t", arrow::timestamp(arrow::TimeUnit::NANO), [&](int64_t) {
    return static_cast<int64_t>(maker.Random() >> 3) - (int64_t{1} << 60);
  });
  const auto written = maker.Finish();
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties(), 1 << 20,
               parquet::ArrowWriterProperties::Builder().enable_deprecated_int96_timestamps()->build());
  const auto table = Table::Open(folder.File("t.parquet"));
  ExpectSame(Expected(written, *table), Scanned(*table));
}

// What Arrow's tables cannot be written as: decimals of BYTE_ARRAY, intervals.
TEST(ScanTest, TypesThatArrowDoesNotWrite) {
  using parquet::schema::PrimitiveNode;
  TestFolder folder;
  const std::vector<std::pair<std::string, Int128>> decimals = {
      {"", 0},
      {std::string("\x7f", 1), 127},
      {std::string("\xff", 1), -1},
      {std::string("\x00\x80", 2), 128},
      {std::string("\xfe\xd4\x0d", 3), -76787},
      {std::string("\x80\x00\x00\x00\x00\x00\x00\x00", 8), std::numeric_limits<int64_t>::min()},
      {std::string("\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 9), Int128{std::numeric_limits<int64_t>::min()} - 1},
      {std::string("\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 18),
       -(Int128{1} << 120)}};
  {
    const auto root = parquet::schema::GroupNode::Make(
        "schema", parquet::Repetition::REQUIRED,
        {PrimitiveNode::Make("d", parquet::Repetition::REQUIRED, parquet::LogicalType::Decimal(38, 2),
                             parquet::Type::BYTE_ARRAY),
         PrimitiveNode::Make("i", parquet::Repetition::OPTIONAL, parquet::LogicalType::Interval(),
                             parquet::Type::FIXED_LEN_BYTE_ARRAY, 12)});
    const auto out = Get(arrow::io::FileOutputStream::Open(folder.File("t.parquet")));
    const auto writer = parquet::ParquetFileWriter::Open(
        out, std::static_pointer_cast<parquet::schema::GroupNode>(root), parquet::default_writer_properties());
    auto* group = writer->AppendRowGroup();
    auto& first = static_cast<parquet::ByteArrayWriter&>(*group->NextColumn());
    for (const auto& [bytes, value] : decimals) {
      const parquet::ByteArray one{bytes};
      first.WriteBatch(1, nullptr, nullptr, &one);
    }
    auto& second = static_cast<parquet::FixedLenByteArrayWriter&>(*group->NextColumn());
    for (size_t i = 0; i < decimals.size(); ++i) {
      const uint32_t parts[3] = {static_cast<uint32_t>(i), 2, 4'000'000'000};
      const parquet::FixedLenByteArray one(reinterpret_cast<const uint8_t*>(parts));
      const int16_t level = i % 3 == 0 ? 0 : 1;
      second.WriteBatch(1, &level, nullptr, &one);
    }
    writer->Close();
    Check(out->Close());
  }
  const auto table = Table::Open(folder.File("t.parquet"));
  const auto read = Scanned(*table);
  for (size_t i = 0; i < decimals.size(); ++i) {
    const auto d = Get(read->column(0)->GetScalar(static_cast<int64_t>(i)));
    const arrow::Decimal128 expected(static_cast<int64_t>(decimals[i].second >> 64),
                                     static_cast<uint64_t>(decimals[i].second));
    EXPECT_EQ(static_cast<const arrow::Decimal128Scalar&>(*d).value, expected) << i;
    const auto s = Get(read->column(1)->GetScalar(static_cast<int64_t>(i)));
    EXPECT_EQ(s->is_valid, i % 3 != 0);
    if (s->is_valid) {
      const auto& interval = static_cast<const arrow::MonthDayNanoIntervalScalar&>(*s).value;
      EXPECT_EQ(interval.months, static_cast<int32_t>(i));
      EXPECT_EQ(interval.days, 2);
      EXPECT_EQ(interval.nanoseconds, 4'000'000'000'000'000);
    }
  }
}

TEST(ScanTest, NothingToRead) {
  TestFolder folder;
  const auto empty = RandomTable(1, 0, Nulls::kSome);
  WriteParquet(*empty, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  EXPECT_EQ(table->rows(), 0U);
  EXPECT_EQ(Scanned(*table)->num_rows(), 0);
  EXPECT_EQ(table->Statistics(3).min, std::nullopt);
}

// count(*): batches of rows without columns.
TEST(ScanTest, NoColumns) {
  TestFolder folder;
  WriteParquet(*RandomTable(1, 10'000, Nulls::kSome), folder.File("t.parquet"), parquet::default_writer_properties(),
               3'000);
  const auto table = Table::Open(folder.File("t.parquet"));
  ScanOptions options{.columns = {"i32"}, .given = 0};
  EXPECT_EQ(Scanned(*table, options)->num_rows(), 10'000);
}

// A row group that is much larger than a thread's share is split.
TEST(ScanTest, ThreadsShareARowGroup) {
  TableMaker maker(5, 600'000, Nulls::kSome);
  maker.Add<arrow::Int64Builder>("some", arrow::int64(), [](int64_t row) { return row; });
  maker.Add<arrow::StringBuilder>("text", arrow::utf8(), [&](int64_t) { return maker.RandomString(20); });
  maker.Add<arrow::Int32Builder>("few", arrow::int32(), [](int64_t row) { return row % 100; });
  auto written = maker.Finish();
  arrow::Int64Builder ids;
  for (int64_t row = 0; row < written->num_rows(); ++row) Check(ids.Append(row));
  written = Get(written->AddColumn(0, arrow::field("id", arrow::int64(), false),
                                   std::make_shared<arrow::ChunkedArray>(Get(ids.Finish()))));
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  ExpectSame(Expected(written, *table), SortedBy(Scanned(*table, {.threads = 3}), "id"));
}

TEST(ScanTest, MemoryIsOfPagesNotOfRowGroups) {
  TableMaker maker(5, 1'000'000, Nulls::kNone);
  for (const char* name : {"a", "b", "c", "d"}) {
    maker.Add<arrow::Int64Builder>(name, arrow::int64(), [&](int64_t) { return maker.RandomInteger(); });
  }
  const auto written = maker.Finish();
  TestFolder folder;
  WriteParquet(*written, folder.File("t.parquet"),
               WriterProperties::Builder().disable_dictionary()->data_pagesize(64 << 10)->build());
  const auto table = Table::Open(folder.File("t.parquet"));
  size_t peak = 0;
  EXPECT_EQ(Scanned(*table, {.peak = &peak})->num_rows(), 1'000'000);
  EXPECT_LT(peak, size_t{3} << 20);  // 8 MB a column in the row group
}

std::string ErrorOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(ScanTest, FoldersAndPatterns) {
  TestFolder folder;
  const auto first = RandomTable(1, 700, Nulls::kSome), second = RandomTable(2, 300, Nulls::kNone);
  std::filesystem::create_directories(folder.File("t/part=1"));
  std::filesystem::create_directories(folder.File("t/_temporary"));
  std::filesystem::create_directories(folder.File("empty"));
  WriteParquet(*first, folder.File("t/b.parquet"), parquet::default_writer_properties());
  WriteParquet(*second, folder.File("t/part=1/a.parquet"),
               WriterProperties::Builder().enable_store_decimal_as_integer()->build());
  std::ofstream(folder.File("t/_SUCCESS")) << "";
  std::ofstream(folder.File("t/_temporary/c.parquet")) << "no Parquet";
  std::ofstream(folder.File("t/notes.txt")) << "no Parquet";
  for (const char* path : {"t", "t/"}) {
    const auto table = Table::Open(folder.File(path));
    EXPECT_EQ(table->rows(), 1000U);
    EXPECT_TRUE(table->columns()[0].nullable);
    const auto both = Get(arrow::ConcatenateTables({Expected(first, *table), Expected(second, *table)}));
    ExpectSame(Get(both->CombineChunks()), Scanned(*table));
  }
  EXPECT_EQ(Table::Open(folder.File("t/*.parquet"))->rows(), 700U);
  EXPECT_EQ(Table::Open(folder.File("t/?.parquet"))->rows(), 700U);
  EXPECT_EQ(ErrorOf([&] { Table::Open(folder.File("none.parquet")); }),
            folder.File("none.parquet") + ": no such file or folder");
  EXPECT_EQ(ErrorOf([&] { Table::Open(folder.File("none*.parquet")); }),
            folder.File("none*.parquet") + ": no such file, and none matches it");
  EXPECT_EQ(ErrorOf([&] { Table::Open(folder.File("empty")); }),
            folder.File("empty") + ": no file that ends in .parquet in this folder");
}

TEST(ScanTest, FilesThatDiffer) {
  TestFolder folder;
  const auto write = [&](const std::string& name,
                         const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& columns) {
    arrow::FieldVector fields;
    arrow::ArrayVector arrays;
    for (const auto& [column, type] : columns) {
      fields.push_back(arrow::field(column, type));
      arrays.push_back(Get(arrow::MakeArrayOfNull(type, 3)));
    }
    WriteParquet(*arrow::Table::Make(arrow::schema(fields), arrays), folder.File(name),
                 parquet::default_writer_properties());
  };
  write("1.parquet", {{"a", arrow::int32()}, {"b", arrow::utf8()}});
  write("2.parquet", {{"a", arrow::int32()}, {"b", arrow::int64()}});
  EXPECT_EQ(ErrorOf([&] { Table::Open(folder.path()); }),
            folder.File("2.parquet") + ": its columns differ from those of " + folder.File("1.parquet") +
                ": b bigint instead of b varchar");
  write("2.parquet", {{"a", arrow::int32()}});
  EXPECT_EQ(
      ErrorOf([&] { Table::Open(folder.path()); }),
      folder.File("2.parquet") + ": its columns differ from those of " + folder.File("1.parquet") + ": 1 instead of 2");
}

TEST(ScanTest, NestedColumnsAreRefusedOnlyWhereAskedFor) {
  TestFolder folder;
  const auto list = arrow::list(arrow::int32());
  const auto nested = arrow::struct_({arrow::field("x", arrow::int32()), arrow::field("y", arrow::utf8())});
  arrow::Int64Builder numbers;
  Check(numbers.AppendValues({1, 2, 3}));
  arrow::StringBuilder strings;
  Check(strings.AppendValues({"x", "y", "z"}));
  const auto written = arrow::Table::Make(
      arrow::schema({arrow::field("list", list), arrow::field("a", arrow::int64()), arrow::field("nested", nested),
                     arrow::field("b", arrow::utf8()), arrow::field("time", arrow::time32(arrow::TimeUnit::MILLI))}),
      {Get(arrow::MakeArrayOfNull(list, 3)), Get(numbers.Finish()), Get(arrow::MakeArrayOfNull(nested, 3)),
       Get(strings.Finish()), Get(arrow::MakeArrayOfNull(arrow::time32(arrow::TimeUnit::MILLI), 3))});
  WriteParquet(*written, folder.File("t.parquet"), parquet::default_writer_properties());
  const auto table = Table::Open(folder.File("t.parquet"));
  ASSERT_EQ(table->columns().size(), 5U);
  const auto read = Scanned(*table, {.columns = {"b", "a"}});
  EXPECT_TRUE(read->column(0)->Equals(written->GetColumnByName("b")));
  EXPECT_TRUE(read->column(1)->Equals(written->GetColumnByName("a")));
  const auto refused = [&](const std::string& name) {
    return ErrorOf([&] { Scanned(*table, {.columns = {"a", name}}); });
  };
  const std::string start = folder.File("t.parquet") + ": column ";
  EXPECT_EQ(refused("list"), start + "list cannot be read: nested columns are not supported");
  EXPECT_EQ(refused("nested"), start + "nested cannot be read: nested columns are not supported");
  EXPECT_EQ(refused("time"), start + "time cannot be read: times of day are not supported");
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(ScanTest, TruncatedAndForeignFiles) {
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  WriteParquet(*RandomTable(1, 5'000, Nulls::kSome), path, parquet::default_writer_properties());
  const std::string bytes = ReadFile(path);
  for (const size_t keep : {size_t{0}, size_t{3}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    WriteFile(path, bytes.substr(0, keep));
    EXPECT_EQ(ErrorOf([&] { Table::Open(path); }).find(path + ": is not a Parquet file that can be read: "), 0U);
  }
  WriteFile(path, bytes);
  const auto table = Table::Open(path);
  WriteFile(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(ErrorOf([&] { Scanned(*table); }), path + ": has changed since the query began; run it again");
}

// Bytes turned around anywhere before the footer: either an error that names file and column, or some values.
TEST(ScanTest, CorruptPagesAreErrorsNotCrashes) {
  TestFolder folder;
  const std::string path = folder.File("t.parquet");
  std::mt19937_64 random(7);
  int errors = 0;
  for (const size_t way : {0, 2, 4, 5, 6, 12}) {
    WriterProperties::Builder properties;
    Ways()[way].set(properties);
    WriteParquet(*RandomTable(way, 2'000, Nulls::kSome), path, properties.build());
    const std::string bytes = ReadFile(path);
    uint32_t footer;
    std::memcpy(&footer, bytes.data() + bytes.size() - 8, 4);
    const size_t pages = bytes.size() - 8 - footer;
    for (int trial = 0; trial < 60; ++trial) {
      std::string wrong = bytes;
      for (int i = 0; i < 20; ++i) wrong[4 + random() % (pages - 4)] = static_cast<char>(random());
      WriteFile(path, wrong);
      const auto table = Table::Open(path);
      for (const TableColumn& column : table->columns()) {
        const std::string error = ErrorOf([&] { Scanned(*table, {.columns = {column.name}, .batch_rows = 512}); });
        if (error == "no error") continue;
        ++errors;
        EXPECT_EQ(error.find(path + ": column " + column.name + " cannot be read: "), 0U) << error;
      }
    }
  }
  EXPECT_GT(errors, 300);
}

TEST(ScanTest, Statistics) {
  TableMaker maker(11, 100'000, Nulls::kNone);
  maker.Add<arrow::Int64Builder>("id", arrow::int64(), [](int64_t row) { return row * 2; });
  maker.Add<arrow::Int32Builder>("few", arrow::int32(), [&](int64_t) { return maker.Random() % 10 * 1000; });
  maker.Add<arrow::StringBuilder>("word", arrow::utf8(), [&](int64_t) { return std::to_string(maker.Random() % 500); });
  maker.Add<arrow::Decimal128Builder>("price", arrow::decimal128(15, 2), [&](int64_t) {
    return arrow::Decimal128(static_cast<int64_t>(maker.Random() % 3000) - 1000);
  });
  maker.Add<arrow::Int64Builder>("repeated", arrow::int64(), [](int64_t row) { return row / 4; });
  TestFolder folder;
  WriteParquet(*maker.Finish(), folder.File("t.parquet"), parquet::default_writer_properties(), 10'000);
  const auto table = Table::Open(folder.File("t.parquet"));
  const ColumnStatistics id = table->Statistics(0);
  EXPECT_EQ(id.min, Int128{0});
  EXPECT_EQ(id.max, Int128{199'998});
  EXPECT_EQ(id.nulls, 0U);
  EXPECT_GT(id.compressed_bytes, 100'000U);
  EXPECT_NEAR(id.distinct, 100'000, 5'000);
  EXPECT_NEAR(table->Statistics(1).distinct, 10, 1);
  EXPECT_NEAR(table->Statistics(2).distinct, 500, 50);
  EXPECT_EQ(table->Statistics(2).min, std::nullopt);
  EXPECT_NEAR(static_cast<double>(*table->Statistics(3).min), -1000, 0.1);
  EXPECT_NEAR(table->Statistics(3).distinct, 3000, 200);
  EXPECT_NEAR(table->Statistics(4).distinct, 25'000, 3'000);
}

}  // namespace
}  // namespace neap::engine
