// profile_page.h: the file in which a process keeps its profile: which stacks allocated, and which blocks that a sample
// caught are live. Its path is that of the page of statistics with ".profile" behind it; like that page it is read from
// outside, also after a SIGKILL. Only what is used of it takes memory.
//
// What is there once stays: stacks, frames and modules are written before the count that covers them. A sample's place
// is used again; its address is 0 while nothing lives there.
//
// The process counts down the bytes that it allocates; where the count ends the block is sampled, and the next count is
// drawn from an exponential distribution (a Poisson process over bytes). A block of `counted` bytes is sampled with the
// probability 1 - exp(-counted / interval), so that each sample stands for 1 / that probability blocks like it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace neap {

inline constexpr uint64_t kProfileMagic = 0x464f'5250'0000'0001;  // "PROF" and the layout's version
inline constexpr char kProfileSuffix[] = ".profile";
inline constexpr uint64_t kProfileInterval = 512 << 10;  // bytes, where nothing else is asked for
inline constexpr uint32_t kProfileStacks = 1u << 16;
inline constexpr uint32_t kProfileFrames = 1u << 20;
inline constexpr uint32_t kProfileSamples = 1u << 17;
inline constexpr uint32_t kProfileModules = 1u << 10;
inline constexpr uint32_t kProfileDepth = 128;  // frames of a stack; the outermost are left out

struct ProfileStack {
  uint64_t hash;
  uint32_t first, depth;  // in `frames`, the innermost first
  double blocks, bytes;   // allocated since the start, estimated
  uint32_t next;          // with this hash's low bits; the writer's
};

struct ProfileSample {
  uint64_t address;  // of the block; 0: none
  uint64_t bytes;    // of the block
  uint64_t counted;  // bytes that were asked for, by all calls that made or grew it
  uint64_t time_ms;  // CLOCK_REALTIME
  uint32_t stack;
  uint32_t pinned;  // free bytes of its pages that it keeps from being given back, divided among the blocks on them
  uint16_t arena;   // id
  uint32_t next;    // with this hash of address; the writer's
};

// A file's mapping that can be run.
struct ProfileModule {
  uint64_t begin, end, offset;  // offset: of `begin` in the file
  uint8_t build_id[20];
  uint32_t build_id_bytes;  // 0: it has none
  char path[208];           // cut
};

struct ProfilePage {
  uint64_t magic;
  uint32_t size;  // sizeof(ProfilePage)
  uint64_t pid, start_time;
  uint64_t interval;                          // bytes
  uint64_t start_ms;                          // CLOCK_REALTIME
  uint64_t update_ms;                         // of `pinned` and the modules
  uint64_t dropped;                           // samples for which there was no room
  uint32_t stacks, frames, samples, modules;  // places that were ever used; stack 0: those for which there was no room
  alignas(4096) ProfileModule module[kProfileModules];
  alignas(4096) ProfileStack stack[kProfileStacks];
  alignas(4096) ProfileSample sample[kProfileSamples];
  alignas(4096) uint64_t frame[kProfileFrames];  // return addresses
};

}  // namespace neap
