// cached_table.h: a table whose rows are kept as blocks once they have been read (memory/block_store.h), and are read
// again from where they come from where a block is not kept any more.
//
// A table in parts has a block a part: a scan takes the parts that are kept from their blocks and reads the others,
// which makes blocks of them. The rows of any other table (a stream, what a query gives) may come in another order the
// next time, so that a block cannot be made again by itself: such a table is kept whole or not at all. A scan that
// finds some of it missing reads all of it from its source, and when every row has come by, what was kept of them is
// the table's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/memory/block_store.h"
#include "engine/memory/query_pool.h"
#include "engine/memory/storage_level.h"
#include "engine/scan/table.h"
#include "engine/spill/spill_directory.h"

namespace neap::engine {

// The blocks of a session.
struct BlockCache {
  BlockCache(std::shared_ptr<QueryPool> of, std::shared_ptr<SpillDirectory> files)
      : pool(std::move(of)), spill(std::move(files)), blocks(pool->manager(), *spill) {}

  const std::shared_ptr<QueryPool> pool;
  const std::shared_ptr<SpillDirectory> spill;
  BlockStore blocks;
  std::atomic<DatasetId> next{1};
};

class CachedTable : public Table, public std::enable_shared_from_this<CachedTable> {
 public:
  CachedTable(std::shared_ptr<Table> source, std::shared_ptr<BlockCache> cache, StorageLevel level);

  const std::shared_ptr<Table>& source() const { return source_; }

  const std::vector<TableColumn>& columns() const override { return source_->columns(); }
  uint64_t rows() const override;
  ColumnStatistics Statistics(size_t column) const override { return source_->Statistics(column); }
  std::unique_ptr<Source> Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                               std::optional<Expression> filter, std::vector<RuntimeFilterUse> runtime_filters,
                               Memory& memory) override;

 private:
  class Narrowed;
  class Parts;
  class Kept;
  class Whole;
  struct Dataset;

  std::shared_ptr<Dataset> whole() const;
  void KeepWhole(std::shared_ptr<Dataset> dataset);

  const std::shared_ptr<Table> source_;
  const std::shared_ptr<BlockCache> cache_;
  const StorageLevel level_;
  const uint32_t parts_;
  const std::vector<Type> types_;
  const std::shared_ptr<Dataset> by_part_;

  mutable std::mutex mutex_;        // guards whole_
  std::shared_ptr<Dataset> whole_;  // complete when it was made
};

}  // namespace neap::engine
