// What every bench program shares: its own memory, mapped apart from the heap it measures; the clocks; the kernel's
// figures; random sizes; one JSON line per result. Nothing here allocates from the heap.
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <span>

namespace bench {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr size_t kPage = 4 * kKiB;

[[noreturn]] inline void Die(const char* what) {
  dprintf(STDERR_FILENO, "bench: %s: %m\n", what);
  _exit(1);
}

// Memory of the program itself: touched by whoever writes it first, which must be before the start is read.
template <typename T>
std::span<T> Map(size_t count) {
  void* memory =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) Die("mmap");
  return {static_cast<T*>(memory), count};
}

// Bytes that the kernel counts for this process, by the name of the row in smaps_rollup: "Rss:", "Anonymous:".
inline int64_t Resident(const char* row = "Rss:") {
  char text[4096];
  int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (length < 0) Die("/proc/self/smaps_rollup");
  close(fd);
  text[length] = 0;
  const char* found = strstr(text, row);
  if (found == nullptr) Die(row);
  return atoll(found + strlen(row)) * static_cast<int64_t>(kKiB);
}

// Faults `bytes` in and returns them, so that the pages the measured run will get are backed by the host of a virtual
// machine: a first touch that has to wait for the host costs ten times as much, and differs from run to run.
inline void Warm(size_t bytes) {
  std::span<char> scratch = Map<char>(bytes);
  madvise(scratch.data(), bytes, MADV_HUGEPAGE);
  for (size_t at = 0; at < bytes; at += kPage) scratch[at] = 1;
  munmap(scratch.data(), bytes);
}

// Bytes that the memory cgroup is charged, from the file that $BENCH_CHARGE names; 0 without it. A huge page of which
// parts were given back stays charged as a whole until the kernel splits it: resident does not show that.
inline int64_t Charged() {
  const char* path = getenv("BENCH_CHARGE");
  if (path == nullptr) return 0;
  char text[64] = {};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) Die(path);
  close(fd);
  return atoll(text);
}

inline double Seconds(timespec t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9; }

inline double Clock(clockid_t id) {
  timespec now;
  clock_gettime(id, &now);
  return Seconds(now);
}

// Elapsed and CPU time of the whole process (all its threads, the allocator's own among them) since construction.
class Timer {
 public:
  double Wall() const { return Clock(CLOCK_MONOTONIC) - wall_; }
  double Cpu() const { return Clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_; }

 private:
  double wall_ = Clock(CLOCK_MONOTONIC);
  double cpu_ = Clock(CLOCK_PROCESS_CPUTIME_ID);
};

inline void SleepMs(int ms) {
  timespec t{ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&t, &t) != 0) {
  }
}

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

// Sizes whose logarithm is uniform between two sizes.
struct LogUniform {
  double low, high;

  size_t Draw(Random& random) const { return static_cast<size_t>(low * std::pow(high / low, random.Unit())); }
  double Mean() const { return (high - low) / std::log(high / low); }
};

struct Block {
  char* address;
  uint32_t size;
};

// Blocks to allocate, `bytes` in all: half of the bytes in sizes of `a`, half in sizes of `b`.
inline std::span<Block> Plan(size_t bytes, LogUniform a, LogUniform b, uint64_t seed) {
  const double chance_of_a = b.Mean() / (a.Mean() + b.Mean());
  const double mean = 2 / (1 / a.Mean() + 1 / b.Mean());
  std::span<Block> room = Map<Block>(static_cast<size_t>(static_cast<double>(bytes) / mean * 1.2) + 1000);
  Random random(seed);
  size_t count = 0;
  for (size_t planned = 0; planned < bytes && count < room.size(); ++count) {
    size_t size = (random.Unit() < chance_of_a ? a : b).Draw(random);
    room[count] = {nullptr, static_cast<uint32_t>(size)};
    planned += size;
  }
  return room.first(count);
}

inline void Shuffle(std::span<Block> blocks, Random& random) {
  for (size_t left = blocks.size(); left > 1; --left) std::swap(blocks[left - 1], blocks[random.Below(left)]);
}

// Every byte is written; the first and the last are looked at again when the block is freed.
inline void Allocate(Block& block) {
  block.address = static_cast<char*>(malloc(block.size));
  if (block.address == nullptr) Die("malloc");
  memset(block.address, static_cast<int>(block.size & 0xff), block.size);
}

inline void Check(const Block& block) {
  const char tag = static_cast<char>(block.size & 0xff);
  if (block.address[0] != tag || block.address[block.size - 1] != tag) Die("a live block was overwritten");
}

inline void Free(Block& block) {
  Check(block);
  free(block.address);
  block.address = nullptr;
}

// Bytes of the pages that hold a part of one of the blocks, which are sorted for it.
inline size_t PagesOf(std::span<Block> live) {
  std::sort(live.begin(), live.end(), [](const Block& a, const Block& b) { return a.address < b.address; });
  size_t pages = 0;
  uintptr_t next = 0;  // the first page not counted yet
  for (const Block& block : live) {
    uintptr_t first = reinterpret_cast<uintptr_t>(block.address) / kPage;
    uintptr_t end = (reinterpret_cast<uintptr_t>(block.address) + block.size - 1) / kPage + 1;
    first = std::max(first, next);
    if (first < end) pages += end - first;
    next = std::max(next, end);
  }
  return pages * kPage;
}

class Barrier {
 public:
  explicit Barrier(unsigned parties) { pthread_barrier_init(&barrier_, nullptr, parties); }
  ~Barrier() { pthread_barrier_destroy(&barrier_); }
  Barrier(const Barrier&) = delete;
  void Wait() { pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

struct Field {
  const char* name;
  double value;
};

// {"measure": "burst stay", "ratio": 1.03, ...}: `measure` is what bench/compare groups by.
inline void Report(const char* program, const char* variant, std::initializer_list<Field> fields) {
  char line[1024];
  int used = snprintf(line, sizeof line, "{\"measure\": \"%s%s%s\"", program, *variant ? " " : "", variant);
  for (const Field& field : fields) {
    used += snprintf(line + used, sizeof line - static_cast<size_t>(used), ", \"%s\": %.6g", field.name, field.value);
  }
  line[used++] = '}';
  line[used++] = '\n';
  if (write(STDOUT_FILENO, line, static_cast<size_t>(used)) != used) Die("write");
}

}  // namespace bench
