// text.h: memory for strings that are results, code points of UTF-8, and search for one string in another.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/core/column.h"
#include "engine/memory/memory.h"

namespace neap::engine {

// Room for the long strings of one batch. Reset takes all of it back at once; after the first batches it is one block
// that is used again and again.
class TextArena {
 public:
  explicit TextArena(Memory& memory) : memory_(&memory) {}

  void Reset();
  // Valid until Reset. Throws Error(kData) for a string that is too long for any use.
  char* Allocate(size_t bytes) {
    if (blocks_.empty() || blocks_.back().size() - used_ < bytes) Grow(bytes);
    char* result = blocks_.back().data() + used_;
    used_ += bytes;
    return result;
  }
  // Gives back what of the last allocation lies after `end`.
  void TrimTo(const char* end) { used_ = static_cast<size_t>(end - blocks_.back().data()); }

 private:
  void Grow(size_t bytes);

  Memory* memory_;
  std::vector<Array<char>> blocks_;
  size_t used_ = 0;  // of the last block
};

// Throws Error(kData) for a string of more than a GiB.
void CheckTextSize(uint64_t bytes);

inline bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }
bool IsAscii(std::string_view text);
// Bytes of the code point that starts at a byte. Never 0, so that a walk over bytes that are not UTF-8 ends, too.
inline size_t CodePointSize(char byte) {
  const auto lead = static_cast<uint8_t>(byte);
  return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}
int64_t CountCodePoints(std::string_view text);
// Where the code point after the first `count` starts; the end where there are fewer.
size_t SkipCodePoints(std::string_view text, uint64_t count);

constexpr size_t kNotFound = std::string_view::npos;

// The first place at or after `from` where `needle` begins.
size_t FindText(std::string_view text, std::string_view needle, size_t from = 0);

}  // namespace neap::engine
