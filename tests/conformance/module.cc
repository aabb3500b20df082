// A shared object for the cases to load late: it allocates as it is loaded, holds blocks in its own thread-local
// storage, frees as it is unloaded, and throws. Built twice: with dynamic and with static thread-local storage
// (MODULE_TLS).
#include <stdlib.h>
#include <string.h>

#include <new>
#include <string>
#include <vector>

namespace {

struct Held {
  Held() : text(new char[3000]) { memset(text, 1, 3000); }
  ~Held() { delete[] text; }
  char* text;
  std::vector<std::string> more{100, std::string(100, 'x')};
};

Held at_load;                  // constructed by dlopen, destroyed by dlclose
thread_local Held per_thread;  // destroyed at the end of each thread that used it
__attribute__((tls_model(MODULE_TLS))) thread_local char raw[MODULE_TLS_SIZE];

}  // namespace

extern "C" {

// Uses everything above; true if all of it is well.
bool module_use() {
  raw[0] = raw[sizeof raw - 1] = 1;
  per_thread.more.emplace_back(1000, 'y');
  at_load.text[0] = 1;
  std::vector<void*> blocks;
  for (size_t size = 1; size < 100000; size *= 2) blocks.push_back(malloc(size));
  for (void* block : blocks) free(block);
  return per_thread.text[0] == 1;
}

// Whether operator new's bad_alloc is caught here, where the C++ runtime may have come with this module.
bool module_catches() {
  volatile size_t too_much = size_t{1} << 60;
  for (int i = 0; i < 3; ++i) {
    try {
      operator delete(operator new(too_much));
      return false;
    } catch (const std::bad_alloc&) {
    }
    if (operator new(too_much, std::nothrow) != nullptr) return false;
    try {
      operator delete[](operator new[](too_much, std::align_val_t(64)), std::align_val_t(64));
      return false;
    } catch (const std::bad_alloc&) {
    }
  }
  return true;
}

// Whether a new_handler that was set here is called.
bool module_handler() {
  static int calls;
  std::set_new_handler([] {
    if (++calls == 2) throw 7;
  });
  volatile size_t too_much = size_t{1} << 60;
  try {
    operator delete(operator new(too_much));
  } catch (int number) {
    std::set_new_handler(nullptr);
    return number == 7 && calls == 2;
  }
  return false;
}
}
