// hash_join_probe.cc: looking up keys, following chains.
#include "engine/operators/hash_join_probe.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace neap::engine {
namespace {

// So many rows before its turn, a row's slot is fetched.
constexpr uint32_t kAhead = 24;

// The first slot from `at` on with the hash's salt, or an empty one.
inline uint64_t FindSalt(const JoinTable::Slots& table, uint64_t& at, uint64_t hash) {
  uint64_t slot = table[at];
  while (slot != 0 && !JoinTable::SaltsEqual(slot, hash)) {
    at = table.Next(at);
    slot = table[at];
  }
  return slot;
}

}  // namespace

HashProbe::HashProbe(JoinRun& run)
    : JoinProbe(run),
      match_rows_(run.memory, kBatchRows),
      match_ptrs_(run.memory, kBatchRows),
      candidates_(run.memory, kBatchRows),
      kept_(run.memory, kBatchRows),
      found_late_(run.memory, kBatchRows),
      pair_rows_(run.memory, kBatchRows),
      pair_ptrs_(run.memory, kBatchRows),
      link_(run.shape.build_rows.offset(run.shape.link)),
      batch_rows_(run.query.options().batch_rows) {}

void HashProbe::Start() {
  matches_ = next_ = again_ = 0;
  if (keyed_count_ == 0 || build_->rows() == 0) return;
  if (build_->dense().there()) {
    LookUpDense();
  } else {
    LookUp();
  }
}

void HashProbe::LookUpDense() {
  const DenseTable& table = build_->dense();
  const Column& key = batch_->columns[shape_.probe_keys[0]];
  const uint8_t* const* by_value = table.rows();
  const uint64_t min = table.min();
  const uint64_t size = table.size();
  DispatchPhysical(key.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 8) {
      const T* values = key.values<T>();
      uint32_t found = 0;
      const auto look_up = [&](RowIndex row, uint32_t position) {
        const uint64_t at = static_cast<uint64_t>(static_cast<int64_t>(values[position])) - min;
        // What lies beyond the range goes to the empty place behind it, without a branch.
        const uint8_t* ptr = by_value[std::min(at, size)];
        match_rows_[found] = row;
        match_ptrs_[found] = ptr;
        found += ptr != nullptr;
      };
      if (keyed_ == nullptr && key.indices == nullptr) {
        for (uint32_t i = 0; i < keyed_count_; ++i) look_up(static_cast<RowIndex>(i), i);
      } else {
        for (uint32_t i = 0; i < keyed_count_; ++i) look_up(keyed(i), key.position(keyed(i)));
      }
      matches_ = found;
    }
  });
}

void HashProbe::LookUp() {
  const uint64_t* hashes = Hashes();
  const int level = build_->level();
  const RowIndex* rows = keyed_ == nullptr ? kAllRows.data() : keyed_;
  JoinTable::Slots tables[kPartitions];
  for (uint32_t p = 0; p < kPartitions; ++p) tables[p] = build_->partition(p).table.slots();
  const auto table_of = [&](uint64_t hash) -> const JoinTable::Slots& { return tables[PartitionOf(hash, level)]; };

  uint32_t candidates = 0;
  for (uint32_t i = 0; i < keyed_count_; ++i) {
    if (i + kAhead < keyed_count_) {
      const uint64_t ahead = hashes[rows[i + kAhead]];
      __builtin_prefetch(table_of(ahead).address(table_of(ahead).Start(ahead)));
    }
    const uint64_t hash = hashes[rows[i]];
    const JoinTable::Slots& table = table_of(hash);
    uint64_t at = table.Start(hash);
    const uint64_t slot = FindSalt(table, at, hash);
    if (slot == 0) continue;
    const uint8_t* row = JoinTable::RowOf(slot);
    __builtin_prefetch(row);
    match_ptrs_[i] = row;
    candidates_[candidates++] = static_cast<RowIndex>(i);
  }
  uint32_t kept = MatchKeys(shape_.build_rows, *batch_, shape_.probe_keys.data(), shape_.spec.null_equals.data(),
                            shape_.keys(), rows, match_ptrs_.data(), candidates_.data(), candidates, kept_.data());
  if (kept != candidates) kept = LookUpMissed(rows, candidates, kept);
  for (uint32_t i = 0; i < kept; ++i) {
    match_rows_[i] = rows[kept_[i]];
    match_ptrs_[i] = match_ptrs_[kept_[i]];
  }
  matches_ = kept;
}

