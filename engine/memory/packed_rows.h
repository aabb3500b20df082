// packed_rows.h: the rows of a block in memory: a list of entries in chunks of memory, each a batch in columns that are
// read in place, or a frame as in spill files, compressed and decoded as it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/core/type.h"
#include "engine/memory/memory.h"
#include "engine/memory/memory_manager.h"
#include "engine/run/operator.h"

namespace neap::engine {

// Memory of a list of entries. Chunks are of the allocator's own sizes, so that the books, which count chunks, are what
// is resident. Each is for about twice as many bytes as the one before, up to kLargest, and for whole entries of the
// size that it starts with, as the next ones will be like it.
class Chunks {
 public:
  static constexpr size_t kHead = 64;  // of a chunk, and of an entry
  static constexpr size_t kSmallest = size_t{4} << 10;
  static constexpr size_t kLargest = size_t{512} << 10;

  Chunks() = default;
  Chunks(Chunks&& other) noexcept { *this = std::move(other); }
  Chunks& operator=(Chunks&& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Chunks() { Free(); }

  // Room for an entry of so many bytes, aligned to 64; null where the last chunk has none.
  uint8_t* Append(size_t bytes);
  // How large a chunk for it should be, and how small it may be.
  size_t NextChunk(size_t entry_bytes) const;
  static size_t LeastChunk(size_t entry_bytes);
  void AddChunk(size_t bytes, Memory& memory);  // throws Error(kMemory)

  // To forget entries again.
  struct Mark;
  Mark End() const;
  size_t CutBack(const Mark& mark);  // returns the bytes of the chunks that it freed
  void Free();

  size_t bytes() const { return bytes_; }  // of all chunks

  // The entries in order.
  class Reader {
   public:
    explicit Reader(const Chunks& chunks) : chunk_(chunks.first_) {}
    // Null at the end.
    const uint8_t* Next(size_t& bytes);

   private:
    const struct Chunk* chunk_;
    size_t at_ = kHead;
  };

 private:
  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  size_t bytes_ = 0;
};

struct Chunk {
  Chunk* next;
  size_t bytes;
  size_t used;  // with the head
};
struct Chunks::Mark {
  Chunk* last;
  size_t used;
};

// Reads rows into memory as long as the memory manager grants unroll memory for them.
class Unroll {
 public:
  // deserialized: in columns, else in frames.
  Unroll(MemoryManager& manager, Task& task, DatasetId dataset, MemoryMode mode, bool deserialized,
         const std::vector<Type>& types);
  ~Unroll();  // frees and releases what was not taken

  // Copies the rows that count. False: there is no room, and none of them was.
  bool Add(const Batch& batch);
  // All that was added. Its bytes are still unroll memory (Chunks::bytes); Release or MemoryManager::UnrollToStorage.
  Chunks Take() { return std::move(rows_); }
  const Chunks& rows() const { return rows_; }
  void Release(Chunks rows);

 private:
  class FrameMaker;

  bool AddFrames(const Batch& batch);
  uint8_t* Grow(size_t entry_bytes);

  MemoryManager& manager_;
  Task& task_;
  const DatasetId dataset_;
  const MemoryMode mode_;
  Memory& memory_;
  std::unique_ptr<FrameMaker> frames_;  // null: in columns
  Chunks rows_;
};

// The rows again. The chunks outlive the cursor, and so do the types.
std::unique_ptr<Cursor> ReadChunks(const Chunks& rows, bool deserialized, const std::vector<Type>& types,
                                   Memory& memory);

}  // namespace neap::engine
