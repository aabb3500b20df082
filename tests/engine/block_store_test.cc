// block_store_test.cc: cached blocks at every storage level, what leaves memory when, and that the rows are the same
// wherever they have been.
#include "engine/memory/block_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "engine/core/error.h"
#include "engine/memory/packed_batch.h"
#include "engine/spill/spill_file.h"
#include "tests/engine/random_batch.h"

namespace neap::engine {
namespace {

using enum MemoryMode;
using enum BlockPlace;
constexpr uint64_t kMiB = 1 << 20;
using Rows = std::vector<std::vector<Cell>>;

StorageLevel Level(const char* name) { return StorageLevel::FromName(name).value(); }

// ---- Batches packed.

TEST(PackedBatch, HasTheRowsThatCountAndWritesNoMoreThanItsSize) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i) {
    RandomShape shape{.selection = i % 2 == 0};
    const auto rows = static_cast<uint32_t>(random() % (i % 10 == 0 ? 3 : 4097));
    RandomBatch made(random, AllTypes(), rows, shape);
    const size_t size = PackedSize(made.batch);
    std::vector<std::max_align_t> space((size + 64) / sizeof(std::max_align_t) + 1);
    auto* bytes = reinterpret_cast<uint8_t*>(space.data());
    std::memset(bytes, 0xcd, space.size() * sizeof(std::max_align_t));
    Pack(made.batch, bytes);
    for (size_t at = size; at < size + 64; ++at) ASSERT_EQ(bytes[at], 0xcd);
    Batch read;
    reinterpret_cast<const PackedBatch*>(bytes)->Read(read);
    ASSERT_EQ(read.rows, made.batch.selected);
    uint32_t row = 0;
    made.batch.ForEach([&](uint32_t original) { ASSERT_EQ(RowAt(read, row++), RowAt(made.batch, original)); });
  }
}

TEST(PackedBatch, KeepsADictionaryWhereThatIsSmaller) {
  std::string text(1000, 'x');
  const View values[2] = {View(text), View("short")};
  std::vector<uint32_t> indices(4096);
  for (uint32_t i = 0; i < 4096; ++i) indices[i] = i % 2;
  Batch batch;
  batch.columns.push_back({.type = {TypeId::kString}, .data = values, .indices = indices.data(), .positions = 2});
  batch.SetAll(4096);
  EXPECT_LT(PackedSize(batch), 4096 * 4 + 2000u);
  batch.selection = reinterpret_cast<const RowIndex*>(indices.data());  // row 0, and 0 again: of one row
  batch.selected = 1;
  EXPECT_LT(PackedSize(batch), 1300u);
}

// ---- Storage levels.

TEST(StorageLevel, NamesAreSparks) {
  EXPECT_EQ(StorageLevel::FromName("memory_and_disk_ser_2"), (StorageLevel{true, true, false, false, 2}));
  EXPECT_EQ(StorageLevel::FromName("OFF_HEAP"), (StorageLevel{true, true, true, false, 1}));
  EXPECT_EQ(StorageLevel::FromName("DISK"), std::nullopt);
  EXPECT_EQ(Level("DISK_ONLY_3").Name(), "DISK_ONLY_3");
  EXPECT_EQ((StorageLevel{true, false, true, false, 4}).Name(), "disk, off-heap, 4x replicated");
  EXPECT_FALSE(Level("NONE").kept());
}

// ---- Blocks.

// Rows as a cursor, kept to compare with.
class Given : public Cursor {
 public:
  Given(uint64_t seed, const std::vector<Type>& types, int batches, const RandomShape& shape = {}, uint32_t rows = 4096)
      : random_(seed) {
    for (int i = 0; i < batches; ++i) {
      made_.push_back(std::make_unique<RandomBatch>(random_, types, rows, shape));
    }
  }
  bool Next(Batch& batch) override {
    if (next_ == made_.size()) return false;
    batch = made_[next_++]->batch;
    return true;
  }
  Rows rows() const {
    Rows all;
    for (const auto& made : made_) {
      made->batch.ForEach([&](uint32_t row) { all.push_back(RowAt(made->batch, row)); });
    }
    return all;
  }
  size_t given() const { return next_; }

