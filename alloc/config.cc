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
constinit const char* g_stats_prefix = nullptr;

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
constexpr const char* kOthers[] = {"NEAP_LIBRARY=", "NEAP_COMMAND=", "NEAP_HOLD=", "NEAP_TEST", "NEAP_PRELOAD"};

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
  g_stats_prefix = Os::Environment(kConfigTable[3].name);
  Os::ForEachVariable(NameIfUnknown);
}

bool Config::background() { return g_background; }
bool Config::hardened() { return g_hardened; }
bool Config::oom_null() { return g_oom_null; }
const char* Config::stats_prefix() { return g_stats_prefix; }

}  // namespace neap
