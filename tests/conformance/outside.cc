// The cases' common ground: patterns, readings of /proc, children, and the workout that hostile surroundings must bear.
#include "outside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>
#include <vector>

namespace outside {
namespace {

// The first number behind `key` in a file of /proc, without allocating.
size_t NumberIn(const char* file, const char* key) {
  char text[4096];
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  const char* at = strstr(text, key);
  return at == nullptr ? 0 : strtoull(at + strlen(key), nullptr, 10);
}

// The pattern at an offset: differs from word to word and from seed to seed.
uint64_t Word(uint64_t seed, size_t at) { return (seed + 1) * 0x9e3779b97f4a7c15u + at * 0x0101010101u; }

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// One thread's part: blocks of every kind, of `most` bytes at most, `live` of them at a time. 0 or what was wrong.
int Churn(uint64_t seed, size_t most, size_t live, int steps, bool may_run_out) {
  struct Held {
    unsigned char* block;
    size_t size;
  };
  Random random(seed);
  std::unique_ptr<Held[]> held(new Held[live]());
  for (int step = 0; step < steps; ++step) {
    Held& slot = held[random.Below(live)];
    uint64_t tag = seed + static_cast<uint64_t>(&slot - held.get());
    if (slot.block != nullptr && !Holds(slot.block, slot.size, tag)) return 1;
    size_t size = random.Size(most);
    unsigned char* block = nullptr;
    switch (random.Below(5)) {
      case 0:
        block = static_cast<unsigned char*>(realloc(slot.block, size));
        if (block != nullptr && slot.block != nullptr && !Holds(block, size < slot.size ? size : slot.size, tag)) {
          return 2;
        }
        if (block != nullptr) slot.block = nullptr;
        break;
      case 1:
        block = static_cast<unsigned char*>(calloc(1, size));
        if (block != nullptr && !IsZero(block, size)) return 3;
        break;
      case 2: {
        size_t alignment = size_t{8} << random.Below(10);
        void* aligned = nullptr;
        if (posix_memalign(&aligned, alignment, size) == 0 && !IsAligned(aligned, alignment)) return 4;
        block = static_cast<unsigned char*>(aligned);
        break;
      }
      default:
        block = static_cast<unsigned char*>(malloc(size));
    }
    if (block == nullptr && !may_run_out) return 5;
    free(slot.block);
    slot = {block, block == nullptr ? 0 : size};
    if (block != nullptr) Fill(block, size, tag);
  }
  for (size_t i = 0; i < live; ++i) {
    if (held[i].block != nullptr && !Holds(held[i].block, held[i].size, seed + i)) return 6;
    free(held[i].block);
  }
  return 0;
}

// Takes blocks of `size` until there are no more, then frees them all; twice, for what was freed must serve again.
int Exhaust(size_t size) {
  size_t first = 0;
  for (int round = 0; round < 2; ++round) {
    void** last = nullptr;
    size_t count = 0;
    for (;; ++count) {
      errno = 0;
      void** block = static_cast<void**>(Hidden(malloc(size)));
      if (block == nullptr) break;
      *block = last;
      last = block;
    }
    if (errno != ENOMEM) return 11;
    while (last != nullptr) {
      void** next = static_cast<void**>(*last);
      free(last);
      last = next;
    }
    if (count == 0) return 12;
    if (round == 0) first = count;
    if (round == 1 && count < first / 2) return 13;
  }
  return 0;
}

int Threads() {
  constexpr int kThreads = 8;
  pthread_t threads[kThreads];
  int started = 0;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * kKiB);  // under a limit on address space stacks are dear
  for (long i = 0; i < kThreads; ++i) {
    auto body = +[](void* number) -> void* {
      long seed = reinterpret_cast<long>(number);
      return reinterpret_cast<void*>(
          static_cast<long>(Churn(static_cast<uint64_t>(seed), 32 * kKiB, 200, 5000, false)));
    };
    if (pthread_create(&threads[i], &attributes, body, reinterpret_cast<void*>(i + 1)) != 0) break;
    ++started;
  }
  if (started == 0) return 21;  // a limit may leave room for fewer than all
  long wrong = 0;
  for (int i = 0; i < started; ++i) {
    void* result = nullptr;
    pthread_join(threads[i], &result);
    if (result != nullptr) wrong = reinterpret_cast<long>(result);
  }
  return static_cast<int>(wrong);
}

// Leaves work for whoever gives back in the background, so that its thread is there.
void Burst() {
  constexpr size_t kBlocks = 100'000;
  std::unique_ptr<void*[]> blocks(new void*[kBlocks]);
  for (size_t i = 0; i < kBlocks; ++i) memset(blocks[i] = malloc(500), 1, 500);
  for (size_t i = 0; i < kBlocks; ++i) free(blocks[i]);
}

// Ends the main thread, and the process by exit in another thread or by the end of its last thread. Does not return.
[[noreturn]] void EndInThreads(const std::string& name) {
  void* (*body)(void*) = [](void*) -> void* { exit(Workout("small")); };
  if (name == "end-main-last") {
    body = [](void*) -> void* { return nullptr; };
  } else if (name == "end-thread-last") {
    body = [](void*) -> void* {
      usleep(50'000);
      return nullptr;
    };
  } else if (name == "end-forked-thread") {
    body = [](void*) -> void* {
      pid_t child = fork();
      if (child == 0) {
        Burst();
        return nullptr;
      }
      int status = 0;
      waitpid(child, &status, 0);
      exit(status == 0 ? 0 : 32);
    };
  }
  Burst();
  pthread_t thread;
  if (pthread_create(&thread, nullptr, body, nullptr) != 0) _exit(31);
  if (name == "end-main-last") pthread_join(thread, nullptr);
  pthread_exit(nullptr);
}

}  // namespace

void Fill(void* block, size_t size, uint64_t seed) {
  auto* bytes = static_cast<unsigned char*>(block);
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    uint64_t word = Word(seed, at);
    memcpy(bytes + at, &word, std::min(sizeof word, size - at));
  }
}

