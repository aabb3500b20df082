// page_source.cc: our stream below parquet::PageReader, and our view of the pages above it.
#include "engine/scan/page_source.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <parquet/column_page.h>
#include <parquet/column_reader.h>
#include <parquet/encoding.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "engine/scan/bit_packing.h"
#include "engine/scan/snappy.h"

namespace neap::engine {

namespace {

// How much is read ahead at least.
constexpr int64_t kBuffer = int64_t{64} << 10;
// How much the kernel is asked to have in its page cache by the time it is read: it sees the columns of a file by
// turns, as if they were read at random, and would read none of them ahead.
constexpr int64_t kAhead = int64_t{1} << 20;

int32_t LoadInt(const uint8_t* data) {
  int32_t value;
  std::memcpy(&value, data, 4);
  return value;
}

}  // namespace

// Part of a file as a stream with one buffer. What Read gives points into the buffer and lives until the next call.
class PageSource::Stream : public arrow::io::InputStream {
 public:
  explicit Stream(Memory& memory) : memory_(memory) {}

  void Open(const FileHandle& file, FileRange range) {
    file_ = &file;
    offset_ = ahead_ = range.offset;
    left_ = range.bytes;
    start_ = have_ = 0;
    skip_next_read_ = false;
  }

  // PageReader's way to pass over a page is a Read whose result it drops: let the next one read nothing.
  void SkipNextRead() { skip_next_read_ = true; }

  arrow::Result<std::string_view> Peek(int64_t bytes) override {
    bytes = std::min(bytes, left_);
    Ensure(bytes);
    return std::string_view(reinterpret_cast<const char*>(buffer_.data() + start_), static_cast<size_t>(bytes));
  }

  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    bytes = std::min(bytes, left_);
    if (std::exchange(skip_next_read_, false)) {
      Consume(bytes);
      return std::make_shared<arrow::Buffer>(nullptr, 0);
    }
    Ensure(bytes);
    auto block = std::make_shared<arrow::Buffer>(buffer_.data() + start_, bytes);
    Consume(bytes);
    return block;
  }

  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    bytes = std::min(bytes, left_);
    Ensure(bytes);
    std::memcpy(out, buffer_.data() + start_, static_cast<size_t>(bytes));
    Consume(bytes);
    return bytes;
  }

  arrow::Status Close() override { return arrow::Status::OK(); }
  arrow::Result<int64_t> Tell() const override { return offset_; }
  bool closed() const override { return false; }

 private:
  void Consume(int64_t bytes) {
    offset_ += bytes;
    left_ -= bytes;
    start_ += bytes;
    have_ = std::max<int64_t>(have_ - bytes, 0);
    if (have_ == 0) start_ = 0;
  }

  // At least `bytes` in the buffer from start_ on.
  void Ensure(int64_t bytes) {
    if (have_ >= bytes) return;
    const int64_t wanted = std::max(bytes, std::min(kBuffer, left_));
    if (static_cast<int64_t>(buffer_.size()) < wanted) {
      Array<uint8_t> larger(memory_, static_cast<size_t>(wanted));
      if (have_ > 0) std::memcpy(larger.data(), buffer_.data() + start_, static_cast<size_t>(have_));
      buffer_ = std::move(larger);
    } else if (have_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + start_, static_cast<size_t>(have_));
    }
    start_ = 0;
    const int64_t more = std::min(static_cast<int64_t>(buffer_.size()), left_) - have_;
    AskFor(offset_ + have_ + more);
    file_->Read(offset_ + have_, more, buffer_.data() + have_);
    have_ += more;
  }

  // What follows on `from`, where what was asked for before is half read.
  void AskFor(int64_t from) {
    if (ahead_ - from > kAhead / 2) return;
    from = std::max(from, ahead_);
    ahead_ = std::min(from + kAhead, offset_ + left_);
    if (ahead_ > from) file_->ReadAhead(from, ahead_ - from);
  }

  Memory& memory_;
  const FileHandle* file_ = nullptr;
  int64_t offset_ = 0;  // in the file, of the next byte given
  int64_t left_ = 0;    // bytes of the chunk from there on
  int64_t ahead_ = 0;   // in the file: up to there the kernel was asked
  Array<uint8_t> buffer_;
  int64_t start_ = 0, have_ = 0;  // what lies in the buffer and is not yet given
  bool skip_next_read_ = false;
};

