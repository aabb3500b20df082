// parquet_fixture.h: random tables of Arrow, written as Parquet files in many ways, and read by the engine.
#pragma once

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/io/file.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/memory/arrow_pool.h"
#include "engine/result/arrow_batch.h"
#include "engine/run/query.h"
#include "engine/scan/table.h"

namespace neap::engine {

// A folder of one test, removed with what is in it.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "neap-parquet-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

template <class T>
T Get(arrow::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return std::move(result).ValueUnsafe();
}
inline void Check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

// How many of the rows are NULL.
enum class Nulls { kNone, kSome, kRuns, kAll };

// Makes columns row by row.
class TableMaker {
 public:
  TableMaker(uint64_t seed, int64_t rows, Nulls nulls) : random_(seed), rows_(rows) {
    bool null = false;
    for (int64_t row = 0; row < rows; ++row) {
      if (nulls == Nulls::kSome) null = random_() % 7 == 0;
      if (nulls == Nulls::kRuns && random_() % 500 == 0) null = !null;
      if (nulls == Nulls::kAll) null = true;
      null_.push_back(null);
    }
    nullable_ = nulls != Nulls::kNone;
  }

  // value(row) for rows that are not NULL, to a builder's Append.
  template <class Builder, class F>
  void Add(const std::string& name, const std::shared_ptr<arrow::DataType>& type, F&& value) {
    const auto made = Get(arrow::MakeBuilder(type));
    auto& builder = static_cast<Builder&>(*made);
    for (int64_t row = 0; row < rows_; ++row) {
      Check(null_[static_cast<size_t>(row)] ? builder.AppendNull() : builder.Append(value(row)));
    }
    fields_.push_back(arrow::field(name, type, nullable_));
    columns_.push_back(Get(builder.Finish()));
  }

  uint64_t Random() { return random_(); }
  // Values of all sizes, so that all bit widths occur.
  int64_t RandomInteger() { return static_cast<int64_t>(random_()) >> (random_() % 64); }
  std::string RandomString(size_t longest) {
    std::string text(random_() % (longest + 1), ' ');
    for (char& c : text) c = static_cast<char>('a' + random_() % 26);
    return text;
  }

  std::shared_ptr<arrow::Table> Finish() { return arrow::Table::Make(arrow::schema(fields_), columns_, rows_); }

