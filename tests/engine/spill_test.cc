// spill_test.cc: rows on disk and back, and every way in which a disk can fail them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <thread>

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

TEST_F(Spill, SmallWritesMakeNoSmallFrames) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {{TypeId::kInt64}}, &memory_);
  constexpr uint32_t kRows = 3 * kBatchRows + 1;
  for (int64_t value = 0; value < kRows; ++value) {
    Batch one;
    one.columns = {{.type = {TypeId::kInt64}, .data = &value, .indices = kZeroIndices, .positions = 1}};
    one.SetAll(1);
    file.Write(one);
  }
  file.Finish();
  EXPECT_EQ(memory_.Stats().live, 0U) << "a finished file holds no buffers";
  SpillFile::Reader reader = file.Read();
  Batch batch;
  int64_t expected = 0;
  for (const uint32_t rows : {kBatchRows, kBatchRows, kBatchRows, 1U}) {
    ASSERT_TRUE(reader.Next(batch));
    ASSERT_EQ(batch.rows, rows);
    for (uint32_t row = 0; row < rows; ++row) EXPECT_EQ(batch.columns[0].values<int64_t>()[row], expected++);
  }
  EXPECT_FALSE(reader.Next(batch));
}

TEST_F(Spill, LargeBatchesAreCutSoThatBuffersStaySmall) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {{TypeId::kString}, {TypeId::kString}}, &memory_);
  const std::string text(500, 'x');
  const View value(text);
  Batch batch;
  batch.columns = {{.type = {TypeId::kString}, .data = &value, .indices = kZeroIndices, .positions = 1}};
  batch.columns.push_back(batch.columns[0]);
  batch.SetAll(kBatchRows);
  for (int i = 0; i < 20; ++i) file.Write(batch);
  EXPECT_LT(memory_.Stats().live, 6 * size_t{64} << 10);
  file.Finish();
  EXPECT_EQ(ReadAll(file), std::vector<std::vector<Cell>>(20 * kBatchRows, {text, text}));
}

TEST_F(Spill, StringsLongerThanAFrame) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {{TypeId::kString}}, &memory_);
  std::vector<std::vector<Cell>> expected;
  std::mt19937_64 random(4);
  for (const size_t size : {size_t{0}, size_t{5} << 20, size_t{12}, size_t{13}, size_t{70000}, size_t{70000}}) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const View value(text);
    Batch batch;
    batch.columns = {{.type = {TypeId::kString}, .data = &value}};
    batch.SetAll(1);
    file.Write(batch);
    expected.push_back({text});
  }
  file.Finish();
  EXPECT_EQ(ReadAll(file), expected);
}

TEST_F(Spill, RowsWithoutColumnsAreCounted) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {}, &memory_);
  Batch batch;
  batch.SetAll(1000);
  for (int i = 0; i < 10; ++i) file.Write(batch);
  file.Finish();
  EXPECT_EQ(ReadAll(file).size(), 10000U);
}

TEST_F(Spill, StoresAreWrittenAndReadBack) {
  std::mt19937_64 random(2);
  SpillDirectory directory(parent_);
  const RowLayout layout(AllTypes());
  RowStore store(&layout, &memory_);
  std::vector<uint32_t> columns(layout.columns());
  std::iota(columns.begin(), columns.end(), 0U);
  std::vector<std::vector<Cell>> expected;
  SpillFile file(directory, AllTypes(), &memory_);
  for (const uint32_t rows : {1U, 3000U, kBatchRows}) {
    const RandomBatch made(random, AllTypes(), rows, {});
    store.Append(made.batch, columns.data(), nullptr, rows, nullptr);
    for (uint32_t row = 0; row < rows; ++row) expected.push_back(RowAt(made.batch, row));
  }
  EXPECT_EQ(SpillRows(store, file), expected.size());
  store.Clear();
  file.Finish();
  EXPECT_EQ(ReadAll(file), expected);
}

TEST_F(Spill, NothingIsMadeBeforeTheFirstFrame) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {{TypeId::kInt64}}, &memory_);
  file.Finish();
  EXPECT_TRUE(ReadAll(file).empty());
  EXPECT_TRUE(fs::is_empty(parent_));
}

