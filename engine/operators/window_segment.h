// window_segment.h: sorted rows as a window function sees them: a segment at a time, which ends where nothing before
// depends on what comes after. A segment lies in memory or, where it does not fit, in a file that is read from several
// places at once.
//
// Rows are numbered from the first of all on. A row's columns are the PARTITION BY columns, the ORDER BY columns, what
// else is needed, and its flags.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"
#include "engine/rows/external_sort.h"
#include "engine/rows/row_store.h"
#include "engine/run/query.h"
#include "engine/spill/spill_file.h"

namespace neap::engine {

// Where a segment may end; each allows what those before it allow.
enum class WindowNeed : uint8_t {
  kRow,        // nothing but rows before
  kPeers,      // all rows that are equal in the order
  kPartition,  // the whole partition
};

// Of a row: it is the first of a partition, or of its peers.
constexpr uint8_t kStartsPartition = 1;
constexpr uint8_t kStartsPeers = 2;

struct WindowLayout {
  RowLayout rows;
  size_t partition_columns;
  size_t order_columns;

  size_t flags_column() const { return rows.columns() - 1; }
  uint8_t Flags(const uint8_t* row) const { return rows.Load<uint8_t>(row, flags_column()); }
};

// Addresses of rows in order.
class RowList {
 public:
  explicit RowList(Memory* memory) : memory_(memory) {}
  size_t size() const { return size_; }
  uint8_t* operator[](size_t i) const { return rows_[i]; }
  void Clear() { size_ = 0; }
  uint8_t** Extend(size_t count);  // the new ones, to be filled

 private:
  Memory* memory_;
  Array<uint8_t*> rows_;
  size_t size_ = 0;
};

struct WindowSegment {
  WindowSegment(const WindowLayout& layout, Memory& memory) : rows(&layout.rows, &memory), list(&memory) {}

  uint64_t first = 0;  // number of its first row
  uint64_t count = 0;
  RowStore rows;  // in memory
  RowList list;
  std::optional<SpillFile> file;  // or all of them here
};

// The segments of what a sort gives, on one thread.
class WindowInput {
 public:
  WindowInput(Query& query, Memory& memory, const WindowLayout& layout, WindowNeed need, ExternalSort& sort,
              OperatorFigures& figures);

  // The next segment, valid until the next call; null at the end.
  const WindowSegment* Next();

 private:
  void Flag(Batch& batch);
  void MarkChanges(const Batch& batch, size_t first, size_t count, uint8_t flag);
  void Keep(WindowSegment& segment, const Batch& batch, uint32_t begin, uint32_t end);
  void MakeRoom();
  void SpillSegment();

  Query& query_;
  Memory& memory_;
  const WindowLayout& layout_;
  const uint8_t boundary_;  // the flag of a row that starts a segment; 0: every row may
  ExternalSort& sort_;
  OperatorFigures& figures_;
  size_t growth_;  // bytes that a batch takes
  std::vector<uint32_t> columns_;
  std::vector<uint8_t> null_equals_;

  WindowSegment segment_, next_;
  RowStore last_;  // the last row so far
  uint8_t* last_row_ = nullptr;
  Array<uint8_t> flags_;  // of the rows of a batch
  Array<RowIndex> chosen_;
  bool at_end_ = false;
};

// Rows of a segment, from a place of its own: each call of At asks for a row not before the one that was asked for
// last, or for one that was asked for since the last Release.
class WindowReader {
 public:
  WindowReader(Memory& memory, const WindowLayout& layout);

  void Begin(const WindowSegment& segment);
  void End();

  const uint8_t* At(uint64_t number) {
    return segment_->file ? OnDisk(number) : segment_->list[number - segment_->first];
  }
  // Rows before `number` will not be asked for again.
  void Release(uint64_t number);

 private:
  // A batch of the file.
  struct Frame {
    Frame(const WindowLayout& layout, Memory& memory) : rows(&layout.rows, &memory), list(&memory) {}
    uint64_t first = 0;
    RowStore rows;
    RowList list;
  };

  const uint8_t* OnDisk(uint64_t number);

  Memory& memory_;
  const WindowLayout& layout_;
  const WindowSegment* segment_ = nullptr;
  std::optional<SpillFile::Reader> reader_;
  std::vector<uint32_t> columns_;  // all
  std::deque<Frame> frames_;
  uint64_t read_ = 0;  // number of the first row behind frames_
};

}  // namespace neap::engine
