// os.h: all that the allocator asks of the operating system. os_linux.cc implements it with raw system calls (none sets
// errno, none allocates); tests link fake_os.cc in its place: fake clock, fake files, recorded releases, failures on
// demand. Results are 0 or a negative errno value unless said otherwise.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <concepts>

namespace neap {

struct Range {
  void* begin;
  size_t bytes;
};

struct Os {
  // ---- Address space. Pages are 4 KiB, private, anonymous, zero when first touched.
  // Maps at `address` exactly or fails (a taken range gives -EEXIST); null: anywhere. Null result: no space.
  static void* Map(void* address, size_t bytes);
  static void Unmap(void* address, size_t bytes);
  // A page that the kernel zeroes in the child of a fork; null where it cannot.
  static void* MapWipedOnFork();
  // Moves the pages of [from, from + bytes) to `to`, a mapped range which they replace; `from` stays mapped and empty.
  // After an error `from` is as before, and `to` is empty; -EFAULT: it is not mapped any more.
  static int MovePages(void* from, size_t bytes, void* to);
  // Gives the pages back to the kernel. The ranges stay mapped and read as zeros, also where the kernel refuses to take
  // them. Returns the bytes given back.
  static size_t Release(const Range* ranges, size_t count);
  // Whether the kernel may back the range by huge pages.
  static void SetHuge(void* address, size_t bytes, bool huge);
  // Has the kernel split huge pages that are mapped in part, so that it frees the rest.
  static void SplitHuge(void* address, size_t bytes);
  // How many of the pages (512 at most) are resident.
  static size_t ResidentPages(void* address, size_t pages);
  static void BindToNode(void* address, size_t bytes, int node);

  // ---- Time, in nanoseconds.
  static uint64_t MonotonicNs();
  static uint64_t RealtimeNs();
  static uint64_t ProcessCpuNs();
  static uint64_t ThreadCpuNs();

  // ---- CPUs and nodes.
  static int PossibleCpus();  // highest CPU number + 1
  static int AllowedCpus();   // by affinity
  static int NodeCount();     // highest online node + 1
  static int CurrentNode();
  // Restartable sequences of this process: the area's offset from the thread pointer, or 0 where there is none.
  static ptrdiff_t RseqOffset();
  static bool RseqHasConcurrencyId();
  // After it returns every critical section that was running on any CPU has committed or been aborted.
  static int FenceRseq();

  // ---- Files. Reads at most `size` - 1 bytes and ends them with a 0; the length or -errno. Follows no symbolic link.
  static long ReadFile(const char* path, char* buffer, size_t size);
  // Without its end; one that is longer than 4 KiB is cut. Until `visit` returns false.
  static void ForEachLine(const char* path, bool (*visit)(void* context, const char* line), void* context);
  // The process's own, also where another thread may unmap it: false then.
  static bool ReadMemory(const void* address, void* buffer, size_t size);
  // A shared mapping of a file of that size, made anew with mode 0600; null if it cannot be had. The first `populated`
  // bytes may be touched; the rest after Populate.
  static void* MapSharedFile(const char* path, size_t bytes, size_t populated);
  static bool Populate(void* address, size_t bytes);
  // Until `visit` returns false.
  static void ForEachFile(const char* directory, bool (*visit)(void* context, const char* name), void* context);
  static int UnlinkFile(const char* path);
  static int OpenForEvents(const char* path, const char* write_once);  // an fd, close-on-exec; write_once may be null
  static int OpenEventFd();
  // Waits until one of the files changes (POLLPRI) or one of the eventfds, given as ~fd, is raised, or the time is
  // over. The index of that one, already read; -ETIMEDOUT; or -errno (-ENODEV: the file's cgroup is gone).
  static int WaitForEvents(const int* fds, size_t count, uint64_t timeout_ns);
  static void CloseFd(int fd);

  // ---- Threads.
  static int FutexWait(uint32_t* word, uint32_t expected, uint64_t timeout_ns, bool shared);  // UINT64_MAX: no timeout
  static void FutexWake(uint32_t* word, int count, bool shared);
  static uint32_t ThreadId();
  // Calls `visit` with the head of each thread's list of robust mutexes (get_robust_list).
  static void ForEachThread(void (*visit)(void* context, uint64_t robust_list), void* context);
  static uint32_t ProcessId();
  static bool ProcessRuns(uint32_t pid);
  static uint64_t PidNamespace();
  static bool IsLoader(const void* code);         // whether it lies in the dynamic loader
  static bool IsProgram(const void* elf_header);  // whether it is that of what was executed, and no library's
  // A table of file descriptors of its own is one that the program neither sees nor closes, and in which no number is
  // taken from it. Where the kernel refuses it, a thread that must have one (kOwn) ends at once.
  enum class Files : uint8_t { kShared, kOwnIfPossible, kOwn };
  // A detached thread with all signals blocked; the name (static) is cut at 15 bytes.
  static int StartThread(void (*run)(void*), void* argument, const char* name, Files files);

  // Has `run` called when the calling thread ends by itself (not when the process exits). One function a process.
  static void CallAtThreadEnd(void (*run)(void*));

  // ---- The process.
  static const char* Environment(const char* name);                  // null in a setuid process
  static void ForEachVariable(void (*visit)(const char* variable));  // "NAME=value"; of a setuid process none
  static uint64_t RandomBits();
  static void WriteError(const char* text, size_t length);
  [[noreturn]] static void Abort();
};

// What a stand-in for Os has to have; both implementations assert it, so that neither can fall behind the other.
template <class T>
concept OperatingSystem = requires(void* p, size_t n, const Range* ranges, uint32_t* word, const char* text, int fd) {
  { T::Map(p, n) } -> std::same_as<void*>;
  { T::MapWipedOnFork() } -> std::same_as<void*>;
  { T::MovePages(p, n, p) } -> std::same_as<int>;
  { T::Release(ranges, n) } -> std::same_as<size_t>;
  { T::ResidentPages(p, n) } -> std::same_as<size_t>;
  { T::MonotonicNs() } -> std::same_as<uint64_t>;
  { T::ProcessCpuNs() } -> std::same_as<uint64_t>;
  { T::ThreadCpuNs() } -> std::same_as<uint64_t>;
  { T::FenceRseq() } -> std::same_as<int>;
  { T::ReadFile(text, static_cast<char*>(p), n) } -> std::same_as<long>;
  { T::FutexWait(word, 0u, uint64_t{}, true) } -> std::same_as<int>;
  { T::StartThread(nullptr, p, text, Os::Files::kOwn) } -> std::same_as<int>;
  { T::WaitForEvents(&fd, n, uint64_t{}) } -> std::same_as<int>;
};
static_assert(OperatingSystem<Os>);

}  // namespace neap
