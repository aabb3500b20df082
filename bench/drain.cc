// drain [own|orphan] [MiB]: eight threads allocate mixed sizes and end, everything is freed, and 100 ms later resident
// memory is set against the start. `own`: each thread frees its blocks before it ends; `orphan`: the main thread frees
// them after all have ended.
#include <thread>

#include "bench/measure.h"

namespace bench {
namespace {

constexpr unsigned kThreads = 8;
constexpr LogUniform kSizes{16, 64 * kKiB};

int Main(const char* variant, size_t bytes) {
  const bool orphan = strcmp(variant, "orphan") == 0;
  Warm(bytes + bytes / 4);
  std::span<Block> shares[kThreads];
  for (unsigned i = 0; i < kThreads; ++i) {
    shares[i] = Plan(bytes / kThreads, kSizes, kSizes, i + 1);
  }
  const int64_t start = Resident();
  Timer timer;
  std::thread threads[kThreads];
  for (unsigned i = 0; i < kThreads; ++i) {
    threads[i] = std::thread([&shares, orphan, i] {
      for (Block& block : shares[i]) Allocate(block);
      if (orphan) return;
      Random random(i + 100);
      Shuffle(shares[i], random);
      for (Block& block : shares[i]) Free(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (orphan) {
    for (std::span<Block> share : shares) {
      for (Block& block : share) Free(block);
    }
  }
  const double time_s = timer.Wall();
  SleepMs(100);
  const int64_t resident = Resident() - start;
  Report("drain", variant,
         {{"left_mib", static_cast<double>(resident) / kMiB}, {"time_s", time_s}, {"cpu_s", timer.Cpu()}});
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc > 1 ? argv[1] : "own", (argc > 2 ? strtoul(argv[2], nullptr, 10) : 512) * bench::kMiB);
}
