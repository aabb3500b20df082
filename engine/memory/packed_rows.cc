// packed_rows.cc: chunks made and read.
#include "engine/memory/packed_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "engine/memory/arrow_pool.h"
#include "engine/memory/packed_batch.h"
#include "engine/spill/frame.h"

namespace neap::engine {

// ---- Chunks.

namespace {

// The allocator has eight sizes to each doubling up to 256 KiB, and whole pages beyond.
size_t BlockSize(size_t bytes) {
  constexpr size_t kPage = 4096, kSlabMax = size_t{256} << 10;
  const size_t step = bytes > kSlabMax ? kPage : std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

size_t WithHead(size_t entry_bytes) { return (Chunks::kHead + entry_bytes + 63) & ~size_t{63}; }

}  // namespace

uint8_t* Chunks::Append(size_t bytes) {
  if (last_ == nullptr || last_->bytes - last_->used < WithHead(bytes)) return nullptr;
  uint8_t* head = reinterpret_cast<uint8_t*>(last_) + last_->used;
  std::memcpy(head, &bytes, sizeof bytes);
  last_->used += WithHead(bytes);
  return head + kHead;
}

size_t Chunks::LeastChunk(size_t entry_bytes) { return std::max(BlockSize(kHead + WithHead(entry_bytes)), kSmallest); }

size_t Chunks::NextChunk(size_t entry_bytes) const {
  const size_t twice = last_ == nullptr ? kSmallest : std::min(2 * last_->bytes, kLargest);
  const size_t entries = std::max<size_t>(1, (twice - kHead) / WithHead(entry_bytes));
  return std::max(BlockSize(kHead + entries * WithHead(entry_bytes)), kSmallest);
}

void Chunks::AddChunk(size_t bytes, Memory& memory) {
  auto* chunk = new (memory.Allocate(bytes)) Chunk{nullptr, bytes, kHead};
  (last_ == nullptr ? first_ : last_->next) = chunk;
  last_ = chunk;
  bytes_ += bytes;
}

Chunks::Mark Chunks::End() const { return {last_, last_ == nullptr ? 0 : last_->used}; }

size_t Chunks::CutBack(const Mark& mark) {
  Chunk* beyond = mark.last == nullptr ? std::exchange(first_, nullptr) : std::exchange(mark.last->next, nullptr);
  if (mark.last != nullptr) mark.last->used = mark.used;
  last_ = mark.last;
  size_t freed = 0;
  while (beyond != nullptr) {
    freed += beyond->bytes;
    Memory::Free(std::exchange(beyond, beyond->next));
  }
  bytes_ -= freed;
  return freed;
}

void Chunks::Free() { CutBack({nullptr, 0}); }

const uint8_t* Chunks::Reader::Next(size_t& bytes) {
  while (chunk_ != nullptr && at_ == chunk_->used) {
    chunk_ = chunk_->next;
    at_ = kHead;
  }
  if (chunk_ == nullptr) return nullptr;
  const uint8_t* head = reinterpret_cast<const uint8_t*>(chunk_) + at_;
  std::memcpy(&bytes, head, sizeof bytes);
  at_ += WithHead(bytes);
  return head + kHead;
}

// ---- Unroll.

class Unroll::FrameMaker {
 public:
  FrameMaker(const std::vector<Type>& types, Memory& memory)
      : types_(types), pool_(memory), schema_(FrameSchema(types_)), writer_(types_, memory, pool_) {}

  // The next frame of the batch, from its `done`th row that counts on.
  FrameWriter::Bytes Next(const Batch& batch, uint32_t& done) {
    done += writer_.Append(batch, done);
    return writer_.Encode(schema_, 0);
  }

 private:
  const std::vector<Type> types_;
  ArrowPool pool_;
  std::shared_ptr<arrow::Schema> schema_;
  FrameWriter writer_;
};

Unroll::Unroll(MemoryManager& manager, Task& task, DatasetId dataset, MemoryMode mode, bool deserialized,
               const std::vector<Type>& types)
    : manager_(manager), task_(task), dataset_(dataset), mode_(mode), memory_(manager.storage_memory(mode)) {
  if (!deserialized) frames_ = std::make_unique<FrameMaker>(types, memory_);
}

Unroll::~Unroll() { Release(std::move(rows_)); }

void Unroll::Release(Chunks rows) {
  const size_t bytes = rows.bytes();
  rows.Free();
  manager_.ReleaseUnroll(task_, bytes, mode_);
}

// Room for an entry; null where memory is not granted.
uint8_t* Unroll::Grow(size_t entry_bytes) {
  if (uint8_t* room = rows_.Append(entry_bytes)) return room;
  size_t bytes = rows_.NextChunk(entry_bytes);
  if (!manager_.AcquireUnroll(task_, dataset_, bytes, mode_)) {
    if (bytes == Chunks::LeastChunk(entry_bytes)) return nullptr;
    bytes = Chunks::LeastChunk(entry_bytes);
    if (!manager_.AcquireUnroll(task_, dataset_, bytes, mode_)) return nullptr;
  }
  rows_.AddChunk(bytes, memory_);
  return rows_.Append(entry_bytes);
}

bool Unroll::Add(const Batch& batch) {
  if (batch.selected == 0) return true;
  if (frames_ != nullptr) return AddFrames(batch);
  uint8_t* room = Grow(PackedSize(batch));
  if (room == nullptr) return false;
  Pack(batch, room);
  return true;
}

bool Unroll::AddFrames(const Batch& batch) {
  const Chunks::Mark before = rows_.End();
  for (uint32_t done = 0; done < batch.selected;) {
    const FrameWriter::Bytes frame = frames_->Next(batch, done);
    uint8_t* room = Grow(frame.size);
    if (room == nullptr) {
      manager_.ReleaseUnroll(task_, rows_.CutBack(before), mode_);
      return false;
    }
    std::memcpy(room, frame.data, frame.size);
  }
  return true;
}

// ---- Reading.

namespace {

class ColumnsCursor : public Cursor {
 public:
  explicit ColumnsCursor(const Chunks& rows) : reader_(rows) {}
  bool Next(Batch& batch) override {
    size_t bytes;
    const uint8_t* entry = reader_.Next(bytes);
    if (entry == nullptr) return false;
    reinterpret_cast<const PackedBatch*>(entry)->Read(batch);
    return true;
  }

 private:
  Chunks::Reader reader_;
};

class FramesCursor : public Cursor {
 public:
  FramesCursor(const Chunks& rows, const std::vector<Type>& types, Memory& memory)
      : reader_(rows), pool_(memory), schema_(FrameSchema(types)), decoder_(types, memory, pool_) {}
  bool Next(Batch& batch) override {
    size_t bytes;
    const uint8_t* entry = reader_.Next(bytes);
    if (entry == nullptr) return false;
    decoder_.Decode(schema_, entry, bytes, batch);
    return true;
  }

 private:
  Chunks::Reader reader_;
  ArrowPool pool_;
  std::shared_ptr<arrow::Schema> schema_;
  FrameReader decoder_;
};

}  // namespace

std::unique_ptr<Cursor> ReadChunks(const Chunks& rows, bool deserialized, const std::vector<Type>& types,
                                   Memory& memory) {
  if (deserialized) return std::make_unique<ColumnsCursor>(rows);
  return std::make_unique<FramesCursor>(rows, types, memory);
}

}  // namespace neap::engine
