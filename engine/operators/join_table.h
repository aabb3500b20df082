// join_table.h: where the build rows of given keys lie. One table for the rows of a partition: slots of 8 bytes with
// the address of a row and 16 bits of its hash (the salt), linear probing. Rows of the same keys are a list: the slot
// has the first, and each row's link the next. Where the only key is an integer of a dense range, an array by its value
// takes the place of all tables.
//
// Source of the salt beside the address: Leis et al., "Morsel-Driven Parallelism", SIGMOD 2014 (its tagged pointers).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "engine/core/hash.h"
#include "engine/memory/memory.h"
#include "engine/operators/join_shape.h"
#include "engine/rows/row_store.h"

namespace neap::engine {

// Of the values of an integer, date, time or decimal that are not NULL.
struct KeyBounds {
  Int128 min, max;
};

inline void Widen(std::optional<KeyBounds>& bounds, const std::optional<KeyBounds>& by) {
  if (!by.has_value()) return;
  bounds = bounds.has_value() ? KeyBounds{std::min(bounds->min, by->min), std::max(bounds->max, by->max)} : by;
}

class JoinTable {
 public:
  // Half of the slots are taken: nearly every search ends where it starts.
  static uint64_t SlotsFor(uint64_t rows) { return rows * 2 + 1; }
  static size_t BytesFor(uint64_t rows) { return SlotsFor(rows) * sizeof(uint64_t); }

  struct Slots {
    const uint64_t* slots;
    uint64_t capacity;

    // The slot where the search for a hash starts. Its low 32 bits are scaled to the table's size, which need not be a
    // power of two.
    uint64_t Start(uint64_t hash) const { return (uint64_t{static_cast<uint32_t>(hash)} * capacity) >> 32; }
    uint64_t Next(uint64_t slot) const { return slot + 1 == capacity ? 0 : slot + 1; }
    // 0: an empty slot.
    uint64_t operator[](uint64_t slot) const { return slots[slot]; }
    const uint64_t* address(uint64_t slot) const { return slots + slot; }
  };
  Slots slots() const { return {slots_, capacity_}; }
  static bool SaltsEqual(uint64_t slot, uint64_t hash) { return ((slot ^ (hash << 16)) >> 48) == 0; }
  static constexpr uint64_t kRowMask = (uint64_t{1} << 48) - 1;
  static uint8_t* RowOf(uint64_t slot) { return reinterpret_cast<uint8_t*>(slot & kRowMask); }

  // Puts all rows in, and says whether some have the same keys. Rows with a NULL that equals nothing are left out.
  bool Build(const JoinShape& shape, const RowStore& rows, Memory& memory);
  // Without keys: the addresses of all rows, one after the other.
  void BuildList(const RowStore& rows, Memory& memory);
  const uint8_t* const* list() const { return reinterpret_cast<const uint8_t* const*>(slots_); }

  size_t bytes() const { return memory_.size() * sizeof(uint64_t); }
  void Clear();

 private:
  static constexpr uint64_t kEmpty[1] = {0};

  const uint64_t* slots_ = kEmpty;
  uint64_t capacity_ = 1;
  Array<uint64_t> memory_;
};

class DenseTable {
 public:
  // At most so many values of the range for one row.
  static constexpr uint64_t kSparsest = 4;
  static bool Suits(const JoinShape& shape, const KeyBounds& bounds, uint64_t rows);
  static size_t BytesFor(const KeyBounds& bounds);

  void Start(const KeyBounds& bounds, Memory& memory);
  // Of one partition; several may be added at once, as they have no key in common. Says whether keys came twice.
  bool Add(const JoinShape& shape, const RowStore& rows);

  bool there() const { return !rows_.empty(); }
  size_t bytes() const { return rows_.size() * sizeof(uint8_t*); }
  void Clear() { rows_.Reset(); }

  // By value less min: null where there is no row, and at size().
  uint8_t* const* rows() const { return rows_.data(); }
  uint64_t min() const { return min_; }
  uint64_t size() const { return rows_.size() - 1; }

 private:
  uint64_t min_ = 0;
  Array<uint8_t*> rows_;
};

// The next row of the same keys, or null.
inline uint8_t* LinkOf(const uint8_t* row, uint32_t link_offset) {
  uint8_t* next;
  std::memcpy(&next, row + link_offset, sizeof next);
  return next;
}

// Whether no key of a build row is a NULL that equals nothing.
bool HasKeys(const JoinShape& shape, const uint8_t* row);

}  // namespace neap::engine
