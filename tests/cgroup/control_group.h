// control_group.h: a cgroup with a memory limit of its own, on v1 or v2, made below the test's own and removed with the
// object, and a program inside it that takes orders line by line.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace neap::test {

constexpr uint64_t kMiB = 1 << 20;

class ControlGroup {
 public:
  // Why no such group can be made here; nothing where one can.
  static std::optional<std::string> WhyNot();
  // 1 or 2; 0 where WhyNot has a reason.
  static int Version();

  // Below the test's own group (v2: the root's), or below another of these.
  explicit ControlGroup(const ControlGroup* parent = nullptr);
  ~ControlGroup();
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  const std::string& path() const { return path_; }
  // 0 or an errno value: v1 refuses (EBUSY) a limit below what it cannot reclaim.
  int SetLimit(uint64_t bytes);
  int SetHigh(uint64_t bytes);  // v2
  void Enter(pid_t process) const;

  uint64_t Used() const;  // all that is charged, page cache too
  uint64_t OomKills() const;
  uint64_t Event(const std::string& name) const;  // v2: a count of memory.events
  std::string Read(const std::string& file) const;

 private:
  int Write(const std::string& file, const std::string& text) const;

  std::string path_;
};

// A program in a group, with what it answered. Killed and waited for with the object.
class Program {
 public:
  Program(const ControlGroup& group, const std::vector<std::string>& command,
          const std::vector<std::string>& environment);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void Order(const std::string& line);
  // The next line that it writes; nothing if it ends or is silent for that long.
  std::optional<std::string> Answer(std::chrono::seconds patience = std::chrono::seconds(120));
  // Sends the order and waits for the answer; "ended" in place of one if none comes.
  std::string Ask(const std::string& line);
  // Closes its input and waits; the exit status as a shell tells it (137: killed). -1: did not end.
  int End(std::chrono::seconds patience = std::chrono::seconds(60));
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1;
  std::string pending_;
};

}  // namespace neap::test
