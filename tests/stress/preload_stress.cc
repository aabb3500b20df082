// preload_stress.cc: many threads on a preloaded libneap.so, every block filled and looked at before it is freed.
//
//     preload_stress KIND       exit 0: all was well; one line says what was done
//
//   crossing   threads free and resize each other's blocks of every size
//   churn      threads come and go, and leave their blocks to others; a round is a thread
//   forks      children are forked while threads allocate, and allocate themselves; a round is a child
//   purging    neap_purge, malloc_trim and readings of every kind beside threads at work; a round is one of those
//   arenas     arenas come and go under load; blocks are freed by other threads than their scope's
//   libraries  a library with thread-local data is opened and closed while threads allocate; a round is once
//
// Goes on for 3 s and 100 rounds; with NEAP_TEST_ALL=1 for 60 s and 1,000 rounds.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "alloc/neap.h"

namespace {

std::atomic<bool> g_stop{false};
std::atomic<size_t> g_blocks{0}, g_rounds{0};

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "preload_stress: %s\n", what);
  abort();
}

// A block carries its size and a seed, and the rest is what follows from the seed.
struct Header {
  size_t size;
  uint64_t seed;
};

size_t RandomSize(std::minstd_rand& random) {
  const size_t limit = size_t{32} << random() % (random() % 64 == 0 ? 17 : 9);
  return sizeof(Header) + random() % limit;
}

unsigned char ByteAt(uint64_t seed, size_t at) { return static_cast<unsigned char>((seed >> at % 48) + at); }

// Large blocks are looked at here and there.
size_t Step(size_t size) { return size < 4096 ? 1 : size < 100'000 ? 31 : 509; }

void Fill(void* block, size_t size, uint64_t seed) {
  const Header header = {size, seed};
  memcpy(block, &header, sizeof(header));
  auto* bytes = static_cast<unsigned char*>(block);
  for (size_t at = sizeof(Header); at < size; at += Step(size)) bytes[at] = ByteAt(seed, at);
  bytes[size - 1] = size > sizeof(Header) ? ByteAt(seed, size - 1) : bytes[size - 1];
}

size_t Check(const void* block) {
  Header header;
  memcpy(&header, block, sizeof(header));
  const auto* bytes = static_cast<const unsigned char*>(block);
  if (header.size < sizeof(Header) || malloc_usable_size(const_cast<void*>(block)) < header.size)
    Fail("size was damaged");
  for (size_t at = sizeof(Header); at < header.size; at += Step(header.size)) {
    if (bytes[at] != ByteAt(header.seed, at)) Fail("contents were damaged");
  }
  return header.size;
}

void* Make(std::minstd_rand& random) {
  const size_t size = RandomSize(random);
  void* block = nullptr;
  switch (random() % 8) {
    case 0: {
      block = calloc(1, size);
      const auto* bytes = static_cast<unsigned char*>(block);
      for (size_t at = 0; block != nullptr && at < size; at += Step(size)) {
        if (bytes[at] != 0) Fail("calloc gave a block that is not zero");
      }
      break;
    }
    case 1:
      block = aligned_alloc(size_t{16} << random() % 9, size);
      break;
    default:
      block = malloc(size);
  }
  if (block == nullptr) Fail("no memory");
  Fill(block, size, random());
  g_blocks.fetch_add(1, std::memory_order_relaxed);
  return block;
}

void Drop(void* block) {
  if (block == nullptr) return;
  Check(block);
  free(block);
}

void* Resize(void* block, std::minstd_rand& random) {
  const size_t old_size = Check(block);
  Header header;
  memcpy(&header, block, sizeof(header));
  const size_t size = RandomSize(random);
  block = realloc(block, size);
  if (block == nullptr) Fail("no memory");
  const auto* bytes = static_cast<unsigned char*>(block);
  for (size_t at = sizeof(Header); at < old_size && at < size; at += Step(old_size)) {
    if (bytes[at] != ByteAt(header.seed, at)) Fail("realloc lost contents");
  }
  Fill(block, size, random());
  return block;
}

// Where threads leave blocks for each other.
struct Exchange {
  std::atomic<void*> slots[256] = {};

  void Work(std::minstd_rand& random, int steps) {
    for (int i = 0; i < steps; ++i) {
      std::atomic<void*>& slot = slots[random() % 256];
      if (random() % 8 != 0) {
        Drop(slot.exchange(Make(random)));
      } else if (void* block = slot.exchange(nullptr)) {
        Drop(slot.exchange(Resize(block, random)));
      }
    }
  }
  void Empty() {
    for (auto& slot : slots) Drop(slot.exchange(nullptr));
  }
};

void CountRound() { g_rounds.fetch_add(1, std::memory_order_relaxed); }

void RunThreads(int count, const std::function<void(std::minstd_rand&)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&body, i] {
      std::minstd_rand random(static_cast<unsigned>(i) + 1);
      while (!g_stop.load(std::memory_order_relaxed)) body(random);
    });
  }
  for (auto& thread : threads) thread.join();
}

void Crossing(Exchange& exchange) {
  RunThreads(8, [&](std::minstd_rand& random) {
    exchange.Work(random, 200);
    CountRound();
  });
}

