// stats_page.cc: the writer of the page of statistics. Owned by the release thread; the exit and fork hooks call it
// too.
#include "alloc/stats_page.h"

#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <atomic>

#include "alloc/cpu_cache.h"
#include "alloc/os.h"
#include "alloc/stats_files.h"
#include "alloc/stats_history.h"

namespace neap {
namespace {

constexpr size_t kPathBytes = kStatsPathBytes;
constexpr uint64_t kNsPerMs = 1'000'000;
constexpr uint64_t kMsPerTables = 1'000;
// What every page has from the start: all up to the root arena's row.
constexpr size_t kFirstBytes = offsetof(StatsPage, tables.arena) + sizeof(StatsArena);

enum class State : uint32_t { kNone, kOpen, kFailed, kClosed };

struct Writer {
  std::atomic<State> state{State::kNone};
  std::atomic<bool> busy{false};
  StatsPage* page = nullptr;
  bool file_stays = false;
  char path[kPathBytes] = {};
};

Writer writer;

// Held by whoever writes the ledger. Not waited for: a thread of the parent may have held it at fork, and an update
// that is skipped is made good by the next.
class Update {
 public:
  Update() : held_(!writer.busy.exchange(true, std::memory_order_acquire)) {}
  ~Update() {
    if (held_) writer.busy.store(false, std::memory_order_release);
  }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;
  bool Allowed() const { return held_ && writer.state.load(std::memory_order_acquire) == State::kOpen; }

 private:
  bool held_;
};

// While it lives, readers see an odd sequence.
class Revision {
 public:
  explicit Revision(StatsPage* page) : sequence_(page->sequence), value_(sequence_.load(std::memory_order_relaxed)) {
    sequence_.store(value_ | 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
  }
  ~Revision() { sequence_.store((value_ | 1) + 1, std::memory_order_release); }
  Revision(const Revision&) = delete;
  Revision& operator=(const Revision&) = delete;

 private:
  std::atomic_ref<uint32_t> sequence_;
  uint32_t value_;
};

void CopyText(char* to, size_t size, std::string_view from) {
  const size_t length = from.copy(to, size - 1);
  memset(to + length, 0, size - length);
}

// Appends to a text of `used` bytes in a buffer of kPathBytes; what does not fit makes the path useless, so it is
// refused.
struct PathBuilder {
  char* text;
  size_t used = 0;
  bool fits = true;

