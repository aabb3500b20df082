// os_linux.cc: Os on Linux, through glibc's thin wrappers. The only file of alloc/ with system calls in it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "alloc/cache_header.h"
#include "alloc/os.h"

extern "C" {
// Of glibc 2.35 and later.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
extern void* __libc_stack_end;  // what the kernel left on the first stack
}

namespace neap {
namespace {

// Newer than the headers of the systems that this is built on.
constexpr int kMadvPopulateWrite = 23;
constexpr int kMadvDontneedLocked = 24;
constexpr int kPidfdSelfProcess = -10001;  // PIDFD_SELF_THREAD_GROUP
constexpr int kMremapDontunmap = 4;
constexpr unsigned long kAtRseqFeatureSize = 27;
constexpr unsigned kCloseRangeUnshare = 2;

class KeepErrno {
 public:
  KeepErrno() : errno_(errno) {}
  ~KeepErrno() { errno = errno_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int errno_;
};

// Not through the C library's functions of that name: those are cancellation points, and malloc is none.
int Open(const char* path, int flags) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600));
}
long Read(int fd, void* buffer, size_t size) { return syscall(SYS_read, fd, buffer, size); }
long Write(int fd, const void* buffer, size_t size) { return syscall(SYS_write, fd, buffer, size); }
void Close(int fd) { syscall(SYS_close, fd); }

uint64_t Nanoseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

timespec ToTimespec(uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// The highest number in a list like "0-3,8-11", or -1.
int HighestInList(const char* path) {
  char text[512] = "";
  if (Os::ReadFile(path, text, sizeof(text)) <= 0) return -1;
  int highest = -1, number = -1;
  for (const char* c = text;; ++c) {
    if (*c >= '0' && *c <= '9') {
      number = (number < 0 ? 0 : number * 10) + (*c - '0');
    } else {
      if (number > highest) highest = number;
      number = -1;
      if (*c == 0) return highest;
    }
  }
}

size_t ReleaseOne(const Range& range) {
  if (madvise(range.begin, range.bytes, MADV_DONTNEED) == 0) return range.bytes;
  if (errno == EINVAL && madvise(range.begin, range.bytes, kMadvDontneedLocked) == 0) return range.bytes;
  memset(range.begin, 0, range.bytes);
  return 0;
}

}  // namespace

// ---- Address space.

void* Os::Map(void* address, size_t bytes) {
  KeepErrno keep;
  const int fixed = address != nullptr ? MAP_FIXED_NOREPLACE : 0;
  void* memory = mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (address != nullptr && memory != address) {  // a kernel before 4.17 takes the address for a hint
    munmap(memory, bytes);
    return nullptr;
  }
  return memory;
}

void Os::Unmap(void* address, size_t bytes) {
  KeepErrno keep;
  munmap(address, bytes);
}

void* Os::MapWipedOnFork() {
  KeepErrno keep;
  void* page = Map(nullptr, kPageSize);
  if (page != nullptr && madvise(page, kPageSize, MADV_WIPEONFORK) != 0) {
    Unmap(page, kPageSize);
    return nullptr;
  }
  return page;
}

int Os::MovePages(void* from, size_t bytes, void* to) {
  KeepErrno keep;
  if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | kMremapDontunmap, to) != MAP_FAILED) return 0;
  const int error = errno;
  // What was at `to` may have been unmapped before anything was refused.
  unsigned char resident;
  if (mincore(to, kPageSize, &resident) == 0) return -error;
  void* again = mmap(to, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (again == MAP_FAILED) return -EFAULT;
  madvise(to, bytes, MADV_NOHUGEPAGE);
  return -error;
}

