// limit.h: the limit that the process's container really has, read live. LimitReader reads the cgroup's files;
// LimitWatcher waits for the kernel's events about them. Policy and parsing are in pressure.h.
//
// One of each serves the process; limit_gate.cc owns them and its lock guards them. Neither allocates; both are meant
// for static storage, where what is not touched is not resident.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <string_view>

#include "alloc/pressure.h"

namespace neap {

struct LimitReading {
  // Of the cgroup that binds: the one with the least headroom from the process's own up to the root.
  uint64_t limit = kNoLimit;  // the lesser of its hard limit and memory.high
  uint64_t used = 0;          // what the kernel could not reclaim; 0 where there is no limit
  uint64_t headroom = kNoLimit;
  int binding_level = -1;         // in LimitReader::memory(); -1: no limit
  std::string_view binding_path;  // valid until the next Refresh

  uint64_t tightest_limit = kNoLimit;  // of all levels; differs from `limit` when another cgroup's neighbours bind
  bool changed = false;                // tightest_limit is another than at the reading before
  PressureLevel level = PressureLevel::kAmple;
  uint32_t stall_permille = 0;  // share of the time in which a task of the binding cgroup waited for memory
  uint64_t process_anon = 0;    // resident anonymous bytes of this process, within a few pages per CPU; 0: unknown
};

class LimitReader {
 public:
  // Reads the files anew. Not thread-safe: the caller holds the lock of the reader. Without /proc or without a cgroup
  // there is no limit. Costs one read of memory.stat for each level with a limit and two small files for every level.
  const LimitReading& Refresh();

  const LimitReading& reading() const { return reading_; }
  const CgroupPath& memory() const { return memory_; }

 private:
  void Discover();
  void ReadLevelsV1();
  void ReadLevelsV2();
  void TakeLevel(int level, uint64_t limit, uint64_t used);
  void ReadStall(uint64_t now_ns);
  // The text of a file of a level's directory; empty if it cannot be read.
  std::string_view ReadAt(const CgroupPath& path, int level, std::string_view file);
  std::string_view Read(const char* path);

  LimitReading reading_;
  CgroupPath memory_;
  bool discovered_ = false;
  uint64_t membership_ = 0;  // hash of /proc/self/cgroup when memory_ was found
  uint64_t membership_checked_ns_ = 0;
  uint64_t stall_since_ns_ = 0, stall_total_us_ = 0;
  int stall_level_ = -1;
  char file_[4096] = {};
  char text_[8192] = {};
};

// Wakes the release thread at once when the kernel reports pressure in the binding cgroup, which polling would see
// late: v2 memory.events and a PSI trigger, v1 eventfds on the usage threshold, pressure and OOM.
class LimitWatcher {
 public:
  // What to watch from now on. Called after a Refresh, under the reader's lock; the watching thread follows within
  // kRecheckNs. Cheap when nothing has changed.
  void Aim(const LimitReader& reader);

  // The body of a thread of its own, started after the first Aim: calls `wake` after events, at most every kMinGapNs,
  // until it returns false, or until `ending`, asked every kRecheckNs, returns true. Returns false where the kernel
  // refuses to notify: the tick alone has to do then. The thread must have a table of file descriptors of its own
  // (close_range with CLOSE_RANGE_UNSHARE): so the program neither sees neap's descriptors nor closes them, and neap
  // never closes one that has become the program's.
  bool Run(bool (*wake)(void* context), bool (*ending)(void* context), void* context);

  // In a forked child, before Run is started there: the parent's descriptors are not the child's.
  void ForgetInChild();

  static constexpr uint64_t kRecheckNs = 2'000'000'000;
  static constexpr uint64_t kMinGapNs = 50'000'000;

 private:
  struct Target {
    int version = 0;
    uint64_t limit = kNoLimit;
    size_t length = 0;
    char text[sizeof(CgroupPath::text)] = {};
  };

  bool OpenTarget();
  void OpenV1();
  void OpenV2();
  bool NameFile(std::string_view file);  // of the target, in file_
  void CloseAll();

  // Hands target_ over: Aim writes it only while false, Run reads it only while true.
  std::atomic<bool> offered_ = false;
  Target target_;
  int fds_[4] = {};
  size_t fd_count_ = 0;
  char file_[4096] = {};
};

}  // namespace neap
