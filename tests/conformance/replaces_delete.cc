// A program that replaces operator delete(void*) and operator delete(void*, align_val_t) alone: the C++ text has every
// other form reach one of the two. Fails with a line per form that does not.
#include <stdio.h>
#include <stdlib.h>

#include <new>
#include <string>
#include <vector>

namespace {
int plain, aligned;
int failures;

void Expect(const char* what, int& counter, int count) {
  if (counter != count) {
    fprintf(stderr, "%s: reached operator delete %d times, not %d\n", what, counter, count);
    ++failures;
  }
  plain = aligned = 0;
}
}  // namespace

void operator delete(void* block) noexcept {
  ++plain;
  free(block);
}

void operator delete(void* block, std::align_val_t) noexcept {
  ++aligned;
  free(block);
}

int main() {
  constexpr std::align_val_t kWide{64};
  plain = aligned = 0;
  operator delete(operator new(100));
  Expect("delete", plain, 1);
  operator delete (operator new(100), size_t{100});
  Expect("sized delete", plain, 1);
  operator delete(operator new(100), std::nothrow);
  Expect("nothrow delete", plain, 1);
  operator delete[](operator new[](100));
  Expect("delete[]", plain, 1);
  operator delete[](operator new[](100), size_t{100});
  Expect("sized delete[]", plain, 1);
  operator delete[](operator new[](100), std::nothrow);
  Expect("nothrow delete[]", plain, 1);
  operator delete(operator new(100, kWide), kWide);
  Expect("aligned delete", aligned, 1);
  operator delete (operator new(100, kWide), size_t{100}, kWide);
  Expect("sized aligned delete", aligned, 1);
  operator delete(operator new(100, kWide), kWide, std::nothrow);
  Expect("nothrow aligned delete", aligned, 1);
  operator delete[](operator new[](100, kWide), kWide);
  Expect("aligned delete[]", aligned, 1);
  operator delete[](operator new[](100, kWide), size_t{100}, kWide);
  Expect("sized aligned delete[]", aligned, 1);
  operator delete[](operator new[](100, kWide), kWide, std::nothrow);
  Expect("nothrow aligned delete[]", aligned, 1);
  { std::string text(1000, 'x'); }
  Expect("std::string", plain, 1);
  return failures;
}
