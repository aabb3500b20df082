// main.cc: makes cases, runs each in a process of its own, and makes those that fail small.
//
//     neap_fuzz                 cases for 15 s (NEAP_TEST_ALL=1: for 10 min), from a seed that is printed
//     neap_fuzz --seed N        the same, from that seed
//     neap_fuzz FILE...         cases that were kept: hexadecimal digits, as printed when one is found
//
// exit 0: all was well; 1: a case failed. It is printed, to be kept in tests/fuzz/cases.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/program.h"

namespace {

using Case = std::vector<uint8_t>;

// Whether the case runs well. A case that hangs is ended by its alarm.
bool Runs(const Case& bytes, bool quiet) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (quiet) dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    alarm(60);
    neap_fuzz::Run(bytes.data(), bytes.size());
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

Case Make(std::mt19937_64& random) {
  Case bytes(200 + random() % 4000);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Leaves out what the failure does not need.
Case Smaller(Case bytes) {
  for (size_t piece = bytes.size() / 2; piece > 0; piece /= 2) {
    for (size_t at = 1; at + piece <= bytes.size();) {
      Case shorter(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(at));
      shorter.insert(shorter.end(), bytes.begin() + static_cast<ptrdiff_t>(at + piece), bytes.end());
      if (Runs(shorter, true))
        at += piece;
      else
        bytes = shorter;
    }
  }
  return bytes;
}

int RunKept(int count, char** files) {
  int failed = 0;
  for (int i = 0; i < count; ++i) {
    std::ifstream file(files[i]);
    Case bytes;
    char digits[3] = {};
    while (file >> digits[0] >> digits[1]) bytes.push_back(static_cast<uint8_t>(strtoul(digits, nullptr, 16)));
    if (bytes.empty() || !Runs(bytes, false)) {
      printf("%s fails\n", files[i]);
      ++failed;
    }
  }
  printf("%d kept cases, %d failed\n", count, failed);
  return failed != 0;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = std::random_device()();
  if (argc == 3 && strcmp(argv[1], "--seed") == 0)
    seed = strtoull(argv[2], nullptr, 10);
  else if (argc > 1)
    return RunKept(argc - 1, argv + 1);
  const std::chrono::seconds length(getenv("NEAP_TEST_ALL") != nullptr ? 600 : 15);
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const auto end = std::chrono::steady_clock::now() + length;
  size_t cases = 0, operations = 0;
  for (; std::chrono::steady_clock::now() < end; ++cases) {
    const Case bytes = Make(random);
    operations += bytes.size();
    if (Runs(bytes, true)) continue;
    const Case smaller = Smaller(bytes);
    Runs(smaller, false);
    printf("fails, as %zu bytes:\n", smaller.size());
    for (uint8_t byte : smaller) printf("%02x", byte);
    printf("\n");
    return 1;
  }
  printf("%zu cases, %zu bytes: all well\n", cases, operations);
  return cases == 0;
}
