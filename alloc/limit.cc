// limit.cc: reads the limit's files through Os and waits for the kernel's events about them. See limit.h.
#include "alloc/limit.h"

#include <errno.h>
#include <string.h>

#include "alloc/os.h"

namespace neap {
namespace {

constexpr uint64_t kMembershipEveryNs = 1'000'000'000;
constexpr uint64_t kStallWindowNs = 500'000'000;  // shorter ones make noise of single stalls
constexpr size_t kPageBytes = 4096;
// Short files that every directory has: without them it, or the mount that it was found in, is gone.
constexpr std::string_view kPresenceV1 = "notify_on_release", kPresenceV2 = "cgroup.stat";

uint64_t Hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// Text in a mapping of its own, for files without a useful bound on their size. Unmapped at the end of the scope.
class MappedText {
 public:
  explicit MappedText(const char* path) {
    for (bytes_ = 64 * 1024; bytes_ <= 16 * 1024 * 1024; bytes_ *= 4) {
      text_ = static_cast<char*>(Os::Map(nullptr, bytes_));
      if (text_ == nullptr) return;
      length_ = Os::ReadFile(path, text_, bytes_);
      if (length_ < static_cast<long>(bytes_) - 1) return;
      Os::Unmap(text_, bytes_);
      text_ = nullptr;
    }
  }
  ~MappedText() {
    if (text_ != nullptr) Os::Unmap(text_, bytes_);
  }
  MappedText(const MappedText&) = delete;
  MappedText& operator=(const MappedText&) = delete;

  std::string_view view() const {
    return text_ == nullptr || length_ < 0 ? std::string_view() : std::string_view(text_, static_cast<size_t>(length_));
  }

 private:
  size_t bytes_;
  char* text_ = nullptr;
  long length_ = 0;
};

// Writes a number in decimal; returns the end.
char* PutNumber(char* out, uint64_t number) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) *out++ = digits[--count];
  return out;
}

}  // namespace

// ---- LimitReader.

std::string_view LimitReader::Read(const char* path) {
  long length = Os::ReadFile(path, text_, sizeof(text_));
  return length < 0 ? std::string_view() : std::string_view(text_, static_cast<size_t>(length));
}

std::string_view LimitReader::ReadAt(const CgroupPath& path, int level, std::string_view file) {
  if (!JoinPath(path.Level(level), file, file_, sizeof(file_))) return {};
  return Read(file_);
}

void LimitReader::Discover() {
  discovered_ = true;
  std::string_view cgroups = Read("/proc/self/cgroup");
  membership_ = Hash(cgroups);
  MappedText mounts("/proc/self/mountinfo");
  FindCgroup(cgroups, mounts.view(), &memory_);
}

void LimitReader::TakeLevel(int level, uint64_t limit, uint64_t used) {
  if (limit < reading_.tightest_limit) reading_.tightest_limit = limit;
  // Of equal ones the outer binds: on v1 an inner level shows its ancestor's limit as its own.
  if (reading_.binding_level >= 0 && Headroom(limit, used) > reading_.headroom) return;
  reading_.binding_level = level;
  reading_.binding_path = memory_.Level(level);
  reading_.limit = limit;
  reading_.used = used;
  reading_.headroom = Headroom(limit, used);
}

void LimitReader::ReadLevelsV1() {
  // memory.stat's limit holds for all ancestors, the invisible ones too, so the first level without one is the last.
  for (int level = 0; level < memory_.levels; ++level) {
    MemoryStat stat = ParseMemoryStat(ReadAt(memory_, level, "memory.stat"), 1);
    if (stat.hierarchical_limit == kNoLimit) return;
    uint64_t kernel = ParseNumber(ReadAt(memory_, level, "memory.kmem.usage_in_bytes"), 0);
    TakeLevel(level, stat.hierarchical_limit, stat.unreclaimable + kernel);
  }
}

void LimitReader::ReadLevelsV2() {
  for (int level = 0; level < memory_.levels; ++level) {
    uint64_t limit = ParseLimit(ReadAt(memory_, level, "memory.max"));
    uint64_t high = ParseLimit(ReadAt(memory_, level, "memory.high"));
    if (high < limit) limit = high;
    if (limit == kNoLimit) continue;
    TakeLevel(level, limit, ParseMemoryStat(ReadAt(memory_, level, "memory.stat"), 2).unreclaimable);
  }
}

// v1 has no pressure of its own; the machine's would be the neighbours'.
void LimitReader::ReadStall(uint64_t now_ns) {
  int level = reading_.binding_level;
  if (level < 0 || memory_.version != 2) {
    reading_.stall_permille = 0;
    stall_level_ = -1;
    return;
  }
  uint64_t total = ParseStallUs(ReadAt(memory_, level, "memory.pressure"));
  uint64_t elapsed_us = (now_ns - stall_since_ns_) / 1000;
  if (stall_level_ == level && elapsed_us < kStallWindowNs / 1000) return;
  bool comparable = stall_level_ == level && total >= stall_total_us_;
  uint64_t permille = comparable ? (total - stall_total_us_) * 1000 / elapsed_us : 0;
  reading_.stall_permille = permille < 1000 ? static_cast<uint32_t>(permille) : 1000;
  stall_level_ = level;
  stall_since_ns_ = now_ns;
  stall_total_us_ = total;
}