TEST_F(Spill, FilesMoveAndGoWithTheirObject) {
  std::mt19937_64 random(3);
  SpillDirectory directory(parent_);
  {
    const RandomBatch made(random, AllTypes(), 1000, {});
    SpillFile a(directory, AllTypes(), &memory_);
    a.Write(made.batch);
    a.Finish();
    SpillFile b = std::move(a);
    EXPECT_EQ(Files().size(), 1U);
    EXPECT_EQ(ReadAll(b).size(), 1000U);
    SpillFile c(directory, AllTypes(), &memory_);
    c = std::move(b);
    EXPECT_EQ(ReadAll(c).size(), 1000U);
  }
  EXPECT_TRUE(Files().empty());
  EXPECT_EQ(directory.bytes(), 0U);
}

// ---- Faults ----

class SpillFault : public Spill {
 protected:
  static void ExpectError(const std::function<void()>& act, const std::vector<std::string>& words) {
    try {
      act();
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kSpill);
      for (const std::string& word : words)
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }

  // A finished file of a few frames.
  void Fill(SpillFile& file) {
    std::mt19937_64 random(5);
    const RandomBatch made(random, AllTypes(), kBatchRows, {});
    file.Write(made.batch);
    file.Finish();
  }
};

TEST_F(SpillFault, EveryFlippedBitIsSeen) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, AllTypes(), &memory_);
  Fill(file);
  const std::string path = Files().at(0);
  const auto expected = ReadAll(file);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  std::mt19937_64 random(6);
  const auto flip = [&](uint64_t bit) {
    uint8_t byte;
    ASSERT_EQ(pread(fd, &byte, 1, static_cast<off_t>(bit / 8)), 1);
    byte = static_cast<uint8_t>(byte ^ (1U << (bit % 8)));
    ASSERT_EQ(pwrite(fd, &byte, 1, static_cast<off_t>(bit / 8)), 1);
  };
  for (uint64_t i = 0; i < 600; ++i) {
    const uint64_t bit = i < 24 * 8 ? i : random() % (file.bytes() * 8);
    flip(bit);
    ExpectError([&] { ReadAll(file); }, {path, "damaged"});
    flip(bit);
  }
  EXPECT_EQ(ReadAll(file), expected);
  close(fd);
}

TEST_F(SpillFault, AFileCutShort) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, AllTypes(), &memory_);
  Fill(file);
  const std::string path = Files().at(0);
  for (const uint64_t size : {file.bytes() - 1, file.bytes() / 2, uint64_t{30}, uint64_t{10}, uint64_t{0}}) {
    fs::resize_file(path, size);
    ExpectError([&] { ReadAll(file); }, {path, "damaged"});
  }
}

