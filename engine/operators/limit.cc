// limit.cc: limit.
#include "engine/operators/limit.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "engine/run/query.h"

namespace neap::engine {
namespace {

class Limit : public Operator {
 public:
  Limit(Query& query, int64_t limit, int64_t offset)
      : query_(query),
        first_(static_cast<uint64_t>(offset)),
        end_(limit < 0 ? std::numeric_limits<uint64_t>::max()
                       : static_cast<uint64_t>(offset) + static_cast<uint64_t>(limit)) {
    figures_.name = "limit";
  }
  std::unique_ptr<Stage> MakeStage(Worker& /*worker*/, Stage* next) override {
    return std::make_unique<LimitStage>(*this, query_.memory(), next);
  }

 private:
  class LimitStage : public Stage {
   public:
    LimitStage(Limit& limit, Memory& memory, Stage* next) : Stage(next), limit_(limit), kept_(memory, kBatchRows) {}

    void Push(Batch& batch) override {
      const uint64_t begin = limit_.seen_.fetch_add(batch.selected, std::memory_order_relaxed);
      const uint64_t end = begin + batch.selected;
      const uint64_t from = std::max(begin, limit_.first_);
      const uint64_t to = std::min(end, limit_.end_);
      if (from >= to) return;
      if (to - from != batch.selected) {
        uint32_t kept = 0;
        uint64_t number = begin;
        batch.ForEach([&](uint32_t row) {
          if (number >= from && number < to) kept_[kept++] = static_cast<RowIndex>(row);
          ++number;
        });
        batch.selection = kept_.data();
        batch.selected = kept;
      }
      next_->Push(batch);
    }
    bool Done() const override { return limit_.seen_.load(std::memory_order_relaxed) >= limit_.end_ || Stage::Done(); }

   private:
    Limit& limit_;
    Array<RowIndex> kept_;
  };

  Query& query_;
  uint64_t first_, end_;
  std::atomic<uint64_t> seen_{0};
};

}  // namespace

std::unique_ptr<Operator> MakeLimit(Query& query, int64_t limit, int64_t offset) {
  return std::make_unique<Limit>(query, limit, offset);
}

}  // namespace neap::engine
