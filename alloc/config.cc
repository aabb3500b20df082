// config.cc: see config.h.
#include "alloc/config.h"

#include <string.h>

#include <string_view>

#include "alloc/misuse.h"
#include "alloc/os.h"
#include "alloc/profile_page.h"

namespace neap {
namespace {

constinit bool g_background = true;
constinit bool g_hardened = false;
constinit bool g_oom_null = false;
constinit size_t g_profile = 0;
constinit bool g_foreign = false;
// A copy: programs that set their title (redis, postgres, nginx) write over their environment.
constinit char g_stats_prefix[512] = "";
constinit bool g_has_stats_prefix = false;

consteval const ConfigRow& Row(std::string_view name) {
  for (const ConfigRow& row : kConfigTable) {
    if (row.name == name) return row;
  }
  __builtin_trap();  // there is no such row
}

// Of a row whose range has two words: whether the second of them was chosen over the first.
bool ReadChoice(const ConfigRow& row, const char* first, const char* second, bool fallback) {
  const char* value = Os::Environment(row.name);
  if (value == nullptr) return fallback;
  if (strcmp(value, first) == 0) return false;
  if (strcmp(value, second) == 0) return true;
  Misuse::BadSetting(row.name, value, row.range, row.fallback);
  return fallback;
}

// A number of bytes, with K, M or G behind it or nothing.
bool ReadSize(const char* text, size_t* size) {
  constexpr size_t kMost = size_t{1} << 40;
  const char* at = text;
  for (*size = 0; *at >= '0' && *at <= '9' && *size < kMost; ++at) *size = *size * 10 + static_cast<size_t>(*at - '0');
  if (*at == 'K' || *at == 'M' || *at == 'G') {
    *size <<= 10 * (*at == 'K' ? 1 : *at == 'M' ? 2 : 3);
    ++at;
  }
  return at != text && *at == 0 && *size <= kMost;
}

size_t ReadInterval(const ConfigRow& row) {
  const char* value = Os::Environment(row.name);
  size_t bytes = 0;
  if (value != nullptr && !ReadSize(value, &bytes)) {
    Misuse::BadSetting(row.name, value, row.range, row.fallback);
    return 0;
  }
  return bytes == 1 ? kProfileInterval : bytes;
}

// Prefixes of those that are the command's and the tests'.
constexpr const char* kOthers[] = {"NEAP_LIBRARY=", "NEAP_ENGINE_PYTHON=", "NEAP_SPILL_DIR=", "NEAP_COMMAND=",
                                   "NEAP_HOLD=",    "NEAP_PROFILED=",      "NEAP_TEST",       "NEAP_PRELOAD"};

void NameIfUnknown(const char* variable) {
  if (strncmp(variable, "NEAP_", 5) != 0) return;
  for (const ConfigRow& row : kConfigTable) {
    const size_t length = strlen(row.name);
    if (strncmp(variable, row.name, length) == 0 && variable[length] == '=') return;
  }
  for (const char* other : kOthers) {
    if (strncmp(variable, other, strlen(other)) == 0) return;
  }
  Misuse::UnknownSetting(variable);
}

}  // namespace

void Config::Read() {
  g_background = ReadChoice(Row("NEAP_BACKGROUND"), "0", "1", true);
  g_foreign = ReadChoice(Row("NEAP_FOREIGN"), "0", "1", false);
  g_hardened = ReadChoice(Row("NEAP_HARDENED"), "0", "1", false);
  g_oom_null = ReadChoice(Row("NEAP_OOM"), "kill", "null", false);
  g_profile = ReadInterval(Row("NEAP_PROFILE"));
  const char* prefix = Os::Environment(Row("NEAP_STATS").name);
  g_has_stats_prefix = prefix != nullptr && strlen(prefix) < sizeof g_stats_prefix;
  if (g_has_stats_prefix) memcpy(g_stats_prefix, prefix, strlen(prefix) + 1);
  Os::ForEachVariable(NameIfUnknown);
}

bool Config::background() { return g_background; }
bool Config::hardened() { return g_hardened; }
bool Config::oom_null() { return g_oom_null; }
size_t Config::profile() { return g_profile; }
bool Config::foreign() { return g_foreign; }
const char* Config::stats_prefix() { return g_has_stats_prefix ? g_stats_prefix : nullptr; }

}  // namespace neap
