// error.h: how the engine says that a query cannot go on. One line, which names what is wrong and what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace neap::engine {

enum class ErrorKind {
  kPlan,       // the plan or the SQL: unknown function, wrong type, no such table
  kData,       // the input: missing or corrupt file, overflow, division by zero, a cast that fails
  kSpill,      // the spill files: no disk, a checksum that is wrong
  kMemory,     // not even the least that the query needs
  kCancelled,  // the caller ended it
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace neap::engine
