// pages.cc: pages of statistics as seen from outside the process that writes them.
#include "tools/neap/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <system_error>

#include "alloc/profile_page.h"
#include "alloc/stats_files.h"
#include "tools/neap/failure.h"
#include "tools/neap/output.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSettledMs = 10'000;
constexpr int kReadTries = 1000;

bool IsNeapLibrary(const Mapping& mapping) {
  size_t slash = mapping.path.rfind('/');
  return slash != std::string::npos && mapping.path.compare(slash + 1, 10, "libneap.so") == 0;
}

std::string WithoutDeleted(const std::string& path) {
  constexpr std::string_view kMark = " (deleted)";
  return path.ends_with(kMark) ? path.substr(0, path.size() - kMark.size()) : path;
}

uint64_t OwnPidNamespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

std::string ProfileBeside(const fs::path& page) { return page.string() + kProfileSuffix; }

// Removing is best effort throughout: what cannot be removed now is tried again by the next call.
void Remove(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
  fs::remove(ProfileBeside(path), ignored);
}

// Pages, without their profiles.
std::vector<fs::path> FilesWithPrefix(const fs::path& prefix) {
  std::vector<fs::path> files;
  std::error_code error;
  std::string start = prefix.filename().string() + ".";
  for (const fs::directory_entry& entry : fs::directory_iterator(prefix.parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(start) && !name.ends_with(kProfileSuffix)) files.push_back(entry.path());
  }
  return files;
}

// What was never written is not read: that would take memory for it.
template <class T, uint32_t kCount>
void CopyRing(StatsRing<T, kCount>& to, const StatsRing<T, kCount>& from) {
  to.next = __atomic_load_n(&from.next, __ATOMIC_RELAXED);
  memcpy(to.of, from.of, to.size() * sizeof(T));
}

}  // namespace

bool IsPid(const std::string& text) {
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == text.npos;
}

uint64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

uint64_t PeakAnon(const StatsPage& page) { return std::max(page.peak.anon, page.peak.resident); }

bool WriterRuns(const StatsPage& page) {
  pid_t pid = static_cast<pid_t>(page.pid);
  return ProcessRuns(pid) && StartTime(pid) == page.start_time;
}

PageView::~PageView() {
  if (page_ != nullptr) munmap(page_, sizeof(StatsPage));
}

