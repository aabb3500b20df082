// memory_manager.cc: the rules, and what the arenas say to them.
#include "engine/memory/memory_manager.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

uint64_t Part(uint64_t whole, double fraction) { return static_cast<uint64_t>(static_cast<double>(whole) * fraction); }

const char* Name(MemoryMode mode) { return mode == MemoryMode::kOnHeap ? "on-heap" : "off-heap"; }

// Holds in the arena what was granted and is not resident, and no more: a block that was freed had used up its hold.
void HoldRest(Memory& memory, uint64_t granted) {
  const neap_arena_stats_t stats = memory.Stats();
  const uint64_t wanted = Minus(granted, stats.resident);
  if (stats.reserved > wanted) neap_arena_unreserve(memory.arena(), stats.reserved - wanted);
}

}  // namespace

uint64_t MemoryManager::Pool::execution_free() const { return Minus(books.execution_size, books.execution_used); }
uint64_t MemoryManager::Pool::storage_free() const { return Minus(books.storage_size, books.storage_used); }

// ---- Task.

Task::Task(MemoryManager& manager, const std::string& name) : manager_(manager) {
  for (const MemoryMode mode : {MemoryMode::kOnHeap, MemoryMode::kOffHeap}) {
    Memory* root = manager.roots_[static_cast<size_t>(mode)];
    if (root == nullptr) continue;
    Share& share = shares_[static_cast<size_t>(mode)];
    share.own = std::make_unique<Memory>(root, name + " " + Name(mode));
    share.memory = share.own.get();
  }
  std::lock_guard lock(manager_.mutex_);
  manager_.tasks_.push_back(this);
}

Task::Task(MemoryManager& manager, Memory& arena, std::function<void(uint64_t)> want_room)
    : manager_(manager), want_room_(std::move(want_room)) {
  shares_[static_cast<size_t>(MemoryMode::kOnHeap)].memory = &arena;
  std::lock_guard lock(manager_.mutex_);
  manager_.tasks_.push_back(this);
}

Task::~Task() {
  if (is_query()) {
    manager_.Leave(*this);
  } else {
    manager_.ReleaseAllExecution(*this);
  }
  for (const MemoryMode mode : {MemoryMode::kOnHeap, MemoryMode::kOffHeap}) {
    manager_.ReleaseUnroll(*this, UINT64_MAX, mode);
  }
  std::lock_guard lock(manager_.mutex_);
  std::erase(manager_.tasks_, this);
}

uint64_t Task::granted(MemoryMode mode) const {
  std::lock_guard lock(manager_.mutex_);
  return shares_[static_cast<size_t>(mode)].granted;
}

void Task::Interrupt() {
  std::lock_guard lock(manager_.mutex_);
  interrupted_ = true;
  manager_.changed_.notify_all();
}

// ---- MemoryManager.

MemoryManager::MemoryManager(Memory& on_heap, Memory* off_heap, Options options)
    : options_(options), roots_{&on_heap, off_heap} {
  for (const MemoryMode mode : {MemoryMode::kOnHeap, MemoryMode::kOffHeap}) {
    Memory* root = roots_[static_cast<size_t>(mode)];
    if (root == nullptr) continue;
    if (root->Bound() == NEAP_UNBOUNDED) {
      throw Error(ErrorKind::kMemory, std::string("the ") + Name(mode) + " pool has no bound: give its arena one");
    }
    Pool& made = pool(mode);
    const bool storage = unified() || mode == MemoryMode::kOnHeap;
    made.storage_memory = std::make_unique<Memory>(root, std::string("storage ") + Name(mode));
    made.books.size = root->Bound();
    made.books.storage_size = storage ? Part(made.books.size, options.storage_fraction) : 0;
    made.books.execution_size = made.books.size - made.books.storage_size;
    made.region = made.books.storage_size;
    made.max_unroll = Part(made.region, options.unroll_fraction);
  }
}

MemoryManager::~MemoryManager() = default;

void MemoryManager::SetEvictor(Evictor* evictor) {
  std::lock_guard lock(mutex_);
  evictor_ = evictor;
}

MemoryManager::Figures MemoryManager::figures(MemoryMode mode) const {
  std::lock_guard lock(mutex_);
  return pool(mode).books;
}

uint64_t MemoryManager::MaxStorage(MemoryMode mode) const {
  std::lock_guard lock(mutex_);
  return StorageAtMost(pool(mode));
}

