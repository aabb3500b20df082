// hash_aggregate_table.cc: how the rows of a batch find their groups, and when a thread's table grows, is cleared, or
// goes to disk.
#include "engine/operators/hash_aggregate_table.h"

#include <algorithm>
#include <cstring>

namespace neap::engine {
namespace {

constexpr size_t kFirstSlots = 8192;              // 64 KiB
constexpr size_t kCachedSlots = size_t{1} << 17;  // 1 MiB: larger ones must pay
constexpr size_t kMostSlots = size_t{1} << 22;
constexpr size_t kMostCodes = size_t{1} << 20;  // 8 MiB
constexpr uint32_t kRowsPerRun = 16;            // on average, from which on rows are sorted into runs
constexpr uint64_t kLeastRowsSeen = 4 * kCachedSlots;
constexpr double kStableEstimate = 1.5;
constexpr double kFewHits = 0.15;
constexpr uint32_t kFirstBypass = 64;
constexpr uint32_t kLongestBypass = 1024;
constexpr size_t kLeastToSpill = size_t{1} << 20;
constexpr size_t kLeastGrowth = size_t{64} << 10;

}  // namespace

// ---- Slots.

void GroupSlots::Reset(Memory& memory, size_t capacity) {
  if (slots_.size() < capacity) slots_ = Array<uint64_t>(memory, capacity);
  capacity_ = capacity;
  std::fill_n(slots_.data(), capacity, 0);  // none where there are none: memset must not be given no address
}

void GroupSlots::Grow(Memory& memory, size_t capacity, uint32_t hash_offset) {
  const Array<uint64_t> old = std::exchange(slots_, Array<uint64_t>(memory, capacity));
  const size_t old_capacity = std::exchange(capacity_, capacity);
  std::memset(slots_.data(), 0, capacity * sizeof(uint64_t));
  for (size_t i = 0; i < old_capacity; ++i) {
    if (i + kAhead < old_capacity && old[i + kAhead] != 0) __builtin_prefetch(AddressOf(old[i + kAhead]) + hash_offset);
    if (old[i] == 0) continue;
    uint64_t hash;
    std::memcpy(&hash, AddressOf(old[i]) + hash_offset, sizeof hash);
    Add(hash, AddressOf(old[i]));
  }
}

void GroupSlots::Add(uint64_t hash, uint8_t* row) {
  const uint64_t mask = capacity_ - 1;
  uint64_t position = hash & mask;
  while (slots_[position] != 0) position = (position + 1) & mask;
  slots_[position] = SaltOf(hash) | reinterpret_cast<uint64_t>(row);
}

uint32_t GroupSlots::Collect(size_t* begin, uint32_t wanted, uint8_t** out) const {
  uint32_t count = 0;
  size_t i = *begin;
  for (; i < capacity_ && count < wanted; ++i) {
    if (slots_[i] == 0) continue;
    out[count] = AddressOf(slots_[i]);
    PrefetchRow(out[count++], row_width_);
  }
  *begin = i;
  return count;
}

// ---- The table.

GroupTable::GroupTable(Query& query, Memory& memory, const RowLayout& layout, size_t keys,
                       const AggregateStates& states)
    : query_(query),
      memory_(memory),
      layout_(layout),
      keys_(keys),
      hash_offset_(layout.offset(layout.columns() - 1)),
      rows_(&layout, &memory, 0),
      slots_(layout.width()),
      next_bypass_(kFirstBypass),
      codes_(keys),
      null_equals_(keys, 1),
      scratch_(memory, 1) {
  Scratch& s = scratch_[0];
  std::memset(s.counts, 0, sizeof s.counts);
  result_.runs = s.runs;
  result_.ends = s.ends;
  result_.rows = s.rows;
  result_.of_row = s.of_row;
  keyed_.columns.resize(keys);
  const std::vector<Column> initial = states.Initial();
  keyed_.columns.insert(keyed_.columns.end(), initial.begin(), initial.end());
  for (uint32_t i = 0; i < keyed_.columns.size(); ++i) columns_.push_back(i);
}

const BatchGroups& GroupTable::Locate(const Batch& batch, bool of_rows) {
  std::copy_n(batch.columns.begin(), keys_, keyed_.columns.begin());
  keyed_.rows = batch.rows;
  rows_seen_ += batch.selected;
  result_.in_runs = false;
  const RowIndex* rows = batch.selection == nullptr ? kAllRows.data() : batch.selection;
  if (!LocateByCode(rows, batch.selected, of_rows)) LocateByHash(rows, batch.selected);
  return result_;
}

// Codes cost memory for all that are possible: only so many as there have been rows.
bool GroupTable::LocateByCode(const RowIndex* rows, uint32_t count, bool of_rows) {
  Scratch& s = scratch_[0];
  const size_t limit = std::clamp<size_t>(2 * rows_seen_, kRunIds, kMostCodes);
  const KeyCodes::Outcome outcome = codes_.Encode(keyed_.columns, rows, count, limit, s.codes);
  if (outcome == KeyCodes::Outcome::kNone) return false;
  if (by_code_.size() < codes_.size()) {
    const size_t size = std::bit_ceil(codes_.size());
    if (size > kRunIds && !query_.MayGrow(memory_, size * sizeof(uint8_t*))) {
      codes_.Forget();
      return false;
    }
    by_code_ = {memory_, size};
  }
  if (outcome == KeyCodes::Outcome::kNew) std::fill_n(by_code_.data(), codes_.size(), nullptr);

  uint32_t unknown = 0;
  const bool may_have_runs = codes_.size() <= kRunIds;
  if (may_have_runs) {
    CountRuns(s.codes, rows, count);
    for (uint32_t run = 0; run < result_.run_count; ++run) {
      s.unknown[unknown] = s.run_rows[run];
      unknown += by_code_[s.run_ids[run]] == nullptr;
    }
  } else {
    for (uint32_t i = 0; i < count; ++i) {
      s.unknown[unknown] = rows[i];
      unknown += by_code_[s.codes[rows[i]]] == nullptr;
    }
  }
  if (unknown != 0) Find(s.unknown, unknown);
  window_rows_ += count - unknown;
  for (uint32_t i = 0; i < unknown; ++i) by_code_[s.codes[s.unknown[i]]] = s.of_row[s.unknown[i]];
  if (may_have_runs) {
    for (uint32_t run = 0; run < result_.run_count; ++run) s.runs[run] = by_code_[s.run_ids[run]];
    SortIntoRuns(s.codes, rows, count);
  }
  if (of_rows || !result_.in_runs) {
    for (uint32_t i = 0; i < count; ++i) {
      uint8_t* group = by_code_[s.codes[rows[i]]];
      PrefetchRow(group, layout_.width());
      s.of_row[rows[i]] = group;
    }
  }
  return true;
}

void GroupTable::LocateByHash(const RowIndex* rows, uint32_t count) {
  if (bypass_ != 0) {
    --bypass_;
    Hash(rows, count);
    Append(rows, count);
    is_unique_ = false;
    return;
  }
  Find(rows, count);
  if (slots_.capacity() > kRunIds || groups_ * kRowsPerRun > count) return;
  Scratch& s = scratch_[0];
  CountRuns(s.positions, rows, count);
  for (uint32_t run = 0; run < result_.run_count; ++run) s.runs[run] = s.of_row[s.run_rows[run]];
  SortIntoRuns(s.positions, rows, count);
}

// The runs there are by id, and in counts how long each is.
void GroupTable::CountRuns(const uint32_t* ids, const RowIndex* rows, uint32_t count) {
  Scratch& s = scratch_[0];
  uint32_t runs = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const RowIndex row = rows[i];
    const uint32_t id = ids[row];
    s.run_ids[runs] = id;
    s.run_rows[runs] = row;
    runs += s.counts[id]++ == 0;
  }
  result_.run_count = runs;
}

