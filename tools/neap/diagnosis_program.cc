// diagnosis_program.cc: what of a command or a process keeps an interposed malloc from its memory.
#include <elf.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "tools/neap/diagnosis.h"
#include "tools/neap/elf.h"
#include "tools/neap/failure.h"
#include "tools/neap/library.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

constexpr const char* kArrowPool = "ARROW_DEFAULT_MEMORY_POOL";
constexpr int kMostInterpreters = 4;  // as the kernel: a script's interpreter may be a script

std::string FindCommand(const std::string& command) {
  if (command.find('/') != command.npos) {
    if (access(command.c_str(), F_OK) == 0) return command;
    throw Failure(kNoAccess, fmt::format("{}: {}", command, strerror(errno)));
  }
  const char* path = getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = (folder.empty() ? "." : folder) + "/" + command;
    if (access(file.c_str(), X_OK) == 0 && fs::is_regular_file(file)) return file;
  }
  throw Failure(kNoAccess, fmt::format("no command '{}' in PATH: give its path", command));
}

// The program that the kernel runs for a script; empty if the file is none.
std::string Interpreter(const std::string& file) {
  std::string line = FirstLine(file);
  if (!line.starts_with("#!")) return "";
  std::istringstream words(line.substr(2));
  std::string program, argument;
  words >> program >> argument;
  // env takes options before the program's name: -S, -i, and variables.
  while (fs::path(program).filename() == "env" && (argument.starts_with('-') || argument.find('=') != argument.npos)) {
    argument.clear();
    words >> argument;
  }
  return fs::path(program).filename() == "env" && !argument.empty() ? FindCommand(argument) : program;
}

// What makes an allocator give back at once, in the environment of its program.
struct Setting {
  const char* family;
  const char* variable;  // of jemalloc where the file does not tell it
  const char* value;
};
constexpr Setting kSettings[] = {
    {"jemalloc", "<PREFIX>MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"},
    {"mimalloc", "MIMALLOC_PURGE_DELAY", "0"},
    {"tcmalloc", "TCMALLOC_AGGRESSIVE_DECOMMIT", "1 (which that of gperftools reads)"},
    {"Scudo", "SCUDO_OPTIONS", "release_to_os_interval_ms=0"},
};

std::string HowToGiveBack(const AllocatorInside& inside) {
  std::string advice;
  for (const Setting& setting : kSettings) {
    if (inside.family != setting.family) continue;
    advice = fmt::format("set {}={}", inside.variable.empty() ? setting.variable : inside.variable, setting.value);
  }
  if (!inside.call.empty()) advice += (advice.empty() ? "call " : ", or call ") + inside.call;
  if (advice.empty()) advice = "build it without " + inside.family + ", which nothing makes give back";
  return advice + "; what it holds shows as foreign";
}

// arrow_pool: ARROW_DEFAULT_MEMORY_POOL of the program, with which Arrow leaves its own allocators unused.
void DiagnoseAllocators(const ElfFile& elf, const std::string& file, const std::string& arrow_pool,
                        Findings& findings) {
  bool is_arrow = fs::path(file).filename().string().starts_with("libarrow");
  for (const AllocatorInside& inside : elf.allocators) {
    std::string what = fmt::format("{} has {} inside ({})", file, inside.family, inside.evidence);
    std::string bypass = ": what it allocates there does not reach neap";
    // One that exports malloc is a replacement like neap, and the one that is preloaded comes first.
    if (elf.exports_malloc && !elf.executable) {
      what = fmt::format("{} is {}: neap comes first where it is preloaded", file, inside.family);
      findings.push_back({Severity::kNote, "allocator", what, ""});
    } else if (is_arrow && arrow_pool == "system") {
      what += ", unused with ARROW_DEFAULT_MEMORY_POOL=system";
      findings.push_back({Severity::kNote, "allocator", what, ""});
    } else if (is_arrow) {
      findings.push_back({Severity::kPart, "allocator", what + bypass, "set ARROW_DEFAULT_MEMORY_POOL=system"});
    } else {
      findings.push_back({Severity::kPart, "allocator", what + bypass, HowToGiveBack(inside)});
    }
  }
  if (elf.executable && elf.dynamic && elf.exports_malloc) {
    findings.push_back({Severity::kBlock, "allocator",
                        fmt::format("{} brings a malloc of its own, which comes before any preloaded one", file),
                        "build it without its allocator"});
  }
  if (elf.is_go) {
    findings.push_back({Severity::kPart, "allocator",
                        fmt::format("{} is a Go program: its heap is foreign memory", file),
                        "GOMEMLIMIT bounds that heap"});
  }
}

