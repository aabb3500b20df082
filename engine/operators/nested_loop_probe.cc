// nested_loop_probe.cc: every pair.
#include "engine/operators/nested_loop_probe.h"

#include <algorithm>

namespace neap::engine {

LoopProbe::LoopProbe(JoinRun& run)
    : JoinProbe(run), open_rows_(run.memory, kBatchRows), kept_(run.memory, kBatchRows) {}

void LoopProbe::Start() {
  auto& partition = build_->partition(0);
  rows_ = partition.table.list();
  row_count_ = partition.rows.rows();
  by_build_row_ = row_count_ <= keyed_count_;
  row_ = next_row_ = 0;
  next_probe_ = keyed_count_;
  open_ = keyed_;
  open_count_ = keyed_count_;
}

// The filter on filter_batch_: what is TRUE of it stays among the matches.
void LoopProbe::Filter() {
  matches_ = kept_.data();
  if (!shape_.spec.null_aware) {
    match_count_ = filter_->Select(filter_batch_, kept_.data());
    return;
  }
  const Column passed = filter_->Evaluate(filter_batch_);
  match_count_ = 0;
  filter_batch_.ForEach([&](uint32_t row) {
    if (!passed.is_valid(row)) {
      state_[by_build_row_ ? row : probe_row_] |= kUnknown;
    } else if (passed.values<uint8_t>()[passed.position(row)] != 0) {
      kept_[match_count_++] = static_cast<RowIndex>(row);
    }
  });
}

bool LoopProbe::NextBuildRow() {
  while (next_row_ != row_count_ && open_count_ != 0) {
    row_ = next_row_++;
    const uint8_t* row = rows_[row_];
    if (shape_.flags_build() && !shape_.gives_pairs() && HasFlag(row)) continue;
    matches_ = open_;
    match_count_ = open_count_;
    if (filter_.has_value()) {
      filtered_->WithOneBuildRow(*batch_, open_, open_count_, row, filter_batch_);
      Filter();
    }
    if (match_count_ == 0) continue;
    if (shape_.flags_build()) SetFlag(row);
    if (shape_.gives_unmatched_probe() || shape_.wants_one_match()) {
      for (uint32_t i = 0; i < match_count_; ++i) SetFound(matches_ == nullptr ? i : matches_[i]);
    }
    if (shape_.wants_one_match()) {
      uint32_t open = 0;
      for (uint32_t i = 0; i < open_count_; ++i) {
        const RowIndex probe_row = open_ == nullptr ? static_cast<RowIndex>(i) : open_[i];
        open_rows_[open] = probe_row;
        open += (state_[probe_row] & kFound) ^ 1U;
      }
      open_ = open_rows_.data();
      open_count_ = open;
    }
    return true;
  }
  return false;
}

void LoopProbe::TakeBlock() {
  row_ = next_row_;
  const auto count = static_cast<uint32_t>(std::min<uint64_t>(row_count_ - row_, run_.query.options().batch_rows));
  next_row_ = row_ + count;
  if (filtered_.has_value()) filtered_->TakeBlock(rows_ + row_, count);
  if (shape_.gives_pairs()) output_.TakeBlock(rows_ + row_, count);
  next_probe_ = 0;
}

bool LoopProbe::NextProbeRow() {
  while (true) {
    if (next_probe_ == keyed_count_) {
      if (next_row_ == row_count_ || keyed_count_ == 0) return false;
      TakeBlock();
    }
    probe_row_ = keyed(next_probe_++);
    if (shape_.wants_one_match() && (state_[probe_row_] & kFound) != 0) continue;
    matches_ = nullptr;
    match_count_ = static_cast<uint32_t>(next_row_ - row_);
    if (filter_.has_value()) {
      filtered_->WithOneProbeRow(*batch_, probe_row_, nullptr, match_count_, filter_batch_);
      Filter();
    }
    if (match_count_ == 0) continue;
    if (shape_.flags_build()) {
      for (uint32_t i = 0; i < match_count_; ++i) SetFlag(rows_[row_ + (matches_ == nullptr ? i : matches_[i])]);
    }
    if (shape_.spec.kind == JoinKind::kLeftSingle && match_count_ > 1) ThrowSecondMatch();
    if (shape_.gives_unmatched_probe() || shape_.wants_one_match()) SetFound(probe_row_);
    return true;
  }
}

bool LoopProbe::NextPairs(Batch& out) {
  if (!NextMatch()) return false;
  if (by_build_row_) {
    output_.WithOneBuildRow(*batch_, matches_, match_count_, rows_[row_], out);
  } else {
    output_.WithOneProbeRow(*batch_, probe_row_, matches_, match_count_, out);
  }
  return true;
}

void LoopProbe::Match() {
  while (NextMatch()) {
  }
}

}  // namespace neap::engine