// Only where runs are long; leaves counts zero in either case.
void GroupTable::SortIntoRuns(const uint32_t* ids, const RowIndex* rows, uint32_t count) {
  Scratch& s = scratch_[0];
  result_.in_runs = result_.run_count * kRowsPerRun <= count;
  if (result_.in_runs) {
    uint32_t end = 0;
    for (uint32_t run = 0; run < result_.run_count; ++run) {
      uint32_t& length = s.counts[s.run_ids[run]];
      s.ends[run] = end + length;
      length = std::exchange(end, end + length);
    }
    for (uint32_t i = 0; i < count; ++i) s.rows[s.counts[ids[rows[i]]]++] = rows[i];
  }
  for (uint32_t run = 0; run < result_.run_count; ++run) s.counts[s.run_ids[run]] = 0;
}

void GroupTable::Hash(const RowIndex* rows, uint32_t count) {
  keyed_.selection = rows;
  keyed_.selected = count;
  HashRows(keyed_, columns_.data(), keys_, scratch_[0].hashes);
}

// New rows, whose groups go to of_row.
void GroupTable::Append(const RowIndex* rows, uint32_t count) {
  Scratch& s = scratch_[0];
  rows_.Append(keyed_, columns_.data(), s.hashes, rows, count, s.fresh);
  for (uint32_t i = 0; i < count; ++i) s.of_row[rows[i]] = s.fresh[i];
}