struct PageSource::Impl {
  Impl(Memory& memory_for_all, arrow::MemoryPool* arrow_pool)
      : memory(memory_for_all),
        pool(arrow_pool),
        stream(std::make_shared<Stream>(memory_for_all)),
        properties(arrow_pool) {}

  Page ReadDictionary(const parquet::DictionaryPage& from);
  Page ReadV1(const parquet::DataPageV1& from);
  Page ReadV2(const parquet::DataPageV2& from);
  void Decompress(Page& page, size_t before);
  void SetValues(Page& page, parquet::Encoding::type encoding);
  void Transcode(Page& page, parquet::Encoding::type encoding, uint32_t values);
  void TranscodeBools(Page& page, uint32_t values);
  template <class Type>
  std::unique_ptr<typename parquet::EncodingTraits<Type>::Decoder> MakeDecoder(const Page& from,
                                                                               parquet::Encoding::type encoding,
                                                                               uint32_t values);
  template <class Type>
  void TranscodeFixed(Page& page, parquet::Encoding::type encoding, uint32_t values);
  template <class Type>
  void TranscodeBytes(Page& page, parquet::Encoding::type encoding, uint32_t values);
  uint8_t* Reserve(size_t bytes);
  uint8_t* Extend(size_t used, size_t bytes);

  Memory& memory;
  arrow::MemoryPool* pool;
  std::shared_ptr<Stream> stream;
  parquet::ReaderProperties properties;
  const Leaf* leaf = nullptr;
  std::unique_ptr<parquet::PageReader> reader;
  std::shared_ptr<parquet::Page> page;  // the one that was given last
  bool snappy = false;                  // the reader gives pages as they are, and we decompress them
  Array<uint8_t> plain;
  Array<uint8_t> transcoded;
  uint64_t* skip = nullptr;  // during Next
};

PageSource::PageSource(Memory& memory, arrow::MemoryPool* pool) : impl_(std::make_unique<Impl>(memory, pool)) {}
PageSource::~PageSource() = default;

void PageSource::Open(const FileHandle& file, const ColumnChunk& chunk, const Leaf& leaf) {
  Impl& impl = *impl_;
  impl.leaf = &leaf;
  impl.page.reset();
  impl.stream->Open(file, chunk.pages);
  auto compression = static_cast<parquet::Compression::type>(chunk.compression);
  impl.snappy = compression == parquet::Compression::SNAPPY;
  if (impl.snappy) compression = parquet::Compression::UNCOMPRESSED;
  impl.reader = parquet::PageReader::Open(impl.stream, chunk.values, compression, impl.properties, *leaf.descriptor);
  impl.reader->set_data_page_filter([&impl](const parquet::DataPageStats& page) {
    const auto rows = static_cast<uint64_t>(page.num_values);
    if (page.num_values < 0 || rows > *impl.skip) return false;
    *impl.skip -= rows;
    impl.stream->SkipNextRead();
    return true;
  });
}

Page PageSource::Next(uint64_t* skip) {
  Impl& impl = *impl_;
  impl.skip = skip;
  impl.page = impl.reader->NextPage();
  if (impl.page == nullptr) return {};
  switch (impl.page->type()) {
    case parquet::PageType::DICTIONARY_PAGE:
      return impl.ReadDictionary(static_cast<const parquet::DictionaryPage&>(*impl.page));
    case parquet::PageType::DATA_PAGE:
      return impl.ReadV1(static_cast<const parquet::DataPageV1&>(*impl.page));
    case parquet::PageType::DATA_PAGE_V2:
      return impl.ReadV2(static_cast<const parquet::DataPageV2&>(*impl.page));
    default:
      throw std::runtime_error("a page of unknown kind");
  }
}

// Decompresses [values, values_end) where that is left to us; `before` bytes in front of it come along.
void PageSource::Impl::Decompress(Page& result, size_t before) {
  if (!snappy) return;
  const auto bytes = static_cast<size_t>(result.values_end - result.values);
  const size_t size = before + (bytes == 0 ? 0 : SnappySize(result.values, bytes));
  if (plain.size() < size) plain = Array<uint8_t>(memory, size);
  if (before > 0) std::memcpy(plain.data(), result.values - before, before);
  if (bytes > 0) SnappyDecompress(result.values, bytes, plain.data() + before);
  result.values = plain.data() + before;
  result.values_end = plain.data() + size;
}

