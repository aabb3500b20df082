// child.cc: the command that `neap run` runs.
#include "tools/neap/child.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/neap/failure.h"
#include "tools/neap/pages.h"

namespace neap::command {
namespace {

constexpr timespec kTick{0, 250'000'000};

// What the child tells through a pipe that exec closes.
struct Report {
  enum Step : int { kCgroup, kExecute } step;
  int error;
};

// All but those that stop a job, which the terminal sends to the child as well and which must stop us too, and those
// that a fault of our own would raise.
sigset_t RelayedSignals() {
  sigset_t set;
  sigfillset(&set);
  for (int signal : {SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
    sigdelset(&set, signal);
  }
  return set;
}

// Someone sent it to us alone. What a terminal raises goes to its whole foreground group, the child included.
bool ShouldRelay(const siginfo_t& info) {
  bool sent = info.si_code == SI_USER || info.si_code == SI_QUEUE || info.si_code == SI_TKILL;
  return info.si_signo != SIGCHLD && sent && info.si_pid != getpid();
}

int JoinCgroup(const std::string& processes_file) {
  int fd = open(processes_file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, "0", 1) == 1 ? 0 : errno;
  close(fd);
  return error;
}

uint64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

Child::Child(const ChildPlan& plan) : relayed_(RelayedSignals()) {
  signal(SIGCHLD, SIG_DFL);  // an inherited SIG_IGN would lose the exit status
  sigprocmask(SIG_BLOCK, &relayed_, &mask_before_);
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) throw Failure(kRunFailed, fmt::format("no pipe: {}", strerror(errno)));
  start_ns_ = MonotonicNs();
  pid_ = fork();
  if (pid_ == 0) Execute(plan, pipe_fds[1]);
  int fork_error = errno;
  close(pipe_fds[1]);
  if (pid_ < 0) throw Failure(kRunFailed, fmt::format("cannot make a process: {}", strerror(fork_error)));

  Report report;
  int execute_error = 0;
  while (read(pipe_fds[0], &report, sizeof report) == sizeof report) {
    (report.step == Report::kCgroup ? cgroup_error_ : execute_error) = report.error;
  }
  close(pipe_fds[0]);
  if (execute_error == 0) return;
  waitpid(pid_, nullptr, 0);
  throw Failure(execute_error == ENOENT ? kNotFound : kCannotExecute,
                fmt::format("cannot execute '{}': {}", plan.command[0], strerror(execute_error)));
}

void Child::Execute(const ChildPlan& plan, int report_fd) {
  auto tell = [report_fd](Report::Step step, int error) {
    Report report{step, error};
    // If even this fails the parent sees an exit code of kCannotExecute, which says as much.
    [[maybe_unused]] ssize_t written = write(report_fd, &report, sizeof report);
  };
  if (!plan.cgroup_processes_file.empty()) {
    int error = JoinCgroup(plan.cgroup_processes_file);
    if (error != 0) tell(Report::kCgroup, error);
  }
  for (const auto& [name, value] : plan.environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& argument : plan.command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  execvp(arguments[0], arguments.data());
  tell(Report::kExecute, errno);
  _exit(kCannotExecute);
}

ChildEnd Child::Wait(const std::function<void()>& tick) {
  for (;;) {
    // As the first process of a container we inherit every orphan: reap all that have ended.
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended != pid_) continue;
      ChildEnd end;
      end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      end.exit_code = end.signal != 0 ? 128 + end.signal : WEXITSTATUS(status);
      rusage usage{};
      getrusage(RUSAGE_CHILDREN, &usage);
      end.max_rss = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
      end.end_ms = NowMs();
      end.duration_ms = (MonotonicNs() - start_ns_) / 1'000'000;
      return end;
    }
    siginfo_t info;
    int signal = sigtimedwait(&relayed_, &info, &kTick);
    if (signal > 0 && ShouldRelay(info)) kill(pid_, signal);
    tick();
  }
}

}  // namespace neap::command
