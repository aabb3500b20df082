// libsampler.so: preloaded by bench/profile, where the machine has no counters for `perf`. Every few milliseconds of
// the process's CPU time it notes where the program stands, and at exit it writes the addresses with the map of the
// process to $BENCH_SAMPLES. A system call's time stands at its instruction.
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include <atomic>

#include "bench/measure.h"

namespace bench {
namespace {

std::span<uintptr_t> samples;
std::atomic<size_t> count{0};

void Note(int, siginfo_t*, void* context) {
  const mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  const auto at = static_cast<uintptr_t>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  const uintptr_t at = machine.pc;
#endif
  const size_t index = count.fetch_add(1, std::memory_order_relaxed);
  if (index < samples.size()) samples[index] = at;
}

__attribute__((constructor)) void Start() {
  samples = Map<uintptr_t>(1 << 20);
  struct sigaction action {};
  action.sa_sigaction = Note;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGPROF, &action, nullptr);
  const itimerval every{{0, 1000}, {0, 1000}};
  setitimer(ITIMER_PROF, &every, nullptr);
}

__attribute__((destructor)) void Write() {
  const itimerval never{};
  setitimer(ITIMER_PROF, &never, nullptr);
  const char* path = getenv("BENCH_SAMPLES");
  const int out = path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out < 0) return;
  for (size_t i = 0; i < std::min(count.load(), samples.size()); ++i) dprintf(out, "%lx\n", samples[i]);
  char text[4096];
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  for (ssize_t got; (got = read(maps, text, sizeof text)) > 0;) {
    if (write(out, text, static_cast<size_t>(got)) != got) break;
  }
  close(maps);
  close(out);
}

}  // namespace
}  // namespace bench