 private:
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<RandomBatch>> made_;
  size_t next_ = 0;
};

Rows Read(Cursor& cursor) {
  Rows all;
  Batch batch;
  while (cursor.Next(batch)) batch.ForEach([&](uint32_t row) { all.push_back(RowAt(batch, row)); });
  return all;
}

const std::vector<Type> kLongs = {{TypeId::kInt64}, {TypeId::kInt64}};  // 64 KiB a batch
constexpr RandomShape kFlat{.nulls = 0, .dictionaries = 0, .distinct = 1 << 30};

// A pool of 4 MiB, of which storage keeps half. Sizes of blocks are batches of 64 KiB.
struct Store : testing::Test {
  ~Store() override {
    for (DatasetId dataset = 0; dataset < 100; ++dataset) store.RemoveDataset(dataset);
    EXPECT_EQ(manager.figures(kOnHeap).storage_used, 0u);
    EXPECT_EQ(manager.figures(kOffHeap).storage_used, 0u);
    EXPECT_EQ(manager.figures(kOnHeap).unroll_used, 0u);
    manager.storage_memory(kOnHeap).Purge();
    manager.storage_memory(kOffHeap).Purge();
    EXPECT_EQ(heap.Charged(), 0u);
    EXPECT_EQ(off_heap.Charged(), 0u);
    EXPECT_EQ(spill.bytes(), 0u);
  }
  BlockPlace Put(DatasetId dataset, uint32_t partition, const char* level, int batches) {
    Given given(dataset * 100 + partition, kLongs, batches, kFlat);
    return store.Put(task, {dataset, partition}, Level(level), kLongs, given);
  }
  // Whether the block has the rows that Put gave it.
  bool Same(DatasetId dataset, uint32_t partition, int batches) {
    const auto cursor = store.Get(task, {dataset, partition});
    if (cursor == nullptr) return false;
    return Read(*cursor) == Given(dataset * 100 + partition, kLongs, batches, kFlat).rows();
  }

  Memory heap{nullptr, "heap", 4 * kMiB};
  Memory off_heap{nullptr, "off-heap", 4 * kMiB};
  MemoryManager manager{heap, &off_heap, {}};
  SpillDirectory spill{std::filesystem::current_path()};
  BlockStore store{manager, spill};
  Task task{manager, "task"};
};

TEST_F(Store, RowsOfEveryTypeComeBackAtEveryLevel) {
  uint64_t seed = 0;
  for (const char* level : {"DISK_ONLY", "DISK_ONLY_2", "MEMORY_ONLY", "MEMORY_ONLY_SER", "MEMORY_AND_DISK",
                            "MEMORY_AND_DISK_SER_2", "OFF_HEAP"}) {
    for (const bool selection : {false, true}) {
      Given given(++seed, AllTypes(), 3, {.selection = selection}, 1000);
      const BlockPlace place = store.Put(task, {seed, 0}, Level(level), AllTypes(), given);
      EXPECT_EQ(place, Level(level).memory ? kMemory : kDisk) << level;
      for (int again = 0; again < 2; ++again) {
        const auto cursor = store.Get(task, {seed, 0});
        ASSERT_NE(cursor, nullptr);
        ASSERT_EQ(Read(*cursor), given.rows()) << level;
      }
    }
  }
  EXPECT_GT(manager.figures(kOffHeap).storage_used, 0u);
}

TEST_F(Store, AnEmptyBlockIsKept) {
  for (const char* level : {"DISK_ONLY", "MEMORY_ONLY", "MEMORY_ONLY_SER"}) {
    Given given(1, kLongs, 0);
    ASSERT_NE(store.Put(task, {1, 0}, Level(level), kLongs, given), kNowhere);
    EXPECT_TRUE(Read(*store.Get(task, {1, 0})).empty());
    store.Remove({1, 0});
  }
}

TEST_F(Store, LevelNoneKeepsNothingAndReadsNothing) {
  Given given(1, kLongs, 1);
  EXPECT_EQ(store.Put(task, {1, 0}, Level("NONE"), kLongs, given), kNowhere);
  EXPECT_EQ(given.given(), 0u);
}

