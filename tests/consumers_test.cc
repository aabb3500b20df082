// consumers_test.cc: the program's callbacks, on the real system: on a thread of their own, one at a time, until enough
// is freed.
#include "alloc/consumers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "alloc/heap.h"

namespace neap {
namespace {

struct Consumer {
  std::atomic<int> calls{0};
  std::atomic<size_t> wanted{0};
  size_t frees = 0;
  std::atomic<std::thread::id> thread;
  std::atomic<int>* running = nullptr;
  std::atomic<int> most{0};

  static size_t Call(void* context, size_t wanted) {
    auto* self = static_cast<Consumer*>(context);
    if (self->running != nullptr) {
      self->most = std::max(self->most.load(), ++*self->running);
      usleep(2000);
      --*self->running;
    }
    self->wanted = wanted;
    self->thread = std::this_thread::get_id();
    ++self->calls;
    return self->frees;
  }
};

void WaitFor(const std::function<bool()>& condition) {
  while (!condition()) usleep(500);
}

TEST(Consumers, AreAskedOnAThreadOfTheirOwn) {
  Consumer consumer;
  neap_consumer* handle = neap_pressure_register(Consumer::Call, &consumer);
  ASSERT_NE(handle, nullptr);
  Consumers::Ask(1000);
  WaitFor([&] { return consumer.calls > 0; });
  EXPECT_EQ(consumer.wanted, 1000u);
  EXPECT_NE(consumer.thread.load(), std::this_thread::get_id());
  EXPECT_GE(Consumers::Asked(), 1u);
  neap_pressure_unregister(handle);
}

TEST(Consumers, InTheirOrderUntilEnoughIsFreed) {
  Consumer a, b, c;
  a.frees = 300;
  b.frees = 800;
  neap_consumer* handles[] = {neap_pressure_register(Consumer::Call, &a), neap_pressure_register(Consumer::Call, &b),
                              neap_pressure_register(Consumer::Call, &c)};
  Consumers::Ask(1000);
  WaitFor([&] { return b.calls > 0; });
  EXPECT_EQ(a.wanted, 1000u);
  EXPECT_EQ(b.wanted, 700u);
  usleep(20'000);
  EXPECT_EQ(c.calls, 0);
  Consumers::Ask(2000);
  WaitFor([&] { return c.calls > 0; });
  EXPECT_EQ(c.wanted, 900u);
  for (neap_consumer* handle : handles) neap_pressure_unregister(handle);
}

TEST(Consumers, OneAtATime) {
  std::atomic<int> running{0};
  Consumer consumers[3];
  neap_consumer* handles[3];
  for (int i = 0; i < 3; ++i) {
    consumers[i].running = &running;
    handles[i] = neap_pressure_register(Consumer::Call, &consumers[i]);
  }
  for (int i = 0; i < 20; ++i) {
    std::thread asking([] { Consumers::Ask(1); });
    Consumers::Ask(1);
    asking.join();
    usleep(500);
  }
  WaitFor([&] { return consumers[2].calls > 0; });
  for (neap_consumer* handle : handles) neap_pressure_unregister(handle);
  for (auto& consumer : consumers) EXPECT_LE(consumer.most, 1);
}

TEST(Consumers, AfterUnregisterThereIsNoCall) {
  for (int i = 0; i < 50; ++i) {
    auto* consumer = new Consumer;
    neap_consumer* handle = neap_pressure_register(Consumer::Call, consumer);
    Consumers::Ask(10);
    neap_pressure_unregister(handle);
    const int calls = consumer->calls;
    Consumers::Ask(10);
    usleep(200);
    EXPECT_EQ(consumer->calls, calls);
    delete consumer;
  }
}

// Each is asked once although one before it goes away meanwhile.
TEST(Consumers, OneThatLeavesMakesNoOtherBeSkipped) {
  static std::atomic<bool> first_called, go_on;
  static std::atomic<int> later_calls;
  neap_consumer* first = neap_pressure_register(
      [](void*, size_t) -> size_t {
        first_called = true;
        while (!go_on) usleep(100);
        return 0;
      },
      nullptr);
  auto count = [](void*, size_t) -> size_t {
    ++later_calls;
    return 0;
  };
  neap_consumer* second = neap_pressure_register(count, nullptr);
  neap_consumer* third = neap_pressure_register(count, nullptr);
  Consumers::Ask(10);
  WaitFor([&] { return first_called.load(); });
  std::thread leaving([&] { neap_pressure_unregister(first); });  // waits for the callback
  usleep(5000);
  go_on = true;
  leaving.join();
  WaitFor([&] { return later_calls >= 1; });
  usleep(20'000);
  EXPECT_EQ(later_calls, 2);
  neap_pressure_unregister(second);
  neap_pressure_unregister(third);
}

TEST(Consumers, MayAllocateAndFree) {
  static std::atomic<int> done;
  neap_consumer* handle = neap_pressure_register(
      [](void*, size_t) -> size_t {
        for (size_t size = 16; size < 1 << 20; size *= 2) Free(Allocate(size));
        Trim();
        ++done;
        return 1;
      },
      nullptr);
  Consumers::Ask(1);
  WaitFor([&] { return done > 0; });
  neap_pressure_unregister(handle);
}

TEST(Consumers, NothingToCallIsRefused) {
  errno = 0;
  EXPECT_EQ(neap_pressure_register(nullptr, nullptr), nullptr);
  EXPECT_EQ(errno, EINVAL);
  neap_pressure_unregister(nullptr);
  Consumers::Ask(100);  // of nobody
}

}  // namespace
}  // namespace neap
