// column_reader.cc: pages to columns.
#include "engine/scan/column_reader.h"

#include <parquet/exception.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {
namespace {

std::atomic<uint64_t> next_dictionary_id{1};

// Whether every index is below `size`. Without branches: compilers make vectors of it.
bool AllBelow(const uint32_t* indices, uint32_t count, uint32_t size) {
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < count; ++i) wrong |= static_cast<uint32_t>(indices[i] >= size);
  return wrong == 0;
}

[[noreturn]] void ThrowData(const FileHandle& file, const Leaf& leaf, const std::exception& error) {
  throw Error(ErrorKind::kData, file.path() + ": column " + leaf.name + " cannot be read: " + OneLine(error));
}

}  // namespace

const char* StringKeeper::Keep(const char* data, uint32_t size) {
  constexpr size_t kBlock = size_t{64} << 10;
  while (block_ < blocks_.size() && blocks_[block_].size() - used_ < size) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.emplace_back(memory_, std::max<size_t>(kBlock, size));
  char* copy = blocks_[block_].data() + used_;
  std::memcpy(copy, data, size);
  used_ += size;
  return copy;
}

ColumnReader::ColumnReader(const Type& type, uint32_t batch_rows, Memory& memory, arrow::MemoryPool* pool)
    : type_(type),
      width_(static_cast<uint32_t>(type.width())),
      batch_rows_(batch_rows),
      memory_(memory),
      source_(memory, pool),
      data_(memory, size_t{batch_rows} * width_),
      strings_(memory) {}

void ColumnReader::Open(const FileHandle& file, const ColumnChunk& chunk, const Leaf& leaf) {
  file_ = &file;
  leaf_ = &leaf;
  decode_ = FindPlainDecoder(leaf.conversion);
  skip_values_ = FindPlainSkipper(leaf.conversion);
  has_nulls_ = leaf.nullable && chunk.nulls != 0;
  if (leaf.nullable && valid_.empty()) valid_ = Array<uint8_t>(memory_, batch_rows_);
  dictionary_size_ = 0;
  dictionary_id_ = 0;
  skip_ = 0;
  page_ = {};
  page_left_ = 0;
  try {
    source_.Open(file, chunk, leaf);
  } catch (const parquet::ParquetException& error) {
    ThrowData(file, leaf, error);
  }
}

void ColumnReader::Read(uint32_t rows, Column& column) {
  try {
    ReadRows(rows, column);
  } catch (const parquet::ParquetStatusException& error) {
    if (error.status().IsOutOfMemory()) throw Error(ErrorKind::kMemory, OneLine(error));
    ThrowData(*file_, *leaf_, error);
  } catch (const parquet::ParquetException& error) {
    ThrowData(*file_, *leaf_, error);
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& error) {
    ThrowData(*file_, *leaf_, error);
  }
}

void ColumnReader::ReadRows(uint32_t rows, Column& column) {
  SkipRows();
  strings_.Clear();
  kept_ = 0;
  as_indices_ = false;
  bool nulls = false;
  for (uint32_t done = 0; done < rows;) {
    if (page_left_ == 0) {
      KeepStrings(done);
      kept_ = done;
      LoadPage();
      continue;
    }
    const uint32_t now = std::min(page_left_, rows - done);
    const bool wants_indices = type_.is_view() && page_.kind == Page::Kind::kIndices;
    if (done == 0) as_indices_ = wants_indices;
    if (as_indices_ && !wants_indices) Flatten(done);
    const uint32_t filled = DecodeLevels(now, done);
    DecodeValues(filled, done);
    if (filled < now) {
      if (!has_nulls_) throw std::runtime_error("a NULL, although its statistics say that there is none");
      nulls = true;
      SpreadValues(now, filled, done);
    }
    page_left_ -= now;
    done += now;
  }
  column = {};
  column.type = type_;
  if (as_indices_) {
    column.data = dictionary_.data();
    column.valid = has_nulls_ ? dictionary_valid_.data() : nullptr;
    column.indices = indices_.data();
    column.positions = dictionary_size_ + (has_nulls_ ? 1 : 0);
    column.dictionary_id = dictionary_id_;
  } else {
    column.data = data_.data();
    column.valid = nulls ? valid_.data() : nullptr;
  }
}