// inode: what the file has to be, 0 where any will do.
std::optional<PageView> PageView::Map(const std::string& path, Access access, uint64_t inode, std::string* problem) {
  bool write = access == Access::kWrite;
  int fd = open(path.c_str(), (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    *problem = strerror(errno);
    return std::nullopt;
  }
  struct stat status {};
  void* memory = MAP_FAILED;
  uint64_t magic = 0;
  const bool is_page = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (inode == 0 || status.st_ino == inode) &&
                       pread(fd, &magic, sizeof magic, 0) == sizeof magic && magic >> 32 == kStatsMagic >> 32;
  if (!is_page) {
    *problem = "not a page of statistics";
  } else if (magic != kStatsMagic) {
    *problem = fmt::format("its layout is version {}, this command reads version {}: use the neap of that process",
                           magic & UINT32_MAX, kStatsMagic & UINT32_MAX);
  } else if (static_cast<size_t>(status.st_size) < sizeof(StatsPage)) {
    *problem = "too short for a page of statistics";
  } else {
    memory = mmap(nullptr, sizeof(StatsPage), write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) *problem = strerror(errno);
  }
  close(fd);
  if (memory == MAP_FAILED) return std::nullopt;

  return PageView(static_cast<StatsPage*>(memory));
}

PageView PageView::OfFile(const std::string& path) {
  std::string problem;
  std::optional<PageView> view = Map(path, Access::kRead, 0, &problem);
  if (!view) throw Failure(kNoAccess, fmt::format("{}: {}", path, problem));
  return std::move(*view);
}

// Found by what the process maps and not by name: that holds in other mount and process namespaces, for any NEAP_STATS,
// after the file was removed, and never takes the page that a process left before its last exec.
PageView PageView::OfProcess(pid_t pid, Access access) {
  RequireProcess(pid);
  std::optional<std::vector<Mapping>> mappings = ReadMappings(pid);
  if (!mappings) {
    if (!ProcessRuns(pid)) throw Failure(kNoAccess, fmt::format("process {} has ended", pid));
    if (CommandLine(pid).empty()) throw Failure(kNo, fmt::format("{} is a thread of the kernel, not on neap", pid));
    throw Failure(kNoAccess, fmt::format("may not read the memory map of {}: run as its user or as root", pid));
  }
  bool on_neap = false;
  std::string problem;
  for (const Mapping& mapping : *mappings) {
    on_neap |= IsNeapLibrary(mapping);
    if (!mapping.shared() || mapping.end - mapping.begin < sizeof(StatsPage)) continue;
    if (mapping.path.find("neap") == std::string::npos && !ProcessEnvironment(pid, "NEAP_STATS")) continue;
    std::string path = WithoutDeleted(mapping.path);
    std::string by_address = fmt::format("map_files/{:x}-{:x}", mapping.begin, mapping.end);
    for (const std::string& place : {ProcPath(pid, "root") + path, path, ProcPath(pid, by_address)}) {
      std::string this_problem;
      std::optional<PageView> view = Map(place, access, mapping.inode, &this_problem);
      if (view) return std::move(*view);
      if (problem.empty()) problem = this_problem;
    }
  }
  if (!problem.empty()) throw Failure(kNoAccess, fmt::format("the page of {} cannot be used: {}", pid, problem));
  if (on_neap) {
    throw Failure(kNo, fmt::format("{} runs on neap but keeps no page: it never held enough to give back, or has "
                                   "NEAP_STATS=0, or no room in /dev/shm",
                                   pid));
  }
  throw Failure(kNo,
                fmt::format("{} is not on neap: start it by 'neap run -- CMD', or ask 'neap doctor {}'", pid, pid));
}

// The page that the last process of this PID left.
std::optional<PageView> PageOfDead(pid_t pid) {
  std::optional<PageView> latest;
  for (const fs::path& file : FilesWithPrefix(fmt::format("{}.{}", kStatsDefaultPrefix, pid))) {
    try {
      PageView view = PageView::OfFile(file);
      if (!latest || view.shared().update_ms > latest->shared().update_ms) latest.emplace(std::move(view));
    } catch (const Failure&) {  // of another version, or not ours to read
    }
  }
  return latest;
}

PageView FindPage(const std::string& target) {
  if (!IsPid(target)) return PageView::OfFile(target);
  const auto pid = static_cast<pid_t>(std::stol(target));
  if (ProcessRuns(pid)) return PageView::OfProcess(pid, Access::kRead);
  if (std::optional<PageView> left = PageOfDead(pid)) return std::move(*left);
  throw Failure(kNoAccess,
                fmt::format("there is no process {}, and it left no page in {}: pages stay for {} minutes, in the "
                            "container where it ran",
                            pid, fs::path(kStatsDefaultPrefix).parent_path().string(), kStatsKeepMs / 60'000));
}

std::vector<std::string> ProfilePaths(const std::string& target) {
  std::vector<std::string> paths;
  if (!IsPid(target)) return {ProfileBeside(target), target};
  const auto pid = static_cast<pid_t>(std::stol(target));
  if (!ProcessRuns(pid)) {
    for (const fs::path& file : FilesWithPrefix(fmt::format("{}.{}", kStatsDefaultPrefix, pid))) {
      paths.push_back(ProfileBeside(file));
    }
    if (paths.empty()) FindPage(target);
    return paths;
  }
  const std::optional<std::vector<Mapping>> mappings = ReadMappings(pid);
  if (!mappings)
    throw Failure(kNoAccess, fmt::format("may not read the memory map of {}: run as its user or as root", pid));
  for (const Mapping& mapping : *mappings) {
    const std::string path = WithoutDeleted(mapping.path);
    if (!mapping.shared() || !path.ends_with(kProfileSuffix)) continue;
    paths.push_back(ProcPath(pid, "root") + path);
    paths.push_back(path);
    paths.push_back(ProcPath(pid, fmt::format("map_files/{:x}-{:x}", mapping.begin, mapping.end)));
  }
  return paths;
}

void PageView::Ring() const {
  std::atomic_ref(page_->doorbell).fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &page_->doorbell, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

StatsPage PageView::Read() const {
  std::atomic_ref<uint32_t> sequence(page_->sequence);
  StatsPage copy{};
  for (int i = 0; i < kReadTries; ++i) {
    uint32_t before = sequence.load(std::memory_order_acquire);
    memcpy(&copy, page_, offsetof(StatsPage, tables.arena));
    memcpy(copy.tables.arena, page_->tables.arena, std::min(copy.tables.arenas, kStatsArenas) * sizeof(StatsArena));
    CopyRing(copy.events, page_->events);
    CopyRing(copy.foreign, page_->foreign);
    CopyRing(copy.seconds, page_->seconds);
    CopyRing(copy.tens, page_->tens);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 == 0 && sequence.load(std::memory_order_relaxed) == before) break;
    sched_yield();
  }
  // The texts and counts come from another process.
  const auto end = [](auto& text) { text[sizeof text - 1] = 0; };
  end(copy.version), end(copy.command), end(copy.cgroup);
  copy.tables.arenas = std::min(copy.tables.arenas, kStatsArenas);
  copy.tables.nodes = std::min(copy.tables.nodes, kStatsNodes);
  for (StatsArena& arena : copy.tables.arena) end(arena.name);
  return copy;
}

std::string RunPages::ProfileOf(const StatsPage& page) const {
  return fmt::format("{}-{}.{}{}", prefix_.string(), page.pid, page.start_time, kProfileSuffix);
}

RunPages::~RunPages() {
  std::error_code ignored;
  for (const std::optional<StatsPage>* page : {&biggest_, &killed_}) {
    if (*page) fs::remove(ProfileOf(**page), ignored);
  }
}

void RunPages::TakeIn(const fs::path& file, const StatsPage& page) {
  ++count_;
  std::error_code ignored;
  const auto keep = [&](std::optional<StatsPage>& kept, const std::optional<StatsPage>& other) {
    const bool shared = kept && other && kept->pid == other->pid && kept->start_time == other->start_time;
    if (kept && !shared) fs::remove(ProfileOf(*kept), ignored);
    kept = page;
    fs::rename(ProfileBeside(file), ProfileOf(page), ignored);
  };
  if (!biggest_ || PeakAnon(page) > PeakAnon(*biggest_)) keep(biggest_, killed_);
  if (page.exited != 0 || WriterRuns(page)) return;
  uint64_t command = static_cast<uint64_t>(command_);
  bool later = !killed_ || (killed_->pid != command && page.update_ms > killed_->update_ms);
  if (later || page.pid == command) keep(killed_, biggest_);
}

void RunPages::Collect(bool all) {
  for (const fs::path& file : FilesWithPrefix(prefix_)) {
    try {
      PageView view = PageView::OfFile(file);
      const StatsPage& page = view.shared();
      // A process of another namespace looks as if it were gone; while anything happens in it, it goes on writing.
      bool gone = page.update_ms + kSettledMs < NowMs() && !WriterRuns(page);
      if (!all && page.exited == 0 && !gone) continue;
      TakeIn(file, view.Read());
    } catch (const Failure&) {
      if (!all) continue;  // being made
    }
    Remove(file);
  }
}

std::vector<StatsPage> RunningPages() {
  std::vector<StatsPage> pages;
  const auto take = [&](const fs::path& prefix) {
    for (const fs::path& file : FilesWithPrefix(prefix)) {
      try {
        const PageView view = PageView::OfFile(file);
        if (view.shared().exited == 0 && WriterRuns(view.shared())) pages.push_back(view.Read());
      } catch (const Failure&) {  // of another version, not ours to read, or being made
      }
    }
  };
  take(kStatsDefaultPrefix);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(kStatsDefaultPrefix).parent_path(), error)) {
    if (entry.path().filename().string().starts_with("neap-run.")) take(entry.path() / "page");
  }
  std::sort(pages.begin(), pages.end(), [](const StatsPage& a, const StatsPage& b) { return a.pid < b.pid; });
  return pages;
}

void SavePage(const StatsPage& page, const std::string& profile, const std::string& path) {
  WriteWholeFile(path, {reinterpret_cast<const char*>(&page), sizeof page}, kRunFailed);
  std::error_code error;
  fs::remove(ProfileBeside(path), error);
  if (!fs::exists(profile, error)) return;
  fs::copy_file(profile, ProfileBeside(path), error);
  if (error) throw Failure(kRunFailed, fmt::format("cannot write {}: {}", ProfileBeside(path), error.message()));
}

std::string MakeRunFolder() {
  std::string name = fmt::format("neap-run.{}.{}.XXXXXX", getpid(), StartTime(getpid()));
  for (const fs::path& place : {fs::path(kStatsDefaultPrefix).parent_path(), fs::path("/tmp")}) {
    std::string folder = place / name;
    if (mkdtemp(folder.data()) == nullptr) continue;
    // Root's command may go on as another user, who must be able to add a page but not to touch those of others.
    if (geteuid() == 0) chmod(folder.c_str(), 01733);
    return folder;
  }
  return "";
}

void RemoveStalePages() {
  std::error_code error;
  fs::path shared_memory = fs::path(kStatsDefaultPrefix).parent_path();
  for (const fs::directory_entry& entry : fs::directory_iterator(shared_memory, error)) {
    std::string name = entry.path().filename().string();
    if (name.ends_with(kProfileSuffix)) {  // goes with its page
      const std::string path = entry.path();
      if (!fs::exists(path.substr(0, path.size() + 1 - sizeof kProfileSuffix))) Remove(path);
      continue;
    }
    int pid = 0;
    unsigned long start_time = 0;
    bool is_page = sscanf(name.c_str(), "neap.%d.%lu", &pid, &start_time) == 2;
    bool is_run = !is_page && sscanf(name.c_str(), "neap-run.%d.%lu", &pid, &start_time) == 2;
    struct stat status {};
    if ((!is_page && !is_run) || lstat(entry.path().c_str(), &status) != 0) continue;
    bool runs = ProcessRuns(pid) && StartTime(pid) == start_time;
    uint64_t written_ms = static_cast<uint64_t>(status.st_mtime) * 1000;
    uint64_t keep_ms = kStatsKeepForeignMs;
    if (is_page) {
      try {
        PageView view = PageView::OfFile(entry.path());
        const StatsPage& page = view.shared();
        runs = page.exited == 0 && WriterRuns(page);
        written_ms = page.exited != 0 ? 0 : std::max(written_ms, page.update_ms);
        if (page.pid_namespace == OwnPidNamespace()) keep_ms = kStatsKeepMs;
      } catch (const Failure&) {  // another version, or not ours to read: its name and its file have to tell
      }
    }
    if (!runs && written_ms + keep_ms < NowMs()) Remove(entry.path());
  }
}

}  // namespace neap::command
