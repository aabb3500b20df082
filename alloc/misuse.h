// misuse.h: how a program that misuses the heap ends: one line on stderr that names the address and what is known of
// it, then SIGABRT. Also the lines about settings that are not understood.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap {

struct Misuse {
  [[noreturn]] static void DoubleFree(const void* block, size_t block_size);
  // An address that free, realloc or malloc_usable_size was given, and that no live block starts at.
  [[noreturn]] static void NotABlock(const void* address);
  [[noreturn]] static void WrongSize(const void* block, size_t block_size, size_t claimed, size_t alignment);
  // Of the hardened mode. requested: SIZE_MAX where it is not known, the end of the block being overwritten.
  [[noreturn]] static void Overflow(const void* block, size_t block_size, size_t requested);
  [[noreturn]] static void WriteAfterFree(const void* block, size_t block_size);
  // `name=value`: not understood, `used` in its place.
  static void BadSetting(const char* name, const char* value, const char* range, const char* used);
  // A variable "NAME=value" that has our prefix and that nothing reads.
  static void UnknownSetting(const char* variable);
};

}  // namespace neap
