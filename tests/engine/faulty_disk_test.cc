// Spill files on a disk that is full, slow to take bytes, or faulty: the query goes on where nothing is lost, or ends
// with one line that names the spill file, and nothing is left behind.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>

#include "tests/engine/hostile.h"

namespace {

enum class Fault {
  kNone,
  kNoSpace,
  kWriteError,
  kShortWrites,
  kInterrupted,
  kReadError,
  kShortReads,
  kCut,
  kFlippedBit
};

// What the calls below do to spill files, at the one that `left` counts down to.
std::atomic<Fault> fault{Fault::kNone};
std::atomic<int> left{0};
std::atomic<int> faults{0};  // done

bool IsSpillFile(int fd) {
  std::array<char, 64> link{};
  std::array<char, 512> path{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  return readlink(link.data(), path.data(), path.size() - 1) > 0 && std::strstr(path.data(), "neap-spill-") != nullptr;
}

bool Happens(int fd) {
  if (!IsSpillFile(fd) || left.fetch_sub(1) != 1) return false;
  ++faults;
  return true;
}

}  // namespace

// In place of the C library's, for the engine's library too.
extern "C" ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const Fault what = fault;
  if (what == Fault::kShortWrites && IsSpillFile(fd) && size > 1) {
    ++faults;
    size = size / 2;
  } else if ((what == Fault::kNoSpace || what == Fault::kWriteError || what == Fault::kInterrupted) && Happens(fd)) {
    errno = what == Fault::kNoSpace ? ENOSPC : what == Fault::kWriteError ? EIO : EINTR;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

extern "C" ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  const Fault what = fault;
  const bool reads = what == Fault::kReadError || what == Fault::kCut || what == Fault::kFlippedBit;
  if (what == Fault::kShortReads && IsSpillFile(fd) && size > 1) {
    ++faults;
    size = size / 2;
  }
  const bool happens = reads && Happens(fd);
  if (happens && what == Fault::kReadError) {
    errno = EIO;
    return -1;
  }
  if (happens && what == Fault::kCut) return 0;
  const ssize_t got = syscall(SYS_pread64, fd, data, size, offset);
  if (happens && got > 0) static_cast<char*>(data)[static_cast<size_t>(got) / 2] ^= 4;
  return got;
}

namespace neap::engine {
namespace {

class FaultyDisk : public Hostile {
 protected:
  // Runs statements with the fault at some call of each; returns how often it came to pass.
  int Run(Fault what, bool ends, const std::string& words) {
    const auto session = Make({.memory = 16 << 20, .threads = 2, .spill_dir = folder_, .force_spill = true});
    std::mt19937 random(static_cast<uint32_t>(what));
    int came = 0;
    for (int round = 0; round < Longer(10); ++round) {
      for (size_t i = 0; i < Statements().size(); ++i) {
        left = 1 + static_cast<int>(random() % 20);
        faults = 0;
        fault = what;
        const auto result = session->Execute(Statements()[i]);
        const auto rows = Rows(*result);
        fault = Fault::kNone;
        if (faults != 0) ++came;
        if (rows.ok()) {
          EXPECT_TRUE((*rows)->Equals(*Expected()[i])) << "statement " << i;
          EXPECT_TRUE(!ends || faults == 0) << "statement " << i << " did not see the fault";
        } else {
          const QueryReport report = result->Report();
          EXPECT_TRUE(ends) << report.message;
          EXPECT_EQ(report.failure, ErrorKind::kSpill) << report.message;
          ExpectOneLine(report.message);
          EXPECT_NE(report.message.find("spill file " + folder_), std::string::npos) << report.message;
          EXPECT_NE(report.message.find(words), std::string::npos) << report.message;
        }
        // The folder of the process alone, without a file.
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
          EXPECT_EQ(Entries(entry.path().string()), 0U) << "statement " << i << " left files";
        }
      }
    }
    return came;
  }
};

TEST_F(FaultyDisk, Full) { EXPECT_GT(Run(Fault::kNoSpace, true, "a folder with more space"), 3); }
TEST_F(FaultyDisk, CannotBeWritten) { EXPECT_GT(Run(Fault::kWriteError, true, "cannot write"), 3); }
TEST_F(FaultyDisk, TakesHalfOfWhatItIsGiven) { EXPECT_GT(Run(Fault::kShortWrites, false, ""), 3); }
TEST_F(FaultyDisk, InterruptedCallsAreMadeAgain) { EXPECT_GT(Run(Fault::kInterrupted, false, ""), 3); }
TEST_F(FaultyDisk, CannotBeRead) { EXPECT_GT(Run(Fault::kReadError, true, "is damaged"), 3); }
TEST_F(FaultyDisk, GivesHalfOfWhatItIsAskedFor) { EXPECT_GT(Run(Fault::kShortReads, false, ""), 3); }
TEST_F(FaultyDisk, LosesTheEndOfAFile) { EXPECT_GT(Run(Fault::kCut, true, "it ends too early"), 3); }
TEST_F(FaultyDisk, FlipsABit) { EXPECT_GT(Run(Fault::kFlippedBit, true, "is damaged"), 3); }

}  // namespace
}  // namespace neap::engine