// The groups of the rows to of_row, their slots to positions.
void GroupTable::Find(const RowIndex* rows, uint32_t count) {
  MakeRoomFor(count);
  Hash(rows, count);
  Scratch& s = scratch_[0];
  const uint64_t before = groups_;
  slots_.FindOrInsert(
      rows, count, s.hashes, s.positions, s.of_row, s.find,
      [&](const RowIndex* fresh, uint32_t n) {
        Append(fresh, n);
        groups_ += n;
      },
      [&](const RowIndex* candidates, uint32_t n, RowIndex* kept) {
        return MatchKeys(layout_, keyed_, columns_.data(), null_equals_.data(), keys_, kAllRows.data(), s.of_row,
                         candidates, n, kept);
      });
  window_rows_ += count;
  window_groups_ += groups_ - before;
}

// Slots for so many more groups, most of which may be new. What fits the cache costs little. More must pay: where
// groups do not come again, clearing the slots loses nothing. A guess of how many there are in all is the number of
// groups over the share of rows that find theirs; where the guess grows with the table, groups come in clusters (as a
// key does by which the input is sorted) and a small table finds them as well as a large one.
void GroupTable::MakeRoomFor(uint32_t count) {
  if (groups_ + count <= slots_.limit()) return;
  const size_t capacity = slots_.capacity();
  if (capacity == 0) {
    slots_.Reset(memory_, kFirstSlots);
    return;
  }
  const size_t larger = 4 * capacity;
  const bool has_room = query_.MayGrow(memory_, larger * sizeof(uint64_t));
  const double hits =
      1 - static_cast<double>(window_groups_) / static_cast<double>(std::max(window_rows_, uint64_t{1}));
  const double estimate =
      (static_cast<double>(groups_) - 0.5 * static_cast<double>(window_groups_)) / std::max(hits, 1e-9);
  bool grow = has_room;
  if (capacity >= kCachedSlots) {
    if (distinct_ != 0 && estimate > kStableEstimate * distinct_) may_grow_ = false;
    distinct_ = estimate;
    grow = has_room && may_grow_ && larger <= kMostSlots &&
           estimate < static_cast<double>(std::max(rows_seen_, kLeastRowsSeen));
  }
  if (grow) {
    slots_.Grow(memory_, larger, hash_offset_);
  } else {
    ClearSlots();
    if (capacity >= kCachedSlots && hits < kFewHits) {
      bypass_ = next_bypass_;
      next_bypass_ = std::min(2 * next_bypass_, kLongestBypass);
    }
  }
  window_rows_ = window_groups_ = 0;
}

