// parquet_file.cc: footers by Arrow's reader, and reading at offsets.
#include "engine/scan/parquet_file.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <fcntl.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>
#include <parquet/statistics.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "engine/core/error.h"

namespace neap::engine {

FileHandle::FileHandle(const std::string& path) : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw Error(ErrorKind::kData, path + ": cannot be opened: " + std::strerror(errno));
}

FileHandle::FileHandle(FileHandle&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) close(descriptor_);
}

int64_t FileHandle::Size() const {
  struct stat status;
  if (fstat(descriptor_, &status) != 0) {
    throw Error(ErrorKind::kData, path_ + ": cannot be read: " + std::strerror(errno));
  }
  return status.st_size;
}

void FileHandle::Read(int64_t offset, int64_t bytes, void* out) const {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, to, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::kData, path_ + ": cannot be read: " + std::strerror(errno));
    if (got == 0) throw Error(ErrorKind::kData, path_ + ": ends before what its footer names; is it truncated?");
    to += got;
    offset += got;
    bytes -= got;
  }
}

void FileHandle::ReadAhead(int64_t offset, int64_t bytes) const noexcept {
  posix_fadvise(descriptor_, offset, bytes, POSIX_FADV_WILLNEED);
}

namespace {

// The file for Arrow's reader of footers.
class FooterFile : public arrow::io::RandomAccessFile {
 public:
  FooterFile(const FileHandle& file, int64_t size) : file_(file), size_(size) {}

  arrow::Result<int64_t> ReadAt(int64_t position, int64_t bytes, void* out) override {
    bytes = std::max<int64_t>(0, std::min(bytes, size_ - position));
    file_.Read(position, bytes, out);
    return bytes;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> buffer,
                          arrow::AllocateResizableBuffer(std::max<int64_t>(0, std::min(bytes, size_ - position))));
    ARROW_RETURN_NOT_OK(ReadAt(position, buffer->size(), buffer->mutable_data()).status());
    return buffer;
  }
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, bytes, out));
    position_ += got;
    return got;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position_, bytes));
    position_ += buffer->size();
    return buffer;
  }
  arrow::Status Seek(int64_t position) override {
    position_ = position;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> GetSize() override { return size_; }
  arrow::Result<int64_t> Tell() const override { return position_; }
  arrow::Status Close() override { return arrow::Status::OK(); }
  bool closed() const override { return false; }

 private:
  const FileHandle& file_;
  const int64_t size_;
  int64_t position_ = 0;
};

bool IsIndices(parquet::Encoding::type encoding) {
  return encoding == parquet::Encoding::RLE_DICTIONARY || encoding == parquet::Encoding::PLAIN_DICTIONARY;
}

// Whether some data page may hold its values otherwise than as indices.
bool HasPlainPages(const parquet::ColumnChunkMetaData& from) {
  if (!from.encoding_stats().empty()) {
    for (const parquet::PageEncodingStats& pages : from.encoding_stats()) {
      const bool data = pages.page_type != parquet::PageType::DICTIONARY_PAGE;
      if (data && !IsIndices(pages.encoding) && pages.count > 0) return true;
    }
    return false;
  }
  const auto& all = from.encodings();
  if (std::none_of(all.begin(), all.end(), IsIndices)) return true;
  // With the new name of indices, PLAIN may stand for the dictionary page alone.
  return std::find(all.begin(), all.end(), parquet::Encoding::PLAIN_DICTIONARY) != all.end() &&
         std::find(all.begin(), all.end(), parquet::Encoding::PLAIN) != all.end();
}

FileRange Range(const std::optional<parquet::IndexLocation>& location) {
  return location ? FileRange{location->offset, location->length} : FileRange{};
}

ColumnChunk ReadChunk(const parquet::ColumnChunkMetaData& from, const Leaf& leaf, const std::string& path,
                      int64_t file_bytes) {
  ColumnChunk chunk;
  int64_t start = from.data_page_offset();
  if (from.has_dictionary_page() && from.dictionary_page_offset() > 0) {
    start = std::min(start, from.dictionary_page_offset());
    chunk.dictionary = true;
  }
  chunk.pages = {start, from.total_compressed_size()};
  if (start < 0 || chunk.pages.bytes < 0 || start > file_bytes || chunk.pages.bytes > file_bytes - start) {
    throw Error(ErrorKind::kData, path + ": column " + leaf.name + " lies outside the file; is it truncated?");
  }
  chunk.values = from.num_values();
  chunk.compression = static_cast<int>(from.compression());
  chunk.plain = HasPlainPages(from);
  chunk.column_index = Range(from.GetColumnIndexLocation());
  chunk.offset_index = Range(from.GetOffsetIndexLocation());
  if (from.is_stats_set()) {
    if (const auto statistics = from.encoded_statistics(); statistics != nullptr) {
      if (statistics->has_null_count) chunk.nulls = statistics->null_count;
      if (statistics->has_min && statistics->has_max) {
        chunk.has_bounds = true;
        chunk.min = statistics->min();
        chunk.max = statistics->max();
      }
    }
  }
  return chunk;
}

}  // namespace

int64_t PartRows(const RowGroup& group, int64_t about) {
  const int64_t parts = std::max<int64_t>(1, (group.rows + about / 2) / about);
  return (group.rows + parts - 1) / parts;
}

std::string OneLine(const std::exception& error) {
  std::string text = error.what();
  text.erase(text.find_last_not_of(" \n") + 1);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

ParquetFile ReadFooter(const std::string& path, const std::shared_ptr<const ParquetSchema>& known) {
  const FileHandle handle(path);
  ParquetFile file;
  file.path = path;
  file.bytes = handle.Size();
  try {
    const auto source = std::make_shared<FooterFile>(handle, file.bytes);
    const auto metadata = parquet::ReadMetaData(source);
    if (known != nullptr && known->descriptor->Equals(*metadata->schema())) {
      file.schema = known;
    } else {
      file.schema = ReadSchema(*metadata->schema());
    }
    file.row_groups.resize(static_cast<size_t>(metadata->num_row_groups()));
    for (int i = 0; i < metadata->num_row_groups(); ++i) {
      const auto from = metadata->RowGroup(i);
      RowGroup& group = file.row_groups[static_cast<size_t>(i)];
      group.rows = from->num_rows();
      group.chunks.resize(static_cast<size_t>(from->num_columns()));
      for (const Leaf& leaf : file.schema->leaves) {
        if (!leaf.refusal.empty()) continue;
        ColumnChunk& chunk = group.chunks[leaf.column];
        chunk = ReadChunk(*from->ColumnChunk(static_cast<int>(leaf.column)), leaf, path, file.bytes);
        if (chunk.values != group.rows) {
          throw Error(ErrorKind::kData,
                      path + ": column " + leaf.name + " has not as many values as its row group rows");
        }
      }
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kData, path + ": is not a Parquet file that can be read: " + OneLine(error));
  }
  return file;
}

}  // namespace neap::engine
