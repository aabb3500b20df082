// case_mapping.cc: ASCII in place, the rest by the tables of utf8proc.
#include "engine/expression/case_mapping.h"

#include <utf8proc.h>

namespace neap::engine {
namespace {

// The other case of a letter is at most half as long again (2 bytes become 3).
size_t MostBytes(size_t size) { return size + size / 2 + 1; }

// Writes `text` with the case of each code point changed; returns the end. What is not UTF-8 stays as it is.
template <bool kUpper>
char* Map(std::string_view text, char* to) {
  if (IsAscii(text)) {
    constexpr char kFirst = kUpper ? 'a' : 'A';
    for (size_t i = 0; i < text.size(); ++i) {
      const auto letter = static_cast<uint8_t>(text[i] - kFirst) < 26;
      to[i] = static_cast<char>(text[i] ^ (letter ? 0x20 : 0));
    }
    return to + text.size();
  }
  const auto* in = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto rest = static_cast<utf8proc_ssize_t>(text.size());
  while (rest > 0) {
    utf8proc_int32_t point;
    const utf8proc_ssize_t size = utf8proc_iterate(in, rest, &point);
    if (size <= 0) {
      *to++ = static_cast<char>(*in++);
      --rest;
      continue;
    }
    point = kUpper ? utf8proc_toupper(point) : utf8proc_tolower(point);
    to += utf8proc_encode_char(point, reinterpret_cast<utf8proc_uint8_t*>(to));
    in += size;
    rest -= size;
  }
  return to;
}

template <bool kUpper>
View MapView(TextArena& arena, const View& text) {
  char* begin = arena.Allocate(MostBytes(text.size));
  char* end = Map<kUpper>(text.text(), begin);
  arena.TrimTo(end);
  return View(begin, static_cast<uint32_t>(end - begin));
}

}  // namespace

void ToLower(std::string_view text, std::string& lower) {
  lower.resize(MostBytes(text.size()));
  lower.resize(static_cast<size_t>(Map<false>(text, lower.data()) - lower.data()));
}

View Lower(TextArena& arena, const View& text) { return MapView<false>(arena, text); }
View Upper(TextArena& arena, const View& text) { return MapView<true>(arena, text); }

}  // namespace neap::engine
