// stats_files.cc: see stats_files.h.
#include "alloc/stats_files.h"

#include <stddef.h>
#include <string.h>

#include "alloc/os.h"
#include "alloc/profile_page.h"
#include "alloc/stats_page.h"

namespace neap {
namespace {

constexpr size_t kPathBytes = 256;
constexpr int kMostFiles = 4096;  // that one call looks at; a directory with more is left to the next calls
constexpr int kMostRunning = 32;  // processes of which one call asks whether they still run what opened the page

uint64_t TakeNumber(const char*& text) {
  uint64_t number = 0;
  for (; *text >= '0' && *text <= '9'; ++text) number = number * 10 + static_cast<uint64_t>(*text - '0');
  return number;
}

// Fields 22 and 28. The command, field 2, may itself hold blanks and brackets: count from its last bracket.
bool ReadStat(const char* path, ProcessImage& image) {
  char text[1024];
  if (Os::ReadFile(path, text, sizeof(text)) <= 0) return false;
  const char* at = strrchr(text, ')');
  for (int field = 2; at != nullptr; ++field) {
    if (field == 22) image.start_time = TakeNumber(at);
    if (field == 28) {
      image.stack = TakeNumber(at);
      return true;
    }
    at = strchr(at, ' ');
    if (at != nullptr) ++at;
  }
  return false;
}

class Sweep {
 public:
  Sweep(const char* prefix, const ProcessImage& own, uint64_t now_ms) : own_(own), now_ms_(now_ms) {
    const char* slash = strrchr(prefix, '/');
    const size_t length = strlen(prefix);
    if (slash == nullptr || length + kNameBytes >= kPathBytes) return;
    memcpy(path_, prefix, length + 1);
    directory_length_ = static_cast<size_t>(slash - prefix);
    stem_length_ = length - directory_length_ - 1;
    memcpy(stem_, slash + 1, stem_length_);
  }

  void Run() {
    if (stem_length_ == 0) return;
    path_[directory_length_] = 0;
    char directory[kPathBytes];
    memcpy(directory, path_, directory_length_ + 1);
    Os::ForEachFile(
        directory, [](void* sweep, const char* name) { return static_cast<Sweep*>(sweep)->Visit(name); }, this);
  }

 private:
  static constexpr size_t kNameBytes = 64;
  struct Kept {
    uint64_t update_ms;
    char name[kNameBytes];
  };

  // False: enough for one call.
  bool Visit(const char* name) {
    const size_t length = strlen(name);
    if (length >= kNameBytes || strncmp(name, stem_, stem_length_) != 0 || name[stem_length_] != '.') return true;
    const char* at = name + stem_length_ + 1;
    const uint64_t pid = TakeNumber(at);
    if (pid == 0 || *at++ != '.') return true;
    const uint64_t start_time = TakeNumber(at);
    if (*at != 0 || (pid == own_.pid && start_time == own_.start_time)) return true;
    if (++files_ > kMostFiles) return false;

    alignas(StatsPage) char head[offsetof(StatsPage, version) + 1];
    const long length_read = Os::ReadFile(PathOf(name), head, sizeof(head));
    const StatsPage& page = *reinterpret_cast<const StatsPage*>(head);
    if (length_read == 0 || (length_read == sizeof(head) - 1 && page.magic == 0)) {  // its process ended as it made it
      if (!Os::ProcessRuns(static_cast<uint32_t>(pid))) Remove(name);
      return true;
    }
    if (length_read != sizeof(head) - 1) return true;
    if (page.magic != kStatsMagic || page.pid != pid || page.start_time != start_time) return true;
    const uint64_t age_ms = now_ms_ > page.update_ms ? now_ms_ - page.update_ms : 0;
    if (page.pid_namespace != own_.pid_namespace) {
      if (age_ms > kStatsKeepForeignMs) Remove(name);
    } else if (!Runs(page)) {
      if (age_ms > kStatsKeepMs) {
        Remove(name);
      } else {
        Keep(name, page.update_ms);
      }
    }
    return true;
  }

  // Whether the process goes on with the image that opened the page. Cheap for most: that there is a process of that
  // number will do, unless it is one of the first few.
  bool Runs(const StatsPage& page) {
    if (!Os::ProcessRuns(static_cast<uint32_t>(page.pid))) return false;
    if (++running_ > kMostRunning) return true;
    char stat[40] = "/proc/";
    char* end = stat + 6;
    char digits[20];
    size_t count = 0;
    for (uint64_t rest = page.pid; rest != 0; rest /= 10) digits[count++] = static_cast<char>('0' + rest % 10);
    while (count > 0) *end++ = digits[--count];
    memcpy(end, "/stat", 6);
    ProcessImage image;
    if (!ReadStat(stat, image)) return true;
    return image.start_time == page.start_time && (image.stack == 0 || page.stack == 0 || image.stack == page.stack);
  }

  // Of the dead ones that are young enough, the newest.
  void Keep(const char* name, uint64_t update_ms) {
    Kept* oldest = &kept_[0];
    for (Kept& other : kept_) {
      if (other.update_ms < oldest->update_ms) oldest = &other;
    }
    if (update_ms <= oldest->update_ms) return Remove(name);
    if (oldest->update_ms != 0) Remove(oldest->name);
    oldest->update_ms = update_ms;
    memcpy(oldest->name, name, strlen(name) + 1);
  }

  void Remove(const char* name) { RemovePage(PathOf(name)); }

  const char* PathOf(const char* name) {
    path_[directory_length_] = '/';
    memcpy(path_ + directory_length_ + 1, name, strlen(name) + 1);
    return path_;
  }

  const ProcessImage& own_;
  const uint64_t now_ms_;
  size_t directory_length_ = 0;
  size_t stem_length_ = 0;
  int files_ = 0;
  int running_ = 0;
  char path_[kPathBytes] = {};
  char stem_[kPathBytes] = {};
  Kept kept_[kStatsKeepCount] = {};
};

}  // namespace

ProcessImage ProcessImage::Own() {
  ProcessImage own;
  own.pid = Os::ProcessId();
  own.pid_namespace = Os::PidNamespace();
  ReadStat("/proc/self/stat", own);
  return own;
}

void RemovePage(const char* path) {
  Os::UnlinkFile(path);
  char profile[kStatsPathBytes + sizeof kProfileSuffix];
  const size_t length = strlen(path);
  if (length >= kStatsPathBytes) return;
  memcpy(profile, path, length + 1);
  memcpy(profile + length, kProfileSuffix, sizeof kProfileSuffix);
  Os::UnlinkFile(profile);
}

void RemoveDeadPages(const char* prefix, const ProcessImage& own, uint64_t now_ms) { Sweep(prefix, own, now_ms).Run(); }

}  // namespace neap
