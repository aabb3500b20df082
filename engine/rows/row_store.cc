// row_store.cc: rows and their strings in pages; rows split into partitions.
#include "engine/rows/row_store.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/rows/row_gather.h"

namespace neap::engine {
namespace {

// Views of dictionaries up to so many positions are copied once for all rows of a batch that have them.
constexpr uint32_t kSharedViews = 512;

// One column of `count` rows that lie one after the other: value(i), or NULL and zero where !is_valid(i).
template <class T, class Valid, class Value>
void ScatterValues(uint8_t* row, uint32_t width, uint32_t offset, uint32_t count, size_t column, Valid&& is_valid,
                   Value&& value) {
  for (uint32_t i = 0; i < count; ++i, row += width) {
    T copied{};
    if (is_valid(i)) {
      copied = value(i);
    } else {
      RowLayout::SetValid(row, column, false);
    }
    std::memcpy(row + offset, &copied, sizeof copied);
  }
}

}  // namespace

RowStore::RowStore(const RowLayout* layout, Memory* memory) : layout_(layout), memory_(memory) {}

RowStore::RowStore(RowStore&& other) noexcept
    : layout_(other.layout_),
      memory_(other.memory_),
      row_pages_(std::move(other.row_pages_)),
      string_pages_(std::move(other.string_pages_)),
      rows_(std::exchange(other.rows_, 0)),
      bytes_(std::exchange(other.bytes_, 0)) {
  other.row_pages_.clear();
  other.string_pages_.clear();
}

RowStore& RowStore::operator=(RowStore&& other) noexcept {
  std::swap(layout_, other.layout_);
  std::swap(memory_, other.memory_);
  row_pages_.swap(other.row_pages_);
  string_pages_.swap(other.string_pages_);
  std::swap(rows_, other.rows_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

RowStore::~RowStore() { Clear(); }

void RowStore::Clear() {
  for (const Page& page : row_pages_) Memory::Free(page.data);
  for (const Page& page : string_pages_) Memory::Free(page.data);
  row_pages_.clear();
  string_pages_.clear();
  rows_ = 0;
  bytes_ = 0;
}

RowStore::Page RowStore::NewPage(const std::vector<Page>& pages, size_t least) {
  size_t size = pages.empty() ? kMinPage : std::min(size_t{pages.back().size} * 2, kMaxPage);
  size = std::max(size, least);
  Page page{static_cast<uint8_t*>(memory_->Allocate(size)), 0, size};
  bytes_ += size;
  return page;
}

uint8_t* RowStore::AllocateRows(uint32_t wanted, uint32_t* got) {
  const uint32_t width = layout_->width();
  if (row_pages_.empty() || row_pages_.back().size - row_pages_.back().used < width) {
    row_pages_.push_back(NewPage(row_pages_, width));
  }
  Page& page = row_pages_.back();
  *got = static_cast<uint32_t>(std::min<size_t>(wanted, (page.size - page.used) / width));
  uint8_t* first = page.data + page.used;
  page.used += size_t{*got} * width;
  rows_ += *got;
  return first;
}

inline char* RowStore::AllocateString(uint32_t size) {
  if (string_pages_.empty() || string_pages_.back().size - string_pages_.back().used < size) {
    Page page = NewPage(string_pages_, size);
    // A page for one large string does not push out the one that is being filled.
    if (size > kMaxPage / 8 && !string_pages_.empty()) {
      page.used = page.size;
      string_pages_.insert(string_pages_.end() - 1, page);
      return reinterpret_cast<char*>(page.data);
    }
    string_pages_.push_back(page);
  }
  Page& page = string_pages_.back();
  char* text = reinterpret_cast<char*>(page.data + page.used);
  page.used += size;
  return text;
}

View RowStore::Keep(const View& view) {
  if (view.is_inline()) return view;
  char* text = AllocateString(view.size);
  std::memcpy(text, view.pointer, view.size);
  View kept = view;
  kept.pointer = text;
  return kept;
}

template <class T, class Position>
void RowStore::Scatter(const Column& from, Position&& position, uint8_t* first, uint32_t count, size_t column) {
  const uint32_t width = layout_->width();
  const uint32_t offset = layout_->offset(column);
  const T* values = from.values<T>();
  const uint8_t* valid = from.valid;
  const auto is_valid = [&](uint32_t i) { return valid == nullptr || valid[position(i)] != 0; };
  if constexpr (std::is_same_v<T, View>) {
    if (from.indices != nullptr && from.positions <= kSharedViews && from.positions < count) {
      View shared[kSharedViews];
      uint8_t is_kept[kSharedViews] = {};
      ScatterValues<View>(first, width, offset, count, column, is_valid, [&](uint32_t i) {
        const uint32_t p = position(i);
        if (is_kept[p] == 0) {
          shared[p] = Keep(values[p]);
          is_kept[p] = 1;
        }
        return shared[p];
      });
    } else {
      ScatterValues<View>(first, width, offset, count, column, is_valid,
                          [&](uint32_t i) { return Keep(values[position(i)]); });
    }
  } else if (valid == nullptr) {
    uint8_t* at = first + offset;
    for (uint32_t i = 0; i < count; ++i, at += width) std::memcpy(at, &values[position(i)], sizeof(T));
  } else {
    ScatterValues<T>(first, width, offset, count, column, is_valid, [&](uint32_t i) { return values[position(i)]; });
  }
}

void RowStore::Append(const Batch& batch, const uint32_t* columns, const RowIndex* rows, uint32_t count,
                      uint8_t** out) {
  AppendColumns(batch, columns, layout_->columns(), rows, count, out, [](uint8_t*, uint32_t, uint32_t) {});
}

void RowStore::AppendHashed(const Batch& batch, const uint32_t* columns, const uint64_t* hashes, const RowIndex* rows,
                            uint32_t count, uint8_t** out) {
  const size_t last = layout_->columns() - 1;
  const uint32_t width = layout_->width();
  const uint32_t offset = layout_->offset(last);
  AppendColumns(batch, columns, last, rows, count, out, [&](uint8_t* row, uint32_t done, uint32_t got) {
    for (uint32_t i = done; i < done + got; ++i, row += width) {
      std::memcpy(row + offset, &hashes[rows == nullptr ? i : rows[i]], sizeof(uint64_t));
    }
  });
}

template <class Rest>
void RowStore::AppendColumns(const Batch& batch, const uint32_t* columns, size_t column_count, const RowIndex* rows,
                             uint32_t count, uint8_t** out, Rest&& rest) {
  const uint32_t width = layout_->width();
  const size_t valid_bytes = (layout_->columns() + 7) / 8;
  for (uint32_t done = 0; done < count;) {
    uint32_t got;
    uint8_t* first = AllocateRows(count - done, &got);
    for (uint32_t i = 0; i < got; ++i) std::memset(first + size_t{i} * width, 0xff, valid_bytes);
    for (size_t c = 0; c < column_count; ++c) {
      const Column& from = batch.columns[columns[c]];
      const uint32_t* indices = from.indices;
      DispatchPhysical(from.type.physical(), [&](auto zero) {
        using T = decltype(zero);
        if (indices != nullptr && rows != nullptr) {
          Scatter<T>(
              from, [&](uint32_t i) { return indices[rows[done + i]]; }, first, got, c);
        } else if (indices != nullptr) {
          Scatter<T>(
              from, [&](uint32_t i) { return indices[done + i]; }, first, got, c);
        } else if (rows != nullptr) {
          Scatter<T>(
              from, [&](uint32_t i) { return uint32_t{rows[done + i]}; }, first, got, c);
        } else {
          Scatter<T>(
              from, [&](uint32_t i) { return done + i; }, first, got, c);
        }
      });
    }
    rest(first, done, got);
    if (out != nullptr) {
      for (uint32_t i = 0; i < got; ++i) out[done + i] = first + size_t{i} * width;
    }
    done += got;
  }
}

uint8_t* RowStore::AppendEmpty() {
  uint32_t got;
  uint8_t* row = AllocateRows(1, &got);
  std::memset(row, 0, layout_->width());
  return row;
}

uint8_t* RowStore::AppendRow(const uint8_t* row) {
  uint32_t got;
  uint8_t* copy = AllocateRows(1, &got);
  std::memcpy(copy, row, layout_->width());
  if (!layout_->has_views()) return copy;
  for (size_t c = 0; c < layout_->columns(); ++c) {
    if (layout_->types()[c].is_view()) layout_->Store(copy, c, Keep(layout_->Load<View>(row, c)));
  }
  return copy;
}

void RowStore::Adopt(RowStore&& other) {
  row_pages_.insert(row_pages_.end(), other.row_pages_.begin(), other.row_pages_.end());
  string_pages_.insert(string_pages_.end(), other.string_pages_.begin(), other.string_pages_.end());
  other.row_pages_.clear();
  other.string_pages_.clear();
  rows_ += std::exchange(other.rows_, 0);
  bytes_ += std::exchange(other.bytes_, 0);
}

uint64_t SpillRows(const RowStore& store, SpillFile& file) {
  // Small batches: the file collects them, and spilling is when memory is short.
  constexpr uint32_t kRows = 512;
  RowGather gather(store.layout(), store.memory(), kRows);
  Batch batch;
  const uint8_t* rows[kRows];
  store.ForEachRun([&](const uint8_t* row, uint32_t count) {
    while (count != 0) {
      const uint32_t taken = std::min(count, kRows);
      for (uint32_t i = 0; i < taken; ++i, row += store.layout().width()) rows[i] = row;
      gather.Gather(rows, taken, batch);
      file.Write(batch);
      count -= taken;
    }
  });
  return store.rows();
}

PartitionedRows::PartitionedRows(const RowLayout* layout, Memory* memory, int level) : level_(level) {
  stores_.reserve(kPartitions);
  for (uint32_t p = 0; p < kPartitions; ++p) stores_.emplace_back(layout, memory);
}

void PartitionedRows::Append(const Batch& batch, const uint32_t* columns, const uint64_t* hashes, const RowIndex* rows,
                             uint32_t count, uint8_t** out) {
  if (count == 0) return;
  const auto row_of = [&](uint32_t i) { return rows == nullptr ? static_cast<RowIndex>(i) : rows[i]; };
  uint32_t ends[kPartitions] = {};
  for (uint32_t i = 0; i < count; ++i) ++ends[PartitionOf(hashes[row_of(i)], level_)];
  std::exclusive_scan(ends, ends + kPartitions, ends, 0U);
  RowIndex sorted[kBatchRows], origin[kBatchRows];
  for (uint32_t i = 0; i < count; ++i) {
    const RowIndex row = row_of(i);
    const uint32_t at = ends[PartitionOf(hashes[row], level_)]++;
    sorted[at] = row;
    origin[at] = static_cast<RowIndex>(i);
  }
  uint8_t* addresses[kBatchRows];
  for (uint32_t p = 0, begin = 0; p < kPartitions; begin = ends[p++]) {
    stores_[p].AppendHashed(batch, columns, hashes, sorted + begin, ends[p] - begin,
                            out == nullptr ? nullptr : addresses + begin);
  }
  if (out != nullptr) {
    for (uint32_t at = 0; at < count; ++at) out[origin[at]] = addresses[at];
  }
}

size_t PartitionedRows::bytes() const {
  return std::accumulate(stores_.begin(), stores_.end(), size_t{0},
                         [](size_t sum, const RowStore& store) { return sum + store.bytes(); });
}

uint64_t PartitionedRows::rows() const {
  return std::accumulate(stores_.begin(), stores_.end(), uint64_t{0},
                         [](uint64_t sum, const RowStore& store) { return sum + store.rows(); });
}

uint32_t PartitionedRows::Largest() const {
  const auto largest = std::max_element(stores_.begin(), stores_.end(),
                                        [](const RowStore& a, const RowStore& b) { return a.bytes() < b.bytes(); });
  return static_cast<uint32_t>(largest - stores_.begin());
}

}  // namespace neap::engine
