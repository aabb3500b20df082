// burst [stay|exit|cross] [MiB]: eight threads allocate a burst, free 90 % of it at random, and 100 ms later resident
// memory is set against the floor: the 4 KiB pages that hold a live block, which no allocator can give back.
// `stay`: the threads go on living; `exit`: they end; `cross`: each frees the blocks of its neighbour.
#include <algorithm>
#include <thread>

#include "bench/measure.h"

namespace bench {
namespace {

constexpr unsigned kThreads = 8;
constexpr LogUniform kSmall{16, kKiB};
constexpr LogUniform kLarge{kKiB, 256 * kKiB};

struct Share {
  std::span<Block> blocks;
  std::span<Block> Dead() { return blocks.subspan(blocks.size() / 10); }
  std::span<Block> Live() { return blocks.first(blocks.size() / 10); }
};

size_t Floor(std::span<Share> shares) {
  size_t count = 0;
  for (Share& share : shares) count += share.Live().size();
  std::span<Block> live = Map<Block>(count);
  size_t at = 0;
  for (Share& share : shares) {
    for (Block& block : share.Live()) Check(live[at++] = block);
  }
  return PagesOf(live);
}

int Main(const char* variant, size_t bytes) {
  const bool exits = strcmp(variant, "exit") == 0;
  const bool cross = strcmp(variant, "cross") == 0;
  Warm(bytes + bytes / 4);
  Share shares[kThreads];
  for (unsigned i = 0; i < kThreads; ++i) shares[i] = {Plan(bytes / kThreads, kSmall, kLarge, i + 1)};

  Barrier step(kThreads + 1), end(kThreads + 1);
  std::thread threads[kThreads];
  for (unsigned i = 0; i < kThreads; ++i) {
    threads[i] = std::thread([&, i] {
      step.Wait();
      for (Block& block : shares[i].blocks) Allocate(block);
      step.Wait();
      step.Wait();
      Random random(i + 100);
      Shuffle(shares[i].blocks, random);
      step.Wait();
      step.Wait();
      for (Block& block : shares[(i + cross) % kThreads].Dead()) Free(block);
      if (exits) return;
      step.Wait();
      end.Wait();
    });
  }

  const int64_t start = Resident(), start_charged = Charged();
  // Two waits between phases: the threads stand still while the clocks are read.
  Timer allocating;
  step.Wait();
  step.Wait();
  const double alloc_s = allocating.Wall(), alloc_cpu_s = allocating.Cpu();
  const int64_t full = Resident() - start;
  step.Wait();
  step.Wait();
  Timer freeing;
  step.Wait();
  if (exits) {
    for (std::thread& thread : threads) thread.join();
  } else {
    step.Wait();
  }
  const double free_s = freeing.Wall(), free_cpu_s = freeing.Cpu();
  SleepMs(100);
  const double settle_cpu_s = freeing.Cpu() - free_cpu_s;  // what the allocator did in the 100 ms
  const int64_t resident = Resident() - start, charged = Charged() - start_charged;
  const double floor = static_cast<double>(Floor(shares));
  Report("burst", variant,
         {{"ratio", static_cast<double>(resident) / floor},
          {"resident_mib", static_cast<double>(resident) / kMiB},
          {"floor_mib", floor / kMiB},
          {"charged_mib", static_cast<double>(charged) / kMiB},
          {"full_mib", static_cast<double>(full) / kMiB},
          {"alloc_s", alloc_s},
          {"alloc_cpu_s", alloc_cpu_s},
          {"free_s", free_s},
          {"time_s", alloc_s + free_s},
          {"cpu_s", alloc_cpu_s + free_cpu_s},
          {"settle_cpu_s", settle_cpu_s}});
  if (!exits) {
    end.Wait();
    for (std::thread& thread : threads) thread.join();
  }
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc > 1 ? argv[1] : "stay", (argc > 2 ? strtoul(argv[2], nullptr, 10) : 2048) * bench::kMiB);
}
