// stats_page.h: the page of statistics that each process on neap keeps in shared memory: its layout, and the interface
// of its writer (stats_page.cc), which the release thread calls. The process alone writes the ledger; `neap` reads the
// page from outside, also after a SIGKILL, and writes only the order of `neap shrink`.
//
// The page's file is PREFIX.PID.STARTTIME. NEAP_STATS names the prefix (`neap run` sets it) and then the file stays for
// its reader; the default is /dev/shm/neap: a normal exit removes the file, and stats_files.h says which others go. PID
// is as the process itself sees it.
//
// The file is as long as StatsPage, but only what is used of it takes memory.
//
// A reader takes `sequence` before and after copying and tries again if it was odd or changed; a page whose writer died
// in the middle of an update keeps an odd sequence for ever, and is then taken as it is.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>

#include "alloc/size_classes.h"

namespace neap {

inline constexpr uint64_t kStatsMagic = 0x5041'454e'0000'0006;  // "NEAP" and the layout's version
inline constexpr uint32_t kStatsSeconds = 600;
inline constexpr uint32_t kStatsTens = 360;
inline constexpr uint32_t kStatsEvents = 256;
inline constexpr uint32_t kStatsForeign = 360;
inline constexpr uint32_t kStatsArenas = 64;
inline constexpr uint32_t kStatsNodes = 8;
inline constexpr char kStatsDefaultPrefix[] = "/dev/shm/neap";

// Why everything without a live block was given back at once.
enum class PurgeCause : uint32_t {
  kLimit,     // headroom was short
  kCalled,    // neap_purge, malloc_trim
  kOrdered,   // neap shrink
  kNoMemory,  // the kernel had none, or no address space
};
inline constexpr uint32_t kPurgeCauses = 4;

// One reading of the ledger. Bytes, unless said otherwise.
struct Ledger {
  uint64_t live;
  uint64_t cached;
  uint64_t dirty;
  uint64_t metadata;
  uint64_t foreign;               // 0 until the first reading of the kernel's figures
  uint64_t anon;                  // of the process, from the kernel
  uint64_t limit;                 // UINT64_MAX: none
  uint64_t headroom;              // UINT64_MAX: no limit
  uint64_t cgroup_used;           // what the kernel could not reclaim in the cgroup that binds
  uint64_t released;              // since the start
  uint64_t regret;                // since the start
  uint64_t purges[kPurgeCauses];  // synchronous ones, since the start
  uint64_t purged[kPurgeCauses];  // bytes that they gave back
  uint64_t callbacks;             // consumers asked to free memory, since the start
  uint64_t wanted;                // bytes that they were asked for
  uint64_t foreign_purges;        // calls to other allocators to give back, since the start
  uint64_t foreign_purged;        // bytes by which foreign memory fell in them
  uint64_t limit_changes;         // since the start
  uint64_t overruns;              // soft allocations past a bound, since the start
  uint32_t level;                 // 0 ample, 1 low, 2 critical
  uint32_t arenas;
  uint32_t stall_permille;  // share of the time in which a task of that cgroup waited for memory; 0 on cgroup v1
  uint32_t decay_ms;        // how long a dirty page is kept

  uint64_t Resident() const { return live + cached + dirty + metadata; }
};

// The highest of each figure since the start, over the readings that were published.
struct LedgerPeaks {
  uint64_t live, cached, dirty, metadata, resident, foreign, anon, cgroup_used;
  uint64_t lowest_headroom;  // UINT64_MAX: never a limit
};

// What the history keeps of a reading.
struct StatsSample {
  uint64_t time_ms;  // CLOCK_REALTIME
  uint64_t live, cached, dirty, metadata, foreign, anon, limit, headroom, cgroup_used, released, regret;
  uint32_t level, stall_permille, decay_ms;

  uint64_t Resident() const { return live + cached + dirty + metadata; }
  // The process's own: the kernel's figure may be an older one.
  uint64_t Anon() const { return anon > Resident() ? anon : Resident(); }
};

inline StatsSample SampleOf(const Ledger& ledger, uint64_t time_ms) {
  return {.time_ms = time_ms,
          .live = ledger.live,
          .cached = ledger.cached,
          .dirty = ledger.dirty,
          .metadata = ledger.metadata,
          .foreign = ledger.foreign,
          .anon = ledger.anon,
          .limit = ledger.limit,
          .headroom = ledger.headroom,
          .cgroup_used = ledger.cgroup_used,
          .released = ledger.released,
          .regret = ledger.regret,
          .level = ledger.level,
          .stall_permille = ledger.stall_permille,
          .decay_ms = ledger.decay_ms};
}

// A ring: `next` counts all that were ever put in; the last is of[(next - 1) % kCount].
template <class T, uint32_t kCount>
struct StatsRing {
  uint32_t next;
  T of[kCount];

