// task_pages.cc: the page table, and whom to ask to spill.
#include "engine/memory/task_pages.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {

Consumer::Consumer(TaskPages& pages, std::string name) : pages_(pages), name_(std::move(name)) { pages_.Add(this); }
Consumer::~Consumer() { pages_.Remove(this); }

TaskPages::TaskPages(MemoryManager& manager, Task& task, MemoryMode mode)
    : manager_(manager), task_(task), mode_(mode), table_(std::make_unique<uint8_t*[]>(kPages)) {}

TaskPages::~TaskPages() { FreeAll(); }

void TaskPages::Add(Consumer* consumer) {
  std::lock_guard lock(mutex_);
  consumers_.push_back(consumer);
}

void TaskPages::Remove(Consumer* consumer) {
  std::lock_guard lock(mutex_);
  std::erase(consumers_, consumer);
}

uint64_t TaskPages::used() const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const Consumer* consumer : consumers_) sum += consumer->used();
  return sum;
}

uint64_t TaskPages::Acquire(uint64_t bytes, Consumer& consumer) {
  std::lock_guard turn(acquiring_);
  uint64_t got = manager_.AcquireExecution(task_, bytes, mode_);
  if (got < bytes) got += SpillUntil(bytes - got, consumer);
  consumer.used_.fetch_add(got, std::memory_order_relaxed);
  return got;
}

// Returns what was acquired of that: another task may be quicker to take what a consumer of this one released.
uint64_t TaskPages::SpillUntil(uint64_t wanted, Consumer& trigger) {
  std::multimap<uint64_t, Consumer*> by_size;
  {
    std::lock_guard lock(mutex_);
    for (Consumer* consumer : consumers_) {
      if (consumer->used() != 0) by_size.emplace(consumer == &trigger ? 0 : consumer->used(), consumer);
    }
  }
  uint64_t got = 0;
  while (got < wanted && !by_size.empty()) {
    auto found = by_size.lower_bound(wanted - got);
    if (found == by_size.end()) --found;
    Consumer* consumer = found->second;
    by_size.erase(found);
    if (consumer->Spill(wanted - got, trigger) == 0) continue;
    got += manager_.AcquireExecution(task_, wanted - got, mode_);
    if (consumer->used() != 0) by_size.emplace(consumer == &trigger ? 0 : consumer->used(), consumer);
  }
  return got;
}

void TaskPages::Release(uint64_t bytes, Consumer& consumer) {
  consumer.used_.fetch_sub(bytes, std::memory_order_relaxed);
  manager_.ReleaseExecution(task_, bytes, mode_);
}

uint32_t TaskPages::TakeNumber() {
  for (uint32_t word = 0; word < taken_.size(); ++word) {
    if (taken_[word] == UINT64_MAX) continue;
    const auto bit = static_cast<uint32_t>(std::countr_one(taken_[word]));
    taken_[word] |= uint64_t{1} << bit;
    return word * 64 + bit;
  }
  return kPages;
}

std::optional<Page> TaskPages::Allocate(uint64_t bytes, Consumer& consumer) {
  if (bytes > kMaxPageBytes) {
    throw Error(ErrorKind::kMemory, "a page of " + std::to_string(bytes) + " bytes: the largest is " +
                                        std::to_string(kMaxPageBytes) + ", ask for several");
  }
  const uint64_t got = Acquire(bytes, consumer);
  if (got == 0) return std::nullopt;
  Page page{nullptr, got, 0};
  try {
    page.data = static_cast<uint8_t*>(task_.memory(mode_).Allocate(got));
    std::lock_guard lock(mutex_);
    page.number = TakeNumber();
    if (page.number == kPages) {
      throw Error(ErrorKind::kMemory, "the task has " + std::to_string(kPages) + " pages already: ask for larger ones");
    }
    table_[page.number] = page.data;
  } catch (const Error&) {
    Memory::Free(page.data);
    Release(got, consumer);
    throw;
  }
  return page;
}

void TaskPages::Free(const Page& page, Consumer& consumer) {
  Memory::Free(page.data);
  {
    std::lock_guard lock(mutex_);
    table_[page.number] = nullptr;
    taken_[page.number / 64] &= ~(uint64_t{1} << (page.number % 64));
  }
  Release(page.size, consumer);
}

uint64_t TaskPages::FreeAll() {
  std::lock_guard lock(mutex_);
  for (uint32_t number = 0; number < kPages; ++number) {
    if (table_[number] != nullptr) Memory::Free(std::exchange(table_[number], nullptr));
  }
  taken_.fill(0);
  uint64_t released = 0;
  for (Consumer* consumer : consumers_) released += consumer->used_.exchange(0, std::memory_order_relaxed);
  manager_.ReleaseExecution(task_, released, mode_);
  return released;
}

}  // namespace neap::engine
