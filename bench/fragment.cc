// fragment KIND [SEED]: what is resident beyond what is live, over the whole run: every 2 ms a thread of the program's
// own reads both, and the difference is summed over time. Sizes are those asked for. Between its steps a program rests,
// as servers and executors do, for 30 ms to 2 s in turn; what is given back meanwhile counts. 100 ms into the longer
// rests resident is held against the bytes of the pages that hold a live block, the floor where nothing is moved.
//   phases    bursts of 256 MiB, each of another mix of sizes; of each 5 % live on to the end
//   sediment  requests of a load that swells and ebbs: short-lived blocks in order, and one in 100 that stays
//   threads   generations of eight threads that end; 3 % of what each allocated outlives it by ten generations
//   query     queries one after the other: column buffers, a hash table that doubles, its keys, and a result that is
//             kept for four queries
#include <atomic>
#include <thread>

#include "bench/watch.h"

namespace bench {
namespace {

constexpr unsigned kThreads = 8;
constexpr int kRestsMs[] = {100, 1000, 30, 300, 2000, 60, 600, 1500};
constexpr size_t kRoom = 1 << 19;  // blocks that a worker can hold
constexpr size_t kRing = 20'000;

// A thread's blocks, kept apart from the heap.
class Worker {
 public:
  void Start(uint64_t seed) {
    blocks_ = Map<Block>(kRoom);
    ring = Map<Block>(kRing);
    for (std::span<Block> room : {blocks_, ring}) memset(room.data(), 0, room.size_bytes());
    random_ = Random(seed);
  }

  Random& random() { return random_; }
  size_t count() const { return count_; }
  Block& at(size_t i) { return blocks_[i]; }
  int64_t live() const { return live_.load(std::memory_order_relaxed); }

  void Add(size_t size) {
    if (count_ == kRoom) Die("more blocks than there is room for");
    Take(blocks_[count_++], size);
  }
  void AddBytes(size_t bytes, const LogUniform& mix) {
    for (size_t done = 0; done < bytes; done += blocks_[count_ - 1].size) Add(mix.Draw(random_));
  }
  void Take(Block& block, size_t size) {
    block = {nullptr, static_cast<uint32_t>(size)};
    Allocate(block);
    Note(static_cast<int64_t>(size));
  }
  void FreeBlock(Block& block) {
    Free(block);
    Note(-static_cast<int64_t>(block.size));
  }
  // Of those from `first` on, at random, all but one in `one_in`, which then stand from `first` on.
  void Thin(size_t first, size_t one_in) {
    Shuffle(blocks_.subspan(first, count_ - first), random_);
    const size_t kept = (count_ - first) / one_in;
    for (size_t i = first + kept; i < count_; ++i) FreeBlock(blocks_[i]);
    count_ = first + kept;
  }
  // The oldest `count`.
  void FreeOldest(size_t count) {
    for (size_t i = 0; i < count; ++i) FreeBlock(blocks_[i]);
    std::copy(blocks_.begin() + static_cast<ptrdiff_t>(count), blocks_.begin() + static_cast<ptrdiff_t>(count_),
              blocks_.begin());
    count_ -= count;
  }

  std::span<Block> ring;  // for the kind's own use

 private:
  void Note(int64_t bytes) { live_.store(live() + bytes, std::memory_order_relaxed); }

  std::span<Block> blocks_;
  size_t count_ = 0;
  Random random_{0};
  alignas(64) std::atomic<int64_t> live_{0};  // written by its thread alone
};

Worker workers[kThreads];

// One thread for each worker, all of which end.
template <class F>
void OnEach(F work) {
  std::thread threads[kThreads];
  for (unsigned i = 0; i < kThreads; ++i) threads[i] = std::thread([&work, i] { work(workers[i]); });
  for (std::thread& thread : threads) thread.join();
}

int RestMs(size_t step) { return kRestsMs[step % std::size(kRestsMs)]; }
void Rest(size_t step) { SleepMs(RestMs(step)); }

// Resident over the bytes of the pages that hold a live block, 100 ms into those of the rests that are longer than 200.
class Floors {
 public:
  void Start() { start_ = ResidentNow(); }
  // Instead of Rest, by one thread while all others rest.
  void Rest(int ms) {
    constexpr int kAfterMs = 100;
    if (ms < 2 * kAfterMs) return SleepMs(ms);
    SleepMs(kAfterMs);
    const auto resident = static_cast<double>(ResidentNow() - start_);
    std::span<Block> live = Map<Block>(kThreads * kRoom);
    size_t count = 0;
    for (Worker& worker : workers) {
      for (size_t i = 0; i < worker.count(); ++i) live[count++] = worker.at(i);
    }
    ratios_[count_++] = resident / static_cast<double>(PagesOf(live.first(count)));
    munmap(live.data(), live.size_bytes());
    SleepMs(ms - kAfterMs);
  }
  void Report(const char* kind) {
    if (count_ == 0) return;
    std::sort(ratios_, ratios_ + count_);
    bench::Report("floor", kind, {{"median", ratios_[count_ / 2]}, {"worst", ratios_[count_ - 1]}});
  }

