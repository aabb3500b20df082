// consumers.h: what the program has registered to be asked to free memory, and the thread that asks: never inside
// malloc, one callback at a time. Before the consumers other allocators inside the process are told to give back, where
// the user chose it (foreign.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alloc/lock.h"
#include "alloc/neap.h"

namespace neap {

class Consumers {
 public:
  static neap_consumer* Register(neap_pressure_fn fn, void* context);
  static void Unregister(neap_consumer* consumer);
  // Registering does; for other allocators alone the release thread does.
  static void StartThread();
  // `wanted` bytes are missing. Returns at once; nothing happens where there is nobody to ask.
  static void Ask(uint64_t wanted);
  static uint64_t Asked();   // callbacks, since the start
  static uint64_t Wanted();  // bytes that they were asked for
  static Mutex& lock();
  static void Wake();
  static void ForgetInChild();
};

}  // namespace neap
