// ledger_text.h: a page of statistics as a person's table and as JSON, in the words of the ledger.
#pragma once

#include <stdint.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "alloc/stats_page.h"

namespace neap::command {

// anon - resident - foreign: what the kernel counts and neither neap nor its view of the kernel's maps explains.
int64_t Residual(const Ledger& ledger);

// A row of a ledger's table, with the sign of its equation.
std::string LedgerRow(const char* sign, const char* name, const std::string& figure, const std::string& words);

// "40 ms", "0.4 s", "12 s", "3.2 min".
std::string FormatDuration(uint64_t ms);

const char* LevelName(uint32_t level);
struct ForeignPartName {
  const char* key;  // in JSON and metrics
  const char* words;
};
inline constexpr ForeignPartName kForeignPartNames[kForeignParts] = {
    {"stacks", "thread stacks"},       {"java_heap", "Java heap"}, {"java_metaspace", "Java metaspace"},
    {"code", "code made at run time"}, {"brk", "brk heap"},        {"files", "private pages of files"},
    {"other", "other mappings"},
};

// "Java heap 203 MiB, thread stacks 2.1 MiB": all that is worth a word; what it may be where there was no reading yet.
std::string ForeignPartsText(const StatsPage& page);

// The last reading of what foreign memory is made of; null where there was none yet.
const StatsForeign* LastForeign(const StatsPage& page);

// What of neap's resident memory the kernel counted at that reading.
uint64_t CountedResident(const Ledger& ledger);

// "live ... + cached ... = resident": `words` behind the sum.
std::string ResidentRows(const Ledger& ledger, const std::string& words);

// Where a residual comes from, in words.
const char* ResidualText(int64_t residual);

std::string LedgerTable(const StatsPage& page, uint64_t now_ms);
nlohmann::ordered_json BytesOrNull(uint64_t bytes);  // null for kNoLimit
nlohmann::ordered_json LedgerJson(const StatsPage& page);
// Arenas, size classes (the last, of larger blocks, without a size) and NUMA nodes, as they were read last.
nlohmann::ordered_json TablesJson(const StatsPage& page);

}  // namespace neap::command
