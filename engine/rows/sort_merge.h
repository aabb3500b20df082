// sort_merge.h: sorted inputs, in memory or on disk, merged into one order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/memory/memory.h"
#include "engine/rows/row_store.h"
#include "engine/rows/sort_entries.h"
#include "engine/rows/sort_key.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// What all inputs of a sort have in common.
struct SortContext {
  const RowLayout& layout;
  const SortKeys& keys;
  Memory& memory;
  std::vector<uint32_t> columns;  // 0, 1, ... of the layout
};

// A sorted file, read frame by frame into rows and entries.
template <size_t kWords>
class SortedFile {
 public:
  using Entry = SortEntry<kWords>;
  SortedFile(const SortContext& context, const SpillFile& file)
      : context_(context), reader_(file.Read()), rows_(&context.layout, &context.memory) {}

  // The next frame takes the place of the last one, whose rows go. False at the end.
  bool Next() {
    rows_.Clear();
    count_ = 0;
    Batch batch;
    if (!reader_.Next(batch)) return false;
    if (entries_.size() < batch.rows) entries_ = {context_.memory, batch.rows};
    if (keys_.empty()) keys_ = {context_.memory, SortKeys::kMaxRows * kWords};
    uint8_t* rows[kBatchRows];
    rows_.Append(batch, context_.columns.data(), nullptr, batch.rows, rows);
    for (uint32_t first = 0; first < batch.rows; first += SortKeys::kMaxRows) {
      const uint32_t count = std::min(batch.rows - first, SortKeys::kMaxRows);
      context_.keys.Encode(batch, first, count, keys_.data());
      for (uint32_t i = 0; i < count; ++i) {
        Entry& entry = entries_[first + i];
        std::copy_n(&keys_[i * kWords], kWords, entry.words);
        entry.row = rows[first + i];
      }
    }
    count_ = batch.rows;
    return true;
  }
  const Entry* begin() const { return entries_.data(); }
  const Entry* end() const { return entries_.data() + count_; }

 private:
  const SortContext& context_;
  SpillFile::Reader reader_;
  RowStore rows_;
  Array<uint64_t> keys_;
  Array<Entry> entries_;
  uint32_t count_ = 0;
};

template <size_t kWords>
class SortMerge {
 public:
  using Entry = SortEntry<kWords>;
  struct Input {
    const Entry* at;  // not taken yet
    const Entry* end;
    std::unique_ptr<SortedFile<kWords>> file;  // null: all of it is in memory
  };

  explicit SortMerge(const SortContext& context) : context_(context), tree_(SortEntryLess<kWords>(context.keys)) {}

  void AddEntries(const Entry* begin, const Entry* end) { inputs_.push_back({begin, end, nullptr}); }
  void AddFile(const SpillFile& file) {
    inputs_.push_back({nullptr, nullptr, std::make_unique<SortedFile<kWords>>(context_, file)});
  }
  // After all inputs were added, or after they changed.
  void Start() {
    std::vector<const Entry*> firsts;
    for (Input& input : inputs_) firsts.push_back(Current(input));
    tree_.Build(firsts);
    must_refill_ = false;
  }

  // Calls give(entry) for the next entries in order, up to `count`; says how many, 0 at the end. Their rows stay valid
  // until the next call.
  template <class F>
  size_t Take(size_t count, F&& give) {
    if (must_refill_) {
      tree_.Replace(Current(inputs_[tree_.input()]));
      must_refill_ = false;
    }
    size_t taken = 0;
    while (taken < count && !tree_.ended()) {
      give(tree_.least());
      ++taken;
      Input& input = inputs_[tree_.input()];
      if (++input.at == input.end && input.file != nullptr) {
        must_refill_ = true;  // a new frame would take away rows that were just given
        break;
      }
      tree_.Replace(input.at != input.end ? input.at : nullptr);
    }
    return taken;
  }
  uint32_t TakeRows(const uint8_t** rows, uint32_t count) {
    return static_cast<uint32_t>(Take(count, [&](const Entry& entry) { *rows++ = entry.row; }));
  }

  std::vector<Input>& inputs() { return inputs_; }
  void Clear() { inputs_.clear(); }

 private:
  const Entry* Current(Input& input) {
    if (input.at == input.end && input.file != nullptr) {
      if (input.file->Next()) {
        input.at = input.file->begin();
        input.end = input.file->end();
      } else {
        input.file.reset();
        input.at = input.end = nullptr;
      }
    }
    return input.at != input.end ? input.at : nullptr;
  }

  const SortContext& context_;
  LoserTree<kWords> tree_;
  std::vector<Input> inputs_;
  bool must_refill_ = false;  // of the tree's winner
};

}  // namespace neap::engine