// What the loader looks at before it preloads anything. False: neap cannot be in this program at all.
bool DiagnoseExecutable(const ElfFile& elf, const std::string& file, Findings& findings) {
  std::string ignored;
  std::optional<ElfFile> library = ReadElf(FindLibrary(), &ignored);
  if (library && (elf.machine != library->machine || !elf.is_64_bit)) {
    findings.push_back({Severity::kBlock, "architecture",
                        fmt::format("{} is {}{}, libneap.so is {}", file, MachineName(elf.machine),
                                    elf.is_64_bit ? "" : " (not 64-bit)", MachineName(library->machine)),
                        "use a build of both for one architecture"});
    return false;
  }
  if (elf.executable && elf.interpreter.empty()) {
    findings.push_back({Severity::kBlock, "static",
                        fmt::format("{} is linked statically: nothing can be preloaded", file),
                        "build it dynamically, or link it with -lneap"});
    return false;
  }
  std::vector<std::string> loaded = elf.needed;  // a library names no loader, but its libc
  loaded.push_back(elf.interpreter);
  const auto musl = std::find_if(loaded.begin(), loaded.end(),
                                 [](const std::string& name) { return name.find("musl") != name.npos; });
  if (musl != loaded.end()) {
    findings.push_back({Severity::kBlock, "libc", fmt::format("{} uses musl ({}); libneap.so needs glibc", file, *musl),
                        "use an image with glibc, such as Debian's"});
    return false;
  }
  findings.push_back({Severity::kFine, "program",
                      fmt::format("{}: {}, {}", file, MachineName(elf.machine),
                                  elf.executable ? "loaded by " + elf.interpreter : "a shared library"),
                      ""});
  return true;
}

// With privileges that its user does not have, the loader ignores LD_PRELOAD with a path.
void DiagnosePrivileges(const std::string& file, Findings& findings) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return;
  bool changes_user = (status.st_mode & S_ISUID) != 0 && status.st_uid != getuid();
  bool changes_group = (status.st_mode & S_ISGID) != 0 && status.st_gid != getgid();
  bool gains = getuid() != 0 && getxattr(file.c_str(), "security.capability", nullptr, 0) > 0;
  if (!changes_user && !changes_group && !gains) {
    if ((status.st_mode & (S_ISUID | S_ISGID)) != 0) {
      findings.push_back({Severity::kNote, "setuid",
                          file + " is setuid or setgid: other users than this one run it "
                                 "without neap",
                          ""});
    }
    return;
  }
  findings.push_back({Severity::kBlock, "setuid",
                      fmt::format("{} {}: the loader ignores LD_PRELOAD", file,
                                  gains ? "has file capabilities" : "is setuid or setgid"),
                      "run it as the user it changes to, or link it with -lneap"});
}

void DiagnoseScan(const std::string& file, const std::string& shown_as, const std::string& arrow_pool,
                  Findings& findings) {
  std::string problem;
  std::optional<ElfFile> elf = ReadElf(file, &problem);
  if (elf) {
    DiagnoseAllocators(*elf, shown_as, arrow_pool, findings);
  } else if (!problem.empty()) {
    findings.push_back({Severity::kNote, "allocator", fmt::format("{} could not be read: {}", shown_as, problem), ""});
  }
}

bool IsNeap(const std::string& file) { return fs::path(file).filename().string().starts_with("libneap.so"); }

}  // namespace

