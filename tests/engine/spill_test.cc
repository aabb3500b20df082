// spill_test.cc: rows on disk and back, and every way in which a disk can fail them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>

#include "engine/core/error.h"
#include "engine/rows/row_store.h"
#include "engine/spill/spill_directory.h"
#include "engine/spill/spill_file.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

namespace fs = std::filesystem;

// A folder of the test's own.
class Spill : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "neap-spill-test-XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    parent_ = path;
  }
  void TearDown() override {
    EXPECT_EQ(memory_.Stats().live, 0U);
    EXPECT_TRUE(fs::is_empty(parent_)) << "spill files were left behind";
    fs::remove_all(parent_);
  }

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(parent_)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  static std::vector<std::vector<Cell>> ReadAll(const SpillFile& file) {
    std::vector<std::vector<Cell>> cells;
    SpillFile::Reader reader = file.Read();
    Batch batch;
    while (reader.Next(batch)) {
      EXPECT_LE(batch.rows, kBatchRows);
      EXPECT_EQ(batch.columns.size(), file.types().size());
      for (uint32_t row = 0; row < batch.rows; ++row) cells.push_back(RowAt(batch, row));
    }
    return cells;
  }

  Memory memory_{nullptr, "spill_test"};
  fs::path parent_;
};

TEST_F(Spill, RowsComeBackInOrder) {
  std::mt19937_64 random(1);
  SpillDirectory directory(parent_);
  for (const uint32_t rows : {0U, 1U, 100U, kBatchRows}) {
    for (const bool selection : {false, true}) {
      for (const double nulls : {0.0, 0.3}) {
        SpillFile file(directory, AllTypes(), &memory_);
        std::vector<std::vector<Cell>> expected;
        for (int round = 0; round < 5; ++round) {
          const RandomBatch made(random, AllTypes(), rows, {.nulls = nulls, .selection = selection});
          file.Write(made.batch);
          made.batch.ForEach([&](uint32_t row) { expected.push_back(RowAt(made.batch, row)); });
        }
        file.Finish();
        EXPECT_EQ(file.rows(), expected.size());
        EXPECT_EQ(directory.bytes(), file.bytes());
        EXPECT_EQ(ReadAll(file), expected);
        EXPECT_EQ(ReadAll(file), expected) << "a second reader";
      }
    }
  }
  EXPECT_EQ(directory.bytes(), 0U);
  EXPECT_TRUE(Files().empty());
}

}  // namespace
}  // namespace neap::engine
