// foreign_test.cc: other allocators inside the process are found by what they export, told to give back, and counted.
// This program is one of them, a library that nobody else sees is another.
#include "alloc/foreign.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "alloc/config.h"
#include "alloc/consumers.h"
#include "alloc/heap.h"
#include "alloc/ledger.h"
#include "alloc/neap.h"
#include "tests/fake_os.h"

namespace {

constexpr size_t kMiB = 1 << 20;
std::atomic<uint64_t> hoarded{0};  // anonymous bytes that this allocator holds free
std::atomic<int> purges{0}, collections{0};
std::string purged;

}  // namespace

extern "C" NEAP_EXPORT int _rjem_mallctl(const char* name, void*, size_t*, void*, size_t) {
  purged = name;
  hoarded = 0;
  ++purges;
  return 0;
}
extern "C" NEAP_EXPORT void mi_collect(bool force) {
  if (force) ++collections;
}

namespace neap {
namespace {

// What neap itself touched meanwhile counts too.
uint64_t InMiB(uint64_t bytes) { return (bytes + kMiB / 2) / kMiB; }

class Foreign : public ::testing::Test {
 protected:
  static void Start(const char* setting) {
    if (setting != nullptr) Fake().SetEnvironment("NEAP_FOREIGN", setting);
    Fake().SetContainer(4ull << 30, 0);
    Fake().SetFile("/proc/self/statm", [] {
      return "9999999 " + std::to_string((Fake().ResidentBytes() + hoarded) / kPageSize) + " 0 5 0 123 0\n";
    });
    ASSERT_TRUE(StartHeap());
  }
};

TEST_F(Foreign, IsFoundToldAndCounted) {
  Start("1");
  hoarded = 50 * kMiB;
  EXPECT_EQ(InMiB(ForeignAllocators::Purge()), 50u);
  EXPECT_EQ(purged, "arena.4096.purge");
  EXPECT_EQ(purges, 1);
  EXPECT_EQ(collections, 1);
  const Ledger ledger = ReadLedger();
  EXPECT_EQ(ledger.foreign_purges, 2u);
  EXPECT_EQ(InMiB(ledger.foreign_purged), 50u);
  EXPECT_EQ(ledger.released, 0u);  // it is not neap's own
  static neap_ledger_row_t total;
  neap_ledger([](void*, const neap_ledger_row_t* row) { total = *row; }, nullptr);
  EXPECT_EQ(total.foreign_purges, 2u);
  EXPECT_EQ(InMiB(total.foreign_purged), 50u);
}

TEST_F(Foreign, IsLeftAloneUnlessTheUserChoseIt) {
  Start(nullptr);
  hoarded = 50 * kMiB;
  EXPECT_EQ(ForeignAllocators::Purge(), 0u);
  Consumers::Ask(100);
  EXPECT_EQ(purges + collections, 0);
  EXPECT_EQ(ReadLedger().foreign_purges, 0u);
}

TEST_F(Foreign, IsNotToldAgainSoonWhenItHadNothing) {
  Start("1");
  EXPECT_EQ(ForeignAllocators::Purge(), 0u);
  hoarded = 50 * kMiB;
  EXPECT_EQ(ForeignAllocators::Purge(), 0u);
  EXPECT_EQ(purges, 1);
  Fake().AdvanceMs(1100);
  EXPECT_EQ(InMiB(ForeignAllocators::Purge()), 50u);
  hoarded = 20 * kMiB;
  EXPECT_EQ(InMiB(ForeignAllocators::Purge()), 20u);
  EXPECT_EQ(purges, 3);
}

TEST_F(Foreign, IsFoundInALibraryThatCameLateForItsOpenerAlone) {
  Start("1");
  EXPECT_EQ(ForeignAllocators::Purge(), 0u);
  void* library = dlopen(NEAP_TEST_ALLOCATOR, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto* calls = static_cast<int*>(dlsym(library, "purges"));
  ASSERT_NE(calls, nullptr);
  Fake().AdvanceMs(1100);
  ForeignAllocators::Purge();
  EXPECT_EQ(*calls, 1);
  EXPECT_EQ(purges, 2);
  // It stays mapped: a call may be under way when the program closes it.
  dlclose(library);
  Fake().AdvanceMs(1100);
  ForeignAllocators::Purge();
  EXPECT_EQ(*calls, 2);
}

TEST_F(Foreign, IsToldBeforeConsumersWhoFreeTheRest) {
  Start("1");
  static std::atomic<size_t> wanted;
  wanted = 0;
  neap_consumer* consumer = neap_pressure_register(
      [](void*, size_t bytes) -> size_t {
        wanted = bytes;
        return bytes;
      },
      nullptr);
  ASSERT_NE(consumer, nullptr);
  // The thread that asks, which the fake system has only noted.
  for (const FakeOs::StartedThread& thread : Fake().Threads()) {
    if (thread.name == "neap-pressure") std::thread(thread.run, thread.argument).detach();
  }
  hoarded = 50 * kMiB;
  Consumers::Ask(80 * kMiB);
  while (wanted == 0) usleep(500);
  EXPECT_EQ(InMiB(wanted), 30u);
  EXPECT_EQ(purges, 1);
  neap_pressure_unregister(consumer);
}

TEST_F(Foreign, IsLeftAloneInAForkedChild) {
  Start("1");
  hoarded = 50 * kMiB;
  ForeignAllocators::ForgetInChild();
  EXPECT_FALSE(ForeignAllocators::May());
  EXPECT_EQ(ForeignAllocators::Purge(), 0u);
  EXPECT_EQ(purges, 0);
}

TEST_F(Foreign, IsLeftAloneAtExit) {
  EXPECT_EXIT(
      {
        atexit([] {
          Fake().AdvanceMs(1100);
          ForeignAllocators::Purge();
          _exit(purges == 1 ? 7 : 8);
        });
        Start("1");
        ForeignAllocators::Purge();
        exit(0);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace neap
