// cgroup.cc: the memory cgroups that a process is in, and the one that `neap run --limit` makes.
#include "tools/neap/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <thread>

#include "alloc/pressure.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

std::string ReadText(const std::string& path) { return ReadWholeFile(path).value_or(""); }

// 0 or errno. One write call, as the kernel's files want it.
int WriteText(const std::string& path, const std::string& text) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, text.data(), text.size()) < 0 ? errno : 0;
  close(fd);
  return error;
}

bool HasWord(const std::string& text, const std::string& word) {
  std::istringstream words(text);
  std::string one;
  while (words >> one) {
    if (one == word) return true;
  }
  return false;
}

std::string ParentFolder(const std::string& folder) { return folder.substr(0, folder.rfind('/')); }

// Cgroups of calls whose `neap run` was killed. rmdir fails while a process is in one.
void RemoveLeftCgroups(const std::string& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    int pid = 0;
    unsigned long start_time = 0;
    if (sscanf(entry.path().filename().c_str(), "neap.%d.%lu", &pid, &start_time) != 2) continue;
    if (StartTime(pid) != start_time) rmdir(entry.path().c_str());
  }
}

std::string OwnName() { return fmt::format("neap.{}.{}", getpid(), StartTime(getpid())); }

size_t CountProcesses(const std::string& folder) {
  std::string text = ReadWholeFile(folder + "/cgroup.procs").value_or("");
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Whether nothing would be evaded by moving out of the cgroup into one beside it.
bool SetsNoLimits(const std::string& folder) {
  for (const char* name : {"memory.max", "memory.high", "cpu.max", "pids.max", "cpuset.cpus"}) {
    std::string text = FirstLine(folder + "/" + name);
    if (!text.empty() && !text.starts_with("max")) return false;
  }
  return true;
}

std::string Refusal(const std::string& folder, int error) {
  return fmt::format("no cgroup can be made in {} ({}): run as root, or have it handed to this user", folder,
                     strerror(error));
}

// In version 2 a cgroup that holds processes cannot hand the memory controller down. So: below our own where the
// controller is already handed down or can be; else, if no other process is in our own, move ourselves one level down
// first; else beside our own, where the parent hands the controller down and our own sets no limit to evade.
std::string FindParentV2(const CgroupPlace& own, std::string* why_not) {
  auto hands_down = [](const std::string& folder) {
    return HasWord(FirstLine(folder + "/cgroup.subtree_control"), "memory");
  };
  const std::string& folder = own.folder;
  if (hands_down(folder)) return folder;
  int error = WriteText(folder + "/cgroup.subtree_control", "+memory");
  if (error == 0) return folder;
  if (error == EBUSY && CountProcesses(folder) == 1) {
    std::string self = folder + "/" + OwnName() + ".self";
    if (mkdir(self.c_str(), 0755) == 0) {
      if (WriteText(self + "/cgroup.procs", "0") == 0 &&
          WriteText(folder + "/cgroup.subtree_control", "+memory") == 0) {
        return folder;
      }
      WriteText(folder + "/cgroup.procs", "0");
      rmdir(self.c_str());
    }
  }
  std::string parent = ParentFolder(folder);
  if (folder != own.mount && hands_down(parent) && SetsNoLimits(folder)) return parent;
  *why_not = error == EBUSY ? fmt::format(
                                  "other processes are in {}: start neap in a cgroup of its own, as by "
                                  "systemd-run --scope",
                                  folder)
                            : Refusal(folder, error);
  return "";
}

}  // namespace

std::optional<CgroupPlace> MemoryCgroupOf(pid_t pid) {
  CgroupPath path;
  FindCgroup(ReadText(ProcPath(pid, "cgroup")), ReadText("/proc/self/mountinfo"), &path);
  if (path.version == 0) return std::nullopt;
  return CgroupPlace{path.version, std::string(path.Level(path.levels - 1)), std::string(path.Level(0))};
}

