// spill_directory.h: where a process keeps its spill files: `neap-spill-PID-XXXXXX` under the given folder (by default
// $NEAP_SPILL_DIR, else $TMPDIR, else /tmp; a tmpfs is refused as it would count as memory, with one line that says
// which setting to change), held by a lock. Removed at the end; what a process that died left behind is removed by the
// next that starts there, which sees that nobody holds its lock.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace neap::engine {

class SpillDirectory {
 public:
  explicit SpillDirectory(std::string parent = "");  // makes nothing before the first file
  ~SpillDirectory();
  SpillDirectory(const SpillDirectory&) = delete;
  SpillDirectory& operator=(const SpillDirectory&) = delete;

  std::string NewPath();  // of a file that does not exist yet; thread-safe
  const std::string& parent() const { return parent_; }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }  // on disk now
  void Add(int64_t bytes) { bytes_.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed); }

 private:
  void Make();

  std::string parent_;
  std::mutex mutex_;  // guards what follows, but for bytes_
  std::string path_;
  int lock_ = -1;
  pid_t owner_ = 0;  // the process that made path_: a forked child makes its own
  uint64_t next_ = 0;
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace neap::engine
