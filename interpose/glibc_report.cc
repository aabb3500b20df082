// glibc_report.cc: glibc's questions to an allocator (mallinfo, malloc_info, malloc_stats), answered from
// neap_ledger(), and its orders (malloc_trim, mallopt).
//
// glibc's words for the ledger: what is "in use" is live; what is "free" in the heap is cached and dirty; the "system"
// bytes are resident. A heap is an arena, its number the arena's id; what is no arena's is counted to heap 0, the root.
// neap has neither fast bins nor blocks outside its heap: those figures are true zeros.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>

#include <algorithm>

#include "alloc/heap.h"
#include "alloc/neap.h"
#include "alloc/size_classes.h"

namespace {

// Free chunks: as many blocks of a class as its cached bytes make, and dirty pages.
uint64_t FreeBlocks(const neap_ledger_row_t& row) { return row.block_size == 0 ? 0 : row.cached / row.block_size; }
uint64_t FreePages(const neap_ledger_row_t& row) { return row.dirty / neap::kPageSize; }
uint64_t FreeBytes(const neap_ledger_row_t& row) { return row.cached + row.dirty; }

template <class Visit>
void ForEachRow(Visit visit) {
  neap_ledger([](void* context, const neap_ledger_row_t* row) { (*static_cast<Visit*>(context))(*row); }, &visit);
}

// While it lives no other thread writes to the stream, and no cancellation cuts the text: writing is a point of it, and
// these functions are none.
class Whole {
 public:
  explicit Whole(FILE* stream) : stream_(stream) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    flockfile(stream_);
  }
  ~Whole() {
    funlockfile(stream_);
    pthread_setcancelstate(cancel_state_, nullptr);
  }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;

 private:
  FILE* stream_;
  int cancel_state_ = 0;
};

// ---- malloc_info.