 private:
  int64_t start_ = 0;
  double ratios_[32];
  size_t count_ = 0;
};

Floors floors;

// Of all workers at once.
void RestTogether(const Worker& worker, size_t step) {
  if (&worker == workers)
    floors.Rest(RestMs(step));
  else
    Rest(step);
}

// ---- The kinds.

void Phases() {
  constexpr LogUniform kMixes[] = {
      {32, 256}, {kKiB, 16 * kKiB},     {64, kKiB},      {16 * kKiB, 256 * kKiB}, {32, 4 * kKiB},
      {48, 512}, {4 * kKiB, 32 * kKiB}, {256, 64 * kKiB}};
  constexpr size_t kBytes = 256 * kMiB / kThreads;
  Barrier step(kThreads);
  OnEach([&](Worker& worker) {
    for (size_t phase = 0; phase < std::size(kMixes); ++phase) {
      const size_t first = worker.count();
      worker.AddBytes(kBytes, kMixes[phase]);
      step.Wait();
      worker.Thin(first, 20);
      step.Wait();
      RestTogether(worker, phase);
    }
  });
}

void Sediment() {
  constexpr LogUniform kRequest{16, 8 * kKiB};
  constexpr size_t kOneIn = 100, kLeast = 500, kTides = 8, kRequests = 40'000;
  OnEach([&](Worker& worker) {
    size_t oldest = 0, newest = 0;
    const auto end_oldest = [&] { worker.FreeBlock(worker.ring[oldest++ % kRing]); };
    for (size_t tide = 0; tide < kTides; ++tide) {
      const size_t depth = tide % 2 == 0 ? kRing : kLeast;
      for (size_t request = 0; request < kRequests; ++request) {
        const size_t size = kRequest.Draw(worker.random());
        if (worker.random().Below(kOneIn) == 0) {
          worker.Add(size);
          continue;
        }
        while (newest - oldest >= depth) end_oldest();
        worker.Take(worker.ring[newest++ % kRing], size);
      }
      Rest(tide);
    }
    while (oldest < newest) end_oldest();
  });
}

void Generations() {
  constexpr LogUniform kMix{16, 32 * kKiB};
  constexpr size_t kGenerations = 40, kOutlive = 10, kBytes = 8 * kMiB;
  size_t left[kGenerations][kThreads] = {};
  for (size_t generation = 0; generation < kGenerations; ++generation) {
    OnEach([&](Worker& worker) {
      const auto who = static_cast<size_t>(&worker - workers);
      if (generation >= kOutlive) worker.FreeOldest(left[generation - kOutlive][who]);
      const size_t first = worker.count();
      worker.AddBytes(kBytes, kMix);
      worker.Thin(first, 33);
      left[generation][who] = worker.count() - first;
    });
    floors.Rest(RestMs(generation) / 10);
  }
}

void Query(Worker& worker) {
  constexpr LogUniform kColumn{16 * kKiB, kMiB}, kKey{16, 200};
  constexpr size_t kColumns = 16, kBatches = 60, kKeys = 120'000;
  const size_t first = worker.count();
  // The scan: each batch's columns live until the next but one.
  Block columns[3 * kColumns] = {}, table = {};
  for (size_t batch = 0; batch < kBatches; ++batch) {
    for (size_t c = 0; c < kColumns; ++c) {
      Block& block = columns[batch % 3 * kColumns + c];
      if (block.address != nullptr) worker.FreeBlock(block);
      worker.Take(block, kColumn.Draw(worker.random()));
    }
    for (size_t key = 0; key < kKeys / kBatches; ++key) worker.Add(kKey.Draw(worker.random()));
    // The hash table: 32 bytes a key, at most half full.
    if (table.size < (worker.count() - first) * 64) {
      Block larger;
      worker.Take(larger, table.size == 0 ? 64 * kKiB : size_t{table.size} * 2);
      if (table.address != nullptr) worker.FreeBlock(table);
      table = larger;
    }
  }
  worker.FreeBlock(table);
  for (Block& block : columns) worker.FreeBlock(block);
  worker.Thin(first, 50);
}

void Queries() {
  constexpr size_t kQueries = 10, kKept = 4;
  Barrier step(kThreads);
  OnEach([&](Worker& worker) {
    size_t results[kQueries] = {};
    for (size_t query = 0; query < kQueries; ++query) {
      if (query >= kKept) worker.FreeOldest(results[query - kKept]);
      const size_t first = worker.count();
      Query(worker);
      results[query] = worker.count() - first;
      step.Wait();
      RestTogether(worker, query);
    }
  });
}

int Main(const char* kind, uint64_t seed) {
  constexpr struct {
    const char* name;
    void (*run)();
  } kKinds[] = {{"phases", Phases}, {"sediment", Sediment}, {"threads", Generations}, {"query", Queries}};
  const auto* chosen =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& k) { return strcmp(k.name, kind) == 0; });
  if (chosen == std::end(kKinds)) {
    dprintf(STDERR_FILENO, "fragment: there is no kind '%s': phases, sediment, threads or query\n", kind);
    return 2;
  }
  Warm(512 * kMiB);
  for (unsigned i = 0; i < kThreads; ++i) workers[i].Start(seed * kThreads + i);
  const auto live = [] {
    int64_t sum = 0;
    for (const Worker& worker : workers) sum += worker.live();
    return sum;
  };
  floors.Start();
  ReportWatched("fragment", kind, live, chosen->run);
  floors.Report(kind);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc > 1 ? argv[1] : "", argc > 2 ? strtoul(argv[2], nullptr, 10) : 1);
}
