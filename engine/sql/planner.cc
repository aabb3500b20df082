// planner.cc: the process that plans, and what is said to it.
#include "engine/sql/planner.h"

#include <arrow/config.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "engine/core/error.h"
#include "engine/sql/planner_script.h"

namespace neap::engine {
namespace {

constexpr char kNeedsPython[] = "set NEAP_ENGINE_PYTHON to a Python that has the package datafusion";

// Arrow's libraries are those of the package pyarrow: PREFIX/lib/python3.N/site-packages/pyarrow/libarrow.so.
std::string PythonOfArrow() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&arrow::GetBuildInfo), &info) == 0 || info.dli_fname == nullptr) return "python3";
  std::error_code ignored;
  const auto library = std::filesystem::canonical(info.dli_fname, ignored);
  for (auto folder = library.parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
    auto python = folder / "bin" / "python";
    if (access(python.c_str(), X_OK) == 0) return python;
  }
  return "python3";
}

std::string ChoosePython(const std::string& python) {
  if (!python.empty()) return python;
  const char* named = getenv("NEAP_ENGINE_PYTHON");
  return named != nullptr && *named != '\0' ? named : PythonOfArrow();
}

std::string JsonText(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += fmt::format("\\u{:04x}", c);
    } else {
      json += c;
    }
  }
  json += '"';
  return json;
}

std::string JsonList(const std::vector<std::string>& texts) {
  std::string json;
  for (const std::string& text : texts) json += fmt::format("{}{}", json.empty() ? "" : ",", JsonText(text));
  return fmt::format("[{}]", json);
}

std::string SqlType(const Type& type) {
  switch (type.id) {
    case TypeId::kBool:
    case TypeId::kNull:
      return "BOOLEAN";
    case TypeId::kInt8:
      return "TINYINT";
    case TypeId::kInt16:
      return "SMALLINT";
    case TypeId::kInt32:
      return "INT";
    case TypeId::kInt64:
      return "BIGINT";
    case TypeId::kFloat:
      return "REAL";
    case TypeId::kDouble:
      return "DOUBLE";
    case TypeId::kDecimal:
      return fmt::format("DECIMAL({},{})", type.precision, type.scale);
    case TypeId::kDate:
      return "DATE";
    case TypeId::kTimestamp:
      return "TIMESTAMP(6)";
    case TypeId::kTimestampTz:
      return "TIMESTAMP(6) WITH TIME ZONE";
    case TypeId::kInterval:
      return "INTERVAL";
    case TypeId::kString:
      return "VARCHAR";
    case TypeId::kBinary:
      return "BYTEA";
  }
  __builtin_unreachable();
}

std::string QuotedName(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0)
      throw Error(ErrorKind::kPlan, fmt::format("cannot make a pipe to the planner: {}", strerror(errno)));
  }
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reading() const { return ends_[0]; }
  int writing() const { return ends_[1]; }
  int Take(int which) { return std::exchange(ends_[which], -1); }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace

std::string DeclareTable(const std::string& name, const std::vector<TableColumn>& columns) {
  std::string sql = fmt::format("CREATE TABLE {} (", QuotedName(name));
  for (size_t i = 0; i < columns.size(); ++i) {
    sql += fmt::format("{}{} {}{}", i > 0 ? ", " : "", QuotedName(columns[i].name), SqlType(columns[i].type),
                       columns[i].nullable ? "" : " NOT NULL");
  }
  return sql + ")";
}

Planner::Planner(const std::string& python) : python_(ChoosePython(python)) {
  Pipe input, output;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.reading(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.writing(), STDOUT_FILENO);
  // What Python says of itself, a missing package above all, is told in the error.
  posix_spawn_file_actions_adddup2(&actions, output.writing(), STDERR_FILENO);
  // A file of the caller's, a pipe above all, must not stay open for as long as this program lives.
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  std::string script = kPlannerScript;
  char isolated[] = "-I", no_files[] = "-B", command[] = "-c";
  char* arguments[] = {python_.data(), isolated, no_files, command, script.data(), nullptr};
  const int error = posix_spawnp(&pid_, python_.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    pid_ = -1;
    throw Error(ErrorKind::kPlan, fmt::format("cannot run {}: {}: {}", python_, strerror(error), kNeedsPython));
  }
  parent_ = getpid();
  input_ = input.Take(1);
  output_ = output.Take(0);
}

Planner::~Planner() {
  if (input_ >= 0) close(input_);
  if (output_ >= 0) close(output_);
  if (pid_ < 0 || parent_ != getpid()) return;
  // It holds nothing that it would have to put away, and Python takes long to end by itself. One that has ended may
  // have been waited for by others, and its number be another's.
  if (IsReady()) kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

bool Planner::IsReady() const {
  if (parent_ != getpid()) return false;
  siginfo_t ended{};
  const int failed = waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
  return failed == 0 && ended.si_pid == 0;
}

size_t Planner::ResidentBytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", pid_));
  size_t mapped = 0, resident = 0, of_files = 0;
  file >> mapped >> resident >> of_files;
  return (resident - of_files) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

std::vector<Statement> Planner::Plan(const std::vector<std::string>& tables,
                                     const std::vector<std::string>& statements) {
  const std::string request =
      fmt::format("{{\"tables\":{},\"statements\":{}}}\n", JsonList(tables), JsonList(statements));
  // Python may have died before it read this, for which it had its reasons: they come with the answer. The pipe must
  // not kill us for it.
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t now = write(input_, request.data() + sent, request.size() - sent);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) break;
    sent += static_cast<size_t>(now);
  }
  const timespec at_once{};
  while (sigtimedwait(&pipe_signal, nullptr, &at_once) > 0) continue;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  std::vector<Statement> result;
  for (size_t i = 0; i < statements.size(); ++i) {
    const std::string line = ReadLine();
    if (line.starts_with("error ")) throw Error(ErrorKind::kPlan, line.substr(6));
    char* notes = nullptr;
    const size_t bytes = line.starts_with("plan ") ? strtoul(line.c_str() + 5, &notes, 10) : 0;
    if (bytes == 0 || *notes != ' ') FailWithOutput(line + "\n");
    result.push_back({ReadBytes(bytes), notes + 1});
  }
  return result;
}

std::string Planner::ReadBytes(size_t count) {
  std::string bytes(count, '\0');
  for (size_t have = 0; have < count;) {
    const ssize_t now = read(output_, bytes.data() + have, count - have);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) {
      bytes.resize(have);
      FailWithOutput(bytes);
    }
    have += static_cast<size_t>(now);
  }
  return bytes;
}

std::string Planner::ReadLine() {
  std::string line;
  for (;;) {
    char c;
    const ssize_t now = read(output_, &c, 1);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) FailWithOutput(line);
    if (c == '\n') return line;
    line += c;
  }
}

// The last line of a Python program that failed says why.
void Planner::FailWithOutput(std::string output) {
  close(std::exchange(input_, -1));  // it ends, if it has not yet
  char more[4096];
  for (;;) {
    const ssize_t now = read(output_, more, sizeof more);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) break;
    output.append(more, static_cast<size_t>(now));
  }
  while (!output.empty() && output.back() == '\n') output.pop_back();
  const std::string last = output.substr(output.rfind('\n') + 1);
  throw Error(ErrorKind::kPlan, fmt::format("the planner ({}) ended early: {}: {}", python_,
                                            last.empty() ? "it said nothing" : last, kNeedsPython));
}

}  // namespace neap::engine
