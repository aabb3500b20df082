// hash_aggregate_codes.cc: which keys have codes, and what they are.
#include "engine/operators/hash_aggregate_codes.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>
#include <utility>

namespace neap::engine {
namespace {

// A dictionary of one batch alone must be so much smaller than the batch to be worth its own codes.
constexpr uint32_t kRowsPerPosition = 4;

template <class T>
constexpr bool kIsInteger = std::is_integral_v<T>;

bool IsInteger(const Type& type) {
  return DispatchPhysical(type.physical(), [](auto zero) { return kIsInteger<decltype(zero)>; });
}

// Calls f(position(row)): with the shortest way from a row to its value.
template <class F>
void WithPositions(const Column& column, F&& f) {
  const uint32_t* indices = column.indices;
  if (indices == nullptr) {
    f([](uint32_t row) { return row; });
  } else {
    f([=](uint32_t row) { return indices[row]; });
  }
}

struct Range {
  int64_t min = std::numeric_limits<int64_t>::max();
  int64_t max = std::numeric_limits<int64_t>::min();
};

template <class T>
Range RangeOf(const Column& column, const RowIndex* rows, uint32_t count) {
  const T* values = column.values<T>();
  const uint8_t* valid = column.valid;
  T min = std::numeric_limits<T>::max(), max = std::numeric_limits<T>::min();
  bool any = false;
  WithPositions(column, [&](auto position) {
    const auto add = [&](T value) {
      min = std::min(min, value);
      max = std::max(max, value);
    };
    if (valid == nullptr) {
      for (uint32_t i = 0; i < count; ++i) add(values[position(rows[i])]);
      any = count != 0;
      return;
    }
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t p = position(rows[i]);
      if (valid[p] == 0) continue;
      add(values[p]);
      any = true;
    }
  });
  return any ? Range{static_cast<int64_t>(min), static_cast<int64_t>(max)} : Range{};
}

// code(position) is added to the codes so far, each of which becomes `size` codes.
template <class Code>
void AddCodes(const Column& column, const RowIndex* rows, uint32_t count, bool is_first, uint32_t size, uint32_t* codes,
              Code&& code) {
  WithPositions(column, [&](auto position) {
    if (is_first) {
      for (uint32_t i = 0; i < count; ++i) codes[rows[i]] = code(position(rows[i]));
    } else {
      for (uint32_t i = 0; i < count; ++i) codes[rows[i]] = codes[rows[i]] * size + code(position(rows[i]));
    }
  });
}

}  // namespace

// Widens the range where it must be; false where it would be larger than the limit.
bool KeyCodes::FitRange(Key& key, const Column& column, const RowIndex* rows, uint32_t count, size_t limit) {
  Range range = DispatchPhysical(column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (kIsInteger<T>) return RangeOf<T>(column, rows, count);
    return Range{};
  });
  const bool was_range = std::exchange(key.is_range, true);
  if (!was_range) key.count = 0;
  if (range.min > range.max) {  // nothing but NULL
    if (key.count == 0) known_ = false;
    key.count = std::max<uint64_t>(key.count, 1);
    return true;
  }
  const auto last = [&] { return key.first + static_cast<int64_t>(key.count - 2); };
  if (key.count > 1) {
    if (key.first <= range.min && range.max <= last()) return true;
    range = {std::min(range.min, key.first), std::max(range.max, last())};
  }
  known_ = false;
  // Twice as wide as needed where that may be, so that it is not widened often.
  const uint64_t needed = static_cast<uint64_t>(range.max) - static_cast<uint64_t>(range.min);
  if (needed >= limit) {
    needed_ = needed;
    key.count = 0;
    return false;
  }
  const uint64_t values = std::min<uint64_t>(std::bit_ceil(needed + 1), limit - 1);
  const bool grows_down = key.count > 1 && range.min < key.first;
  const auto slack = static_cast<int64_t>(std::max(values, needed + 1) - (needed + 1));
  key.first = grows_down && range.min >= std::numeric_limits<int64_t>::min() + slack ? range.min - slack : range.min;
  key.count = std::max(values, needed + 1) + 1;
  return true;
}

KeyCodes::Outcome KeyCodes::Encode(const std::vector<Column>& columns, const RowIndex* rows, uint32_t count,
                                   size_t limit, uint32_t* codes) {
  if (needed_ > limit) return Outcome::kNone;
  size_t size = 1;
  for (size_t k = 0; k < keys_.size(); ++k) {
    const Column& column = columns[k];
    Key& key = keys_[k];
    const bool is_dictionary = column.indices != nullptr && column.positions <= limit &&
                               (column.dictionary_id != 0 || column.positions <= count / kRowsPerPosition);
    if (is_dictionary) {
      known_ &= !key.is_range && key.dictionary == column.dictionary_id && column.dictionary_id != 0;
      key = {false, column.dictionary_id, 0, column.positions};
    } else if (!IsInteger(column.type)) {
      known_ = false;
      return Outcome::kNone;
    } else if (!FitRange(key, column, rows, count, limit)) {
      return Outcome::kNone;
    }
    size *= std::max<uint64_t>(key.count, 1);
    if (size > limit) {
      needed_ = size;
      known_ = false;
      return Outcome::kNone;
    }
  }
  needed_ = 0;
  size_ = size;
  for (size_t k = 0; k < keys_.size(); ++k) {
    const Column& column = columns[k];
    const Key& key = keys_[k];
    const auto codes_of_key = static_cast<uint32_t>(key.count);
    if (!key.is_range) {
      AddCodes(column, rows, count, k == 0, codes_of_key, codes, [](uint32_t position) { return position; });
      continue;
    }
    DispatchPhysical(column.type.physical(), [&](auto zero) {
      using T = decltype(zero);
      if constexpr (kIsInteger<T>) {
        const T* values = column.values<T>();
        const uint8_t* valid = column.valid;
        const auto before = static_cast<uint64_t>(key.first) - 1;
        const auto code_of = [=](uint32_t p) {
          return static_cast<uint32_t>(static_cast<uint64_t>(values[p]) - before);
        };
        if (valid == nullptr) {
          AddCodes(column, rows, count, k == 0, codes_of_key, codes, code_of);
        } else {
          AddCodes(column, rows, count, k == 0, codes_of_key, codes,
                   [&](uint32_t p) { return valid[p] == 0 ? 0U : code_of(p); });
        }
      }
    });
  }
  return std::exchange(known_, true) ? Outcome::kSame : Outcome::kNew;
}

}  // namespace neap::engine
