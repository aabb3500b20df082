// hash_aggregate_table.h: the groups of one thread of a hash aggregate (GroupTable), and the slots by which groups are
// found (GroupSlots), which the merge of partial results uses too.
//
// The slots are kept small enough for the cache. When they are full of groups that hardly come again they are cleared,
// and the rows stay where they are as partial results, to be merged partition by partition.
// Sources: Leis, Boncz, Kemper and Neumann, "Morsel-Driven Parallelism", SIGMOD 2014 (local tables of fixed size,
// partitions); Kuiper, Boncz and Muehleisen, "Robust External Hash Aggregation in the Solid State Age", ICDE 2024
// (salts, rows in pages that outlive the table).
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/hash.h"
#include "engine/memory/memory.h"
#include "engine/operators/aggregate_function.h"
#include "engine/operators/hash_aggregate_codes.h"
#include "engine/rows/row_store.h"
#include "engine/run/query.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// Both of its ends: a row may lie in two lines of the cache.
inline void PrefetchRow(const uint8_t* row, uint32_t width) {
  __builtin_prefetch(row);
  __builtin_prefetch(row + width - 1);
}

// Open addressing, linear probing. A slot is the salt of a hash (16 bits) and the address of the group's row (48), or
// 0.
class GroupSlots {
 public:
  explicit GroupSlots(uint32_t row_width) : row_width_(row_width) {}

  static size_t CapacityFor(size_t groups) { return std::bit_ceil(groups + groups / 3 + 1); }

  // `capacity` empty slots; those that are there already are used again.
  void Reset(Memory& memory, size_t capacity);
  void Free() { slots_.Reset(), capacity_ = 0; }
  // As Reset, but the groups stay; their hash is at `hash_offset` of a row.
  void Grow(Memory& memory, size_t capacity, uint32_t hash_offset);
  // A row that is in no slot yet, whatever its key.
  void Add(uint64_t hash, uint8_t* row);

  size_t capacity() const { return capacity_; }
  size_t limit() const { return capacity_ / 4 * 3; }  // how many groups there is room for

  // Finds the group of each of items[0..count); hashes, positions and groups go by item. insert(items, count) sets
  // groups[item] of new ones, match(items, count, kept) says for which items groups[item] is the right one. positions
  // holds the slots afterwards.
  struct Scratch {
    RowIndex fresh[kBatchRows], candidates[kBatchRows], kept[kBatchRows], left[kBatchRows];
  };
  template <class Insert, class Match>
  void FindOrInsert(const RowIndex* items, uint32_t count, const uint64_t* hashes, uint32_t* positions,
                    uint8_t** groups, Scratch& scratch, Insert&& insert, Match&& match);

  // The groups from slot `begin` on, which moves on, until `wanted` of them are in `out`; returns how many are.
  uint32_t Collect(size_t* begin, uint32_t wanted, uint8_t** out) const;

 private:
  static constexpr uint64_t kAddressMask = (uint64_t{1} << 48) - 1;
  static constexpr uint64_t kClaimed = 1;  // the address of a group that is about to be inserted
  static constexpr uint32_t kAhead = 16;   // items whose slot is fetched beforehand

  static uint64_t SaltOf(uint64_t hash) { return (hash << 16) & ~kAddressMask; }  // bits 32 to 47
  static uint8_t* AddressOf(uint64_t slot) { return reinterpret_cast<uint8_t*>(slot & kAddressMask); }

  uint32_t row_width_;
  Array<uint64_t> slots_;
  size_t capacity_ = 0;  // a power of two; slots_ may have more
};

// Which group each row of a batch belongs to.
struct BatchGroups {
  // Where rows of one group are many, they are listed together: run i is of group runs[i] and ends at ends[i] of rows.
  bool in_runs = false;
  uint32_t run_count = 0;
  uint8_t** runs = nullptr;
  uint32_t* ends = nullptr;
  RowIndex* rows = nullptr;
  // By row number; left as it was where in_runs and not asked for.
  uint8_t** of_row = nullptr;
};

class GroupTable final : public StringKeeper {
 public:
  GroupTable(Query& query, Memory& memory, const RowLayout& layout, size_t keys, const AggregateStates& states);

  // Columns 0 to keys-1 of `batch` are the keys. of_rows: also by row number. Valid until the next call of any function
  // but Keep.
  const BatchGroups& Locate(const Batch& batch, bool of_rows);

  // What a thread does between batches: makes room, by writing to disk where it may not grow.
  void AfterBatch();

  // Writes the largest partitions to disk until about `wanted` bytes are free; returns the bytes that freed.
  size_t Spill(size_t wanted);
  size_t bytes() const { return rows_.bytes(); }

  // At the end: no group will be looked for again.
  void Finish();
  PartitionedRows& rows() { return rows_; }
  std::optional<SpillFile>& file(uint32_t partition) { return files_[partition]; }
  bool is_unique() const { return is_unique_; }  // no group lies in two rows
  uint64_t spilled_rows() const { return spilled_rows_; }
  uint32_t spills() const { return spills_; }
  size_t freed() const { return freed_; }

  View Keep(uint8_t* row, const View& old, const View& text) override;

