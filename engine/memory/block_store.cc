// block_store.cc: blocks between memory and disk.
#include "engine/memory/block_store.h"

#include <utility>

#include "engine/core/error.h"
#include "engine/memory/packed_rows.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// Its rows are in memory, on disk, or both; they never change. What is below the line is guarded by the store's mutex,
// but for the rows themselves, which may be read while readers counts the reader or leaving is set.
struct BlockStore::Block {
  Block(BlockId block_id, StorageLevel storage_level, std::vector<Type> row_types, MemoryMode memory_mode)
      : id(block_id), level(storage_level), types(std::move(row_types)), mode(memory_mode) {}

  const BlockId id;
  const StorageLevel level;
  const std::vector<Type> types;
  const MemoryMode mode;

  Chunks memory;
  bool in_memory = false;
  std::vector<SpillFile> copies;   // on disk; all have the same rows
  uint32_t readers = 0;            // cursors on it
  bool leaving = false;            // being evicted: memory is read by who evicts, and freed
  bool coming = false;             // being read back into memory
  bool removed = false;            // no longer in the table: the last reader, or who evicts, frees it
  std::list<Block*>::iterator at;  // in order_, while in memory and not leaving
};

// What is kept of a block beside its rows, and what libraries set up at first use, outlives the query on whose thread
// it is made: whatever may make some of it runs in the process's scope.
class BlockStore::OfProcess {
  const neap::Scope scope_{neap_arena_root()};
};

MemoryMode BlockStore::ModeOf(const StorageLevel& level) const {
  return level.off_heap && manager_.has_pool(MemoryMode::kOffHeap) ? MemoryMode::kOffHeap : MemoryMode::kOnHeap;
}

namespace {

// Reads one copy of a block on disk, and goes on in the next where it is damaged.
class CopiesCursor : public Cursor {
 public:
  explicit CopiesCursor(const std::vector<SpillFile>& copies) : copies_(copies), reader_(copies[0].Read()) {}

  bool Next(Batch& batch) override {
    for (;;) {
      try {
        if (!reader_.Next(batch)) return false;
        ++given_;
        return true;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kSpill || copy_ + 1 == copies_.size()) throw;
      }
      reader_ = copies_[++copy_].Read();
      Skip();
    }
  }

 private:
  // Copies are written batch by batch alike, so that their frames are the same.
  void Skip() {
    Batch batch;
    for (uint64_t i = 0; i < given_ && reader_.Next(batch); ++i) continue;
  }

  const std::vector<SpillFile>& copies_;
  size_t copy_ = 0;
  SpillFile::Reader reader_;
  uint64_t given_ = 0;  // batches
};

std::vector<SpillFile> MakeCopies(const StorageLevel& level, SpillDirectory& spill, const std::vector<Type>& types,
                                  Memory& memory) {
  std::vector<SpillFile> copies;
  for (int i = 0; i < level.replication; ++i) copies.emplace_back(spill, types, &memory);
  return copies;
}

void WriteAll(Cursor& rows, std::vector<SpillFile>& copies) {
  Batch batch;
  while (rows.Next(batch)) {
    for (SpillFile& copy : copies) copy.Write(batch);
  }
}

void FinishAll(std::vector<SpillFile>& copies) {
  for (SpillFile& copy : copies) copy.Finish();
}

}  // namespace

// ---- Reading.

class BlockStore::BlockCursor : public Cursor {
 public:
  BlockCursor(BlockStore& store, BlockPtr block, std::unique_ptr<Cursor> rows)
      : store_(store), block_(std::move(block)), rows_(std::move(rows)) {}
  ~BlockCursor() override {
    rows_.reset();
    store_.StopReading(*block_);
  }
  bool Next(Batch& batch) override { return rows_->Next(batch); }

 private:
  BlockStore& store_;
  const BlockPtr block_;
  std::unique_ptr<Cursor> rows_;
};

std::unique_ptr<Cursor> BlockStore::Get(Task& task, BlockId id) {
  std::unique_lock lock(mutex_);
  const auto find = [&] {
    const auto found = blocks_.find(id);
    return found == blocks_.end() ? nullptr : found->second;
  };
  BlockPtr block = find();
  while (block != nullptr && block->leaving) {
    moved_.wait(lock);
    block = find();
  }
  if (block == nullptr) return nullptr;
  ++block->readers;
  if (!block->in_memory && block->level.memory && !block->coming) {
    block->coming = true;
    lock.unlock();
    BringBack(task, *block);
    lock.lock();
    block->coming = false;
  }
  const bool from_memory = block->in_memory;
  if (from_memory) order_.splice(order_.end(), order_, block->at);
  lock.unlock();
  std::unique_ptr<Cursor> rows;
  if (from_memory) {
    rows = ReadChunks(block->memory, block->level.deserialized, block->types, manager_.storage_memory(block->mode));
  } else {
    rows = std::make_unique<CopiesCursor>(block->copies);
  }
  return std::make_unique<BlockCursor>(*this, std::move(block), std::move(rows));
}

