// rounds [MiB]: ten rounds of a burst on eight threads, each round with its own mix of sizes; one block in 500 lives on
// to the end. Run inside a memory cgroup: it either prints its line or is killed. The blocks of a thread are chained
// through their first word, so that the program needs no memory of its own.
#include <thread>

#include "bench/measure.h"

namespace bench {
namespace {

constexpr unsigned kThreads = 8;
constexpr unsigned kOneIn = 500;
constexpr LogUniform kMixes[] = {
    {32, 256},       {kKiB, 16 * kKiB},     {64, kKiB}, {16 * kKiB, 256 * kKiB}, {128, 4 * kKiB},
    {32, 64 * kKiB}, {4 * kKiB, 32 * kKiB}, {48, 512},  {8 * kKiB, 128 * kKiB},  {256, 8 * kKiB},
};

struct Link {
  Link* next;
  size_t size;
};

// Allocates `bytes`, frees all but one block in 500, and chains those to `survivors`.
void Burst(size_t bytes, const LogUniform& mix, Random& random, Link*& survivors) {
  Link* first = nullptr;
  for (size_t done = 0; done < bytes;) {
    size_t size = mix.Draw(random);
    auto* link = static_cast<Link*>(malloc(size));
    if (link == nullptr) Die("malloc");
    memset(link, 1, size);
    *link = {first, size};
    first = link;
    done += size;
  }
  while (first != nullptr) {
    Link* link = first;
    first = link->next;
    if (random.Below(kOneIn) == 0) {
      link->next = survivors;
      survivors = link;
    } else {
      free(link);
    }
  }
}

int Main(const char* variant, size_t bytes) {
  const bool exits = strcmp(variant, "exit") == 0;
  Link* survivors[kThreads] = {};
  Barrier step(kThreads + 1);
  std::thread threads[kThreads];
  Timer timer;
  for (unsigned round = 0; round < std::size(kMixes); ++round) {
    for (unsigned i = 0; i < kThreads && (exits || round == 0); ++i) {
      threads[i] = std::thread([&, i, first = round] {
        for (unsigned now = first; now < (exits ? first + 1 : std::size(kMixes)); ++now) {
          step.Wait();
          Random random(now * kThreads + i);
          Burst(bytes / kThreads, kMixes[now], random, survivors[i]);
          step.Wait();
        }
      });
    }
    step.Wait();
    step.Wait();
    for (unsigned i = 0; i < kThreads && exits; ++i) threads[i].join();
    dprintf(STDERR_FILENO, "round %u: %.0f MiB resident\n", round + 1, static_cast<double>(Resident()) / kMiB);
  }
  const double time_s = timer.Wall(), cpu_s = timer.Cpu();
  for (unsigned i = 0; i < kThreads && !exits; ++i) threads[i].join();
  double live = 0;
  for (Link* link : survivors) {
    for (; link != nullptr; link = link->next) live += static_cast<double>(link->size);
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  Report("rounds", variant,
         {{"survived", 1},
          {"live_mib", live / kMiB},
          {"peak_mib", static_cast<double>(usage.ru_maxrss) / kKiB},
          {"time_s", time_s},
          {"cpu_s", cpu_s}});
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc > 1 ? argv[1] : "stay", (argc > 2 ? strtoul(argv[2], nullptr, 10) : 400) * bench::kMiB);
}
