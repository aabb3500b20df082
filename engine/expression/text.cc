// text.cc: see text.h.
#include "engine/expression/text.h"

#include <algorithm>
#include <string>

#include "engine/core/error.h"

namespace neap::engine {

void CheckTextSize(uint64_t bytes) {
  constexpr uint64_t kMost = uint64_t{1} << 30;
  if (bytes > kMost) {
    throw Error(ErrorKind::kData, "a string of " + std::to_string(bytes) + " bytes is too long: at most " +
                                      std::to_string(kMost) + " are possible");
  }
}

void TextArena::Reset() {
  if (blocks_.size() > 1) {
    size_t total = 0;
    for (const Array<char>& block : blocks_) total += block.size();
    blocks_.clear();
    blocks_.emplace_back(*memory_, total);
  }
  used_ = 0;
}

void TextArena::Grow(size_t bytes) {
  constexpr size_t kFirst = size_t{16} << 10;
  CheckTextSize(bytes);
  blocks_.emplace_back(*memory_, std::max(bytes, blocks_.empty() ? kFirst : blocks_.back().size() * 2));
  used_ = 0;
}

bool IsAscii(std::string_view text) {
  uint64_t high = 0;
  if (text.size() >= 8) {
    uint64_t word;
    for (size_t i = 0; i + 8 < text.size(); i += 8) {
      std::memcpy(&word, text.data() + i, 8);
      high |= word;
    }
    std::memcpy(&word, text.data() + text.size() - 8, 8);
    high |= word;
  } else {
    for (char byte : text) high |= static_cast<uint8_t>(byte);
  }
  return (high & 0x8080808080808080ULL) == 0;
}

int64_t CountCodePoints(std::string_view text) {
  int64_t count = 0;
  for (char byte : text) count += !IsContinuation(byte);
  return count;
}

size_t SkipCodePoints(std::string_view text, uint64_t count) {
  size_t at = 0;
  while (count >= 8 && at + 8 <= text.size() && IsAscii(text.substr(at, 8))) {
    at += 8;
    count -= 8;
  }
  for (; count > 0 && at < text.size(); --count) at += CodePointSize(text[at]);
  return std::min(at, text.size());
}

// Compares the first and the last byte of the needle at 16 places at once, and all of it where both agree.
// Source: Wojciech Muła, "SIMD-friendly algorithms for substring searching", the generic one.
size_t FindText(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size() || text.size() - from < needle.size()) return kNotFound;
  if (needle.empty()) return from;
  const char* data = text.data();
  const size_t last = needle.size() - 1;
  const size_t end = text.size() - last;  // of the places where it may begin
  const auto matches = [&](size_t at) {
    return last < 2 || std::memcmp(data + at + 1, needle.data() + 1, last - 1) == 0;
  };

  using Block = uint8_t __attribute__((vector_size(16)));
  if (end - from >= sizeof(Block)) {
    const Block first_byte = Block{} + static_cast<uint8_t>(needle.front());
    const Block last_byte = Block{} + static_cast<uint8_t>(needle.back());
    for (size_t at = from;;) {
      Block a, b;
      std::memcpy(&a, data + at, sizeof(Block));
      std::memcpy(&b, data + at + last, sizeof(Block));
      const auto both = (a == first_byte) & (b == last_byte);
      uint64_t halves[2];
      std::memcpy(halves, &both, sizeof(halves));
      for (size_t half = 0; half < 2; ++half) {
        for (uint64_t bits = halves[half]; bits != 0;) {
          const auto byte = static_cast<size_t>(__builtin_ctzll(bits)) / 8;
          if (matches(at + half * 8 + byte)) return at + half * 8 + byte;
          bits &= ~(uint64_t{0xFF} << (byte * 8));
        }
      }
      if (at + sizeof(Block) == end) return kNotFound;
      at = std::min(at + sizeof(Block), end - sizeof(Block));  // the last block overlaps the one before
    }
  }
  for (size_t at = from; at < end; ++at) {
    if (data[at] == needle.front() && data[at + last] == needle.back() && matches(at)) return at;
  }
  return kNotFound;
}

}  // namespace neap::engine