bool Holds(const void* block, size_t size, uint64_t seed) {
  auto* bytes = static_cast<const unsigned char*>(block);
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    uint64_t word = Word(seed, at);
    if (memcmp(bytes + at, &word, std::min(sizeof word, size - at)) != 0) return false;
  }
  return true;
}

bool IsZero(const void* block, size_t size) {
  auto* bytes = static_cast<const unsigned char*>(block);
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

size_t Resident() { return NumberIn("/proc/self/status", "VmRSS:") * kKiB; }
size_t PeakResident() { return NumberIn("/proc/self/status", "VmHWM:") * kKiB; }

bool OnNeap() { return dlsym(RTLD_DEFAULT, "neap_stats") != nullptr; }

bool OnGlibc() {
  Dl_info info;
  return dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) != 0 && strstr(info.dli_fname, "/libc.so.6") != nullptr;
}

int Rounds(int usual) { return getenv("NEAP_TEST_ALL") == nullptr ? usual : usual * 10; }

const std::string& ProgramPath() {
  static const std::string path = [] {
    char text[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", text, sizeof text);
    return std::string(text, length > 0 ? static_cast<size_t>(length) : 0);
  }();
  return path;
}

std::string Beside(const std::string& name) { return ProgramPath().substr(0, ProgramPath().rfind('/') + 1) + name; }

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  out << (outcome.hung ? "hung" : outcome.signaled ? "signal " : "exit ");
  if (!outcome.hung) out << outcome.code;
  return out << ", output: " << outcome.output;
}

Outcome InChild(const std::function<int()>& body, int seconds) {
  Outcome outcome;
  int ends[2];
  if (pipe(ends) != 0) abort();
  pid_t child = fork();
  if (child < 0) abort();
  if (child == 0) {
    setpgid(0, 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    _exit(body());
  }
  close(ends[1]);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  int status = 0;
  for (double end = Now() + seconds; waitpid(child, &status, WNOHANG) == 0;) {
    if (Now() > end) {
      outcome.hung = true;
      kill(-child, SIGKILL);
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      break;
    }
    pollfd waiting = {ends[0], POLLIN, 0};
    poll(&waiting, 1, 5);
    char text[4096];
    ssize_t length = read(ends[0], text, sizeof text);
    if (length > 0 && outcome.output.size() < 64 * kKiB) outcome.output.append(text, static_cast<size_t>(length));
    if (length == 0) usleep(1000);
  }
  char text[4096];
  for (ssize_t length; (length = read(ends[0], text, sizeof text)) > 0;) {
    if (outcome.output.size() < 64 * kKiB) outcome.output.append(text, static_cast<size_t>(length));
  }
  close(ends[0]);
  outcome.signaled = WIFSIGNALED(status);
  outcome.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  return outcome;
}

Outcome Anew(const std::string& workout, const std::function<bool()>& prepare, int seconds) {
  std::string program = ProgramPath();
  std::string argument = "--workout=" + workout;
  return InChild(
      [&] {
        if (!prepare()) return kMayNot;
        execl(program.c_str(), program.c_str(), argument.c_str(), static_cast<char*>(nullptr));
        return 99;
      },
      seconds);
}

int Workout(const std::string& name) {
  if (name == "nothing") return 0;
  if (name == "without-main" || name.rfind("end-", 0) == 0) EndInThreads(name);
  if (name == "exhaust") return Exhaust(40) + Exhaust(5000) + Exhaust(kMiB);
  if (int wrong = Churn(7, 16 * kKiB, 100, 20000, false)) return wrong;
  if (name == "small") return 0;
  if (int wrong = Churn(8, 4 * kMiB, 10, 200, false)) return wrong;
  return name == "threads" ? Threads() : 0;
}

}  // namespace outside

int main(int argc, char** argv) {
  rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  constexpr char kWorkout[] = "--workout=";
  if (argc == 2 && strncmp(argv[1], kWorkout, sizeof kWorkout - 1) == 0) {
    return outside::Workout(argv[1] + sizeof kWorkout - 1);
  }
  testing::InitGoogleTest(&argc, argv);
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  return RUN_ALL_TESTS();
}