Page PageSource::Impl::ReadDictionary(const parquet::DictionaryPage& from) {
  if (from.encoding() != parquet::Encoding::PLAIN && from.encoding() != parquet::Encoding::PLAIN_DICTIONARY) {
    throw std::runtime_error("a dictionary that is not plain");
  }
  if (from.num_values() < 0) throw std::runtime_error("a dictionary with a negative number of values");
  Page result;
  result.kind = Page::Kind::kDictionary;
  result.rows = static_cast<uint32_t>(from.num_values());
  result.values = from.data();
  result.values_end = from.data() + from.size();
  Decompress(result, 0);
  return result;
}

Page PageSource::Impl::ReadV1(const parquet::DataPageV1& from) {
  Page result;
  if (from.num_values() < 0) throw std::runtime_error("a page with a negative number of values");
  result.rows = static_cast<uint32_t>(from.num_values());
  result.values = from.data();
  result.values_end = from.data() + from.size();
  Decompress(result, 0);
  if (leaf->nullable) {
    if (from.definition_level_encoding() != parquet::Encoding::RLE) {
      throw std::runtime_error("definition levels in the outdated encoding BIT_PACKED");
    }
    const int64_t size = result.values_end - result.values;
    const int32_t bytes = size < 4 ? -1 : LoadInt(result.values);
    if (bytes < 0 || bytes > size - 4) throw std::runtime_error("a page ends within its levels");
    result.levels = result.values + 4;
    result.levels_end = result.values = result.levels + bytes;
  }
  SetValues(result, from.encoding());
  return result;
}

Page PageSource::Impl::ReadV2(const parquet::DataPageV2& from) {
  Page result;
  if (from.num_values() < 0) throw std::runtime_error("a page with a negative number of values");
  result.rows = static_cast<uint32_t>(from.num_values());
  result.values = from.data();
  result.values_end = from.data() + from.size();
  const int32_t repetition = from.repetition_levels_byte_length();
  const int32_t definition = from.definition_levels_byte_length();
  if (repetition < 0 || definition < 0 || int64_t{repetition} + definition > from.size()) {
    throw std::runtime_error("a page ends within its levels");
  }
  result.values += repetition + definition;
  if (from.is_compressed()) Decompress(result, static_cast<size_t>(definition));
  if (leaf->nullable) {
    result.levels = result.values - definition;
    result.levels_end = result.values;
  }
  SetValues(result, from.encoding());
  return result;
}

void PageSource::Impl::SetValues(Page& result, parquet::Encoding::type encoding) {
  result.kind = Page::Kind::kPlain;
  if (encoding == parquet::Encoding::PLAIN) return;
  if (encoding == parquet::Encoding::RLE_DICTIONARY || encoding == parquet::Encoding::PLAIN_DICTIONARY) {
    result.kind = Page::Kind::kIndices;
    return;
  }
  uint32_t values = result.rows;  // NULLs are not stored
  if (result.levels != nullptr) {
    HybridDecoder levels;
    levels.Start(result.levels, result.levels_end, 1);
    values = levels.SkipBits(values);
  }
  Transcode(result, encoding, values);
}

// Every other encoding becomes PLAIN, a page at once: rare enough that one pass more does not matter.
void PageSource::Impl::Transcode(Page& result, parquet::Encoding::type encoding, uint32_t values) {
  switch (leaf->descriptor->physical_type()) {
    case parquet::Type::BOOLEAN:
      if (encoding == parquet::Encoding::RLE) return TranscodeBools(result, values);
      break;
    case parquet::Type::INT32:
      return TranscodeFixed<parquet::Int32Type>(result, encoding, values);
    case parquet::Type::INT64:
      return TranscodeFixed<parquet::Int64Type>(result, encoding, values);
    case parquet::Type::FLOAT:
      return TranscodeFixed<parquet::FloatType>(result, encoding, values);
    case parquet::Type::DOUBLE:
      return TranscodeFixed<parquet::DoubleType>(result, encoding, values);
    case parquet::Type::BYTE_ARRAY:
      return TranscodeBytes<parquet::ByteArrayType>(result, encoding, values);
    case parquet::Type::FIXED_LEN_BYTE_ARRAY:
      return TranscodeBytes<parquet::FLBAType>(result, encoding, values);
    default:
      break;
  }
  throw std::runtime_error("an encoding that its type does not have");
}

