// external_sort.cc: runs in memory, runs on disk, and the merge of both.
#include "engine/rows/external_sort.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "engine/rows/row_gather.h"
#include "engine/rows/sort_merge.h"
#include "engine/run/query.h"

namespace neap::engine {

// ExternalSort for one number of key words.
class Sorter {
 public:
  virtual ~Sorter() = default;
  virtual void Append(uint32_t worker, const Batch& batch) = 0;
  virtual void End(uint32_t worker) = 0;
  virtual void StartMerge() = 0;
  virtual bool Next(Batch& batch) = 0;
  virtual void Close() = 0;
  virtual size_t Spillable() const = 0;
  virtual size_t SpillAtBoundary(size_t wanted) = 0;
};

namespace {

// Entries that are sorted together: at first so many that they and their scratch stay in the second-level cache, then
// as many as take an eighth of what the run takes, so that there are few chunks to merge.
constexpr size_t kChunkBytes = size_t{512} << 10;
constexpr size_t kChunkShare = 8;
// How much a run asks for at a time.
constexpr size_t kGrowth = size_t{512} << 10;
// A run that would be smaller goes on growing, and others are asked for room.
constexpr size_t kLeastRun = size_t{1} << 20;
// What a file takes that is being merged: a frame as it was written, as it was read, and as rows.
constexpr size_t kInputBytes = size_t{384} << 10;
constexpr size_t kLeastInputs = 4;
constexpr size_t kMostInputs = 256;
// Rows that are gathered together to be written.
constexpr uint32_t kWriteRows = 512;

template <size_t kWords>
class SorterOf final : public Sorter {
 public:
  using Entry = SortEntry<kWords>;
  using Merge = SortMerge<kWords>;
  static constexpr size_t kChunkEntries = kChunkBytes / sizeof(Entry);

  SorterOf(Query& query, Memory& memory, const RowLayout& layout, const SortKeys& keys, uint64_t keep,
           OperatorFigures& figures)
      : query_(query),
        context_{layout, keys, memory, std::vector<uint32_t>(layout.columns())},
        less_(keys),
        keep_(keep),
        // Only so few that a chunk holds twice as many and the rows that come in at once.
        is_top_(keep <= (kChunkEntries - SortKeys::kMaxRows) / 2),
        figures_(figures),
        merge_(context_) {
    std::iota(context_.columns.begin(), context_.columns.end(), 0U);
    runs_.reserve(query.threads());
    for (uint32_t i = 0; i < query.threads(); ++i) runs_.emplace_back(context_);
  }

  void Append(uint32_t worker, const Batch& batch) override {
    Run& run = runs_[worker];
    AskForRoom(run, batch.selected);
    if (run.keys.empty()) run.keys = {context_.memory, SortKeys::kMaxRows * kWords};
    for (uint32_t first = 0; first < batch.selected; first += SortKeys::kMaxRows) {
      const uint32_t count = std::min(batch.selected - first, SortKeys::kMaxRows);
      context_.keys.Encode(batch, first, count, run.keys.data());
      RowIndex wanted[SortKeys::kMaxRows], rows[SortKeys::kMaxRows];
      const uint32_t kept = Wanted(run, count, wanted);
      for (uint32_t i = 0; i < kept; ++i) {
        const uint32_t at = first + wanted[i];
        rows[i] = batch.selection != nullptr ? batch.selection[at] : static_cast<RowIndex>(at);
      }
      uint8_t* addresses[SortKeys::kMaxRows];
      run.rows.Append(batch, context_.columns.data(), rows, kept, addresses);
      AddEntries(run, wanted, addresses, kept);
      if (is_top_ && run.open().count >= 2 * std::max<uint64_t>(keep_, SortKeys::kMaxRows / 2)) Cut(run);
    }
  }

  void End(uint32_t worker) override {
    Run& run = runs_[worker];
    SortOpen(run);
    if (query_.options().force_spill) SpillRun(run);
    run.scratch.Reset();
    MergeChunks(run);
    run.keys.Reset();
  }

  void StartMerge() override {
    if (!files_.empty() && (files_.size() > kMostInputs || !MayGrow(files_.size() * kInputBytes))) {
      for (Run& run : runs_) SpillRun(run);
      MergeInPasses();
    }
    for (const Run& run : runs_) AddRun(run, merge_);
    for (const SpillFile& file : files_) merge_.AddFile(file);
    merge_.Start();
    is_merging_ = true;
    const uint32_t capacity = query_.options().batch_rows;
    rows_ = {context_.memory, capacity};
    gather_.emplace(context_.layout, context_.memory, capacity);
  }

