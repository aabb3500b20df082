// column.h: the data that flows between operators: batches of columns, at most kBatchRows rows each.
//
// A batch and all it points to belong to whoever made it and stay valid until that is asked for the next one (or, for
// a Stage, until its Push returns). Who wants to keep rows copies them (rows/row_store.h).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/core/type.h"

namespace neap::engine {

constexpr uint32_t kBatchRows = 4096;

// A number of a row within a batch.
using RowIndex = uint16_t;

// A string: up to 12 bytes in place, longer ones by prefix and pointer. The layout of Arrow's BinaryView, but with an
// address where Arrow has buffer and offset. Unused in-place bytes are zero, so equal short strings are equal bits.
// Source: Neumann and Freitag, "Umbra: A Disk-Based System with In-Memory Performance", CIDR 2020.
struct View {
  static constexpr uint32_t kInline = 12;

  uint32_t size = 0;
  char prefix[4] = {};
  union {
    char rest[8] = {};
    const char* pointer;
  };

  View() = default;
  View(const char* data, uint32_t length) : size(length) {
    if (length > kInline) {
      std::memcpy(prefix, data, 4);
      pointer = data;
    } else if (length >= 4) {
      // Four bytes at a time; the last four overlap those before, whose bits are shifted out (little-endian).
      const uint32_t whole = length & ~3U;
      uint32_t last;
      std::memcpy(&last, data + length - 4, 4);
      const auto rest_of_last = static_cast<uint32_t>(uint64_t{last} >> (8 * (4 - (length - whole))));
      std::memcpy(prefix, data, 4);
      if (length >= 8) std::memcpy(rest, data + 4, 4);
      if (length < kInline) std::memcpy(rest + whole - 4, &rest_of_last, 4);
      if (length == kInline) std::memcpy(rest + 4, &last, 4);
    } else {
      for (uint32_t i = 0; i < length; ++i) prefix[i] = data[i];
    }
  }
  explicit View(std::string_view text) : View(text.data(), static_cast<uint32_t>(text.size())) {}

  bool is_inline() const { return size <= kInline; }
  const char* data() const { return is_inline() ? prefix : pointer; }
  std::string_view text() const { return {data(), size}; }

  friend bool operator==(const View& a, const View& b) {
    uint64_t a_head, b_head, a_tail, b_tail;
    std::memcpy(&a_head, &a, 8);
    std::memcpy(&b_head, &b, 8);
    if (a_head != b_head) return false;
    std::memcpy(&a_tail, reinterpret_cast<const char*>(&a) + 8, 8);
    std::memcpy(&b_tail, reinterpret_cast<const char*>(&b) + 8, 8);
    return a_tail == b_tail || (!a.is_inline() && std::memcmp(a.pointer, b.pointer, a.size) == 0);
  }
  // Order of bytes, which for UTF-8 is the order of code points.
  friend int Compare(const View& a, const View& b) {
    uint32_t a_prefix, b_prefix;
    std::memcpy(&a_prefix, a.prefix, 4);
    std::memcpy(&b_prefix, b.prefix, 4);
    if (a_prefix == b_prefix) return a.text().compare(b.text());
    return __builtin_bswap32(a_prefix) < __builtin_bswap32(b_prefix) ? -1 : 1;
  }
  friend bool operator<(const View& a, const View& b) { return Compare(a, b) < 0; }
};
static_assert(sizeof(View) == 16);

// The values of one column of a batch. Row r has the value at position p = indices ? indices[r] : r.
// It is NULL where valid is there and valid[p] is 0; what data holds at such a position means nothing but may be read.
//   flat         indices null
//   dictionary   indices into `positions` values; of a Parquet dictionary (dictionary_id says which), of the rows of
//                a batch that a join or a filter picked, or one value for all rows (a constant)
struct Column {
  Type type;
  const void* data = nullptr;
  const uint8_t* valid = nullptr;     // one byte a position, 0 or 1; null where no position is NULL
  const uint32_t* indices = nullptr;  // one a row
  uint32_t positions = 0;             // of data, where indices is there
  uint64_t dictionary_id = 0;  // equal ids: equal dictionary, so that work on it can be kept; 0: of this batch alone

  template <class T>
  const T* values() const {
    return static_cast<const T*>(data);
  }
  uint32_t position(uint32_t row) const { return indices != nullptr ? indices[row] : row; }
  bool is_valid(uint32_t row) const { return valid == nullptr || valid[position(row)] != 0; }
  bool is_constant() const { return indices != nullptr && positions == 1; }
};

// kBatchRows zeros: the indices of a constant.
extern const uint32_t kZeroIndices[kBatchRows];
// 0, 1, 2, ...: the selection of all rows, for what takes a list.
extern const std::array<RowIndex, kBatchRows> kAllRows;

// Rows 0 to rows-1, or those of them that `selection` lists in ascending order.
struct Batch {
  std::vector<Column> columns;
  uint32_t rows = 0;                    // every column has values for so many rows
  const RowIndex* selection = nullptr;  // null: all rows
  uint32_t selected = 0;                // how many selection lists; equals rows where it is null

  void SetAll(uint32_t count) {
    rows = selected = count;
    selection = nullptr;
  }
  // Calls f(row) for every row that counts.
  template <class F>
  void ForEach(F&& f) const {
    if (selection == nullptr) {
      for (uint32_t row = 0; row < rows; ++row) f(row);
    } else {
      for (uint32_t i = 0; i < selected; ++i) f(static_cast<uint32_t>(selection[i]));
    }
  }
};

// Calls f with a value-initialised object of the C++ type of a Physical (bool as uint8_t): the one place where types of
// the plan become types of a kernel. f is a generic lambda: [&](auto zero) { using T = decltype(zero); ... }
template <class F>
decltype(auto) DispatchPhysical(Physical physical, F&& f) {
  switch (physical) {
    case Physical::kBool:
      return f(uint8_t{});
    case Physical::kInt8:
      return f(int8_t{});
    case Physical::kInt16:
      return f(int16_t{});
    case Physical::kInt32:
      return f(int32_t{});
    case Physical::kInt64:
      return f(int64_t{});
    case Physical::kInt128:
      return f(Int128{});
    case Physical::kFloat:
      return f(float{});
    case Physical::kDouble:
      return f(double{});
    case Physical::kInterval:
      return f(Interval{});
    case Physical::kView:
      return f(View{});
  }
  __builtin_unreachable();
}

}  // namespace neap::engine
