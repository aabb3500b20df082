// memory_program.cc: an ordinary program that holds memory by order, one order a line on its standard input, one answer
// a line. It knows nothing of neap; tests preload neap into it.
//
//   grow MIB [THREADS]        blocks of 16 B to 64 KiB, log-uniform, all touched   "ok", or "null" and errno
//   shrink PERCENT            frees that share of the blocks, at random            "ok"
//   churn ROUNDS MIB          grows by that much and frees it again                "ok", or "null" and errno
//   bursts ROUNDS MIB THREADS each with another mix of sizes; one block in 500 lives on
//   anon                      resident anonymous MiB of the process
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kMiB = 1 << 20;

struct Block {
  unsigned char* bytes;
  size_t size;
};
using Blocks = std::vector<Block>;

// Log-uniform between the two.
size_t DrawSize(std::mt19937_64& random, double least, double most) {
  double exponent = std::uniform_real_distribution<>(std::log(least), std::log(most))(random);
  return static_cast<size_t>(std::exp(exponent));
}

// Errno of the first refusal, or 0. What a block holds tells of its address and size, to be checked when it is freed.
int Grow(Blocks* blocks, size_t bytes, std::mt19937_64& random, double least, double most) {
  for (size_t got = 0; got < bytes;) {
    size_t size = DrawSize(random, least, most);
    auto* block = static_cast<unsigned char*>(malloc(size));
    if (block == nullptr) return errno;
    memset(block, static_cast<int>(size * 31), size);
    try {
      blocks->push_back({block, size});
    } catch (const std::bad_alloc&) {
      free(block);
      return errno;
    }
    got += size;
  }
  return 0;
}

void Drop(const Block& block) {
  auto mark = static_cast<unsigned char>(block.size * 31);
  if (block.bytes[0] != mark || block.bytes[block.size - 1] != mark || block.bytes[block.size / 2] != mark) {
    fprintf(stderr, "memory_program: a block was overwritten\n");
    abort();
  }
  free(block.bytes);
}

// Frees all but one in `keep_one_in` of the blocks (0: all), in random order.
void Shed(Blocks* blocks, size_t keep_one_in, std::mt19937_64& random) {
  std::shuffle(blocks->begin(), blocks->end(), random);
  size_t kept = 0;
  for (size_t i = 0; i < blocks->size(); ++i) {
    if (keep_one_in != 0 && i % keep_one_in == 0) {
      (*blocks)[kept++] = (*blocks)[i];
    } else {
      Drop((*blocks)[i]);
    }
  }
  blocks->resize(kept);
}

// Lists are moved and never joined: at the limit there may be no room for that.
class Holder {
 public:
  Holder() { lists_.reserve(4096); }

  int GrowOn(size_t bytes, size_t threads) {
    return OnThreads(threads, [&](Blocks* list, std::mt19937_64& random) {
      return Grow(list, bytes / threads, random, 16, 64 * 1024);
    });
  }

  void Shrink(size_t percent) {
    for (Blocks& list : lists_) {
      std::shuffle(list.begin(), list.end(), random_);
      for (size_t count = list.size() * percent / 100; count > 0; --count) {
        Drop(list.back());
        list.pop_back();
      }
      if (list.empty()) Blocks().swap(list);
    }
  }

  int Churn(size_t rounds, size_t bytes) {
    Blocks list;
    int error = 0;
    for (size_t round = 0; round < rounds && error == 0; ++round) {
      error = Grow(&list, bytes, random_, 16, 64 * 1024);
      Shed(&list, 0, random_);
    }
    return error;
  }

  int Bursts(size_t rounds, size_t bytes, size_t threads) {
    constexpr double kMixes[][2] = {{16, 1024}, {1024, 256 * 1024}, {16, 64 * 1024}, {4096, 2e6}, {48, 512}};
    int error = 0;
    for (size_t round = 0; round < rounds && error == 0; ++round) {
      const double* mix = kMixes[round % std::size(kMixes)];
      error = OnThreads(threads, [&](Blocks* list, std::mt19937_64& random) {
        int refused = Grow(list, bytes / threads, random, mix[0], mix[1]);
        Shed(list, 500, random);
        Blocks(*list).swap(*list);  // the few survivors in a list of their own size
        return refused;
      });
    }
    return error;
  }

 private:
  // Runs on new threads, each with a new list; the first error or 0.
  template <class Body>
  int OnThreads(size_t threads, Body body) {
    size_t first = lists_.size();
    lists_.resize(first + threads);
    std::atomic<int> error = 0;
    std::vector<std::thread> running;
    for (size_t t = 0; t < threads; ++t) {
      running.emplace_back([&, list = &lists_[first + t], seed = random_()] {
        std::mt19937_64 random(seed);
        if (int refused = body(list, random)) error = refused;
      });
    }
    for (std::thread& thread : running) thread.join();
    return error;
  }

  std::vector<Blocks> lists_;
  std::mt19937_64 random_{42};
};

long AnonMiB() {
  FILE* status = fopen("/proc/self/status", "r");
  char line[256];
  long kib = -1;
  while (status != nullptr && fgets(line, sizeof(line), status) != nullptr) sscanf(line, "RssAnon: %ld", &kib);
  if (status != nullptr) fclose(status);
  return kib / 1024;
}

void Answer(int error) {
  if (error == 0) {
    puts("ok");
  } else {
    printf("null %s\n", error == ENOMEM ? "ENOMEM" : strerror(error));
  }
}

}  // namespace

int main() {
  setvbuf(stdout, nullptr, _IOLBF, 4096);
  Holder holder;
  char line[256];
  while (fgets(line, sizeof(line), stdin) != nullptr) {
    char order[32] = "";
    size_t a = 0, b = 0, c = 1;
    int words = sscanf(line, "%31s %zu %zu %zu", order, &a, &b, &c);
    std::string what = order;
    if (what == "grow") {
      Answer(holder.GrowOn(a * kMiB, words > 2 ? b : 1));
    } else if (what == "shrink") {
      holder.Shrink(a);
      Answer(0);
    } else if (what == "churn") {
      Answer(holder.Churn(a, b * kMiB));
    } else if (what == "bursts") {
      Answer(holder.Bursts(a, b * kMiB, c));
    } else if (what == "anon") {
      printf("%ld\n", AnonMiB());
    } else {
      fprintf(stderr, "memory_program: unknown order: %s", line);
      return 2;
    }
  }
  return 0;
}
