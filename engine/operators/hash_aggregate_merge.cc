// hash_aggregate_merge.cc: merging the partial results of a partition, splitting it where it does not fit, and giving
// out finished groups.
#include "engine/operators/hash_aggregate_merge.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "engine/operators/hash_aggregate_table.h"

namespace neap::engine {
namespace {

// Fewer rows than these are not worth files of their own.
constexpr size_t kLeastToSplit = size_t{64} << 10;
// What a split holds before it writes.
constexpr size_t kSplitBuffer = size_t{1} << 20;

// Keeps those i of `candidates` for which the first `keys` columns of a[i] and b[i] are equal, NULL to NULL.
uint32_t MatchRows(const RowLayout& layout, size_t keys, const uint8_t* const* a, const uint8_t* const* b,
                   const RowIndex* candidates, uint32_t count, RowIndex* kept) {
  for (size_t k = 0; k < keys && count != 0; ++k) {
    const uint32_t offset = layout.offset(k);
    uint32_t matched = 0;
    DispatchPhysical(layout.types()[k].physical(), [&](auto zero) {
      using T = decltype(zero);
      for (uint32_t c = 0; c < count; ++c) {
        const RowIndex i = candidates[c];
        T x, y;
        std::memcpy(&x, a[i] + offset, sizeof x);
        std::memcpy(&y, b[i] + offset, sizeof y);
        const bool valid = RowLayout::IsValid(a[i], k);
        kept[matched] = i;
        matched += valid == RowLayout::IsValid(b[i], k) && (!valid || KeysEqual(x, y));
      }
    });
    candidates = kept;
    count = matched;
  }
  if (keys == 0) std::copy_n(candidates, count, kept);
  return count;
}

}  // namespace

// ---- Rows to disk by the bits of their hash at one level.

class GroupMerge::Splitter {
 public:
  Splitter(GroupMerge& merge, int level)
      : merge_(merge), level_(level), rows_(&merge.layout_, &merge.memory_, level), files_(kPartitions) {
    for (uint32_t c = 0; c + 1 < merge.layout_.columns(); ++c) columns_.push_back(c);
  }

  void Add(const uint8_t* const* rows, uint32_t count) {
    const size_t hash = merge_.layout_.columns() - 1;
    for (uint32_t i = 0; i < count; ++i) {
      rows_.partition(PartitionOf(merge_.layout_.Load<uint64_t>(rows[i], hash), level_)).AppendRow(rows[i]);
    }
    if (rows_.bytes() > kSplitBuffer) Flush();
  }
  void Add(const Batch& batch) {
    rows_.Append(batch, columns_.data(), batch.columns.back().values<uint64_t>(), batch.selection, batch.selected,
                 nullptr);
    if (rows_.bytes() > kSplitBuffer) Flush();
  }
  void Add(SpillFile::Reader& reader) {
    for (Batch batch; reader.Next(batch);) Add(batch);
  }

  std::vector<GroupPartition> Finish() {
    Flush();
    std::vector<GroupPartition> parts;
    for (std::optional<SpillFile>& file : files_) {
      if (!file) continue;
      file->Finish();
      GroupPartition& part = parts.emplace_back(GroupPartition{RowStore(&merge_.layout_, &merge_.memory_), {}});
      part.files.push_back(std::move(*file));
      part.level = level_;
    }
    return parts;
  }

 private:
  void Flush() {
    merge_.query_.CheckCancelled();
    for (uint32_t p = 0; p < kPartitions; ++p) {
      RowStore& rows = rows_.partition(p);
      if (rows.rows() == 0) continue;
      if (!files_[p]) files_[p].emplace(merge_.query_.spill_directory(), merge_.layout_.types(), &merge_.memory_);
      SpillRows(rows, *files_[p]);
      rows.Clear();
    }
  }

  GroupMerge& merge_;
  const int level_;
  PartitionedRows rows_;
  std::vector<std::optional<SpillFile>> files_;
  std::vector<uint32_t> columns_;
};

// ---- One partition at a time, on one thread.

class GroupMerge::Merger final : public StringKeeper {
 public:
  explicit Merger(GroupMerge& merge)
      : merge_(merge),
        query_(merge.query_),
        memory_(merge.memory_),
        layout_(merge.layout_),
        hash_offset_(merge.layout_.offset(merge.layout_.columns() - 1)),
        slots_(merge.layout_.width()),
        scratch_(merge.memory_, 1) {
    for (uint32_t c = 0; c < layout_.columns(); ++c) columns_.push_back(c);
  }

