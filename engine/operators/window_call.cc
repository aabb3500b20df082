// window_call.cc: ranks, and values of other rows.
#include "engine/operators/window_call.h"

#include <algorithm>
#include <string>

#include "engine/core/error.h"
#include "engine/operators/window_aggregate.h"
#include "engine/operators/window_frame.h"

namespace neap::engine {
namespace {

// row_number, rank, dense_rank, percent_rank, cume_dist, ntile: of the row's place alone.
class RankEvaluator final : public WindowEvaluator {
 public:
  explicit RankEvaluator(const BoundWindowCall& call) : call_(call) {
    const WindowFunction function = call.call.function;
    const bool share = function == WindowFunction::kPercentRank || function == WindowFunction::kCumeDist;
    if (call.output.id != (share ? TypeId::kDouble : TypeId::kInt64)) {
      throw Error(ErrorKind::kPlan, "a rank does not give " + call.output.Name());
    }
    if (function == WindowFunction::kNtile && !call.constant_null && call.constant < 1) {
      throw Error(ErrorKind::kPlan, "ntile of " + std::to_string(call.constant) + " buckets: ask for at least one");
    }
  }

  Column Evaluate(const WindowBlock& block, ColumnBuffer out) override {
    Column result{.type = call_.output, .data = out.data};
    const auto fill = [&]<class T>(T /*zero*/, auto&& value) {
      for (uint32_t i = 0; i < block.count; ++i) static_cast<T*>(out.data)[i] = static_cast<T>(value(i));
    };
    const auto place = [&](uint32_t i) { return block.first + i - block.partition_begin[i]; };
    const auto size = [&](uint32_t i) { return block.partition_end[i] - block.partition_begin[i]; };
    const auto before_peers = [&](uint32_t i) { return block.peers_begin[i] - block.partition_begin[i]; };
    switch (call_.call.function) {
      case WindowFunction::kRowNumber:
        fill(int64_t{}, [&](uint32_t i) { return place(i) + 1; });
        break;
      case WindowFunction::kRank:
        fill(int64_t{}, [&](uint32_t i) { return before_peers(i) + 1; });
        break;
      case WindowFunction::kDenseRank:
        fill(int64_t{}, [&](uint32_t i) { return block.dense_rank[i]; });
        break;
      case WindowFunction::kPercentRank:
        fill(double{}, [&](uint32_t i) {
          return size(i) == 1 ? 0 : static_cast<double>(before_peers(i)) / static_cast<double>(size(i) - 1);
        });
        break;
      case WindowFunction::kCumeDist:
        fill(double{}, [&](uint32_t i) {
          return static_cast<double>(block.peers_end[i] - block.partition_begin[i]) / static_cast<double>(size(i));
        });
        break;
      default:  // kNtile: the first buckets have one row more where they are not equal
        if (call_.constant_null) {
          std::fill_n(out.valid, block.count, 0);
          result.valid = out.valid;
        }
        fill(int64_t{}, [&](uint32_t i) {
          const auto buckets = static_cast<uint64_t>(call_.constant);
          const uint64_t least = size(i) / buckets, larger = size(i) % buckets;
          const uint64_t in_larger = larger * (least + 1);
          return 1 + (place(i) < in_larger ? place(i) / (least + 1)
                                           : larger + (place(i) - in_larger) / std::max<uint64_t>(least, 1));
        });
    }
    return result;
  }

 private:
  const BoundWindowCall call_;
};

// lag, lead, first_value, last_value, nth_value: a column of another row.
class ValueEvaluator final : public WindowEvaluator {
 public:
  ValueEvaluator(const BoundWindowCall& call, const WindowLayout& layout, Memory& memory)
      : call_(call),
        layout_(layout),
        reader_(memory, layout),
        frames_(call, layout, memory),
        rows_(memory, kBatchRows),
        at_(memory, kBatchRows) {
    const Type& type = layout.rows.types()[static_cast<size_t>(call.value)];
    if (call.output.physical() != type.physical()) {
      throw Error(ErrorKind::kPlan, "a window function of " + type.Name() + " does not give " + call.output.Name());
    }
    if (call.call.function == WindowFunction::kNthValue && call.constant < 1) {
      throw Error(ErrorKind::kPlan, "nth_value counts from 1, not " + std::to_string(call.constant));
    }
  }

  void Begin(const WindowSegment& segment) override {
    reader_.Begin(segment);
    frames_.Begin(segment);
    needed_ = segment.first;
  }
  void End() override {
    reader_.End();
    frames_.End();
  }

