// task_pages.h: pages of one task, and addresses in them of 64 bits that outlive a page's move to disk and back: 13
// bits of page number and 51 of offset. Who asks for more than the memory manager grants makes the task's consumers
// spill first. Page table, encoding and the order of spilling are those of Spark's TaskMemoryManager.
//
// Locks: acquiring_ lets one thread of the task at a time acquire, and is held while consumers spill; mutex_, inside
// it, guards the table and the list of consumers, so that a consumer may free and release while it spills.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/memory/memory_manager.h"

namespace neap::engine {

class TaskPages;

// Something in a task that holds memory and can write it to disk.
class Consumer {
 public:
  Consumer(TaskPages& pages, std::string name);
  virtual ~Consumer();  // has freed all it held
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // Writes to disk and frees what `trigger` needs: about `bytes`, more where that is easier; returns how many. It may
  // free pages and release, and must not acquire. `trigger` may be itself, which may then say 0.
  virtual uint64_t Spill(uint64_t bytes, Consumer& trigger) = 0;

  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  const std::string& name() const { return name_; }

 private:
  friend class TaskPages;
  TaskPages& pages_;
  const std::string name_;
  std::atomic<uint64_t> used_{0};
};

struct Page {
  uint8_t* data = nullptr;
  uint64_t size = 0;
  uint32_t number = 0;
};

class TaskPages {
 public:
  static constexpr int kPageNumberBits = 13;
  static constexpr int kOffsetBits = 64 - kPageNumberBits;
  static constexpr uint32_t kPages = 1U << kPageNumberBits;
  static constexpr uint64_t kOffsetMask = (uint64_t{1} << kOffsetBits) - 1;
  static constexpr uint64_t kMaxPageBytes = ((uint64_t{1} << 31) - 1) * 8;  // Spark's: an array of longs

  // The consumers of one mode. A task that uses both modes has two of these.
  TaskPages(MemoryManager& manager, Task& task, MemoryMode mode);
  ~TaskPages();  // FreeAll
  TaskPages(const TaskPages&) = delete;
  TaskPages& operator=(const TaskPages&) = delete;

  // Execution memory that is no page. Returns how much was granted after consumers have spilled: of the others the
  // smallest that alone holds what is missing, else the largest, and so on; the one who asks comes last.
  uint64_t Acquire(uint64_t bytes, Consumer& consumer);
  void Release(uint64_t bytes, Consumer& consumer);

  // A page, smaller than asked where less was granted; none where nothing was. Throws Error(kMemory) for more than
  // kMaxPageBytes, and where all numbers are taken.
  std::optional<Page> Allocate(uint64_t bytes, Consumer& consumer);
  void Free(const Page& page, Consumer& consumer);

  static uint64_t Encode(const Page& page, const void* address) {
    return uint64_t{page.number} << kOffsetBits |
           static_cast<uint64_t>(static_cast<const uint8_t*>(address) - page.data);
  }
  static uint32_t PageNumber(uint64_t encoded) { return static_cast<uint32_t>(encoded >> kOffsetBits); }
  static uint64_t Offset(uint64_t encoded) { return encoded & kOffsetMask; }
  uint8_t* Decode(uint64_t encoded) const { return table_[PageNumber(encoded)] + Offset(encoded); }

  uint64_t used() const;  // by all consumers
  // Frees every page and releases everything, whoever forgot it; returns the bytes.
  uint64_t FreeAll();

 private:
  friend class Consumer;

  void Add(Consumer* consumer);
  void Remove(Consumer* consumer);
  uint64_t SpillUntil(uint64_t wanted, Consumer& trigger);
  uint32_t TakeNumber();  // kPages: none is free

  MemoryManager& manager_;
  Task& task_;
  const MemoryMode mode_;

  std::mutex acquiring_;
  mutable std::mutex mutex_;
  std::vector<Consumer*> consumers_;
  std::array<uint64_t, kPages / 64> taken_{};  // a bit a page number
  std::unique_ptr<uint8_t*[]> table_;          // by page number; a reader of an address knows that its page is there
};

}  // namespace neap::engine