const LimitReading& LimitReader::Refresh() {
  uint64_t now_ns = Os::MonotonicNs();
  bool first = !discovered_;
  if (first) {
    Discover();
    membership_checked_ns_ = now_ns;
  } else if (now_ns - membership_checked_ns_ >= kMembershipEveryNs) {
    membership_checked_ns_ = now_ns;
    bool moved = Hash(Read("/proc/self/cgroup")) != membership_;
    bool gone = memory_.version != 0 && ReadAt(memory_, 0, memory_.version == 2 ? kPresenceV2 : kPresenceV1).empty();
    if (moved || gone) Discover();
  }

  uint64_t before = reading_.tightest_limit;
  PressureLevel level_before = reading_.level;
  reading_.tightest_limit = reading_.limit = reading_.headroom = kNoLimit;
  reading_.used = 0;
  reading_.binding_level = -1;
  reading_.binding_path = {};
  if (memory_.version == 1) ReadLevelsV1();
  if (memory_.version == 2) ReadLevelsV2();
  ReadStall(now_ns);
  reading_.changed = !first && reading_.tightest_limit != before;
  reading_.level = JudgePressure(level_before, reading_.limit, reading_.headroom, reading_.stall_permille);

  // "size resident shared ...", in pages; shared are the file and shmem ones.
  std::string_view statm = Read("/proc/self/statm");
  uint64_t pages[3] = {};
  for (uint64_t& count : pages) {
    count = ParseNumber(statm, 0);
    size_t blank = statm.find(' ');
    statm.remove_prefix(blank == statm.npos ? statm.size() : blank + 1);
  }
  reading_.process_anon = pages[1] > pages[2] ? (pages[1] - pages[2]) * kPageBytes : 0;
  return reading_;
}

// ---- LimitWatcher.

void LimitWatcher::Aim(const LimitReader& reader) {
  const LimitReading& reading = reader.reading();
  int version = reading.binding_level < 0 ? 0 : reader.memory().version;
  std::string_view path = reading.binding_path;
  bool same = version == target_.version && reading.limit == target_.limit &&
              path == std::string_view(target_.text, target_.length);
  if (same || offered_.load(std::memory_order_acquire)) return;
  target_.version = version;
  target_.limit = reading.limit;
  target_.length = 0;
  for (char c : path) target_.text[target_.length++] = c;
  offered_.store(true, std::memory_order_release);
}

bool LimitWatcher::NameFile(std::string_view file) {
  return JoinPath({target_.text, target_.length}, file, file_, sizeof(file_));
}

void LimitWatcher::CloseAll() {
  while (fd_count_ > 0) {
    int fd = fds_[--fd_count_];
    Os::CloseFd(fd < 0 ? ~fd : fd);
  }
}

void LimitWatcher::OpenV2() {
  // The kernel grants windows of a multiple of 2 s to all.
  constexpr struct {
    std::string_view file;
    const char* trigger;
  } kSources[] = {{"memory.events", nullptr}, {"memory.pressure", "some 150000 2000000"}};
  for (const auto& source : kSources) {
    if (!NameFile(source.file)) continue;
    int fd = Os::OpenForEvents(file_, source.trigger);
    if (fd >= 0) fds_[fd_count_++] = fd;
  }
}

void LimitWatcher::OpenV1() {
  int event_fd = Os::OpenEventFd();
  if (event_fd < 0) return;
  // "medium" pressure is the only sign of an attempt to lower the limit below what is used, which the kernel refuses.
  constexpr std::string_view kSources[] = {"memory.oom_control", "memory.pressure_level", "memory.usage_in_bytes"};
  bool registered = false;
  for (std::string_view source : kSources) {
    if (!NameFile(source)) continue;
    int fd = Os::OpenForEvents(file_, nullptr);
    if (fd < 0) continue;
    char order[80];
    char* end = PutNumber(order, static_cast<uint64_t>(event_fd));
    *end++ = ' ';
    end = PutNumber(end, static_cast<uint64_t>(fd));
    if (source == "memory.pressure_level") {
      memcpy(end, " medium", 8);
      end += 7;
    } else if (source == "memory.usage_in_bytes") {
      *end++ = ' ';
      end = PutNumber(end, target_.limit - LowMark(target_.limit));
    }
    *end = 0;
    if (NameFile("cgroup.event_control")) {
      int control = Os::OpenForEvents(file_, order);
      if (control >= 0) {
        registered = true;
        Os::CloseFd(control);
      }
    }
    Os::CloseFd(fd);  // the registration keeps the file
  }
  if (registered) {
    fds_[fd_count_++] = ~event_fd;  // how WaitForEvents tells an eventfd
  } else {
    Os::CloseFd(event_fd);
  }
}

bool LimitWatcher::OpenTarget() {
  CloseAll();
  if (target_.version == 1) OpenV1();
  if (target_.version == 2) OpenV2();
  return fd_count_ > 0;
}

void LimitWatcher::ForgetInChild() {
  fd_count_ = 0;
  offered_.store(target_.version != 0, std::memory_order_relaxed);
}

bool LimitWatcher::Run(bool (*wake)(void*), bool (*ending)(void*), void* context) {
  bool ever_opened = false;
  for (;;) {
    if (offered_.load(std::memory_order_acquire)) {
      bool limited = target_.version != 0;
      bool opened = OpenTarget();
      offered_.store(false, std::memory_order_release);
      if (limited && !opened && !ever_opened) return false;
      ever_opened = ever_opened || opened;
    }
    int event = Os::WaitForEvents(fds_, fd_count_, kRecheckNs);
    if (event == -ETIMEDOUT) {
      if (ending(context)) break;
      continue;
    }
    if (event < 0) {
      if (fd_count_ == 0) return false;  // cannot even sleep
      CloseAll();                        // the cgroup is gone; the next Aim tells the new one
      continue;
    }
    if (!wake(context)) break;
    Os::WaitForEvents(nullptr, 0, kMinGapNs);
  }
  CloseAll();
  return true;
}

}  // namespace neap