std::vector<CgroupLevel> CgroupLevels(const CgroupPlace& place) {
  std::vector<CgroupLevel> levels;
  bool v1 = place.version == 1;
  uint64_t tightest = kNoLimit;
  for (std::string folder = place.folder;; folder = ParentFolder(folder)) {
    uint64_t limit = ParseLimit(ReadText(folder + (v1 ? "/memory.limit_in_bytes" : "/memory.max")));
    uint64_t high = v1 ? kNoLimit : ParseLimit(ReadText(folder + "/memory.high"));
    levels.push_back({folder, limit, high});
    tightest = std::min(tightest, limit);
    if (folder.size() <= place.mount.size()) break;
  }
  uint64_t inherited = ParseMemoryStat(ReadText(place.folder + "/memory.stat"), place.version).hierarchical_limit;
  if (inherited < tightest) levels.push_back({"", inherited, kNoLimit});
  return levels;
}

const CgroupLevel* BindingLevel(const std::vector<CgroupLevel>& levels) {
  auto tightest = std::min_element(levels.begin(), levels.end(), [](const CgroupLevel& a, const CgroupLevel& b) {
    return a.Tightest() < b.Tightest();
  });
  return tightest == levels.end() || tightest->Tightest() == kNoLimit ? nullptr : &*tightest;
}

CgroupCounters ReadCounters(const CgroupPlace& place) {
  auto read = [&place](const char* name) { return ReadText(place.folder + name); };
  if (place.version == 2) {
    MemoryEvents events = ParseMemoryEvents(read("/memory.events"));
    return {.oom_kills = events.oom_kill, .limit_was_hit = events.max > 0};
  }
  // memory.failcnt stays 0 on recent kernels. The last kilobytes may be held back in batches by other CPUs.
  uint64_t limit = ParseLimit(read("/memory.limit_in_bytes"));
  uint64_t highest = ParseNumber(read("/memory.max_usage_in_bytes"), 0);
  return {.oom_kills = ParseMemoryEvents(read("/memory.oom_control")).oom_kill,
          .limit_was_hit = highest >= limit - limit / 64};
}

std::unique_ptr<LimitedCgroup> LimitedCgroup::Make(uint64_t limit, std::string* why_not) {
  std::optional<CgroupPlace> own = MemoryCgroupOf(getpid());
  if (!own) {
    *why_not = "no memory controller is mounted here";
    return nullptr;
  }
  bool v1 = own->version == 1;
  std::string parent = v1 ? own->folder : FindParentV2(*own, why_not);
  if (parent.empty()) return nullptr;
  RemoveLeftCgroups(parent);
  std::string folder = parent + "/" + OwnName();
  if (mkdir(folder.c_str(), 0755) != 0) {
    *why_not = Refusal(parent, errno);
    return nullptr;
  }
  std::unique_ptr<LimitedCgroup> cgroup(new LimitedCgroup({own->version, own->mount, folder}));
  int error = WriteText(folder + (v1 ? "/memory.limit_in_bytes" : "/memory.max"), std::to_string(limit));
  if (error != 0) {
    *why_not = fmt::format("{} takes no limit ({})", folder, strerror(error));
    return nullptr;
  }
  // Containers have no swap of their own. Kernels without swap accounting lack the file, and need none.
  WriteText(folder + (v1 ? "/memory.memsw.limit_in_bytes" : "/memory.swap.max"), v1 ? std::to_string(limit) : "0");
  return cgroup;
}

LimitedCgroup::~LimitedCgroup() {
  // The kernel may still be tearing down the last process when its parent has already seen it end.
  for (int i = 0; i < 50; ++i) {
    if (rmdir(place_.folder.c_str()) == 0 || errno != EBUSY || ProcessCount() != 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

size_t LimitedCgroup::ProcessCount() const { return CountProcesses(place_.folder); }

}  // namespace neap::command
