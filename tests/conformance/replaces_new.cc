// A program that replaces operator new(size_t) and operator new(size_t, align_val_t) alone: the C++ text has every
// other form reach one of the two. Fails with a line per form that does not.
#include <stdio.h>
#include <stdlib.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {
int plain, aligned;
bool refuse;
int failures;

void Expect(const char* what, int& counter, int count) {
  if (counter != count) {
    fprintf(stderr, "%s: reached operator new %d times, not %d\n", what, counter, count);
    ++failures;
  }
  plain = aligned = 0;
}
}  // namespace

void* operator new(size_t size) {
  ++plain;
  void* block = refuse ? nullptr : malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void* operator new(size_t size, std::align_val_t alignment) {
  ++aligned;
  void* block = refuse ? nullptr : aligned_alloc(static_cast<size_t>(alignment), size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

int main() {
  constexpr std::align_val_t kWide{64};
  plain = aligned = 0;
  operator delete(operator new(100));
  Expect("new", plain, 1);
  operator delete[](operator new[](100));
  Expect("new[]", plain, 1);
  operator delete(operator new(100, std::nothrow));
  Expect("new nothrow", plain, 1);
  operator delete[](operator new[](100, std::nothrow));
  Expect("new[] nothrow", plain, 1);
  operator delete(operator new(100, kWide), kWide);
  Expect("new aligned", aligned, 1);
  operator delete[](operator new[](100, kWide), kWide);
  Expect("new[] aligned", aligned, 1);
  operator delete(operator new(100, kWide, std::nothrow), kWide);
  Expect("new aligned nothrow", aligned, 1);
  operator delete[](operator new[](100, kWide, std::nothrow), kWide);
  Expect("new[] aligned nothrow", aligned, 1);
  std::string text(1000, 'x');
  Expect("std::string", plain, 1);
  std::vector<std::string> texts(10, text);
  Expect("std::vector", plain, 11);

  refuse = true;
  if (operator new(100, std::nothrow) != nullptr) Expect("nothrow of a refusal", plain, -1);
  if (operator new[](100, std::nothrow) != nullptr) Expect("nothrow[] of a refusal", plain, -1);
  if (operator new(100, kWide, std::nothrow) != nullptr) Expect("aligned nothrow of a refusal", aligned, -1);
  if (operator new[](100, kWide, std::nothrow) != nullptr) Expect("aligned nothrow[] of a refusal", aligned, -1);
  plain = 0;
  try {
    (void)operator new[](100);
    Expect("new[] of a refusal", plain, -1);
  } catch (const std::bad_alloc&) {
    Expect("new[] of a refusal", plain, 1);
  }
  return failures;
}
