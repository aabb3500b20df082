// join_probe.cc: what is the same for joins with and without keys.
#include "engine/operators/join_probe.h"

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"
#include "engine/operators/hash_join_probe.h"
#include "engine/operators/nested_loop_probe.h"

namespace neap::engine {
namespace {

// A partition's rows go to disk when they have taken pages of more than this: enough for a batch or so, and little even
// for every partition of every thread.
constexpr size_t kWaitingBytes = size_t{64} << 10;

}  // namespace

WaitingRows::WaitingRows(JoinPartitions& partitions)
    : partitions_(partitions),
      rows_(&partitions.run().shape.probe_rows, &partitions.run().memory, partitions.level()) {}

void WaitingRows::Append(const Batch& batch, const uint64_t* hashes, const RowIndex* rows, uint32_t count) {
  rows_.Append(batch, partitions_.run().shape.probe_kept.data(), hashes, rows, count, nullptr);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    if (rows_.partition(p).bytes() > kWaitingBytes) partitions_.SpillProbe(p, rows_.partition(p));
  }
}

void WaitingRows::Flush() {
  for (uint32_t p = 0; p < kPartitions; ++p) {
    if (rows_.partition(p).rows() != 0) partitions_.SpillProbe(p, rows_.partition(p));
  }
}

JoinProbe::JoinProbe(JoinRun& run)
    : run_(run),
      shape_(run.shape),
      output_(run.shape, run.shape.output, run.memory),
      own_hashes_(run.memory, kBatchRows),
      own_state_(run.memory, kBatchRows),
      keyed_rows_(run.memory, kBatchRows),
      rows_(run.memory, kBatchRows) {
  if (shape_.spec.filter.has_value()) {
    filtered_.emplace(shape_, shape_.filtered, run.memory);
    filter_.emplace(*shape_.spec.filter, shape_.filter_slots, run.memory);
  }
  if (shape_.spec.kind == JoinKind::kLeftMark) {
    mark_ = Array<uint8_t>(run.memory, kBatchRows);
    mark_valid_ = Array<uint8_t>(run.memory, kBatchRows);
  }
}

void JoinProbe::Begin(JoinPartitions& build, WaitingRows& waiting, Batch& batch, const uint64_t* hashes) {
  build_ = &build;
  batch_ = &batch;
  hashes_ = hashes;
  whole_ = last_ = true;
  state_ = own_state_.data();
  FindKeyed();
  if (build.any_on_disk() && keyed_count_ != 0) TakeOutWaiting(waiting);
  phase_ = batch.selected == 0 ? Phase::kDone : Phase::kMatches;
  if (phase_ == Phase::kDone) return;
  std::memset(state_, 0, batch.rows);
  SetUnknown();
  Start();
}

void JoinProbe::BeginBlock(JoinPartitions& build, Batch& batch, const uint64_t* hashes, uint8_t* state, bool last) {
  build_ = &build;
  batch_ = &batch;
  hashes_ = hashes;
  whole_ = false;
  last_ = last;
  state_ = state;
  phase_ = Phase::kMatches;
  FindKeyed();
  if (shape_.wants_one_match()) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < keyed_count_; ++i) {
      const RowIndex row = keyed(i);
      keyed_rows_[kept] = row;
      kept += (state_[row] & kFound) == 0;
    }
    keyed_ = keyed_rows_.data();
    keyed_count_ = kept;
  }
  SetUnknown();
  Start();
}

void JoinProbe::FindKeyed() {
  keyed_count_ = shape_.RowsWithKeys(*batch_, shape_.probe_keys.data(), keyed_rows_.data(), &keyed_);
}

const uint64_t* JoinProbe::Hashes() {
  if (hashes_ == nullptr) {
    const RowIndex* selection = batch_->selection;
    const uint32_t selected = batch_->selected;
    batch_->selection = keyed_;
    batch_->selected = keyed_count_;
    HashRows(*batch_, shape_.probe_keys.data(), shape_.keys(), own_hashes_.data());
    batch_->selection = selection;
    batch_->selected = selected;
    hashes_ = own_hashes_.data();
  }
  return hashes_;
}

void JoinProbe::TakeOutWaiting(WaitingRows& waiting) {
  const uint64_t* hashes = Hashes();
  uint8_t on_disk[kPartitions];
  for (uint32_t p = 0; p < kPartitions; ++p) on_disk[p] = build_->on_disk(p) ? 1 : 0;
  const int level = build_->level();
  // state_ says for a while which rows go.
  std::memset(state_, 0, batch_->rows);
  uint32_t stay = 0, go = 0;
  for (uint32_t i = 0; i < keyed_count_; ++i) {
    const RowIndex row = keyed(i);
    const uint8_t goes = on_disk[PartitionOf(hashes[row], level)];
    state_[row] = goes;
    rows_[go] = row;
    keyed_rows_[stay] = row;
    go += goes;
    stay += goes ^ 1U;
  }
  if (go == 0) return;
  waiting.Append(*batch_, hashes, rows_.data(), go);
  uint32_t kept = 0;
  batch_->ForEach([&](uint32_t row) {
    rows_[kept] = static_cast<RowIndex>(row);
    kept += state_[row] ^ 1U;
  });
  batch_->selection = rows_.data();
  batch_->selected = kept;
  keyed_ = keyed_rows_.data();
  keyed_count_ = stay;
}

