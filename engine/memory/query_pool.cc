// query_pool.cc: arenas that are taken, returned and kept.
#include "engine/memory/query_pool.h"

#include <utility>

namespace neap::engine {
namespace {

struct Kept {
  std::mutex mutex;
  std::vector<std::unique_ptr<ArenaFamily>> families;
};

// Never destroyed: what lives in the arenas may be needed until the process ends.
Kept& KeptFamilies() {
  static Kept* kept = new Kept;
  return *kept;
}

std::unique_ptr<ArenaFamily> TakeFamily(size_t bound) {
  Kept& kept = KeptFamilies();
  std::unique_ptr<ArenaFamily> family;
  {
    std::lock_guard lock(kept.mutex);
    if (!kept.families.empty()) {
      family = std::move(kept.families.back());
      kept.families.pop_back();
    }
  }
  if (family == nullptr) return std::make_unique<ArenaFamily>(bound);
  neap_arena_set_bound(family->all.arena(), bound);
  return family;
}

}  // namespace

QueryPool::QueryPool(size_t bound) : family_(TakeFamily(bound)), manager_(family_->all, nullptr, {}) {}

QueryPool::~QueryPool() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (idle_.joinable()) idle_.join();
  if (family_->idle.empty()) return;
  Kept& kept = KeptFamilies();
  std::lock_guard lock(kept.mutex);
  kept.families.push_back(std::move(family_));
}

std::unique_ptr<Memory> QueryPool::Take() {
  std::unique_ptr<Memory> memory;
  {
    std::lock_guard lock(mutex_);
    if (!family_->idle.empty()) {
      memory = std::move(family_->idle.back());
      family_->idle.pop_back();
    }
  }
  if (memory == nullptr) memory = std::make_unique<Memory>(&family_->all, "query");
  neap_arena_set_bound(memory->arena(), family_->all.Bound());
  return memory;
}

void QueryPool::Return(std::unique_ptr<Memory> memory) {
  if (memory->Stats().live == 0) return;
  std::lock_guard lock(mutex_);
  family_->idle.push_back(std::move(memory));
}

void QueryPool::Enter(Task& query) {
  manager_.Enter(query);
  std::lock_guard lock(mutex_);
  ++running_;
}

void QueryPool::Leave(Task& query) {
  manager_.Leave(query);
  std::lock_guard lock(mutex_);
  --running_;
  ++left_;
  if (!idle_.joinable()) idle_ = std::thread([this] { GiveBackWhenIdle(); });
  changed_.notify_all();
}

void QueryPool::GiveBackWhenIdle() {
  std::unique_lock lock(mutex_);
  for (uint64_t done = 0;;) {
    changed_.wait(lock, [&] { return ending_ || (running_ == 0 && left_ != done); });
    const uint64_t left = left_;
    const auto moved = [&] { return ending_ || running_ != 0 || left_ != left; };
    if (changed_.wait_for(lock, kIdle, moved)) {
      if (ending_) return;
      continue;
    }
    done = left;
    lock.unlock();
    neap_purge();
    lock.lock();
  }
}

}  // namespace neap::engine