  Column Evaluate(const WindowBlock& block, ColumnBuffer out) override {
    reader_.Release(needed_);
    frames_.Fill(block);
    uint32_t outside = 0;
    for (uint32_t i = 0; i < block.count; ++i) {
      uint64_t number;
      if (RowOf(block, i, &number)) {
        rows_[i] = reader_.At(number);
        needed_ = number;
      } else {
        rows_[i] = nullptr;
        at_[outside++] = static_cast<RowIndex>(i);
      }
    }
    Column result =
        GatherColumn(layout_.rows, static_cast<size_t>(call_.value), rows_.data(), nullptr, block.count, out);
    result.type = call_.output;
    if (call_.fallback != BoundWindowCall::kNone && outside != 0) {
      for (uint32_t i = 0; i < outside; ++i) rows_[i] = block.rows[at_[i]];
      GatherColumn(layout_.rows, static_cast<size_t>(call_.fallback), rows_.data(), at_.data(), outside, out);
    }
    return result;
  }

 private:
  // The row whose value is wanted; false where there is none.
  bool RowOf(const WindowBlock& block, uint32_t i, uint64_t* number) const {
    const WindowFunction function = call_.call.function;
    if (function == WindowFunction::kLag || function == WindowFunction::kLead) {
      if (call_.constant_null) return false;
      const int64_t by = function == WindowFunction::kLag ? -call_.constant : call_.constant;
      const auto place = static_cast<Int128>(block.first + i) + by;
      *number = static_cast<uint64_t>(place);
      return place >= block.partition_begin[i] && place < block.partition_end[i];
    }
    const WindowRange frame = frames_.Of(block, i);
    if (frame.begin >= frame.end) return false;
    switch (function) {
      case WindowFunction::kFirstValue:
        *number = frame.begin;
        return true;
      case WindowFunction::kLastValue:
        *number = frame.end - 1;
        return true;
      default:
        *number = frame.begin + static_cast<uint64_t>(call_.constant) - 1;
        return !call_.constant_null && static_cast<uint64_t>(call_.constant) <= frame.end - frame.begin;
    }
  }

  const BoundWindowCall call_;
  const WindowLayout& layout_;
  WindowReader reader_;
  WindowFrames frames_;
  uint64_t needed_ = 0;  // the last row asked for: no row before it will be
  Array<const uint8_t*> rows_;
  Array<RowIndex> at_;
};

void CheckFrame(const WindowCall& call) {
  for (const FrameBound& bound : {call.start, call.end}) {
    if (!bound.has_offset()) continue;
    if (call.rows == bound.value.has_value())
      throw Error(ErrorKind::kPlan, "a frame of RANGE has offsets without values");
    if (bound.offset < 0) throw Error(ErrorKind::kPlan, "the offset of a frame must not be negative");
  }
}

}  // namespace

WindowNeed NeedOf(const WindowCall& call) {
  using Kind = FrameBound::Kind;
  switch (call.function) {
    case WindowFunction::kRowNumber:
    case WindowFunction::kRank:
    case WindowFunction::kDenseRank:
      return WindowNeed::kRow;
    case WindowFunction::kAggregate: {
      CheckFrame(call);
      // States know what came before, so that the start may lie there; the rows that are added must be at hand, and
      // those whose keys are compared.
      const bool starts_here = call.start.kind != Kind::kFollowing && call.start.kind != Kind::kUnboundedFollowing;
      if (!starts_here || call.start.value || call.end.kind != Kind::kCurrentRow) return WindowNeed::kPartition;
      return call.rows ? WindowNeed::kRow : WindowNeed::kPeers;
    }
    default:
      CheckFrame(call);
      return WindowNeed::kPartition;
  }
}

std::unique_ptr<WindowEvaluator> MakeWindowEvaluator(const BoundWindowCall& call, const WindowLayout& layout,
                                                     Memory& memory) {
  switch (call.call.function) {
    case WindowFunction::kAggregate:
      return MakeWindowAggregate(call, layout, memory);
    case WindowFunction::kLag:
    case WindowFunction::kLead:
    case WindowFunction::kFirstValue:
    case WindowFunction::kLastValue:
    case WindowFunction::kNthValue:
      return std::make_unique<ValueEvaluator>(call, layout, memory);
    default:
      return std::make_unique<RankEvaluator>(call);
  }
}

}  // namespace neap::engine