  // False where the partition was split: its parts wait.
  bool Begin(GroupPartition partition) {
    partition_.emplace(std::move(partition));
    groups_ = begin_ = 0;
    merged_ = !partition_->is_unique || !partition_->files.empty();
    if (merged_) {
      slots_.Reset(memory_, 0);
      if (MergeRows() && MergeFiles()) return true;
      partition_.reset();
      return false;
    }
    partition_->rows.ForEachRun([&](uint8_t* row, uint32_t count) { pages_.push_back({row, count}); });
    return true;
  }
  // Up to `wanted` rows of finished groups, valid until End.
  uint32_t Next(uint32_t wanted, uint8_t** rows) {
    return merged_ ? slots_.Collect(&begin_, wanted, rows) : NextOfPages(wanted, rows);
  }
  void End() { partition_.reset(); }

  View Keep(uint8_t* /*row*/, const View& old, const View& text) override {
    if (text.is_inline() || !copies_) return text;
    if (!old.is_inline() && text.size <= old.size) {
      char* kept = const_cast<char*>(old.pointer);
      std::memcpy(kept, text.pointer, text.size);
      return {kept, text.size};
    }
    return partition_->rows.Keep(text);
  }

 private:
  struct Scratch {
    uint64_t hashes[kBatchRows];
    uint32_t positions[kBatchRows];
    uint8_t* rows[kBatchRows];
    uint8_t* groups[kBatchRows];
    uint8_t* into[kBatchRows];
    uint8_t* from[kBatchRows];
    GroupSlots::Scratch find;
  };
  struct Page {
    uint8_t* row;
    uint32_t count;
  };

  // Those in memory, each where it lies.
  bool MergeRows() {
    copies_ = false;
    if (partition_->rows.rows() == 0) return true;
    const size_t capacity = GroupSlots::CapacityFor(partition_->rows.rows());
    if (!MayGrow(capacity * sizeof(uint64_t)) && Splits()) {
      Split(nullptr, 0);
      return false;
    }
    slots_.Reset(memory_, capacity);
    ForEachRow([&](uint32_t count) { Merge(count); });
    return true;
  }

  // Those on disk, of which new groups are copied.
  bool MergeFiles() {
    copies_ = true;
    RowStore read(&layout_, &memory_);
    for (size_t file = 0; file < partition_->files.size(); ++file) {
      SpillFile::Reader reader = partition_->files[file].Read();
      for (Batch batch;; Merge(batch.selected)) {
        const bool full = groups_ + kBatchRows > slots_.limit();
        const size_t capacity = full ? GroupSlots::CapacityFor(2 * groups_ + kBatchRows) : slots_.capacity();
        if (!MayGrow(size_t{kBatchRows} * layout_.width() + (full ? capacity * sizeof(uint64_t) : 0)) && Splits()) {
          Split(&reader, file);
          return false;
        }
        if (full) slots_.Grow(memory_, capacity, hash_offset_);
        query_.CheckCancelled();
        if (!reader.Next(batch)) break;
        read.Clear();
        read.Append(batch, columns_.data(), batch.selection, batch.selected, scratch_[0].rows);
      }
    }
    partition_->files.clear();
    return true;
  }

  // Calls f(count) for every kBatchRows rows in memory, whose addresses are in scratch.
  template <class F>
  void ForEachRow(F&& f) {
    uint8_t** rows = scratch_[0].rows;
    partition_->rows.ForEachRun([&](uint8_t* row, uint32_t count) {
      query_.CheckCancelled();
      while (count != 0) {
        const uint32_t taken = std::min(count, kBatchRows);
        for (uint32_t i = 0; i < taken; ++i, row += layout_.width()) rows[i] = row;
        f(taken);
        count -= taken;
      }
    });
  }

