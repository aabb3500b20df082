// hash_aggregate_codes.h: small numbers for the keys of a batch, where few different ones are possible: positions in
// dictionaries, and integers of a small range. By them a group is found in an array, without a hash.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/column.h"

namespace neap::engine {

class KeyCodes {
 public:
  explicit KeyCodes(size_t keys) : keys_(keys) {}

  enum class Outcome {
    kNone,  // the keys have no codes below the limit
    kSame,  // equal codes are equal keys, in this batch and in those before since the last kNew
    kNew,   // in this batch, and in those to come until the next kNew
  };
  // The codes of the rows listed, by row number, from the first columns.
  Outcome Encode(const std::vector<Column>& columns, const RowIndex* rows, uint32_t count, size_t limit,
                 uint32_t* codes);
  size_t size() const { return size_; }  // all codes are below
  void Forget() { known_ = false; }      // the next outcome will not be kSame

 private:
  struct Key {
    bool is_range = false;
    uint64_t dictionary = 0;
    int64_t first = 0;   // of a range
    uint64_t count = 0;  // of positions; of values in the range, and one for NULL
  };

  bool FitRange(Key& key, const Column& column, const RowIndex* rows, uint32_t count, size_t limit);

  std::vector<Key> keys_;
  size_t size_ = 0;
  bool known_ = false;
  size_t needed_ = 0;  // codes that the last batch without codes would have had
};

}  // namespace neap::engine
