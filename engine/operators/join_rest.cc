// join_rest.cc: partitions after their probe rows.
#include "engine/operators/join_rest.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/operators/join_probe.h"

namespace neap::engine {
namespace {

// ---- Build rows that come out by themselves.

class FlaggedRows {
 public:
  FlaggedRows(const JoinShape& shape, Memory& memory)
      : offset_(shape.build_rows.offset(shape.flag)),
        wanted_(shape.spec.kind == JoinKind::kRightSemi ? 1 : 0),
        rows_(memory, kBatchRows) {}

  void Start(const RowStore& store) {
    store_ = &store;
    run_ = row_ = 0;
  }
  // Up to a batch of rows; 0 at the end.
  uint32_t Next() {
    uint32_t count = 0;
    if (store_ == nullptr) return 0;
    const uint32_t width = store_->layout().width();
    uint64_t run = 0;
    store_->ForEachRun([&](const uint8_t* first, uint32_t rows) {
      if (run++ != run_ || count == kBatchRows) return;
      for (; row_ < rows && count != kBatchRows; ++row_) {
        const uint8_t* row = first + size_t{row_} * width;
        rows_[count] = row;
        count += row[offset_] == wanted_;
      }
      if (row_ == rows) {
        ++run_;
        row_ = 0;
      }
    });
    if (count == 0) store_ = nullptr;
    return count;
  }
  const uint8_t* const* rows() const { return rows_.data(); }

 private:
  uint32_t offset_;
  uint8_t wanted_;
  const RowStore* store_ = nullptr;
  uint64_t run_ = 0;  // runs that are done
  uint32_t row_ = 0;  // rows of the next one that are done
  Array<const uint8_t*> rows_;
};

// ---- What is known of every probe row of a file between two blocks: two bits each.

class States {
 public:
  States(Memory& memory, uint64_t rows) : bits_(memory, (rows + 3) / 4) { std::memset(bits_.data(), 0, bits_.size()); }
  void Get(uint64_t first, uint32_t count, uint8_t* states) const {
    for (uint32_t i = 0; i < count; ++i) states[i] = (bits_[(first + i) / 4] >> Shift(first + i)) & 3;
  }
  // States only gain bits.
  void Put(uint64_t first, uint32_t count, const uint8_t* states) {
    for (uint32_t i = 0; i < count; ++i) bits_[(first + i) / 4] |= static_cast<uint8_t>(states[i] << Shift(first + i));
  }

 private:
  static int Shift(uint64_t row) { return static_cast<int>(row % 4) * 2; }
  Array<uint8_t> bits_;
};

// ---- One partition that was on disk.

class PartitionJoin {
 public:
  // `level`: by which its rows are split now. parent_rows: how many build rows there were before the last split.
  PartitionJoin(JoinRun& run, JoinProbe& probe, JoinPartitions::Partition& from, int level, uint64_t parent_rows)
      : run_(run),
        probe_(probe),
        build_file_(std::move(from.build)),
        probe_file_(std::move(from.probe)),
        level_(std::min(level, kPartitionLevels - 1)),
        in_blocks_(run.shape.keys() == 0 || level >= kPartitionLevels || build_file_->rows() * 10 >= parent_rows * 9),
        build_reader_(build_file_->Read()) {
    for (uint32_t c = 0; c < run.shape.build_rows.columns(); ++c) build_columns_.push_back(c);
    if (in_blocks_ && probe_file_ != nullptr) {
      states_.emplace(run.memory, probe_file_->rows());
      state_ = Array<uint8_t>(run.memory, kBatchRows);
    }
    if (run.shape.flags_build()) flagged_.emplace(run.shape, run.memory);
    with_keys_.columns.resize(run.shape.probe_columns);
  }

  bool Next(Batch& out) {
    while (true) {
      run_.query.CheckCancelled();
      switch (state_of_) {
        case State::kLoad:
          if (probe_file_ == nullptr && !run_.shape.flags_build()) return false;
          Load();
          if (probe_file_ != nullptr) {
            probe_reader_.emplace(probe_file_->Read());
            probe_rows_ = 0;
          }
          state_of_ = State::kProbe;
          break;
        case State::kProbe:
          if (probing_ && probe_.Next(out)) return true;
          if (std::exchange(probing_, false) && in_blocks_)
            states_->Put(probe_rows_ - batch_.rows, batch_.rows, state_.data());
          if (NextProbeBatch()) break;
          if (waiting_.has_value()) waiting_->Flush();
          waiting_.reset();
          partitions_->FinishProbe();
          partitions_->DropTables();
          partition_ = 0;
          if (flagged_.has_value()) flagged_->Start(partitions_->partition(0).rows);
          state_of_ = State::kFlagged;
          break;
        case State::kFlagged:
          if (NextFlagged(out)) return true;
          if (loaded_ != build_file_->rows()) {
            state_of_ = State::kLoad;
            break;
          }
          for (uint32_t p = 0; p < kPartitions; ++p) partitions_->partition(p).rows.Clear();
          state_of_ = State::kDone;
          break;
        case State::kDone:
          return false;
      }
    }
  }

  // What was split off to disk, once Next gave false; null where there is no more.
  std::unique_ptr<PartitionJoin> NextChild() {
    if (partitions_ == nullptr) return nullptr;
    for (; child_ < kPartitions; ++child_) {
      auto& partition = partitions_->partition(child_);
      if (partition.build == nullptr) continue;
      return std::make_unique<PartitionJoin>(run_, probe_, partition, level_ + 1, build_file_->rows());
    }
    return nullptr;
  }

 private:
  enum class State { kLoad, kProbe, kFlagged, kDone };