size_t Os::Release(const Range* ranges, size_t count) {
  KeepErrno keep;
  // One call for all where the kernel has it for the process itself (6.13 and later): a third of the time.
  static constinit std::atomic<bool> vectored{true};
  size_t released = 0;
  size_t next = 0;
  static_assert(sizeof(Range) == sizeof(iovec) && offsetof(Range, bytes) == offsetof(iovec, iov_len));
  while (vectored.load(std::memory_order_relaxed) && next < count && count - next > 1) {
    const size_t batch = count - next < IOV_MAX ? count - next : IOV_MAX;
    const long done = syscall(SYS_process_madvise, kPidfdSelfProcess, ranges + next, batch, MADV_DONTNEED, 0);
    if (done < 0) {
      if (errno != EINTR && errno != EAGAIN && errno != ENOMEM) vectored.store(false, std::memory_order_relaxed);
      break;
    }
    // It stops at the first range that it cannot take.
    released += static_cast<size_t>(done);
    size_t left = static_cast<size_t>(done);
    while (next < count && left >= ranges[next].bytes) left -= ranges[next++].bytes;
    if (next < count && done == 0) break;
  }
  for (; next < count; ++next) released += ReleaseOne(ranges[next]);
  return released;
}

void Os::SetHuge(void* address, size_t bytes, bool huge) {
  KeepErrno keep;
  madvise(address, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void Os::SplitHuge(void* address, size_t bytes) {
  KeepErrno keep;
  // Advice for a part of a huge page splits it: mm/madvise.c, madvise_cold_or_pageout_pte_range.
  madvise(address, bytes, MADV_COLD);
}

size_t Os::ResidentPages(void* address, size_t pages) {
  KeepErrno keep;
  unsigned char resident[512];
  if (pages > sizeof(resident)) pages = sizeof(resident);
  if (mincore(address, pages * kPageSize, resident) != 0) return 0;
  size_t count = 0;
  for (size_t i = 0; i < pages; ++i) count += resident[i] & 1;
  return count;
}

void Os::BindToNode(void* address, size_t bytes, int node) {
  KeepErrno keep;
  unsigned long mask[16] = {};
  mask[node / 64] = 1ul << node % 64;
  syscall(SYS_mbind, address, bytes, MPOL_PREFERRED, mask, sizeof(mask) * 8, 0);
}

// ---- Time.

uint64_t Os::MonotonicNs() { return Nanoseconds(CLOCK_MONOTONIC_COARSE); }
uint64_t Os::RealtimeNs() { return Nanoseconds(CLOCK_REALTIME); }
uint64_t Os::ProcessCpuNs() { return Nanoseconds(CLOCK_PROCESS_CPUTIME_ID); }
uint64_t Os::ThreadCpuNs() { return Nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

// ---- CPUs and nodes.

int Os::PossibleCpus() {
  const int highest = HighestInList("/sys/devices/system/cpu/possible");
  if (highest >= 0) return highest + 1;
  // No /sys: the kernel's own mask is as long as its numbers go.
  KeepErrno keep;
  unsigned long mask[128];
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
  return bytes > 0 ? static_cast<int>(bytes * 8) : 1024;
}

int Os::AllowedCpus() {
  KeepErrno keep;
  unsigned long mask[128];
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
  int count = 0;
  for (long i = 0; i < bytes / static_cast<long>(sizeof(mask[0])); ++i) count += __builtin_popcountl(mask[i]);
  return count > 0 ? count : 1;
}

int Os::NodeCount() {
  const int highest = HighestInList("/sys/devices/system/node/online");
  return highest < 0 ? 1 : highest + 1;
}

int Os::CurrentNode() {
  KeepErrno keep;
  unsigned cpu = 0, node = 0;
  return getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

ptrdiff_t Os::RseqOffset() {
  if (&__rseq_size == nullptr || &__rseq_offset == nullptr || __rseq_size == 0) return 0;
  return __rseq_offset;
}

bool Os::RseqHasConcurrencyId() { return getauxval(kAtRseqFeatureSize) >= static_cast<unsigned long>(kRseqMmCid) + 4; }

int Os::FenceRseq() {
  KeepErrno keep;
  static constinit std::atomic<bool> registered{false};
  if (!registered.load(std::memory_order_acquire)) {
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) != 0) return -errno;
    registered.store(true, std::memory_order_release);
  }
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0 ? 0 : -errno;
}

// ---- Files.

long Os::ReadFile(const char* path, char* buffer, size_t size) {
  KeepErrno keep;
  const int fd = Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);  // it may be anything where everybody may write
  if (fd < 0) return -errno;
  size_t length = 0;
  long got = 0;
  while (length < size - 1 && (got = Read(fd, buffer + length, size - 1 - length)) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    length += static_cast<size_t>(got);
  }
  const int error = errno;
  Close(fd);
  buffer[length] = 0;
  return got < 0 && length == 0 ? -error : static_cast<long>(length);
}

void Os::ForEachLine(const char* path, bool (*visit)(void*, const char*), void* context) {
  KeepErrno keep;
  const int fd = Open(path, O_RDONLY);
  if (fd < 0) return;
  char text[4097];
  size_t length = 0;
  bool more = true;
  bool in_long_line = false;
  long got = 0;
  while (more && (got = Read(fd, text + length, sizeof text - 1 - length)) > 0) {
    length += static_cast<size_t>(got);
    size_t begin = 0;
    while (more && begin < length) {
      char* line = text + begin;
      auto* end = static_cast<char*>(memchr(line, '\n', length - begin));
      if (end == nullptr && (begin > 0 || length < sizeof text - 1)) break;
      const bool cut = end == nullptr;
      if (cut) end = text + length;
      *end = 0;
      if (!in_long_line) more = visit(context, line);
      in_long_line = cut;
      begin = static_cast<size_t>(end - text) + (cut ? 0 : 1);
    }
    memmove(text, text + begin, length - begin);
    length -= begin;
  }
  Close(fd);
}

bool Os::ReadMemory(const void* address, void* buffer, size_t size) {
  KeepErrno keep;
  const int fd = Open("/proc/self/mem", O_RDONLY);
  if (fd < 0) return false;
  const long got = syscall(SYS_pread64, fd, buffer, size, address);
  Close(fd);
  return got == static_cast<long>(size);
}

// Whether the kernel has MADV_POPULATE_WRITE (Linux 5.14), which tells of a full file system where a touch would kill
// by SIGBUS. Without it the whole file is reserved from the start.
bool Os::Populate(void* address, size_t bytes) {
  KeepErrno keep;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address) & ~(kPageSize - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(address) + bytes + kPageSize - 1) & ~(kPageSize - 1);
  return madvise(reinterpret_cast<void*>(begin), end - begin, kMadvPopulateWrite) == 0 || errno == EINVAL;
}