void PageSource::Impl::TranscodeBools(Page& result, uint32_t values) {
  const int64_t size = result.values_end - result.values;
  const int32_t bytes = size < 4 ? -1 : LoadInt(result.values);
  if (bytes < 0 || bytes > size - 4) throw std::runtime_error("a page ends within its values");
  HybridDecoder runs;
  runs.Start(result.values + 4, result.values + 4 + bytes, 1);
  uint8_t* packed = Reserve((values + 7) / 8);
  for (uint32_t done = 0; done < values; done += 8) {
    uint8_t bits[8] = {};
    runs.DecodeBits(std::min(values - done, 8U), bits);
    uint8_t byte = 0;
    for (int i = 0; i < 8; ++i) byte = static_cast<uint8_t>(byte | bits[i] << i);
    packed[done / 8] = byte;
  }
  result.values = packed;
  result.values_end = packed + (values + 7) / 8;
}

template <class Type>
std::unique_ptr<typename parquet::EncodingTraits<Type>::Decoder> PageSource::Impl::MakeDecoder(
    const Page& from, parquet::Encoding::type encoding, uint32_t values) {
  auto decoder = parquet::MakeTypedDecoder<Type>(encoding, leaf->descriptor, pool);
  if (decoder == nullptr) throw std::runtime_error("an encoding that its type does not have");
  decoder->SetData(static_cast<int>(values), from.values, static_cast<int>(from.values_end - from.values));
  return decoder;
}

template <class Type>
void PageSource::Impl::TranscodeFixed(Page& result, parquet::Encoding::type encoding, uint32_t values) {
  using T = typename Type::c_type;
  const auto decoder = MakeDecoder<Type>(result, encoding, values);
  uint8_t* out = Reserve(values * sizeof(T));
  const int decoded = decoder->Decode(reinterpret_cast<T*>(out), static_cast<int>(values));
  result.values = out;
  result.values_end = out + static_cast<size_t>(decoded) * sizeof(T);
}

template <class Type>
void PageSource::Impl::TranscodeBytes(Page& result, parquet::Encoding::type encoding, uint32_t values) {
  constexpr bool kFixed = std::is_same_v<Type, parquet::FLBAType>;
  constexpr uint32_t kStep = 1024;
  const auto decoder = MakeDecoder<Type>(result, encoding, values);
  typename Type::c_type block[kStep];
  size_t used = 0;
  while (values > 0) {
    const int decoded = decoder->Decode(block, static_cast<int>(std::min(values, kStep)));
    if (decoded <= 0) break;
    values -= static_cast<uint32_t>(decoded);
    for (int i = 0; i < decoded; ++i) {
      uint32_t length = leaf->bytes;
      if constexpr (!kFixed) length = block[i].len;
      uint8_t* out = Extend(used, size_t{length} + 4);
      if constexpr (!kFixed) {
        std::memcpy(out, &length, 4);
        out += 4;
      }
      if (length > 0) std::memcpy(out, block[i].ptr, length);
      used = static_cast<size_t>(out + length - transcoded.data());
    }
  }
  result.values = transcoded.data();
  result.values_end = transcoded.data() + used;
}

uint8_t* PageSource::Impl::Reserve(size_t bytes) {
  if (transcoded.size() < bytes) transcoded = Array<uint8_t>(memory, bytes);
  return transcoded.data();
}

// Room for `bytes` more after `used`, which are kept.
uint8_t* PageSource::Impl::Extend(size_t used, size_t bytes) {
  if (transcoded.size() < used + bytes) {
    Array<uint8_t> larger(memory, (used + bytes) * 2);
    if (used > 0) std::memcpy(larger.data(), transcoded.data(), used);
    transcoded = std::move(larger);
  }
  return transcoded.data() + used;
}

}  // namespace neap::engine