uint64_t MemoryManager::ExecutionAtMost(const Pool& pool) const {
  if (!unified()) return pool.books.execution_size;
  return pool.books.size - std::min(pool.books.storage_used, pool.region);
}

uint64_t MemoryManager::StorageAtMost(const Pool& pool) const {
  return unified() ? Minus(pool.books.size, pool.books.execution_used) : pool.books.storage_size;
}

// ---- Execution.

uint64_t MemoryManager::AcquireExecution(Task& task, uint64_t bytes, MemoryMode mode) {
  std::unique_lock lock(mutex_);
  Pool& from = pool(mode);
  Task::Share& share = ShareOf(task, mode);
  if (share.memory == nullptr || bytes == 0) return 0;
  if (!share.active) {
    share.active = true;
    ++from.books.tasks;
    SetShares(true);
    changed_.notify_all();  // the least share of those who wait has become smaller
  }
  for (;;) {
    ReadArenas();
    if (task.interrupted_) throw Error(ErrorKind::kCancelled, "the task was interrupted as it waited for memory");
    GrowExecution(mode, Minus(bytes, from.execution_free()));
    // All that can vary while this waits is read anew: how many tasks there are, how large the pool is.
    const uint64_t most = ExecutionAtMost(from) / from.books.tasks;
    const uint64_t least = from.books.execution_size / (2 * from.books.tasks);
    const uint64_t grant = std::min({bytes, Minus(most, share.granted), from.execution_free()});
    if (grant == bytes || share.granted + grant >= least) {
      uint64_t given = Reserve(*share.memory, grant);
      if (const uint64_t borrowed = Minus(from.books.storage_used, from.region); given < grant && borrowed != 0) {
        Evict(std::nullopt, std::min(grant - given, borrowed), mode);
        given += Reserve(*share.memory, grant - given);
      }
      share.granted += given;
      from.books.execution_used += given;
      return given;
    }
    changed_.wait(lock);
  }
}

// Takes from storage what it leaves free, or what it borrowed, whichever is more.
void MemoryManager::GrowExecution(MemoryMode mode, uint64_t bytes) {
  if (bytes == 0 || !unified()) return;
  Pool& from = pool(mode);
  const uint64_t reclaimable = std::max(from.storage_free(), Minus(from.books.storage_size, from.region));
  const uint64_t wanted = std::min(bytes, reclaimable);
  uint64_t reclaimed = std::min(wanted, from.storage_free());
  if (reclaimed < wanted) reclaimed += Evict(std::nullopt, wanted - reclaimed, mode);
  from.ToExecution(reclaimed);
}

void MemoryManager::ReleaseExecution(Task& task, uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  GiveBackExecution(task, bytes, mode);
}

uint64_t MemoryManager::ReleaseAllExecution(Task& task) {
  std::lock_guard lock(mutex_);
  uint64_t released = 0;
  for (const MemoryMode mode : {MemoryMode::kOnHeap, MemoryMode::kOffHeap}) {
    const uint64_t granted = ShareOf(task, mode).granted;
    released += granted;
    GiveBackExecution(task, granted, mode);
  }
  return released;
}

void MemoryManager::GiveBackExecution(Task& task, uint64_t bytes, MemoryMode mode) {
  Task::Share& share = ShareOf(task, mode);
  if (!share.active) return;
  bytes = std::min(bytes, share.granted);
  share.granted -= bytes;
  pool(mode).books.execution_used -= bytes;
  HoldRest(*share.memory, share.granted);
  if (share.granted == 0) {
    share.active = false;
    --pool(mode).books.tasks;
    SetShares(false);
  }
  changed_.notify_all();
}

// ---- Queries.

// What queries have is what their arenas say, whenever the books are looked at.
void MemoryManager::ReadArenas() {
  Pool& read = pool(MemoryMode::kOnHeap);
  uint64_t before = 0, now = 0;
  for (Task* task : tasks_) {
    if (!task->is_query()) continue;
    Task::Share& share = ShareOf(*task, MemoryMode::kOnHeap);
    before += std::exchange(share.granted, share.active ? share.memory->Charged() : 0);
    now += share.granted;
  }
  read.books.execution_used += now - before;
  read.ToExecution(std::min(Minus(read.books.execution_used, read.books.execution_size), read.storage_free()));
}