TEST_F(Store, ASecondPutOfABlockReadsNothing) {
  ASSERT_EQ(Put(1, 0, "MEMORY_ONLY", 4), kMemory);
  Given given(7, kLongs, 1);
  EXPECT_EQ(store.Put(task, {1, 0}, Level("DISK_ONLY"), kLongs, given), kMemory);
  EXPECT_EQ(given.given(), 0u);
}

TEST_F(Store, OfTwoWritersOfABlockTheFirstToFinishWins) {
  auto slow = store.Start(task, {1, 0}, Level("MEMORY_ONLY"), kLongs);
  Given given(7, kLongs, 1);
  Batch batch;
  given.Next(batch);
  EXPECT_TRUE(slow.Write(batch));
  ASSERT_EQ(Put(1, 0, "MEMORY_ONLY", 4), kMemory);
  EXPECT_EQ(slow.Finish(), kMemory);
  EXPECT_TRUE(Same(1, 0, 4));
}

TEST_F(Store, AWriterThatIsGivenUpLeavesNothing) {
  auto writer = store.Start(task, {1, 0}, Level("MEMORY_ONLY"), kLongs);
  Given given(7, kLongs, 1);
  Batch batch;
  given.Next(batch);
  EXPECT_TRUE(writer.Write(batch));
  EXPECT_GT(manager.figures(kOnHeap).unroll_used, 0u);
}  // the fixture sees that nothing is charged

TEST_F(Store, WhatDoesNotFitInMemoryIsNotKeptOrGoesToDiskFromThereOn) {
  Given large(100, kLongs, 90, kFlat);
  EXPECT_EQ(store.Put(task, {1, 0}, Level("MEMORY_ONLY"), kLongs, large), kNowhere);
  EXPECT_LT(large.given(), 90u) << "the rest is not asked for";
  EXPECT_EQ(manager.figures(kOnHeap).storage_used, 0u);
  EXPECT_EQ(Put(2, 0, "MEMORY_AND_DISK", 90), kDisk);
  EXPECT_TRUE(Same(2, 0, 90));
  EXPECT_EQ(Put(3, 0, "MEMORY_ONLY_SER", 250), kNowhere);
  EXPECT_EQ(Put(4, 0, "MEMORY_AND_DISK_SER", 250), kDisk);
  EXPECT_TRUE(Same(4, 0, 250));
}

TEST_F(Store, TheLeastRecentlyReadBlockLeavesFirst) {
  for (DatasetId dataset = 1; dataset <= 4; ++dataset) ASSERT_EQ(Put(dataset, 0, "MEMORY_ONLY", 14), kMemory);
  ASSERT_TRUE(Same(1, 0, 14));
  ASSERT_EQ(Put(5, 0, "MEMORY_ONLY", 14), kMemory);
  EXPECT_EQ(store.Place({1, 0}), kMemory);
  EXPECT_EQ(store.Place({2, 0}), kNowhere);
  EXPECT_EQ(store.Place({3, 0}), kMemory);
  EXPECT_EQ(store.figures().evicted, 1u);
}

TEST_F(Store, NoBlockOfTheDatasetBeingCachedLeaves) {
  ASSERT_EQ(Put(1, 0, "MEMORY_AND_DISK", 19), kMemory);
  for (uint32_t partition = 0; partition < 4; ++partition) Put(2, partition, "MEMORY_AND_DISK", 19);
  EXPECT_EQ(store.Place({1, 0}), kDisk);
  EXPECT_EQ(store.Place({2, 0}), kMemory);
  EXPECT_EQ(store.Place({2, 1}), kMemory);
  EXPECT_EQ(store.Place({2, 2}), kMemory);
  EXPECT_EQ(store.Place({2, 3}), kDisk);
  for (uint32_t partition = 0; partition < 4; ++partition) EXPECT_TRUE(Same(2, partition, 19));
}

