// A recording of what a program asked its allocator for: events of 24 bytes in the order in which they happened, up to
// the first of kind kNone. `recorder` writes it, `replay` reads it.
#pragma once

#include <cstdint>

namespace bench {

enum class Kind : uint8_t {
  kNone,
  kAllocate,
  kZeroed,    // calloc
  kFree,      // noted before the block is freed
  kMoveFrom,  // realloc of a block: its address before,
  kMoveTo,    // and what it has become; of the same thread
};

struct Event {
  uint64_t address;
  uint64_t size;  // bytes asked for
  uint32_t us;    // since the recording began
  uint16_t thread;
  Kind kind;
  uint8_t alignment;  // its logarithm; 0 where none was asked for
};
static_assert(sizeof(Event) == 24);

}  // namespace bench