// Goes on with those candidates that had the salt but not the keys, which are few. Returns how many are kept now.
uint32_t HashProbe::LookUpMissed(const RowIndex* rows, uint32_t candidates, uint32_t kept) {
  const uint64_t* hashes = Hashes();
  const RowIndex* tried = kept_.data();
  uint32_t tried_kept = kept;
  while (true) {
    uint32_t missed = 0, hit = 0;
    for (uint32_t c = 0; c < candidates; ++c) {
      const RowIndex i = candidates_[c];
      if (hit != tried_kept && tried[hit] == i) {
        ++hit;
        continue;
      }
      const uint64_t hash = hashes[rows[i]];
      const JoinTable::Slots table = build_->partition(PartitionOf(hash, build_->level())).table.slots();
      uint64_t at = table.Start(hash);
      while (JoinTable::RowOf(FindSalt(table, at, hash)) != match_ptrs_[i]) at = table.Next(at);
      at = table.Next(at);
      const uint64_t slot = FindSalt(table, at, hash);
      if (slot == 0) continue;
      match_ptrs_[i] = JoinTable::RowOf(slot);
      candidates_[missed++] = i;
    }
    if (missed == 0) return kept;
    candidates = missed;
    tried_kept = MatchKeys(shape_.build_rows, *batch_, shape_.probe_keys.data(), shape_.spec.null_equals.data(),
                           shape_.keys(), rows, match_ptrs_.data(), candidates_.data(), candidates, found_late_.data());
    tried = found_late_.data();
    for (uint32_t t = 0; t < tried_kept; ++t, ++kept) {
      RowIndex* end = kept_.data() + kept;
      RowIndex* place = std::upper_bound(kept_.data(), end, tried[t]);
      std::move_backward(place, end, end + 1);
      *place = tried[t];
    }
  }
}

bool HashProbe::NextPairs(Batch& out) {
  const bool one_each =
      !build_->has_duplicates() || (shape_.spec.kind == JoinKind::kLeftSingle && !filter_.has_value());
  return one_each ? AtPlaces(out) : InChains(out);
}

// At most one pair for each probe row: build columns are put beside the batch's own.
bool HashProbe::AtPlaces(Batch& out) {
  if (shape_.spec.kind == JoinKind::kLeftSingle && build_->has_duplicates()) {
    for (uint32_t i = 0; i < matches_; ++i) {
      if (LinkOf(match_ptrs_[i], link_) != nullptr) ThrowSecondMatch();
    }
  }
  if (filter_.has_value() && matches_ != 0) FilterPlaces();
  const uint32_t matches = std::exchange(matches_, 0);
  if (shape_.flags_build()) {
    for (uint32_t i = 0; i < matches; ++i) SetFlag(match_ptrs_[i]);
  }
  if (shape_.gives_unmatched_probe()) {
    for (uint32_t i = 0; i < matches; ++i) SetFound(match_rows_[i]);
  }
  // All build rows are there: nothing comes after this batch.
  if (whole_) phase_ = Phase::kDone;
  if (whole_ && shape_.gives_unmatched_probe() && matches != batch_->selected) {
    const RowIndex* rows = batch_->selection == nullptr ? kAllRows.data() : batch_->selection;
    uint32_t match = 0;
    for (uint32_t i = 0; i < batch_->selected; ++i) {
      const uint8_t found = state_[rows[i]] & kFound;
      pair_ptrs_[i] = found != 0 ? match_ptrs_[match] : nullptr;
      match += found;
    }
    output_.AtPlaces(*batch_, rows, pair_ptrs_.data(), batch_->selected, out);
    return true;
  }
  if (matches == 0) return false;
  output_.AtPlaces(*batch_, match_rows_.data(), match_ptrs_.data(), matches, out);
  return true;
}

void HashProbe::FilterPlaces() {
  filtered_->AtPlaces(*batch_, match_rows_.data(), match_ptrs_.data(), matches_, filter_batch_);
  const uint32_t passed = filter_->Select(filter_batch_, kept_.data());
  uint32_t kept = 0;
  for (uint32_t i = 0; kept < passed; ++i) {
    match_rows_[kept] = match_rows_[i];
    match_ptrs_[kept] = match_ptrs_[i];
    kept += match_rows_[i] == kept_[kept];
  }
  matches_ = passed;
}

