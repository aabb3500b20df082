// row_store.h: rows kept in pages of a Memory. A page starts small and the next is twice as large up to kMaxPage, so
// that sixteen nearly empty partitions cost little. Rows and strings lie in pages of their own. A store is owned by one
// thread at a time; rows do not move until Clear.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/hash.h"
#include "engine/memory/memory.h"
#include "engine/rows/row_layout.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

class RowStore {
 public:
  static constexpr size_t kMinPage = size_t{4} << 10;
  static constexpr size_t kMaxPage = size_t{256} << 10;

  RowStore(const RowLayout* layout, Memory* memory);
  RowStore(RowStore&&) noexcept;
  RowStore& operator=(RowStore&&) noexcept;
  ~RowStore();

  // Copies rows[0..count) of `batch` (rows null: the first `count`, so that a batch's selection and selected serve),
  // whose columns `columns` become the layout's columns in order. The addresses of the new rows go to out (may be
  // null). The value of a NULL is kept as zero.
  void Append(const Batch& batch, const uint32_t* columns, const RowIndex* rows, uint32_t count, uint8_t** out);
  // The same, but the layout's last column (kInt64) is hashes[row] and not a column of the batch.
  void AppendHashed(const Batch& batch, const uint32_t* columns, const uint64_t* hashes, const RowIndex* rows,
                    uint32_t count, uint8_t** out);
  // A new row without values (all NULL, zero), or one copied with its strings from another store of the same layout.
  uint8_t* AppendEmpty();
  uint8_t* AppendRow(const uint8_t* row);
  // Copies a string so that it lives as long as the store.
  View Keep(const View& view);

  // Takes over all pages of another store of the same layout and memory.
  void Adopt(RowStore&& other);

  uint64_t rows() const { return rows_; }
  size_t bytes() const { return bytes_; }  // of all pages
  const RowLayout& layout() const { return *layout_; }
  Memory& memory() const { return *memory_; }

  // Calls f(uint8_t* first_row, uint32_t count) for each run of rows that lie one after the other, layout().width()
  // apart, in the order they were appended.
  template <class F>
  void ForEachRun(F&& f) const {
    for (const Page& page : row_pages_) {
      if (page.used != 0) f(page.data, static_cast<uint32_t>(page.used / layout_->width()));
    }
  }

  void Clear();  // frees all pages

 private:
  struct Page {
    uint8_t* data;
    size_t used;  // bytes
    size_t size;  // bytes
  };

  uint8_t* AllocateRows(uint32_t wanted, uint32_t* got);  // room for 1 to `wanted` rows, one after the other
  char* AllocateString(uint32_t size);
  Page NewPage(const std::vector<Page>& pages, size_t least);
  template <class Rest>
  void AppendColumns(const Batch& batch, const uint32_t* columns, size_t column_count, const RowIndex* rows,
                     uint32_t count, uint8_t** out, Rest&& rest);
  template <class T, class Position>
  void Scatter(const Column& from, Position&& position, uint8_t* first, uint32_t count, size_t column);

  const RowLayout* layout_;
  Memory* memory_;
  std::vector<Page> row_pages_;
  std::vector<Page> string_pages_;
  uint64_t rows_ = 0;
  size_t bytes_ = 0;
};

// Writes all rows of a store, batch by batch, and says how many.
uint64_t SpillRows(const RowStore& store, SpillFile& file);

// Rows split by the bits of their hash at one level of recursion. The hash is the layout's last column (kInt64) and is
// taken from `hashes`: `columns` lists the columns before it.
class PartitionedRows {
 public:
  PartitionedRows(const RowLayout* layout, Memory* memory, int level);

  // hashes[row] decides the partition of each of rows[0..count) (rows null: the first `count`). out[i] (may be null) is
  // the address of the copy of rows[i]. Order is kept within a partition.
  void Append(const Batch& batch, const uint32_t* columns, const uint64_t* hashes, const RowIndex* rows, uint32_t count,
              uint8_t** out);

  RowStore& partition(uint32_t p) { return stores_[p]; }
  int level() const { return level_; }
  size_t bytes() const;
  uint64_t rows() const;
  uint32_t Largest() const;  // partition with the most bytes

 private:
  std::vector<RowStore> stores_;
  int level_;
};

}  // namespace neap::engine
