// decoding_test.cc: Snappy against Arrow's, runs and bit-packed groups of every width against a bit-by-bit reading.
#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/scan/bit_packing.h"
#include "engine/scan/snappy.h"

namespace neap::engine {
namespace {

std::string Compress(const std::string& text) {
  static const auto codec = arrow::util::Codec::Create(arrow::Compression::SNAPPY).ValueOrDie();
  const auto* data = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  std::string result(static_cast<size_t>(codec->MaxCompressedLen(size, data)), '\0');
  const int64_t used =
      codec->Compress(size, data, static_cast<int64_t>(result.size()), reinterpret_cast<uint8_t*>(result.data()))
          .ValueOrDie();
  result.resize(static_cast<size_t>(used));
  return result;
}

// In blocks of exactly the right size, so that a sanitizer or valgrind sees what goes beyond.
std::string Decompress(const std::string& compressed) {
  const auto in = std::make_unique<uint8_t[]>(compressed.size());
  std::memcpy(in.get(), compressed.data(), compressed.size());
  const size_t size = SnappySize(in.get(), compressed.size());
  const auto out = std::make_unique<uint8_t[]>(size);
  SnappyDecompress(in.get(), compressed.size(), out.get());
  return {reinterpret_cast<const char*>(out.get()), size};
}

// From one repeated byte to noise, with what repeats at all distances.
std::string RandomText(std::mt19937_64& random) {
  std::string text;
  const size_t size = random() % (random() % 8 == 0 ? 200'000 : 2'000);
  const uint64_t letters = 1 + random() % (random() % 2 == 0 ? 4 : 256);
  while (text.size() < size) {
    const uint64_t kind = random() % 4;
    if (kind == 0 || text.empty()) {
      for (uint64_t i = random() % 100; i-- > 0;) text += static_cast<char>(random() % letters);
    } else {
      const size_t distance = 1 + random() % std::min<size_t>(text.size(), kind == 1 ? 20 : 100'000);
      for (uint64_t i = random() % 80; i-- > 0;) text += text[text.size() - distance];
    }
  }
  return text;
}

TEST(SnappyTest, WhatArrowCompressed) {
  std::mt19937_64 random(1);
  EXPECT_EQ(Decompress(Compress("")), "");
  for (int trial = 0; trial < 2'000; ++trial) {
    const std::string text = RandomText(random);
    ASSERT_EQ(Decompress(Compress(text)), text) << trial;
  }
}

// Elements that compressors do not write: offsets of four bytes, lengths in four bytes.
TEST(SnappyTest, RareElements) {
  std::string literal(200, 'x');
  for (size_t i = 0; i < literal.size(); ++i) literal[i] = static_cast<char>(i);
  std::string data;
  data += "\xc0\x02";  // 320
  data += std::string("\xfc\xc7\x00\x00\x00", 5) + literal;
  data += std::string("\xff\xc8\x00\x00\x00", 5);  // 64 from 200 before
  data += std::string("\xdf\x08\x00\x00\x00", 5);  // 56 from 8 before
  std::string expected = literal + literal.substr(0, 64);
  for (int i = 0; i < 56; ++i) expected += expected[expected.size() - 8];
  ASSERT_EQ(expected.size(), 320U);
  EXPECT_EQ(Decompress(data), expected);
}

// An error or some text; never a byte beyond what is given.
TEST(SnappyTest, CorruptData) {
  std::mt19937_64 random(2);
  int errors = 0, texts = 0;
  for (int trial = 0; trial < 5'000; ++trial) {
    std::string data = Compress(RandomText(random));
    if (trial % 2 == 0) {
      data.resize(random() % (data.size() + 1));
    } else {
      for (int i = 0; i < 3; ++i) data[random() % data.size()] = static_cast<char>(random());
    }
    try {
      Decompress(data);
      ++texts;
    } catch (const std::runtime_error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 3'000);
  EXPECT_GT(texts, 50);
}

TEST(SnappyTest, SizesThatCannotBe) {
  EXPECT_THROW(SnappySize(nullptr, 0), std::runtime_error);
  const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x00};
  EXPECT_THROW(SnappySize(huge, sizeof(huge)), std::runtime_error);
  const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  EXPECT_THROW(SnappySize(endless, sizeof(endless)), std::runtime_error);
}

// Writes runs and groups, and the values that they stand for.
struct Encoded {
  Encoded(std::mt19937_64& random, uint32_t width, uint32_t runs) {
    const uint64_t mask = (uint64_t{1} << width) - 1;
    for (uint32_t run = 0; run < runs; ++run) {
      if (random() % 2 == 0) {
        const uint64_t length = 1 + random() % (random() % 4 == 0 ? 3'000 : 20);
        const uint64_t value = random() & mask;
        AppendNumber(length << 1);
        for (uint32_t byte = 0; byte < (width + 7) / 8; ++byte)
          bytes.push_back(static_cast<uint8_t>(value >> 8 * byte));
        values.insert(values.end(), length, static_cast<uint32_t>(value));
      } else {
        const uint64_t groups = 1 + random() % (random() % 4 == 0 ? 300 : 4);
        AppendNumber(groups << 1 | 1);
        const size_t start = bytes.size();
        bytes.resize(start + groups * width);
        for (uint64_t i = 0; i < groups * 8; ++i) {
          const uint64_t value = random() & mask;
          for (uint32_t bit = 0; bit < width; ++bit) {
            const uint64_t at = i * width + bit;
            bytes[start + at / 8] |= static_cast<uint8_t>((value >> bit & 1) << at % 8);
          }
          values.push_back(static_cast<uint32_t>(value));
        }
      }
    }
  }
  void AppendNumber(uint64_t number) {
    for (; number >= 0x80; number >>= 7) bytes.push_back(static_cast<uint8_t>(number | 0x80));
    bytes.push_back(static_cast<uint8_t>(number));
  }
  std::vector<uint8_t> bytes;
  std::vector<uint32_t> values;
};

TEST(HybridDecoderTest, EveryWidthInPiecesAndWithSkips) {
  std::mt19937_64 random(3);
  for (uint32_t width = 0; width <= 32; ++width) {
    for (int trial = 0; trial < 20; ++trial) {
      const Encoded encoded(random, width, 1 + random() % 30);
      const auto data = std::make_unique<uint8_t[]>(encoded.bytes.size());
      std::memcpy(data.get(), encoded.bytes.data(), encoded.bytes.size());
      HybridDecoder decoder;
      decoder.Start(data.get(), data.get() + encoded.bytes.size(), width);
      size_t done = 0;
      while (done < encoded.values.size()) {
        const auto now = static_cast<uint32_t>(std::min<size_t>(encoded.values.size() - done, 1 + random() % 700));
        if (random() % 3 == 0) {
          decoder.Skip(now);
        } else {
          std::vector<uint32_t> values(now);
          decoder.Decode(now, values.data());
          for (uint32_t i = 0; i < now; ++i) ASSERT_EQ(values[i], encoded.values[done + i]) << width;
        }
        done += now;
      }
      uint32_t more;
      EXPECT_THROW(decoder.Decode(1, &more), std::runtime_error);
    }
  }
}

TEST(HybridDecoderTest, BitsAndHowManyAreSet) {
  std::mt19937_64 random(4);
  for (int trial = 0; trial < 300; ++trial) {
    const Encoded encoded(random, 1, 1 + random() % 30);
    HybridDecoder decoder;
    decoder.Start(encoded.bytes.data(), encoded.bytes.data() + encoded.bytes.size(), 1);
    size_t done = 0;
    while (done < encoded.values.size()) {
      const auto now = static_cast<uint32_t>(std::min<size_t>(encoded.values.size() - done, 1 + random() % 700));
      uint32_t set = 0;
      for (uint32_t i = 0; i < now; ++i) set += encoded.values[done + i];
      if (random() % 3 == 0) {
        ASSERT_EQ(decoder.SkipBits(now), set);
      } else {
        std::vector<uint8_t> bits(now);
        ASSERT_EQ(decoder.DecodeBits(now, bits.data()), set);
        for (uint32_t i = 0; i < now; ++i) ASSERT_EQ(bits[i], encoded.values[done + i]);
      }
      done += now;
    }
  }
}

TEST(HybridDecoderTest, WidthsThatCannotBe) {
  HybridDecoder decoder;
  const uint8_t data[8] = {};
  EXPECT_THROW(decoder.Start(data, data + 8, 33), std::runtime_error);
}

TEST(UnpackBitsTest, FromAnyBit) {
  std::mt19937_64 random(5);
  std::vector<uint8_t> data(100);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  for (int trial = 0; trial < 2'000; ++trial) {
    const uint64_t first = random() % 500;
    const auto count = static_cast<uint32_t>(random() % (800 - first));
    std::vector<uint8_t> bits(count);
    uint32_t set = 0;
    const uint32_t counted = UnpackBits(data.data(), first, count, bits.data());
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t bit = data[(first + i) / 8] >> (first + i) % 8 & 1;
      ASSERT_EQ(bits[i], bit);
      set += bit;
    }
    ASSERT_EQ(counted, set);
  }
}

}  // namespace
}  // namespace neap::engine