TEST_F(SpillFault, AFileThatMayNotGrow) {
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  {
    SpillDirectory directory(parent_);
    SpillFile file(directory, AllTypes(), &memory_);
    const rlimit small{10000, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    ExpectError([&] { Fill(file); }, {Files().empty() ? parent_.string() : Files()[0].string(), "NEAP_SPILL_DIR"});
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_LE(directory.bytes(), 10000U);
  }
  signal(SIGXFSZ, handler);
}

TEST_F(SpillFault, AFullDisk) {
  SpillDirectory directory(parent_);
  SpillFile first(directory, AllTypes(), &memory_);
  Fill(first);
  const fs::path folder = Files().at(0).parent_path();
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "may not mount";
  {
    SpillFile file(directory, AllTypes(), &memory_);
    ExpectError([&] { Fill(file); }, {folder, "No space left on device", "NEAP_SPILL_DIR to a folder with more"});
  }
  EXPECT_EQ(umount(folder.c_str()), 0);
  EXPECT_EQ(ReadAll(first).size(), kBatchRows);
}

TEST_F(SpillFault, AFolderInMemoryIsRefused) {
  if (mount("tmpfs", parent_.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "may not mount";
  {
    SpillDirectory directory(parent_);
    ExpectError([&] { directory.NewPath(); }, {parent_, "memory", "NEAP_SPILL_DIR"});
  }
  EXPECT_EQ(umount(parent_.c_str()), 0);
}

TEST_F(SpillFault, NoSuchFolder) {
  SpillDirectory directory(parent_ / "none");
  ExpectError([&] { directory.NewPath(); }, {"none", "No such file", "NEAP_SPILL_DIR"});
}

// ---- The folder ----

using SpillFolder = Spill;

TEST_F(SpillFolder, IsByDefaultWhereTheEnvironmentSays) {
  setenv("TMPDIR", "/a", 1);
  unsetenv("NEAP_SPILL_DIR");
  EXPECT_EQ(SpillDirectory().parent(), "/a");
  setenv("NEAP_SPILL_DIR", "/b", 1);
  EXPECT_EQ(SpillDirectory().parent(), "/b");
  EXPECT_EQ(SpillDirectory("/c").parent(), "/c");
  unsetenv("NEAP_SPILL_DIR");
  unsetenv("TMPDIR");
  EXPECT_EQ(SpillDirectory().parent(), "/tmp");
}

TEST_F(SpillFolder, GivesEveryThreadPathsOfItsOwn) {
  SpillDirectory directory(parent_);
  std::vector<std::vector<std::string>> paths(4);
  std::vector<std::thread> threads;
  for (auto& own : paths) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) own.push_back(directory.NewPath());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& own : paths) all.insert(own.begin(), own.end());
  EXPECT_EQ(all.size(), 4000U);
}

// Runs `act` in a child that then ends without a destructor, as a crash would.
template <class F>
pid_t Crash(F&& act) {
  const pid_t child = fork();
  if (child == 0) {
    act();
    _exit(0);
  }
  return child;
}

TEST_F(SpillFolder, OfADeadProcessIsRemovedAndThatOfALivingOneIsNot) {
  int ready[2], end[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(end, O_CLOEXEC), 0);
  const auto make = [&] {
    auto* directory = new SpillDirectory(parent_);
    std::ofstream(directory->NewPath()) << "rows";
  };
  const pid_t living = Crash([&] {
    make();
    close(end[1]);
    char c = 0;
    EXPECT_EQ(write(ready[1], &c, 1), 1);
    EXPECT_EQ(read(end[0], &c, 1), 0);
  });
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  int status;
  waitpid(Crash(make), &status, 0);
  EXPECT_EQ(Files().size(), 2U);
  {
    SpillDirectory directory(parent_);
    directory.NewPath();
    ASSERT_EQ(Files().size(), 1U) << "only what nobody holds goes";
    EXPECT_TRUE(Files()[0].parent_path().filename().string().starts_with("neap-spill-" + std::to_string(living)));
  }
  close(end[1]);
  waitpid(living, &status, 0);
  SpillDirectory directory(parent_);
  directory.NewPath();
  EXPECT_TRUE(Files().empty());
  for (const int fd : {ready[0], ready[1], end[0]}) close(fd);
}

TEST_F(SpillFolder, IsLeftAloneByAForkedChildWhichMakesItsOwn) {
  SpillDirectory directory(parent_);
  const std::string path = directory.NewPath();
  std::ofstream(path) << "rows";
  const pid_t idle = Crash([&] { directory.~SpillDirectory(); });
  int status;
  waitpid(idle, &status, 0);
  EXPECT_TRUE(fs::exists(path));
  const pid_t busy = Crash([&] {
    const std::string own = directory.NewPath();
    if (fs::path(own).parent_path() == fs::path(path).parent_path()) _exit(1);
    std::ofstream(own) << "rows";
    directory.~SpillDirectory();
    if (fs::exists(own)) _exit(2);
  });
  waitpid(busy, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(SpillFolder, IsNotInheritedByPrograms) {
  SpillDirectory directory(parent_);
  SpillFile file(directory, {{TypeId::kInt64}}, &memory_);
  const int64_t value = 1;
  Batch batch;
  batch.columns = {{.type = {TypeId::kInt64}, .data = &value}};
  batch.SetAll(1);
  file.Write(batch);
  file.Finish();
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const fs::path to = fs::read_symlink(entry.path(), gone);
    if (!gone && to.string().starts_with(parent_.string())) {
      EXPECT_NE(fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC, 0) << to;
    }
  }
}

}  // namespace
}  // namespace neap::engine
