// config.cc: see config.h.
#include "alloc/config.h"

#include <string.h>

#include "alloc/misuse.h"
#include "alloc/os.h"

namespace neap {
namespace {

constinit bool g_background = true;
constinit bool g_hardened = false;
constinit bool g_oom_null = false;
constinit bool g_foreign = false;
// A copy: programs that set their title (redis, postgres, nginx) write over their environment.
constinit char g_stats_prefix[512] = "";
constinit bool g_has_stats_prefix = false;

// Of a row whose range has two words: whether the second of them was chosen over the first.
bool ReadChoice(const ConfigRow& row, const char* first, const char* second, bool fallback) {
  const char* value = Os::Environment(row.name);
  if (value == nullptr) return fallback;
  if (strcmp(value, first) == 0) return false;
  if (strcmp(value, second) == 0) return true;
  Misuse::BadSetting(row.name, value, row.range, row.fallback);
  return fallback;
}

// Prefixes of those that are the command's and the tests'.
constexpr const char* kOthers[] = {"NEAP_LIBRARY=", "NEAP_ENGINE_PYTHON=", "NEAP_SPILL_DIR=", "NEAP_COMMAND=",
                                   "NEAP_HOLD=",    "NEAP_TEST",           "NEAP_PRELOAD"};

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
  g_background = ReadChoice(kConfigTable[0], "0", "1", true);
  g_hardened = ReadChoice(kConfigTable[1], "0", "1", false);
  g_oom_null = ReadChoice(kConfigTable[2], "kill", "null", false);
  const char* prefix = Os::Environment(kConfigTable[3].name);
  g_has_stats_prefix = prefix != nullptr && strlen(prefix) < sizeof g_stats_prefix;
  if (g_has_stats_prefix) memcpy(g_stats_prefix, prefix, strlen(prefix) + 1);
  g_foreign = ReadChoice(kConfigTable[4], "0", "1", false);
  Os::ForEachVariable(NameIfUnknown);
}

bool Config::background() { return g_background; }
bool Config::hardened() { return g_hardened; }
bool Config::oom_null() { return g_oom_null; }
bool Config::foreign() { return g_foreign; }
const char* Config::stats_prefix() { return g_has_stats_prefix ? g_stats_prefix : nullptr; }

}  // namespace neap