  bool Next(Batch& batch) override {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(rows_.size(), keep_ - given_));
    const uint32_t taken = count == 0 ? 0 : merge_.TakeRows(rows_.data(), count);
    if (taken == 0) return false;
    given_ += taken;
    gather_->Gather(rows_.data(), taken, batch);
    return true;
  }

  void Close() override {
    figures_.peak = std::max(figures_.peak, context_.memory.Peak());
    merge_.Clear();
    gather_.reset();
    rows_.Reset();
    files_.clear();
    runs_.clear();
  }

  size_t Spillable() const override {
    return std::accumulate(runs_.begin(), runs_.end(), size_t{0},
                           [](size_t sum, const Run& run) { return sum + (run.rows.rows() == 0 ? 0 : run.bytes()); });
  }

  size_t SpillAtBoundary(size_t wanted) override {
    if (is_merging_) return SpillRest();
    size_t freed = 0;
    while (freed < wanted) {
      const auto largest = std::max_element(runs_.begin(), runs_.end(),
                                            [](const Run& a, const Run& b) { return a.bytes() < b.bytes(); });
      if (largest->rows.rows() == 0) break;
      freed += SpillRun(*largest);
    }
    return freed;
  }

 private:
  // Entries of one run; sorted but for the last chunk of a run that is still being filled.
  struct Chunk {
    Array<Entry> entries;
    size_t count = 0;
  };

  // What a thread holds.
  struct Run {
    // Bytes of the chunk after the open one.
    size_t next_chunk() const { return std::max(kChunkBytes, bytes() / kChunkShare); }

    explicit Run(const SortContext& context) : rows(&context.layout, &context.memory) {}

    size_t bytes() const {
      size_t sum = rows.bytes() + scratch.size() * sizeof(Entry);
      for (const Chunk& chunk : chunks) sum += chunk.entries.size() * sizeof(Entry);
      return sum;
    }
    Chunk& open() {
      if (chunks.empty()) chunks.emplace_back();
      return chunks.back();
    }

    RowStore rows;
    std::vector<Chunk> chunks;
    size_t allowed = 0;  // bytes that the run may take before it asks again
    Array<Entry> scratch;
    Array<uint64_t> keys;
    // Top-N: no row with a key from here on is wanted. The row of the entry is no longer there.
    std::optional<Entry> bound;
  };

  bool MayGrow(size_t bytes) { return query_.MayGrow(context_.memory, bytes); }

  void AskForRoom(Run& run, uint32_t rows) {
    size_t needed = rows * (context_.layout.width() + sizeof(Entry));
    const Chunk& open = run.open();
    if (open.count + rows > open.entries.size()) needed += 2 * run.next_chunk();  // and scratch to sort it
    if (run.bytes() + needed <= run.allowed && !query_.options().force_spill) return;
    needed += kGrowth;
    if (!MayGrow(needed)) {
      const size_t least = query_.options().force_spill ? 1 : kLeastRun;
      if (run.rows.rows() != 0 && run.bytes() >= least) SpillRun(run);
      if (!query_.options().force_spill && !MayGrow(needed)) query_.WantRoom(needed);
    }
    run.allowed = run.bytes() + needed;
  }

  // Which of the encoded rows may still be among the first: all but those whose key is known not to be before the
  // bound. Equal words say so only of keys that were not cut.
  uint32_t Wanted(const Run& run, uint32_t count, RowIndex* wanted) const {
    if (!run.bound) {
      std::iota(wanted, wanted + count, RowIndex{0});
      return count;
    }
    uint32_t kept = 0;
    const uint64_t* key = run.keys.data();
    for (uint32_t i = 0; i < count; ++i, key += kWords) {
      const auto [mine, bounds] = std::mismatch(key, key + kWords, run.bound->words);
      wanted[kept] = static_cast<RowIndex>(i);
      kept += mine == key + kWords ? context_.keys.WasCut(key) : *mine < *bounds;
    }
    return kept;
  }

