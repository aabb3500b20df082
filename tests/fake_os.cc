// fake_os.cc: neap::Os over FakeOs. Owned by the unit tests.
#include "tests/fake_os.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "alloc/cache_header.h"

extern "C" {
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
}

namespace neap {
namespace {

constexpr size_t kPage = 4096;
constexpr unsigned long kAtRseqFeatureSize = 27;

// The thread sanitizer has its shadow where the first places of the window are; below this is the program's.
#if defined(__SANITIZE_THREAD__)
constexpr uintptr_t kHighestFixed = uintptr_t{1} << 39;
#else
constexpr uintptr_t kHighestFixed = UINTPTR_MAX;
#endif

// The allocator asked for what no correct allocator asks for.
[[noreturn]] void Impossible(const char* call, const void* address, size_t bytes) {
  fprintf(stderr, "fake_os: %s(%p, %zu) of what is not mapped so\n", call, address, bytes);
  abort();
}

bool Covers(const std::map<uintptr_t, size_t>& mappings, const void* address, size_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  uintptr_t at = begin;
  while (at < begin + bytes) {
    auto next = mappings.upper_bound(at);
    if (next == mappings.begin()) return false;
    --next;
    if (next->first + next->second <= at) return false;
    at = next->first + next->second;
  }
  return begin % kPage == 0;
}

size_t ResidentPages(const void* begin, size_t bytes) {
  std::vector<unsigned char> pages((bytes + kPage - 1) / kPage);
  if (mincore(const_cast<void*>(begin), bytes, pages.data()) != 0) Impossible("ResidentPages", begin, bytes);
  return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }));
}

}  // namespace

FakeOs& Fake() {
  static FakeOs* fake = new FakeOs;  // lives as long as the allocator: past exit handlers
  return *fake;
}

bool Refusal::Judge() {
  ++calls_;
  int64_t left = left_;
  if (left == 0) return true;
  if (left < 0) return false;
  left_ = left == 1 ? kNever : left - 1;
  return left == 1;
}

// ---- What tests ask.

void FakeOs::AdvanceMs(uint64_t ms) {
  monotonic_ns += ms * 1'000'000;
  realtime_ns += ms * 1'000'000;
}

size_t FakeOs::MappedBytes() {
  std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& [begin, length] : mappings_) bytes += length;
  return bytes;
}

size_t FakeOs::ResidentBytes() {
  std::lock_guard lock(mutex_);
  size_t pages = 0;
  for (const auto& [begin, length] : mappings_) pages += ResidentPages(reinterpret_cast<void*>(begin), length);
  return pages * kPage;
}

bool FakeOs::IsResident(const void* page) {
  return ResidentBytesIn(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(page) & ~(kPage - 1)), kPage) != 0;
}

// The window has gaps where something else was mapped before.
size_t FakeOs::ResidentBytesIn(const void* begin, size_t bytes) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin);
  size_t pages = 0;
  for (const auto& [start, length] : fake.mappings_) {
    const uintptr_t from = std::max(start, first), to = std::min(start + length, first + bytes);
    if (from < to) pages += ResidentPages(reinterpret_cast<void*>(from), to - from);
  }
  return pages * kPage;
}

std::vector<Range> FakeOs::Released() {
  std::lock_guard lock(mutex_);
  return released_;
}

std::vector<FakeOs::HugeAdvice> FakeOs::Advice() {
  std::lock_guard lock(mutex_);
  return advice_;
}

std::vector<FakeOs::Binding> FakeOs::Bindings() {
  std::lock_guard lock(mutex_);
  return bindings_;
}

std::vector<Range> FakeOs::Split() {
  std::lock_guard lock(mutex_);
  return split_;
}

void FakeOs::Forget() {
  std::lock_guard lock(mutex_);
  released_.clear();
  advice_.clear();
  bindings_.clear();
  split_.clear();
}

