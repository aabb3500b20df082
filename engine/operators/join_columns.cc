// join_columns.cc: joined rows as batches.
#include "engine/operators/join_columns.h"

#include "engine/rows/row_layout.h"

namespace neap::engine {
namespace {

using Side = JoinColumn::Side;

// What column `column` has at `row`, for all rows.
Column OneValue(const Column& column, uint32_t row) {
  const uint32_t position = column.position(row);
  return {.type = column.type,
          .data = static_cast<const uint8_t*>(column.data) + position * column.type.width(),
          .valid = column.valid == nullptr ? nullptr : column.valid + position,
          .indices = kZeroIndices,
          .positions = 1};
}

}  // namespace

Column NullColumn(Type type) {
  alignas(16) static constexpr uint8_t kZero[16] = {};
  return {.type = type, .data = kZero, .valid = kZero, .indices = kZeroIndices, .positions = 1};
}

JoinedColumns::JoinedColumns(const JoinShape& shape, const std::vector<JoinColumn>& columns, Memory& memory)
    : shape_(shape), columns_(columns), memory_(memory) {
  for (const JoinColumn& column : columns) {
    if (column.side == Side::kBuild) {
      data_.emplace_back(memory, kBatchRows * column.type.width());
      valid_.emplace_back(memory, kBatchRows);
    } else {
      data_.emplace_back();
      valid_.emplace_back();
    }
  }
}

Column JoinedColumns::Gather(size_t i, const uint8_t* const* rows, const RowIndex* at, uint32_t count) {
  return GatherColumn(shape_.build_rows, columns_[i].column, rows, at, count, {data_[i].data(), valid_[i].data()});
}

void JoinedColumns::Select(const Batch& probe, const RowIndex* at, uint32_t count, Batch& out) {
  out.rows = probe.rows;
  out.selected = count;
  out.selection = count == probe.rows ? nullptr : at;
}

void JoinedColumns::AtPlaces(const Batch& probe, const RowIndex* at, const uint8_t* const* rows, uint32_t count,
                             Batch& out) {
  Select(probe, at, count, out);
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].side == Side::kBuild) {
      out.columns[i] = Gather(i, rows, out.selection, count);
    } else {
      out.columns[i] = columns_[i].side == Side::kProbe ? probe.columns[columns_[i].column] : mark_;
    }
  }
}

void JoinedColumns::WithoutBuild(const Batch& probe, const RowIndex* at, uint32_t count, Batch& out) {
  Select(probe, at, count, out);
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].side == Side::kBuild) {
      out.columns[i] = NullColumn(columns_[i].type);
    } else {
      out.columns[i] = columns_[i].side == Side::kProbe ? probe.columns[columns_[i].column] : mark_;
    }
  }
}

void JoinedColumns::WithOneBuildRow(const Batch& probe, const RowIndex* at, uint32_t count, const uint8_t* row,
                                    Batch& out) {
  Select(probe, at, count, out);
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].side == Side::kBuild) {
      out.columns[i] = OneValue(Gather(i, &row, nullptr, 1), 0);
    } else {
      out.columns[i] = probe.columns[columns_[i].column];
    }
  }
}

const uint32_t* JoinedColumns::Compose(const uint32_t* indices, const uint32_t* pairs, uint32_t count) {
  for (size_t i = 0; i < composed_count_; ++i) {
    if (composed_[i].from == indices) return composed_[i].indices.data();
  }
  if (composed_count_ == composed_.size()) composed_.push_back({nullptr, Array<uint32_t>(memory_, kBatchRows)});
  Composed& composed = composed_[composed_count_++];
  composed.from = indices;
  for (uint32_t i = 0; i < count; ++i) composed.indices[i] = indices[pairs[i]];
  return composed.indices.data();
}

void JoinedColumns::Pairs(const Batch& probe, const uint32_t* pairs, const uint8_t* const* rows, uint32_t count,
                          Batch& out) {
  composed_count_ = 0;
  out.SetAll(count);
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    Column& column = out.columns[i];
    if (columns_[i].side == Side::kBuild) {
      column = Gather(i, rows, nullptr, count);
      continue;
    }
    column = probe.columns[columns_[i].column];
    if (column.is_constant()) {
      column.indices = kZeroIndices;
    } else if (column.indices == nullptr) {
      column.indices = pairs;
      column.positions = probe.rows;
    } else {
      column.indices = Compose(column.indices, pairs, count);
    }
  }
}

void JoinedColumns::WithoutProbe(const uint8_t* const* rows, uint32_t count, Batch& out) {
  out.SetAll(count);
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    out.columns[i] = columns_[i].side == Side::kBuild ? Gather(i, rows, nullptr, count) : NullColumn(columns_[i].type);
  }
}

void JoinedColumns::TakeBlock(const uint8_t* const* rows, uint32_t count) {
  block_rows_ = count;
  block_.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].side == Side::kBuild) block_[i] = Gather(i, rows, nullptr, count);
  }
}

void JoinedColumns::WithOneProbeRow(const Batch& probe, uint32_t row, const RowIndex* kept, uint32_t kept_count,
                                    Batch& out) {
  out.rows = block_rows_;
  out.selected = kept_count;
  out.selection = kept_count == block_rows_ ? nullptr : kept;
  out.columns.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    out.columns[i] = columns_[i].side == Side::kBuild ? block_[i] : OneValue(probe.columns[columns_[i].column], row);
  }
}

}  // namespace neap::engine
