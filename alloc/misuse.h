// misuse.h: how a program that misuses the heap ends: one line on stderr that names the address and what is known of
// it, then SIGABRT. Also the line about a setting that is not understood.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap {

struct Misuse {
  [[noreturn]] static void DoubleFree(const void* block, size_t block_size);
  // An address that free, realloc or malloc_usable_size was given, and that no live block starts at.
  [[noreturn]] static void NotABlock(const void* address);
  [[noreturn]] static void WrongSize(const void* block, size_t block_size, size_t claimed, size_t alignment);
  // `name=value`: not understood, `used` in its place.
  static void BadSetting(const char* name, const char* value, const char* range, const char* used);
};

}  // namespace neap