void FakeOs::SetFile(const std::string& path, const std::string& text) {
  SetFile(path, [text] { return text; });
}

void FakeOs::SetFile(const std::string& path, std::function<std::string()> text) {
  std::lock_guard lock(mutex_);
  files_[path] = std::move(text);
}

void FakeOs::SetContainer(uint64_t limit, uint64_t others) {
  SetFile("/proc/self/cgroup", "0::/box\n");
  SetFile("/proc/self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  SetFile("/proc/self/statm",
          [this] { return "9999999 " + std::to_string(ResidentBytes() / kPage) + " 0 5 0 123 0\n"; });
  SetFile("/cg/box/cgroup.stat", "nr_descendants 0\n");
  SetFile("/cg/box/memory.max", std::to_string(limit) + "\n");
  SetFile("/cg/box/memory.high", "max\n");
  SetFile("/cg/box/memory.stat",
          [this, others] { return "anon " + std::to_string(ResidentBytes() + others) + "\nfile 0\n"; });
  SetFile("/cg/box/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
}

void FakeOs::RemoveFile(const std::string& path) {
  std::lock_guard lock(mutex_);
  files_.erase(path);
}

std::vector<FakeOs::StartedThread> FakeOs::Threads() {
  std::lock_guard lock(mutex_);
  return threads_;
}

void FakeOs::SetEnvironment(const std::string& name, const std::string& value) {
  std::lock_guard lock(mutex_);
  environment_[name] = value;
}

std::string FakeOs::Errors() {
  std::lock_guard lock(mutex_);
  return errors_;
}

// ---- Address space.

void* Os::Map(void* address, size_t bytes) {
  FakeOs& fake = Fake();
  const uintptr_t wanted = reinterpret_cast<uintptr_t>(address);
  if (fake.map.Judge() || bytes == 0 || wanted % kPage != 0) return nullptr;
  if (wanted > kHighestFixed || bytes > SIZE_MAX - kPage) return nullptr;
  bytes = (bytes + kPage - 1) & ~(kPage - 1);
  std::lock_guard lock(fake.mutex_);
  size_t mapped = 0;
  for (const auto& [begin, length] : fake.mappings_) mapped += length;
  if (bytes > fake.address_space || mapped > fake.address_space - bytes) return nullptr;
  const int fixed = address != nullptr ? MAP_FIXED_NOREPLACE : 0;
  void* memory =
      mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (address != nullptr && memory != address) {  // what does not know the flag takes the address for a hint
    munmap(memory, bytes);
    return nullptr;
  }
  fake.mappings_[reinterpret_cast<uintptr_t>(memory)] = bytes;
  return memory;
}

void Os::Unmap(void* address, size_t bytes) {
  FakeOs& fake = Fake();
  bytes = (bytes + kPage - 1) & ~(kPage - 1);
  std::lock_guard lock(fake.mutex_);
  auto mapping = fake.mappings_.find(reinterpret_cast<uintptr_t>(address));
  if (mapping == fake.mappings_.end() || mapping->second != bytes) Impossible("Unmap", address, bytes);
  fake.mappings_.erase(mapping);
  munmap(address, bytes);
}

void* Os::MapWipedOnFork() { return nullptr; }  // tests/fork_test.cc runs on the real system

int Os::MovePages(void* from, size_t bytes, void* to) {
  FakeOs& fake = Fake();
  if (fake.move_pages.Judge()) return -EINVAL;
  std::lock_guard lock(fake.mutex_);
  if (!Covers(fake.mappings_, from, bytes)) Impossible("MovePages from", from, bytes);
  if (!Covers(fake.mappings_, to, bytes)) Impossible("MovePages to", to, bytes);
  // By copying: an emulator of another processor takes the pages' old place for unmapped after a real move.
  madvise(to, bytes, MADV_DONTNEED);
  for (size_t at = 0; at < bytes; at += kPageSize) {
    unsigned char resident = 0;
    mincore(static_cast<char*>(from) + at, kPageSize, &resident);
    if ((resident & 1) != 0) memcpy(static_cast<char*>(to) + at, static_cast<char*>(from) + at, kPageSize);
  }
  madvise(from, bytes, MADV_DONTNEED);
  return 0;
}

size_t Os::Release(const Range* ranges, size_t count) {
  FakeOs& fake = Fake();
  const bool refused = fake.release.Judge();
  std::lock_guard lock(fake.mutex_);
  size_t released = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!Covers(fake.mappings_, ranges[i].begin, ranges[i].bytes)) {
      Impossible("Release", ranges[i].begin, ranges[i].bytes);
    }
    if (refused) {
      memset(ranges[i].begin, 0, ranges[i].bytes);
      continue;
    }
    madvise(ranges[i].begin, ranges[i].bytes, MADV_DONTNEED);
    fake.released_.push_back(ranges[i]);
    released += ranges[i].bytes;
  }
  return released;
}