// The bounds of queries. ask: whoever has more is to know.
void MemoryManager::SetShares(bool ask) {
  Pool& from = pool(MemoryMode::kOnHeap);
  if (from.books.tasks == 0) return;
  const uint64_t most = ExecutionAtMost(from) / from.books.tasks;
  for (Task* task : tasks_) {
    Task::Share& share = ShareOf(*task, MemoryMode::kOnHeap);
    if (!task->is_query() || !share.active) continue;
    neap_arena_set_bound(share.memory->arena(), most);
    if (!ask) continue;
    task->patient_ = true;
    if (const uint64_t has = share.memory->Charged(); has > most) task->want_room_(has - most);
  }
}

void MemoryManager::Enter(Task& query) {
  std::lock_guard lock(mutex_);
  ShareOf(query, MemoryMode::kOnHeap).active = true;
  ++pool(MemoryMode::kOnHeap).books.tasks;
  SetShares(true);
  changed_.notify_all();
}

void MemoryManager::Leave(Task& query) {
  std::lock_guard lock(mutex_);
  Task::Share& share = ShareOf(query, MemoryMode::kOnHeap);
  if (!share.active) return;
  share.active = false;
  --pool(MemoryMode::kOnHeap).books.tasks;
  ReadArenas();
  SetShares(false);
  changed_.notify_all();
}

bool MemoryManager::MakeRoom(Task& query, Memory& memory, uint64_t bytes, const std::function<void()>& check) {
  constexpr std::chrono::milliseconds kLook(5), kPatience(1000);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  Pool& from = pool(MemoryMode::kOnHeap);
  const Task::Share& share = ShareOf(query, MemoryMode::kOnHeap);
  for (;;) {
    check();
    if (memory.HasRoom(bytes)) return true;
    ReadArenas();
    if (share.granted + bytes > share.memory->Bound()) return false;
    const uint64_t borrowed = Minus(from.books.storage_used, from.region);
    if (borrowed != 0 && Evict(std::nullopt, std::min(bytes, borrowed), MemoryMode::kOnHeap) != 0) {
      from.storage_memory->Purge();
      continue;
    }
    const uint64_t least = ExecutionAtMost(from) / (2 * std::max<uint64_t>(from.books.tasks, 1));
    if (from.books.tasks < 2 || share.granted + bytes > least || !query.patient_) return false;
    // What others free their arenas alone know.
    changed_.wait_for(lock, kLook);
    if (std::chrono::steady_clock::now() > end) query.patient_ = false;
  }
}

uint64_t MemoryManager::Room(Task& query) {
  std::lock_guard lock(mutex_);
  ReadArenas();
  const Pool& from = pool(MemoryMode::kOnHeap);
  const Task::Share& share = ShareOf(query, MemoryMode::kOnHeap);
  return std::min(Minus(share.memory->Bound(), share.memory->Charged()),
                  Minus(ExecutionAtMost(from), from.books.execution_used));
}

void MemoryManager::Resize(uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  Pool& made = pool(mode);
  if (made.books.size == bytes) return;
  neap_arena_set_bound(roots_[static_cast<size_t>(mode)]->arena(), bytes);
  made.books.size = bytes;
  made.region = made.books.storage_size == 0 && !unified() ? 0 : Part(bytes, options_.storage_fraction);
  made.max_unroll = Part(made.region, options_.unroll_fraction);
  if (const uint64_t over = Minus(made.books.storage_used, bytes); over != 0) Evict(std::nullopt, over, mode);
  made.books.storage_size = std::min(std::max(made.region, made.books.storage_used), bytes);
  made.books.execution_size = bytes - made.books.storage_size;
  ReadArenas();
  SetShares(true);
  changed_.notify_all();
}

// ---- Storage.

bool MemoryManager::AcquireStorage(DatasetId dataset, uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  return TakeStorageFor(dataset, bytes, mode, false);
}

bool MemoryManager::AcquireUnroll(Task& task, DatasetId dataset, uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  if (!TakeStorageFor(dataset, bytes, mode, true)) return false;
  pool(mode).books.unroll_used += bytes;
  ShareOf(task, mode).unroll += bytes;
  return true;
}

bool MemoryManager::TakeStorageFor(DatasetId dataset, uint64_t bytes, MemoryMode mode, bool unroll) {
  ReadArenas();
  Pool& to = pool(mode);
  if (to.storage_memory == nullptr || bytes > StorageAtMost(to)) return false;
  const uint64_t missing = Minus(bytes, to.storage_free());
  if (unified()) {
    to.ToStorage(std::min(missing, to.execution_free()));
    return TakeStorage(dataset, bytes, Minus(bytes, to.storage_free()), mode);
  }
  // One large block that is unrolled must not empty the whole cache.
  const uint64_t may_evict = unroll ? Minus(Minus(to.max_unroll, to.books.unroll_used), to.storage_free()) : missing;
  return TakeStorage(dataset, bytes, std::min(missing, may_evict), mode);
}

