// config.h: everything that can be set, in one table. `neap run --help` prints it. Read once, at the first allocation;
// a setuid process reads nothing.
#pragma once

#include <stddef.h>

namespace neap {

struct ConfigRow {
  const char* name;
  const char* fallback;
  const char* range;
  const char* reason;
};

inline constexpr ConfigRow kConfigTable[] = {
    {"NEAP_BACKGROUND", "1", "0 or 1",
     "0: no thread; gives back on slow paths. For programs that must stay single-threaded"},
    {"NEAP_FOREIGN", "0", "0 or 1",
     "1: under pressure jemalloc, mimalloc and tcmalloc inside the process are told to give back: calls of their code"},
    {"NEAP_HARDENED", "0", "0 or 1",
     "1: finds writes behind a block's end and after its free, and sizes that are not its own. Slower, and needs more"},
    {"NEAP_OOM", "kill", "kill or null",
     "null: where the container's limit has no room left, malloc gives NULL instead of the kernel a kill"},
    {"NEAP_PROFILE", "0", "0, 1 or a size",
     "samples which stacks allocate, about once in 512K (1) or in so many bytes, for neap profile"},
    {"NEAP_STATS", "/dev/shm/neap", "a path's prefix, or 0", "where the page of statistics is kept; 0: nowhere"},
};

class Config {
 public:
  static void Read();
  static bool background();
  static bool hardened();
  static bool oom_null();
  static bool foreign();
  static size_t profile();            // bytes between two samples; 0: none
  static const char* stats_prefix();  // null: not set
};

}  // namespace neap