TEST_F(Store, ExecutionDrivesBlocksToDiskDownToTheRegion) {
  for (DatasetId dataset = 1; dataset <= 3; ++dataset) ASSERT_EQ(Put(dataset, 0, "MEMORY_AND_DISK", 19), kMemory);
  const uint64_t got = manager.AcquireExecution(task, 4 * kMiB, kOnHeap);
  EXPECT_EQ(got + manager.figures(kOnHeap).storage_used, 4 * kMiB);
  EXPECT_EQ(store.figures().memory_blocks, 1u);
  EXPECT_EQ(store.figures().disk_blocks, 2u);
  for (DatasetId dataset = 1; dataset <= 3; ++dataset) EXPECT_TRUE(Same(dataset, 0, 19));
  manager.ReleaseAllExecution(task);
}

TEST_F(Store, ABlockOnDiskComesBackWhereThereIsRoomAndLeavesAgainForNothing) {
  ASSERT_EQ(Put(1, 0, "MEMORY_AND_DISK", 19), kMemory);
  EXPECT_GT(manager.EvictForPressure(1), 19 * 65536u);
  ASSERT_EQ(store.Place({1, 0}), kDisk);
  const uint64_t disk = spill.bytes();
  EXPECT_TRUE(Same(1, 0, 19));
  EXPECT_EQ(store.Place({1, 0}), kMemory);
  EXPECT_EQ(manager.figures(kOnHeap).unroll_used, 0u);
  manager.EvictForPressure(1);
  EXPECT_EQ(store.Place({1, 0}), kDisk);
  EXPECT_EQ(spill.bytes(), disk);
  ASSERT_EQ(manager.AcquireExecution(task, 3 * kMiB, kOnHeap), 3 * kMiB);
  EXPECT_TRUE(Same(1, 0, 19));
  EXPECT_EQ(store.Place({1, 0}), kDisk) << "there is no room";
  manager.ReleaseAllExecution(task);
}

TEST_F(Store, ABlockIsNotEvictedWhileItIsRead) {
  ASSERT_EQ(Put(1, 0, "MEMORY_ONLY", 19), kMemory);
  const auto cursor = store.Get(task, {1, 0});
  EXPECT_EQ(manager.EvictForPressure(kMiB), 0u);
  EXPECT_EQ(store.Place({1, 0}), kMemory);
}

TEST_F(Store, ABlockThatIsRemovedWhileItIsReadIsReadToTheEnd) {
  for (const char* level : {"MEMORY_ONLY", "DISK_ONLY"}) {
    ASSERT_NE(Put(1, 0, level, 19), kNowhere);
    auto cursor = store.Get(task, {1, 0});
    Batch batch;
    ASSERT_TRUE(cursor->Next(batch));
    store.Remove({1, 0});
    EXPECT_EQ(store.Place({1, 0}), kNowhere);
    EXPECT_EQ(store.Get(task, {1, 0}), nullptr);
    EXPECT_EQ(Read(*cursor).size(), 18 * 4096u);
    cursor.reset();
    EXPECT_EQ(manager.figures(kOnHeap).storage_used, 0u);
    EXPECT_EQ(spill.bytes(), 0u);
  }
}

// The spill files, the largest last.
std::vector<std::filesystem::path> SpillFiles(const SpillDirectory& spill) {
  std::vector<std::filesystem::path> files;
  const std::string own = "neap-spill-" + std::to_string(getpid()) + "-";
  for (const auto& entry : std::filesystem::directory_iterator(spill.parent())) {
    if (!entry.path().filename().string().starts_with(own)) continue;
    for (const auto& file : std::filesystem::directory_iterator(entry.path())) {
      if (file.is_regular_file() && file.file_size() > 1000) files.push_back(file.path());
    }
  }
  return files;
}

void Damage(const std::filesystem::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(std::filesystem::file_size(file) / 2));
  stream.write("damaged", 7);
}

TEST_F(Store, ADamagedCopyIsReadElsewhere) {
  ASSERT_EQ(Put(1, 0, "DISK_ONLY_2", 19), kDisk);
  const auto files = SpillFiles(spill);
  ASSERT_EQ(files.size(), 2u);
  Damage(files[0]);
  EXPECT_TRUE(Same(1, 0, 19));
  Damage(files[1]);
  EXPECT_THROW(Same(1, 0, 19), Error);
}