// How many bytes of `text` are one character in UTF-8 that XML allows; 0: none. A name may have been cut inside one.
size_t CharacterBytes(const char* text) {
  const auto byte = [&](size_t i) { return uint32_t{static_cast<unsigned char>(text[i])}; };
  if (byte(0) < 0x80) return byte(0) >= ' ' ? 1 : 0;
  if (byte(0) < 0xc2 || byte(0) > 0xf4) return 0;
  const size_t bytes = byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  uint32_t code = byte(0) & (0x7f >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool too_long = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return too_long || surrogate || code == 0xfffe || code == 0xffff || code > 0x10ffff ? 0 : bytes;
}

void WriteName(FILE* stream, const char* name) {
  while (*name != 0) {
    const size_t bytes = CharacterBytes(name);
    if (bytes == 0) {
      fputc('?', stream);
    } else if (*name == '&' || *name == '<' || *name == '>' || *name == '"') {
      fprintf(stream, "&#%d;", *name);
    } else {
      fwrite(name, 1, bytes, stream);
    }
    name += std::max(bytes, size_t{1});
  }
}

void WriteFigures(FILE* stream, const neap_ledger_row_t& row) {
  fprintf(stream, " live=\"%lu\" requested=\"%lu\" cached=\"%lu\" dirty=\"%lu\" resident=\"%lu\"", row.live,
          row.requested, row.cached, row.dirty, row.resident);
}

void WriteTotals(FILE* stream, uint64_t count, uint64_t bytes) {
  fprintf(stream,
          "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
          "<total type=\"rest\" count=\"%lu\" size=\"%lu\"/>\n",
          count, bytes);
}

void WriteSystem(FILE* stream, uint64_t current, uint64_t most, uint64_t space) {
  fprintf(stream,
          "<system type=\"current\" size=\"%lu\"/>\n"
          "<system type=\"max\" size=\"%lu\"/>\n"
          "<aspace type=\"total\" size=\"%lu\"/>\n"
          "<aspace type=\"mprotect\" size=\"%lu\"/>\n",
          current, most, space, space);
}

// glibc's document, row by row: a heap with its free blocks by size for each arena, the sums over all heaps, and what
// glibc has no words for in elements of other names: `arena` in each heap, and at the end `neap`.
class Info {
 public:
  Info(FILE* stream, uint64_t space) : stream_(stream), space_(space) { fputs("<malloc version=\"1\">\n", stream_); }

  void Add(const neap_ledger_row_t& row) {
    switch (row.kind) {
      case NEAP_LEDGER_SHARED:
        shared_ = row;
        break;
      case NEAP_LEDGER_CLASS_OF_ARENA:
        BeginHeap(row.id);
        AddFreeBlocks(row);
        break;
      case NEAP_LEDGER_ARENA:
        BeginHeap(row.id);
        EndHeap(row);
        break;
      case NEAP_LEDGER_CLASS:
        BeginLedger();
        fprintf(stream_, "<class size=\"%lu\"", row.block_size);
        WriteFigures(stream_, row);
        fputs("/>\n", stream_);
        break;
      case NEAP_LEDGER_NODE:
        BeginLedger();
        fprintf(stream_, "<node id=\"%u\" dirty=\"%lu\" resident=\"%lu\"/>\n", row.id, row.dirty, row.resident);
        break;
      case NEAP_LEDGER_TOTAL:
        End(row);
        break;
    }
  }

 private:
  void BeginHeap(uint32_t number) {
    if (in_heap_) return;
    in_heap_ = true;
    count_ = 0;
    fprintf(stream_, "<heap nr=\"%u\">\n<sizes>\n", number);
  }
  void AddFreeBlocks(const neap_ledger_row_t& row) {
    const uint64_t blocks = FreeBlocks(row);
    if (blocks == 0) return;
    const size_t size_class = neap::ClassOf(row.block_size);
    const uint64_t smallest = size_class == 0 ? 1 : neap::kSizeClasses[size_class - 1].size + 1;
    fprintf(stream_, "  <size from=\"%lu\" to=\"%lu\" total=\"%lu\" count=\"%lu\"/>\n", smallest, row.block_size,
            blocks * row.block_size, blocks);
    count_ += blocks;
  }
  void EndHeap(const neap_ledger_row_t& arena) {
    in_heap_ = false;
    const bool is_root = arena.id == 0;
    uint64_t free = FreeBytes(arena), system = arena.resident;
    count_ += FreePages(arena);
    if (is_root) {
      free += FreeBytes(shared_);
      system += shared_.resident;
      count_ += FreePages(shared_);
    }
    all_count_ += count_;
    fputs("</sizes>\n", stream_);
    WriteTotals(stream_, count_, free);
    WriteSystem(stream_, system, std::max(system, arena.peak), is_root ? space_ : 0);
    fputs("<arena name=\"", stream_);
    WriteName(stream_, arena.name);
    fprintf(stream_, "\" parent=\"%u\"", arena.parent);
    WriteFigures(stream_, arena);
    fprintf(stream_, " charged=\"%lu\" peak=\"%lu\" overruns=\"%lu\"", arena.charged, arena.peak, arena.overruns);
    if (arena.bound != NEAP_UNBOUNDED) fprintf(stream_, " bound=\"%lu\"", arena.bound);
    fputs("/>\n</heap>\n", stream_);
  }
  void BeginLedger() {
    if (in_ledger_) return;
    in_ledger_ = true;
    fputs("<neap>\n", stream_);
  }
  void End(const neap_ledger_row_t& total) {
    fprintf(stream_, "<shared dirty=\"%lu\" metadata=\"%lu\"/>\n<ledger", shared_.dirty, shared_.metadata);
    WriteFigures(stream_, total);
    fprintf(stream_, " metadata=\"%lu\" foreign=\"%lu\" anon=\"%lu\" peak=\"%lu\" overruns=\"%lu\"/>\n</neap>\n",
            total.metadata, total.foreign, total.anon, total.peak, total.overruns);
    WriteTotals(stream_, all_count_, FreeBytes(total));
    fputs("<total type=\"mmap\" count=\"0\" size=\"0\"/>\n", stream_);
    WriteSystem(stream_, total.resident, total.peak, space_);
    fputs("</malloc>\n", stream_);
  }

  FILE* stream_;
  uint64_t space_;
  neap_ledger_row_t shared_ = {};
  bool in_heap_ = false, in_ledger_ = false;
  uint64_t count_ = 0, all_count_ = 0;  // free chunks of the heap, and of all
};

}  // namespace

