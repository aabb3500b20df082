// progress.cc: the line and the thread that writes it.
#include "tools/neap_sql/progress.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <chrono>

#include "tools/neap/bytes.h"

namespace neap::command {
namespace {

constexpr auto kBefore = std::chrono::seconds(1);
constexpr auto kBetween = std::chrono::milliseconds(200);
constexpr char kClearLine[] = "\r\033[K";

}  // namespace

Progress::Progress(const neap::engine::Result& result) : result_(result) {
  if (isatty(STDERR_FILENO) == 0) return;
  thread_ = std::thread([this] { Main(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Progress::Main() {
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, kBefore, [&] { return ending_; })) return;
  do {
    const neap::engine::QueryProgress now = result_.Progress();
    std::string line = fmt::format("{}{} s   {} of {}", kClearLine, now.time_ns / 1'000'000'000,
                                   FormatBytes(now.memory), FormatBytes(now.bound));
    if (now.on_disk > 0) line += fmt::format("   {} on disk", FormatBytes(now.on_disk));
    fmt::print(stderr, "{}", line);
    fflush(stderr);
  } while (!changed_.wait_for(lock, kBetween, [&] { return ending_; }));
  fmt::print(stderr, "{}", kClearLine);
  fflush(stderr);
}

}  // namespace neap::command
