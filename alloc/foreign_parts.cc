// foreign_parts.cc: see foreign_parts.h.
//
// A mapping is a thread's stack if the head of that thread's list of robust mutexes lies in it: both C libraries keep
// it in the thread's descriptor, on top of its stack.
//
// A JVM maps a file hsperfdata_USER/PID with its counters. Its heap is a piece of address space as long as the counters
// say that it may become, of which parts are committed and parts may be of its archive of classes: neighbouring private
// mappings whose lengths add up to that.
// Of its metaspace the counters tell the size and not the place.
#include "alloc/foreign_parts.h"

#include <string.h>

#include <algorithm>
#include <atomic>

#include "alloc/ledger.h"
#include "alloc/mapping.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/page_map.h"

namespace neap {
namespace {

constexpr uint64_t kLeastMs = 900, kLeastMsWhenShort = 200;  // the thread comes once a second, or four times
constexpr uint64_t kShare = 1'000, kShareWhenShort = 100;
constexpr size_t kMostThreads = 4096;  // stacks of further ones count as other memory
constexpr size_t kPerfDataBytes = 32 << 10;

constinit uint64_t g_read_ms = 0, g_cost_ns = 0;
constinit std::atomic<int64_t> g_beyond{0};
constinit uint64_t g_threads[kMostThreads] = {};  // an address in each stack
alignas(8) constinit char g_perf_data[kPerfDataBytes] = {};

// ---- The counters of a JVM.

struct JavaFigures {
  uint64_t heap[3] = {};  // how long the heap's address space may be
  uint64_t metaspace = 0;
};

template <class T>
T PerfValue(size_t at) {
  T value = {};
  if (at <= kPerfDataBytes - sizeof value) memcpy(&value, g_perf_data + at, sizeof value);
  return value;
}

// HotSpot's perfMemory.hpp and perfData.hpp: a prologue whose words at 24 and 28 are where the entries begin and how
// many there are; of an entry the words are its length and where its name is, at 12 its type, at 16 where its value is.
JavaFigures ReadPerfData(uint64_t address, uint64_t bytes) {
  JavaFigures java;
  memset(g_perf_data, 0, sizeof g_perf_data);
  if (!Os::ReadMemory(reinterpret_cast<const void*>(address), g_perf_data, std::min<size_t>(bytes, kPerfDataBytes))) {
    return java;
  }
  if (memcmp(g_perf_data, "\xca\xfe\xc0\xc0", 4) != 0) return java;
  uint64_t generation[2] = {};
  size_t at = PerfValue<uint32_t>(24);
  for (uint32_t i = PerfValue<uint32_t>(28); i > 0 && at < kPerfDataBytes; --i) {
    const size_t length = PerfValue<uint32_t>(at);
    const size_t name_at = at + PerfValue<uint32_t>(at + 4);
    if (length == 0 || name_at >= kPerfDataBytes) break;
    const char* name = g_perf_data + name_at;
    const auto is = [&](const char* wanted) { return strncmp(name, wanted, kPerfDataBytes - name_at) == 0; };
    const auto value = PerfValue<uint64_t>(at + PerfValue<uint32_t>(at + 16));
    if (is("sun.gc.generation.0.maxCapacity")) generation[0] = value;
    if (is("sun.gc.generation.1.maxCapacity")) generation[1] = value;
    if (is("sun.gc.metaspace.capacity")) java.metaspace = value;
    at += length;
  }
  // G1 says the whole of both, and pads it by some bytes; the others say their parts.
  const auto pages = [](uint64_t figure) { return figure & ~(kPageSize - 1); };
  java.heap[0] = pages(generation[0]);
  java.heap[1] = pages(generation[1]);
  java.heap[2] = pages(generation[0] + generation[1]);
  return java;
}

JavaFigures ReadJava() {
  JavaFigures java;
  Os::ForEachLine(
      "/proc/self/maps",
      [](void* context, const char* line) {
        if (strstr(line, "/hsperfdata_") == nullptr) return true;
        const Mapping mapping = Mapping::Of(line);
        *static_cast<JavaFigures*>(context) = ReadPerfData(mapping.begin, mapping.end - mapping.begin);
        return false;
      },
      &java);
  return java;
}

// ---- The mappings.

class Reader {
 public:
  Reader(StatsForeign& parts, const JavaFigures& java) : parts_(parts), java_(java) {
    Os::ForEachThread(
        [](void* reader, uint64_t robust_list) {
          auto* self = static_cast<Reader*>(reader);
          ++self->parts_.threads;
          if (self->threads_ < kMostThreads) g_threads[self->threads_++] = robust_list;
        },
        this);
    std::sort(g_threads, g_threads + threads_);
  }

  void Visit(const char* line) {
    if (*line < 'A' || *line > 'Z') return Begin(Mapping::Of(line));
    uint64_t bytes = 0;
    if (Takes(line, "Anonymous:", bytes)) {
      anonymous_ += bytes;
      Part(here_) += bytes;
      if (is_ours_) ours_ += bytes;
      CloseRun();
    } else if (Takes(line, "Rss:", bytes)) {
      (is_shared_memory_ ? parts_.shared : parts_.mapped) += is_file_ ? bytes : 0;
    }
  }