void Churn(Exchange& exchange) {
  RunThreads(4, [&](std::minstd_rand& random) {
    const unsigned seed = random();
    std::thread([&exchange, seed] {
      std::minstd_rand own(seed);
      thread_local std::vector<char> with_destructor(own() % 3000);
      exchange.Work(own, 50);
    }).join();
    CountRound();
  });
}

void Forks(Exchange& exchange) {
  std::thread workers([&] { RunThreads(3, [&](std::minstd_rand& random) { exchange.Work(random, 100); }); });
  std::minstd_rand random(77);
  while (!g_stop.load(std::memory_order_relaxed)) {
    const pid_t child = fork();
    if (child < 0) Fail("fork");
    if (child == 0) {
      alarm(60);
      Exchange own;
      std::thread other([&own] {
        std::minstd_rand others(3);
        own.Work(others, 300);
      });
      own.Work(random, 300);
      other.join();
      own.Empty();
      malloc_trim(0);
      _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) Fail("a child did not end well");
    CountRound();
  }
  workers.join();
}

void Purging(Exchange& exchange) {
  std::thread purger([] {
    for (unsigned i = 0; !g_stop.load(std::memory_order_relaxed); ++i) {
      neap_stats_t stats;
      switch (i % 4) {
        case 0:
          neap_purge();
          break;
        case 1:
          malloc_trim(0);
          break;
        case 2:
          if (neap_stats(&stats) != 0 || stats.live > stats.resident) Fail("absurd figures");
          break;
        case 3:
          if (mallinfo2().uordblks > (size_t{8} << 30)) Fail("absurd figures");
          break;
      }
      CountRound();
    }
  });
  RunThreads(6, [&](std::minstd_rand& random) { exchange.Work(random, 200); });
  purger.join();
}

void Arenas(Exchange& exchange) {
  RunThreads(6, [&](std::minstd_rand& random) {
    neap_arena* query = neap_arena_create(nullptr, "query", size_t{64} << 20);
    if (query == nullptr) Fail("no arena");
    neap_arena* part = neap_arena_create(query, "part", size_t{32} << 20);
    if (part == nullptr || neap_scope_push(part) != 0) Fail("no arena");
    void* blocks[200];
    for (void*& block : blocks) block = Make(random);
    neap_scope_pop();
    // Some are freed by another thread, some are left to the end of the arena. The thread is made outside the scope:
    // what the C library keeps of it outlives the arena.
    std::thread([&blocks] {
      for (int i = 0; i < 100; ++i) Drop(blocks[i]);
    }).join();
    for (int i = 100; i < 150; ++i) Drop(blocks[i]);
    neap_arena_stats_t stats;
    if (neap_arena_stats(part, &stats) != 0 || stats.live == 0 || stats.resident < stats.live) Fail("absurd figures");
    for (int i = 150; i < 200; ++i) Check(blocks[i]);
    exchange.Work(random, 20);
    if (neap_arena_destroy(query) != 0) Fail("destroy");
    CountRound();
  });
}

void Libraries(Exchange& exchange, const std::string& library) {
  std::thread opener([&] {
    while (!g_stop.load(std::memory_order_relaxed)) {
      void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) Fail(dlerror());
      auto* use = reinterpret_cast<int (*)()>(dlsym(handle, "UseThreadLocals"));
      std::thread([&] {
        if (use == nullptr || use() != 42) Fail("the library does not work");
      }).join();
      if (dlclose(handle) != 0) Fail("dlclose");
      CountRound();
    }
  });
  RunThreads(4, [&](std::minstd_rand& random) { exchange.Work(random, 100); });
  opener.join();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string kind = argv[1];
  const bool all = getenv("NEAP_TEST_ALL") != nullptr;
  auto* exchange = new Exchange;
  std::thread clock([all] {
    std::this_thread::sleep_for(std::chrono::seconds(all ? 60 : 3));
    while (g_rounds < (all ? 1000 : 100)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    g_stop = true;
  });
  neap_stats_t before;
  if (neap_stats(&before) != 0) Fail("neap_stats");
  if (kind == "crossing")
    Crossing(*exchange);
  else if (kind == "churn")
    Churn(*exchange);
  else if (kind == "forks")
    Forks(*exchange);
  else if (kind == "purging")
    Purging(*exchange);
  else if (kind == "arenas")
    Arenas(*exchange);
  else if (kind == "libraries")
    Libraries(*exchange, std::string(argv[0]) + "_library.so");
  else
    return 2;
  clock.join();
  exchange->Empty();
  delete exchange;

  // All is home again: what is live is what was, and what the C library keeps for itself.
  neap_purge();
  neap_stats_t after;
  if (neap_stats(&after) != 0) Fail("neap_stats");
  printf("%s: %zu blocks in %zu rounds; live before %zu, after %zu\n", kind.c_str(), g_blocks.load(), g_rounds.load(),
         static_cast<size_t>(before.live), static_cast<size_t>(after.live));
  if (after.live > before.live + (1u << 20)) Fail("blocks were lost");
  if (after.arenas != 1) Fail("arenas were lost");
  return 0;
}
