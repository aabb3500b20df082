// spill_file.h: batches on disk. A file is a sequence of frames: {magic, rows, bytes, checksum (XXH64)} and an Arrow
// IPC record batch compressed with LZ4. It lies in the process's spill directory (spill_directory.h) and is removed
// with the object. Faults (no space, wrong checksum, short file) throw Error(kSpill), which names the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/type.h"
#include "engine/memory/memory.h"

namespace neap::engine {

class SpillDirectory;

class SpillFile {
 public:
  SpillFile(SpillDirectory& directory, std::vector<Type> types, Memory* memory);
  SpillFile(SpillFile&&) noexcept;
  SpillFile& operator=(SpillFile&&) noexcept;
  ~SpillFile();

  // Keeps the rows that count; frames of about 64 KiB go to disk. Not thread-safe: a file has one writer at a time.
  void Write(const Batch& batch);
  void Finish();  // no more writes; frees the writer's buffers

  uint64_t rows() const;
  uint64_t bytes() const;  // on disk
  const std::vector<Type>& types() const;

  // Reads the frames in order. Several readers may read one finished file, which outlives them.
  class Reader {
   public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();
    // False at the end. The batch is valid until the next call.
    bool Next(Batch& batch);

   private:
    friend class SpillFile;
    struct Impl;
    explicit Reader(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  Reader Read() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::engine