  void Finish() {
    // They may have changed while the mappings were read: what they were at no moment of it is not taken for unwritten.
    const uint64_t blocks = BlockBytes();
    const uint64_t less = std::min(blocks_before_, blocks), more = std::max(blocks_before_, blocks);
    const int64_t beyond = static_cast<int64_t>(ours_) - static_cast<int64_t>(std::clamp(ours_, less, more));
    g_beyond.store(beyond, std::memory_order_relaxed);
    const uint64_t own = ours_ + Metadata::ResidentBytes();
    const uint64_t foreign = anonymous_ > own ? anonymous_ - own : 0;
    uint64_t known = 0;
    for (uint32_t i = 0; i < static_cast<uint32_t>(ForeignPart::kOther); ++i) known += parts_.part[i];
    uint64_t& other = Part(ForeignPart::kOther);
    other = foreign > known ? foreign - known : 0;
    // Of the metaspace only the size is known.
    Part(ForeignPart::kJavaMetaspace) = std::min(java_.metaspace, other);
    other -= Part(ForeignPart::kJavaMetaspace);
  }

  bool any() const { return end_ != 0; }

 private:
  static constexpr size_t kStarts = 64;  // of the mappings of one run that are looked back to

  static bool Takes(const char* line, const char* name, uint64_t& bytes) {
    const size_t length = strlen(name);
    if (strncmp(line, name, length) != 0) return false;
    line += length;
    while (*line == ' ') ++line;
    for (; *line >= '0' && *line <= '9'; ++line) bytes = bytes * 10 + static_cast<uint64_t>(*line - '0');
    bytes *= 1024;
    return true;
  }

  static uint64_t BlockBytes() { return ResidentBytes() - Metadata::ResidentBytes(); }

  uint64_t& Part(ForeignPart part) { return parts_.part[static_cast<uint32_t>(part)]; }

  bool HoldsThread(const Mapping& mapping) const {
    const uint64_t* first = std::lower_bound(g_threads, g_threads + threads_, mapping.begin);
    return first != g_threads + threads_ && *first < mapping.end;
  }

  ForeignPart PartOf(const Mapping& mapping) const {
    if (PageMap::InWindow(reinterpret_cast<const void*>(mapping.begin))) return ForeignPart::kOther;
    if (strncmp(mapping.path, "[stack", 6) == 0) return ForeignPart::kStacks;
    if (strcmp(mapping.path, "[heap]") == 0) return ForeignPart::kBrk;
    if (*mapping.path == '/') return ForeignPart::kFiles;
    if (HoldsThread(mapping)) return ForeignPart::kStacks;
    return mapping.access[2] == 'x' ? ForeignPart::kCode : ForeignPart::kOther;
  }

  void Begin(const Mapping& mapping) {
    here_ = PartOf(mapping);
    is_ours_ = PageMap::InWindow(reinterpret_cast<const void*>(mapping.begin));
    is_file_ = *mapping.path == '/';
    is_shared_memory_ = is_file_ && mapping.access[3] == 's' &&
                        (strncmp(mapping.path, "/dev/shm/", 9) == 0 || strncmp(mapping.path, "/memfd:", 7) == 0 ||
                         strncmp(mapping.path, "/SYSV", 5) == 0 || strncmp(mapping.path, "/dev/zero", 9) == 0);
    if (mapping.begin != end_ || mapping.access[3] != 'p') starts_ = 0;
    if (starts_ < kStarts) start_[starts_++] = {mapping.begin, anonymous_, Part(ForeignPart::kFiles)};
    end_ = mapping.end;
  }

  // Whether the run so far ends with a Java heap.
  void CloseRun() {
    for (size_t i = 0; i < starts_; ++i) {
      const uint64_t length = end_ - start_[i].address;
      if (length == 0 || std::find(java_.heap, std::end(java_.heap), length) == std::end(java_.heap)) continue;
      Part(ForeignPart::kJavaHeap) += anonymous_ - start_[i].anonymous;
      Part(ForeignPart::kFiles) = start_[i].files;
      starts_ = 0;
      return;
    }
  }

  StatsForeign& parts_;
  const JavaFigures& java_;
  size_t threads_ = 0;
  uint64_t ours_ = 0;  // of the mappings that blocks lie in
  const uint64_t blocks_before_ = BlockBytes();
  ForeignPart here_ = ForeignPart::kOther;
  bool is_file_ = false, is_shared_memory_ = false, is_ours_ = false;
  uint64_t end_ = 0;        // of the mapping
  uint64_t anonymous_ = 0;  // of all so far
  struct {
    uint64_t address, anonymous, files;  // of the mappings before it
  } start_[kStarts] = {};
  size_t starts_ = 0;
};

}  // namespace

bool ForeignParts::AreDue(uint64_t now_ms, uint32_t level) {
  if (g_read_ms == 0) g_read_ms = now_ms;  // short processes are spared it
  const uint64_t rest_ms = g_cost_ns * (level > 0 ? kShareWhenShort : kShare) / 1'000'000;
  return now_ms < g_read_ms || now_ms - g_read_ms >= std::max(level > 0 ? kLeastMsWhenShort : kLeastMs, rest_ms);
}

bool ForeignParts::Read(uint64_t now_ms, StatsForeign& parts) {
  const uint64_t begin = Os::ThreadCpuNs();
  parts = {};
  parts.time_ms = now_ms;
  const JavaFigures java = ReadJava();
  Reader reader(parts, java);
  Os::ForEachLine(
      "/proc/self/smaps",
      [](void* context, const char* line) {
        static_cast<Reader*>(context)->Visit(line);
        return true;
      },
      &reader);
  reader.Finish();
  g_read_ms = now_ms;
  g_cost_ns = Os::ThreadCpuNs() - begin;
  return reader.any();
}

int64_t ForeignParts::BeyondLedger() { return g_beyond.load(std::memory_order_relaxed); }

void ForeignParts::ForgetInChild() { g_read_ms = g_cost_ns = 0; }

}  // namespace neap