void DiagnoseCommand(const std::string& command, Findings& findings) {
  std::string file = FindCommand(command);
  for (int i = 0; i < kMostInterpreters; ++i) {
    std::string interpreter = Interpreter(file);
    if (interpreter.empty()) break;
    file = interpreter;
  }
  std::string problem;
  std::optional<ElfFile> elf = ReadElf(file, &problem);
  if (!elf) {
    throw Failure(kNoAccess,
                  fmt::format("{} {}", file, problem.empty() ? "is neither a program nor a script" : problem));
  }
  if (!DiagnoseExecutable(*elf, file, findings)) return;
  DiagnosePrivileges(file, findings);
  const char* arrow_pool = getenv(kArrowPool);
  if (arrow_pool == nullptr) arrow_pool = "";
  DiagnoseAllocators(*elf, file, arrow_pool, findings);
  for (const std::string& library : NeededFiles(*elf)) {
    if (!IsNeap(library)) DiagnoseScan(library, library, arrow_pool, findings);
  }
  if (elf->executable) {
    findings.push_back({Severity::kNote, "libraries",
                        "what it loads by dlopen (Python's modules, a JVM's libraries) is not seen here",
                        "ask again with the PID while it runs"});
  }
}

void DiagnoseProcess(pid_t pid, Findings& findings) {
  auto mappings = ReadMappings(pid);
  if (!mappings) {
    throw Failure(kNoAccess, fmt::format("may not read the memory map of {}: run as its user or as root", pid));
  }
  std::string executable = ProcPath(pid, "exe");
  std::error_code error;
  std::string name = fs::read_symlink(executable, error);
  std::string problem;
  std::optional<ElfFile> elf = ReadElf(executable, &problem);
  bool can_preload = !elf || DiagnoseExecutable(*elf, name, findings);

  std::string arrow_pool = ProcessEnvironment(pid, kArrowPool).value_or("");
  bool on_neap = false;
  std::set<std::string> seen;
  for (const Mapping& mapping : *mappings) {
    bool neap = IsNeap(mapping.path);
    on_neap |= neap;
    if (neap || mapping.access.find('x') == std::string::npos || !mapping.path.starts_with('/')) continue;
    if (!seen.insert(mapping.path).second) continue;
    // A replaced file still runs; then only its mapping leads to it.
    std::string file = ProcPath(pid, "root") + mapping.path;
    if (access(file.c_str(), R_OK) != 0)
      file = ProcPath(pid, fmt::format("map_files/{:x}-{:x}", mapping.begin, mapping.end));
    DiagnoseScan(file, mapping.path, arrow_pool, findings);
  }

  std::string preload = ProcessEnvironment(pid, "LD_PRELOAD").value_or("");
  std::string other = OtherAllocatorIn(preload);
  if (on_neap && other.empty()) {
    findings.push_back({Severity::kFine, "on neap", fmt::format("{} runs on neap", pid), ""});
  } else if (!other.empty()) {
    findings.push_back(
        {Severity::kBlock, "LD_PRELOAD", fmt::format("has {}, which comes before neap", other), "unset it"});
  } else if (can_preload && AuxiliaryValue(pid, AT_SECURE).value_or(0) != 0) {
    findings.push_back({Severity::kBlock, "on neap",
                        fmt::format("{} runs with privileges (setuid, capabilities): the "
                                    "loader ignored LD_PRELOAD",
                                    pid),
                        "start it as the user it changes to"});
  } else if (can_preload && preload.find("libneap") != preload.npos) {
    findings.push_back({Severity::kBlock, "on neap",
                        fmt::format("{} was started with LD_PRELOAD={}, but it is not "
                                    "loaded: is the file there in its container?",
                                    pid, preload),
                        "copy libneap.so into the image"});
  } else if (can_preload) {
    findings.push_back({Severity::kBlock, "on neap", fmt::format("{} was started without neap", pid),
                        "start it by 'neap run -- CMD', or with LD_PRELOAD"});
  }
  if (StatusText(pid, "Seccomp").value_or("0") == "2") {
    findings.push_back(
        {Severity::kNote, "seccomp", "a filter is on: if it refuses madvise, nothing can be given back", ""});
  }
}

}  // namespace neap::command
