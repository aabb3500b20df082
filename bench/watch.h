// What is resident beyond what is live, summed over time.
#pragma once

#include <algorithm>
#include <atomic>

#include "bench/measure.h"

namespace bench {

inline int64_t ResidentNow() {
  static const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  char text[128];
  const ssize_t length = pread(fd, text, sizeof text - 1, 0);
  if (length <= 0) Die("/proc/self/statm");
  text[length] = 0;
  return atoll(strchr(text, ' ')) * static_cast<int64_t>(kPage);
}

// Reads resident and live every 2 ms, on a thread of its own.
class Watch {
 public:
  template <class Live>  // bytes, of all threads
  void Run(Live live) {
    const int64_t start = ResidentNow();
    Timer timer;
    for (double last = 0; !done_.load(std::memory_order_relaxed);) {
      SleepMs(2);
      const int64_t wanted = live(), resident = ResidentNow() - start;
      const double now = timer.Wall();
      excess_ += static_cast<double>(std::max<int64_t>(resident - wanted, 0)) * (now - last);
      peak_ = std::max(peak_, resident);
      last = now;
    }
  }
  void End() { done_ = true; }

  double excess_mib_s() const { return excess_ / kMiB; }
  double peak_mib() const { return static_cast<double>(peak_) / kMiB; }

 private:
  std::atomic<bool> done_{false};
  double excess_ = 0;  // bytes times seconds
  int64_t peak_ = 0;
};

}  // namespace bench
