// pressure.h: what the kernel's text files say about memory, and what follows from it. Pure: text and values in, values
// out, no system calls, no allocation. limit.cc reads the files; tests give texts.
//
// The unreclaimable part of a cgroup's use, and so its headroom, leaves out what the kernel frees by itself before it
// kills: page cache, lazily freed pages, reclaimable slab. A threshold on `memory.current` would trip on page cache.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>

namespace neap {

inline constexpr uint64_t kNoLimit = UINT64_MAX;

// ---- Where the process's cgroup is.

inline constexpr int kMaxLevels = 16;

// A directory of a cgroup file system and its ancestors, as far as they can be seen in this mount namespace: the
// ancestors are prefixes of one path, innermost first. Deeper trees keep the innermost kMaxLevels.
struct CgroupPath {
  int version = 0;  // 1, 2, or 0: none that could hold the memory controller
  int levels = 0;
  uint16_t ends[kMaxLevels] = {};
  char text[4032] = {};  // leaves room for a file's name within PATH_MAX

  std::string_view Level(int level) const { return {text, ends[level]}; }
};

// Writes directory, '/', file and a 0; false if `size` is too small.
bool JoinPath(std::string_view directory, std::string_view file, char* out, size_t size);

// The one that limits memory. The texts are those of /proc/self/cgroup and /proc/self/mountinfo (either may be empty:
// version is 0 then). A path outside of what is mounted gives the mount's own directory, which in a container is nearly
// always the container's cgroup.
void FindCgroup(std::string_view cgroups, std::string_view mounts, CgroupPath* path);

// ---- The files of one directory. Text that cannot be understood counts as if it were missing.

// memory.max, memory.high, memory.limit_in_bytes: kNoLimit for "max" and for v1's huge numbers.
uint64_t ParseLimit(std::string_view text);
// A file that holds one number; `fallback` if it does not.
uint64_t ParseNumber(std::string_view text, uint64_t fallback);

struct MemoryStat {
  uint64_t unreclaimable = 0;              // of v1 without kernel memory, which has a file of its own
  uint64_t hierarchical_limit = kNoLimit;  // v1: the tightest limit up to the real root, also where that is not visible
};
MemoryStat ParseMemoryStat(std::string_view text, int version);

// Of memory.pressure: for how long some task has waited, in all.
uint64_t ParseStallUs(std::string_view text);

struct MemoryEvents {  // memory.events, v1 memory.oom_control (oom_kill alone)
  uint64_t max = 0, oom_kill = 0;
};
MemoryEvents ParseMemoryEvents(std::string_view text);

// ---- What follows.

inline uint64_t Headroom(uint64_t limit, uint64_t used) {
  if (limit == kNoLimit) return kNoLimit;
  return limit > used ? limit - used : 0;
}

enum class PressureLevel : uint32_t { kAmple, kLow, kCritical };

// Headroom below which a level begins: a share of the limit; at least what charge batching per CPU and the next burst
// of a few threads take (small limits); at most what the fastest growth takes until the next reading (large ones).
uint64_t LowMark(uint64_t limit);
uint64_t CriticalMark(uint64_t limit);

// `stall_permille`: share of the time since the last reading in which some task of the cgroup waited for memory. It
// raises the level by one at most and only where headroom is already short: page cache that churns far below the limit
// stalls too. A level is left at 5/4 of its mark, so it neither flaps nor stays.
PressureLevel JudgePressure(PressureLevel previous, uint64_t limit, uint64_t headroom, uint32_t stall_permille);

// How many bytes neap may grow before headroom must be read again.
uint64_t GrowthAllowance(uint64_t headroom);

}  // namespace neap
