#include "tests/cgroup/control_group.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "alloc/pressure.h"

namespace neap::test {
namespace {

using Clock = std::chrono::steady_clock;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Where groups are made: the test's own directory in the hierarchy of the memory controller.
const CgroupPath& Own() {
  static const CgroupPath* own = [] {
    auto* path = new CgroupPath;
    FindCgroup(ReadWhole("/proc/self/cgroup"), ReadWhole("/proc/self/mountinfo"), path);
    return path;
  }();
  return *own;
}

std::string LimitFile() { return Own().version == 2 ? "memory.max" : "memory.limit_in_bytes"; }

}  // namespace

std::optional<std::string> ControlGroup::WhyNot() {
  if (Own().version == 0) return "no memory controller is mounted";
  std::string trial = std::string(Own().Level(0)) + "/neap-trial." + std::to_string(getpid());
  if (mkdir(trial.c_str(), 0755) != 0) return "cannot make a cgroup below " + std::string(Own().Level(0));
  std::optional<std::string> reason;
  if (access((trial + "/" + LimitFile()).c_str(), W_OK) != 0) reason = "a cgroup made here has no memory limit";
  rmdir(trial.c_str());
  return reason;
}

int ControlGroup::Version() { return WhyNot() ? 0 : Own().version; }

ControlGroup::ControlGroup(const ControlGroup* parent) {
  static int made = 0;
  path_ = (parent != nullptr ? parent->path_ : std::string(Own().Level(0))) + "/neap-test." + std::to_string(getpid()) +
          "." + std::to_string(++made);
  if (parent != nullptr && Own().version == 2) parent->Write("cgroup.subtree_control", "+memory");
  if (mkdir(path_.c_str(), 0755) != 0) throw std::runtime_error("cannot make " + path_ + ": " + strerror(errno));
}

ControlGroup::~ControlGroup() {
  // A killed process leaves its group only once the kernel is done with it.
  for (int attempt = 0; rmdir(path_.c_str()) != 0 && errno == EBUSY && attempt < 500; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int ControlGroup::Write(const std::string& file, const std::string& text) const {
  int fd = open((path_ + "/" + file).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t written = write(fd, text.data(), text.size());
  int error = written < 0 ? errno : 0;
  close(fd);
  return error;
}

int ControlGroup::SetLimit(uint64_t bytes) { return Write(LimitFile(), std::to_string(bytes)); }
int ControlGroup::SetHigh(uint64_t bytes) { return Write("memory.high", std::to_string(bytes)); }

void ControlGroup::Enter(pid_t process) const {
  int error = Write("cgroup.procs", std::to_string(process));
  if (error != 0) throw std::runtime_error("cannot enter " + path_ + ": " + strerror(error));
}

std::string ControlGroup::Read(const std::string& file) const { return ReadWhole(path_ + "/" + file); }

uint64_t ControlGroup::Used() const {
  return ParseNumber(Read(Own().version == 2 ? "memory.current" : "memory.usage_in_bytes"), 0);
}

uint64_t ControlGroup::OomKills() const {
  return ParseMemoryEvents(Read(Own().version == 2 ? "memory.events" : "memory.oom_control")).oom_kill;
}

uint64_t ControlGroup::Event(const std::string& name) const {
  std::istringstream lines(Read("memory.events"));
  std::string key;
  uint64_t count;
  while (lines >> key >> count) {
    if (key == name) return count;
  }
  throw std::runtime_error("no event " + name);
}

// ---- Program.

Program::Program(const ControlGroup& group, const std::vector<std::string>& command,
                 const std::vector<std::string>& environment) {
  int to[2], from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    group.Enter(getpid());
    dup2(to[0], 0);
    dup2(from[1], 1);
    for (const std::string& setting : environment) putenv(const_cast<char*>(setting.c_str()));
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  input_ = to[1];
  output_ = from[0];
  signal(SIGPIPE, SIG_IGN);
}

Program::~Program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (input_ >= 0) close(input_);
  close(output_);
}

void Program::Order(const std::string& line) {
  std::string text = line + "\n";
  if (write(input_, text.data(), text.size()) < 0 && errno != EPIPE) throw std::runtime_error("cannot write");
}

std::optional<std::string> Program::Answer(std::chrono::seconds patience) {
  auto until = Clock::now() + patience;
  for (;;) {
    size_t end = pending_.find('\n');
    if (end != pending_.npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd ready{output_, POLLIN, 0};
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0) return std::nullopt;
    char piece[4096];
    ssize_t length = read(output_, piece, sizeof(piece));
    if (length <= 0) return std::nullopt;
    pending_.append(piece, static_cast<size_t>(length));
  }
}

std::string Program::Ask(const std::string& line) {
  Order(line);
  return Answer().value_or("ended");
}

int Program::End(std::chrono::seconds patience) {
  if (input_ >= 0) close(input_);
  input_ = -1;
  auto until = Clock::now() + patience;
  int status;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > until) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace neap::test