void* Os::MapSharedFile(const char* path, size_t bytes, size_t populated) {
  KeepErrno keep;
  unlink(path);
  const int fd = Open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW);
  if (fd < 0) return nullptr;
  void* memory = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(bytes)) == 0 && syscall(SYS_fallocate, fd, 0, 0l, populated) == 0) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (memory != MAP_FAILED && madvise(memory, kPageSize, kMadvPopulateWrite) != 0 &&
      syscall(SYS_fallocate, fd, 0, 0l, bytes) != 0) {
    munmap(memory, bytes);
    memory = MAP_FAILED;
  }
  Close(fd);
  if (memory != MAP_FAILED) return memory;
  unlink(path);
  return nullptr;
}

void Os::ForEachFile(const char* directory, bool (*visit)(void*, const char*), void* context) {
  KeepErrno keep;
  const int fd = Open(directory, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  alignas(dirent64) char entries[1024];
  long length = 0;
  bool more = true;
  while (more && (length = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
    for (long at = 0; more && at < length;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      more = visit(context, entry->d_name);
    }
  }
  Close(fd);
}

int Os::UnlinkFile(const char* path) {
  KeepErrno keep;
  return unlink(path) == 0 ? 0 : -errno;
}

int Os::OpenForEvents(const char* path, const char* write_once) {
  KeepErrno keep;
  int fd = Open(path, (write_once != nullptr ? O_RDWR : O_RDONLY) | O_NONBLOCK);
  if (fd < 0 && write_once != nullptr) fd = Open(path, O_WRONLY | O_NONBLOCK);
  if (fd < 0) return -errno;
  char ignored[4096];
  // A trigger is written with its 0. What is only read is read now: a file that never was counts as changed.
  // v1's memory.pressure_level cannot be read at all (EINVAL); it only has to be open.
  const long done =
      write_once != nullptr ? Write(fd, write_once, strlen(write_once) + 1) : Read(fd, ignored, sizeof(ignored));
  if (done >= 0 || (write_once == nullptr && errno == EINVAL)) return fd;
  const int error = errno;
  Close(fd);
  return -error;
}

int Os::OpenEventFd() {
  KeepErrno keep;
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd >= 0 ? fd : -errno;
}

int Os::WaitForEvents(const int* fds, size_t count, uint64_t timeout_ns) {
  KeepErrno keep;
  constexpr size_t kMost = 8;
  pollfd polled[kMost];
  if (count > kMost) return -EINVAL;
  for (size_t i = 0; i < count; ++i) {
    const bool is_eventfd = fds[i] < 0;
    polled[i] = {is_eventfd ? ~fds[i] : fds[i], static_cast<short>(is_eventfd ? POLLIN : POLLPRI), 0};
  }
  timespec timeout = ToTimespec(timeout_ns);
  int ready;
  do {
    ready = static_cast<int>(
        syscall(SYS_ppoll, polled, count, timeout_ns == UINT64_MAX ? nullptr : &timeout, nullptr, size_t{0}));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return -ETIMEDOUT;
  if (ready < 0) return -errno;
  for (size_t i = 0; i < count; ++i) {
    if (polled[i].revents == 0) continue;
    // Read, so that the next wait is for the next event.
    char text[4096];
    const long got =
        fds[i] < 0 ? Read(~fds[i], text, sizeof(uint64_t)) : syscall(SYS_pread64, fds[i], text, sizeof(text), 0l);
    return got < 0 ? -errno : static_cast<int>(i);
  }
  return -ETIMEDOUT;
}

void Os::CloseFd(int fd) {
  KeepErrno keep;
  Close(fd);
}

// ---- Threads.

int Os::FutexWait(uint32_t* word, uint32_t expected, uint64_t timeout_ns, bool shared) {
  KeepErrno keep;
  const timespec timeout = ToTimespec(timeout_ns);
  const int operation = shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE;
  const long result =
      syscall(SYS_futex, word, operation, expected, timeout_ns == UINT64_MAX ? nullptr : &timeout, nullptr, 0);
  return result == 0 ? 0 : -errno;
}

void Os::FutexWake(uint32_t* word, int count, bool shared) {
  KeepErrno keep;
  syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

uint32_t Os::ThreadId() {
  KeepErrno keep;
  return static_cast<uint32_t>(gettid());
}

bool Os::IsLoader(const void* code) {
  static constinit std::atomic<uintptr_t> begin{0}, bytes{0};
  uintptr_t size = bytes.load(std::memory_order_acquire);
  if (size == 0) {
    const uintptr_t base = getauxval(AT_BASE);
    size = 1;
    if (base != 0) {  // else a static program
      const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(base);
      const auto* segment = reinterpret_cast<const ElfW(Phdr)*>(base + header->e_phoff);
      for (size_t i = 0; i < header->e_phnum; ++i) {
        if (segment[i].p_type != PT_LOAD) continue;
        size = std::max<uintptr_t>(size, segment[i].p_vaddr + segment[i].p_memsz);
      }
    }
    begin.store(base, std::memory_order_relaxed);
    bytes.store(size, std::memory_order_release);
  }
  return reinterpret_cast<uintptr_t>(code) - begin.load(std::memory_order_relaxed) < size;
}

void Os::ForEachThread(void (*visit)(void*, uint64_t), void* context) {
  struct Visitor {
    void (*visit)(void*, uint64_t), *context;
  } visitor{visit, context};
  ForEachFile(
      "/proc/self/task",
      [](void* to, const char* name) {
        const long thread = strtol(name, nullptr, 10);
        void* head = nullptr;
        size_t length = 0;
        if (thread != 0 && syscall(SYS_get_robust_list, thread, &head, &length) == 0) {
          static_cast<Visitor*>(to)->visit(static_cast<Visitor*>(to)->context, reinterpret_cast<uint64_t>(head));
        }
        return true;
      },
      &visitor);
}

bool Os::IsProgram(const void* elf_header) {
  return getauxval(AT_PHDR) - reinterpret_cast<uintptr_t>(elf_header) < kPageSize;
}

uint32_t Os::ProcessId() { return static_cast<uint32_t>(getpid()); }

bool Os::ProcessRuns(uint32_t pid) {
  KeepErrno keep;
  return kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

uint64_t Os::PidNamespace() {
  KeepErrno keep;
  struct stat status;
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

namespace {

struct ThreadStart {
  void (*run)(void*) = nullptr;
  void* argument = nullptr;
  const char* name = nullptr;
  Os::Files files = Os::Files::kShared;
  std::atomic<bool> taken{false};
};
constinit ThreadStart g_starts[8];

void* ThreadMain(void* start_argument) {
  auto* start = static_cast<ThreadStart*>(start_argument);
  auto* run = start->run;
  void* argument = start->argument;
  prctl(PR_SET_NAME, start->name);
  const bool unshared =
      start->files != Os::Files::kShared && syscall(SYS_close_range, 0u, ~0u, kCloseRangeUnshare) == 0;
  const bool ready = unshared || start->files != Os::Files::kOwn;
  start->taken.store(false, std::memory_order_release);
  if (ready) run(argument);
  return nullptr;
}

}  // namespace

int Os::StartThread(void (*run)(void*), void* argument, const char* name, Files files) {
  KeepErrno keep;
  ThreadStart* start = nullptr;
  for (ThreadStart& candidate : g_starts) {
    if (!candidate.taken.exchange(true, std::memory_order_acquire)) {
      start = &candidate;
      break;
    }
  }
  if (start == nullptr) return -EAGAIN;
  start->run = run;
  start->argument = argument;
  start->name = name;
  start->files = files;

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, ThreadMain, start);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) start->taken.store(false, std::memory_order_release);
  return -error;
}

void Os::CallAtThreadEnd(void (*run)(void*)) {
  static constinit std::atomic<bool> asked{false};
  static constinit bool made = false;
  static constinit pthread_key_t key = 0;
  if (!asked.exchange(true, std::memory_order_acq_rel)) made = pthread_key_create(&key, run) == 0;
  static char any_value;
  if (made) pthread_setspecific(key, &any_value);
}

// ---- The process.

namespace {

// Null in a setuid process. The loader may allocate before libc.so has been initialised and knows `environ`; what the
// kernel left on the stack is there from the start: argc, the arguments, a null, the variables, a null.
const char* const* Variables() {
  if (getauxval(AT_SECURE) != 0) return nullptr;
  if (environ != nullptr) return environ;
  const auto* stack = static_cast<const char* const*>(__libc_stack_end);
  return stack + 1 + *reinterpret_cast<const long*>(stack) + 1;
}

}  // namespace

void Os::ForEachVariable(void (*visit)(const char* variable)) {
  const char* const* variable = Variables();
  for (; variable != nullptr && *variable != nullptr; ++variable) visit(*variable);
}

const char* Os::Environment(const char* name) {
  const size_t length = strlen(name);
  const char* const* variable = Variables();
  for (; variable != nullptr && *variable != nullptr; ++variable) {
    if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=') return *variable + length + 1;
  }
  return nullptr;
}

uint64_t Os::RandomBits() {
  uint64_t bits = 0;
  if (auto* random = reinterpret_cast<const char*>(getauxval(AT_RANDOM))) memcpy(&bits, random + 8, sizeof(bits));
  return bits * 0x9e3779b97f4a7c15u >> 17;
}

void Os::WriteError(const char* text, size_t length) {
  KeepErrno keep;
  Write(STDERR_FILENO, text, length);
}

void Os::Abort() { abort(); }

}  // namespace neap