void GroupTable::ClearSlots() {
  if (slots_.capacity() > kCachedSlots) slots_.Free();
  slots_.Reset(memory_, std::max(kFirstSlots, slots_.capacity()));
  groups_ = 0;
  distinct_ = 0;
  is_unique_ &= rows_.rows() == 0;
}

// ---- Memory.

void GroupTable::AfterBatch() {
  if (dead_bytes_ > kLeastToSpill && dead_bytes_ > rows_.bytes() / 2) Compact();
  const size_t grown = rows_.bytes() - std::min(rows_.bytes(), bytes_before_);
  bytes_before_ = rows_.bytes();
  if (grown == 0) return;
  const size_t growth = std::max(grown, kLeastGrowth);
  if (query_.MayGrow(memory_, growth)) return;
  if (query_.options().force_spill) {
    Spill(rows_.bytes());
  } else if (rows_.bytes() >= kLeastToSpill) {
    Spill(rows_.bytes() / 2);
  } else {
    query_.WantRoom(growth);
  }
}

size_t GroupTable::Spill(size_t wanted) {
  const size_t held = rows_.bytes();
  if (held == 0) return 0;
  const size_t resident = memory_.Resident();
  is_unique_ = false;
  while (rows_.bytes() != 0 && held - rows_.bytes() < wanted) {
    const uint32_t largest = rows_.Largest();
    RowStore& store = rows_.partition(largest);
    if (!files_[largest]) files_[largest].emplace(query_.spill_directory(), layout_.types(), &memory_);
    spilled_rows_ += SpillRows(store, *files_[largest]);
    store.Clear();
  }
  ++spills_;
  // Slots and codes that point to rows which are gone.
  if (slots_.capacity() != 0) ClearSlots();
  codes_.Forget();
  dead_bytes_ = 0;
  bytes_before_ = rows_.bytes();
  memory_.Purge();
  const size_t left = memory_.Resident();
  const size_t freed = resident > left ? resident - left : 0;
  freed_ += freed;
  return freed;
}

View GroupTable::Keep(uint8_t* row, const View& old, const View& text) {
  if (!old.is_inline() && !text.is_inline() && text.size <= old.size) {
    char* kept = const_cast<char*>(old.pointer);
    std::memcpy(kept, text.pointer, text.size);
    dead_bytes_ += old.size - text.size;
    return {kept, text.size};
  }
  if (!old.is_inline()) dead_bytes_ += old.size;
  if (text.is_inline()) return text;
  uint64_t hash;
  std::memcpy(&hash, row + hash_offset_, sizeof hash);
  return rows_.partition(PartitionOf(hash, rows_.level())).Keep(text);
}

// Copies all rows, without the strings that no state has any more.
void GroupTable::Compact() {
  ClearSlots();
  const bool fits = rows_.rows() <= slots_.limit();
  for (uint32_t p = 0; p < kPartitions; ++p) {
    RowStore copy(&layout_, &memory_);
    rows_.partition(p).ForEachRun([&](const uint8_t* row, uint32_t count) {
      for (; count != 0; --count, row += layout_.width()) {
        uint8_t* copied = copy.AppendRow(row);
        if (!fits) continue;
        uint64_t hash;
        std::memcpy(&hash, copied + hash_offset_, sizeof hash);
        slots_.Add(hash, copied);
      }
    });
    rows_.partition(p) = std::move(copy);
  }
  if (fits) groups_ = rows_.rows();
  codes_.Forget();
  dead_bytes_ = 0;
}

void GroupTable::Finish() {
  scratch_.Reset();
  by_code_.Reset();
  slots_.Free();
}

}  // namespace neap::engine
