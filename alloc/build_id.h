// build_id.h: the build id of an ELF file, in its notes.
#pragma once

#include <elf.h>
#include <string.h>

#include <string_view>

namespace neap {

// The bytes of the id; empty: these notes have none. They may be cut, or no notes at all.
inline std::string_view BuildIdIn(std::string_view notes) {
  using namespace std::string_view_literals;
  constexpr std::string_view kOwner = "GNU\0"sv;
  const auto padded = [](size_t size) { return (size + 3) & ~size_t{3}; };
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr note;
    memcpy(&note, notes.data() + at, sizeof note);
    const size_t name = at + sizeof note;
    const size_t text = name + padded(note.n_namesz);
    if (text > notes.size() || note.n_descsz > notes.size() - text) break;
    if (note.n_type == NT_GNU_BUILD_ID && notes.substr(name, note.n_namesz) == kOwner) {
      return notes.substr(text, note.n_descsz);
    }
    at = text + padded(note.n_descsz);
  }
  return {};
}

}  // namespace neap
