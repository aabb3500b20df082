// output_file.cc: writing to the end in spite of interruptions.
#include "engine/result/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace neap::engine {

OutputFile::OutputFile(const std::string& path)
    : path_(path),
      descriptor_(path.empty() ? STDOUT_FILENO : open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) Fail();
}

OutputFile::~OutputFile() {
  if (path_.empty() || descriptor_ < 0) return;
  close(descriptor_);
  unlink(path_.c_str());
}

void OutputFile::Fail() const {
  throw Error(ErrorKind::kData,
              (path_.empty() ? "standard output" : path_) + ": cannot be written: " + std::strerror(errno));
}

void OutputFile::Write(const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = write(descriptor_, from, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) Fail();
    from += written;
    bytes -= static_cast<size_t>(written);
    written_ += written;
  }
}

void OutputFile::Close() {
  if (path_.empty() || descriptor_ < 0) return;
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (close(descriptor) != 0) {
    unlink(path_.c_str());
    Fail();
  }
}

}  // namespace neap::engine
