// block_store.h: cached partitions of datasets: in memory as columns or as compressed frames, or on disk as spill
// files, as their storage level says (storage_level.h). Which may be in memory is the memory manager's business: it
// evicts the least recently used block that nobody reads, to disk where the level has it, else for good.
//
// A block is read in under unroll memory. What does not fit goes to disk from there on, or the block is not kept.
//
// Lock: mutex_ guards the table and the order of use. It is never held while the manager is called, which calls Evict
// under its own lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"
#include "engine/memory/memory_manager.h"
#include "engine/memory/storage_level.h"
#include "engine/run/operator.h"
#include "engine/spill/spill_directory.h"

namespace neap::engine {

struct BlockId {
  DatasetId dataset;
  uint32_t partition;
  friend bool operator==(const BlockId&, const BlockId&) = default;
  friend bool operator<(const BlockId& a, const BlockId& b) {
    return std::tie(a.dataset, a.partition) < std::tie(b.dataset, b.partition);
  }
};

enum class BlockPlace : uint8_t { kNowhere, kMemory, kDisk };

class BlockStore : private Evictor {
  struct Block;
  using BlockPtr = std::shared_ptr<Block>;

 public:
  struct Figures {
    uint64_t memory_blocks = 0, memory_bytes = 0;
    uint64_t disk_blocks = 0, disk_bytes = 0;
    uint64_t evicted = 0;  // to disk and for good, since the start
    uint64_t lost = 0;     // for good because the disk failed
  };

  BlockStore(MemoryManager& manager, SpillDirectory& spill);
  ~BlockStore() override;  // no cursor and no writer is left
  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;

  // Takes the rows of one block, batch by batch. Not kept before Finish. One thread.
  class Writer {
   public:
    ~Writer();
    Writer(Writer&&) noexcept;
    // Copies the rows that count. False once the block cannot be kept: the rest need not be written.
    bool Write(const Batch& batch);
    // Where the block is now. Where another has been finished meanwhile for the same partition, that one stays.
    BlockPlace Finish();

   private:
    friend class BlockStore;
    struct Impl;
    explicit Writer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  Writer Start(Task& task, BlockId id, StorageLevel level, const std::vector<Type>& types);

  // All rows of `rows` as a block. Where there is one already nothing is read.
  BlockPlace Put(Task& task, BlockId id, StorageLevel level, const std::vector<Type>& types, Cursor& rows);

  // The rows of a block; null where it is not kept. While it is read it is not evicted; removed, it is freed
  // afterwards. A block that is on disk and whose level has memory comes back to memory where there is room.
  std::unique_ptr<Cursor> Get(Task& task, BlockId id);

  // While it lives, blocks of a level without disk are not evicted: they would be lost.
  class Hold {
   public:
    Hold(Hold&&) noexcept;
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    friend class BlockStore;
    explicit Hold(BlockStore& store);
    BlockStore* store_;
    std::vector<BlockPtr> blocks_;
  };
  // For blocks 0 to count-1 of a dataset; nothing where one of them is not kept.
  std::optional<Hold> HoldAll(DatasetId dataset, uint32_t count);

  BlockPlace Place(BlockId id) const;
  void Remove(BlockId id);
  void RemoveDataset(DatasetId dataset);
  Figures figures() const;
  // Bytes that were evicted as the container was short of memory, since the start.
  uint64_t evicted_for_container() const { return evicted_for_container_.load(std::memory_order_relaxed); }

 private:
  class BlockCursor;
  class OfProcess;

  uint64_t Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode) override;
  void LeaveMemory(Block& block);
  void BringBack(Task& task, Block& block);
  void StopReading(Block& block);
  void FreeMemory(Block& block);
  // Where there is no pool off the heap, such blocks are in the one there is.
  MemoryMode ModeOf(const StorageLevel& level) const;

  MemoryManager& manager_;
  SpillDirectory& spill_;
  neap_consumer* consumer_;

  mutable std::mutex mutex_;
  std::condition_variable moved_;  // a block has left memory
  std::map<BlockId, BlockPtr> blocks_;
  std::list<Block*> order_;  // of those in memory, least recently used first
  uint64_t evicted_ = 0, lost_ = 0;
  std::atomic<uint64_t> evicted_for_container_{0};
};

}  // namespace neap::engine