#pragma GCC visibility push(default)

extern "C" {

int malloc_trim(size_t) noexcept { return neap::Trim() ? 1 : 0; }

// 1 for every parameter that glibc's manual names, in the range that it gives, 0 for all else. neap tunes itself by the
// limit: none of them changes anything.
int mallopt(int parameter, int value) noexcept {
  constexpr int kMxFastMax = 80 * static_cast<int>(sizeof(size_t)) / 4;
  constexpr int kMmapThresholdMax = 4 * 1024 * 1024 * static_cast<int>(sizeof(long));
  switch (parameter) {
    case M_MXFAST:
      return value >= 0 && value <= kMxFastMax;
    case M_MMAP_THRESHOLD:
      return value >= 0 && value <= kMmapThresholdMax;
    case M_NLBLKS:
    case M_GRAIN:
    case M_KEEP:
    case M_TRIM_THRESHOLD:
    case M_TOP_PAD:
    case M_MMAP_MAX:
    case M_CHECK_ACTION:
    case M_PERTURB:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
      return 1;
    default:
      return 0;
  }
}

struct mallinfo2 mallinfo2() noexcept {
  struct mallinfo2 info {};
  ForEachRow([&](const neap_ledger_row_t& row) {
    if (row.kind == NEAP_LEDGER_CLASS_OF_ARENA) info.ordblks += FreeBlocks(row);
    if (row.kind != NEAP_LEDGER_TOTAL) return;
    info.arena = row.live + FreeBytes(row);
    info.ordblks += FreePages(row);
    info.uordblks = row.live;
    info.fordblks = FreeBytes(row);
    info.keepcost = row.dirty;
  });
  return info;
}

// The older form, whose fields are int. A figure that does not fit is INT_MAX, and not the remainder that glibc leaves.
struct mallinfo mallinfo() noexcept {
  const struct mallinfo2 wide = mallinfo2();
  const auto narrow = [](size_t figure) { return static_cast<int>(std::min(figure, size_t{INT_MAX})); };
  struct mallinfo info {};
  info.arena = narrow(wide.arena);
  info.ordblks = narrow(wide.ordblks);
  info.uordblks = narrow(wide.uordblks);
  info.fordblks = narrow(wide.fordblks);
  info.keepcost = narrow(wide.keepcost);
  return info;
}

// glibc returns the error; its manual page says that errno holds it: both are done.
int malloc_info(int options, FILE* stream) noexcept {
  if (options != 0) return errno = EINVAL;
  neap_stats_t stats{};
  neap_stats(&stats);
  const Whole whole(stream);
  Info info(stream, stats.reserved_space);
  ForEachRow([&](const neap_ledger_row_t& row) { info.Add(row); });
  return 0;
}

void malloc_stats() noexcept {
  neap_stats_t stats{};
  neap_stats(&stats);
  const Whole whole(stderr);
  neap_ledger_row_t shared = {};
  const auto write = [](uint64_t system, uint64_t in_use) {
    fprintf(stderr, "system bytes     = %10lu\nin use bytes     = %10lu\n", system, in_use);
  };
  ForEachRow([&](const neap_ledger_row_t& row) {
    if (row.kind == NEAP_LEDGER_SHARED) shared = row;
    if (row.kind == NEAP_LEDGER_ARENA) {
      fprintf(stderr, "Arena %u:\n", row.id);
      write(row.resident + (row.id == 0 ? shared.resident : 0), row.live);
    }
    if (row.kind != NEAP_LEDGER_TOTAL) return;
    fputs("Total (incl. mmap):\n", stderr);
    write(row.resident, row.live);
    fprintf(stderr,
            "max mmap regions = %10u\n"
            "max mmap bytes   = %10lu\n"
            "neap: resident %lu = live %lu + cached %lu + dirty %lu + metadata %lu; peak %lu, given back %lu\n",
            0u, 0ul, row.resident, row.live, row.cached, row.dirty, row.metadata, row.peak, stats.released);
  });
}

}  // extern "C"

#pragma GCC visibility pop
