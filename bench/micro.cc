// micro: the short set of Google Benchmark cases. Times are CPU times; cases with threads count the whole process.
#include <benchmark/benchmark.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "bench/measure.h"

namespace bench {
namespace {

constexpr LogUniform kSmall{16, kKiB};

void Touch(void* block) { *static_cast<volatile char*>(block) = 1; }

void Pair(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = malloc(size);
    Touch(block);
    free(block);
  }
}
BENCHMARK(Pair)->Arg(16)->Arg(64)->Arg(256)->Arg(1 << 10)->Arg(4 << 10)->Arg(16 << 10);

enum Order { kLifo, kFifo, kRandom };

void Batch(benchmark::State& state, Order order) {
  constexpr size_t kBlocks = 10'000;
  static std::span<Block> blocks = Map<Block>(kBlocks);
  static std::span<uint32_t> turn = Map<uint32_t>(kBlocks);
  Random random(7);
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks[i].size = static_cast<uint32_t>(kSmall.Draw(random));
    turn[i] = static_cast<uint32_t>(order == kLifo ? kBlocks - 1 - i : i);
  }
  if (order == kRandom) {
    for (size_t left = kBlocks; left > 1; --left) std::swap(turn[left - 1], turn[random.Below(left)]);
  }
  for (auto _ : state) {
    for (Block& block : blocks) {
      block.address = static_cast<char*>(malloc(block.size));
      Touch(block.address);
    }
    for (uint32_t i : turn) free(blocks[i].address);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBlocks));
}
BENCHMARK_CAPTURE(Batch, lifo, kLifo);
BENCHMARK_CAPTURE(Batch, fifo, kFifo);
BENCHMARK_CAPTURE(Batch, random, kRandom);

// One thread allocates, another frees, through a ring.
void ProducerConsumer(benchmark::State& state) {
  constexpr size_t kRing = 1024, kBlocks = 20'000;
  static std::span<std::atomic<void*>> ring = Map<std::atomic<void*>>(kRing);
  Random random(9);
  std::span<uint32_t> sizes = Map<uint32_t>(kBlocks);
  for (uint32_t& size : sizes) size = static_cast<uint32_t>(kSmall.Draw(random));
  std::atomic<bool> done = false;
  std::thread consumer([&done] {
    for (size_t at = 0;; at = (at + 1) % kRing) {
      void* block;
      while ((block = ring[at].load(std::memory_order_acquire)) == nullptr) {
        if (done.load(std::memory_order_acquire)) return;
        sched_yield();
      }
      ring[at].store(nullptr, std::memory_order_release);
      free(block);
    }
  });
  size_t at = 0;
  for (auto _ : state) {
    for (uint32_t size : sizes) {
      void* block = malloc(size);
      Touch(block);
      while (ring[at].load(std::memory_order_acquire) != nullptr) sched_yield();
      ring[at].store(block, std::memory_order_release);
      at = (at + 1) % kRing;
    }
  }
  while (ring[(at + kRing - 1) % kRing].load(std::memory_order_acquire) != nullptr) sched_yield();
  done = true;
  consumer.join();
  munmap(sizes.data(), sizes.size_bytes());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBlocks));
}
BENCHMARK(ProducerConsumer)->MeasureProcessCPUTime()->UseRealTime();

// Threads replace blocks at random places of one table, so most blocks are freed by another thread than allocated them.
void Larson(benchmark::State& state) {
  constexpr size_t kSlots = 4096, kBatch = 1000;
  static std::span<std::atomic<void*>> slots = Map<std::atomic<void*>>(kSlots);
  static std::span<uint32_t> sizes = [] {
    std::span<uint32_t> made = Map<uint32_t>(kSlots);
    Random random(11);
    for (uint32_t& size : made) size = static_cast<uint32_t>(kSmall.Draw(random));
    return made;
  }();
  Random random(static_cast<uint64_t>(state.thread_index()) + 1);
  for (auto _ : state) {
    for (size_t i = 0; i < kBatch; ++i) {
      const uint64_t drawn = random.Next();
      void* block = malloc(sizes[drawn % kSlots]);
      Touch(block);
      free(slots[(drawn >> 32) % kSlots].exchange(block, std::memory_order_acq_rel));
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}
BENCHMARK(Larson)->Threads(1)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(Larson)->Threads(2)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(Larson)->Threads(4)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(Larson)->Threads(64)->MeasureProcessCPUTime()->UseRealTime();

// Grows a buffer by half each time, as a growing array or string does.
void Growth(benchmark::State& state) {
  const auto limit = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    char* buffer = nullptr;
    size_t written = 0;
    for (size_t size = 16; size <= limit; size += size / 2) {
      buffer = static_cast<char*>(realloc(buffer, size));
      memset(buffer + written, 1, size - written);
      written = size;
    }
    free(buffer);
  }
}
// Half a second to warm up: an allocator that learns from what it gives back has turns to learn from.
BENCHMARK(Growth)->Arg(64 << 10)->Arg(1 << 20)->Arg(64 << 20)->MinWarmUpTime(0.5);

void Large(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    char* block = static_cast<char*>(malloc(size));
    for (size_t at = 0; at < size; at += kPage) Touch(block + at);
    free(block);
  }
}
BENCHMARK(Large)->Arg(64 << 10)->Arg(1 << 20)->Arg(32 << 20);

void Aligned(benchmark::State& state) {
  const auto alignment = static_cast<size_t>(state.range(0)), size = static_cast<size_t>(state.range(1));
  for (auto _ : state) {
    void* block = aligned_alloc(alignment, size);
    Touch(block);
    free(block);
  }
}
BENCHMARK(Aligned)->Args({64, 256})->Args({4096, 4096});

void Calloc(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = calloc(1, size);
    Touch(block);
    free(block);
  }
}
BENCHMARK(Calloc)->Arg(256)->Arg(16 << 10)->Arg(1 << 20);

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::Warm(256 * bench::kMiB);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
