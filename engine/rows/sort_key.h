// sort_key.h: normalized keys: the sort columns of a row as one string of bytes whose order under memcmp is the order
// asked for. A row's key is cut to a few 64-bit words, so that rows are compared as integers and without a look at the
// rows themselves; only rows whose words are equal and whose key was cut are compared value by value.
//
// A column's code: one byte that puts NULLs first or last, then the value: big-endian with the sign flipped, floats in
// IEEE order with -0.0 as 0.0 and NaN as the largest, strings with a zero byte behind them (bytes 0 and 1 become two
// bytes, 1 and themselves + 1). No code is the beginning of another one, so that codes can follow each other. All but
// the first byte is inverted for a descending order.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"
#include "engine/rows/row_layout.h"

namespace neap::engine {

struct SortColumn {
  uint32_t column;  // of the rows
  bool descending = false;
  bool nulls_first = false;
};

class SortKeys {
 public:
  static constexpr size_t kMaxWords = 4;
  // Encode takes so many rows at once.
  static constexpr uint32_t kMaxRows = 1024;

  SortKeys(const RowLayout* layout, std::vector<SortColumn> order);

  size_t words() const { return words_; }

  // The keys of the rows of `batch` (its columns are the layout's) that count, from the `first`th of them on: words()
  // words a row, one row after the other.
  void Encode(const Batch& batch, uint32_t first, uint32_t count, uint64_t* keys) const;

  // Whether a key may have been cut: then rows whose words are equal may differ.
  bool WasCut(const uint64_t* key) const { return may_cut_ && (key[words_ - 1] & 1) != 0; }
  // Order of two rows of the layout by all values: negative where a comes first.
  int CompareRows(const uint8_t* a, const uint8_t* b) const;

 private:
  struct Part {
    uint32_t column;
    Physical physical;
    bool descending;
    uint8_t null_byte, valid_byte;
  };

  template <class Row>
  void EncodeRows(const Batch& batch, uint32_t count, Row&& row, uint8_t* keys) const;

  const RowLayout* layout_;
  std::vector<Part> parts_;
  size_t words_;
  bool may_cut_;  // then the last byte says whether the key was
};

}  // namespace neap::engine
