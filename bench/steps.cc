// steps SIZE [COUNT] [list]: counts the instructions of malloc and of free by stepping through bench/pair.cc one
// instruction at a time, with LD_PRELOAD as it is set for this program. Nothing else counts the path that programs run:
// virtual machines have no counter for `perf`, and valgrind has no rseq. `list` prints the instructions of one pair.
#include <elf.h>
#include <linux/rseq.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/measure.h"

#if !defined(__x86_64__)
#error "steps.cc reads x86-64 registers and instructions"
#endif

namespace bench {
namespace {

struct Call {
  std::vector<uintptr_t> path;
  size_t locked = 0;  // instructions with a bus lock
};

class Tracee {
 public:
  explicit Tracee(pid_t pid) : pid_(pid) { Wait(); }

  void Continue() {
    if (ptrace(PTRACE_CONT, pid_, 0, 0) != 0) Die("PTRACE_CONT");
    Wait();
  }

  // A stop inside a restartable sequence makes the kernel abort it: without the descriptor it is plain code, and
  // nothing runs beside it that could disturb it.
  void Step(uintptr_t rseq_area) {
    if (rseq_area != 0) {
      const uintptr_t descriptor = rseq_area + offsetof(struct rseq, rseq_cs);
      if (Word(descriptor) != 0) ptrace(PTRACE_POKEDATA, pid_, descriptor, 0);
    }
    if (ptrace(PTRACE_SINGLESTEP, pid_, 0, 0) != 0) Die("PTRACE_SINGLESTEP");
    Wait();
  }

  user_regs_struct Registers() const {
    user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid_, 0, &registers) != 0) Die("PTRACE_GETREGS");
    return registers;
  }

  uint64_t Word(uintptr_t address) const {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, pid_, address, 0);
    if (errno != 0) Die("PTRACE_PEEKDATA");
    return static_cast<uint64_t>(word);
  }

  bool HasLock(uintptr_t address) const {
    const uint64_t low = Word(address), high = Word(address + 8);
    unsigned char code[16];
    memcpy(code, &low, 8);
    memcpy(code + 8, &high, 8);
    size_t at = 0;
    for (; at < 14 && strchr("\x66\xf2\xf3\x2e\x36\x3e\x26\x64\x65", code[at]) != nullptr && code[at] != 0; ++at) {
    }
    if (code[at] == 0xf0) return true;
    if ((code[at] & 0xf0) == 0x40) ++at;                                   // REX
    return (code[at] == 0x86 || code[at] == 0x87) && code[at + 1] < 0xc0;  // xchg with memory locks by itself
  }

 private:
  void Wait() const {
    int status;
    if (waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) Die("the traced program ended");
    if (WSTOPSIG(status) != SIGTRAP) Die("the traced program got a signal");
  }

  pid_t pid_;
};

struct Region {
  uintptr_t low, high, offset;
  std::string path;
};

std::vector<Region> Regions(pid_t pid) {
  std::vector<Region> regions;
  FILE* maps = fopen(("/proc/" + std::to_string(pid) + "/maps").c_str(), "re");
  if (maps == nullptr) Die("maps");
  char line[4096], path[4096];
  while (fgets(line, sizeof line, maps) != nullptr) {
    Region region{};
    path[0] = 0;
    if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %4095s", &region.low, &region.high, &region.offset, path) >= 3) {
      region.path = path;
      regions.push_back(region);
    }
  }
  fclose(maps);
  return regions;
}

const Call& Median(std::vector<Call>& calls) {
  auto middle = calls.begin() + static_cast<std::ptrdiff_t>(calls.size() / 2);
  std::nth_element(calls.begin(), middle, calls.end(),
                   [](const Call& a, const Call& b) { return a.path.size() < b.path.size(); });
  return *middle;
}

double Mean(const std::vector<Call>& calls) {
  size_t sum = 0;
  for (const Call& call : calls) sum += call.path.size();
  return static_cast<double>(sum) / static_cast<double>(calls.size());
}

int Main(std::string size, std::string count, bool list, std::string pair) {
  pid_t pid = fork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    execl(pair.c_str(), pair.c_str(), size.c_str(), count.c_str(), "traced", nullptr);
    Die(pair.c_str());
  }
  Tracee tracee(pid);
  tracee.Continue();  // to the first breakpoint
  const uintptr_t rseq_area = tracee.Registers().rax;
  const std::vector<Region> regions = Regions(pid);
  const auto in_pair = [&](uintptr_t at) {
    for (const Region& region : regions) {
      if (at >= region.low && at < region.high) return region.path == pair;
    }
    return false;
  };

  std::vector<Call> calls[2];  // malloc's, free's
  std::map<uintptr_t, bool> has_lock;
  Call call;
  size_t returned = 0;
  while (returned < 2 * strtoul(count.c_str(), nullptr, 10)) {
    tracee.Step(rseq_area);
    const uintptr_t at = tracee.Registers().rip;
    if (!in_pair(at)) {
      auto [entry, is_new] = has_lock.try_emplace(at);
      if (is_new) entry->second = tracee.HasLock(at);
      call.locked += entry->second;
      call.path.push_back(at);
    } else if (!call.path.empty()) {
      calls[returned++ % 2].push_back(std::exchange(call, {}));
    }
  }
  ptrace(PTRACE_KILL, pid, 0, 0);

  const Call& allocate = Median(calls[0]);
  const Call& release = Median(calls[1]);
  if (list) {
    for (const Call* one : {&allocate, &release}) {
      for (uintptr_t at : one->path) {
        for (const Region& region : regions) {
          if (at >= region.low && at < region.high)
            printf("%s %lx\n", region.path.c_str(), at - region.low + region.offset);
        }
      }
    }
    return 0;
  }
  Report("pair", size.c_str(),
         {{"malloc", static_cast<double>(allocate.path.size())},
          {"free", static_cast<double>(release.path.size())},
          {"instructions", static_cast<double>(allocate.path.size() + release.path.size())},
          {"mean", Mean(calls[0]) + Mean(calls[1])},
          {"locked", static_cast<double>(allocate.locked + release.locked)}});
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc < 2) {
    dprintf(STDERR_FILENO, "usage: steps SIZE [COUNT] [list]\n");
    return 2;
  }
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  std::string folder(self, length > 0 ? static_cast<size_t>(length) : 0);
  folder.resize(folder.rfind('/'));
  return bench::Main(argv[1], argc > 2 ? argv[2] : "200", argc > 3, folder + "/pair");
}
