// window_segment.cc: where partitions and peers start, and segments that go to disk.
#include "engine/operators/window_segment.h"

#include <algorithm>
#include <utility>

namespace neap::engine {
namespace {

// A segment that holds less goes on growing, and others are asked for room.
constexpr size_t kLeastToSpill = size_t{1} << 20;
constexpr size_t kLeastGrowth = size_t{256} << 10;

template <class T>
void MarkColumn(const Column& column, uint32_t rows, uint8_t flag, uint8_t* flags) {
  const T* values = column.values<T>();
  const uint8_t* valid = column.valid;
  if (valid == nullptr) {
    for (uint32_t row = 1; row < rows; ++row) flags[row] |= KeysEqual(values[row - 1], values[row]) ? 0 : flag;
    return;
  }
  for (uint32_t row = 1; row < rows; ++row) {
    const bool equal = valid[row - 1] == valid[row] && (valid[row] == 0 || KeysEqual(values[row - 1], values[row]));
    flags[row] |= equal ? 0 : flag;
  }
}

}  // namespace

uint8_t** RowList::Extend(size_t count) {
  if (size_ + count > rows_.size()) {
    Array<uint8_t*> grown(*memory_, std::max(2 * rows_.size(), size_ + count));
    std::copy_n(rows_.data(), size_, grown.data());
    rows_ = std::move(grown);
  }
  size_ += count;
  return rows_.data() + size_ - count;
}

WindowInput::WindowInput(Query& query, Memory& memory, const WindowLayout& layout, WindowNeed need, ExternalSort& sort,
                         OperatorFigures& figures)
    : query_(query),
      memory_(memory),
      layout_(layout),
      boundary_(need == WindowNeed::kRow     ? 0
                : need == WindowNeed::kPeers ? kStartsPeers
                                             : kStartsPartition),
      sort_(sort),
      figures_(figures),
      growth_(kLeastGrowth),
      null_equals_(layout.partition_columns + layout.order_columns, 1),
      segment_(layout, memory),
      next_(layout, memory),
      last_(&layout.rows, &memory),
      flags_(memory, kBatchRows),
      chosen_(memory, kBatchRows) {
  for (uint32_t c = 0; c < layout.rows.columns(); ++c) columns_.push_back(c);
}

const WindowSegment* WindowInput::Next() {
  next_.first = segment_.first + segment_.count;
  std::swap(segment_, next_);
  next_.rows.Clear();
  next_.list.Clear();
  next_.file.reset();
  next_.count = 0;
  Batch batch;
  while (!at_end_) {
    MakeRoom();
    if (!sort_.Next(batch)) {
      at_end_ = true;
      break;
    }
    const size_t held = segment_.rows.bytes() + next_.rows.bytes();
    Flag(batch);
    // What is before the last row at which a segment may start is complete.
    uint32_t complete = batch.rows;
    if (boundary_ != 0) {
      while (complete != 0 && (flags_[complete - 1] & boundary_) == 0) --complete;
      if (complete != 0) --complete;
    }
    const bool ends = boundary_ == 0 || (flags_[complete] & boundary_) != 0;
    Keep(segment_, batch, 0, ends ? complete : batch.rows);
    if (ends) Keep(next_, batch, complete, batch.rows);
    growth_ = std::max(kLeastGrowth, segment_.rows.bytes() + next_.rows.bytes() - held);
    if (ends && segment_.count != 0) break;
    if (ends) {
      // The batch began a segment: that is the one at hand.
      next_.first = segment_.first;
      std::swap(segment_, next_);
    }
  }
  if (segment_.file) SpillSegment(), segment_.file->Finish();
  return segment_.count == 0 ? nullptr : &segment_;
}

// Adds the flags as the last column of the batch.
void WindowInput::Flag(Batch& batch) {
  const size_t partition = layout_.partition_columns, order = layout_.order_columns;
  std::fill_n(flags_.data(), batch.rows, 0);
  MarkChanges(batch, 0, partition, kStartsPartition | kStartsPeers);
  MarkChanges(batch, partition, order, kStartsPeers);
  const auto first_matches = [&](size_t keys) {
    const RowIndex first = 0;
    RowIndex kept;
    return last_row_ != nullptr && MatchKeys(layout_.rows, batch, columns_.data(), null_equals_.data(), keys, &first,
                                             &last_row_, &first, 1, &kept) == 1;
  };
  if (!first_matches(partition)) {
    flags_[0] = kStartsPartition | kStartsPeers;
  } else if (!first_matches(partition + order)) {
    flags_[0] = kStartsPeers;
  }
  batch.columns.push_back({.type = {TypeId::kInt8}, .data = flags_.data()});
  const auto last = static_cast<RowIndex>(batch.rows - 1);
  last_.Clear();
  last_.Append(batch, columns_.data(), &last, 1, &last_row_);
}

void WindowInput::MarkChanges(const Batch& batch, size_t first, size_t count, uint8_t flag) {
  for (size_t c = first; c < first + count; ++c) {
    const Column& column = batch.columns[c];
    DispatchPhysical(column.type.physical(),
                     [&](auto zero) { MarkColumn<decltype(zero)>(column, batch.rows, flag, flags_.data()); });
  }
}

void WindowInput::Keep(WindowSegment& segment, const Batch& batch, uint32_t begin, uint32_t end) {
  if (begin == end) return;
  for (uint32_t i = begin; i < end; ++i) chosen_[i - begin] = static_cast<RowIndex>(i);
  segment.rows.Append(batch, columns_.data(), chosen_.data(), end - begin, segment.list.Extend(end - begin));
  segment.count += end - begin;
}

// For the next batch. What the sort still holds goes first: it is written once and read once.
void WindowInput::MakeRoom() {
  if (boundary_ == 0 || query_.MayGrow(memory_, growth_)) return;
  if (sort_.SpillAtBoundary(std::max(growth_, kLeastToSpill)) != 0 && query_.MayGrow(memory_, growth_)) return;
  const bool enough = query_.options().force_spill ? segment_.rows.rows() != 0 : segment_.rows.bytes() >= kLeastToSpill;
  if (enough) {
    SpillSegment();
  } else {
    query_.WantRoom(growth_);
  }
}

// The rows of the segment that are in memory go behind those in its file.
void WindowInput::SpillSegment() {
  if (segment_.rows.rows() == 0) return;
  const size_t resident = memory_.Resident();
  if (!segment_.file) segment_.file.emplace(query_.spill_directory(), layout_.rows.types(), &memory_);
  const uint64_t bytes = segment_.file->bytes();
  figures_.spilled_rows += SpillRows(segment_.rows, *segment_.file);
  figures_.spilled += segment_.file->bytes() - bytes;
  segment_.rows.Clear();
  segment_.list.Clear();
  memory_.Purge();
  const size_t left = memory_.Resident();
  figures_.freed += resident > left ? resident - left : 0;
  ++figures_.spills;
}

// ---- Reading.

WindowReader::WindowReader(Memory& memory, const WindowLayout& layout) : memory_(memory), layout_(layout) {
  for (uint32_t c = 0; c < layout.rows.columns(); ++c) columns_.push_back(c);
}

void WindowReader::Begin(const WindowSegment& segment) {
  segment_ = &segment;
  read_ = segment.first;
  if (segment.file) reader_.emplace(segment.file->Read());
}

void WindowReader::End() {
  frames_.clear();
  reader_.reset();
}

const uint8_t* WindowReader::OnDisk(uint64_t number) {
  while (number >= read_) {
    Batch batch;
    reader_->Next(batch);
    if (number < read_ + batch.selected) {
      Frame& frame = frames_.emplace_back(layout_, memory_);
      frame.first = read_;
      frame.rows.Append(batch, columns_.data(), nullptr, batch.selected, frame.list.Extend(batch.selected));
    }
    read_ += batch.selected;
  }
  for (size_t f = frames_.size(); f-- > 0;) {
    if (frames_[f].first <= number) return frames_[f].list[number - frames_[f].first];
  }
  return nullptr;
}

void WindowReader::Release(uint64_t number) {
  while (!frames_.empty() && frames_.front().first + frames_.front().list.size() <= number) frames_.pop_front();
}

}  // namespace neap::engine
