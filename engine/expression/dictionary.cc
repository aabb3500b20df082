// dictionary.cc: results of an expression for all entries of a dictionary.
#include "engine/expression/dictionary.h"

#include <atomic>
#include <utility>

namespace neap::engine {
namespace {

// Ids of the dictionaries that results are. Scans count from the other end.
uint64_t NewResultId() {
  static std::atomic<uint64_t> last{uint64_t{1} << 63};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

class DictionaryNode final : public Node {
 public:
  DictionaryNode(Type type, NodePtr node, Memory& memory)
      : Node(type, Effect::kNone, memory, One(std::move(node))), reads_(static_cast<uint32_t>(arg(0).slot())) {}

  Column Evaluate(const Rows& rows) override {
    const Column& column = rows.columns[reads_];
    if (!Ready(column, rows.count)) return arg(0).Evaluate(rows);
    return {type(), values_.data(), nulls_ ? valid_.data() : nullptr, column.indices, positions_, result_id_};
  }

  uint32_t Select(const Rows& rows, RowIndex* kept) override {
    const Column& column = rows.columns[reads_];
    if (!Ready(column, rows.count)) return arg(0).Select(rows, kept);
    if (passing_ == 0) return 0;
    if (passing_ == positions_) return SelectAll(rows, kept);
    uint32_t count = 0;
    rows.ForEach([&, passes = passes_.data(), indices = column.indices](uint32_t row) {
      kept[count] = static_cast<RowIndex>(row);
      count += passes[indices[row]];
    });
    return count;
  }

 private:
  static std::vector<NodePtr> One(NodePtr node) {
    std::vector<NodePtr> one;
    one.push_back(std::move(node));
    return one;
  }

  // Whether the results are there. They are made once the dictionary has been looked up about as often as it has
  // entries, so that making them at most doubles the work.
  bool Ready(const Column& column, uint32_t count) {
    if (column.dictionary_id == 0 || column.indices == nullptr) return false;
    if (column.dictionary_id != id_) {
      id_ = column.dictionary_id;
      asked_ = 0;
      state_ = State::kUnknown;
    }
    if (state_ == State::kUnknown) {
      asked_ += count;
      if (asked_ < column.positions) return false;
      Make(column);
    }
    return state_ == State::kReady;
  }

  void Make(const Column& column);
  void Keep(const Column& results, uint32_t first, uint32_t count);
  void KeepText(View* views, const uint8_t* valid, uint32_t count);

  enum class State : uint8_t { kUnknown, kReady, kFails };

  uint32_t reads_;
  uint64_t id_ = 0, result_id_ = 0;
  uint64_t asked_ = 0;
  State state_ = State::kUnknown;
  uint32_t positions_ = 0, passing_ = 0;
  bool nulls_ = false;
  Array<uint8_t> values_, valid_, passes_;
  std::vector<Array<char>> text_;
  std::vector<Column> columns_;
};

void DictionaryNode::Make(const Column& column) {
  positions_ = column.positions;
  const size_t width = type().width();
  if (values_.size() < positions_ * width) values_ = Array<uint8_t>(memory(), positions_ * width);
  if (valid_.size() < positions_) valid_ = Array<uint8_t>(memory(), positions_);
  nulls_ = false;
  text_.clear();
  columns_.resize(reads_ + 1);
  Column& entries = columns_[reads_];
  entries = column;
  entries.indices = nullptr;
  entries.dictionary_id = 0;
  try {
    for (uint32_t first = 0; first < positions_; first += kBatchRows) {
      const uint32_t count = std::min(positions_ - first, kBatchRows);
      entries.data = static_cast<const uint8_t*>(column.data) + first * column.type.width();
      entries.valid = column.valid == nullptr ? nullptr : column.valid + first;
      entries.positions = 0;
      Keep(arg(0).Evaluate(Rows{columns_.data(), count, nullptr, count}), first, count);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) throw;
    state_ = State::kFails;  // for an entry that perhaps no row has
    return;
  }
  state_ = State::kReady;
  result_id_ = NewResultId();
  if (type().id != TypeId::kBool) return;
  if (passes_.size() < positions_) passes_ = Array<uint8_t>(memory(), positions_);
  passing_ = 0;
  for (uint32_t i = 0; i < positions_; ++i) {
    passes_[i] = values_[i] & valid_[i];
    passing_ += passes_[i];
  }
}

void DictionaryNode::Keep(const Column& results, uint32_t first, uint32_t count) {
  const size_t width = type().width();
  const Rows all{nullptr, count, nullptr, count};
  Column flat = results;
  FlatBuffer buffer;
  FlattenRows(all, flat, buffer, memory());
  std::memcpy(values_.data() + first * width, flat.data, count * width);
  if (flat.valid == nullptr) {
    std::memset(valid_.data() + first, 1, count);
  } else {
    std::memcpy(valid_.data() + first, flat.valid, count);
    nulls_ = true;
  }
  if (type().is_view()) KeepText(reinterpret_cast<View*>(values_.data()) + first, valid_.data() + first, count);
}

// The bytes of long strings belong to the node's arguments, which use that memory again for the next entries.
void DictionaryNode::KeepText(View* views, const uint8_t* valid, uint32_t count) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (valid[i] != 0 && !views[i].is_inline()) bytes += views[i].size;
  }
  if (bytes == 0) return;
  text_.emplace_back(memory(), bytes);
  char* to = text_.back().data();
  for (uint32_t i = 0; i < count; ++i) {
    if (valid[i] == 0 || views[i].is_inline()) continue;
    std::memcpy(to, views[i].pointer, views[i].size);
    views[i].pointer = to;
    to += views[i].size;
  }
}

}  // namespace

NodePtr MakeDictionary(NodePtr node, Memory& memory) {
  if (node->slot() < 0 || node->is_column()) return node;
  const Type type = node->type();
  return std::make_unique<DictionaryNode>(type, std::move(node), memory);
}

}  // namespace neap::engine