TEST_F(Store, WhereTheDiskFailsAnEvictedBlockIsLostAndNothingElse) {
  SpillDirectory nowhere("/proc/self");
  {
    BlockStore other(manager, nowhere);
    Given given(1, kLongs, 16);
    ASSERT_EQ(other.Put(task, {1, 0}, Level("MEMORY_AND_DISK"), kLongs, given), kMemory);
    EXPECT_GT(manager.EvictForPressure(1), 0u);
    EXPECT_EQ(other.Place({1, 0}), kNowhere);
    EXPECT_EQ(other.figures().lost, 1u);
    Given more(1, kLongs, 16);
    EXPECT_THROW(other.Put(task, {1, 0}, Level("DISK_ONLY"), kLongs, more), Error);
  }
  manager.SetEvictor(nullptr);
}

TEST_F(Store, ABlockThatWouldBeLostIsNotEvictedWhileItIsHeld) {
  ASSERT_EQ(Put(1, 0, "MEMORY_ONLY", 4), kMemory);
  ASSERT_EQ(Put(1, 1, "MEMORY_ONLY", 4), kMemory);
  ASSERT_EQ(Put(2, 0, "MEMORY_AND_DISK", 4), kMemory);
  EXPECT_FALSE(store.HoldAll(1, 3));
  {
    const auto hold = store.HoldAll(1, 2), on_disk_too = store.HoldAll(2, 1);
    ASSERT_TRUE(hold && on_disk_too);
    manager.EvictForPressure(UINT64_MAX);
    EXPECT_EQ(store.Place({1, 0}), kMemory);
    EXPECT_EQ(store.Place({2, 0}), kDisk);
  }
  manager.EvictForPressure(UINT64_MAX);
  EXPECT_EQ(store.Place({1, 0}), kNowhere);
  EXPECT_FALSE(store.HoldAll(1, 1));
}

TEST_F(Store, WithoutAPoolOffTheHeapSuchBlocksAreInTheOneThereIs) {
  Memory one(nullptr, "one", 4 * kMiB);
  MemoryManager alone(one, nullptr, {});
  {
    BlockStore other(alone, spill);
    Task mine(alone, "mine");
    Given given(1, kLongs, 4, kFlat);
    EXPECT_EQ(other.Put(mine, {1, 0}, Level("OFF_HEAP"), kLongs, given), kMemory);
    EXPECT_EQ(Read(*other.Get(mine, {1, 0})), given.rows());
    EXPECT_GT(alone.figures(kOnHeap).storage_used, 0u);
  }
  EXPECT_EQ(alone.figures(kOnHeap).storage_used, 0u);
}

TEST_F(Store, ThreadsPutReadRemoveAndExecuteAndTheRowsStayTheSame) {
  constexpr int kThreads = 6;
  const char* levels[] = {"MEMORY_ONLY", "MEMORY_AND_DISK", "MEMORY_AND_DISK_SER", "DISK_ONLY", "MEMORY_ONLY_SER"};
  std::atomic<int> wrong{0}, found{0}, missed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      Task mine(manager, "thread");
      for (int step = 0; step < 80; ++step) {
        const BlockId id{random() % 5, static_cast<uint32_t>(random() % 4)};
        const uint64_t seed = id.dataset * 10 + id.partition;
        Given given(seed, kLongs, 1 + static_cast<int>(seed % 40), kFlat);
        switch (random() % 6) {
          case 0:
          case 1:
            store.Put(mine, id, Level(levels[id.dataset]), kLongs, given);
            break;
          case 2:
          case 3: {
            const auto cursor = store.Get(mine, id);
            if (cursor == nullptr) {
              ++missed;
            } else {
              ++found;
              if (Read(*cursor) != given.rows()) ++wrong;
            }
            break;
          }
          case 4:
            if (random() % 4 == 0) store.Remove(id);
            break;
          default:
            manager.AcquireExecution(mine, kMiB / 4 * (random() % 5), kOnHeap);
            if (random() % 2 == 0) manager.ReleaseAllExecution(mine);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(found, 50);
  EXPECT_GT(missed, 5);
  EXPECT_GT(store.figures().evicted, 10u);
  EXPECT_EQ(store.figures().lost, 0u);
}

}  // namespace
}  // namespace neap::engine
