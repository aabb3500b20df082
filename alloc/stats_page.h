// stats_page.h: the page of statistics that each process on neap keeps in shared memory: its layout, and the interface
// of its writer (stats_page.cc), which the release thread calls. The process alone writes the ledger; `neap` reads the
// page from outside, also after a SIGKILL, and writes only the order of `neap shrink`.
//
// The page's file is PREFIX.PID.STARTTIME. NEAP_STATS names the prefix (`neap run` sets it) and then the file stays for
// its reader; the default is /dev/shm/neap: a normal exit removes the file, and stats_files.h says which others go. PID
// is as the process itself sees it.
//
// The file is as long as StatsPage, but only what is used of it takes memory: a page of 4 KiB in the first minute.
//
// A reader takes `sequence` before and after copying and tries again if it was odd or changed; a page whose writer died
// in the middle of an update keeps an odd sequence for ever, and is then taken as it is.
#pragma once

#include <stdint.h>

#include <string_view>

namespace neap {

inline constexpr uint64_t kStatsMagic = 0x5041'454e'0000'0003;  // "NEAP" and the layout's version
inline constexpr uint32_t kStatsHistory = 600;
inline constexpr char kStatsDefaultPrefix[] = "/dev/shm/neap";

// One reading of the ledger. Bytes, unless said otherwise.
struct Ledger {
  uint64_t live;
  uint64_t cached;
  uint64_t dirty;
  uint64_t metadata;
  uint64_t foreign;        // 0 until the first reading of the kernel's figures
  uint64_t anon;           // of the process, from the kernel
  uint64_t limit;          // UINT64_MAX: none
  uint64_t headroom;       // UINT64_MAX: no limit
  uint64_t cgroup_used;    // what the kernel could not reclaim in the cgroup that binds
  uint64_t released;       // since the start
  uint64_t regret;         // since the start
  uint64_t purges;         // synchronous ones, since the start
  uint64_t callbacks;      // since the start
  uint64_t limit_changes;  // since the start
  uint64_t overruns;       // soft allocations past a bound, since the start
  uint32_t level;          // 0 ample, 1 low, 2 critical
  uint32_t arenas;
  uint32_t stall_permille;  // share of the time in which a task of that cgroup waited for memory; 0 on cgroup v1

  uint64_t Resident() const { return live + cached + dirty + metadata; }
};

// The highest of each figure since the start, over the readings that were published.
struct LedgerPeaks {
  uint64_t live, cached, dirty, metadata, resident, foreign, anon, cgroup_used;
  uint64_t lowest_headroom;  // UINT64_MAX: never a limit
};

struct StatsSample {
  uint64_t time_ms;  // CLOCK_REALTIME
  uint64_t live, resident, anon, limit, headroom;
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
  uint32_t doorbell;      // a futex word, shared: wakes the release thread
  uint32_t history_next;  // readings ever put into the ring; the last is history[(history_next - 1) % kStatsHistory]
  StatsSample history[kStatsHistory];  // at most one a second
};

// ---- The writer, one a process. Each call may come from any thread; two updates at once: the later one is dropped.

// Makes the page; prefix: NEAP_STATS, or null. False if there is none: nowhere to put it, "0" as prefix, or the process
// is past CloseStatsPage; a failure is not tried again.
bool OpenStatsPage(const char* prefix);

// The path of the cgroup whose limit binds, shown beside the ledger.
void PublishCgroup(std::string_view path);

// now_ns: Os::RealtimeNs().
void PublishLedger(const Ledger& ledger, uint64_t now_ns);

// The word to sleep on (shared), null without a page. Read it before looking for work, so that no ring is missed.
uint32_t* Doorbell();

// An order that has not been answered yet.
bool ShrinkRequested(uint64_t* target, uint32_t* number);
// freed: bytes given back for it. Publish the ledger first: the requester reads what is left.
void AnswerShrink(uint32_t number, uint64_t freed);

// Normal exit; the last ledger has been published.
void CloseStatsPage();

// In a forked child: the parent's page is no longer mapped, and the child may open its own.
void ForgetStatsPage();

}  // namespace neap
