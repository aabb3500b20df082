// Preloaded: writes what the program asks of glibc's malloc into the file $BENCH_RECORD, for `replay`. The program's
// own children are not recorded.
#include <atomic>
#include <bit>
#include <cerrno>

#include "bench/measure.h"
#include "bench/recording.h"

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}

namespace bench {
namespace {

constexpr size_t kCapacity = size_t{1} << 26;

Event* events = nullptr;
int file = -1;
std::atomic<size_t> count{0};
std::atomic<uint16_t> threads{0};
double began = 0;

void Note(Kind kind, const void* address, size_t size, size_t alignment = 1) {
  if (events == nullptr || address == nullptr) return;
  __attribute__((tls_model("initial-exec"))) static thread_local uint16_t thread = 0;
  if (thread == 0) thread = ++threads;
  const size_t at = count.fetch_add(1, std::memory_order_relaxed);
  if (at >= kCapacity - 1) return;  // the last one stays kNone
  events[at] = {.address = reinterpret_cast<uintptr_t>(address),
                .size = size,
                .us = static_cast<uint32_t>((Clock(CLOCK_MONOTONIC) - began) * 1e6),
                .thread = thread,
                .kind = kind,
                .alignment = static_cast<uint8_t>(std::countr_zero(alignment))};
}

__attribute__((constructor)) void Start() {
  const char* path = getenv("BENCH_RECORD");
  if (path == nullptr) return;
  file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  unsetenv("BENCH_RECORD");
  if (file < 0 || ftruncate(file, kCapacity * sizeof(Event)) != 0) Die(path);
  void* memory = mmap(nullptr, kCapacity * sizeof(Event), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) Die(path);
  began = Clock(CLOCK_MONOTONIC);
  pthread_atfork(nullptr, nullptr, [] { events = nullptr; });
  events = static_cast<Event*>(memory);
}

__attribute__((destructor)) void End() {
  if (events == nullptr) return;
  const size_t noted = count.load();
  if (noted >= kCapacity) dprintf(STDERR_FILENO, "recorder: cut after %zu events\n", kCapacity);
  [[maybe_unused]] int ignored =
      ftruncate(file, static_cast<off_t>((std::min(noted, kCapacity - 1) + 1) * sizeof(Event)));
}

void* Aligned(size_t alignment, size_t size) {
  void* block = __libc_memalign(alignment, size);
  Note(Kind::kAllocate, block, size, alignment);
  return block;
}

}  // namespace
}  // namespace bench

using bench::Kind, bench::Note;

extern "C" {

void* malloc(size_t size) {
  void* block = __libc_malloc(size);
  Note(Kind::kAllocate, block, size);
  return block;
}

void* calloc(size_t count, size_t size) {
  void* block = __libc_calloc(count, size);
  Note(Kind::kZeroed, block, count * size);
  return block;
}

void* realloc(void* old, size_t size) {
  if (old == nullptr) return malloc(size);
  Note(size == 0 ? Kind::kFree : Kind::kMoveFrom, old, 0);
  void* block = __libc_realloc(old, size);
  if (size != 0) Note(Kind::kMoveTo, block == nullptr ? old : block, size);
  return block;
}

void free(void* block) {
  Note(Kind::kFree, block, 0);
  __libc_free(block);
}

void* aligned_alloc(size_t alignment, size_t size) { return bench::Aligned(alignment, size); }
void* memalign(size_t alignment, size_t size) { return bench::Aligned(alignment, size); }

int posix_memalign(void** block, size_t alignment, size_t size) {
  if (alignment % sizeof(void*) != 0 || !std::has_single_bit(alignment)) return EINVAL;
  void* made = bench::Aligned(alignment, size);
  if (made == nullptr) return ENOMEM;
  *block = made;
  return 0;
}
}
