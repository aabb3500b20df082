// progress.h: a line on the terminal that tells how a query fares while nothing else is to be seen.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/neap_engine.h"

namespace neap::command {

// Shown on the standard error once a query has taken a second, if that is a terminal.
class Progress {
 public:
  explicit Progress(const neap::engine::Result& result);
  ~Progress();  // takes the line away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void Main();

  const neap::engine::Result& result_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace neap::command