  // Finds the groups of the rows in scratch and adds the rows to them; those that find none become groups.
  void Merge(uint32_t count) {
    Scratch& s = scratch_[0];
    for (uint32_t i = 0; i < count; ++i) std::memcpy(&s.hashes[i], s.rows[i] + hash_offset_, sizeof(uint64_t));
    slots_.FindOrInsert(
        kAllRows.data(), count, s.hashes, s.positions, s.groups, s.find,
        [&](const RowIndex* fresh, uint32_t n) {
          for (uint32_t i = 0; i < n; ++i) {
            uint8_t*& row = s.rows[fresh[i]];
            if (copies_) row = partition_->rows.AppendRow(row);
            s.groups[fresh[i]] = row;
          }
          groups_ += n;
        },
        [&](const RowIndex* candidates, uint32_t n, RowIndex* kept) {
          return MatchRows(layout_, merge_.keys_, s.rows, s.groups, candidates, n, kept);
        });
    uint32_t merged = 0;
    for (uint32_t i = 0; i < count; ++i) {
      s.into[merged] = s.groups[i];
      s.from[merged] = s.rows[i];
      merged += s.groups[i] != s.rows[i];
    }
    merge_.states_.Merge(s.into, s.from, merged, *this);
  }

  uint32_t NextOfPages(uint32_t wanted, uint8_t** rows) {
    uint32_t count = 0;
    while (count < wanted && !pages_.empty()) {
      Page& page = pages_.back();
      for (; count < wanted && page.count != 0; --page.count, page.row += layout_.width()) rows[count++] = page.row;
      if (page.count == 0) pages_.pop_back();
    }
    return count;
  }

  // ---- Where it does not fit.

  // Partitions that wait go to disk before the one at hand is split.
  bool MayGrow(size_t bytes) {
    return query_.MayGrow(memory_, bytes) || (merge_.Spill(bytes) != 0 && query_.MayGrow(memory_, bytes));
  }

  bool Splits() {
    if (partition_->level + 1 < kPartitionLevels && partition_->rows.bytes() >= kLeastToSplit) return true;
    query_.WantRoom(kLeastToSplit);
    return false;
  }

  // All goes on by the next bits of the hash: the groups there are so far, what is left of `reader` (null: nothing was
  // read), which reads that file, and the files after it.
  void Split(SpillFile::Reader* reader, size_t file) {
    const size_t resident = memory_.Resident();
    Splitter to(merge_, partition_->level + 1);
    uint8_t** rows = scratch_[0].rows;
    if (slots_.capacity() != 0) {
      while (const uint32_t count = slots_.Collect(&begin_, kBatchRows, rows)) to.Add(rows, count);
    } else {
      ForEachRow([&](uint32_t count) { to.Add(rows, count); });
    }
    slots_.Free();
    partition_->rows.Clear();
    if (reader != nullptr) {
      to.Add(*reader);
      ++file;
    }
    for (; file < partition_->files.size(); ++file) {
      SpillFile::Reader next = partition_->files[file].Read();
      to.Add(next);
    }
    merge_.PutBack(to.Finish(), resident);
  }

  GroupMerge& merge_;
  Query& query_;
  Memory& memory_;
  const RowLayout& layout_;
  const uint32_t hash_offset_;
  std::vector<uint32_t> columns_;  // all of the layout's

  std::optional<GroupPartition> partition_;
  bool merged_ = false;  // the groups are in slots_, else in pages_
  bool copies_ = false;  // the rows at hand do not last
  GroupSlots slots_;
  uint64_t groups_ = 0;      // in slots_
  size_t begin_ = 0;         // the first slot that has not been given out
  std::vector<Page> pages_;  // the rows that have not been given out
  Array<Scratch> scratch_;
};

// ---- The source.

class GroupMerge::MergeCursor : public Cursor {
 public:
  explicit MergeCursor(GroupMerge& merge)
      : merge_(merge),
        merger_(merge),
        rows_(merge.memory_, kBatchRows),
        batch_rows_(merge.query_.options().batch_rows) {
    for (const GroupOutput& output : merge.outputs_) {
      data_.emplace_back(merge.memory_, kBatchRows * output.type.width());
      valid_.emplace_back(merge.memory_, kBatchRows);
    }
  }

