// random_batch.h: batches of random values of every type, flat and as dictionaries, with NULLs and selections, and
// their values as plain bytes to compare with.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/core/column.h"

namespace neap::engine {

// The bytes of a value (a string's text), or NULL.
using Cell = std::optional<std::string>;

inline Cell CellAt(const Column& column, uint32_t row) {
  if (!column.is_valid(row)) return std::nullopt;
  const uint32_t position = column.position(row);
  if (column.type.is_view()) return std::string(column.values<View>()[position].text());
  const size_t width = column.type.width();
  return std::string(static_cast<const char*>(column.data) + position * width, width);
}

inline std::vector<Cell> RowAt(const Batch& batch, uint32_t row) {
  std::vector<Cell> cells;
  for (const Column& column : batch.columns) cells.push_back(CellAt(column, row));
  return cells;
}

inline const std::vector<Type>& AllTypes() {
  static const std::vector<Type> types = {
      {TypeId::kBool},      {TypeId::kInt8},     {TypeId::kInt16},    {TypeId::kInt32},     {TypeId::kInt64},
      {TypeId::kFloat},     {TypeId::kDouble},   Type::Decimal(9, 2), Type::Decimal(38, 4), {TypeId::kDate},
      {TypeId::kTimestamp}, {TypeId::kInterval}, {TypeId::kString},   {TypeId::kBinary},    {TypeId::kNull},
  };
  return types;
}

struct RandomShape {
  double nulls = 0.2;
  double dictionaries = 0.3;  // share of columns that are one
  bool selection = false;
  uint32_t distinct = 50;   // about so many values a column
  uint32_t longest = 40;    // bytes of a string behind its prefix
  std::string prefix = {};  // of all strings
};

// A batch and the memory of its values, valid as long as this lives.
class RandomBatch {
 public:
  RandomBatch(std::mt19937_64& random, const std::vector<Type>& types, uint32_t rows, const RandomShape& shape)
      : random_(random), shape_(shape) {
    for (const Type& type : types) batch.columns.push_back(MakeColumn(type, rows));
    batch.SetAll(rows);
    if (shape.selection) {
      selection_.reserve(rows + 1);  // an empty selection is not a null one
      for (uint32_t row = 0; row < rows; ++row) {
        if (random() % 3 != 0) selection_.push_back(static_cast<RowIndex>(row));
      }
      batch.selection = selection_.data();
      batch.selected = static_cast<uint32_t>(selection_.size());
    }
  }
  RandomBatch(const RandomBatch&) = delete;
  RandomBatch& operator=(const RandomBatch&) = delete;

  Batch batch;

 private:
  uint64_t Small() { return random_() % shape_.distinct; }

  std::string RandomText() {
    std::minstd_rand of_value(static_cast<uint32_t>(Small() + 1));
    std::string text(of_value() % (shape_.longest + 1), 'a');
    for (char& c : text) c = "abz\0\1\xff"[of_value() % 6];
    return shape_.prefix + text;
  }

  template <class T>
  T RandomValue() {
    if constexpr (std::is_same_v<T, View>) {
      texts_.push_back(RandomText());
      return View(texts_.back());
    } else if constexpr (std::is_same_v<T, Interval>) {
      return {static_cast<int32_t>(Small()), -static_cast<int32_t>(Small()), static_cast<int64_t>(Small()) * 1000003};
    } else if constexpr (std::is_same_v<T, Int128>) {
      return (static_cast<Int128>(Small()) - 20) * (random_() % 2 == 0 ? 1 : static_cast<Int128>(1) << 70);
    } else if constexpr (std::is_floating_point_v<T>) {
      static const T special[] = {T(0.0), -T(0.0), std::numeric_limits<T>::infinity(),
                                  -std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()};
      return random_() % 8 == 0 ? special[random_() % 5] : (T(Small()) - 20) / 4;
    } else {
      return static_cast<T>(Small() - 20);
    }
  }

  Column MakeColumn(const Type& type, uint32_t rows) {
    Column column{.type = type};
    uint32_t positions = rows;
    if (random_() % 1000 < shape_.dictionaries * 1000) {
      const uint32_t sizes[] = {1, 5, 60, rows + 100};
      positions = sizes[random_() % 4];
      std::vector<uint32_t>& indices = indices_.emplace_back(rows);
      for (uint32_t& index : indices) index = static_cast<uint32_t>(random_() % positions);
      column.indices = indices.data();
      column.positions = positions;
      static std::atomic<uint64_t> last_id{0};
      column.dictionary_id = random_() % 2 == 0 ? 0 : ++last_id;
    }
    DispatchPhysical(type.physical(), [&](auto zero) {
      using T = decltype(zero);
      std::string& data = data_.emplace_back(positions * sizeof(T) + 16, '\0');
      for (uint32_t p = 0; p < positions; ++p) {
        const T value = type.physical() == Physical::kBool ? T() : RandomValue<T>();
        std::memcpy(data.data() + p * sizeof(T), &value, sizeof(T));
        if (type.physical() == Physical::kBool) data[p] = static_cast<char>(random_() % 2);
      }
      column.data = data.data();
    });
    if (shape_.nulls > 0 && (type.id == TypeId::kNull || random_() % 4 != 0)) {
      std::string& valid = data_.emplace_back(positions, '\0');
      for (char& v : valid) v = type.id != TypeId::kNull && random_() % 1000 >= shape_.nulls * 1000;
      column.valid = reinterpret_cast<const uint8_t*>(valid.data());
    }
    return column;
  }

  std::mt19937_64& random_;
  RandomShape shape_;
  std::deque<std::string> texts_, data_;
  std::deque<std::vector<uint32_t>> indices_;
  std::vector<RowIndex> selection_;
};

}  // namespace neap::engine
