// join_filters.h: the runtime filters that a join fills from its build side. Bounds are of all rows. A Bloom filter is
// made once it is known how many rows there are; where rows have to go to disk before that, it is begun with what is
// known then, as it will spare the probe side the same way.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/memory/memory.h"
#include "engine/operators/join_shape.h"
#include "engine/operators/join_table.h"
#include "engine/rows/row_store.h"

namespace neap::engine {

class Query;

class JoinFilters {
 public:
  JoinFilters(Query& query, const JoinShape& shape, Memory& memory);

  // While rows come in; any thread.
  void CountRows(uint64_t rows) { rows_.fetch_add(rows, std::memory_order_relaxed); }
  void Widen(const std::vector<std::optional<KeyBounds>>& bounds);  // of each key
  void AddSpilled(const RowStore& rows);

  // Once all rows came, on one thread.
  const std::vector<std::optional<KeyBounds>>& bounds() const { return bounds_; }
  void Settle();
  // Rows in memory, which have their hashes still; any thread.
  void Add(const RowStore& rows);
  void Publish();
  bool published() const { return published_; }
  void Close();

 private:
  bool wanted() const;
  void Start(uint64_t keys);
  bool there() const { return started_.load(std::memory_order_acquire); }

  Query& query_;
  const JoinShape& shape_;
  Memory& memory_;
  std::atomic<uint64_t> rows_{0};
  std::mutex mutex_;  // guards bounds_, and the start
  std::vector<std::optional<KeyBounds>> bounds_;
  std::atomic<bool> started_{false};
  bool published_ = false;
};

}  // namespace neap::engine