  void Add(const char* part, size_t length) {
    if (length >= kPathBytes - used) {
      fits = false;
      return;
    }
    memcpy(text + used, part, length);
    used += length;
    text[used] = 0;
  }
  void AddNumber(uint64_t number) {
    char digits[21];
    size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    digits[--at] = '.';
    Add(digits + at, sizeof digits - at);
  }
};

void ReadCommand(char* to, size_t size) {
  long length = Os::ReadFile("/proc/self/cmdline", to, size);
  if (length < 0) length = 0;
  while (length > 0 && to[length - 1] == 0) --length;
  for (long i = 0; i < length; ++i) {
    if (to[i] == 0) to[i] = ' ';
  }
  memset(to + length, 0, size - static_cast<size_t>(length));
}

bool BuildPath(const char* prefix, const ProcessImage& process) {
  PathBuilder path{writer.path};
  path.Add(prefix, strnlen(prefix, kPathBytes));
  path.AddNumber(process.pid);
  path.AddNumber(process.start_time);
  return path.fits;
}

void RaiseTo(uint64_t& peak, uint64_t value) {
  if (value > peak) peak = value;
}

void RaisePeaks(LedgerPeaks& peak, const Ledger& ledger) {
  RaiseTo(peak.live, ledger.live);
  RaiseTo(peak.cached, ledger.cached);
  RaiseTo(peak.dirty, ledger.dirty);
  RaiseTo(peak.metadata, ledger.metadata);
  RaiseTo(peak.resident, ledger.Resident());
  RaiseTo(peak.foreign, ledger.foreign);
  RaiseTo(peak.anon, ledger.anon);
  RaiseTo(peak.cgroup_used, ledger.cgroup_used);
  if (ledger.headroom < peak.lowest_headroom) peak.lowest_headroom = ledger.headroom;
}

void RetirePage() {
  std::atomic_ref(writer.page->exited).store(1, std::memory_order_release);
  if (!writer.file_stays) RemovePage(writer.path);
}

StatsPage* OpenPage() { return writer.state.load(std::memory_order_acquire) == State::kOpen ? writer.page : nullptr; }

// A page where a prefix asks for it, and where that cannot be had (the process changed its user or its root) the
// default.
bool MapPage(const char* prefix, const ProcessImage& process) {
  auto map = [] { return static_cast<StatsPage*>(Os::MapSharedFile(writer.path, sizeof(StatsPage), kFirstBytes)); };
  if (prefix != nullptr && *prefix != 0 && BuildPath(prefix, process)) {
    writer.page = map();
    writer.file_stays = writer.page != nullptr;
  }
  if (writer.page == nullptr && BuildPath(kStatsDefaultPrefix, process)) {
    RemoveDeadPages(kStatsDefaultPrefix, process, Os::RealtimeNs() / kNsPerMs);
    writer.page = map();
  }
  return writer.page != nullptr;
}

}  // namespace

bool OpenStatsPage(const char* prefix) {
  State state = writer.state.load(std::memory_order_acquire);
  if (state != State::kNone) return state == State::kOpen;
  if (CpuCaches::InVforkChild()) return false;  // the parent's memory, and not the parent's pid
  bool idle = false;
  if (!writer.busy.compare_exchange_strong(idle, true, std::memory_order_acquire)) return false;

  State result = State::kFailed;
  const ProcessImage process = ProcessImage::Own();
  bool refused = prefix != nullptr && strcmp(prefix, "0") == 0;
  if (!refused && MapPage(prefix, process)) {
    StatsPage& page = *writer.page;
    page.size = sizeof(StatsPage);
    page.pid = process.pid;
    page.start_time = process.start_time;
    page.stack = process.stack;
    page.pid_namespace = process.pid_namespace;
    page.start_ms = page.update_ms = Os::RealtimeNs() / kNsPerMs;
    CopyText(page.version, sizeof page.version, NEAP_VERSION);
    ReadCommand(page.command, sizeof page.command);
    page.now.limit = page.now.headroom = page.peak.lowest_headroom = UINT64_MAX;
    // Last: a reader that sees the magic sees the rest.
    std::atomic_ref(page.magic).store(kStatsMagic, std::memory_order_release);
    result = State::kOpen;
  }
  state = State::kNone;
  bool entered = writer.state.compare_exchange_strong(state, result, std::memory_order_release);
  if (!entered && writer.page != nullptr) RetirePage();  // CloseStatsPage came in between
  writer.busy.store(false, std::memory_order_release);
  return entered && result == State::kOpen;
}

bool StatsPath(char* path) {
  if (OpenPage() == nullptr) return false;
  memcpy(path, writer.path, strlen(writer.path) + 1);
  return true;
}

void PublishCgroup(std::string_view path) {
  Update update;
  if (!update.Allowed()) return;
  Revision revision(writer.page);
  CopyText(writer.page->cgroup, sizeof writer.page->cgroup, path);
}

void PublishLedger(const Ledger& ledger, uint64_t now_ns) {
  Update update;
  if (!update.Allowed()) return;
  StatsPage& page = *writer.page;
  Revision revision(&page);
  page.update_ms = now_ns / kNsPerMs;
  AddEvents(page, page.now, ledger, page.update_ms);
  page.now = ledger;
  RaisePeaks(page.peak, ledger);
  AddSample(page, ledger, page.update_ms);
}

bool TablesAreDue(uint64_t now_ns) {
  const StatsPage* page = OpenPage();
  if (page == nullptr) return false;
  const uint64_t now_ms = now_ns / kNsPerMs;
  return now_ms < page->tables_ms || now_ms - page->tables_ms >= kMsPerTables;
}

void PublishTables(void (*read)(StatsTables&), size_t arenas, uint64_t now_ns) {
  Update update;
  if (!update.Allowed()) return;
  const size_t rows = std::min<size_t>(arenas, kStatsArenas);
  if (!Os::Populate(writer.page->tables.arena, rows * sizeof(StatsArena))) return;
  Revision revision(writer.page);
  read(writer.page->tables);
  writer.page->tables_ms = now_ns / kNsPerMs;
}

void PublishForeign(const StatsForeign& parts) {
  Update update;
  if (!update.Allowed()) return;
  Revision revision(writer.page);
  AddForeign(*writer.page, parts);
}

uint32_t* Doorbell() {
  StatsPage* page = OpenPage();
  return page == nullptr ? nullptr : &page->doorbell;
}

bool ShrinkRequested(uint64_t* target, uint32_t* number) {
  StatsPage* page = OpenPage();
  if (page == nullptr) return false;
  *number = std::atomic_ref(page->shrink_request).load(std::memory_order_acquire);
  *target = std::atomic_ref(page->shrink_target).load(std::memory_order_relaxed);
  return *number != std::atomic_ref(page->shrink_done).load(std::memory_order_relaxed);
}

void AnswerShrink(uint32_t number, uint64_t freed) {
  StatsPage* page = OpenPage();
  if (page == nullptr) return;
  std::atomic_ref(page->shrink_freed).store(freed, std::memory_order_relaxed);
  std::atomic_ref(page->shrink_done).store(number, std::memory_order_release);
  Os::FutexWake(&page->shrink_done, INT32_MAX, true);
}

uint64_t TakeProfileOrder() {
  StatsPage* page = OpenPage();
  return page == nullptr ? 0 : std::atomic_ref(page->profile_request).exchange(0, std::memory_order_acquire);
}

// The page stays mapped: the release thread may be in the middle of an update.
void CloseStatsPage() {
  if (CpuCaches::InVforkChild()) return;
  State before = writer.state.exchange(State::kClosed, std::memory_order_acq_rel);
  if (before == State::kOpen) RetirePage();
}

void ForgetStatsPage() {
  if (writer.page != nullptr) Os::Unmap(writer.page, sizeof(StatsPage));
  writer.page = nullptr;
  writer.file_stays = false;
  writer.busy.store(false, std::memory_order_relaxed);
  writer.state.store(State::kNone, std::memory_order_release);
}

}  // namespace neap
