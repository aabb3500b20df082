// sort_key.cc: the codes of values.
#include "engine/rows/sort_key.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace neap::engine {
namespace {

// How much of a key is set aside for a string.
constexpr size_t kStringBytes = 23;

template <class T>
constexpr size_t kCodeBytes = sizeof(T);
template <>
constexpr size_t kCodeBytes<Interval> = 24;

constexpr size_t kMaxCode = 24;

template <class U>
void StoreBigEndian(U value, uint8_t* to) {
  if constexpr (sizeof(U) == 16) {
    StoreBigEndian(static_cast<uint64_t>(value >> 64), to);
    StoreBigEndian(static_cast<uint64_t>(value), to + 8);
  } else {
    if constexpr (sizeof(U) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(U) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(U) == 8) value = __builtin_bswap64(value);
    std::memcpy(to, &value, sizeof value);
  }
}

template <class U>
constexpr U kTopBit = static_cast<U>(static_cast<U>(1) << (sizeof(U) * 8 - 1));

// The code of a value of fixed width, `flip` being 0 or, for a descending order, all ones.
void StoreCode(uint8_t v, uint8_t flip, uint8_t* to) { *to = v ^ flip; }

template <class T>
requires(std::is_integral_v<T> || std::is_same_v<T, Int128>) void StoreCode(T v, uint8_t flip, uint8_t* to) {
  using U =
      std::conditional_t<sizeof(T) == 16, unsigned __int128,
                         std::conditional_t<sizeof(T) == 8, uint64_t,
                                            std::conditional_t<sizeof(T) == 4, uint32_t,
                                                               std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>>;
  const U mask = flip == 0 ? kTopBit<U> : static_cast<U>(~kTopBit<U>);
  StoreBigEndian(static_cast<U>(static_cast<U>(v) ^ mask), to);
}

template <class T>
requires std::is_floating_point_v<T>
void StoreCode(T v, uint8_t flip, uint8_t* to) {
  using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  if (v == 0) v = 0;
  if (std::isnan(v)) v = std::numeric_limits<T>::quiet_NaN();
  const U bits = std::bit_cast<U>(v);
  const U ordered = (bits & kTopBit<U>) != 0 ? static_cast<U>(~bits) : bits | kTopBit<U>;
  StoreBigEndian(flip == 0 ? ordered : static_cast<U>(~ordered), to);
}

// By length, a month taken as 30 days; then field by field, so that only equal intervals have equal codes.
void StoreCode(const Interval& v, uint8_t flip, uint8_t* to) {
  constexpr Int128 kDay = Int128{24} * 3600 * 1000000;
  StoreCode((Int128{v.months} * 30 + v.days) * kDay + v.micros, flip, to);
  StoreCode(v.months, flip, to + 16);
  StoreCode(v.days, flip, to + 20);
}

// Writes a string's code into to[0..room); returns the bytes written, more than `room` where it was cut.
size_t StoreString(const View& view, uint8_t flip, uint8_t* to, size_t room) {
  const char* text = view.data();
  size_t at = 0;
  for (uint32_t i = 0; i < view.size; ++i) {
    if (at >= room) return room + 1;
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte <= 1) {
      to[at++] = static_cast<uint8_t>(1 ^ flip);
      if (at >= room) return room + 1;
      to[at++] = static_cast<uint8_t>((byte + 1) ^ flip);
    } else {
      to[at++] = byte ^ flip;
    }
  }
  if (at >= room) return room + 1;
  to[at++] = flip;
  return at;
}

// Where every row's code of a column goes: at one offset for all, or, behind a string, at each row's own.
struct Place {
  uint8_t* keys;
  size_t stride;
  size_t limit;   // bytes of a key that codes may fill
  size_t offset;  // for all rows, where !varies
  uint8_t* ends;  // each row's, where varies; limit + 1 where the key was cut
  bool varies;
};

template <class T, class Row>
void EncodeFixed(const Column& column, uint8_t null_byte, uint8_t valid_byte, uint8_t flip, uint32_t count, Row&& row,
                 Place& place) {
  constexpr size_t kBytes = 1 + kCodeBytes<T>;
  const T* values = column.values<T>();
  const uint8_t* valid = column.valid;
  const auto store = [&](uint32_t i, uint8_t* to) {
    const uint32_t position = column.position(row(i));
    if (valid != nullptr && valid[position] == 0) {
      std::memset(to, 0, kBytes);
      *to = null_byte;
      return;
    }
    *to = valid_byte;
    StoreCode(values[position], flip, to + 1);
  };
  const auto store_part = [&](uint32_t i, uint8_t* to, size_t room) {
    uint8_t code[1 + kMaxCode];
    store(i, code);
    std::memcpy(to, code, std::min(room, kBytes));
  };
  if (!place.varies) {
    uint8_t* to = place.keys + place.offset;
    if (place.offset + kBytes <= place.limit) {
      for (uint32_t i = 0; i < count; ++i, to += place.stride) store(i, to);
      place.offset += kBytes;
    } else {
      const size_t room = place.limit - place.offset;
      for (uint32_t i = 0; i < count; ++i, to += place.stride) store_part(i, to, room);
      place.offset = place.limit + 1;
    }
    return;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const size_t offset = place.ends[i];
    if (offset > place.limit) continue;
    uint8_t* to = place.keys + i * place.stride + offset;
    store_part(i, to, place.limit - offset);
    place.ends[i] = static_cast<uint8_t>(std::min(offset + kBytes, place.limit + 1));
  }
}

