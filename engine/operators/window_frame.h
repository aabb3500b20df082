// window_frame.h: the rows that a frame holds.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/memory/memory.h"
#include "engine/operators/window_call.h"
#include "engine/operators/window_segment.h"

namespace neap::engine {

struct WindowRange {
  uint64_t begin, end;  // numbers of rows; empty where begin >= end
};

// A bound of RANGE with an offset: the first row of the partition whose key is not before a value, or, for the end of
// the frame, is behind it. The values of rows in order are in order too, so that it only goes forward.
class RangeBound {
 public:
  RangeBound(const BoundWindowCall& call, int value, bool is_end, const WindowLayout& layout, Memory& memory);

  void Begin(const WindowSegment& segment) { reader_.Begin(segment); }
  void End() { reader_.End(); }
  void Fill(const WindowBlock& block);
  uint64_t operator[](uint32_t i) const { return found_[i]; }

 private:
  template <class T>
  void FillOf(const WindowBlock& block);
  template <class T>
  bool IsOutside(const uint8_t* row, T value) const;

  const WindowLayout& layout_;
  const size_t key_, value_;  // columns of the rows
  const bool is_end_, descending_, nulls_first_;
  WindowReader reader_;
  uint64_t partition_ = UINT64_MAX;  // its first row
  uint64_t at_ = 0;
  Array<uint64_t> found_;
};

// The frames of a call, block by block.
class WindowFrames {
 public:
  WindowFrames(const BoundWindowCall& call, const WindowLayout& layout, Memory& memory);

  void Begin(const WindowSegment& segment);
  void End();
  void Fill(const WindowBlock& block);
  // Of row i of the block. Neither bound is before that of the row before in the partition.
  WindowRange Of(const WindowBlock& block, uint32_t i) const;

 private:
  const WindowCall call_;
  std::optional<RangeBound> start_, end_;
};

}  // namespace neap::engine
