// child.h: the command that `neap run` runs: started inside a cgroup, sent the signals that we get, waited for.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace neap::command {

struct ChildPlan {
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> environment;  // set in addition to ours
  std::string cgroup_processes_file;                             // empty: stays in our cgroup
};

struct ChildEnd {
  int exit_code = 0;     // 128 + signal where one ended it
  int signal = 0;        // 0: it exited by itself
  uint64_t max_rss = 0;  // of the biggest of its processes, as the kernel counts
  uint64_t end_ms = 0;   // CLOCK_REALTIME
  uint64_t duration_ms = 0;
};

// From its construction on, signals that should reach the child wait to be relayed by Wait.
class Child {
 public:
  // Ends the command (kNotFound, kCannotExecute) if it cannot be executed.
  explicit Child(const ChildPlan& plan);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // 0, or why the kernel did not let it into the cgroup: it runs without the limit then.
  int cgroup_error() const { return cgroup_error_; }

  // Returns when the child has ended; what has ended before is reaped too. tick: called several times a second.
  ChildEnd Wait(const std::function<void()>& tick);

 private:
  [[noreturn]] void Execute(const ChildPlan& plan, int report_fd);

  sigset_t relayed_;
  sigset_t mask_before_;
  pid_t pid_ = -1;
  int cgroup_error_ = 0;
  uint64_t start_ns_ = 0;
};

}  // namespace neap::command
