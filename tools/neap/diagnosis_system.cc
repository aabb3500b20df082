// diagnosis_system.cc: what of the machine, the container and the shell's limits touches neap.
#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>

#include "alloc/pressure.h"
#include "alloc/stats_page.h"
#include "tools/neap/bytes.h"
#include "tools/neap/cgroup.h"
#include "tools/neap/diagnosis.h"
#include "tools/neap/elf.h"
#include "tools/neap/library.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

constexpr uint64_t kFewMappings = 65530;  // the kernel's default
constexpr uint64_t kSmallAddressSpace = uint64_t{4} << 30;

// Runs /bin/true with the library preloaded; what the loader says against it.
std::string LoaderComplaint(const std::string& library) {
  setenv("LIBRARY", library.c_str(), 1);
  FILE* pipe = popen("LD_PRELOAD=\"$LIBRARY\" exec /bin/true 2>&1", "r");
  unsetenv("LIBRARY");
  if (pipe == nullptr) return strerror(errno);
  std::string text;
  char buffer[256];
  while (fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
  int status = pclose(pipe);
  if (!text.empty()) return text.substr(0, text.find('\n'));
  return status == 0 ? "" : fmt::format("/bin/true ends with status {}", status);
}

Finding Library() {
  std::string library = FindLibrary();
  if (library.empty()) {
    return {Severity::kBlock, "library", "libneap.so was not found", "set NEAP_LIBRARY to its path"};
  }
  if (library.find_first_of(": ") != library.npos) {
    return {Severity::kBlock, "library", fmt::format("'{}' has a blank or colon in its path", library),
            "copy it elsewhere and set NEAP_LIBRARY"};
  }
  std::string complaint = LoaderComplaint(library);
  if (!complaint.empty()) {
    return {Severity::kBlock, "library", fmt::format("{} does not load: {}", library, complaint),
            "use a build for this machine and its libc"};
  }
  return {Severity::kFine, "library", library + " loads", ""};
}

// What the loader keeps of static TLS for libraries that are opened late, at the least: more where no dlmopen is used.
constexpr uint64_t kOptionalTls = 512;

// Preloaded or linked it has its place from the start on; with a plugin that is opened late it comes late as well.
Finding StaticTls(uint64_t bytes, pid_t pid) {
  constexpr const char* kTunable = "glibc.rtld.optional_static_tls=";
  const std::string tunables = ProcessEnvironment(pid, "GLIBC_TUNABLES").value_or("");
  const size_t at = tunables.find(kTunable);
  const uint64_t kept =
      at == tunables.npos ? kOptionalTls : strtoull(tunables.c_str() + at + strlen(kTunable), nullptr, 0);
  const std::string what = fmt::format("{} for libneap.so, of {} that are kept for libraries opened late",
                                       FormatBytes(bytes), FormatBytes(kept));
  if (bytes <= kept) return {Severity::kFine, "static TLS", what, ""};
  return {Severity::kNote, "static TLS", what + ": a plugin that is linked with it may not load",
          fmt::format("preload it, or GLIBC_TUNABLES={}{}", kTunable, kOptionalTls)};
}

Finding SharedMemory() {
  std::string folder = std::filesystem::path(kStatsDefaultPrefix).parent_path();
  struct statvfs status {};
  bool usable = access(folder.c_str(), W_OK | X_OK) == 0 && statvfs(folder.c_str(), &status) == 0;
  uint64_t room = usable ? status.f_bavail * status.f_frsize : 0;
  if (room >= sizeof(StatsPage)) {
    return {Severity::kFine, "statistics", fmt::format("{} has room for pages of statistics", folder), ""};
  }
  return {Severity::kNote, "statistics", fmt::format("{} cannot be written to or is full: no neap stat", folder),
          "mount it, or set NEAP_STATS to a prefix elsewhere"};
}

Finding HugePages() {
  std::string text = FirstLine("/sys/kernel/mm/transparent_hugepage/enabled");
  size_t begin = text.find('['), end = text.find(']');
  if (begin == text.npos || end == text.npos) return {Severity::kFine, "huge pages", "the kernel has none", ""};
  std::string mode = text.substr(begin + 1, end - begin - 1);
  if (mode != "always") return {Severity::kFine, "huge pages", "mode " + mode, ""};
  return {Severity::kNote, "huge pages", "mode always: neap keeps its own memory out of it, foreign memory is not",
          "'madvise' in /sys/kernel/mm/transparent_hugepage/enabled, if foreign memory grows"};
}

void Cgroups(pid_t pid, Findings& findings) {
  std::optional<CgroupPlace> place = MemoryCgroupOf(pid);
  if (!place) {
    findings.push_back({Severity::kNote, "cgroup", "no memory controller is mounted here: neap sees no limit",
                        "mount /sys/fs/cgroup into the container"});
    return;
  }
  std::vector<CgroupLevel> levels = CgroupLevels(*place);
  const CgroupLevel* binding = BindingLevel(levels);
  if (binding == nullptr) {
    findings.push_back(
        {Severity::kFine, "cgroup", fmt::format("version {}, no limit up to the root", place->version), ""});
  }
  for (const CgroupLevel& level : levels) {
    if (level.Tightest() == kNoLimit) continue;
    std::string high = level.high == kNoLimit ? "" : fmt::format(", high {}", FormatBytes(level.high));
    std::string limit = level.limit == kNoLimit ? "none" : FormatBytes(level.limit);
    findings.push_back({Severity::kFine, "cgroup",
                        fmt::format("version {}, limit {}{} at {}{}", place->version, limit, high,
                                    level.folder.empty() ? "a level that cannot be seen from here" : level.folder,
                                    &level == binding ? ": this one binds" : ""),
                        ""});
  }
}

Finding RestartableSequences(pid_t pid) {
  bool turned_off =
      ProcessEnvironment(pid, "GLIBC_TUNABLES").value_or("").find("glibc.pthread.rseq=0") != std::string::npos;
  if (__rseq_size > 0 && !turned_off) return {Severity::kFine, "rseq", "glibc registers it for every thread", ""};
  return {Severity::kNote, "rseq", "not registered: neap takes try-locks, which are slower",
          "unset glibc.pthread.rseq in GLIBC_TUNABLES; kernel 4.18 or later"};
}

// "Max address space   unlimited   unlimited   bytes"
Finding AddressSpace(pid_t pid) {
  std::string text = ReadWholeFile(ProcPath(pid, "limits")).value_or("");
  constexpr const char* kName = "Max address space";
  size_t at = text.find(kName);
  uint64_t limit = at == text.npos ? kNoLimit : ParseNumber(text.substr(at + strlen(kName)), kNoLimit);
  if (limit == kNoLimit) return {Severity::kFine, "ulimit -v", "unlimited", ""};
  return {
      limit < kSmallAddressSpace ? Severity::kNote : Severity::kFine, "ulimit -v",
      fmt::format("{}: neap reserves address space in small steps, and none is left for much else", FormatBytes(limit)),
      "ulimit -v unlimited; a container's limit bounds memory, this bounds addresses"};
}

Finding Mappings(pid_t pid) {
  uint64_t most = ParseNumber(FirstLine("/proc/sys/vm/max_map_count"), 0);
  auto mappings = ReadMappings(pid);
  uint64_t used = mappings ? mappings->size() : 0;
  std::string what = fmt::format("{}, {} in use", most, used);
  if (most >= kFewMappings && used < most / 2) return {Severity::kFine, "max_map_count", what, ""};
  return {Severity::kNote, "max_map_count", what + ": a process near it cannot map memory",
          "sysctl vm.max_map_count=262144"};
}

Finding Overcommit() {
  std::string mode = FirstLine("/proc/sys/vm/overcommit_memory");
  if (mode != "2") return {Severity::kFine, "overcommit", "mode " + mode, ""};
  return {Severity::kNote, "overcommit", "mode 2: address space that neap reserves counts against CommitLimit",
          "sysctl vm.overcommit_memory=0, or a higher vm.overcommit_ratio"};
}

}  // namespace

void DiagnoseSystem(pid_t pid, Findings& findings) {
  findings.push_back(Library());
  std::string ignored;
  if (const std::optional<ElfFile> library = ReadElf(FindLibrary(), &ignored)) {
    findings.push_back(StaticTls(library->tls, pid));
  }
  findings.push_back(SharedMemory());
  Cgroups(pid, findings);
  findings.push_back(HugePages());
  findings.push_back(RestartableSequences(pid));
  findings.push_back(AddressSpace(pid));
  findings.push_back(Mappings(pid));
  findings.push_back(Overcommit());
}

}  // namespace neap::command
