// result_test.cc: batches as Arrow and back, and as text and files, compared with what Arrow reads of them.
#include <arrow/array.h>
#include <arrow/c/bridge.h>
#include <arrow/csv/api.h>
#include <arrow/ipc/reader.h>
#include <arrow/json/api.h>
#include <parquet/arrow/reader.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <thread>
#include <tuple>
#include <unordered_map>

#include "engine/core/error.h"
#include "engine/core/value_text.h"
#include "engine/result/arrow_stream.h"
#include "engine/result/result_writer.h"
#include "tests/engine/parquet_fixture.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

std::string Text(const Type& type, auto value) {
  std::string text;
  AppendValue(type, &value, text);
  return text;
}

TEST(ValueTextTest, Numbers) {
  EXPECT_EQ(Text({TypeId::kBool}, uint8_t{1}), "true");
  EXPECT_EQ(Text({TypeId::kBool}, uint8_t{0}), "false");
  EXPECT_EQ(Text({TypeId::kInt8}, int8_t{-128}), "-128");
  EXPECT_EQ(Text({TypeId::kInt64}, std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(Text({TypeId::kDouble}, 1.0), "1.0");
  EXPECT_EQ(Text({TypeId::kDouble}, 0.1), "0.1");
  EXPECT_EQ(Text({TypeId::kDouble}, 1e300), "1e+300");
  EXPECT_EQ(Text({TypeId::kDouble}, -0.0), "-0.0");
  EXPECT_EQ(Text({TypeId::kDouble}, std::nan("")), "NaN");
  EXPECT_EQ(Text({TypeId::kFloat}, 0.1F), "0.1");
  EXPECT_EQ(Text({TypeId::kFloat}, -HUGE_VALF), "-Infinity");
  EXPECT_EQ(Text(Type::Decimal(5, 2), int64_t{0}), "0.00");
  EXPECT_EQ(Text(Type::Decimal(5, 2), int64_t{-5}), "-0.05");
  EXPECT_EQ(Text(Type::Decimal(15, 2), int64_t{123456789}), "1234567.89");
  EXPECT_EQ(Text(Type::Decimal(5, 0), int64_t{-70}), "-70");
  EXPECT_EQ(Text(Type::Decimal(18, 18), int64_t{1}), "0.000000000000000001");
  const Int128 most = (Int128{4681} << 114) / 100 + 1;  // any with many digits
  std::string digits;
  for (Int128 rest = most; rest != 0; rest /= 10) digits.insert(digits.begin(), static_cast<char>('0' + rest % 10));
  digits.insert(digits.size() - 10, ".");
  EXPECT_EQ(Text(Type::Decimal(38, 10), most), digits);
  EXPECT_EQ(Text(Type::Decimal(38, 10), -most), "-" + digits);
}

TEST(ValueTextTest, Times) {
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{0}), "1970-01-01");
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{-1}), "1969-12-31");
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{11016}), "2000-02-29");
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{-719162}), "0001-01-01");
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{-719529}), "-0001-12-31");
  EXPECT_EQ(Text({TypeId::kDate}, int32_t{2932897}), "10000-01-01");
  EXPECT_EQ(Text({TypeId::kTimestamp}, int64_t{0}), "1970-01-01 00:00:00");
  EXPECT_EQ(Text({TypeId::kTimestamp}, int64_t{-1}), "1969-12-31 23:59:59.999999");
  EXPECT_EQ(Text({TypeId::kTimestamp}, int64_t{951782400250000}), "2000-02-29 00:00:00.25");
  EXPECT_EQ(Text({TypeId::kTimestampTz}, int64_t{951825605000000}), "2000-02-29 12:00:05+00");
  const auto interval = [](int32_t months, int32_t days, int64_t micros) {
    return Text({TypeId::kInterval}, Interval{months, days, micros});
  };
  EXPECT_EQ(interval(0, 0, 0), "00:00:00");
  EXPECT_EQ(interval(14, -3, 14706500000), "1 year 2 months -3 days 04:05:06.5");
  EXPECT_EQ(interval(-1, 1, 0), "-1 month 1 day");
  EXPECT_EQ(interval(0, 0, std::numeric_limits<int64_t>::min()), "-2562047788:00:54.775808");
}

