// program.h: a random program against a model. A case is a string of bytes that is read as a sequence of operations on
// the allocator over the fake system; beside them runs a map of what should be true.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap_fuzz {

// Runs the case from the first allocation of the process on. Aborts, with a line on stderr, when the allocator and the
// model disagree.
void Run(const uint8_t* bytes, size_t count);

}  // namespace neap_fuzz
