// hash.cc: hashes of the rows of a batch, one column after the other.
#include "engine/core/hash.h"

#include <algorithm>

namespace neap::engine {
namespace {

template <class T>
uint64_t HashAt(const T* values, const uint8_t* valid, uint32_t position) {
  return valid != nullptr && valid[position] == 0 ? kNullHash : HashValue(values[position]);
}

// The hash of one column alone is that of its value; every further column is combined with what is there.
template <bool kFirst>
void Put(uint64_t* hashes, uint32_t row, uint64_t hash) {
  hashes[row] = kFirst ? hash : CombineHash(hashes[row], hash);
}

template <bool kFirst, class T>
void HashColumn(const Batch& batch, const Column& column, uint64_t* hashes) {
  const T* values = column.values<T>();
  const uint8_t* valid = column.valid;
  const uint32_t* indices = column.indices;
  if (column.is_constant()) {
    const uint64_t hash = HashAt(values, valid, 0);
    batch.ForEach([&](uint32_t row) { Put<kFirst>(hashes, row, hash); });
    return;
  }
  // Only a dictionary that lasts has sound values at all positions: one of a batch may point to rows that do not count.
  if (indices != nullptr && column.dictionary_id != 0 && column.positions < batch.selected) {
    uint64_t of_position[kBatchRows];
    for (uint32_t p = 0; p < column.positions; ++p) of_position[p] = HashAt(values, valid, p);
    batch.ForEach([&](uint32_t row) { Put<kFirst>(hashes, row, of_position[indices[row]]); });
    return;
  }
  if (indices != nullptr) {
    batch.ForEach([&](uint32_t row) { Put<kFirst>(hashes, row, HashAt(values, valid, indices[row])); });
  } else if (valid != nullptr) {
    batch.ForEach([&](uint32_t row) { Put<kFirst>(hashes, row, HashAt(values, valid, row)); });
  } else {
    batch.ForEach([&](uint32_t row) { Put<kFirst>(hashes, row, HashValue(values[row])); });
  }
}

}  // namespace

void HashRows(const Batch& batch, const uint32_t* columns, size_t count, uint64_t* hashes) {
  if (count == 0) batch.ForEach([&](uint32_t row) { hashes[row] = 0; });
  for (size_t i = 0; i < count; ++i) {
    const Column& column = batch.columns[columns[i]];
    DispatchPhysical(column.type.physical(), [&](auto zero) {
      using T = decltype(zero);
      if (i == 0) {
        HashColumn<true, T>(batch, column, hashes);
      } else {
        HashColumn<false, T>(batch, column, hashes);
      }
    });
  }
}

}  // namespace neap::engine
