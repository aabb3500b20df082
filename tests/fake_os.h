// fake_os.h: the system under the allocator in unit tests. fake_os.cc implements every member of neap::Os over it, at
// link time, in place of os_linux.cc. Time stands still, files are texts, a thread that is started is noted and not
// run, and any call can be refused. Memory is real, so that the kernel itself says which pages are resident.
//
// There is one, as there is one allocator in a process. All of it may be used from any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "alloc/os.h"

namespace neap {

// Whether a kind of call is refused.
class Refusal {
 public:
  void Never() { left_ = kNever; }
  void Always() { left_ = 0; }
  // The n-th call from now (1: the next) and no other.
  void Nth(int64_t n) { left_ = n; }
  // Notes a call and judges it.
  bool Judge();
  int64_t calls() const { return calls_; }

 private:
  static constexpr int64_t kNever = -1;
  std::atomic<int64_t> left_{kNever};
  std::atomic<int64_t> calls_{0};
};

class FakeOs {
 public:
  struct StartedThread {
    void (*run)(void*);
    void* argument;
    std::string name;
    Os::Files files;
  };
  struct HugeAdvice {
    Range range;
    bool huge;
  };
  struct Binding {
    Range range;
    int node;
  };

  // ---- Time. Only these move it.
  std::atomic<uint64_t> monotonic_ns{1'000'000'000}, realtime_ns{1'700'000'000'000'000'000}, cpu_ns{0};
  // The clocks of the wall; the process uses no CPU meanwhile.
  void AdvanceMs(uint64_t ms);
  void UseCpuMs(uint64_t ms) { cpu_ns += ms * 1'000'000; }
  uint64_t huge_touch_ns = 0, thread_cpu_ns = 0;  // from one look at the thread's CPU time to the next

  // ---- Address space.
  Refusal map, release, move_pages;
  // As RLIMIT_AS: a Map that would pass it is refused.
  std::atomic<size_t> address_space{SIZE_MAX};
  size_t MappedBytes();
  // As the kernel sees it, in all that is mapped through Os now; of it that inside a range.
  size_t ResidentBytes();
  static bool IsResident(const void* page);
  static size_t ResidentBytesIn(const void* begin, size_t bytes);
  std::vector<Range> Released();  // since the last Forget, in order
  std::vector<HugeAdvice> Advice();
  std::vector<Binding> Bindings();
  std::vector<Range> Split();
  bool has_huge_pages = false;  // the kernel's own serve, if it has any
  void Forget();

  // ---- CPUs and nodes.
  std::atomic<int> possible_cpus{4}, allowed_cpus{4}, nodes{1}, current_node{0};
  // False: no restartable sequences, so that the caches run in locked mode. True: the kernel's; where it has none, as
  // in an emulator, the sequences run all the same, which is right as long as one thread at a time does.
  std::atomic<bool> real_rseq{false};
  static bool KernelHasRseq();
  std::atomic<bool> concurrency_id{false};  // the kernel's too, where it has one; else a cache is a CPU's
  Refusal fence;

  // ---- Files, by path. A missing one gives -ENOENT.
  void SetFile(const std::string& path, const std::string& text);
  void SetFile(const std::string& path, std::function<std::string()> text);  // asked at every reading
  // The files of a process in a cgroup v2 container: its anonymous memory is what the allocator really holds, and
  // `others` bytes.
  void SetContainer(uint64_t limit, uint64_t others);
  void RemoveFile(const std::string& path);

  // ---- Threads and the process.
  Refusal start_thread;
  std::vector<StartedThread> Threads();
  void SetEnvironment(const std::string& name, const std::string& value);  // before the first allocation
  std::atomic<uint64_t> random_bits{1};
  std::string Errors();  // what was written to stderr

 private:
  friend struct Os;
  std::mutex mutex_;
  std::map<uintptr_t, size_t> mappings_;
  std::vector<Range> released_, split_;
  std::vector<HugeAdvice> advice_;
  std::vector<Binding> bindings_;
  std::map<std::string, std::function<std::string()>> files_;
  std::map<std::string, std::string> environment_;
  std::vector<StartedThread> threads_;
  std::string errors_;
};

FakeOs& Fake();

}  // namespace neap
