// stats_files.h: the files of the pages of statistics: whose page a file is, and which of the dead are kept.
//
// A page outlives a process that was killed, which is what it is for, and one that ended by _exit or was replaced by
// exec, where nobody looks for it. Shared memory is charged to the container. So whoever opens a page removes dead ones
// that are older than kStatsKeepMs, and all but the newest kStatsKeepCount.
#pragma once

#include <stdint.h>

namespace neap {

inline constexpr uint64_t kStatsKeepMs = 10 * 60 * 1000;
inline constexpr uint32_t kStatsKeepCount = 32;
inline constexpr uint64_t kStatsKeepForeignMs = 24 * 3600 * 1000;  // of another pid namespace: nobody here knows

// What tells a process and what it runs from every other.
struct ProcessImage {
  uint64_t pid = 0;
  uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  uint64_t stack = 0;       // field 28, random in each image: an exec changes it. 0: not ours to read
  uint64_t pid_namespace = 0;

  static ProcessImage Own();
};

// Removes a page and the profile beside it.
void RemovePage(const char* path);

// Of PREFIX.PID.STARTTIME, all that are of this layout and may be read. now_ms: CLOCK_REALTIME.
void RemoveDeadPages(const char* prefix, const ProcessImage& own, uint64_t now_ms);

}  // namespace neap