// With one key and no filter a NULL is all there is to know: nothing is NOT IN a list that has one, and a NULL is not
// known to be in any list that is not empty.
void JoinProbe::SetUnknown() {
  if (!shape_.spec.null_aware || shape_.keys() == 0 || !run_.has_build_rows) return;
  if (run_.has_null_keys) {
    batch_->ForEach([&](uint32_t row) { state_[row] |= kUnknown; });
    return;
  }
  const Column& key = batch_->columns[shape_.probe_keys[0]];
  if (key.valid == nullptr) return;
  batch_->ForEach([&](uint32_t row) {
    if (!key.is_valid(row)) state_[row] |= kUnknown;
  });
}

void JoinProbe::SetFound(uint32_t row) {
  if (shape_.spec.kind == JoinKind::kLeftSingle && (state_[row] & kFound) != 0) ThrowSecondMatch();
  state_[row] |= kFound;
}

void JoinProbe::ThrowSecondMatch() {
  throw Error(ErrorKind::kData, "a scalar subquery gave more than one row: aggregate it or give it a limit");
}

void JoinProbe::SetFlag(const uint8_t* row) const {
  __atomic_store_n(const_cast<uint8_t*>(row) + shape_.build_rows.offset(shape_.flag), uint8_t{1}, __ATOMIC_RELAXED);
}

bool JoinProbe::HasFlag(const uint8_t* row) const {
  return __atomic_load_n(row + shape_.build_rows.offset(shape_.flag), __ATOMIC_RELAXED) != 0;
}

bool JoinProbe::Next(Batch& out) {
  if (phase_ == Phase::kMatches) {
    if (shape_.gives_pairs()) {
      if (NextPairs(out)) return true;
    } else {
      Match();
    }
    // Pairs of one batch may have had the rows without a match among them.
    if (phase_ == Phase::kMatches) phase_ = Phase::kRows;
  }
  if (phase_ == Phase::kRows) {
    phase_ = Phase::kDone;
    return Rows(out);
  }
  return false;
}

// Rows that count of which the bits in `mask` are `wanted`, to rows_.
uint32_t JoinProbe::RowsWhere(uint8_t mask, uint8_t wanted) {
  uint32_t count = 0;
  // rows_ may be the batch's selection: it is read before it is written.
  batch_->ForEach([&](uint32_t row) {
    rows_[count] = static_cast<RowIndex>(row);
    count += (state_[row] & mask) == wanted;
  });
  return count;
}

// Probe rows that come out by themselves, once it is known whether they have a match.
bool JoinProbe::Rows(Batch& out) {
  uint32_t count = 0;
  switch (shape_.spec.kind) {
    case JoinKind::kLeftSemi:
      for (uint32_t i = 0; i < keyed_count_; ++i) {
        const RowIndex row = keyed(i);
        rows_[count] = row;
        count += state_[row] & kFound;
      }
      break;
    case JoinKind::kLeftAnti:
      if (last_) count = RowsWhere(kFound | kUnknown, 0);
      break;
    case JoinKind::kLeft:
    case JoinKind::kFull:
    case JoinKind::kLeftSingle:
      if (last_) count = RowsWhere(kFound, 0);
      break;
    case JoinKind::kLeftMark:
      if (last_) {
        SetMarks();
        count = RowsWhere(0, 0);
      }
      break;
    default:
      break;
  }
  if (count == 0) return false;
  output_.WithoutBuild(*batch_, rows_.data(), count, out);
  return true;
}

void JoinProbe::SetMarks() {
  uint8_t unknown = 0;
  batch_->ForEach([&](uint32_t row) {
    mark_[row] = state_[row] & kFound;
    mark_valid_[row] = state_[row] == kUnknown ? 0 : 1;
    unknown |= mark_valid_[row] ^ 1U;
  });
  output_.SetMark(
      {.type = {TypeId::kBool}, .data = mark_.data(), .valid = unknown != 0 ? mark_valid_.data() : nullptr});
}

std::unique_ptr<JoinProbe> MakeProbe(JoinRun& run) {
  if (run.shape.keys() == 0) return std::make_unique<LoopProbe>(run);
  return std::make_unique<HashProbe>(run);
}

}  // namespace neap::engine
