// library.cc: where libneap.so is, and what of it and of others a process preloads.
#include "tools/neap/library.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

namespace neap::command {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSeparators = ": ";  // of LD_PRELOAD
constexpr std::string_view kOtherAllocators[] = {"jemalloc", "mimalloc", "tcmalloc", "tbbmalloc",   "snmalloc",
                                                 "rpmalloc", "scudo",    "hoard",    "malloc_debug"};

std::string FromEnvironment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

// Calls visit with each entry until it returns true.
template <class Visit>
void ForEachEntry(std::string_view preload, Visit visit) {
  while (!preload.empty()) {
    size_t end = preload.find_first_of(kSeparators);
    std::string_view entry = preload.substr(0, end);
    if (!entry.empty() && visit(entry)) return;
    if (end == preload.npos) return;
    preload.remove_prefix(end + 1);
  }
}

}  // namespace

std::string FindLibrary() {
  std::error_code error;
  std::string named = FromEnvironment("NEAP_LIBRARY");
  if (!named.empty()) return fs::is_regular_file(named, error) ? fs::absolute(named).string() : "";
  fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& place : {folder, folder / ".." / NEAP_LIBRARY_FOLDER, folder / ".." / "lib"}) {
    fs::path library = fs::weakly_canonical(place, error) / "libneap.so";
    if (fs::is_regular_file(library, error)) return library;
  }
  return "";
}

std::string PreloadWith(const std::string& library) {
  std::string preload = FromEnvironment("LD_PRELOAD");
  bool present = false;
  ForEachEntry(preload, [&](std::string_view entry) { return present = entry == library; });
  if (present) return preload;
  return preload.empty() ? library : preload + ":" + library;
}

std::string OtherAllocatorIn(std::string_view preload) {
  std::string found;
  ForEachEntry(preload, [&](std::string_view entry) {
    std::string_view name = entry.substr(entry.rfind('/') + 1);
    for (std::string_view other : kOtherAllocators) {
      if (name.find(other) != name.npos) found = entry;
    }
    return !found.empty();
  });
  return found;
}

}  // namespace neap::command
