// profile_data.h: a process's profile as read from its file: estimates by stack, and the functions of its frames.
#pragma once

#include <stdint.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "alloc/profile_page.h"

namespace neap::command {

// Estimates: each sample stands for as many blocks like it as were allocated for it.
struct StackFigures {
  double live_blocks = 0, live_bytes = 0;
  double allocated_blocks = 0, allocated_bytes = 0;  // since the start
  double pinned_bytes = 0;                           // free, in pages that its blocks keep

  void operator+=(const StackFigures& other) {
    live_blocks += other.live_blocks;
    live_bytes += other.live_bytes;
    allocated_blocks += other.allocated_blocks;
    allocated_bytes += other.allocated_bytes;
    pinned_bytes += other.pinned_bytes;
  }
};

struct ProfiledStack {
  std::vector<uint32_t> frames;  // indices of ProfileData::frames, the innermost first
  StackFigures figures;
};

struct ProfiledFrame {
  uint64_t address;      // of the call
  int module;            // index, or -1
  std::string function;  // as written in the program; empty where no symbol tells
};

struct ProfileData {
  uint64_t pid = 0, interval = 0, start_ms = 0, update_ms = 0;
  uint64_t samples = 0, dropped = 0;
  std::vector<ProfileModule> modules;
  std::vector<ProfiledFrame> frames;
  std::vector<ProfiledStack> stacks;  // with the most live bytes first
  StackFigures total;
};

// Of a process that runs or was killed in the last minutes, by its PID, or of a file: a profile, or the page of
// statistics beside which it lies. Ends the command with a line that says why there is none.
ProfileData FindProfile(const std::string& target);

// Of the first of these files that is one; without stacks if none is.
ProfileData ReadProfileIfAny(const std::vector<std::string>& paths);

// What it says in one line, and its stacks as a tree of frames for the report, without those of less than a thousandth.
std::string ProfileWords(const ProfileData& profile);
nlohmann::ordered_json FramesJson(const ProfileData& profile);

// "function", or "[file+offset]" where no symbol tells.
std::string FrameName(const ProfileData& profile, const ProfiledFrame& frame);

}  // namespace neap::command
