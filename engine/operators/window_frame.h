// window_frame.h: the rows that a frame holds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/operators/window_call.h"
#include "engine/plan/plan.h"

namespace neap::engine {

struct WindowRange {
  uint64_t begin, end;  // numbers of rows; empty where begin >= end
};

// Of row i of the block. Neither bound is before that of the row before in the partition.
inline WindowRange FrameOf(const WindowCall& call, const WindowBlock& block, uint32_t i) {
  using Kind = FrameBound::Kind;
  const uint64_t row = block.first + i, first = block.partition_begin[i];
  const auto back = [&](uint64_t from, int64_t by) {
    return from - first <= static_cast<uint64_t>(by) ? first : from - static_cast<uint64_t>(by);
  };
  const auto forth = [&](uint64_t from, int64_t by) {
    const uint64_t end = block.partition_end[i];
    return end - from <= static_cast<uint64_t>(by) ? end : from + static_cast<uint64_t>(by);
  };
  WindowRange range{};
  switch (call.start.kind) {
    case Kind::kUnboundedPreceding:
      range.begin = first;
      break;
    case Kind::kPreceding:
      range.begin = back(row, call.start.offset);
      break;
    case Kind::kCurrentRow:
      range.begin = call.rows ? row : block.peers_begin[i];
      break;
    case Kind::kFollowing:
      range.begin = forth(row, call.start.offset);
      break;
    case Kind::kUnboundedFollowing:
      range.begin = block.partition_end[i];
      break;
  }
  switch (call.end.kind) {
    case Kind::kUnboundedPreceding:
      range.end = first;
      break;
    case Kind::kPreceding:
      range.end = back(row + 1, call.end.offset);
      break;
    case Kind::kCurrentRow:
      range.end = call.rows ? row + 1 : block.peers_end[i];
      break;
    case Kind::kFollowing:
      range.end = forth(row + 1, call.end.offset);
      break;
    case Kind::kUnboundedFollowing:
      range.end = block.partition_end[i];
      break;
  }
  return range;
}

}  // namespace neap::engine