 private:
  static constexpr size_t kRunIds = 8192;  // slots and codes up to which rows are sorted into runs

  bool LocateByCode(const RowIndex* rows, uint32_t count, bool of_rows);
  void LocateByHash(const RowIndex* rows, uint32_t count);
  void CountRuns(const uint32_t* ids, const RowIndex* rows, uint32_t count);
  void SortIntoRuns(const uint32_t* ids, const RowIndex* rows, uint32_t count);
  void Hash(const RowIndex* rows, uint32_t count);
  void Append(const RowIndex* rows, uint32_t count);
  void Find(const RowIndex* rows, uint32_t count);
  void MakeRoomFor(uint32_t count);
  void ClearSlots();
  void Compact();

  Query& query_;
  Memory& memory_;
  const RowLayout& layout_;
  const size_t keys_;
  const uint32_t hash_offset_;

  PartitionedRows rows_;
  GroupSlots slots_;
  uint64_t groups_ = 0;  // in slots_
  std::optional<SpillFile> files_[kPartitions];
  bool is_unique_ = true;
  size_t dead_bytes_ = 0;  // of strings that states have replaced
  uint64_t spilled_rows_ = 0;
  uint32_t spills_ = 0;
  size_t freed_ = 0;

  // Whether growing pays (MakeRoomFor).
  uint64_t rows_seen_ = 0;
  uint64_t window_rows_ = 0;    // since the slots changed
  uint64_t window_groups_ = 0;  // new ones of them
  double distinct_ = 0;         // groups there are in all, as estimated when the slots grew
  bool may_grow_ = true;
  uint32_t bypass_ = 0;  // batches to keep without looking for their groups
  uint32_t next_bypass_;
  size_t bytes_before_ = 0;  // of rows_, after the batch before

  KeyCodes codes_;
  Array<uint8_t*> by_code_;  // rows of groups; null where there is none yet

  Batch keyed_;                    // the keys, and what a new group's states are
  std::vector<uint32_t> columns_;  // of keyed_
  std::vector<uint8_t> null_equals_;

  // Of one batch.
  struct Scratch {
    // By row.
    uint64_t hashes[kBatchRows];
    uint32_t positions[kBatchRows];  // slots
    uint32_t codes[kBatchRows];
    uint8_t* of_row[kBatchRows];
    // By run.
    uint32_t run_ids[kBatchRows + 1];   // slots or codes
    RowIndex run_rows[kBatchRows + 1];  // the first of each
    uint8_t* runs[kBatchRows];
    uint32_t ends[kBatchRows];
    RowIndex rows[kBatchRows];  // those of one run after the other
    // By id.
    uint32_t counts[kRunIds];  // 0 between batches

    RowIndex unknown[kBatchRows + 1];
    uint8_t* fresh[kBatchRows];
    GroupSlots::Scratch find;
  };
  Array<Scratch> scratch_;
  BatchGroups result_;
};

template <class Insert, class Match>
void GroupSlots::FindOrInsert(const RowIndex* items, uint32_t count, const uint64_t* hashes, uint32_t* positions,
                              uint8_t** groups, Scratch& scratch, Insert&& insert, Match&& match) {
  const uint64_t mask = capacity_ - 1;
  uint64_t* slots = slots_.data();
  for (uint32_t i = 0; i < count; ++i) positions[items[i]] = static_cast<uint32_t>(hashes[items[i]] & mask);
  while (count != 0) {
    uint32_t fresh = 0, candidates = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (i + kAhead < count) __builtin_prefetch(&slots[positions[items[i + kAhead]]]);
      const RowIndex item = items[i];
      const uint64_t salt = SaltOf(hashes[item]);
      uint64_t position = positions[item];
      while (slots[position] != 0 && (slots[position] & ~kAddressMask) != salt) position = (position + 1) & mask;
      positions[item] = static_cast<uint32_t>(position);
      if (slots[position] == 0) {
        slots[position] = salt | kClaimed;
        scratch.fresh[fresh++] = item;
      } else {
        PrefetchRow(AddressOf(slots[position]), row_width_);
        scratch.candidates[candidates++] = item;
      }
    }
    if (fresh != 0) {
      insert(scratch.fresh, fresh);
      for (uint32_t i = 0; i < fresh; ++i) {
        const RowIndex item = scratch.fresh[i];
        slots[positions[item]] = SaltOf(hashes[item]) | reinterpret_cast<uint64_t>(groups[item]);
      }
    }
    if (candidates == 0) return;
    for (uint32_t i = 0; i < candidates; ++i) {
      const RowIndex item = scratch.candidates[i];
      groups[item] = AddressOf(slots[positions[item]]);
    }
    const uint32_t kept = match(scratch.candidates, candidates, scratch.kept);
    count = 0;
    if (kept == candidates) return;
    // Those that hold another key of the same salt go on with the next slot.
    for (uint32_t i = 0, k = 0; i < candidates; ++i) {
      const RowIndex item = scratch.candidates[i];
      if (k < kept && scratch.kept[k] == item) {
        ++k;
        continue;
      }
      positions[item] = static_cast<uint32_t>((positions[item] + 1) & mask);
      scratch.left[count++] = item;
    }
    items = scratch.left;
  }
}

}  // namespace neap::engine