  uint32_t size() const { return next < kCount ? next : kCount; }
  // 0: the oldest that is left.
  const T& at(uint32_t i) const { return of[(next - size() + i) % kCount]; }
};

enum class StatsEventKind : uint32_t {
  kLimit,    // the limit changed: from, to
  kLevel,    // of pressure: from, to
  kPurge,    // bytes given back; `cause` is a PurgeCause
  kAsked,    // consumers were asked for so many bytes
  kForeign,  // bytes that other allocators gave back when they were told to
};

// Two of a kind and cause within a second are one.
struct StatsEvent {
  uint64_t time_ms;  // CLOCK_REALTIME, of the first
  StatsEventKind kind;
  uint32_t cause;
  uint64_t count;
  uint64_t from;   // 0 where it has none
  uint64_t value;  // to, or the bytes of all
};

// Of all arenas; `live` leaves out what the CPUs' caches and the quarantine hold.
struct StatsClass {
  uint64_t live, resident, dirty;
  uint64_t requested;  // what the program asked for of `live`, estimated from a sample of requests
};

struct StatsArena {
  char name[48];  // cut
  uint32_t id, parent;
  uint64_t live, cached, dirty;             // this arena alone
  uint64_t charged, peak, bound, overruns;  // with all below; UINT64_MAX: no bound
};

struct StatsNode {
  uint64_t resident, dirty;  // of slabs and of free runs; larger blocks are where they were touched
};

// Where the memory is: read about once a second.
struct StatsTables {
  uint32_t arenas, nodes;               // rows that are used
  StatsNode node[kStatsNodes];          // the first ones, where there are more
  StatsClass size_class[kClasses + 1];  // the last: larger blocks
  StatsArena arena[kStatsArenas];       // the root, then the largest
};

enum class ForeignPart : uint32_t {
  kStacks,         // of threads
  kJavaHeap,       // of a JVM that keeps counters (hsperfdata)
  kJavaMetaspace,  // of the same: as much as it has committed
  kCode,           // mapped to be run, and of no file: compiled at run time
  kBrk,            // the heap of the C library's brk
  kFiles,          // private pages of mapped files: data, relocations
  kOther,
};
inline constexpr uint32_t kForeignParts = 7;

// What foreign memory was made of: its parts add up to it.
struct StatsForeign {
  uint64_t time_ms;  // CLOCK_REALTIME
  uint64_t part[kForeignParts];
  // Not anonymous, and so no part of it.
  uint64_t shared;  // shared memory that the process maps
  uint64_t mapped;  // other pages of files
  uint32_t threads;
};

struct StatsPage {
  uint64_t magic;
  uint32_t size;  // sizeof(StatsPage)
  uint32_t sequence;
  uint64_t pid;
  uint64_t start_time;     // field 22 of /proc/PID/stat: tells a process from a later one with its pid
  uint64_t stack;          // field 28: tells what it ran from what it has run since an exec
  uint64_t pid_namespace;  // the inode of /proc/PID/ns/pid
  uint64_t start_ms;       // CLOCK_REALTIME
  uint64_t update_ms;      // CLOCK_REALTIME of the last update
  uint32_t exited;         // 1 after a normal exit
  char version[20];
  char command[64];  // cut
  char cgroup[256];  // the cgroup that binds, cut
  Ledger now;
  LedgerPeaks peak;
  // The order of `neap shrink`: the requester writes the target and then raises the number; the process gives back
  // until its `anon` is under the target or nothing is left, then writes what it freed and sets `shrink_done` to the
  // number.
  uint64_t shrink_target;
  uint32_t shrink_request;
  uint32_t shrink_done;  // a futex word, shared
  uint64_t shrink_freed;
  // The order of `neap profile --start`: bytes between two samples; taken (0 again) when the profile starts.
  uint64_t profile_request;
  uint32_t doorbell;   // a futex word, shared: wakes the release thread
  uint64_t tables_ms;  // CLOCK_REALTIME of their last update; 0: none yet
  StatsTables tables;
  StatsRing<StatsEvent, kStatsEvents> events;
  StatsRing<StatsSample, kStatsSeconds> seconds;   // at most one a second: ten minutes of activity
  StatsRing<StatsForeign, kStatsForeign> foreign;  // the release thread's; a minute of them or more
  StatsRing<StatsSample, kStatsTens> tens;  // of every ten seconds the reading with the most anonymous memory: an hour
};
static_assert(sizeof(StatsPage) < 2u << 20);  // what a recording of any length may take

// ---- The writer, one a process. Each call may come from any thread; two updates at once: the later one is dropped.

// Makes the page; prefix: NEAP_STATS, or null. False if there is none: nowhere to put it, "0" as prefix, or the process
// is past CloseStatsPage; a failure is not tried again.
bool OpenStatsPage(const char* prefix);

inline constexpr size_t kStatsPathBytes = 512;
// The path of the page's file, of fewer bytes than that; false without a page.
bool StatsPath(char* path);

// The path of the cgroup whose limit binds, shown beside the ledger.
void PublishCgroup(std::string_view path);

// now_ns: Os::RealtimeNs().
void PublishLedger(const Ledger& ledger, uint64_t now_ns);

// Whether the tables are a second old.
bool TablesAreDue(uint64_t now_ns);
// Fills them in place by `read`, which allocates nothing and writes at most so many rows of arenas.
void PublishTables(void (*read)(StatsTables&), size_t arenas, uint64_t now_ns);

void PublishForeign(const StatsForeign& parts);

// The word to sleep on (shared), null without a page. Read it before looking for work, so that no ring is missed.
uint32_t* Doorbell();

// An order that has not been answered yet.
bool ShrinkRequested(uint64_t* target, uint32_t* number);
// freed: bytes given back for it. Publish the ledger first: the requester reads what is left.
void AnswerShrink(uint32_t number, uint64_t freed);

// An order to start the profile, which is thereby taken: bytes between two samples; 0: none.
uint64_t TakeProfileOrder();

// Normal exit; the last ledger has been published.
void CloseStatsPage();

// In a forked child: the parent's page is no longer mapped, and the child may open its own.
void ForgetStatsPage();

}  // namespace neap
