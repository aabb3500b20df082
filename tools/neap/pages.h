// pages.h: pages of statistics as seen from outside the process that writes them.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "alloc/stats_page.h"

namespace neap::command {

enum class Access { kRead, kWrite };  // kWrite: to place an order

// A page mapped here. Stays readable when the process ends and when the file is removed.
class PageView {
 public:
  // Ends the command with a line that says why there is none: no such process, not ours to read, not on neap, no page.
  static PageView OfProcess(pid_t pid, Access access);
  static PageView OfFile(const std::string& path);

  PageView(PageView&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageView(const PageView&) = delete;
  PageView& operator=(const PageView&) = delete;
  ~PageView();

  // One state of the page between two updates.
  StatsPage Read() const;
  // For the words of orders alone.
  StatsPage& shared() const { return *page_; }
  // Wakes the process's release thread, which then looks for orders.
  void Ring() const;

 private:
  explicit PageView(StatsPage* page) : page_(page) {}
  static std::optional<PageView> Map(const std::string& path, Access access, uint64_t inode, std::string* problem);

  StatsPage* page_;
};

// By PID, of a process that runs or was killed in the last minutes, or by the file's path. Ends the command as
// PageView's own makers do.
inline constexpr char kTargetHelp[] =
    "A process that runs or was killed in the last minutes, by its PID, or the file of a page (neap run --stats)";
PageView FindPage(const std::string& target);
bool IsPid(const std::string& target);

// Where the profile of such a target may lie, the likeliest first. Ends the command if there is no such process.
std::vector<std::string> ProfilePaths(const std::string& target);

// Of all processes that run and keep their page in the default place or under a `neap run`, by pid.
std::vector<StatsPage> RunningPages();

// The page is of a process that runs now.
bool WriterRuns(const StatsPage& page);

// The process's highest anonymous bytes; of neap alone where the kernel's figure was never read.
uint64_t PeakAnon(const StatsPage& page);

uint64_t NowMs();  // CLOCK_REALTIME, as in the page

// The pages of the processes of one `neap run`, which all begin with one prefix.
class RunPages {
 public:
  // command: the process that `neap run` started.
  RunPages(std::filesystem::path prefix, pid_t command) : prefix_(std::move(prefix)), command_(command) {}

  RunPages(const RunPages&) = delete;
  RunPages& operator=(const RunPages&) = delete;
  ~RunPages();

  // Takes in the pages of processes that have ended and removes their files, so that a command with many short
  // processes does not fill the memory that it is being measured in. `all`: also of those that still run.
  void Collect(bool all);

  const std::optional<StatsPage>& biggest() const { return biggest_; }  // by PeakAnon
  // Of those that came to no normal exit: the command itself, else the one that wrote last.
  const std::optional<StatsPage>& killed() const { return killed_; }
  // Where the profile of one of these two is kept, if it has one.
  std::string ProfileOf(const StatsPage& page) const;
  size_t count() const { return count_; }

 private:
  void TakeIn(const std::filesystem::path& file, const StatsPage& page);

  std::filesystem::path prefix_;
  pid_t command_;
  std::optional<StatsPage> biggest_;
  std::optional<StatsPage> killed_;
  size_t count_ = 0;
};

// A folder for the pages of one `neap run`, in memory where that can be; empty if it can be made nowhere.
std::string MakeRunFolder();

// Writes a copy of a page that `neap stat FILE` reads, and of its profile, if there is one, for `neap profile FILE`.
void SavePage(const StatsPage& page, const std::string& profile, const std::string& path);

// Removes from /dev/shm the pages that nobody will read: those of a normal exit, and those of processes that are gone,
// as long after they were last written as alloc/stats_files.h says; and the folders of `neap run` that are a day old.
void RemoveStalePages();

}  // namespace neap::command
