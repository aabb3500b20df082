// Many queries of one session at once, within bounds that are far too small, cancelled and left at random moments.
// Nothing may wait for ever, and nothing may be left: no memory in an arena, no file, no thread.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "alloc/neap.h"
#include "tests/engine/hostile.h"

namespace neap::engine {
namespace {

class Arbitration : public Hostile {
 protected:
  enum class Way { kToTheEnd, kCancelled, kLeftHalfRead, kLeftUnread };

  // One query and how it ends.
  static void RunOne(Session& session, std::mt19937& random) {
    const size_t which = random() % Statements().size();
    const auto way = static_cast<Way>(random() % 4);
    const auto pause = std::chrono::microseconds(random() % 60'000);
    const auto result = session.Execute(Statements()[which]);
    if (way == Way::kLeftUnread) {
      std::this_thread::sleep_for(pause);
      return;
    }
    ArrowArrayStream stream;
    result->Export(&stream);
    const auto reader = *arrow::ImportRecordBatchReader(&stream);
    if (way == Way::kLeftHalfRead) {
      for (size_t batches = random() % 3; batches-- > 0;) {
        if (*reader->Next() == nullptr) return;
      }
      return;
    }
    std::thread canceller;
    if (way == Way::kCancelled) {
      canceller = std::thread([&] {
        std::this_thread::sleep_for(pause);
        result->Cancel();
      });
    }
    const auto rows = reader->ToTable();
    if (canceller.joinable()) canceller.join();
    if (rows.ok()) {
      EXPECT_TRUE((*rows)->Equals(*Expected()[which])) << "statement " << which;
      return;
    }
    const QueryReport report = result->Report();
    EXPECT_EQ(way, Way::kCancelled) << rows.status().ToString();
    EXPECT_EQ(report.failure, ErrorKind::kCancelled) << report.message;
    ExpectOneLine(report.message);
  }

  void RunMany(const SessionOptions& options, uint32_t seed) {
    const auto session = Make(options);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 6; ++i) {
      threads.emplace_back([&session, random = std::mt19937(seed * 100 + i)]() mutable {
        for (int query = 0; query < 4; ++query) RunOne(*session, random);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  static uint32_t Arenas() {
    neap_stats_t process;
    EXPECT_EQ(neap_stats(&process), 0);
    return process.arenas;
  }
};

TEST_F(Arbitration, QueriesAtOnceCancelledAndLeft) {
  constexpr size_t kBounds[] = {64 << 10, 1 << 20, 4 << 20, 32 << 20};
  uint32_t most = 0;
  for (int round = 0; round < 4 * Longer(20); ++round) {
    const auto seed = static_cast<uint32_t>(round);
    RunMany({.memory = kBounds[round % 4], .threads = 1 + seed / 4 % 4, .spill_dir = folder_}, seed);
    // Arenas that something outlives are used again: there are never more than there were queries at once.
    most = std::max(most, Arenas());
  }
  EXPECT_LE(most, 1U + 6U) << "arenas are left";
}

TEST_F(Arbitration, EverythingSpillsAndIsCancelled) {
  for (int round = 0; round < Longer(20); ++round) {
    RunMany({.memory = 8 << 20, .threads = 3, .spill_dir = folder_, .force_spill = true},
            1000 + static_cast<uint32_t>(round));
  }
}

// Every statement alone, in the least that there is.
TEST_F(Arbitration, NoRoomAtAll) {
  for (const unsigned threads : {1U, 4U}) {
    const auto session = Make({.memory = 4096, .threads = threads, .spill_dir = folder_});
    for (size_t i = 0; i < Statements().size(); ++i) {
      const auto rows = Rows(*session->Execute(Statements()[i]));
      ASSERT_TRUE(rows.ok()) << rows.status().ToString();
      EXPECT_TRUE((*rows)->Equals(*Expected()[i])) << "statement " << i;
    }
  }
}

}  // namespace
}  // namespace neap::engine
