// window_aggregate.cc: states that follow the frame.
#include "engine/operators/window_aggregate.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/operators/aggregate_function.h"
#include "engine/operators/window_frame.h"

namespace neap::engine {
namespace {

// Strings of states are copied together once they take so much, to leave behind those that no state has any more.
constexpr size_t kLeastToCompact = size_t{1} << 20;

NumberedCall CallOf(const BoundWindowCall& call, const WindowLayout& layout) {
  NumberedCall numbered;
  numbered.function = call.call.aggregate;
  numbered.output = call.output;
  if (call.value != BoundWindowCall::kNone) {
    numbered.value = 0;
    numbered.value_type = layout.rows.types()[static_cast<size_t>(call.value)];
  }
  return numbered;
}

class WindowAggregate final : public WindowEvaluator, private StringKeeper {
 public:
  WindowAggregate(const BoundWindowCall& call, const WindowLayout& layout, Memory& memory)
      : call_(call),
        layout_(layout),
        memory_(memory),
        states_({CallOf(call, layout)}),
        state_layout_(states_.types()),
        width_(state_layout_.width()),
        moves_(call.call.start.kind != FrameBound::Kind::kUnboundedPreceding),
        reader_(memory, layout),
        frames_(call, layout, memory),
        texts_(&state_layout_, &memory),
        state_(memory, width_),
        snapshots_(memory, size_t{kBatchRows} * width_),
        results_(memory, kBatchRows),
        rows_(memory, kBatchRows) {
    states_.Bind(state_layout_, 0);
    if (call.value == BoundWindowCall::kNone) return;
    values_ = {memory, kBatchRows * layout.rows.types()[static_cast<size_t>(call.value)].width()};
    valid_ = {memory, kBatchRows};
  }

  void Begin(const WindowSegment& segment) override {
    reader_.Begin(segment);
    frames_.Begin(segment);
    segment_end_ = segment.first + segment.count;
    chunk_first_ = segment.first;
    chunk_count_ = 0;
  }
  void End() override {
    reader_.End();
    frames_.End();
  }

  Column Evaluate(const WindowBlock& block, ColumnBuffer out) override {
    if (texts_.bytes() > std::max(kLeastToCompact, 2 * texts_needed_)) Compact();
    frames_.Fill(block);
    uint8_t* snapshot = nullptr;
    uint8_t* next = snapshots_.data();
    for (uint32_t i = 0; i < block.count; ++i) {
      bool changed = snapshot == nullptr;
      if (block.partition_begin[i] != partition_) {
        StartPartition(block.partition_begin[i]);
        changed = true;
      }
      const WindowRange frame = frames_.Of(block, i);
      changed |= moves_ ? Slide(frame) : Grow(frame.end);
      if (changed) {
        snapshot = next;
        next += width_;
        std::memcpy(snapshot, moves_ && begin_ != front_end_ ? Slot(begin_) : state_.data(), width_);
        if (moves_ && begin_ != front_end_) MergeInto(snapshot, state_.data());
      }
      results_[i] = snapshot;
    }
    return states_.Finish(0, results_.data(), block.count, out);
  }

 private:
  void StartPartition(uint64_t first) {
    partition_ = first;
    begin_ = front_end_ = end_ = first;
    Empty(state_.data());
  }

  void Empty(uint8_t* row) {
    std::memset(row, 0, width_);
    states_.Initialize(row);
  }
  void MergeInto(uint8_t* into, const uint8_t* from) {
    is_kept_ = true;
    states_.Merge(&into, &from, 1, *this);
    is_kept_ = false;
  }

  // ---- Frames that start with the partition: state_ is of rows partition_ to end_.

  bool Grow(uint64_t end) {
    if (end <= end_) return false;
    while (end_ < end) {
      const uint64_t count = call_.value == BoundWindowCall::kNone ? end - end_ : Load(end_, end);
      Add(state_.data(), end_, static_cast<uint32_t>(std::min<uint64_t>(count, kBatchRows)));
      end_ += std::min<uint64_t>(count, kBatchRows);
    }
    return true;
  }

  // ---- Frames that move. The ring has states for rows begin_ to end_: those before front_end_ of all rows from theirs
  // to front_end_, the others of their own row alone; state_ is of the latter together.

  uint8_t* Slot(uint64_t row) { return ring_.data() + (row & (ring_rows_ - 1)) * width_; }

  bool Slide(const WindowRange& frame) {
    if (frame.begin <= begin_ && frame.end <= end_) return false;
    while (begin_ < frame.begin && begin_ < end_) {
      if (begin_ == front_end_) Flip();
      ++begin_;
    }
    // Rows that no frame holds any more are passed over.
    if (begin_ == end_) begin_ = end_ = front_end_ = std::max(begin_, frame.begin);
    for (; end_ < frame.end; ++end_) Push(end_);
    return true;
  }