// A block on disk, which this reader holds. It stays there too, so that to evict it again costs nothing. Where this
// fails whoever reads the block from disk finds out why.
void BlockStore::BringBack(Task& task, Block& block) {
  const OfProcess scope;
  Unroll unroll(manager_, task, block.id.dataset, block.mode, block.level.deserialized, block.types);
  try {
    CopiesCursor rows(block.copies);
    Batch batch;
    while (rows.Next(batch)) {
      if (!unroll.Add(batch)) return;
    }
  } catch (const Error&) {
    return;
  }
  {
    std::lock_guard lock(mutex_);
    if (block.removed) return;
    block.memory = unroll.Take();
    block.in_memory = true;
    block.at = order_.insert(order_.end(), &block);
  }
  manager_.UnrollToStorage(task, block.memory.bytes(), block.mode);
}

BlockStore::Hold::Hold(BlockStore& store) : store_(&store) {}
BlockStore::Hold::Hold(Hold&& other) noexcept : store_(other.store_), blocks_(std::exchange(other.blocks_, {})) {}
BlockStore::Hold::~Hold() {
  for (const BlockPtr& block : blocks_) store_->StopReading(*block);
}

std::optional<BlockStore::Hold> BlockStore::HoldAll(DatasetId dataset, uint32_t count) {
  Hold hold(*this);
  bool all = true;
  {
    std::lock_guard lock(mutex_);
    for (uint32_t partition = 0; partition < count && all; ++partition) {
      const auto found = blocks_.find({dataset, partition});
      all = found != blocks_.end() && (found->second->level.disk || !found->second->leaving);
      if (!all || found->second->level.disk) continue;
      ++found->second->readers;
      hold.blocks_.push_back(found->second);
    }
  }
  if (!all) return std::nullopt;
  return hold;
}

void BlockStore::StopReading(Block& block) {
  {
    std::lock_guard lock(mutex_);
    if (--block.readers != 0 || !block.removed) return;
  }
  FreeMemory(block);
}

// ---- Writing.

struct BlockStore::Writer::Impl {
  Impl(BlockStore& block_store, Task& for_task, BlockId id, StorageLevel level, const std::vector<Type>& types)
      : store(block_store),
        task(for_task),
        block(std::make_shared<Block>(id, level, types, store.ModeOf(level))),
        memory(block_store.manager_.storage_memory(block->mode)) {
    if (level.memory) {
      unroll.emplace(store.manager_, task, id.dataset, block->mode, level.deserialized, block->types);
    } else if (level.disk) {
      block->copies = MakeCopies(level, store.spill_, block->types, memory);
    }
  }

  // What is in memory so far goes to disk, or away.
  void GiveUpMemory() {
    Chunks rows = unroll->Take();
    if (block->level.disk) {
      block->copies = MakeCopies(block->level, store.spill_, block->types, memory);
      WriteAll(*ReadChunks(rows, block->level.deserialized, block->types, memory), block->copies);
    }
    unroll->Release(std::move(rows));
    unroll.reset();
  }

  BlockStore& store;
  Task& task;
  const BlockPtr block;
  Memory& memory;
  std::optional<Unroll> unroll;  // while it may come to be in memory
};

BlockStore::Writer::Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlockStore::Writer::Writer(Writer&&) noexcept = default;
BlockStore::Writer::~Writer() = default;

BlockStore::Writer BlockStore::Start(Task& task, BlockId id, StorageLevel level, const std::vector<Type>& types) {
  const OfProcess scope;
  return Writer(std::make_unique<Writer::Impl>(*this, task, id, level, types));
}

bool BlockStore::Writer::Write(const Batch& batch) {
  Impl& impl = *impl_;
  const OfProcess scope;
  if (impl.unroll) {
    if (impl.unroll->Add(batch)) return true;
    impl.GiveUpMemory();
  }
  for (SpillFile& copy : impl.block->copies) copy.Write(batch);
  return !impl.block->copies.empty();
}

BlockPlace BlockStore::Writer::Finish() {
  Impl& impl = *impl_;
  BlockStore& store = impl.store;
  Block& block = *impl.block;
  const OfProcess scope;
  FinishAll(block.copies);
  const bool in_memory = impl.unroll.has_value();
  if (!in_memory && block.copies.empty()) return BlockPlace::kNowhere;
  if (in_memory) {
    store.manager_.UnrollToStorage(impl.task, impl.unroll->rows().bytes(), block.mode);
    block.memory = impl.unroll->Take();
  }
  {
    std::lock_guard lock(store.mutex_);
    if (store.blocks_.emplace(block.id, impl.block).second) {
      block.in_memory = in_memory;
      if (in_memory) block.at = store.order_.insert(store.order_.end(), &block);
      return in_memory ? BlockPlace::kMemory : BlockPlace::kDisk;
    }
  }
  store.FreeMemory(block);
  return store.Place(block.id);
}

