// start LIBRARY ROUNDS: what preloading LIBRARY adds to a program that only starts and exits. Time: /bin/true with and
// without, interleaved. Memory: this program itself with and without.
#include <spawn.h>
#include <sys/wait.h>

#include <string>
#include <vector>

#include "bench/measure.h"

namespace bench {
namespace {

void Run(const char* program, const char* argument, const char* preload) {
  const char* environment[] = {preload, nullptr};
  const char* arguments[] = {program, argument, nullptr};
  pid_t pid;
  if (posix_spawn(&pid, program, nullptr, nullptr, const_cast<char**>(arguments), const_cast<char**>(environment)) !=
      0) {
    Die("posix_spawn");
  }
  int status;
  if (waitpid(pid, &status, 0) != pid || status != 0) Die(program);
}

double Median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// The child writes what it is resident with to a pipe that stands at descriptor 9.
int64_t ResidentOf(const char* preload) {
  int ends[2];
  if (pipe(ends) != 0 || dup2(ends[1], 9) != 9) Die("pipe");
  close(ends[1]);
  Run("/proc/self/exe", nullptr, preload);
  int64_t resident = 0;
  if (read(ends[0], &resident, sizeof resident) != sizeof resident) Die("read");
  close(ends[0]);
  close(9);
  return resident;
}

int Main(const std::string& library, int rounds) {
  const std::string preload = library.empty() ? "NONE=" : "LD_PRELOAD=" + library;
  std::vector<double> with, without;
  for (int i = 0; i < rounds; ++i) {
    Timer plain;
    Run("/bin/true", nullptr, "NONE=");
    without.push_back(plain.Wall());
    Timer preloaded;
    Run("/bin/true", nullptr, preload.c_str());
    with.push_back(preloaded.Wall());
  }
  const double added_kib = static_cast<double>(ResidentOf(preload.c_str()) - ResidentOf("NONE=")) / kKiB;
  Report("start", "",
         {{"added_ms", (Median(with) - Median(without)) * 1e3},
          {"plain_ms", Median(without) * 1e3},
          {"added_anonymous_kib", added_kib}});
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc == 3) return bench::Main(argv[1], atoi(argv[2]));
  const int64_t resident = bench::Resident("Anonymous:");
  if (write(9, &resident, sizeof resident) != sizeof resident) bench::Die("usage: start LIBRARY ROUNDS");
  return 0;
}