void Os::SplitHuge(void* address, size_t bytes) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  if (!Covers(fake.mappings_, address, bytes)) Impossible("SplitHuge", address, bytes);
  fake.split_.push_back({address, bytes});
}

size_t Os::ResidentPages(void* address, size_t pages) { return neap::ResidentPages(address, pages * kPage); }

// Huge pages would blur which pages are resident: the wish is noted and the kernel is not told.
void Os::SetHuge(void* address, size_t bytes, bool huge) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  if (huge && !Covers(fake.mappings_, address, bytes)) Impossible("SetHuge", address, bytes);
  fake.advice_.push_back({{address, bytes}, huge});
  madvise(address, bytes, huge && fake.has_huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void Os::BindToNode(void* address, size_t bytes, int node) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  if (!Covers(fake.mappings_, address, bytes)) Impossible("BindToNode", address, bytes);
  fake.bindings_.push_back({{address, bytes}, node});
}

// ---- Time.

uint64_t Os::MonotonicNs() { return Fake().monotonic_ns; }
uint64_t Os::RealtimeNs() { return Fake().realtime_ns; }
uint64_t Os::ProcessCpuNs() { return Fake().cpu_ns; }
uint64_t Os::ThreadCpuNs() { return Fake().thread_cpu_ns += Fake().huge_touch_ns; }

// ---- CPUs and nodes.

int Os::PossibleCpus() {
  return Fake().real_rseq ? static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)) : Fake().possible_cpus.load();
}
int Os::AllowedCpus() { return Fake().allowed_cpus; }
int Os::NodeCount() { return Fake().nodes; }
int Os::CurrentNode() { return Fake().current_node; }

bool FakeOs::KernelHasRseq() { return &__rseq_size != nullptr && __rseq_size != 0; }

ptrdiff_t Os::RseqOffset() {
  alignas(kRseqBytes) static thread_local constinit char stand_in[kRseqBytes] = {};
  if (!Fake().real_rseq) return 0;
  return FakeOs::KernelHasRseq() ? __rseq_offset : stand_in - static_cast<char*>(__builtin_thread_pointer());
}

bool Os::RseqHasConcurrencyId() {
  return Fake().concurrency_id && getauxval(kAtRseqFeatureSize) >= static_cast<unsigned long>(kRseqMmCid) + 4;
}

int Os::FenceRseq() {
  FakeOs& fake = Fake();
  if (fake.fence.Judge()) return -EPERM;
  if (!fake.real_rseq || !FakeOs::KernelHasRseq()) return 0;
  syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0);
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0 ? 0 : -errno;
}

// ---- Files.

long Os::ReadFile(const char* path, char* buffer, size_t size) {
  FakeOs& fake = Fake();
  std::function<std::string()> ask;
  {
    std::lock_guard lock(fake.mutex_);
    auto file = fake.files_.find(path);
    if (file == fake.files_.end()) return -ENOENT;
    ask = file->second;
  }
  const std::string text = ask();
  const size_t length = std::min(size - 1, text.size());
  memcpy(buffer, text.data(), length);
  buffer[length] = 0;
  return static_cast<long>(length);
}