  void Flip() {
    for (uint64_t row = end_ - 1; row > begin_; --row) MergeInto(Slot(row - 1), Slot(row));
    front_end_ = end_;
    Empty(state_.data());
  }

  void Push(uint64_t row) {
    if (end_ - begin_ == ring_rows_) Widen();
    if (call_.value != BoundWindowCall::kNone) Load(row, row + 1);
    Empty(Slot(row));
    Add(Slot(row), row, 1);
    MergeInto(state_.data(), Slot(row));
  }

  void Widen() {
    const uint64_t rows = std::max<uint64_t>(64, 2 * ring_rows_);
    Array<uint8_t> ring(memory_, rows * width_);
    for (uint64_t row = begin_; row < end_; ++row)
      std::memcpy(ring.data() + (row & (rows - 1)) * width_, Slot(row), width_);
    ring_ = std::move(ring);
    ring_rows_ = rows;
  }

  // ---- Values.

  // Has the value of row `first` and those behind it in values_; returns for how many rows before `end`.
  uint64_t Load(uint64_t first, uint64_t end) {
    if (first < chunk_first_ || first >= chunk_first_ + chunk_count_) {
      reader_.Release(first);
      chunk_first_ = first;
      chunk_count_ = static_cast<uint32_t>(std::min<uint64_t>(segment_end_ - first, kBatchRows));
      for (uint32_t i = 0; i < chunk_count_; ++i) rows_[i] = reader_.At(first + i);
      chunk_ = GatherColumn(layout_.rows, static_cast<size_t>(call_.value), rows_.data(), nullptr, chunk_count_,
                            {values_.data(), valid_.data()});
    }
    return std::min(end, chunk_first_ + chunk_count_) - first;
  }

  // Adds rows, whose values have been loaded, to a state.
  void Add(uint8_t* state, uint64_t first, uint32_t count) {
    Column column = chunk_;
    if (call_.value != BoundWindowCall::kNone) {
      const size_t skipped = first - chunk_first_;
      column.data = values_.data() + skipped * column.type.width();
      if (column.valid != nullptr) column.valid += skipped;
    }
    for (const AggregateState& part : states_.states()) part.UpdateOne(state, &column, nullptr, count, *this);
  }

  // ---- Strings: kept in texts_, where results of earlier rows may still point to them.

  View Keep(uint8_t* /*row*/, const View& /*old*/, const View& text) override {
    return is_kept_ ? text : texts_.Keep(text);
  }

  void Compact() {
    RowStore texts(&state_layout_, &memory_);
    const auto keep = [&](uint8_t* row) {
      for (size_t c = 0; c < state_layout_.columns(); ++c) {
        if (!state_layout_.types()[c].is_view() || !RowLayout::IsValid(row, c)) continue;
        state_layout_.Store(row, c, texts.Keep(state_layout_.Load<View>(row, c)));
      }
    };
    keep(state_.data());
    for (uint64_t row = begin_; moves_ && row < end_; ++row) keep(Slot(row));
    texts_ = std::move(texts);
    texts_needed_ = texts_.bytes();
  }

  const BoundWindowCall call_;
  const WindowLayout& layout_;
  Memory& memory_;
  AggregateStates states_;
  const RowLayout state_layout_;
  const size_t width_;  // of a state
  const bool moves_;    // frames do not all start with the partition

  WindowReader reader_;
  WindowFrames frames_;
  uint64_t segment_end_ = 0;
  RowStore texts_;
  size_t texts_needed_ = 0;  // bytes after the last Compact
  bool is_kept_ = false;     // strings at hand are in texts_ already

  uint64_t partition_ = UINT64_MAX;  // its first row
  Array<uint8_t> state_;
  uint64_t begin_ = 0, front_end_ = 0, end_ = 0;
  Array<uint8_t> ring_;
  uint64_t ring_rows_ = 0;  // a power of two

  Array<uint8_t> snapshots_;  // states at rows of the block
  Array<const uint8_t*> results_;

  Column chunk_;  // values of rows chunk_first_ and on
  uint64_t chunk_first_ = 0;
  uint32_t chunk_count_ = 0;
  Array<const uint8_t*> rows_;
  Array<uint8_t> values_, valid_;
};

}  // namespace

std::unique_ptr<WindowEvaluator> MakeWindowAggregate(const BoundWindowCall& call, const WindowLayout& layout,
                                                     Memory& memory) {
  return std::make_unique<WindowAggregate>(call, layout, memory);
}

}  // namespace neap::engine
