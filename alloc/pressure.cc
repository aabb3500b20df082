// pressure.cc: the parsers of the kernel's memory files and the judgement of headroom. Pure, see pressure.h.
#include "alloc/pressure.h"

#include <string.h>

namespace neap {
namespace {

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

// Takes what is before the first `stop` off `text`, and the stop with it; all of it if there is no stop.
std::string_view TakeUntil(std::string_view* text, char stop) {
  size_t length = text->find(stop);
  if (length == text->npos) length = text->size();
  std::string_view taken(text->data(), length);
  text->remove_prefix(length < text->size() ? length + 1 : length);
  return taken;
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}

// Whether a list separated by commas holds the item.
bool ListHolds(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    if (TakeUntil(&list, ',') == item) return true;
  }
  return false;
}

// Reads leading digits; false if there is none. Numbers past the range end at the greatest.
bool TakeNumber(std::string_view* text, uint64_t* number) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) text->remove_prefix(1);
  if (text->empty() || text->front() < '0' || text->front() > '9') return false;
  *number = 0;
  for (; !text->empty() && text->front() >= '0' && text->front() <= '9'; text->remove_prefix(1)) {
    if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, text->front() - '0', number)) {
      *number = UINT64_MAX;
    }
  }
  return true;
}

// v1 writes no limit as the greatest multiple of a page below 2^63; no machine has an exbibyte.
uint64_t LimitOf(uint64_t bytes) { return bytes < uint64_t{1} << 60 ? bytes : kNoLimit; }

// For each line "key number" calls visit(key, number).
template <class Visit>
void ForEachCount(std::string_view text, Visit visit) {
  while (!text.empty()) {
    std::string_view line = TakeUntil(&text, '\n');
    std::string_view key = TakeUntil(&line, ' ');
    uint64_t number;
    if (TakeNumber(&line, &number)) visit(key, number);
  }
}

// ---- Paths.

// Takes one character of a name as mountinfo writes it: blanks and backslashes are three octal digits.
char TakeUnescaped(std::string_view* text) {
  std::string_view& t = *text;
  char c = t[0];
  size_t taken = 1;
  if (c == '\\' && t.size() >= 4 && t[1] >= '0' && t[1] <= '3') {
    c = static_cast<char>((t[1] - '0') * 64 + (t[2] - '0') * 8 + (t[3] - '0'));
    taken = 4;
  }
  t.remove_prefix(taken);
  return c;
}

// The part of `path` below `root` (empty, or beginning with '/'); false if path is not root or below it.
// `root` is written as in mountinfo, `path` is as it is.
bool PathBelow(std::string_view path, std::string_view root, std::string_view* below) {
  if (root == "/") root.remove_prefix(1);
  while (!root.empty()) {
    if (path.empty() || path.front() != TakeUnescaped(&root)) return false;
    path.remove_prefix(1);
  }
  if (path == "/") path.remove_prefix(1);
  if (!path.empty() && path.front() != '/') return false;
  if (path == "/.." || StartsWith(path, "/../")) return false;  // outside of the namespace's root
  *below = path;
  return true;
}

struct Mount {
  std::string_view root, point, type, options;
};

// "id parent major:minor root point options [tags...] - type source super-options"
bool ParseMount(std::string_view line, Mount* mount) {
  for (int skipped = 0; skipped < 3; ++skipped) TakeUntil(&line, ' ');
  mount->root = TakeUntil(&line, ' ');
  mount->point = TakeUntil(&line, ' ');
  while (!line.empty() && TakeUntil(&line, ' ') != "-") {
  }
  mount->type = TakeUntil(&line, ' ');
  TakeUntil(&line, ' ');
  mount->options = line;
  return !mount->point.empty() && !mount->type.empty();
}

constexpr std::string_view kController = "memory";

