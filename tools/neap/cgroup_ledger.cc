// cgroup_ledger.cc: see cgroup_ledger.h. The kernel collects a cgroup's figures from its CPUs now and then, so that
// they may be a second or two behind the processes' own: that is in the residual.
#include "tools/neap/cgroup_ledger.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "alloc/pressure.h"
#include "tools/neap/bytes.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

void AddProcesses(const fs::path& folder, std::vector<pid_t>& processes) {
  std::istringstream list(ReadWholeFile(folder / "cgroup.procs").value_or(""));
  for (pid_t pid; list >> pid;) processes.push_back(pid);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) AddProcesses(entry.path(), processes);
  }
}

// Of its anonymous pages the parts that are other processes' as well.
uint64_t SharedAnon(pid_t pid) {
  std::istringstream lines(ReadWholeFile(ProcPath(pid, "smaps_rollup")).value_or(""));
  uint64_t all = 0, own = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Anonymous:")) all = strtoull(line.c_str() + 10, nullptr, 10) * 1024;
    if (line.starts_with("Pss_Anon:")) own = strtoull(line.c_str() + 9, nullptr, 10) * 1024;
  }
  return own != 0 && all > own ? all - own : 0;
}

// "name figure" in each line.
std::map<std::string, uint64_t> Figures(const std::string& text) {
  std::map<std::string, uint64_t> figures;
  std::istringstream lines(text);
  std::string name;
  for (uint64_t figure; lines >> name >> figure;) figures[name] = figure;
  return figures;
}

void ReadKernelsFigures(const CgroupPlace& place, CgroupLedger& ledger) {
  const auto text = [&](const char* name) { return ReadWholeFile(place.folder + name).value_or(""); };
  std::map<std::string, uint64_t> stat = Figures(text("/memory.stat"));
  if (place.version == 1) {
    ledger.anon = stat["total_rss"];
    ledger.shared = stat["total_shmem"];
    ledger.files = stat["total_cache"] - std::min(stat["total_cache"], ledger.shared);
    ledger.kernel = ParseNumber(text("/memory.kmem.usage_in_bytes"), 0);
    ledger.used = ParseNumber(text("/memory.usage_in_bytes"), 0);
    return;
  }
  ledger.anon = stat["anon"];
  ledger.shared = stat["shmem"];
  ledger.files = stat["file"] - std::min(stat["file"], ledger.shared);
  // Kernels before 5.18 have its parts alone.
  ledger.kernel = stat.contains("kernel") ? stat["kernel"]
                                          : stat["slab"] + stat["kernel_stack"] + stat["pagetables"] + stat["percpu"] +
                                                stat["sock"] + stat["vmalloc"];
  ledger.used = ParseNumber(text("/memory.current"), 0);
}

}  // namespace

CgroupLedger ReadCgroupLedger(const CgroupPlace& place) {
  CgroupLedger ledger;
  ledger.folder = place.folder;
  const std::vector<CgroupLevel> levels = CgroupLevels(place);
  const CgroupLevel* binding = BindingLevel(levels);
  ledger.limit = binding == nullptr ? kNoLimit : binding->Tightest();
  std::vector<pid_t> processes;
  AddProcesses(place.folder, processes);
  const std::vector<StatsPage> pages = RunningPages();
  for (const pid_t pid : processes) {
    const std::optional<uint64_t> anon = StatusBytes(pid, "RssAnon");
    if (!anon) continue;  // ended meanwhile, or one of the kernel's
    ledger.twice += SharedAnon(pid);
    const auto page = std::find_if(pages.begin(), pages.end(),
                                   [pid](const StatsPage& one) { return one.pid == static_cast<uint64_t>(pid); });
    if (page == pages.end()) {
      ++ledger.not_on_neap;
      ledger.others += *anon;
      continue;
    }
    ++ledger.on_neap;
    ledger.neap.live += page->now.live;
    ledger.neap.cached += page->now.cached;
    ledger.neap.dirty += page->now.dirty;
    ledger.neap.metadata += page->now.metadata;
    ledger.foreign += *anon - std::min(*anon, CountedResident(page->now));
  }
  ReadKernelsFigures(place, ledger);
  return ledger;
}

std::string CgroupTable(const CgroupLedger& ledger) {
  std::string text =
      fmt::format("{}: {} processes on neap, {} not\n", Printable(ledger.folder), ledger.on_neap, ledger.not_on_neap);
  text += ResidentRows(ledger.neap, "of neap");
  text += LedgerRow("+", "foreign", FormatBytes(ledger.foreign), "other anonymous memory of the processes on neap");
  text += LedgerRow("+", "others", FormatBytes(ledger.others), "anonymous memory of the processes that are not");
  text += LedgerRow("-", "twice", FormatBytes(ledger.twice), "pages that forked processes share, counted with each");
  text += LedgerRow("+", "residual", FormatSignedBytes(ledger.Residual()), ResidualText(ledger.Residual()));
  text += LedgerRow("=", "anon", FormatBytes(ledger.anon), "of the cgroup, as the kernel counts");
  text += LedgerRow("+", "shared", FormatBytes(ledger.shared), "shared memory and tmpfs");
  text += LedgerRow("+", "files", FormatBytes(ledger.files), "page cache, which the kernel takes back before it kills");
  text += LedgerRow("+", "kernel", FormatBytes(ledger.kernel), "page tables, stacks, slabs");
  text += LedgerRow("+", "rest", FormatSignedBytes(ledger.Rest()), "what none of these explains");
  text += LedgerRow("=", "used", FormatBytes(ledger.used), "charged to the cgroup");
  text += LedgerRow(" ", "limit", ledger.limit == kNoLimit ? "none" : FormatBytes(ledger.limit), "");
  return text;
}

nlohmann::ordered_json CgroupJson(const CgroupLedger& ledger) {
  return {{"folder", Printable(ledger.folder)},
          {"limit", BytesOrNull(ledger.limit)},
          {"on_neap", ledger.on_neap},
          {"not_on_neap", ledger.not_on_neap},
          {"live", ledger.neap.live},
          {"cached", ledger.neap.cached},
          {"dirty", ledger.neap.dirty},
          {"metadata", ledger.neap.metadata},
          {"resident", ledger.neap.Resident()},
          {"foreign", ledger.foreign},
          {"others", ledger.others},
          {"twice", ledger.twice},
          {"residual", ledger.Residual()},
          {"anon", ledger.anon},
          {"shared", ledger.shared},
          {"files", ledger.files},
          {"kernel", ledger.kernel},
          {"rest", ledger.Rest()},
          {"used", ledger.used}};
}

}  // namespace neap::command
