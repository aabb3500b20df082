// bit_packing.cc: unpacking, eight values a step.
#include "engine/scan/bit_packing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace neap::engine {
namespace {

// Unpacks `groups` times 8 values. Reads up to 8 bytes beyond the last group.
template <uint32_t kWidth>
void UnpackGroups(const uint8_t* data, uint32_t groups, uint32_t* out) {
  constexpr uint64_t kMask = (uint64_t{1} << kWidth) - 1;
  for (uint32_t group = 0; group < groups; ++group, data += kWidth, out += 8) {
#pragma GCC unroll 8
    for (uint32_t i = 0; i < 8; ++i) {
      uint64_t word;
      std::memcpy(&word, data + i * kWidth / 8, 8);
      out[i] = static_cast<uint32_t>(word >> (i * kWidth % 8) & kMask);
    }
  }
}

using UnpackFunction = void (*)(const uint8_t*, uint32_t, uint32_t*);

constexpr auto kUnpack = []<uint32_t... kWidths>(std::integer_sequence<uint32_t, kWidths...>) {
  return std::array<UnpackFunction, sizeof...(kWidths)>{UnpackGroups<kWidths>...};
}
(std::make_integer_sequence<uint32_t, 33>());

// The eight bits of a byte to eight bytes: each product bit lands in the top bit of its byte.
uint64_t SpreadByte(uint8_t byte) {
  return ((byte & 0x7fU) * 0x0002040810204081ULL & 0x0101010101010101ULL) | (static_cast<uint64_t>(byte >> 7) << 56);
}

}  // namespace

uint32_t UnpackBits(const uint8_t* data, uint64_t bit, uint32_t count, uint8_t* out) {
  uint32_t set = 0, i = 0;
  for (; i < count && (bit & 7) != 0; ++i, ++bit) set += out[i] = data[bit >> 3] >> (bit & 7) & 1;
  const uint8_t* bytes = data + (bit >> 3);
  for (; i + 8 <= count; i += 8, ++bytes) {
    const uint64_t spread = SpreadByte(*bytes);
    std::memcpy(out + i, &spread, 8);
    set += static_cast<uint32_t>(__builtin_popcount(*bytes));
  }
  for (uint32_t rest = 0; i < count; ++i, ++rest) set += out[i] = *bytes >> rest & 1;
  return set;
}

void HybridDecoder::Start(const uint8_t* data, const uint8_t* end, uint32_t width) {
  if (width > 32) throw std::runtime_error("a bit width of " + std::to_string(width));
  data_ = data;
  end_ = end;
  width_ = width;
  left_ = 0;
}

void HybridDecoder::NextRun() {
  uint64_t header = 0;
  for (uint32_t shift = 0;; shift += 7) {
    if (data_ == end_ || shift > 28) throw std::runtime_error("a page's runs end before its values do");
    header |= static_cast<uint64_t>(*data_ & 0x7f) << shift;
    if ((*data_++ & 0x80) == 0) break;
  }
  const auto available = static_cast<uint64_t>(end_ - data_);
  const uint64_t length = (header & 1) != 0 ? (header >> 1) * 8 : header >> 1;
  packed_ = (header & 1) != 0 && width_ != 0;
  if (packed_) {
    const uint64_t bytes = std::min(length / 8 * width_, available);  // the last group may be cut short
    left_ = static_cast<uint32_t>(std::min<uint64_t>(bytes * 8 / width_, UINT32_MAX));
    group_ = data_;
    position_ = 0;
    data_ += bytes;
  } else {
    const uint32_t bytes = (header & 1) != 0 ? 0 : (width_ + 7) / 8;
    if (available < bytes) throw std::runtime_error("a page's runs end before its values do");
    left_ = static_cast<uint32_t>(std::min<uint64_t>(length, UINT32_MAX));
    value_ = 0;
    std::memcpy(&value_, data_, bytes);
    data_ += bytes;
  }
}

uint32_t HybridDecoder::UnpackOne(uint64_t index) const {
  const uint64_t bit = index * width_;
  const uint8_t* from = group_ + (bit >> 3);
  uint64_t word = 0;
  std::memcpy(&word, from, std::min<size_t>(8, static_cast<size_t>(end_ - from)));
  return static_cast<uint32_t>(word >> (bit & 7) & ((uint64_t{1} << width_) - 1));
}

void HybridDecoder::Unpack(uint32_t count, uint32_t* out) {
  uint32_t i = 0;
  for (; i < count && (position_ + i) % 8 != 0; ++i) out[i] = UnpackOne(position_ + i);
  const uint8_t* from = group_ + uint64_t{position_ + i} * width_ / 8;
  const auto available = static_cast<uint64_t>(end_ - from);
  const uint64_t safe = available < 8 ? 0 : (available - 8) / width_;  // groups that may be read by whole words
  const auto groups = static_cast<uint32_t>(std::min<uint64_t>((count - i) / 8, safe));
  kUnpack[width_](from, groups, out + i);
  for (i += groups * 8; i < count; ++i) out[i] = UnpackOne(position_ + i);
  position_ += count;
}

void HybridDecoder::Decode(uint32_t count, uint32_t* out) {
  while (count > 0) {
    if (left_ == 0) {
      NextRun();
      continue;
    }
    const uint32_t now = std::min(left_, count);
    if (packed_) {
      Unpack(now, out);
    } else {
      std::fill_n(out, now, value_);
    }
    out += now;
    count -= now;
    left_ -= now;
  }
}

void HybridDecoder::Skip(uint32_t count) {
  while (count > 0) {
    if (left_ == 0) {
      NextRun();
      continue;
    }
    const uint32_t now = std::min(left_, count);
    position_ += now;
    count -= now;
    left_ -= now;
  }
}

uint32_t HybridDecoder::DecodeBits(uint32_t count, uint8_t* out) {
  uint32_t set = 0;
  while (count > 0) {
    if (left_ == 0) {
      NextRun();
      continue;
    }
    const uint32_t now = std::min(left_, count);
    if (packed_) {
      set += UnpackBits(group_, position_, now, out);
      position_ += now;
    } else {
      std::memset(out, static_cast<int>(value_ & 1), now);
      set += now * (value_ & 1);
    }
    out += now;
    count -= now;
    left_ -= now;
  }
  return set;
}

uint32_t HybridDecoder::SkipBits(uint32_t count) {
  uint8_t bits[1024];
  uint32_t set = 0;
  while (count > 0) {
    const uint32_t now = std::min<uint32_t>(count, sizeof(bits));
    set += DecodeBits(now, bits);
    count -= now;
  }
  return set;
}

}  // namespace neap::engine