BlockPlace BlockStore::Put(Task& task, BlockId id, StorageLevel level, const std::vector<Type>& types, Cursor& rows) {
  if (const BlockPlace place = Place(id); place != BlockPlace::kNowhere || !level.kept()) return place;
  Writer writer = Start(task, id, level, types);
  Batch batch;
  while (rows.Next(batch)) {
    if (!writer.Write(batch)) break;
  }
  return writer.Finish();
}

// ---- Leaving.

uint64_t BlockStore::Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode) {
  std::vector<BlockPtr> victims;
  uint64_t freed = 0;
  {
    std::lock_guard lock(mutex_);
    for (Block* block : order_) {
      if (freed >= bytes) break;
      if (block->mode != mode || block->readers != 0 || block->id.dataset == keep) continue;
      victims.push_back(blocks_.at(block->id));
      freed += block->memory.bytes();
    }
    if (freed < bytes) return 0;
    for (const BlockPtr& block : victims) {
      block->leaving = true;
      order_.erase(block->at);
    }
  }
  for (const BlockPtr& block : victims) LeaveMemory(*block);
  return freed;
}

// Writes the block to disk where its level says so and it is not there yet, and frees its memory.
void BlockStore::LeaveMemory(Block& block) {
  const OfProcess scope;
  std::vector<SpillFile> copies;
  bool failed = false;
  if (block.level.disk && block.copies.empty()) {
    Memory& memory = manager_.storage_memory(block.mode);
    try {
      copies = MakeCopies(block.level, spill_, block.types, memory);
      WriteAll(*ReadChunks(block.memory, block.level.deserialized, block.types, memory), copies);
      FinishAll(copies);
    } catch (const Error&) {
      copies.clear();  // what is cached can be computed again
      failed = true;
    }
  }
  Chunks rows;
  std::lock_guard lock(mutex_);
  rows = std::move(block.memory);
  if (!copies.empty()) block.copies = std::move(copies);
  ++evicted_;
  lost_ += failed;
  block.leaving = block.in_memory = false;
  if (block.copies.empty() && !block.removed) blocks_.erase(block.id);
  moved_.notify_all();
}

void BlockStore::Remove(BlockId id) {
  BlockPtr block;
  {
    std::lock_guard lock(mutex_);
    const auto found = blocks_.find(id);
    if (found == blocks_.end()) return;
    block = found->second;
    blocks_.erase(found);
    block->removed = true;
    if (block->in_memory && !block->leaving) order_.erase(block->at);
    if (block->readers != 0 || block->leaving) return;
  }
  FreeMemory(*block);
}

void BlockStore::RemoveDataset(DatasetId dataset) {
  std::vector<BlockId> ids;
  {
    std::lock_guard lock(mutex_);
    for (auto found = blocks_.lower_bound({dataset, 0}); found != blocks_.end() && found->first.dataset == dataset;
         ++found) {
      ids.push_back(found->first);
    }
  }
  for (const BlockId& id : ids) Remove(id);
}

void BlockStore::FreeMemory(Block& block) {
  const size_t bytes = block.memory.bytes();
  block.memory.Free();
  if (bytes != 0) manager_.ReleaseStorage(bytes, block.mode);
}

// ---- The store.

BlockStore::BlockStore(MemoryManager& manager, SpillDirectory& spill) : manager_(manager), spill_(spill) {
  manager_.SetEvictor(this);
  consumer_ = neap_pressure_register(
      [](void* self, size_t wanted) -> size_t {
        auto* store = static_cast<BlockStore*>(self);
        const uint64_t freed = store->manager_.EvictForPressure(wanted);
        store->evicted_for_container_.fetch_add(freed, std::memory_order_relaxed);
        return freed;
      },
      this);
}

BlockStore::~BlockStore() {
  if (consumer_ != nullptr) neap_pressure_unregister(consumer_);
  manager_.SetEvictor(nullptr);
  for (const auto& [id, block] : blocks_) FreeMemory(*block);
}

BlockPlace BlockStore::Place(BlockId id) const {
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(id);
  if (found == blocks_.end()) return BlockPlace::kNowhere;
  return found->second->in_memory ? BlockPlace::kMemory : BlockPlace::kDisk;
}

BlockStore::Figures BlockStore::figures() const {
  std::lock_guard lock(mutex_);
  Figures sum{.evicted = evicted_, .lost = lost_};
  for (const auto& [id, block] : blocks_) {
    if (block->in_memory) ++sum.memory_blocks, sum.memory_bytes += block->memory.bytes();
    if (!block->copies.empty()) ++sum.disk_blocks, sum.disk_bytes += block->copies[0].bytes() * block->copies.size();
  }
  return sum;
}

}  // namespace neap::engine