// Every day of three thousand years, by counting.
TEST(ValueTextTest, Calendar) {
  int64_t year = 0;
  uint32_t month = 1, day = 1;
  for (int64_t days = -719528; days < 400'000; ++days) {
    const CivilDate date = CivilOfDays(days);
    ASSERT_EQ(std::tie(date.year, date.month, date.day), std::tie(year, month, day)) << days;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    const uint32_t lengths[] = {31, leap ? 29U : 28U, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (++day > lengths[month - 1]) day = 1, ++month;
    if (month > 12) month = 1, ++year;
  }
}

std::vector<ResultColumn> ColumnsOf(const arrow::Schema& schema, const Table& table) {
  std::vector<ResultColumn> columns;
  for (const auto& field : schema.fields()) {
    columns.push_back({field->name(), table.columns()[ColumnOf(table, field->name())].type});
  }
  return columns;
}

// A random table in a file, and the table as it should come out of a scan.
struct Fixture {
  explicit Fixture(uint64_t seed = 1, int64_t rows = 10'000) {
    const auto written = RandomTable(seed, rows, Nulls::kSome);
    WriteParquet(*written, folder.File("in.parquet"), parquet::default_writer_properties(), 3'000);
    table = Table::Open(folder.File("in.parquet"));
    expected = Expected(written, *table);
    columns = ColumnsOf(*expected->schema(), *table);
  }

  // Runs the scan into f(batch), one thread.
  void Run(const std::function<void(Batch&)>& f) const {
    struct Pushed : Stage {
      explicit Pushed(const std::function<void(Batch&)>& to) : Stage(nullptr), push(to) {}
      void Push(Batch& batch) override { push(batch); }
      const std::function<void(Batch&)>& push;
    };
    QueryOptions options;
    options.threads = 1;
    Query query(options, nullptr);
    Memory memory(&query.memory(), "scan");
    Chain chain;
    chain.inputs.resize(1);
    std::vector<size_t> all(columns.size());
    std::vector<ColumnId> ids(columns.size());
    std::iota(all.begin(), all.end(), 0);
    std::iota(ids.begin(), ids.end(), 0);
    chain.inputs[0].source = table->Scan(all, ids, all.size(), std::nullopt, {}, memory);
    Pushed stage(f);
    query.Run(chain, {&stage});
  }

  void Write(ResultFormat format, const std::string& path) const {
    Memory memory(nullptr, "writer");
    {
      const auto writer = MakeResultWriter(format, columns, path, {}, memory);
      Run([&](Batch& batch) { writer->Write(batch); });
      writer->Finish();
    }
    EXPECT_EQ(memory.Stats().live, 0U);
  }

  TestFolder folder;
  std::shared_ptr<Table> table;
  std::shared_ptr<arrow::Table> expected;
  std::vector<ResultColumn> columns;
};

// Batches of every type, flat, dictionary and with selections, value by value.
TEST(ArrowBatchTest, EveryTypeAndShape) {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const RandomBatch made(random, AllTypes(), 1 + random() % 300, {.selection = trial % 2 == 0});
    const Batch& batch = made.batch;
    std::vector<ResultColumn> columns;
    for (size_t i = 0; i < batch.columns.size(); ++i) columns.push_back({std::to_string(i), batch.columns[i].type});
    const auto copy = ToArrow(batch, ArrowSchemaOf(columns), arrow::default_memory_pool());
    Check(copy->Validate());
    ASSERT_EQ(copy->num_rows(), batch.selected);
    int64_t i = 0;
    batch.ForEach([&](uint32_t row) {
      for (size_t c = 0; c < batch.columns.size(); ++c) {
        const Column& column = batch.columns[c];
        const auto scalar = Get(copy->column(static_cast<int>(c))->GetScalar(i));
        const Cell cell = CellAt(column, row);
        ASSERT_EQ(scalar->is_valid, cell.has_value() && column.type.id != TypeId::kNull);
        if (!scalar->is_valid) continue;
        std::string bytes;
        if (const auto* binary = dynamic_cast<const arrow::BaseBinaryScalar*>(scalar.get())) {
          bytes = std::string(binary->view());
        } else if (const auto* boolean = dynamic_cast<const arrow::BooleanScalar*>(scalar.get())) {
          bytes = std::string(1, boolean->value ? '\1' : '\0');
        } else if (const auto* interval = dynamic_cast<const arrow::MonthDayNanoIntervalScalar*>(scalar.get())) {
          const Interval value{interval->value.months, interval->value.days, interval->value.nanoseconds / 1000};
          bytes.assign(reinterpret_cast<const char*>(&value), sizeof(value));
        } else {
          const auto& primitive = dynamic_cast<const arrow::internal::PrimitiveScalarBase&>(*scalar);
          bytes = std::string(primitive.view()).substr(0, column.type.width());  // decimals: the low half
        }
        ASSERT_EQ(bytes, *cell) << column.type.Name();
      }
      ++i;
    });
  }
}

TEST(ArrowStreamTest, OutAndInAgain) {
  const Fixture fixture;
  const auto out = ArrowExport::Make(fixture.columns);
  ArrowArrayStream stream;
  out->Export(&stream);
  std::thread producer([&] {
    fixture.Run([&](Batch& batch) { out->Push(batch); });
    out->Finish();
  });
  QueryOptions options;
  options.threads = 2;
  Query query(options, nullptr);
  std::vector<arrow::RecordBatchVector> batches(2);
  {
    Memory memory(&query.memory(), "import");
    Chain chain;
    chain.inputs.resize(1);
    auto source = std::make_unique<ArrowImport>(&stream, memory);
    ASSERT_EQ(source->columns().size(), fixture.columns.size());
    for (size_t i = 0; i < fixture.columns.size(); ++i) {
      EXPECT_EQ(source->columns()[i].name, fixture.columns[i].name);
      EXPECT_EQ(source->columns()[i].type, fixture.columns[i].type);
    }
    chain.inputs[0].source = std::move(source);
    struct Collect : Stage {
      Collect() : Stage(nullptr) {}
      void Push(Batch& batch) override {
        const neap::Scope scope(neap_arena_root());
        batches.push_back(ToArrow(batch, schema, arrow::default_memory_pool()));
      }
      std::shared_ptr<arrow::Schema> schema;
      arrow::RecordBatchVector batches;
    };
    Collect stages[2];
    for (Collect& stage : stages) stage.schema = fixture.expected->schema();
    query.Run(chain, {&stages[0], &stages[1]});
    producer.join();
    for (size_t i = 0; i < 2; ++i) batches[i] = stages[i].batches;
  }
  // Each thread's batches are in order; together they are all rows.
  int64_t rows = 0;
  for (const auto& part : batches) {
    for (const auto& batch : part) rows += batch->num_rows();
  }
  EXPECT_EQ(rows, fixture.expected->num_rows());
  batches[0].insert(batches[0].end(), batches[1].begin(), batches[1].end());
  const auto read = Get(arrow::Table::FromRecordBatches(fixture.expected->schema(), batches[0]));
  ExpectSame(SortedBy(fixture.expected, "us"), SortedBy(read, "us"));
}

TEST(ArrowStreamTest, FailureReachesTheReader) {
  const auto out = ArrowExport::Make({{"a", {TypeId::kInt32}}});
  ArrowArrayStream stream;
  out->Export(&stream);
  out->Fail("no room");
  ArrowArray array;
  EXPECT_NE(stream.get_next(&stream, &array), 0);
  EXPECT_NE(std::string(stream.get_last_error(&stream)).find("no room"), std::string::npos);
  stream.release(&stream);
}

// A reader that goes away does not block who pushes.
TEST(ArrowStreamTest, ReleasedBeforeItsEnd) {
  const Fixture fixture;
  const auto out = ArrowExport::Make(fixture.columns);
  ArrowArrayStream stream;
  out->Export(&stream);
  std::thread reader([&] {
    ArrowArray array;
    EXPECT_EQ(stream.get_next(&stream, &array), 0);
    array.release(&array);
    stream.release(&stream);
  });
  for (int i = 0; i < 20; ++i) fixture.Run([&](Batch& batch) { out->Push(batch); });
  reader.join();
  EXPECT_TRUE(out->abandoned());
}

// Everything else that Arrow has and that is flat.
TEST(ArrowStreamTest, ForeignTypes) {
  const auto cast = [](const std::shared_ptr<arrow::Array>& array, const std::shared_ptr<arrow::DataType>& type) {
    return Get(arrow::compute::Cast(*array, type));
  };
  const int64_t rows = 5'000;
  TableMaker maker(9, rows, Nulls::kSome);
  maker.Add<arrow::Int64Builder>("positive", arrow::int64(), [&](int64_t) { return maker.Random() % 200; });
  maker.Add<arrow::StringBuilder>("word", arrow::utf8(),
                                  [&](int64_t) { return "quite a long word " + std::to_string(maker.Random() % 30); });
  maker.Add<arrow::Date32Builder>("date", arrow::date32(), [&](int64_t) { return maker.Random() % 10'000; });
  maker.Add<arrow::TimestampBuilder>("s", arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"),
                                     [&](int64_t) { return maker.RandomInteger() % 1'000'000'000; });
  maker.Add<arrow::Decimal128Builder>("d", arrow::decimal128(12, 3),
                                      [&](int64_t) { return arrow::Decimal128(maker.RandomInteger() % 1'000'000); });
  const auto base = maker.Finish();
  const auto column = [&](const char* name) { return base->GetColumnByName(name)->chunk(0); };
  arrow::ArrayVector arrays;
  arrow::FieldVector fields;
  arrow::ArrayVector expected;
  const auto add = [&](const std::shared_ptr<arrow::Array>& array, const std::shared_ptr<arrow::Array>& read_as) {
    fields.push_back(arrow::field(std::to_string(fields.size()), array->type()));
    arrays.push_back(array);
    expected.push_back(read_as);
  };
  const auto positive = column("positive");
  add(cast(positive, arrow::uint8()), cast(positive, arrow::int16()));
  add(cast(positive, arrow::uint16()), cast(positive, arrow::int32()));
  add(cast(positive, arrow::uint32()), positive);
  add(cast(positive, arrow::uint64()), cast(positive, arrow::decimal128(20, 0)));
  add(cast(cast(positive, arrow::float32()), arrow::float16()), cast(positive, arrow::float32()));
  add(cast(column("word"), arrow::large_utf8()), column("word"));
  add(cast(column("word"), arrow::utf8_view()), column("word"));
  add(Get(arrow::compute::DictionaryEncode(column("word"))).make_array(), column("word"));
  add(cast(column("word"), arrow::large_binary()), cast(column("word"), arrow::binary()));
  add(cast(column("date"), arrow::date64()), column("date"));
  add(column("s"), cast(column("s"), arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")));
  add(cast(column("d"), arrow::decimal64(12, 3)), column("d"));
  add(cast(column("d"), arrow::decimal32(9, 3)), cast(column("d"), arrow::decimal128(9, 3)));
  add(Get(arrow::MakeArrayOfNull(arrow::null(), rows)), Get(arrow::MakeArrayOfNull(arrow::null(), rows)));
  const auto whole = arrow::RecordBatch::Make(arrow::schema(fields), rows, arrays);
  // Slices, so that nothing starts where its buffers do.
  const auto reader =
      Get(arrow::RecordBatchReader::Make({whole->Slice(0, 3), whole->Slice(3, 4'500), whole->Slice(4'503)}));
  ArrowArrayStream stream;
  Check(arrow::ExportRecordBatchReader(reader, &stream));
  QueryOptions options;
  options.threads = 1;
  Query query(options, nullptr);
  arrow::RecordBatchVector batches;
  Memory memory(&query.memory(), "import");
  ArrowImport source(&stream, memory);
  const auto schema = ArrowSchemaOf(source.columns());
  Worker worker{&query, 0};
  const auto cursor = source.MakeCursor(worker);
  Batch batch;
  while (cursor->Next(batch)) batches.push_back(ToArrow(batch, schema, arrow::default_memory_pool()));
  const auto read = Get(Get(arrow::Table::FromRecordBatches(schema, batches))->CombineChunks());
  ExpectSame(arrow::Table::Make(schema, expected, rows), read);
}

TEST(ArrowStreamTest, NestedTypesAreRefused) {
  const auto type = arrow::list(arrow::int32());
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("l", type)}), 1, {Get(arrow::MakeArrayOfNull(type, 1))});
  ArrowArrayStream stream;
  Check(arrow::ExportRecordBatchReader(Get(arrow::RecordBatchReader::Make({batch})), &stream));
  Memory memory(nullptr, "import");
  try {
    ArrowImport source(&stream, memory);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "column l of the Arrow stream has the type list<item: int32>, which is not supported");
  }
}

TEST(WriterTest, Parquet) {
  const Fixture fixture;
  const std::string path = fixture.folder.File("out.parquet");
  fixture.Write(ResultFormat::kParquet, path);
  ExpectSame(fixture.expected, Scanned(*Table::Open(path)));
  const auto file = Get(arrow::io::ReadableFile::Open(path));
  const auto reader = Get(parquet::arrow::OpenFile(file, arrow::default_memory_pool()));
  ExpectSame(fixture.expected, Get(Get(reader->ReadTable())->CombineChunks()));
}

TEST(WriterTest, ArrowFileAndStream) {
  const Fixture fixture;
  const std::string path = fixture.folder.File("out.arrow");
  fixture.Write(ResultFormat::kArrowFile, path);
  const auto file = Get(arrow::ipc::RecordBatchFileReader::Open(Get(arrow::io::ReadableFile::Open(path))));
  ExpectSame(fixture.expected, Get(Get(file->ToTable())->CombineChunks()));
  fixture.Write(ResultFormat::kArrowStream, path);
  const auto stream = Get(arrow::ipc::RecordBatchStreamReader::Open(Get(arrow::io::ReadableFile::Open(path))));
  ExpectSame(fixture.expected, Get(Get(stream->ToTable())->CombineChunks()));
}

TEST(WriterTest, NoRows) {
  const Fixture fixture(1, 0);
  const std::string path = fixture.folder.File("out");
  fixture.Write(ResultFormat::kArrowFile, path);
  const auto file = Get(arrow::ipc::RecordBatchFileReader::Open(Get(arrow::io::ReadableFile::Open(path))));
  EXPECT_EQ(Get(file->ToTable())->num_rows(), 0);
  fixture.Write(ResultFormat::kParquet, path);
  EXPECT_EQ(Table::Open(path)->rows(), 0U);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Arrow's readers take what is written for what it was.
TEST(WriterTest, CsvAndJsonAsArrowReadsThem) {
  const Fixture fixture;
  arrow::FieldVector fields;
  arrow::ChunkedArrayVector columns;
  std::unordered_map<std::string, std::shared_ptr<arrow::DataType>> types;
  for (const char* name : {"bool", "i8", "i32", "i64", "float", "d5", "d15", "d38", "date", "word", "text", "short"}) {
    const auto field = fixture.expected->schema()->GetFieldByName(name);
    fields.push_back(field);
    columns.push_back(fixture.expected->GetColumnByName(name));
    types[name] = field->type();
  }
  const auto expected = arrow::Table::Make(arrow::schema(fields), columns);

  const std::string csv = fixture.folder.File("out.csv");
  fixture.Write(ResultFormat::kCsv, csv);
  auto convert = arrow::csv::ConvertOptions::Defaults();
  convert.column_types = types;
  convert.null_values = {""};
  convert.strings_can_be_null = true;
  convert.quoted_strings_can_be_null = false;
  for (const auto& field : fields) convert.include_columns.push_back(field->name());
  const auto csv_reader = Get(arrow::csv::TableReader::Make(
      arrow::io::default_io_context(), Get(arrow::io::ReadableFile::Open(csv)), arrow::csv::ReadOptions::Defaults(),
      arrow::csv::ParseOptions::Defaults(), convert));
  ExpectSame(expected, Get(Get(csv_reader->Read())->CombineChunks()));

  const std::string json = fixture.folder.File("out.json");
  fixture.Write(ResultFormat::kJsonLines, json);
  auto parse = arrow::json::ParseOptions::Defaults();
  arrow::FieldVector read_as;
  for (const auto& field : fields) {
    // Arrow reads decimals from strings alone, and dates from numbers.
    if (field->type()->id() == arrow::Type::DECIMAL128) continue;
    read_as.push_back(field->name() == "date" ? field->WithType(arrow::utf8()) : field);
  }
  parse.explicit_schema = arrow::schema(read_as);
  parse.unexpected_field_behavior = arrow::json::UnexpectedFieldBehavior::Ignore;
  const auto json_reader =
      Get(arrow::json::TableReader::Make(arrow::default_memory_pool(), Get(arrow::io::ReadableFile::Open(json)),
                                         arrow::json::ReadOptions::Defaults(), parse));
  const auto read = Get(Get(json_reader->Read())->CombineChunks());
  for (const auto& field : read_as) {
    const auto as_read = Get(arrow::compute::Cast(expected->GetColumnByName(field->name()), field->type()));
    EXPECT_TRUE(read->GetColumnByName(field->name())->Equals(*as_read.chunked_array())) << field->name();
  }
}

// One column of each kind that text shows in its own way.
struct Sample {
  Sample() {
    columns = {{"name, of \"it\"", {TypeId::kString}},
               {"n", {TypeId::kInt64}},
               {"price", Type::Decimal(7, 2)},
               {"x", {TypeId::kDouble}},
               {"d", {TypeId::kDate}},
               {"b", {TypeId::kBinary}}};
    const auto add = [&](const void* data) {
      Column column;
      column.type = columns[batch.columns.size()].type;
      column.data = data;
      column.valid = valid;
      batch.columns.push_back(column);
    };
    add(names);
    add(numbers);
    add(prices);
    add(reals);
    add(dates);
    add(bytes);
    batch.SetAll(4);
  }
  uint8_t valid[4] = {1, 1, 0, 1};
  View names[4] = {View("plain"), View("a \"quote\", and\na line"), View(), View("")};
  int64_t numbers[4] = {1, -20, 0, 300};
  int64_t prices[4] = {5, 123456, 0, -100};
  double reals[4] = {0.5, std::nan(""), 0, 1e20};
  int32_t dates[4] = {0, 1, 0, -1};
  View bytes[4] = {View(std::string_view("\x00\xff", 2)), View(""), View(), View("A")};
  std::vector<ResultColumn> columns;
  Batch batch;

  std::string As(ResultFormat format, const ResultOptions& options = {}, int times = 1) const {
    TestFolder folder;
    Memory memory(nullptr, "writer");
    const auto writer = MakeResultWriter(format, columns, folder.File("out"), options, memory);
    for (int i = 0; i < times; ++i) writer->Write(batch);
    writer->Finish();
    return ReadFile(folder.File("out"));
  }
};

TEST(WriterTest, CsvExactly) {
  EXPECT_EQ(Sample().As(ResultFormat::kCsv),
            "\"name, of \"\"it\"\"\",n,price,x,d,b\n"
            "plain,1,0.05,0.5,1970-01-01,00ff\n"
            "\"a \"\"quote\"\", and\na line\",-20,1234.56,NaN,1970-01-02,\n"
            ",,,,,\n"
            "\"\",300,-1.00,1e+20,1969-12-31,41\n");
}

TEST(WriterTest, JsonExactly) {
  Sample sample;
  sample.names[0] = View("\x01\xc3\xa9\xff\\");
  EXPECT_EQ(sample.As(ResultFormat::kJsonLines),
            "{\"name, of \\\"it\\\"\":\"\\u0001\xc3\xa9\xef\xbf\xbd\\\\\",\"n\":1,\"price\":0.05,\"x\":0.5,"
            "\"d\":\"1970-01-01\",\"b\":\"00ff\"}\n"
            "{\"name, of \\\"it\\\"\":\"a \\\"quote\\\", and\\na line\",\"n\":-20,\"price\":1234.56,\"x\":null,"
            "\"d\":\"1970-01-02\",\"b\":\"\"}\n"
            "{\"name, of \\\"it\\\"\":null,\"n\":null,\"price\":null,\"x\":null,\"d\":null,\"b\":null}\n"
            "{\"name, of \\\"it\\\"\":\"\",\"n\":300,\"price\":-1.00,\"x\":1e+20,\"d\":\"1969-12-31\",\"b\":\"41\"}\n");
}

std::string WithoutTime(std::string table) {
  const size_t comma = table.rfind(", ");
  const size_t end = table.rfind(" s)\n");
  EXPECT_NE(comma, std::string::npos);
  EXPECT_EQ(end, table.size() - 4);
  return table.substr(0, comma) + ")\n";
}

TEST(WriterTest, TableExactly) {
  Sample sample;
  sample.names[3] = View("\xe6\xbc\xa2\xe5\xad\x97");  // two wide characters
  EXPECT_EQ(WithoutTime(sample.As(ResultFormat::kTable)),
            " name, of \"it\"          | n    | price   | x     | d          | b\n"
            "------------------------+------+---------+-------+------------+------\n"
            " plain                  |    1 |    0.05 |   0.5 | 1970-01-01 | 00ff\n"
            " a \"quote\", and\\na line |  -20 | 1234.56 |   NaN | 1970-01-02 | \n"
            " NULL                   | NULL |    NULL |  NULL | NULL       | NULL\n"
            " \xe6\xbc\xa2\xe5\xad\x97                   |  300 |   -1.00 | 1e+20 | 1969-12-31 | 41\n"
            "(4 rows)\n");
}

TEST(WriterTest, TableOfTheFirstRowsAndShortCells) {
  const std::string table = WithoutTime(Sample().As(ResultFormat::kTable, {.most_rows = 2, .longest_cell = 6}, 1000));
  EXPECT_EQ(table,
            " name,\xe2\x80\xa6 | n   | price  | x   | d      | b\n"
            "--------+-----+--------+-----+--------+------\n"
            " plain  |   1 |   0.05 | 0.5 | 1970-\xe2\x80\xa6 | 00ff\n"
            " a \"qu\xe2\x80\xa6 | -20 | 1234.\xe2\x80\xa6 | NaN | 1970-\xe2\x80\xa6 | \n"
            "(4000 rows, the first 2 shown)\n");
}

TEST(WriterTest, TableOfAllRows) {
  const std::string table = WithoutTime(Sample().As(ResultFormat::kTable, {.most_rows = 0}, 1000));
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 4003);
  EXPECT_NE(table.find("(4000 rows)\n"), std::string::npos);
}

TEST(WriterTest, WhatIsNotFinishedIsNoFile) {
  TestFolder folder;
  Memory memory(nullptr, "writer");
  const Sample sample;
  for (const ResultFormat format : {ResultFormat::kCsv, ResultFormat::kParquet, ResultFormat::kArrowFile}) {
    MakeResultWriter(format, sample.columns, folder.File("out"), {}, memory)->Write(sample.batch);
    EXPECT_FALSE(std::filesystem::exists(folder.File("out")));
  }
  const auto error_of = [&](const std::string& path) -> std::string {
    try {
      const auto writer = MakeResultWriter(ResultFormat::kCsv, sample.columns, path, {}, memory);
      for (int i = 0; i < 10'000; ++i) writer->Write(sample.batch);
      writer->Finish();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of(folder.File("none/out")),
            folder.File("none/out") + ": cannot be written: No such file or directory");
}

}  // namespace
}  // namespace neap::engine