  bool Next(Batch& batch) override {
    while (true) {
      if (begun_) {
        if (const uint32_t count = merger_.Next(batch_rows_, rows_.data()); count != 0) {
          Fill(batch, count);
          return true;
        }
        merger_.End();
      }
      std::optional<GroupPartition> partition = merge_.Take();
      if (!partition) return false;
      begun_ = merger_.Begin(std::move(*partition));
    }
  }

 private:
  void Fill(Batch& batch, uint32_t count) {
    batch.columns.resize(data_.size());
    for (size_t i = 0; i < data_.size(); ++i) {
      const GroupOutput& output = merge_.outputs_[i];
      const ColumnBuffer out{data_[i].data(), valid_[i].data()};
      batch.columns[i] = output.is_key ? GatherColumn(merge_.layout_, output.index, rows_.data(), nullptr, count, out)
                                       : merge_.states_.Finish(output.index, rows_.data(), count, out);
    }
    batch.SetAll(count);
  }

  GroupMerge& merge_;
  Merger merger_;
  bool begun_ = false;
  Array<uint8_t*> rows_;
  uint32_t batch_rows_;
  std::vector<Array<uint8_t>> data_, valid_;
};

GroupMerge::GroupMerge(Query& query, Memory& memory, const RowLayout& layout, size_t keys,
                       const AggregateStates& states, const std::vector<GroupOutput>& outputs,
                       std::vector<GroupPartition> partitions, OperatorFigures& figures)
    : query_(query),
      memory_(memory),
      layout_(layout),
      keys_(keys),
      states_(states),
      outputs_(outputs),
      waiting_(std::move(partitions)),
      figures_of_operator_(figures) {}

std::unique_ptr<Cursor> GroupMerge::MakeCursor(Worker& /*worker*/) { return std::make_unique<MergeCursor>(*this); }

// Those in memory first, so that they are out of the way; then the last one split, so that few files are open.
std::optional<GroupPartition> GroupMerge::Take() {
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) return std::nullopt;
  const auto in_memory = std::find_if(waiting_.begin(), waiting_.end(),
                                      [](const GroupPartition& partition) { return partition.rows.rows() != 0; });
  const auto taken = in_memory != waiting_.end() ? in_memory : waiting_.end() - 1;
  std::optional<GroupPartition> partition(std::move(*taken));
  waiting_.erase(taken);
  return partition;
}

void GroupMerge::PutBack(std::vector<GroupPartition> parts, size_t resident) {
  uint64_t rows = 0, bytes = 0;
  for (const GroupPartition& part : parts) {
    rows += part.files[0].rows();
    bytes += part.files[0].bytes();
  }
  std::lock_guard lock(mutex_);
  std::move(parts.begin(), parts.end(), std::back_inserter(waiting_));
  AddSpill(rows, bytes, resident);
}

size_t GroupMerge::AddSpill(uint64_t rows, uint64_t bytes, size_t resident) {
  memory_.Purge();
  const size_t left = memory_.Resident();
  const size_t freed = resident > left ? resident - left : 0;
  figures_of_operator_.spilled_rows += rows;
  figures_of_operator_.spilled += bytes;
  figures_of_operator_.freed += freed;
  ++figures_of_operator_.spills;
  return freed;
}

size_t GroupMerge::Spillable() {
  std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const GroupPartition& partition : waiting_) bytes += partition.rows.bytes();
  return bytes;
}

size_t GroupMerge::Spill(size_t wanted) {
  std::lock_guard lock(mutex_);
  if (query_.options().force_spill) wanted = SIZE_MAX;
  const size_t resident = memory_.Resident();
  size_t freed = 0;
  uint64_t rows = 0, bytes = 0;
  while (freed < wanted) {
    const auto largest = std::max_element(
        waiting_.begin(), waiting_.end(),
        [](const GroupPartition& a, const GroupPartition& b) { return a.rows.bytes() < b.rows.bytes(); });
    if (largest == waiting_.end() || largest->rows.bytes() == 0) break;
    freed += largest->rows.bytes();
    SpillFile& file = largest->files.emplace_back(query_.spill_directory(), layout_.types(), &memory_);
    rows += SpillRows(largest->rows, file);
    file.Finish();
    bytes += file.bytes();
    largest->rows.Clear();
  }
  return freed == 0 ? 0 : AddSpill(rows, bytes, resident);
}

}  // namespace neap::engine