// Takes pairs [from, end) at most, one of every probe row in turn, and says where they end.
uint32_t HashProbe::Fill(uint32_t from, uint32_t end) {
  while (from < end && matches_ != 0) {
    const uint32_t stop = next_ + std::min(matches_ - next_, end - from);
    for (; next_ < stop; ++next_, ++from) {
      const uint8_t* row = match_ptrs_[next_];
      const RowIndex probe_row = match_rows_[next_];
      const uint8_t* following = LinkOf(row, link_);
      __builtin_prefetch(following);
      pair_rows_[from] = probe_row;
      pair_ptrs_[from] = row;
      match_rows_[again_] = probe_row;
      match_ptrs_[again_] = following;
      again_ += following != nullptr;
    }
    if (next_ == matches_) {
      matches_ = again_;
      next_ = again_ = 0;
    }
  }
  return from;
}

// Keeps those of pairs [from, end) that pass the filter, and says where they end.
uint32_t HashProbe::FilterPairs(uint32_t from, uint32_t end) {
  if (!filter_.has_value()) return end;
  filtered_->Pairs(*batch_, pair_rows_.data() + from, pair_ptrs_.data() + from, end - from, filter_batch_);
  const uint32_t passed = filter_->Select(filter_batch_, kept_.data());
  for (uint32_t i = 0; i < passed; ++i) {
    pair_rows_[from + i] = pair_rows_[from + kept_[i]];
    pair_ptrs_[from + i] = pair_ptrs_[from + kept_[i]];
  }
  return from + passed;
}

bool HashProbe::InChains(Batch& out) {
  uint32_t pairs = 0;
  // A filter may leave little of what was filled.
  while (pairs <= batch_rows_ / 2) {
    const uint32_t filled = Fill(pairs, batch_rows_);
    if (filled == pairs) break;
    const uint32_t end = FilterPairs(pairs, filled);
    if (shape_.gives_unmatched_probe()) {
      for (uint32_t i = pairs; i < end; ++i) SetFound(pair_rows_[i]);
    }
    if (shape_.flags_build()) {
      for (uint32_t i = pairs; i < end; ++i) SetFlag(pair_ptrs_[i]);
    }
    pairs = end;
  }
  if (pairs == 0) return false;
  output_.Pairs(*batch_, pair_rows_.data(), pair_ptrs_.data(), pairs, out);
  return true;
}

void HashProbe::Match() {
  if (!filter_.has_value()) {
    if (shape_.wants_one_match()) {
      for (uint32_t i = 0; i < matches_; ++i) SetFound(match_rows_[i]);
      return;
    }
    for (uint32_t i = 0; i < matches_; ++i) {
      // All rows of a chain have a match or none has.
      for (const uint8_t* row = match_ptrs_[i]; row != nullptr && !HasFlag(row); row = LinkOf(row, link_)) SetFlag(row);
    }
    return;
  }
  while (matches_ != 0) {
    uint32_t end = Fill(0, batch_rows_);
    if (shape_.flags_build()) {
      uint32_t open = 0;
      for (uint32_t i = 0; i < end; ++i) {
        pair_rows_[open] = pair_rows_[i];
        pair_ptrs_[open] = pair_ptrs_[i];
        open += HasFlag(pair_ptrs_[i]) ? 0 : 1;
      }
      end = open;
    }
    if (end == 0) continue;
    end = FilterPairs(0, end);
    if (shape_.flags_build()) {
      for (uint32_t i = 0; i < end; ++i) SetFlag(pair_ptrs_[i]);
    } else {
      for (uint32_t i = 0; i < end; ++i) SetFound(pair_rows_[i]);
      DropFound();
    }
  }
}

// Probe rows that have a match need no other.
void HashProbe::DropFound() {
  uint32_t open = 0;
  const auto keep = [&](uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      match_rows_[open] = match_rows_[i];
      match_ptrs_[open] = match_ptrs_[i];
      open += (state_[match_rows_[i]] & kFound) ^ 1U;
    }
  };
  keep(0, again_);
  const uint32_t again = open;
  keep(next_, matches_);
  matches_ = open;
  next_ = again;
  again_ = again;
  if (next_ == matches_) {
    matches_ = again_;
    next_ = again_ = 0;
  }
}

}  // namespace neap::engine
