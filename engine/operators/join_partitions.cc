// join_partitions.cc: what of the build side is in memory, and the way to disk.
#include "engine/operators/join_partitions.h"

#include <algorithm>
#include <utility>

namespace neap::engine {

JoinRun::JoinRun(Query& of, HashJoinSpec spec, const std::string& name)
    : query(of), shape(std::move(spec)), memory(&of.memory(), name), filters(query, shape, memory) {}

void JoinRun::CountSpill(size_t before) {
  memory.Purge();
  const size_t now = memory.Resident();
  if (now < before) freed += before - now;
  ++spills;
}

void JoinRun::CountFile(const SpillFile& file) {
  spilled += file.bytes();
  spilled_rows += file.rows();
}

JoinPartitions::JoinPartitions(JoinRun& run, int level) : run_(run), level_(level) {
  for (uint32_t p = 0; p < kPartitions; ++p) partitions_.emplace_back(run);
}

void JoinPartitions::SpillBuild(uint32_t p, RowStore& rows) {
  if (level_ == 0 && !run_.filters.published()) run_.filters.AddSpilled(rows);
  Partition& partition = partitions_[p];
  {
    std::lock_guard lock(partition.mutex);
    if (partition.build == nullptr) {
      partition.build =
          std::make_unique<SpillFile>(run_.query.spill_directory(), run_.shape.build_rows.types(), &run_.memory);
      partition.on_disk.store(true, std::memory_order_relaxed);
    }
    SpillRows(rows, *partition.build);
  }
  rows.Clear();
}

void JoinPartitions::SpillProbe(uint32_t p, RowStore& rows) {
  Partition& partition = partitions_[p];
  {
    std::lock_guard lock(partition.mutex);
    if (partition.probe == nullptr) {
      partition.probe =
          std::make_unique<SpillFile>(run_.query.spill_directory(), run_.shape.probe_rows.types(), &run_.memory);
    }
    SpillRows(rows, *partition.probe);
  }
  rows.Clear();
}

void JoinPartitions::Adopt(PartitionedRows& rows) {
  for (uint32_t p = 0; p < kPartitions; ++p) {
    if (on_disk(p)) {
      if (rows.partition(p).rows() != 0) SpillBuild(p, rows.partition(p));
    } else {
      partitions_[p].rows.Adopt(std::move(rows.partition(p)));
    }
  }
}

void JoinPartitions::Settle(bool may_spill, const std::optional<KeyBounds>& bounds) {
  for (Partition& partition : partitions_) {
    if (partition.build == nullptr) continue;
    // What was adopted before another thread's rows sent the partition to disk.
    if (partition.rows.rows() != 0) SpillBuild(static_cast<uint32_t>(&partition - &partitions_[0]), partition.rows);
  }
  Query& query = run_.query;
  while (rows() != 0) {
    any_on_disk_ = std::any_of(partitions_.begin(), partitions_.end(),
                               [](const Partition& partition) { return partition.build != nullptr; });
    if (!any_on_disk_ && bounds.has_value() && DenseTable::Suits(run_.shape, *bounds, rows()) &&
        query.MayGrow(run_.memory, DenseTable::BytesFor(*bounds))) {
      dense_.Start(*bounds, run_.memory);
      break;
    }
    const size_t needed = TableBytes();
    if (query.MayGrow(run_.memory, needed)) break;
    if (!may_spill) break;
    if (bytes() < kWorthSpilling && !(query.options().force_spill && level_ == 0)) {
      query.WantRoom(needed);
      break;
    }
    SpillLargest();
  }
  any_on_disk_ = false;
  for (Partition& partition : partitions_) {
    if (partition.build == nullptr) continue;
    any_on_disk_ = true;
    partition.build->Finish();
    run_.CountFile(*partition.build);
  }
}

size_t JoinPartitions::TableBytes() const {
  size_t bytes = 0;
  for (const Partition& partition : partitions_) {
    if (partition.rows.rows() != 0) bytes += JoinTable::BytesFor(partition.rows.rows());
  }
  return bytes;
}

void JoinPartitions::BuildTable(uint32_t p) {
  Partition& partition = partitions_[p];
  if (run_.shape.keys() == 0) {
    if (partition.rows.rows() != 0) partition.table.BuildList(partition.rows, run_.memory);
    return;
  }
  const bool duplicates = dense_.there() ? dense_.Add(run_.shape, partition.rows)
                                         : partition.table.Build(run_.shape, partition.rows, run_.memory);
  if (duplicates) has_duplicates_.store(true, std::memory_order_relaxed);
}

uint64_t JoinPartitions::rows() const {
  uint64_t rows = 0;
  for (const Partition& partition : partitions_) rows += partition.rows.rows();
  return rows;
}

size_t JoinPartitions::bytes() const {
  size_t bytes = 0;
  for (const Partition& partition : partitions_) bytes += partition.rows.bytes() + partition.table.bytes();
  return bytes;
}

bool JoinPartitions::SpillLargest() {
  const auto largest =
      std::max_element(partitions_.begin(), partitions_.end(),
                       [](const Partition& a, const Partition& b) { return a.rows.bytes() < b.rows.bytes(); });
  if (largest->rows.rows() == 0) return false;
  const size_t before = run_.memory.Resident();
  const bool had_table = largest->table.bytes() != 0 || dense_.there();
  if (had_table) RestoreHashes(*largest);
  largest->table.Clear();
  SpillBuild(static_cast<uint32_t>(largest - partitions_.begin()), largest->rows);
  if (rows() == 0) dense_.Clear();
  if (had_table) {
    any_on_disk_ = true;
    largest->build->Finish();
    run_.CountFile(*largest->build);
  }
  run_.CountSpill(before);
  return true;
}

// Links give way to the hashes that were there before the table: rows on disk are split by them.
void JoinPartitions::RestoreHashes(Partition& partition) {
  const JoinShape& shape = run_.shape;
  const RowLayout& layout = shape.build_rows;
  const uint32_t link = layout.offset(shape.link);
  std::vector<Array<uint8_t>> data, valid;
  std::vector<uint32_t> columns;
  for (uint32_t k = 0; k < shape.keys(); ++k) {
    data.emplace_back(run_.memory, kBatchRows * layout.types()[k].width());
    valid.emplace_back(run_.memory, kBatchRows);
    columns.push_back(k);
  }
  Array<const uint8_t*> rows(run_.memory, kBatchRows);
  Array<uint64_t> hashes(run_.memory, kBatchRows);
  Batch keys;
  keys.columns.resize(shape.keys());
  partition.rows.ForEachRun([&](uint8_t* first, uint32_t count) {
    for (uint32_t done = 0; done < count;) {
      uint8_t* row = first + size_t{done} * layout.width();
      const uint32_t taken = std::min(count - done, kBatchRows);
      for (uint32_t i = 0; i < taken; ++i) rows[i] = row + size_t{i} * layout.width();
      for (uint32_t k = 0; k < shape.keys(); ++k) {
        keys.columns[k] = GatherColumn(layout, k, rows.data(), nullptr, taken, {data[k].data(), valid[k].data()});
      }
      keys.SetAll(taken);
      HashRows(keys, columns.data(), columns.size(), hashes.data());
      for (uint32_t i = 0; i < taken; ++i, row += layout.width()) {
        // A row outside of the table has its hash still.
        if (HasKeys(shape, row)) std::memcpy(row + link, &hashes[i], sizeof(uint64_t));
      }
      done += taken;
    }
  });
}

void JoinPartitions::FinishProbe() {
  for (Partition& partition : partitions_) {
    if (partition.probe == nullptr) continue;
    partition.probe->Finish();
    run_.CountFile(*partition.probe);
  }
}

void JoinPartitions::DropTables() {
  dense_.Clear();
  for (Partition& partition : partitions_) partition.table.Clear();
}

JoinInput::JoinInput(JoinPartitions& partitions)
    : partitions_(partitions),
      rows_(&partitions.run().shape.build_rows, &partitions.run().memory, partitions.level()) {}

size_t JoinInput::BytesFor(uint32_t count) const {
  // By what rows took so far, which knows of strings; the first ones do not count much beside their pages.
  const size_t row =
      std::max<size_t>(partitions_.run().shape.build_rows.width(), rows_.bytes() / (rows_.rows() + kBatchRows));
  return count * row + JoinTable::BytesFor(count);
}

bool JoinInput::MayGrow(uint32_t count) const {
  return partitions_.run().query.MayGrow(partitions_.run().memory, BytesFor(count));
}

void JoinInput::MakeRoom(uint32_t count) {
  if (MayGrow(count)) return;
  if (rows_.bytes() >= kWorthSpilling) {
    Spill(kWorthSpilling);
  } else {
    partitions_.run().query.WantRoom(BytesFor(count));
  }
}

void JoinInput::Spill(size_t wanted) {
  JoinRun& run = partitions_.run();
  const size_t before = run.memory.Resident();
  size_t gone = 0;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    if (!partitions_.on_disk(p) || rows_.partition(p).rows() == 0) continue;
    gone += rows_.partition(p).bytes();
    partitions_.SpillBuild(p, rows_.partition(p));
  }
  while (gone < wanted && rows_.rows() != 0) {
    const uint32_t p = rows_.Largest();
    gone += rows_.partition(p).bytes();
    partitions_.SpillBuild(p, rows_.partition(p));
  }
  run.CountSpill(before);
}

}  // namespace neap::engine
