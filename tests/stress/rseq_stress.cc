// rseq_stress.cc: the per-CPU caches with threads that hop between CPUs and an outside drainer, on the real arch::Pop
// and arch::Push. A block is written by whoever holds it; a block that two hold at once (doubled), or that nobody holds
// and no slab has back (lost), is counted.
//
//     rseq_stress [seconds]     exit 0: none; 1: some; 77: no restartable sequences here
//
// The same program is built a second time with the line removed that tells the kernel where a sequence is
// (rseq_stress_unprotected): it has to find errors, or this test could not.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "alloc/arena.h"
#include "alloc/cpu_cache.h"
#include "alloc/heap.h"
#include "alloc/os.h"
#include "alloc/size_classes.h"

namespace {

constexpr int kThreads = 8;
constexpr size_t kSizes[] = {32, 64, 512};
constexpr size_t kMost = 200;  // blocks that a thread holds at a time

std::atomic<bool> g_stop{false};
std::atomic<size_t> g_doubled{0};
std::atomic<size_t> g_moves{0}, g_pairs{0}, g_drained{0};

struct Block {
  uint64_t mark;                // the allocator's own while the block is free
  std::atomic<uint64_t> owner;  // 0: nobody
};

void Claim(void* memory, uint64_t owner) {
  if (static_cast<Block*>(memory)->owner.exchange(owner, std::memory_order_relaxed) != 0) g_doubled++;
}
void Disown(void* memory, uint64_t owner) {
  if (static_cast<Block*>(memory)->owner.exchange(0, std::memory_order_relaxed) != owner) g_doubled++;
}

void Hop(std::minstd_rand& random, const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus[random() % cpus.size()], &set);
  sched_setaffinity(0, sizeof(set), &set);
  g_moves++;
}

void Work(uint64_t owner, const std::vector<int>& cpus) {
  std::minstd_rand random(static_cast<unsigned>(owner));
  std::vector<std::pair<void*, size_t>> mine;
  while (!g_stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 200; ++i) {
      const size_t size_class = neap::ClassOf(kSizes[random() % 3]);
      // Straight at the caches, so that hits and misses both are the sequences' own.
      if (mine.size() < kMost && random() % 2 == 0) {
        void* block = neap::CpuCaches::Pop(size_class);
        if (block == nullptr) block = neap::CpuCaches::Refill(size_class);
        if (block == nullptr) abort();
        Claim(block, owner);
        mine.emplace_back(block, size_class);
      } else if (!mine.empty()) {
        std::swap(mine[random() % mine.size()], mine.back());
        auto [block, its_class] = mine.back();
        mine.pop_back();
        Disown(block, owner);
        if (!neap::CpuCaches::Push(its_class, block)) neap::CpuCaches::Flush(its_class, block);
      }
    }
    g_pairs += 100;
    if (random() % 8 == 0) Hop(random, cpus);
  }
  for (auto [block, size_class] : mine) {
    Disown(block, owner);
    if (!neap::CpuCaches::Push(size_class, block)) neap::CpuCaches::Flush(size_class, block);
  }
}

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 2;
  if (neap::Os::RseqOffset() == 0 || neap::Os::FenceRseq() != 0) {
    printf("no restartable sequences here\n");
    return 77;
  }
  for (size_t size : kSizes) neap::Free(neap::Allocate(size));
  const std::vector<int> cpus = AllowedCpus();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(Work, static_cast<uint64_t>(i + 1), cpus);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::minstd_rand random(99);
  while (std::chrono::steady_clock::now() < end) {
    g_drained += neap::CpuCaches::Drain(neap::CpuCaches::Which::kAll);
    for (unsigned i = random() % 2000; i > 0; --i) neap::arch::Relax();
  }
  g_stop = true;
  for (auto& thread : threads) thread.join();
  neap::CpuCaches::Drain(neap::CpuCaches::Which::kAll);

  size_t lost = 0;
  for (size_t size : kSizes) {
    lost += neap::Arena::Root().Pool(neap::ClassOf(size))->ledger().taken_blocks.load();
  }
  printf("%zu pairs, %zu moves, %zu KiB drained: %zu doubled, %zu lost\n", g_pairs.load(), g_moves.load(),
         g_drained.load() >> 10, g_doubled.load(), lost);
  return g_doubled != 0 || lost != 0;
}
