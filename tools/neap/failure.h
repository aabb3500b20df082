// failure.h: how a subcommand ends when it cannot do what it was asked, and the exit codes they share.
#pragma once

#include <stdexcept>
#include <string>

namespace neap::command {

enum ExitCode : int {
  kDone = 0,
  kNo = 1,        // the question has an answer, and it is no
  kBadCall = 2,   // the command line makes no sense
  kNoAccess = 3,  // no such process or file, or not ours to read
  kNoAnswer = 4,  // the process did not answer in time
  kNoMemory = 4,  // `sql`: not even the least that the query needs
  // `run` hands on the exit code of its command, and so keeps to the three that env, timeout and nohup use.
  kRunFailed = 125,
  kCannotExecute = 126,
  kNotFound = 127,
};

// One line for stderr that says what to do.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& line) : std::runtime_error(line), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

}  // namespace neap::command
