// storage_level.cc: the names.
#include "engine/memory/storage_level.h"

#include <algorithm>
#include <cctype>

namespace neap::engine {
namespace {

struct Named {
  std::string_view name;
  StorageLevel level;
};

constexpr Named kNamed[] = {
    {"NONE", {false, false, false, false, 1}},
    {"DISK_ONLY", {true, false, false, false, 1}},
    {"DISK_ONLY_2", {true, false, false, false, 2}},
    {"DISK_ONLY_3", {true, false, false, false, 3}},
    {"MEMORY_ONLY", {false, true, false, true, 1}},
    {"MEMORY_ONLY_2", {false, true, false, true, 2}},
    {"MEMORY_ONLY_SER", {false, true, false, false, 1}},
    {"MEMORY_ONLY_SER_2", {false, true, false, false, 2}},
    {"MEMORY_AND_DISK", {true, true, false, true, 1}},
    {"MEMORY_AND_DISK_2", {true, true, false, true, 2}},
    {"MEMORY_AND_DISK_SER", {true, true, false, false, 1}},
    {"MEMORY_AND_DISK_SER_2", {true, true, false, false, 2}},
    {"OFF_HEAP", {true, true, true, false, 1}},
};

}  // namespace

std::optional<StorageLevel> StorageLevel::FromName(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  for (const Named& named : kNamed) {
    if (named.name == upper) return named.level;
  }
  return std::nullopt;
}

std::string StorageLevel::Name() const {
  for (const Named& named : kNamed) {
    if (named.level == *this) return std::string(named.name);
  }
  std::string words;
  const auto add = [&](bool flag, const char* word) {
    if (flag) words += (words.empty() ? "" : ", ") + std::string(word);
  };
  add(disk, "disk");
  add(memory, "memory");
  add(off_heap, "off-heap");
  add(deserialized, "deserialized");
  return words + (words.empty() ? "" : ", ") + std::to_string(replication) + "x replicated";
}

}  // namespace neap::engine