void Os::ForEachLine(const char*, bool (*)(void*, const char*), void*) {}
bool Os::ReadMemory(const void* address, void* buffer, size_t size) {
  memcpy(buffer, address, size);
  return true;
}

// No directory can be written.
void* Os::MapSharedFile(const char*, size_t, size_t) { return nullptr; }
bool Os::Populate(void*, size_t) { return true; }

void Os::ForEachFile(const char* directory, bool (*visit)(void*, const char*), void* context) {
  FakeOs& fake = Fake();
  const std::string prefix = std::string(directory) + "/";
  std::set<std::string> names;
  {
    std::lock_guard lock(fake.mutex_);
    for (const auto& [path, text] : fake.files_) {
      if (path.starts_with(prefix))
        names.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
    }
  }
  for (const std::string& name : names) {
    if (!visit(context, name.c_str())) return;
  }
}

int Os::UnlinkFile(const char*) { return -EROFS; }
int Os::OpenForEvents(const char*, const char*) { return -EROFS; }
int Os::OpenEventFd() { return -EMFILE; }
int Os::WaitForEvents(const int*, size_t, uint64_t) { return -EINVAL; }
void Os::CloseFd(int) {}

// ---- Threads. Those that the test has made are real, and so are their waits.

int Os::FutexWait(uint32_t* word, uint32_t expected, uint64_t timeout_ns, bool shared) {
  const timespec timeout = {static_cast<time_t>(timeout_ns / 1'000'000'000),
                            static_cast<long>(timeout_ns % 1'000'000'000)};
  const long result = syscall(SYS_futex, word, shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, expected,
                              timeout_ns == UINT64_MAX ? nullptr : &timeout, nullptr, 0);
  return result == 0 ? 0 : -errno;
}

void Os::FutexWake(uint32_t* word, int count, bool shared) {
  syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

uint32_t Os::ThreadId() { return static_cast<uint32_t>(gettid()); }
bool Os::IsLoader(const void*) { return false; }
void Os::ForEachThread(void (*)(void*, uint64_t), void*) {}
bool Os::IsProgram(const void*) { return true; }

uint32_t Os::ProcessId() { return static_cast<uint32_t>(getpid()); }
bool Os::ProcessRuns(uint32_t) { return false; }
uint64_t Os::PidNamespace() { return 0; }

// No thread of a test ends while the allocator is in use.
void Os::CallAtThreadEnd(void (*)(void*)) {}

int Os::StartThread(void (*run)(void*), void* argument, const char* name, Files files) {
  FakeOs& fake = Fake();
  if (fake.start_thread.Judge()) return -EAGAIN;
  std::lock_guard lock(fake.mutex_);
  fake.threads_.push_back({run, argument, name, files});
  return 0;
}

// ---- The process.

const char* Os::Environment(const char* name) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  auto variable = fake.environment_.find(name);
  return variable == fake.environment_.end() ? nullptr : variable->second.c_str();
}

void Os::ForEachVariable(void (*visit)(const char* variable)) {
  FakeOs& fake = Fake();
  std::vector<std::string> variables;
  {
    std::lock_guard lock(fake.mutex_);
    for (const auto& [name, value] : fake.environment_) variables.push_back(name + "=" + value);
  }
  for (const std::string& variable : variables) visit(variable.c_str());
}

uint64_t Os::RandomBits() { return Fake().random_bits; }

void Os::WriteError(const char* text, size_t length) {
  FakeOs& fake = Fake();
  std::lock_guard lock(fake.mutex_);
  fake.errors_.append(text, length);
  (void)!write(STDERR_FILENO, text, length);
}

void Os::Abort() { abort(); }

}  // namespace neap
