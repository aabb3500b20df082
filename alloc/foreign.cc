// foreign.cc: see foreign.h.
#include "alloc/foreign.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "alloc/clock.h"
#include "alloc/config.h"
#include "alloc/limit_gate.h"
#include "alloc/lock.h"

namespace neap {
namespace {

constexpr uint32_t kAfterNothingMs = 1000;  // not again so soon when they had nothing to give back

// ---- What they offer.

struct Offer {
  const char* name;
  void (*take)(void* function);
};

// 4096 is MALLCTL_ARENAS_ALL of jemalloc 5; older ones answer with an error.
void PurgeJemalloc(void* function) {
  reinterpret_cast<int (*)(const char*, void*, size_t*, void*, size_t)>(function)("arena.4096.purge", nullptr, nullptr,
                                                                                  nullptr, 0);
}
void CollectMimalloc(void* function) { reinterpret_cast<void (*)(bool)>(function)(true); }
void ReleaseTcmalloc(void* function) { reinterpret_cast<void (*)()>(function)(); }

constexpr Offer kOffers[] = {
    {"mallctl", PurgeJemalloc},       {"je_mallctl", PurgeJemalloc},
    {"_rjem_mallctl", PurgeJemalloc}, {"duckdb_je_mallctl", PurgeJemalloc},
    {"mi_collect", CollectMimalloc},  {"MallocExtension_ReleaseFreeMemory", ReleaseTcmalloc},
};

// ---- Who has it. All of this is the asking thread's alone.

struct Found {
  const Offer* offer;
  void* function;
};

constinit Found g_found[32] = {};
constinit size_t g_found_count = 0;
constinit unsigned long long g_libraries_loaded = 0;  // ever, when they were searched

// The loader's own names of what is mapped, each ended by a 0; what does not fit is not searched.
struct Names {
  size_t used;
  unsigned long long loaded;
  char text[64 << 10];
};
constinit Names g_names = {};

int NoteName(dl_phdr_info* library, size_t, void*) {
  g_names.loaded = library->dlpi_adds;
  const size_t length = strlen(library->dlpi_name) + 1;
  if (length > sizeof g_names.text - g_names.used) return 1;
  memcpy(g_names.text + g_names.used, library->dlpi_name, length);
  g_names.used += length;
  return 0;
}

bool IsNew(const void* function) {
  for (size_t i = 0; i < g_found_count; ++i) {
    if (g_found[i].function == function) return false;
  }
  return function != nullptr && g_found_count < sizeof g_found / sizeof *g_found;
}

// A handle also finds what its library needs, and that of "", the program, all that is global; a library that was
// opened for its opener alone is found by its own.
void SearchLibrary(const char* name) {
  void* library = dlopen(*name == 0 ? nullptr : name, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return;
  bool keep = false;
  for (const Offer& offer : kOffers) {
    void* function = dlsym(library, offer.name);
    if (!IsNew(function)) continue;
    g_found[g_found_count++] = {&offer, function};
    keep = true;  // open: it must not be unmapped under a call
  }
  if (!keep) dlclose(library);
}

void Search() {
  g_names.used = 0;
  dl_iterate_phdr(NoteName, nullptr);
  if (g_names.loaded == g_libraries_loaded) return;
  g_libraries_loaded = g_names.loaded;
  for (size_t at = 0; at < g_names.used; at += strlen(g_names.text + at) + 1) SearchLibrary(g_names.text + at);
}

// ---- When they are told.

constinit Mutex g_calling;  // held during a call: exit waits for its end, as their destructors come next
constinit std::atomic<bool> g_closed{false}, g_in_child{false};
constinit std::atomic<uint64_t> g_purges{0}, g_purged{0};
constinit uint32_t g_nothing_ms = 0;  // when they gave back nothing; 0: they did

void CloseAtExit() {
  g_closed.store(true, std::memory_order_relaxed);
  MutexLock lock(g_calling);
}

bool Call(const Found& found) {
  MutexLock lock(g_calling);
  if (!ForeignAllocators::May()) return false;
  found.offer->take(found.function);
  return true;
}

uint64_t ForeignBytes() {
  LimitGate::Refresh();
  return LimitGate::Read().foreign;
}

}  // namespace

bool ForeignAllocators::May() {
  return Config::foreign() && !g_in_child.load(std::memory_order_relaxed) && !g_closed.load(std::memory_order_relaxed);
}

uint64_t ForeignAllocators::Purge() {
  if (!May() || (g_nothing_ms != 0 && NowMs() - g_nothing_ms < kAfterNothingMs)) return 0;
  static constinit bool closes_at_exit = false;
  if (!closes_at_exit) closes_at_exit = atexit(CloseAtExit) == 0;
  Search();
  uint64_t purged = 0;
  uint64_t before = ForeignBytes();
  for (size_t i = 0; i < g_found_count && closes_at_exit && Call(g_found[i]); ++i) {
    const uint64_t after = ForeignBytes();
    if (after < before) purged += before - after;
    before = after;
    g_purges.fetch_add(1, std::memory_order_relaxed);
  }
  g_purged.fetch_add(purged, std::memory_order_relaxed);
  g_nothing_ms = purged > 0 ? 0 : NowMs();
  return purged;
}

uint64_t ForeignAllocators::Purges() { return g_purges.load(std::memory_order_relaxed); }
uint64_t ForeignAllocators::PurgedBytes() { return g_purged.load(std::memory_order_relaxed); }

void ForeignAllocators::ForgetInChild() {
  g_calling.ResetInChild();
  g_in_child.store(true, std::memory_order_relaxed);
}

}  // namespace neap