  void AddEntries(Run& run, const RowIndex* wanted, uint8_t* const* addresses, uint32_t count) {
    for (uint32_t done = 0; done < count;) {
      if (run.open().count == run.open().entries.size()) Extend(run);
      Chunk& chunk = run.open();
      const size_t added = std::min<size_t>(count - done, chunk.entries.size() - chunk.count);
      Entry* to = chunk.entries.data() + chunk.count;
      for (size_t i = 0; i < added; ++i, ++done) {
        std::copy_n(&run.keys[wanted[done] * kWords], kWords, to[i].words);
        to[i].row = addresses[done];
      }
      chunk.count += added;
    }
  }

  // Makes room for more entries: a small chunk grows, another one is sorted and the next one opened.
  void Extend(Run& run) {
    Chunk& chunk = run.open();
    if (chunk.count < kChunkEntries) {
      Array<Entry> grown(context_.memory, std::clamp(chunk.count * 4, size_t{256}, kChunkEntries));
      std::copy_n(chunk.entries.data(), chunk.count, grown.data());
      chunk.entries = std::move(grown);
      return;
    }
    SortOpen(run);
    const size_t entries = run.next_chunk() / sizeof(Entry);
    run.chunks.emplace_back().entries = {context_.memory, entries};
  }

  void SortOpen(Run& run) {
    Chunk& chunk = run.open();
    if (std::is_sorted(chunk.entries.data(), chunk.entries.data() + chunk.count, less_)) return;
    if (run.scratch.size() < chunk.count) run.scratch = {context_.memory, chunk.entries.size()};
    SortEntries(chunk.entries.data(), run.scratch.data(), chunk.count, less_);
  }

  // Makes one chunk of all, on the run's own thread, where memory allows: less is left to the thread that gives the
  // rows.
  void MergeChunks(Run& run) {
    const size_t count = run.rows.rows();
    if (run.chunks.size() < 2 || !MayGrow(count * sizeof(Entry))) return;
    Chunk merged{{context_.memory, count}, count};
    Merge merge(context_);
    AddRun(run, merge);
    merge.Start();
    Entry* to = merged.entries.data();
    merge.Take(count, [&](const Entry& entry) { *to++ = entry; });
    run.chunks.clear();
    run.chunks.push_back(std::move(merged));
  }

  // Keeps the first keep_ rows of a run and frees the others.
  void Cut(Run& run) {
    Chunk& chunk = run.open();
    Entry* entries = chunk.entries.data();
    const size_t kept = std::min<size_t>(chunk.count, keep_);
    if (kept == 0) {
      run.rows.Clear();
      chunk.count = 0;
      run.bound = Entry{};
      return;
    }
    std::nth_element(entries, entries + kept - 1, entries + chunk.count, less_);
    RowStore rows(&context_.layout, &context_.memory);
    for (size_t i = 0; i < kept; ++i) entries[i].row = rows.AppendRow(entries[i].row);
    run.rows = std::move(rows);
    chunk.count = kept;
    run.bound = entries[kept - 1];
  }

  static void AddRun(const Run& run, Merge& merge) {
    for (const Chunk& chunk : run.chunks) {
      if (chunk.count != 0) merge.AddEntries(chunk.entries.data(), chunk.entries.data() + chunk.count);
    }
  }

  SpillFile Write(Merge& merge) {
    SpillFile file(query_.spill_directory(), context_.layout.types(), &context_.memory);
    RowGather gather(context_.layout, context_.memory, kWriteRows);
    const uint8_t* rows[kWriteRows];
    Batch batch;
    merge.Start();
    for (uint64_t left = keep_; left != 0;) {
      const uint32_t taken = merge.TakeRows(rows, static_cast<uint32_t>(std::min<uint64_t>(left, kWriteRows)));
      if (taken == 0) break;
      gather.Gather(rows, taken, batch);
      file.Write(batch);
      left -= taken;
      query_.CheckCancelled();
    }
    file.Finish();
    return file;
  }

  // Puts a file among the others and clears the runs that it holds the rows of; returns what that freed.
  size_t Keep(SpillFile file, const std::vector<Run*>& runs, size_t resident_before) {
    for (Run* run : runs) {
      run->chunks.clear();
      run->rows.Clear();
      run->allowed = 0;
    }
    context_.memory.Purge();
    const size_t now = context_.memory.Resident();
    const size_t freed = resident_before > now ? resident_before - now : 0;
    const std::lock_guard lock(mutex_);
    figures_.spilled += file.bytes();
    figures_.spilled_rows += file.rows();
    figures_.freed += freed;
    ++figures_.spills;
    files_.push_back(std::move(file));
    return freed;
  }

