// window_frame.cc: frames by rows, by peers and by values.
#include "engine/operators/window_frame.h"

#include "engine/expression/order.h"

namespace neap::engine {
namespace {

using Kind = FrameBound::Kind;

uint64_t Back(uint64_t from, int64_t by, uint64_t first) {
  return from - first <= static_cast<uint64_t>(by) ? first : from - static_cast<uint64_t>(by);
}

uint64_t Forth(uint64_t from, int64_t by, uint64_t end) {
  return end - from <= static_cast<uint64_t>(by) ? end : from + static_cast<uint64_t>(by);
}

}  // namespace

RangeBound::RangeBound(const BoundWindowCall& call, int value, bool is_end, const WindowLayout& layout, Memory& memory)
    : layout_(layout),
      key_(static_cast<size_t>(call.key)),
      value_(static_cast<size_t>(value)),
      is_end_(is_end),
      descending_(call.call.descending),
      nulls_first_(call.call.nulls_first),
      reader_(memory, layout),
      found_(memory, kBatchRows) {}

void RangeBound::Fill(const WindowBlock& block) {
  reader_.Release(at_);
  switch (layout_.rows.types()[key_].physical()) {
    case Physical::kInt32:
      return FillOf<int32_t>(block);
    case Physical::kInt64:
      return FillOf<int64_t>(block);
    case Physical::kInt128:
      return FillOf<Int128>(block);
    default:
      return FillOf<double>(block);
  }
}

template <class T>
void RangeBound::FillOf(const WindowBlock& block) {
  for (uint32_t i = 0; i < block.count; ++i) {
    if (block.partition_begin[i] != partition_) at_ = partition_ = block.partition_begin[i];
    const uint8_t* row = block.rows[i];
    if (!RowLayout::IsValid(row, key_)) {
      // NULL is at no distance from anything but NULL.
      found_[i] = is_end_ ? block.peers_end[i] : block.peers_begin[i];
      continue;
    }
    const T value = layout_.rows.Load<T>(row, value_);
    while (at_ < block.partition_end[i] && IsOutside(reader_.At(at_), value)) ++at_;
    found_[i] = at_;
  }
}

// Whether the frame starts, or ends, behind the row.
template <class T>
bool RangeBound::IsOutside(const uint8_t* row, T value) const {
  if (!RowLayout::IsValid(row, key_)) return nulls_first_;
  const T key = layout_.rows.Load<T>(row, key_);
  const bool is_before = descending_ ? Less::Test(value, key) : Less::Test(key, value);
  if (!is_end_) return is_before;
  return is_before || !(descending_ ? Less::Test(key, value) : Less::Test(value, key));
}

WindowFrames::WindowFrames(const BoundWindowCall& call, const WindowLayout& layout, Memory& memory) : call_(call.call) {
  if (call.start_value != BoundWindowCall::kNone) start_.emplace(call, call.start_value, false, layout, memory);
  if (call.end_value != BoundWindowCall::kNone) end_.emplace(call, call.end_value, true, layout, memory);
}

void WindowFrames::Begin(const WindowSegment& segment) {
  if (start_) start_->Begin(segment);
  if (end_) end_->Begin(segment);
}

void WindowFrames::End() {
  if (start_) start_->End();
  if (end_) end_->End();
}

void WindowFrames::Fill(const WindowBlock& block) {
  if (start_) start_->Fill(block);
  if (end_) end_->Fill(block);
}

WindowRange WindowFrames::Of(const WindowBlock& block, uint32_t i) const {
  const uint64_t row = block.first + i, first = block.partition_begin[i], last = block.partition_end[i];
  WindowRange range{};
  switch (call_.start.kind) {
    case Kind::kUnboundedPreceding:
      range.begin = first;
      break;
    case Kind::kPreceding:
      range.begin = start_ ? (*start_)[i] : Back(row, call_.start.offset, first);
      break;
    case Kind::kCurrentRow:
      range.begin = call_.rows ? row : block.peers_begin[i];
      break;
    case Kind::kFollowing:
      range.begin = start_ ? (*start_)[i] : Forth(row, call_.start.offset, last);
      break;
    case Kind::kUnboundedFollowing:
      range.begin = last;
      break;
  }
  switch (call_.end.kind) {
    case Kind::kUnboundedPreceding:
      range.end = first;
      break;
    case Kind::kPreceding:
      range.end = end_ ? (*end_)[i] : Back(row + 1, call_.end.offset, first);
      break;
    case Kind::kCurrentRow:
      range.end = call_.rows ? row + 1 : block.peers_end[i];
      break;
    case Kind::kFollowing:
      range.end = end_ ? (*end_)[i] : Forth(row + 1, call_.end.offset, last);
      break;
    case Kind::kUnboundedFollowing:
      range.end = last;
      break;
  }
  return range;
}

}  // namespace neap::engine