// The process's path in the hierarchy that holds the controller, and that hierarchy's version; 0: none.
int OwnPath(std::string_view cgroups, std::string_view* path) {
  int version = 0;
  while (!cgroups.empty()) {
    std::string_view line = TakeUntil(&cgroups, '\n');
    std::string_view hierarchy = TakeUntil(&line, ':');
    std::string_view controllers = TakeUntil(&line, ':');
    if (line.empty() || line.front() != '/') continue;
    // A controller is in one hierarchy at a time: where v1 holds it, v2 does not.
    if (ListHolds(controllers, kController)) {
      *path = line;
      return 1;
    }
    if (hierarchy == "0" && controllers.empty()) {
      *path = line;
      version = 2;
    }
  }
  return version;
}

void FillLevels(CgroupPath* path, size_t mount_length) {
  path->levels = 0;
  for (size_t end = strlen(path->text); path->levels < kMaxLevels; --end) {
    while (end > mount_length && path->text[end] != '/' && path->text[end] != 0) --end;
    path->ends[path->levels++] = static_cast<uint16_t>(end);
    if (end <= mount_length) break;
  }
}

}  // namespace

bool JoinPath(std::string_view directory, std::string_view file, char* out, size_t size) {
  if (directory.size() + file.size() + 2 > size) return false;
  memcpy(out, directory.data(), directory.size());
  out += directory.size();
  *out++ = '/';
  memcpy(out, file.data(), file.size());
  out[file.size()] = 0;
  return true;
}

void FindCgroup(std::string_view cgroups, std::string_view mounts, CgroupPath* path) {
  path->version = 0;
  path->levels = 0;
  std::string_view own;
  int version = OwnPath(cgroups, &own);
  if (version == 0) return;

  // Of several mounts the one that shows most of our ancestors; of equal ones the first, as later ones tend to be some
  // chroot's and to go away, unless a later one covers it.
  Mount best{};
  std::string_view best_below;
  bool best_contains = false;
  while (!mounts.empty()) {
    Mount mount;
    if (!ParseMount(TakeUntil(&mounts, '\n'), &mount)) continue;
    if (version == 2 ? mount.type != "cgroup2" : mount.type != "cgroup" || !ListHolds(mount.options, kController)) {
      continue;
    }
    std::string_view below;
    bool contains = PathBelow(own, mount.root, &below);
    bool better = best.point.empty() || mount.point == best.point || (contains && !best_contains) ||
                  (contains && mount.root.size() < best.root.size());
    if (!better) continue;
    best = mount;
    best_contains = contains;
    best_below = contains ? below : std::string_view();
  }
  if (best.point.empty()) return;

  constexpr size_t kRoom = sizeof(path->text) - 1;
  size_t length = 0;
  while (!best.point.empty()) {
    if (length == kRoom) return;
    path->text[length++] = TakeUnescaped(&best.point);
  }
  if (length == 1) length = 0;  // mounted at "/"
  // What does not fit is cut at a '/', so that an ancestor is left.
  size_t mount_length = length;
  while (best_below.size() > kRoom - length) best_below.remove_suffix(best_below.size() - best_below.rfind('/'));
  for (char c : best_below) path->text[length++] = c;
  path->text[length] = 0;
  path->version = version;
  FillLevels(path, mount_length);
}

uint64_t ParseNumber(std::string_view text, uint64_t fallback) {
  uint64_t number;
  return TakeNumber(&text, &number) ? number : fallback;
}

uint64_t ParseLimit(std::string_view text) { return LimitOf(ParseNumber(text, kNoLimit)); }