 private:
  std::mt19937_64 random_;
  int64_t rows_;
  bool nullable_;
  std::vector<bool> null_;
  arrow::FieldVector fields_;
  arrow::ArrayVector columns_;
};

// Columns of every type that Parquet has and that is flat: of few and of many different values.
inline std::shared_ptr<arrow::Table> RandomTable(uint64_t seed, int64_t rows, Nulls nulls) {
  TableMaker maker(seed, rows, nulls);
  const auto integer = [&](int64_t) { return maker.RandomInteger(); };
  maker.Add<arrow::BooleanBuilder>("bool", arrow::boolean(), [&](int64_t) { return maker.Random() % 3 == 0; });
  maker.Add<arrow::Int8Builder>("i8", arrow::int8(), integer);
  maker.Add<arrow::Int16Builder>("i16", arrow::int16(), integer);
  maker.Add<arrow::Int32Builder>("i32", arrow::int32(), integer);
  maker.Add<arrow::Int32Builder>("few", arrow::int32(), [&](int64_t row) { return row / 50 % 9; });
  maker.Add<arrow::Int64Builder>("i64", arrow::int64(), integer);
  maker.Add<arrow::UInt8Builder>("u8", arrow::uint8(), integer);
  maker.Add<arrow::UInt16Builder>("u16", arrow::uint16(), integer);
  maker.Add<arrow::UInt32Builder>("u32", arrow::uint32(), integer);
  maker.Add<arrow::UInt64Builder>("u64", arrow::uint64(), integer);
  maker.Add<arrow::FloatBuilder>("float", arrow::float32(), [&](int64_t row) { return 0.5F * (row % 1000); });
  maker.Add<arrow::DoubleBuilder>("double", arrow::float64(), [&](int64_t row) {
    return row % 17 == 0 ? NAN : static_cast<double>(maker.RandomInteger()) / 3;
  });
  maker.Add<arrow::HalfFloatBuilder>("half", arrow::float16(), [&](int64_t) {
    const auto bits = static_cast<uint16_t>(maker.Random());
    return (bits & 0x7c00) == 0x7c00 ? static_cast<uint16_t>(bits & 0xfc00) : bits;
  });
  const auto decimal = [&](uint64_t most) {
    return [&maker, most](int64_t) {
      const auto value = arrow::Decimal128(static_cast<int64_t>(maker.Random() % most));
      return maker.Random() % 2 == 0 ? value : arrow::Decimal128(-value);
    };
  };
  maker.Add<arrow::Decimal128Builder>("d5", arrow::decimal128(5, 2), decimal(100'000));
  maker.Add<arrow::Decimal128Builder>("d15", arrow::decimal128(15, 2), decimal(1'000'000'000'000'000));
  maker.Add<arrow::Decimal128Builder>("d18", arrow::decimal128(18, 0), decimal(1'000'000'000'000'000'000));
  maker.Add<arrow::Decimal128Builder>("d38", arrow::decimal128(38, 10), [&](int64_t) {
    return arrow::Decimal128(static_cast<int64_t>(maker.Random() >> 2) - (int64_t{1} << 61), maker.Random());
  });
  maker.Add<arrow::Date32Builder>("date", arrow::date32(), [&](int64_t) { return 8000 + maker.Random() % 2500; });
  const auto time = [&](int64_t) { return static_cast<int64_t>(maker.Random() >> 3) - (int64_t{1} << 60); };
  maker.Add<arrow::TimestampBuilder>("ms", arrow::timestamp(arrow::TimeUnit::MILLI),
                                     [&](int64_t row) { return time(row) / 1000; });
  maker.Add<arrow::TimestampBuilder>("us", arrow::timestamp(arrow::TimeUnit::MICRO), time);
  maker.Add<arrow::TimestampBuilder>("ns", arrow::timestamp(arrow::TimeUnit::NANO), time);
  maker.Add<arrow::TimestampBuilder>("utc", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), time);
  maker.Add<arrow::StringBuilder>("word", arrow::utf8(), [&](int64_t row) {
    return row % 3 == 0 ? std::string() : "word number " + std::to_string(maker.Random() % 20);
  });
  maker.Add<arrow::StringBuilder>("text", arrow::utf8(), [&](int64_t) { return maker.RandomString(40); });
  maker.Add<arrow::StringBuilder>("short", arrow::utf8(), [&](int64_t) { return maker.RandomString(13); });
  maker.Add<arrow::BinaryBuilder>("binary", arrow::binary(), [&](int64_t) { return maker.RandomString(20); });
  maker.Add<arrow::FixedSizeBinaryBuilder>("fixed", arrow::fixed_size_binary(5), [&](int64_t) {
    return maker.RandomString(0) + std::to_string(10'000 + maker.Random() % 90'000);
  });
  return maker.Finish();
}

inline void WriteParquet(const arrow::Table& table, const std::string& path,
                         const std::shared_ptr<parquet::WriterProperties>& properties, int64_t group_rows = 1 << 20,
                         const std::shared_ptr<parquet::ArrowWriterProperties>& arrow_properties =
                             parquet::default_arrow_writer_properties()) {
  const auto out = Get(arrow::io::FileOutputStream::Open(path));
  Check(parquet::arrow::WriteTable(table, arrow::default_memory_pool(), out, group_rows, properties, arrow_properties));
  Check(out->Close());
}

// Arrow's casts and sorts are there from the start, whichever a test asks for first.
inline const bool kComputeInitialized = arrow::compute::Initialize().ok();

// A table as the engine is to read it, by Arrow's own casts.
inline std::shared_ptr<arrow::Table> Expected(const std::shared_ptr<arrow::Table>& table, const Table& read) {
  arrow::FieldVector fields;
  arrow::ChunkedArrayVector columns;
  arrow::compute::CastOptions options;
  options.allow_time_truncate = true;
  for (const TableColumn& column : read.columns()) {
    const auto type = ArrowTypeOf(column.type);
    auto from = table->GetColumnByName(column.name);
    // Arrow truncates towards zero, the engine to the microsecond before.
    if (from->type()->id() == arrow::Type::TIMESTAMP &&
        static_cast<const arrow::TimestampType&>(*from->type()).unit() == arrow::TimeUnit::NANO) {
      from = Get(arrow::compute::FloorTemporal(
                     from, arrow::compute::RoundTemporalOptions(1, arrow::compute::CalendarUnit::MICROSECOND)))
                 .chunked_array();
    }
    fields.push_back(arrow::field(column.name, type));
    columns.push_back(type->Equals(from->type()) ? from
                                                 : Get(arrow::compute::Cast(from, type, options)).chunked_array());
  }
  return Get(arrow::Table::Make(arrow::schema(fields), columns, table->num_rows())->CombineChunks());
}

struct ScanOptions {
  std::vector<std::string> columns = {};            // empty: all
  std::optional<Expression> filter = std::nullopt;  // over ColumnId i for columns[i]
  size_t given = SIZE_MAX;                          // how many of the columns come out
  std::vector<RuntimeFilterUse> runtime_filters = {};
  uint32_t threads = 1;
  uint32_t batch_rows = kBatchRows;
  size_t* peak = nullptr;  // of the scan's memory
  std::shared_ptr<QueryPool> pool = nullptr;
};

inline uint32_t ColumnOf(const Table& table, const std::string& name) {
  for (uint32_t i = 0; i < table.columns().size(); ++i) {
    if (table.columns()[i].name == name) return i;
  }
  throw std::runtime_error("no column " + name);
}

// What a scan gives. In the order of the file where threads is 1.
inline std::shared_ptr<arrow::Table> Scanned(Table& table, ScanOptions options = {}) {
  if (options.columns.empty()) {
    for (const TableColumn& column : table.columns()) options.columns.push_back(column.name);
  }
  std::vector<size_t> columns;
  std::vector<ColumnId> ids;
  std::vector<ResultColumn> given;
  for (const std::string& name : options.columns) {
    columns.push_back(ColumnOf(table, name));
    ids.push_back(static_cast<ColumnId>(ids.size()));
    if (given.size() < options.given) given.push_back({name, table.columns()[columns.back()].type});
  }
  const auto schema = ArrowSchemaOf(given);

  struct Collect : Stage {
    Collect(const std::shared_ptr<arrow::Schema>& of, size_t count) : Stage(nullptr), schema(of), columns(count) {}
    void Push(Batch& batch) override {
      ASSERT_EQ(batch.columns.size(), columns);
      ASSERT_GT(batch.selected, 0U);
      const neap::Scope scope(neap_arena_root());  // the batches outlive the query
      batches.push_back(ToArrow(batch, schema, arrow::default_memory_pool()));
    }
    std::shared_ptr<arrow::Schema> schema;
    size_t columns;
    arrow::RecordBatchVector batches;
  };

  QueryOptions query_options;
  query_options.threads = options.threads;
  query_options.batch_rows = options.batch_rows;
  Query query(query_options, nullptr, options.pool);
  arrow::RecordBatchVector batches;
  {
    Memory memory(&query.memory(), "scan");
    {
      Chain chain;
      chain.inputs.resize(1);
      chain.inputs[0].source = table.Scan(columns, ids, given.size(), options.filter, options.runtime_filters, memory);
      std::vector<std::unique_ptr<Collect>> stages;
      std::vector<Stage*> results;
      for (uint32_t i = 0; i < options.threads; ++i) {
        stages.push_back(std::make_unique<Collect>(schema, given.size()));
        results.push_back(stages.back().get());
      }
      query.Run(chain, results);
      for (const auto& stage : stages) batches.insert(batches.end(), stage->batches.begin(), stage->batches.end());
    }
    if (options.peak != nullptr) *options.peak = memory.Peak();
    EXPECT_EQ(memory.Stats().live, 0U);
  }
  return Get(Get(arrow::Table::FromRecordBatches(schema, batches))->CombineChunks());
}

inline void ExpectSame(const std::shared_ptr<arrow::Table>& expected, const std::shared_ptr<arrow::Table>& actual) {
  ASSERT_EQ(expected->schema()->ToString(), actual->schema()->ToString());
  ASSERT_EQ(expected->num_rows(), actual->num_rows());
  const auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
  for (int i = 0; i < expected->num_columns(); ++i) {
    const auto& a = expected->column(i);
    const auto& b = actual->column(i);
    if (a->Equals(*b, equal)) continue;
    std::string difference = "?";
    for (int64_t row = 0; row < a->length() && difference == "?"; ++row) {
      const auto x = Get(a->GetScalar(row)), y = Get(b->GetScalar(row));
      if (!x->Equals(*y, equal)) {
        difference = "row " + std::to_string(row) + ": " + x->ToString() + " instead of " + y->ToString();
      }
    }
    ADD_FAILURE() << expected->field(i)->name() << ": " << difference;
  }
}

// The rows by the values of an integer column.
inline std::shared_ptr<arrow::Table> SortedBy(const std::shared_ptr<arrow::Table>& table, const std::string& column) {
  const auto order =
      Get(arrow::compute::SortIndices(table, arrow::compute::SortOptions({arrow::compute::SortKey(column)})));
  return Get(Get(arrow::compute::Take(table, order)).table()->CombineChunks());
}

}  // namespace neap::engine