  void Load() {
    partitions_ = std::make_unique<JoinPartitions>(run_, level_);
    JoinInput input(*partitions_);
    Batch batch;
    while (loaded_ != build_file_->rows() && build_reader_.Next(batch)) {
      if (!in_blocks_) input.MakeRoom(batch.rows);
      input.rows().Append(batch, build_columns_.data(), HashesOf(batch), nullptr, batch.rows, nullptr);
      loaded_ += batch.rows;
      if (in_blocks_ && input.rows().bytes() >= kWorthSpilling && !input.MayGrow(kBatchRows)) break;
    }
    partitions_->Adopt(input.rows());
    partitions_->Settle(!in_blocks_, std::nullopt);
    for (uint32_t p = 0; p < kPartitions; ++p) partitions_->BuildTable(p);
  }

  // Files have the hash as the last column.
  static const uint64_t* HashesOf(const Batch& batch) {
    return reinterpret_cast<const uint64_t*>(batch.columns.back().values<int64_t>());
  }

  bool NextProbeBatch() {
    if (probe_file_ == nullptr || !probe_reader_->Next(batch_)) return false;
    const std::vector<uint32_t>& kept = run_.shape.probe_kept;
    for (size_t i = 0; i < kept.size(); ++i) with_keys_.columns[kept[i]] = batch_.columns[i];
    with_keys_.SetAll(batch_.rows);
    if (in_blocks_) {
      states_->Get(probe_rows_, batch_.rows, state_.data());
      probe_.BeginBlock(*partitions_, with_keys_, HashesOf(batch_), state_.data(), loaded_ == build_file_->rows());
    } else {
      if (!waiting_.has_value()) waiting_.emplace(*partitions_);
      probe_.Begin(*partitions_, *waiting_, with_keys_, HashesOf(batch_));
    }
    probe_rows_ += batch_.rows;
    probing_ = true;
    return true;
  }

  bool NextFlagged(Batch& out) {
    if (!flagged_.has_value()) return false;
    while (true) {
      if (const uint32_t count = flagged_->Next(); count != 0) {
        probe_.output().WithoutProbe(flagged_->rows(), count, out);
        return true;
      }
      partitions_->partition(partition_).rows.Clear();
      if (++partition_ == kPartitions) return false;
      flagged_->Start(partitions_->partition(partition_).rows);
    }
  }

  JoinRun& run_;
  JoinProbe& probe_;
  std::unique_ptr<SpillFile> build_file_, probe_file_;
  int level_;
  bool in_blocks_;
  SpillFile::Reader build_reader_;
  std::vector<uint32_t> build_columns_;
  uint64_t loaded_ = 0;  // build rows read so far

  State state_of_ = State::kLoad;
  std::unique_ptr<JoinPartitions> partitions_;
  std::optional<SpillFile::Reader> probe_reader_;
  std::optional<WaitingRows> waiting_;
  Batch batch_, with_keys_;
  uint64_t probe_rows_ = 0;  // read so far
  bool probing_ = false;
  std::optional<States> states_;
  Array<uint8_t> state_;
  std::optional<FlaggedRows> flagged_;
  uint32_t partition_ = 0;  // whose flags are looked at
  uint32_t child_ = 0;
};

}  // namespace

class JoinRestCursor final : public Cursor {
 public:
  explicit JoinRestCursor(JoinRest& rest) : rest_(rest), probe_(MakeProbe(rest.run_)) {}

  bool Next(Batch& batch) override {
    while (true) {
      if (!joins_.empty()) {
        if (joins_.back()->Next(batch)) return true;
        if (auto child = joins_.back()->NextChild(); child != nullptr) {
          joins_.push_back(std::move(child));
        } else {
          joins_.pop_back();
        }
        continue;
      }
      if (flagged_.has_value()) {
        if (const uint32_t count = flagged_->Next(); count != 0) {
          probe_->output().WithoutProbe(flagged_->rows(), count, batch);
          return true;
        }
        flagged_.reset();
        partition_->rows.Clear();
      }
      const size_t task = rest_.next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= rest_.tasks_.size()) return false;
      partition_ = &rest_.partitions_.partition(rest_.tasks_[task]);
      if (partition_->build == nullptr) {
        flagged_.emplace(rest_.run_.shape, rest_.run_.memory);
        flagged_->Start(partition_->rows);
      } else {
        joins_.push_back(std::make_unique<PartitionJoin>(rest_.run_, *probe_, *partition_, 1, rest_.build_rows_));
      }
    }
  }

 private:
  JoinRest& rest_;
  std::unique_ptr<JoinProbe> probe_;
  JoinPartitions::Partition* partition_ = nullptr;
  std::optional<FlaggedRows> flagged_;
  std::vector<std::unique_ptr<PartitionJoin>> joins_;  // each split off from the one before
};

JoinRest::JoinRest(JoinRun& run, JoinPartitions& partitions) : run_(run), partitions_(partitions) {
  std::vector<uint32_t> on_disk;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    const auto& partition = partitions.partition(p);
    build_rows_ += partition.rows.rows();
    if (partition.build != nullptr) {
      build_rows_ += partition.build->rows();
      on_disk.push_back(p);
    } else if (run.shape.flags_build() && partition.rows.rows() != 0) {
      tasks_.push_back(p);
    }
  }
  tasks_.insert(tasks_.end(), on_disk.begin(), on_disk.end());
}

std::unique_ptr<Cursor> JoinRest::MakeCursor(Worker& /*worker*/) { return std::make_unique<JoinRestCursor>(*this); }

}  // namespace neap::engine
