// cgroup_ledger.h: the ledger of all processes of a memory cgroup, reconciled with what the kernel charges to it.
#pragma once

#include <stdint.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "alloc/stats_page.h"
#include "tools/neap/cgroup.h"

namespace neap::command {

// Bytes. The equations: resident + foreign + others - twice + residual = anon; anon + shared + files + kernel + rest =
// used.
struct CgroupLedger {
  std::string folder;
  uint64_t limit;        // the tightest up to the root; kNoLimit where none
  uint64_t on_neap = 0;  // processes that keep a page
  uint64_t not_on_neap = 0;
  Ledger neap = {};      // of those on neap: live, cached, dirty, metadata
  uint64_t foreign = 0;  // their other anonymous memory
  uint64_t others = 0;   // anonymous memory of those that keep no page
  uint64_t twice = 0;    // of all these, pages that forked processes share and that were counted with each
  // The kernel's figures.
  uint64_t anon = 0;
  uint64_t shared = 0;  // shared memory and tmpfs, pages of statistics included
  uint64_t files = 0;   // page cache, which the kernel takes back before it kills
  uint64_t kernel = 0;  // page tables, stacks, slabs
  uint64_t used = 0;

  int64_t Residual() const { return static_cast<int64_t>(anon + twice - neap.Resident() - foreign - others); }
  int64_t Rest() const { return static_cast<int64_t>(used - anon - shared - files - kernel); }
};

// With all cgroups below it.
CgroupLedger ReadCgroupLedger(const CgroupPlace& place);

std::string CgroupTable(const CgroupLedger& ledger);
nlohmann::ordered_json CgroupJson(const CgroupLedger& ledger);

}  // namespace neap::command
