// memory.h: whose memory it is. Every query has an arena under the root and every stateful operator one under the
// query; a Memory is the owner of such an arena. Bytes are counted by the arena alone, in resident pages.
//
// The protocol of growth: before an operator takes a large block it asks for Room. Where that is refused it spills what
// its own thread holds and asks again; where there is nothing left to spill it takes the block all the same (arenas are
// soft: the overrun is counted) and the query is asked to make room at its next batch boundary (run/query.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "alloc/neap.h"

namespace neap::engine {

class Memory {
 public:
  // Below `parent`'s arena, or below the root. The name is what telemetry shows. Throws Error(kMemory).
  Memory(Memory* parent, const std::string& name, size_t bound = NEAP_UNBOUNDED);
  ~Memory();  // every block must have been freed before: what is left goes at once with its arena
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Whether growth by so many bytes keeps all bounds up to the container's limit. Holds nothing.
  bool HasRoom(size_t bytes);

  void* Allocate(size_t bytes, size_t alignment = 64);  // throws Error(kMemory)
  static void Free(void* block) noexcept;

  // Gives the pages of freed blocks back to the kernel now; returns the bytes.
  size_t Purge() { return neap_arena_purge(arena_); }

  size_t Resident() const;  // of this arena alone
  size_t Charged() const;   // with all below
  size_t Peak() const;
  size_t Bound() const;
  neap_arena_stats_t Stats() const;
  neap_arena* arena() const { return arena_; }

 private:
  neap_arena* arena_;
};

// An array of plain values in a Memory. Growing keeps the values.
template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Array() = default;
  Array(Memory& memory, size_t size) : data_(static_cast<T*>(memory.Allocate(size * sizeof(T)))), size_(size) {}
  Array(Array&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Array() { Memory::Free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  void Reset() { *this = Array(); }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace neap::engine
