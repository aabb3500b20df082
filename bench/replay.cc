// replay NAME FILE: what a recorded program asked its allocator for, asked again, by as many threads, each block
// written whole. A thread does not go ahead of the recording's clock, so that rests stay rests; where it needs a block
// of another thread, it waits for it.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <bit>
#include <thread>

#include "bench/recording.h"
#include "bench/watch.h"

namespace bench {
namespace {

constexpr uint32_t kNobody = ~uint32_t{0};
constexpr uint32_t kSlackUs = 200;

struct Step {
  uint32_t block;   // its number: one for each allocation
  uint32_t before;  // realloc: the block that it was; else kNobody
  size_t size;
  uint32_t us;
  Kind kind;
  uint8_t alignment;
};

struct Held {
  std::atomic<char*> address;
  size_t size;
};

// One recorded thread.
struct Actor {
  std::span<Step> steps;
  std::thread thread;
  alignas(64) std::atomic<int64_t> live{0};
};

std::span<Held> held;
std::span<Actor> actors;
double began;

// Recorded addresses to numbers of blocks; open addressing with linear probing, nothing is ever taken out of it: an
// address that was freed leads to kNobody.
class Numbers {
 public:
  explicit Numbers(size_t events) : cells_(Map<Cell>(std::bit_ceil(events * 2 + 2))) {}

  uint32_t& operator[](uint64_t address) {
    const size_t mask = cells_.size() - 1;
    for (size_t at = (address >> 4) * 0x9e3779b97f4a7c15 >> 20 & mask;; at = (at + 1) & mask) {
      if (cells_[at].address == 0) cells_[at] = {address, kNobody};
      if (cells_[at].address == address) return cells_[at].number;
    }
  }

 private:
  struct Cell {
    uint64_t address;
    uint32_t number;
  };
  std::span<Cell> cells_;
};

void Load(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd < 0 || fstat(fd, &info) != 0) Die(path);
  const auto* events =
      static_cast<const Event*>(mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0));
  if (events == MAP_FAILED) Die(path);
  size_t count = 0, threads = 0;
  const size_t room = static_cast<size_t>(info.st_size) / sizeof(Event);
  for (; count < room && events[count].kind != Kind::kNone; ++count)
    threads = std::max<size_t>(threads, events[count].thread);

  std::span<size_t> of_thread = Map<size_t>(threads + 1);
  for (size_t i = 0; i < count; ++i) ++of_thread[events[i].thread];
  std::span<uint32_t> moving = Map<uint32_t>(threads + 1);
  actors = Map<Actor>(threads + 1);
  std::span<Step> all = Map<Step>(count);
  for (size_t t = 0, first = 0; t <= threads; first += of_thread[t++]) {
    new (&actors[t]) Actor;
    actors[t].steps = all.subspan(first, 0);
  }
  Numbers numbers(count);
  uint32_t blocks = 0;
  for (const Event& event : std::span(events, count)) {
    Step step{kNobody, kNobody, event.size, event.us, event.kind, event.alignment};
    uint32_t& number = numbers[event.address];
    switch (event.kind) {
      case Kind::kMoveFrom:
        moving[event.thread] = number;
        number = kNobody;
        continue;
      case Kind::kFree:
        if (number == kNobody) continue;  // from before the recording
        step.block = number;
        number = kNobody;
        break;
      case Kind::kMoveTo:
        step.before = moving[event.thread];
        [[fallthrough]];
      default:
        step.block = number = blocks++;
    }
    std::span<Step>& steps = actors[event.thread].steps;
    steps = {steps.data(), steps.size() + 1};
    steps.back() = step;
  }
  held = Map<Held>(blocks);
  memset(static_cast<void*>(held.data()), 0, held.size_bytes());
  munmap(const_cast<Event*>(events), static_cast<size_t>(info.st_size));
}

void WaitUntil(uint32_t us) {
  const double at = began + us * 1e-6;
  if (at - Clock(CLOCK_MONOTONIC) < kSlackUs * 1e-6) return;
  const timespec time{static_cast<time_t>(at), static_cast<long>((at - std::floor(at)) * 1e9)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
}

// The block, which another thread may still have to make.
char* Take(Held& block) {
  char* address;
  while ((address = block.address.load(std::memory_order_acquire)) == nullptr) sched_yield();
  return address;
}

char* Make(const Step& step) {
  if (step.before != kNobody) return static_cast<char*>(realloc(Take(held[step.before]), step.size));
  if (step.kind == Kind::kZeroed) return static_cast<char*>(calloc(1, step.size));
  return static_cast<char*>(step.alignment == 0 ? malloc(step.size)
                                                : aligned_alloc(size_t{1} << step.alignment, step.size));
}

void Act(Actor& actor) {
  uint32_t looked = 0;
  for (const Step& step : actor.steps) {
    if (step.us >= looked + kSlackUs) {
      WaitUntil(step.us);
      looked = step.us;
    }
    Held& block = held[step.block];
    int64_t change = 0;
    if (step.kind == Kind::kFree) {
      char* address = Take(block);
      change = -static_cast<int64_t>(block.size);
      free(address);
    } else {
      const size_t before = step.before == kNobody ? 0 : held[step.before].size;
      char* address = Make(step);
      if (address == nullptr) Die("malloc");
      if (step.size > before) memset(address + before, 1, step.size - before);
      change = static_cast<int64_t>(step.size) - static_cast<int64_t>(before);
      block.size = step.size;
      block.address.store(address, std::memory_order_release);
    }
    actor.live.store(actor.live.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
  }
}

// Threads are numbered in the order of their first events.
void Replay() {
  began = Clock(CLOCK_MONOTONIC);
  for (Actor& actor : actors) {
    if (actor.steps.empty()) continue;
    WaitUntil(actor.steps.front().us);
    actor.thread = std::thread(Act, std::ref(actor));
  }
  for (Actor& actor : actors) {
    if (actor.thread.joinable()) actor.thread.join();
  }
}

int Main(const char* name, const char* path) {
  Warm(512 * kMiB);
  Load(path);
  const auto live = [] {
    int64_t sum = 0;
    for (const Actor& actor : actors) sum += actor.live.load(std::memory_order_relaxed);
    return sum;
  };
  ReportWatched("replay", name, live, Replay);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc == 3) return bench::Main(argv[1], argv[2]);
  dprintf(STDERR_FILENO, "usage: replay NAME FILE\n");
  return 2;
}
