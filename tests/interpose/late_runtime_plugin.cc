// late_runtime_plugin.cc: failing operators new, of which nobody replaced any, where the C++ runtime came late.
#include <stdint.h>
#include <stdio.h>

#include <new>

namespace {

volatile size_t huge = PTRDIFF_MAX;
volatile size_t alignment = 64;
void* volatile sink;
int failures = 0;

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  ++failures;
}

template <class Allocate>
void ExpectBadAlloc(Allocate allocate, const char* what) {
  try {
    sink = allocate();
    Expect(false, what);
  } catch (const std::bad_alloc&) {
  }
}

struct Thrown {};
int handled = 0;

}  // namespace

extern "C" int Failures() {
  const auto aligned = [] { return static_cast<std::align_val_t>(alignment); };
  ExpectBadAlloc([] { return ::operator new(huge); }, "new throws");
  ExpectBadAlloc([] { return ::operator new[](huge); }, "new[] throws");
  ExpectBadAlloc([&] { return ::operator new(huge, aligned()); }, "aligned new throws");
  ExpectBadAlloc([&] { return ::operator new[](huge, aligned()); }, "aligned new[] throws");
  Expect(::operator new(huge, std::nothrow) == nullptr, "nothrow new gives null");

  std::set_new_handler([] {
    ++handled;
    throw Thrown();
  });
  Expect(::operator new(huge, std::nothrow) == nullptr, "nothrow new catches");
  Expect(::operator new[](huge, std::nothrow) == nullptr, "nothrow new[] catches");
  Expect(::operator new(huge, aligned(), std::nothrow) == nullptr, "aligned nothrow new catches");
  Expect(::operator new[](huge, aligned(), std::nothrow) == nullptr, "aligned nothrow new[] catches");
  Expect(handled == 4, "each asked the handler");
  try {
    sink = ::operator new(huge);
    Expect(false, "new passes on what the handler throws");
  } catch (const Thrown&) {
  }
  std::set_new_handler(nullptr);
  return failures;
}
