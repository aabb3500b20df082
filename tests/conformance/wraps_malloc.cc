// A program that wraps malloc and free to count them, and leaves the rest to whoever comes next (RTLD_NEXT).
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <thread>
#include <vector>

namespace {
long taken, given;
bool inside;

template <class F>
F* Next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
}  // namespace

extern "C" {
void* malloc(size_t size) noexcept {
  static void* (*next)(size_t);
  if (next == nullptr && !inside) {
    inside = true;
    next = Next<void*(size_t)>("malloc");
    inside = false;
  }
  __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
  return next(size);
}

void free(void* block) noexcept {
  static void (*next)(void*);
  if (next == nullptr) next = Next<void(void*)>("free");
  __atomic_fetch_add(&given, 1, __ATOMIC_RELAXED);
  next(block);
}
}

int main() {
  long before = taken;
  for (int i = 0; i < 1000; ++i) free(strdup("text"));
  if (taken < before + 1000 || given < 1000) {
    fprintf(stderr, "malloc was reached %ld times, free %ld times\n", taken - before, given);
    return 1;
  }
  before = taken;
  std::vector<std::string> texts(1000, std::string(100, 'x'));
  if (taken < before + 1000) {
    fprintf(stderr, "operator new reached malloc %ld times of 1000\n", taken - before);
    return 2;
  }
  void* block = calloc(10, 10);
  block = realloc(block, 1000);
  free(block);
  if (posix_memalign(&block, 64, 100) != 0) return 3;
  free(block);
  std::thread([] { free(realloc(malloc(10), 10000)); }).join();
  return 0;
}
