// spill_directory.cc: the folder of a process's spill files, and the removal of what dead processes left.
//
// The lock is flock on the folder itself: the kernel drops it however the process ends.
#include "engine/spill/spill_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>

#include "alloc/neap.h"
#include "engine/core/error.h"

namespace neap::engine {
namespace {

constexpr char kPrefix[] = "neap-spill-";

std::string DefaultParent() {
  for (const char* name : {"NEAP_SPILL_DIR", "TMPDIR"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "/tmp";
}

[[noreturn]] void Fail(const std::string& what, int error) {
  throw Error(ErrorKind::kSpill, what + " (" + std::generic_category().message(error) +
                                     "): set NEAP_SPILL_DIR to a folder on disk that can be written");
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

Folder OpenFolder(int parent, const char* name) {
  const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return nullptr;
  DIR* folder = fdopendir(fd);
  if (folder == nullptr) close(fd);
  return Folder(folder);
}

void RemoveFiles(DIR* folder) {
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] != '.') unlinkat(dirfd(folder), entry->d_name, 0);
  }
}

// Folders of this user that nobody holds a lock on.
void RemoveAbandoned(const std::string& parent) {
  const Folder all = OpenFolder(AT_FDCWD, parent.c_str());
  if (all == nullptr) return;
  while (const dirent* entry = readdir(all.get())) {
    if (std::strncmp(entry->d_name, kPrefix, sizeof kPrefix - 1) != 0) continue;
    const Folder abandoned = OpenFolder(dirfd(all.get()), entry->d_name);
    struct stat of;
    if (abandoned == nullptr || fstat(dirfd(abandoned.get()), &of) != 0 || of.st_uid != geteuid()) continue;
    if (flock(dirfd(abandoned.get()), LOCK_EX | LOCK_NB) != 0) continue;
    RemoveFiles(abandoned.get());
    unlinkat(dirfd(all.get()), entry->d_name, AT_REMOVEDIR);
  }
}

}  // namespace

SpillDirectory::SpillDirectory(std::string parent) : parent_(parent.empty() ? DefaultParent() : std::move(parent)) {}

// A forked child leaves its parent's folder alone.
SpillDirectory::~SpillDirectory() {
  if (lock_ < 0) return;
  if (owner_ == getpid()) {
    if (const Folder folder = OpenFolder(AT_FDCWD, path_.c_str())) RemoveFiles(folder.get());
    rmdir(path_.c_str());
  }
  close(lock_);
}

void SpillDirectory::Make() {
  const neap::Scope scope(neap_arena_root());  // the folder outlives the query that needs its first file
  struct statfs of;
  if (statfs(parent_.c_str(), &of) != 0) Fail("no folder " + parent_ + " for spill files", errno);
  if (of.f_type == TMPFS_MAGIC || of.f_type == RAMFS_MAGIC) {
    throw Error(ErrorKind::kSpill, "the folder " + parent_ +
                                       " lies in memory, so that spill files there would free nothing: set "
                                       "NEAP_SPILL_DIR to a folder on disk");
  }
  RemoveAbandoned(parent_);
  // Another process may take the folder for abandoned before it is locked: then it is made again.
  for (;;) {
    std::string path = parent_ + "/" + kPrefix + std::to_string(getpid()) + "-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) Fail("cannot make a folder for spill files in " + parent_, errno);
    const int lock = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool is_locked = lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0;
    const int error = errno;
    if (is_locked && access(path.c_str(), F_OK) == 0) {
      if (lock_ >= 0) close(lock_);
      lock_ = lock;
      path_ = std::move(path);
      owner_ = getpid();
      return;
    }
    if (lock >= 0) close(lock);
    if (!is_locked && error != EWOULDBLOCK && error != ENOENT) {
      rmdir(path.c_str());
      Fail("cannot lock the folder " + path + " for spill files", error);
    }
  }
}

std::string SpillDirectory::NewPath() {
  const std::lock_guard lock(mutex_);
  if (owner_ != getpid()) Make();
  return path_ + "/" + std::to_string(next_++);
}

}  // namespace neap::engine
