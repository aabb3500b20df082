// snappy.cc: elements are short (six bytes on average in columns) and of a kind that cannot be predicted, so the loop
// has no branch that depends on the kind: a literal and a copy are both 16 bytes moved from somewhere, and the next tag
// is loaded before this element is done.
// Source: the format's description, github.com/google/snappy/blob/main/format_description.txt.
#include "engine/scan/snappy.h"

#include <array>
#include <cstring>
#include <stdexcept>

namespace neap::engine {
namespace {

// The fast loop may read and write so far beyond an element.
constexpr ptrdiff_t kSlack = 72;

constexpr uint32_t kLiteral = 0;
constexpr uint32_t kRare = 255;  // in place of a length: literals of more than 60 bytes, offsets of four

// By tag: the length in the low byte, above it what the tag has of the offset.
constexpr std::array<uint32_t, 256> kElements = [] {
  std::array<uint32_t, 256> elements{};
  for (uint32_t tag = 0; tag < 256; ++tag) {
    const uint32_t length = (tag >> 2) + 1;
    switch (tag & 3) {
      case kLiteral:
        elements[tag] = length > 60 ? kRare : length;
        break;
      case 1:
        elements[tag] = (4 + (tag >> 2 & 7)) | (tag >> 5) << 16;
        break;
      case 2:
        elements[tag] = length;
        break;
      default:
        elements[tag] = kRare;
    }
  }
  return elements;
}();

// By kind: which of the four bytes after the tag are the offset.
constexpr uint32_t kOffsetMask[4] = {0, 0xff, 0xffff, 0xffffffff};

[[noreturn]] void ThrowCorrupt() { throw std::runtime_error("Snappy data is corrupt"); }

void Copy8(const uint8_t* from, uint8_t* to) {
  uint64_t word;
  std::memcpy(&word, from, 8);
  std::memcpy(to, &word, 8);
}

void Copy16(const uint8_t* from, uint8_t* to) {
  unsigned char block[16];
  std::memcpy(block, from, 16);
  std::memcpy(to, block, 16);
}

uint32_t Load32(const uint8_t* data) {
  uint32_t word;
  std::memcpy(&word, data, 4);
  return word;
}

class Decompression {
 public:
  Decompression(const uint8_t* in, const uint8_t* in_end, uint8_t* out, size_t size)
      : in_(in), in_end_(in_end), start_(out), out_(out), out_end_(out + size) {}

  void Run() {
    RunFast();
    while (in_ < in_end_) OneCarefully();
    if (out_ != out_end_) ThrowCorrupt();
  }

 private:
  bool far_from_ends() const { return in_end_ - in_ > kSlack && out_end_ - out_ > kSlack; }

  void RunFast() {
    if (!far_from_ends()) return;
    const uint8_t* in = in_;
    uint8_t* out = out_;
    const uint8_t* const in_stop = in_end_ - kSlack;
    const uint8_t* const out_stop = out_end_ - kSlack;
    uint32_t tag = *in;
    while (true) {
      const uint32_t element = kElements[tag];
      const uint32_t length = element & 0xff;
      const uint32_t kind = tag & 3;
      const bool literal = kind == kLiteral;
      const uint8_t* const next = in + 1 + (literal ? (tag >> 2) + 1 : kind);
      const uint32_t next_tag = *next;
      if (__builtin_expect(length == kRare, 0)) {
        in_ = in;
        out_ = out;
        OneCarefully();
        if (!far_from_ends()) return;
        in = in_;
        out = out_;
        tag = *in;
        continue;
      }
      const size_t offset = (Load32(in + 1) & kOffsetMask[kind]) | element >> 8;
      const uint8_t* const from = literal ? in + 1 : out - offset;
      if (__builtin_expect(!literal && offset < 16, 0)) {
        CopyNear(offset, length, out);
      } else {
        if (__builtin_expect(!literal && offset > static_cast<size_t>(out - start_), 0)) ThrowCorrupt();
        Copy16(from, out);
        if (__builtin_expect(length > 16, 0)) {
          Copy16(from + 16, out + 16);
          Copy16(from + 32, out + 32);
          Copy16(from + 48, out + 48);
        }
      }
      out += length;
      in = next;
      tag = next_tag;
      if (in >= in_stop || out >= out_stop) break;
    }
    in_ = in;
    out_ = out;
  }

  // A copy that may overlap what it writes. Up to 64 bytes.
  void CopyNear(size_t offset, uint32_t length, uint8_t* out) const {
    if (offset == 0 || offset > static_cast<size_t>(out - start_)) ThrowCorrupt();
    const uint8_t* from = out - offset;
    if (offset >= 8) {
      for (uint32_t i = 0; i < length; i += 8) Copy8(from + i, out + i);
    } else {
      for (uint32_t i = 0; i < length; ++i) out[i] = from[i];
    }
  }

  // One element of any kind, nothing read or written beyond the ends.
  void OneCarefully() {
    const uint32_t tag = *in_++;
    const uint32_t kind = tag & 3;
    size_t length = (tag >> 2) + 1;
    if (kind == kLiteral) {
      if (length > 60) length = size_t{TakeNumber(static_cast<uint32_t>(length) - 60)} + 1;
      if (length > static_cast<size_t>(in_end_ - in_) || length > static_cast<size_t>(out_end_ - out_)) ThrowCorrupt();
      std::memcpy(out_, in_, length);
      in_ += length;
      out_ += length;
      return;
    }
    size_t offset;
    if (kind == 1) {
      length = 4 + (tag >> 2 & 7);
      offset = TakeNumber(1) | (tag >> 5) << 8;
    } else {
      offset = TakeNumber(kind == 2 ? 2 : 4);
    }
    if (offset == 0 || offset > static_cast<size_t>(out_ - start_)) ThrowCorrupt();
    if (length > static_cast<size_t>(out_end_ - out_)) ThrowCorrupt();
    for (size_t i = 0; i < length; ++i) out_[i] = (out_ - offset)[i];
    out_ += length;
  }

  uint32_t TakeNumber(uint32_t bytes) {
    if (static_cast<size_t>(in_end_ - in_) < bytes) ThrowCorrupt();
    uint32_t number = 0;
    std::memcpy(&number, in_, bytes);
    in_ += bytes;
    return number;
  }

  const uint8_t* in_;
  const uint8_t* const in_end_;
  uint8_t* const start_;
  uint8_t* out_;
  uint8_t* const out_end_;
};

// The size in front, and where the elements begin.
size_t ReadSize(const uint8_t*& data, const uint8_t* end) {
  uint64_t size = 0;
  for (uint32_t shift = 0;; shift += 7) {
    if (data == end || shift > 28) ThrowCorrupt();
    size |= static_cast<uint64_t>(*data & 0x7f) << shift;
    if ((*data++ & 0x80) == 0) break;
  }
  // Three bytes give 64 at most: what claims more cannot be, and must not take its memory.
  if (size > static_cast<uint64_t>(end - data) * 22) ThrowCorrupt();
  return size;
}

}  // namespace

size_t SnappySize(const uint8_t* data, size_t bytes) { return ReadSize(data, data + bytes); }

void SnappyDecompress(const uint8_t* data, size_t bytes, uint8_t* out) {
  const uint8_t* const end = data + bytes;
  const size_t size = ReadSize(data, end);
  Decompression(data, end, out, size).Run();
}

}  // namespace neap::engine