  size_t SpillRun(Run& run) {
    if (run.rows.rows() == 0) return 0;
    const size_t before = context_.memory.Resident();
    SortOpen(run);
    Merge merge(context_);
    AddRun(run, merge);
    return Keep(Write(merge), {&run}, before);
  }

  // While rows are being given: what is left of all runs.
  size_t SpillRest() {
    if (Spillable() == 0) return 0;
    const size_t before = context_.memory.Resident();
    Merge rest(context_);
    auto& inputs = merge_.inputs();
    for (const auto& input : inputs) {
      if (input.file == nullptr && input.at != input.end) rest.AddEntries(input.at, input.end);
    }
    SpillFile file = Write(rest);
    std::erase_if(inputs, [](const auto& input) { return input.file == nullptr; });
    std::vector<Run*> runs;
    for (Run& run : runs_) runs.push_back(&run);
    const size_t freed = Keep(std::move(file), runs, before);
    merge_.AddFile(files_.back());
    merge_.Start();
    return freed;
  }

  // Merges files, the smallest first, until what is left can be merged at once.
  void MergeInPasses() {
    size_t inputs = std::min(files_.size(), kMostInputs);
    while (inputs > kLeastInputs && !MayGrow(inputs * kInputBytes)) inputs /= 2;
    inputs = std::max(inputs, kLeastInputs);
    while (files_.size() > inputs) {
      std::sort(files_.begin(), files_.end(),
                [](const SpillFile& a, const SpillFile& b) { return a.bytes() < b.bytes(); });
      // The first pass takes so few that the last one can take all it may.
      const size_t merged = std::min(inputs, files_.size() - inputs + 1);
      Merge merge(context_);
      for (size_t i = 0; i < merged; ++i) merge.AddFile(files_[i]);
      SpillFile file = Write(merge);
      merge.Clear();
      files_.erase(files_.begin(), files_.begin() + static_cast<ptrdiff_t>(merged));
      Keep(std::move(file), {}, 0);
    }
  }

  Query& query_;
  SortContext context_;
  SortEntryLess<kWords> less_;
  uint64_t keep_;
  bool is_top_;
  std::vector<Run> runs_;  // one a thread
  std::mutex mutex_;       // guards figures_ and files_ while threads spill their runs
  OperatorFigures& figures_;
  std::vector<SpillFile> files_;

  bool is_merging_ = false;
  Merge merge_;
  uint64_t given_ = 0;
  Array<const uint8_t*> rows_;
  std::optional<RowGather> gather_;
};

std::unique_ptr<Sorter> MakeSorter(Query& query, Memory& memory, const RowLayout& layout, const SortKeys& keys,
                                   uint64_t keep, OperatorFigures& figures) {
  static_assert(SortKeys::kMaxWords == 4);
  switch (keys.words()) {
    case 1:
      return std::make_unique<SorterOf<1>>(query, memory, layout, keys, keep, figures);
    case 2:
      return std::make_unique<SorterOf<2>>(query, memory, layout, keys, keep, figures);
    case 3:
      return std::make_unique<SorterOf<3>>(query, memory, layout, keys, keep, figures);
    default:
      return std::make_unique<SorterOf<4>>(query, memory, layout, keys, keep, figures);
  }
}

}  // namespace

ExternalSort::ExternalSort(Query& query, Memory& memory, std::vector<Type> types, std::vector<SortColumn> order,
                           uint64_t keep, OperatorFigures& figures)
    : layout_(std::move(types)),
      keys_(&layout_, std::move(order)),
      sorter_(MakeSorter(query, memory, layout_, keys_, keep, figures)) {}
ExternalSort::~ExternalSort() = default;

void ExternalSort::Append(uint32_t worker, const Batch& batch) { sorter_->Append(worker, batch); }
void ExternalSort::End(uint32_t worker) { sorter_->End(worker); }
void ExternalSort::StartMerge() { sorter_->StartMerge(); }
bool ExternalSort::Next(Batch& batch) { return sorter_->Next(batch); }
void ExternalSort::Close() { sorter_->Close(); }
size_t ExternalSort::Spillable() const { return sorter_->Spillable(); }
size_t ExternalSort::SpillAtBoundary(size_t wanted) { return sorter_->SpillAtBoundary(wanted); }

}  // namespace neap::engine
