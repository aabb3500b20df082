// What is resident beyond what is live, summed over time.
#pragma once

#include <algorithm>
#include <atomic>
#include <thread>

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

// Does the work while a thread reads resident and live every 2 ms, and reports.
template <class Live, class Work>  // Live: bytes, of all threads
void ReportWatched(const char* program, const char* variant, Live live, Work work) {
  std::atomic<bool> done{false};
  double excess = 0;  // bytes times seconds
  int64_t peak = 0;
  std::thread watcher([&] {
    const int64_t start = ResidentNow();
    Timer timer;
    for (double last = 0; !done;) {
      SleepMs(2);
      const int64_t wanted = live(), resident = ResidentNow() - start;
      const double now = timer.Wall();
      excess += static_cast<double>(std::max<int64_t>(resident - wanted, 0)) * (now - last);
      peak = std::max(peak, resident);
      last = now;
    }
  });
  Timer timer;
  work();
  const double time_s = timer.Wall(), cpu_s = timer.Cpu();
  SleepMs(200);  // what it ends with counts too
  done = true;
  watcher.join();
  Report(program, variant,
         {{"excess_mib_s", excess / kMiB},
          {"peak_mib", static_cast<double>(peak) / kMiB},
          {"time_s", time_s},
          {"cpu_s", cpu_s}});
}

}  // namespace bench
