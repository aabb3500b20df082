// threads [bare] [COUNT]: threads that each allocate and free one block of each power of two from 16 B to 4 KiB, then
// sleep; with `bare` they only sleep. The difference of the two runs is what a thread costs in the allocator.
#include <thread>

#include "bench/measure.h"

namespace bench {
namespace {

int Main(bool bare, unsigned count) {
  std::span<std::thread> threads = Map<std::thread>(count);
  Barrier ready(count + 1), end(count + 1);
  const int64_t start = Resident();
  for (std::thread& thread : threads) {
    thread = std::thread([&] {
      void* volatile block = nullptr;
      for (size_t size = 16; size <= 4096 && !bare; size *= 2) {
        block = malloc(size);
        *static_cast<volatile char*>(block) = 1;
        free(block);
      }
      ready.Wait();
      end.Wait();
    });
  }
  ready.Wait();
  SleepMs(100);
  const int64_t resident = Resident() - start;
  Report("threads", bare ? "bare" : "busy", {{"kib_per_thread", static_cast<double>(resident) / kKiB / count}});
  end.Wait();
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bool bare = argc > 1 && strcmp(argv[1], "bare") == 0;
  return bench::Main(bare, argc > 2 ? static_cast<unsigned>(strtoul(argv[2], nullptr, 10)) : 1000);
}
