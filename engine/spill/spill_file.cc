// spill_file.cc: frames in a file, and what can go wrong with them.
#include "engine/spill/spill_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/core/error.h"
#include "engine/spill/frame.h"
#include "engine/spill/spill_directory.h"

namespace neap::engine {
namespace {

struct FrameHeader {
  uint32_t magic;
  uint32_t rows;
  uint64_t bytes;     // of the body
  uint64_t checksum;  // XXH64 of the body, seeded with rows
};
static_assert(sizeof(FrameHeader) == 24);

constexpr uint32_t kMagic = 0x5041454e;  // "NEAP"

// The body of a frame starts where its buffers are aligned in memory.
constexpr size_t kBefore = 64;

// Closes at its end.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  explicit operator bool() const { return fd_ >= 0; }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string Reason(int error) { return std::generic_category().message(error); }

}  // namespace

struct SpillFile::Impl {
  Impl(SpillDirectory& spill_directory, std::vector<Type> row_types, Memory* owner)
      : directory(spill_directory),
        types(std::move(row_types)),
        memory(*owner),
        pool(*owner),
        schema(FrameSchema(types)) {}
  ~Impl() {
    if (path.empty()) return;
    unlink(path.c_str());
    directory.Add(-static_cast<int64_t>(bytes));
  }

  void Make() {
    std::string made = directory.NewPath();
    out = Descriptor(open(made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!out) {
      throw Error(ErrorKind::kSpill, "cannot make the spill file " + made + " (" + Reason(errno) +
                                         "): set NEAP_SPILL_DIR to a folder that can be written");
    }
    path = std::move(made);
  }

  void WriteAll(const uint8_t* data, size_t size) {
    while (size != 0) {
      const ssize_t written = pwrite(out.fd(), data, size, static_cast<off_t>(bytes));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        const int error = written < 0 ? errno : ENOSPC;
        const bool no_space = error == ENOSPC || error == EDQUOT || error == EFBIG;
        throw Error(ErrorKind::kSpill, "cannot write to the spill file " + path + " (" + Reason(error) + ")" +
                                           (no_space ? ": set NEAP_SPILL_DIR to a folder with more space" : ""));
      }
      data += written;
      size -= static_cast<size_t>(written);
      bytes += static_cast<uint64_t>(written);
      directory.Add(written);
    }
  }

  void WriteFrame() {
    if (path.empty()) Make();
    FrameHeader header{kMagic, writer->rows(), 0, 0};
    const FrameWriter::Bytes frame = writer->Encode(schema, kBefore);
    header.bytes = frame.size - kBefore;
    header.checksum = XXH64(frame.data + kBefore, header.bytes, header.rows);
    uint8_t* start = frame.data + kBefore - sizeof header;
    std::memcpy(start, &header, sizeof header);
    WriteAll(start, sizeof header + header.bytes);
  }

  [[noreturn]] void Damaged(const std::string& what) const {
    throw Error(ErrorKind::kSpill, "the spill file " + path + " is damaged (" + what +
                                       "): run the query again, and check the disk if this comes back");
  }

  SpillDirectory& directory;
  std::vector<Type> types;
  Memory& memory;
  ArrowPool pool;
  std::shared_ptr<arrow::Schema> schema;
  std::optional<FrameWriter> writer;
  std::string path;  // empty before the first frame
  Descriptor out;    // only while it is written: many files may wait to be read
  uint64_t rows = 0;
  uint64_t bytes = 0;
};

SpillFile::SpillFile(SpillDirectory& directory, std::vector<Type> types, Memory* memory)
    : impl_(std::make_unique<Impl>(directory, std::move(types), memory)) {}
SpillFile::SpillFile(SpillFile&&) noexcept = default;
SpillFile& SpillFile::operator=(SpillFile&&) noexcept = default;
SpillFile::~SpillFile() = default;

void SpillFile::Write(const Batch& batch) {
  if (!impl_->writer) impl_->writer.emplace(impl_->types, impl_->memory, impl_->pool);
  for (uint32_t done = 0; done < batch.selected;) {
    done += impl_->writer->Append(batch, done);
    if (impl_->writer->full() || done < batch.selected) impl_->WriteFrame();
  }
  impl_->rows += batch.selected;
}

void SpillFile::Finish() {
  if (impl_->writer && impl_->writer->rows() != 0) impl_->WriteFrame();
  impl_->writer.reset();
  impl_->out = Descriptor();
}

uint64_t SpillFile::rows() const { return impl_->rows; }
uint64_t SpillFile::bytes() const { return impl_->bytes; }
const std::vector<Type>& SpillFile::types() const { return impl_->types; }

struct SpillFile::Reader::Impl {
  explicit Impl(SpillFile::Impl& from) : file(from), frames(from.types, from.memory, from.pool) {
    if (file.path.empty()) return;
    in = Descriptor(open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) file.Damaged(Reason(errno));
    posix_fadvise(in.fd(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }

  void ReadAll(uint8_t* to, size_t size) {
    while (size != 0) {
      const ssize_t got = pread(in.fd(), to, size, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) file.Damaged(Reason(errno));
      if (got == 0) file.Damaged("it ends too early");
      to += got;
      size -= static_cast<size_t>(got);
      at += static_cast<uint64_t>(got);
    }
  }

  const SpillFile::Impl& file;
  FrameReader frames;
  Descriptor in;
  Array<uint8_t> body;
  uint64_t at = 0;
};

SpillFile::Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SpillFile::Reader::Reader(Reader&&) noexcept = default;
SpillFile::Reader& SpillFile::Reader::operator=(Reader&&) noexcept = default;
SpillFile::Reader::~Reader() = default;

SpillFile::Reader SpillFile::Read() const { return Reader(std::make_unique<Reader::Impl>(*impl_)); }

bool SpillFile::Reader::Next(Batch& batch) {
  const SpillFile::Impl& file = impl_->file;
  if (impl_->at == file.bytes) return false;
  FrameHeader header;
  impl_->ReadAll(reinterpret_cast<uint8_t*>(&header), sizeof header);
  if (header.magic != kMagic) file.Damaged("no frame where one should start");
  if (header.bytes > file.bytes - impl_->at) file.Damaged("a frame that is longer than the file");
  if (impl_->body.size() < header.bytes) impl_->body = {file.memory, header.bytes + header.bytes / 4};
  impl_->ReadAll(impl_->body.data(), header.bytes);
  if (XXH64(impl_->body.data(), header.bytes, header.rows) != header.checksum) file.Damaged("wrong checksum");
  try {
    impl_->frames.Decode(file.schema, impl_->body.data(), header.bytes, batch);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kSpill) file.Damaged(error.what());
    throw;
  }
  if (batch.rows != header.rows) file.Damaged("another number of rows than it says");
  return true;
}

}  // namespace neap::engine
