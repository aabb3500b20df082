// storage_level.h: where a cached block may be: Spark's five flags, and its names for the useful combinations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace neap::engine {

struct StorageLevel {
  bool disk = false;          // where memory has no room for it
  bool memory = false;        // where there is room
  bool off_heap = false;      // memory's mode
  bool deserialized = false;  // in memory as columns, else compressed
  uint8_t replication = 1;    // copies. Within one process they are of what is on disk: a damaged one is read elsewhere

  friend bool operator==(const StorageLevel&, const StorageLevel&) = default;
  bool kept() const { return disk || memory; }

  // "MEMORY_AND_DISK_SER_2", whatever the case of its letters; nothing for what Spark does not know.
  static std::optional<StorageLevel> FromName(std::string_view name);
  // The name; the flags in words where the combination has none.
  std::string Name() const;
};

}  // namespace neap::engine
