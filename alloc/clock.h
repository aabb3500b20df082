// clock.h: the coarse clock of the slow paths: milliseconds, enough for ages and windows.
#pragma once

#include <stdint.h>

#include "alloc/os.h"

namespace neap {

// Wraps after 49 days: compare by difference. Never 0, which stands for "never".
inline uint32_t NowMs() { return static_cast<uint32_t>(Os::MonotonicNs() / 1000000) | 1; }

}  // namespace neap
