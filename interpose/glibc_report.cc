// glibc_report.cc: glibc's questions to an allocator (mallinfo, malloc_info, malloc_stats), answered from neap_stats(),
// and its orders (malloc_trim, mallopt).
//
// glibc's words for the ledger: what is "in use" is live; what is "free" in the heap is cached and dirty; the "system"
// bytes are resident. neap has neither fast bins nor blocks outside its heap: those figures are true zeros.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>

#include <algorithm>

#include "alloc/heap.h"
#include "alloc/neap.h"

namespace {

// The unit of what glibc counts as free chunks: free pages, and pages with free slots.
constexpr uint64_t kPage = 4096;

neap_stats_t Stats() {
  neap_stats_t stats{};
  neap_stats(&stats);
  return stats;
}

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
  const neap_stats_t stats = Stats();
  struct mallinfo2 info {};
  info.arena = stats.live + stats.cached + stats.dirty;
  info.ordblks = (stats.cached + stats.dirty) / kPage;
  info.uordblks = stats.live;
  info.fordblks = stats.cached + stats.dirty;
  info.keepcost = stats.dirty;
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
  const neap_stats_t stats = Stats();
  const unsigned long free_bytes = stats.cached + stats.dirty;
  const unsigned long free_count = free_bytes / kPage;
  const unsigned long system = stats.resident;
  const unsigned long peak = stats.peak_resident;
  const unsigned long space = stats.reserved_space;
  fprintf(stream,
          "<malloc version=\"1\">\n"
          "<heap nr=\"0\">\n"
          "<sizes>\n"
          "</sizes>\n"
          "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
          "<total type=\"rest\" count=\"%lu\" size=\"%lu\"/>\n"
          "<system type=\"current\" size=\"%lu\"/>\n"
          "<system type=\"max\" size=\"%lu\"/>\n"
          "<aspace type=\"total\" size=\"%lu\"/>\n"
          "<aspace type=\"mprotect\" size=\"%lu\"/>\n"
          "</heap>\n"
          "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
          "<total type=\"rest\" count=\"%lu\" size=\"%lu\"/>\n"
          "<total type=\"mmap\" count=\"0\" size=\"0\"/>\n"
          "<system type=\"current\" size=\"%lu\"/>\n"
          "<system type=\"max\" size=\"%lu\"/>\n"
          "<aspace type=\"total\" size=\"%lu\"/>\n"
          "<aspace type=\"mprotect\" size=\"%lu\"/>\n"
          "</malloc>\n",
          free_count, free_bytes, system, peak, space, space, free_count, free_bytes, system, peak, space, space);
  return 0;
}

void malloc_stats() noexcept {
  const neap_stats_t stats = Stats();
  const unsigned long system = stats.resident;
  const unsigned long live = stats.live;
  int cancel_state;  // writing to stderr is a cancellation point, this function is none
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
  fprintf(stderr,
          "Arena 0:\n"
          "system bytes     = %10lu\n"
          "in use bytes     = %10lu\n"
          "Total (incl. mmap):\n"
          "system bytes     = %10lu\n"
          "in use bytes     = %10lu\n"
          "max mmap regions = %10u\n"
          "max mmap bytes   = %10lu\n"
          "neap: resident %lu = live %lu + cached %lu + dirty %lu + metadata %lu; peak %lu, given back %lu\n",
          system, live, system, live, 0u, 0ul, system, live, static_cast<unsigned long>(stats.cached),
          static_cast<unsigned long>(stats.dirty), static_cast<unsigned long>(stats.metadata),
          static_cast<unsigned long>(stats.peak_resident), static_cast<unsigned long>(stats.released));
  pthread_setcancelstate(cancel_state, nullptr);
}

}  // extern "C"

#pragma GCC visibility pop