MemoryStat ParseMemoryStat(std::string_view text, int version) {
  // Two ways to count what only swapping or a kill could free, and the lesser is right:
  // - the lists of the reclaimer: they leave out lazily freed pages (which move to a file list), but count a huge page
  //   whole until it is split, though most of it may have been given back;
  // - the mapped pages: exact for huge pages, but they count lazily freed pages until they are reclaimed.
  // Locked file pages are in neither's anonymous part; `unevictable` has them, and locked anonymous pages too.
  uint64_t anon = 0, shmem = 0, unevictable = 0, lists = 0;
  uint64_t kernel = 0, kernel_parts = 0, reclaimable_slab = 0, other = 0;
  bool has_lists = false, has_mapped = false, has_kernel = false;
  MemoryStat stat;
  std::string_view prefix = version == 1 ? "total_" : "";
  ForEachCount(text, [&](std::string_view key, uint64_t bytes) {
    if (version == 1 && key == "hierarchical_memory_limit") stat.hierarchical_limit = LimitOf(bytes);
    if (!StartsWith(key, prefix)) return;
    key.remove_prefix(prefix.size());
    if (key == "active_anon" || key == "inactive_anon") {
      lists += bytes;
      has_lists = true;
    } else if (key == "unevictable") {
      unevictable = bytes;
    } else if (key == (version == 1 ? "rss" : "anon")) {
      anon = bytes;
      has_mapped = true;
    } else if (key == "shmem") {
      shmem = bytes;
    } else if (version == 1) {
      return;
    } else if (key == "kernel") {
      kernel = bytes;
      has_kernel = true;
    } else if (key == "slab_unreclaimable" || key == "kernel_stack" || key == "pagetables" || key == "percpu") {
      kernel_parts += bytes;
    } else if (key == "slab_reclaimable") {
      reclaimable_slab = bytes;
    } else if (key == "sock" || key == "hugetlb") {
      other += bytes;
    }
  });
  uint64_t mapped = anon + shmem + unevictable;
  lists += unevictable;
  uint64_t pages = !has_lists ? mapped : !has_mapped || lists < mapped ? lists : mapped;
  if (has_kernel) kernel_parts = kernel > reclaimable_slab ? kernel - reclaimable_slab : 0;
  stat.unreclaimable = pages + kernel_parts + other;
  return stat;
}

uint64_t ParseStallUs(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = TakeUntil(&text, '\n');
    if (TakeUntil(&line, ' ') != "some") continue;
    while (!line.empty()) {
      std::string_view value = TakeUntil(&line, ' ');
      if (TakeUntil(&value, '=') == "total") return ParseNumber(value, 0);
    }
  }
  return 0;
}

MemoryEvents ParseMemoryEvents(std::string_view text) {
  MemoryEvents events;
  ForEachCount(text, [&](std::string_view key, uint64_t count) {
    if (key == "max") events.max = count;
    if (key == "oom_kill") events.oom_kill = count;
  });
  return events;
}

uint64_t LowMark(uint64_t limit) {
  if (limit == kNoLimit) return 0;
  uint64_t least = limit / 4 < 32 * kMiB ? limit / 4 : 32 * kMiB;
  uint64_t mark = limit / 8 > least ? limit / 8 : least;
  return mark < 4 * kGiB ? mark : 4 * kGiB;
}

uint64_t CriticalMark(uint64_t limit) {
  if (limit == kNoLimit) return 0;
  uint64_t least = limit / 8 < 8 * kMiB ? limit / 8 : 8 * kMiB;
  uint64_t mark = limit / 32 > least ? limit / 32 : least;
  return mark < kGiB ? mark : kGiB;
}

PressureLevel JudgePressure(PressureLevel previous, uint64_t limit, uint64_t headroom, uint32_t stall_permille) {
  if (limit == kNoLimit) return PressureLevel::kAmple;
  uint64_t low = LowMark(limit), critical = CriticalMark(limit);
  if (headroom < low) {
    if (stall_permille >= 400) critical = low;
  } else if (headroom < 2 * low && stall_permille >= 100) {
    low = 2 * low;
  }
  if (previous >= PressureLevel::kLow) low += low / 4;
  if (previous == PressureLevel::kCritical) critical += critical / 4;
  if (headroom < critical || limit == 0) return PressureLevel::kCritical;
  return headroom < low ? PressureLevel::kLow : PressureLevel::kAmple;
}

uint64_t GrowthAllowance(uint64_t headroom) {
  if (headroom == kNoLimit) return kNoLimit;
  uint64_t allowance = headroom / 8;
  if (allowance > 64 * kMiB) return 64 * kMiB;
  return allowance < 64 * kKiB ? 64 * kKiB : allowance;
}

}  // namespace neap
