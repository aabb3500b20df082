// proc.cc: what the kernel tells about a process under /proc.
#include "tools/neap/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tools/neap/failure.h"

namespace neap::command {
namespace {

// Field `number` of /proc/PID/stat, 3 or higher. The command, field 2, may hold blanks and brackets: count from its
// end.
std::string StatField(pid_t pid, int number) {
  std::string text = ReadWholeFile(ProcPath(pid, "stat")).value_or("");
  size_t end = text.rfind(')');
  if (end == std::string::npos) return "";
  std::istringstream fields(text.substr(end + 1));
  std::string field;
  for (int at = 3; at <= number; ++at) fields >> field;
  return field;
}

}  // namespace

// By read and not by a stream's buffer, which throws where a process ends between the open and the read.
std::optional<std::string> ReadWholeFile(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char part[4096];
  ssize_t length;
  while ((length = read(fd, part, sizeof part)) > 0) text.append(part, static_cast<size_t>(length));
  close(fd);
  if (length < 0) return std::nullopt;
  return text;
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string ProcPath(pid_t pid, const std::string& name) { return fmt::format("/proc/{}/{}", pid, name); }

bool ProcessExists(pid_t pid) { return kill(pid, 0) == 0 || errno == EPERM; }

bool ProcessRuns(pid_t pid) {
  std::string state = StatField(pid, 3);
  return !state.empty() && state != "Z" && state != "X";
}

uint64_t StartTime(pid_t pid) { return strtoull(StatField(pid, 22).c_str(), nullptr, 10); }

std::optional<std::vector<Mapping>> ReadMappings(pid_t pid) {
  std::ifstream file(ProcPath(pid, "maps"));
  std::string line;
  std::vector<Mapping> mappings;
  while (std::getline(file, line)) {
    Mapping mapping;
    char access[5] = "";
    int path_at = 0;
    unsigned long begin = 0, end = 0, inode = 0;
    int fields = sscanf(line.c_str(), "%lx-%lx %4s %*x %*x:%*x %lu %n", &begin, &end, access, &inode, &path_at);
    if (fields < 4) continue;
    mapping.begin = begin;
    mapping.end = end;
    mapping.access = access;
    mapping.inode = inode;
    mapping.path = line.substr(static_cast<size_t>(path_at));
    mappings.push_back(std::move(mapping));
  }
  // Every process that runs has mappings: an empty file means that we may not read them.
  if (mappings.empty()) return std::nullopt;
  return mappings;
}

std::optional<std::string> StatusText(pid_t pid, const std::string& name) {
  std::ifstream file(ProcPath(pid, "status"));
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(name + ":")) continue;
    size_t begin = line.find_first_not_of(" \t", name.size() + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return std::nullopt;
}

std::optional<uint64_t> StatusBytes(pid_t pid, const std::string& name) {
  std::optional<std::string> text = StatusText(pid, name);
  if (!text) return std::nullopt;
  return strtoull(text->c_str(), nullptr, 10) * 1024;
}

std::string CommandLine(pid_t pid) {
  std::string text = ReadWholeFile(ProcPath(pid, "cmdline")).value_or("");
  while (!text.empty() && text.back() == '\0') text.pop_back();
  for (char& c : text) {
    if (c == '\0') c = ' ';
  }
  return text;
}

std::optional<std::string> ProcessEnvironment(pid_t pid, const std::string& name) {
  std::istringstream text(ReadWholeFile(ProcPath(pid, "environ")).value_or(""));
  std::string entry;
  while (std::getline(text, entry, '\0')) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return std::nullopt;
}

std::optional<uint64_t> AuxiliaryValue(pid_t pid, uint64_t type) {
  std::string text = ReadWholeFile(ProcPath(pid, "auxv")).value_or("");
  uint64_t entry[2];
  for (size_t at = 0; at + sizeof entry <= text.size(); at += sizeof entry) {
    memcpy(entry, text.data() + at, sizeof entry);
    if (entry[0] == type) return entry[1];
  }
  return std::nullopt;
}

void RequireProcess(pid_t pid) {
  if (!ProcessExists(pid)) throw Failure(kNoAccess, fmt::format("there is no process {}: see ps -e", pid));
}

}  // namespace neap::command