bool MemoryManager::TakeStorage(std::optional<DatasetId> dataset, uint64_t bytes, uint64_t to_evict, MemoryMode mode) {
  Pool& from = pool(mode);
  if (to_evict != 0) Evict(dataset, to_evict, mode);
  if (bytes > from.storage_free()) return false;
  uint64_t given = Reserve(*from.storage_memory, bytes);
  while (given != bytes) {  // older blocks give way to what the arena says, too
    const uint64_t missing = bytes - given;
    HoldRest(*from.storage_memory, from.books.storage_used);
    if (Evict(dataset, missing, mode) == 0) return false;
    given = Reserve(*from.storage_memory, bytes);
  }
  from.books.storage_used += bytes;
  SetShares(false);
  return true;
}

void MemoryManager::ReleaseStorage(uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  Pool& to = pool(mode);
  if (to.storage_memory == nullptr) return;
  to.books.storage_used -= std::min(bytes, to.books.storage_used);
  HoldRest(*to.storage_memory, to.books.storage_used);
  SetShares(false);
  changed_.notify_all();
}

void MemoryManager::ReleaseUnroll(Task& task, uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  Task::Share& share = ShareOf(task, mode);
  bytes = std::min(bytes, share.unroll);
  if (bytes == 0) return;
  Pool& to = pool(mode);
  share.unroll -= bytes;
  to.books.unroll_used -= bytes;
  to.books.storage_used -= bytes;
  HoldRest(*to.storage_memory, to.books.storage_used);
  SetShares(false);
  changed_.notify_all();
}

void MemoryManager::UnrollToStorage(Task& task, uint64_t bytes, MemoryMode mode) {
  std::lock_guard lock(mutex_);
  Task::Share& share = ShareOf(task, mode);
  bytes = std::min(bytes, share.unroll);
  share.unroll -= bytes;
  pool(mode).books.unroll_used -= bytes;
}

uint64_t MemoryManager::Evict(std::optional<DatasetId> keep, uint64_t bytes, MemoryMode mode) {
  if (evictor_ == nullptr) return 0;
  Pool& from = pool(mode);
  const uint64_t freed = evictor_->Evict(keep, bytes, mode);
  from.books.storage_used -= freed;
  HoldRest(*from.storage_memory, from.books.storage_used);
  SetShares(false);
  return freed;
}

uint64_t MemoryManager::EvictForPressure(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  uint64_t freed = 0;
  for (const MemoryMode mode : {MemoryMode::kOnHeap, MemoryMode::kOffHeap}) {
    if (pool(mode).storage_memory == nullptr) continue;
    // Half the wish may be all there is to drop.
    for (uint64_t wish = Minus(bytes, freed); wish != 0 && freed < bytes; wish /= 2) freed += Evict({}, wish, mode);
  }
  if (freed != 0) changed_.notify_all();
  return freed;
}

// ---- Arenas.

// Reserves up to `bytes` in an arena, and returns how many: fewer where a bound or the container has no more.
uint64_t MemoryManager::Reserve(Memory& memory, uint64_t bytes) {
  constexpr uint64_t kPage = 4096;
  if (bytes == 0 || neap_arena_reserve(memory.arena(), bytes) == 0) return bytes;
  // What was freed and not yet given back is charged too, and so is the hold of what was allocated in such pages.
  for (Pool& pool : pools_) {
    if (pool.storage_memory == nullptr) continue;
    pool.storage_memory->Purge();
    HoldRest(*pool.storage_memory, pool.books.storage_used);
  }
  for (Task* task : tasks_) {
    for (Task::Share& share : task->shares_) {
      if (share.memory == nullptr) continue;
      share.memory->Purge();
      if (!task->is_query()) HoldRest(*share.memory, share.granted);
    }
  }
  if (neap_arena_reserve(memory.arena(), bytes) == 0) return bytes;
  uint64_t given = 0;
  for (uint64_t step = bytes / 2; step >= kPage; step /= 2) {
    if (neap_arena_reserve(memory.arena(), step) == 0) given += step;
  }
  return given;
}

}  // namespace neap::engine