template <class Row>
void EncodeString(const Column& column, uint8_t null_byte, uint8_t valid_byte, uint8_t flip, uint32_t count, Row&& row,
                  Place& place) {
  if (!place.varies) {
    std::memset(place.ends, static_cast<int>(place.offset), count);
    place.varies = true;
  }
  const View* values = column.values<View>();
  for (uint32_t i = 0; i < count; ++i) {
    const size_t offset = place.ends[i];
    if (offset >= place.limit) {
      place.ends[i] = static_cast<uint8_t>(place.limit + 1);
      continue;
    }
    uint8_t* to = place.keys + i * place.stride + offset;
    const uint32_t position = column.position(row(i));
    if (column.valid != nullptr && column.valid[position] == 0) {
      *to = null_byte;
      place.ends[i] = static_cast<uint8_t>(offset + 1);
      continue;
    }
    *to = valid_byte;
    place.ends[i] =
        static_cast<uint8_t>(offset + 1 + StoreString(values[position], flip, to + 1, place.limit - offset - 1));
  }
}

}  // namespace

SortKeys::SortKeys(const RowLayout* layout, std::vector<SortColumn> order) : layout_(layout) {
  size_t bytes = 0;
  bool has_strings = false;
  for (const SortColumn& by : order) {
    const Physical physical = layout->types()[by.column].physical();
    parts_.push_back({by.column, physical, by.descending, static_cast<uint8_t>(by.nulls_first ? 0 : 1),
                      static_cast<uint8_t>(by.nulls_first ? 1 : 0)});
    bytes += 1 + DispatchPhysical(physical, [](auto zero) { return kCodeBytes<decltype(zero)>; });
    if (physical == Physical::kView) {
      has_strings = true;
      bytes += kStringBytes - kCodeBytes<View>;
    }
  }
  may_cut_ = has_strings || bytes > kMaxWords * 8;
  words_ = std::clamp<size_t>((bytes + (may_cut_ ? 1 : 0) + 7) / 8, 1, kMaxWords);
}

template <class Row>
void SortKeys::EncodeRows(const Batch& batch, uint32_t count, Row&& row, uint8_t* keys) const {
  uint8_t ends[kMaxRows];
  Place place{keys, words_ * 8, words_ * 8 - (may_cut_ ? 1 : 0), 0, ends, false};
  for (const Part& part : parts_) {
    if (!place.varies && place.offset > place.limit) break;
    const Column& column = batch.columns[part.column];
    const uint8_t flip = part.descending ? 0xff : 0;
    DispatchPhysical(part.physical, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, View>) {
        EncodeString(column, part.null_byte, part.valid_byte, flip, count, row, place);
      } else {
        EncodeFixed<T>(column, part.null_byte, part.valid_byte, flip, count, row, place);
      }
    });
  }
  if (!may_cut_) return;
  for (uint32_t i = 0; i < count; ++i) {
    keys[i * place.stride + place.limit] = (place.varies ? place.ends[i] : place.offset) > place.limit;
  }
}

void SortKeys::Encode(const Batch& batch, uint32_t first, uint32_t count, uint64_t* keys) const {
  std::memset(keys, 0, count * words_ * 8);
  auto* bytes = reinterpret_cast<uint8_t*>(keys);
  if (batch.selection != nullptr) {
    const RowIndex* selection = batch.selection + first;
    EncodeRows(
        batch, count, [selection](uint32_t i) { return uint32_t{selection[i]}; }, bytes);
  } else {
    EncodeRows(
        batch, count, [first](uint32_t i) { return first + i; }, bytes);
  }
  for (size_t word = 0; word < count * words_; ++word) keys[word] = __builtin_bswap64(keys[word]);
}

int SortKeys::CompareRows(const uint8_t* a, const uint8_t* b) const {
  for (const Part& part : parts_) {
    const bool a_valid = RowLayout::IsValid(a, part.column), b_valid = RowLayout::IsValid(b, part.column);
    int order = 0;
    if (a_valid != b_valid) {
      order = (a_valid ? part.valid_byte : part.null_byte) - (b_valid ? part.valid_byte : part.null_byte);
    } else if (a_valid) {
      order = DispatchPhysical(part.physical, [&](auto zero) -> int {
        using T = decltype(zero);
        const T a_value = layout_->Load<T>(a, part.column), b_value = layout_->Load<T>(b, part.column);
        if constexpr (std::is_same_v<T, View>) {
          return part.descending ? Compare(b_value, a_value) : Compare(a_value, b_value);
        } else {
          uint8_t a_code[kMaxCode], b_code[kMaxCode];
          const uint8_t flip = part.descending ? 0xff : 0;
          StoreCode(a_value, flip, a_code);
          StoreCode(b_value, flip, b_code);
          return std::memcmp(a_code, b_code, kCodeBytes<T>);
        }
      });
    }
    if (order != 0) return order;
  }
  return 0;
}

}  // namespace neap::engine
