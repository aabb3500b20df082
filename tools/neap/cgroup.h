// cgroup.h: the memory cgroups that a process is in, and the one that `neap run --limit` makes. Version 1 and 2.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace neap::command {

// The memory cgroup of a process as a folder that can be read here.
struct CgroupPlace {
  int version;  // 1 or 2
  std::string mount;
  std::string folder;  // below or at the mount
};

std::optional<CgroupPlace> MemoryCgroupOf(pid_t pid);

struct CgroupLevel {
  std::string folder;  // empty: above what can be seen from here
  uint64_t limit;      // kNoLimit where none
  uint64_t high;       // memory.high, version 2

  uint64_t Tightest() const { return limit < high ? limit : high; }
};

// From the process's own cgroup up to the root.
std::vector<CgroupLevel> CgroupLevels(const CgroupPlace& place);
// The level whose limit binds; null where none has one.
const CgroupLevel* BindingLevel(const std::vector<CgroupLevel>& levels);

struct CgroupCounters {
  uint64_t oom_kills = 0;
  bool limit_was_hit = false;  // this cgroup's own limit and not one above
};
CgroupCounters ReadCounters(const CgroupPlace& place);

// A cgroup of our own with a limit. Removed at the end, unless processes are left in it.
class LimitedCgroup {
 public:
  // Null, and why, where it may not be made.
  static std::unique_ptr<LimitedCgroup> Make(uint64_t limit, std::string* why_not);
  ~LimitedCgroup();
  LimitedCgroup(const LimitedCgroup&) = delete;
  LimitedCgroup& operator=(const LimitedCgroup&) = delete;

  const CgroupPlace& place() const { return place_; }
  // A process that writes "0" here is in.
  std::string ProcessesFile() const { return place_.folder + "/cgroup.procs"; }
  size_t ProcessCount() const;

 private:
  explicit LimitedCgroup(CgroupPlace place) : place_(std::move(place)) {}

  CgroupPlace place_;
};

}  // namespace neap::command
