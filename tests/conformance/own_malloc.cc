// A program that brings its own malloc: a bump allocator that knows its blocks. Every block that the C library, the C++
// runtime or a preloaded library hands to it must be one of its own.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

alignas(4096) char pool[256 << 20];
size_t used;
int foreign;

struct Header {
  size_t size;
  size_t pad;
};

bool Owns(const void* block) { return block >= pool && block < pool + sizeof pool; }

void* Take(size_t alignment, size_t size) {
  if (size > sizeof pool) return nullptr;
  size_t needed = size + alignment + sizeof(Header) + 64;
  size_t at = __atomic_fetch_add(&used, needed, __ATOMIC_RELAXED);
  if (at + needed > sizeof pool) return nullptr;
  uintptr_t address = reinterpret_cast<uintptr_t>(pool + at) + sizeof(Header);
  address = (address + alignment - 1) & ~(alignment - 1);
  reinterpret_cast<Header*>(address)[-1].size = size;
  return reinterpret_cast<void*>(address);
}

}  // namespace

extern "C" {
void* malloc(size_t size) noexcept { return Take(16, size); }
void free(void* block) noexcept {
  if (block != nullptr && !Owns(block)) ++foreign;
}
void* calloc(size_t count, size_t size) noexcept { return Take(16, count * size); }
void* realloc(void* block, size_t size) noexcept {
  if (block != nullptr && !Owns(block)) ++foreign;
  void* larger = Take(16, size);
  if (block != nullptr && larger != nullptr) {
    size_t old = static_cast<Header*>(block)[-1].size;
    memcpy(larger, block, old < size ? old : size);
  }
  return larger;
}
void* aligned_alloc(size_t alignment, size_t size) noexcept { return Take(alignment < 16 ? 16 : alignment, size); }
void* memalign(size_t alignment, size_t size) noexcept { return aligned_alloc(alignment, size); }
int posix_memalign(void** result, size_t alignment, size_t size) noexcept {
  *result = aligned_alloc(alignment, size);
  return *result == nullptr ? 12 : 0;
}
}

namespace {
int failures;
void Expect(const char* what, const void* block) {
  if (!Owns(block)) {
    fprintf(stderr, "%s: a block that is not the program's own\n", what);
    ++failures;
  }
}
}  // namespace

int main() {
  Expect("malloc", malloc(10));
  char* copy = strdup("text");
  Expect("strdup", copy);
  Expect("strndup", strndup(copy, 2));
  char* text = nullptr;
  if (asprintf(&text, "%d", 42) < 0) return 99;
  Expect("asprintf", text);
  Expect("realpath", realpath("/tmp", nullptr));
  Expect("getcwd", getcwd(nullptr, 0));
  Expect("reallocarray", reallocarray(nullptr, 3, 5));
  Expect("new", operator new(100));
  Expect("new[]", operator new[](100));
  Expect("new nothrow", operator new(100, std::nothrow));
  Expect("aligned new", operator new(100, std::align_val_t(64)));
  Expect("std::string", std::string(1000, 'x').data());
  std::vector<std::unique_ptr<int>> numbers;
  for (int i = 0; i < 100; ++i) numbers.push_back(std::make_unique<int>(i));
  char* line = nullptr;
  size_t capacity = 0;
  FILE* file = fopen("/proc/self/status", "r");
  if (file != nullptr && getline(&line, &capacity, file) > 0) Expect("getline", line);
  if (file != nullptr) fclose(file);
  free(line);
  std::thread([] { free(strdup("in a thread")); }).join();
  try {
    throw std::string(1000, 'y');
  } catch (const std::string&) {
  }
  numbers.clear();
  if (foreign != 0) fprintf(stderr, "free and realloc were given %d foreign blocks\n", foreign);
  return failures + (foreign != 0);
}
