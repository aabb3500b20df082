// output_file.h: where results are written: a file, or standard output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace neap::engine {

// A file that is not closed is removed: nobody finds half a result. Throws Error(kData), which names the file.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);  // "": standard output
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Write(const void* data, size_t bytes);
  void Close();
  int64_t written() const { return written_; }

 private:
  [[noreturn]] void Fail() const;

  const std::string path_;
  int descriptor_;
  int64_t written_ = 0;
};

}  // namespace neap::engine
