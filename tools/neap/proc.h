// proc.h: what the kernel tells about a process under /proc. Nothing is kept: each call reads anew.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace neap::command {

struct Mapping {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string access;  // "rw-s"
  uint64_t inode = 0;
  std::string path;  // may end in " (deleted)"

  bool shared() const { return access.size() == 4 && access[3] == 's'; }
};

std::optional<std::string> ReadWholeFile(const std::string& path);
std::string FirstLine(const std::string& path);  // "" where there is none

std::string ProcPath(pid_t pid, const std::string& name);
bool ProcessExists(pid_t pid);
// Also false for a zombie.
bool ProcessRuns(pid_t pid);
// Field 22 of /proc/PID/stat; 0 without such a process.
uint64_t StartTime(pid_t pid);
std::optional<std::vector<Mapping>> ReadMappings(pid_t pid);
// A line of /proc/PID/status, without its name and blanks; a figure in kB comes as bytes from StatusBytes.
std::optional<std::string> StatusText(pid_t pid, const std::string& name);
std::optional<uint64_t> StatusBytes(pid_t pid, const std::string& name);
std::string CommandLine(pid_t pid);
// What a variable had when the process was started.
std::optional<std::string> ProcessEnvironment(pid_t pid, const std::string& name);
// An entry of the auxiliary vector, such as AT_SECURE.
std::optional<uint64_t> AuxiliaryValue(pid_t pid, uint64_t type);

// Ends the command with kNoAccess if there is no such process.
void RequireProcess(pid_t pid);

}  // namespace neap::command