// The next data page; whole pages of rows to be skipped are passed over, and fewer may be left to skip.
void ColumnReader::LoadPage() {
  Page page = source_.Next(&skip_);
  while (page.kind == Page::Kind::kDictionary) {
    LoadDictionary(page);
    page = source_.Next(&skip_);
  }
  if (page.kind == Page::Kind::kEnd) throw std::runtime_error("it ends before its row group does");
  page_ = page;
  page_left_ = page.rows;
  if (page.levels != nullptr) levels_.Start(page.levels, page.levels_end, 1);
  if (page.kind == Page::Kind::kIndices) {
    if (dictionary_id_ == 0) throw std::runtime_error("a page of indices without a dictionary");
    if (indices_.empty()) indices_ = Array<uint32_t>(memory_, batch_rows_);
    const bool empty = page.values == page.values_end;  // a page of NULLs
    runs_.Start(page.values + (empty ? 0 : 1), page.values_end, empty ? 0 : *page.values);
  } else {
    values_ = {page.values, page.values_end, 0};
  }
}

void ColumnReader::LoadDictionary(const Page& page) {
  PlainValues values{page.values, page.values_end, 0};
  if (type_.is_view()) {  // Views are to point to what stays
    const auto bytes = static_cast<size_t>(page.values_end - page.values);
    if (dictionary_text_.size() < bytes) dictionary_text_ = Array<uint8_t>(memory_, bytes);
    if (bytes > 0) std::memcpy(dictionary_text_.data(), page.values, bytes);
    values = {dictionary_text_.data(), dictionary_text_.data() + bytes, 0};
  }
  // Every value takes a byte at least, so that a wrong number cannot ask for memory without end.
  if (page.rows > page.values_end - page.values) throw std::runtime_error("its dictionary ends before its values do");
  const size_t entries = size_t{page.rows} + 1;
  if (dictionary_.size() < entries * width_) dictionary_ = Array<uint8_t>(memory_, entries * width_);
  decode_(*leaf_, values, page.rows, dictionary_.data());
  std::memset(dictionary_.data() + size_t{page.rows} * width_, 0, width_);
  if (has_nulls_ && type_.is_view()) {
    if (dictionary_valid_.size() < entries) dictionary_valid_ = Array<uint8_t>(memory_, entries);
    std::memset(dictionary_valid_.data(), 1, page.rows);
    dictionary_valid_[page.rows] = 0;
  }
  dictionary_size_ = page.rows;
  dictionary_id_ = next_dictionary_id.fetch_add(1, std::memory_order_relaxed);
}

void ColumnReader::SkipRows() {
  while (skip_ > 0) {
    if (page_left_ == 0) {
      LoadPage();
      continue;
    }
    const auto now = static_cast<uint32_t>(std::min<uint64_t>(page_left_, skip_));
    const uint32_t filled = page_.levels != nullptr ? levels_.SkipBits(now) : now;
    if (page_.kind == Page::Kind::kIndices) {
      runs_.Skip(filled);
    } else {
      skip_values_(*leaf_, values_, filled);
    }
    page_left_ -= now;
    skip_ -= now;
  }
}

// How many of the next rows have a value; valid_ is written where the column has levels.
uint32_t ColumnReader::DecodeLevels(uint32_t rows, uint32_t done) {
  return page_.levels != nullptr ? levels_.DecodeBits(rows, valid_.data() + done) : rows;
}

void ColumnReader::DecodeValues(uint32_t count, uint32_t done) {
  if (page_.kind == Page::Kind::kPlain) {
    decode_(*leaf_, values_, count, DataAt(done));
  } else if (as_indices_) {
    DecodeIndices(count, indices_.data() + done);
  } else {
    DecodeIndices(count, indices_.data());
    Gather(dictionary_.data(), width_, indices_.data(), count, DataAt(done));
  }
}

void ColumnReader::DecodeIndices(uint32_t count, uint32_t* out) {
  runs_.Decode(count, out);
  if (!AllBelow(out, count, dictionary_size_)) throw std::runtime_error("an index beyond its dictionary");
}

void ColumnReader::SpreadValues(uint32_t rows, uint32_t filled, uint32_t done) {
  const uint8_t* valid = valid_.data() + done;
  if (as_indices_) {
    Spread(indices_.data() + done, sizeof(uint32_t), valid, rows, filled, &dictionary_size_);
  } else {
    Spread(DataAt(done), width_, valid, rows, filled, nullptr);
  }
}

// The first `rows` of the batch are indices and the rest cannot be: no more indices.
void ColumnReader::Flatten(uint32_t rows) {
  Gather(dictionary_.data(), width_, indices_.data(), rows, data_.data());
  as_indices_ = false;
  kept_ = rows;
}

// Copies what the rows of the batch up to `end` have in the page that is about to go.
void ColumnReader::KeepStrings(uint32_t end) {
  if (!type_.is_view() || page_.kind != Page::Kind::kPlain) return;
  auto* views = reinterpret_cast<View*>(data_.data());
  for (uint32_t row = kept_; row < end; ++row) {
    View& view = views[row];
    if (!view.is_inline()) view.pointer = strings_.Keep(view.pointer, view.size);
  }
}

}  // namespace neap::engine
