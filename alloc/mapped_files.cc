// mapped_files.cc: see mapped_files.h.
#include "alloc/mapped_files.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include <algorithm>
#include <atomic>

#include "alloc/os.h"

namespace neap {
namespace {

constexpr size_t kNoteBytes = 1024;

uint64_t TakeHex(const char*& text) {
  uint64_t number = 0;
  for (;; ++text) {
    const char c = *text;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return number;
    number = number * 16 + static_cast<uint64_t>(digit);
  }
}

template <class T>
bool ReadAt(uint64_t address, T* to) {
  return Os::ReadMemory(reinterpret_cast<const void*>(address), to, sizeof *to);
}

bool FindInNotes(uint64_t address, size_t bytes, ProfileModule& module) {
  alignas(ElfW(Nhdr)) char notes[kNoteBytes];
  bytes = std::min(bytes, kNoteBytes);
  if (!Os::ReadMemory(reinterpret_cast<const void*>(address), notes, bytes)) return false;
  const auto padded = [](size_t size) { return (size + 3) & ~size_t{3}; };
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    ElfW(Nhdr) note;
    memcpy(&note, notes + at, sizeof note);
    const size_t name = at + sizeof note;
    const size_t text = name + padded(note.n_namesz);
    if (text < name || text > bytes || note.n_descsz > bytes - text) return false;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + name, "GNU", 4) == 0) {
      module.build_id_bytes = std::min<uint32_t>(note.n_descsz, sizeof module.build_id);
      memcpy(module.build_id, notes + text, module.build_id_bytes);
      return true;
    }
    at = text + padded(note.n_descsz);
  }
  return false;
}

// header: where the file's first page is mapped. The memory may be unmapped meanwhile: it is read as a file is.
void FindBuildId(uint64_t header, ProfileModule& module) {
  ElfW(Ehdr) file;
  if (!ReadAt(header, &file) || memcmp(file.e_ident, ELFMAG, SELFMAG) != 0) return;
  uint64_t base = 0;
  bool has_base = false;
  for (unsigned i = 0; i < file.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!ReadAt(header + file.e_phoff + i * sizeof segment, &segment)) return;
    if (segment.p_type == PT_LOAD && !has_base) {
      base = header - (segment.p_vaddr - segment.p_offset);
      has_base = true;
    }
    if (segment.p_type == PT_NOTE && has_base && FindInNotes(base + segment.p_vaddr, segment.p_filesz, module)) return;
  }
}

struct Reader {
  ProfilePage& page;
  uint64_t header = 0;  // of the file whose mappings come now
  char path[sizeof ProfileModule::path] = "";

  bool Knows(const ProfileModule& module) const {
    for (uint32_t i = page.modules; i-- > 0;) {
      const ProfileModule& known = page.module[i];
      if (known.begin < module.end && module.begin < known.end) {
        return known.begin == module.begin && known.end == module.end && strcmp(known.path, module.path) == 0;
      }
    }
    return false;
  }

  // "begin-end rwxp offset device inode path"
  bool Visit(const char* line) {
    ProfileModule module = {};
    module.begin = TakeHex(line);
    module.end = TakeHex(++line);
    const bool runs = line[3] == 'x';
    line += 6;
    module.offset = TakeHex(line);
    const char* name = strchr(line, '/');
    if (name == nullptr) return true;
    strncpy(module.path, name, sizeof module.path - 1);
    if (module.offset == 0 || strcmp(module.path, path) != 0) {
      memcpy(path, module.path, sizeof path);
      header = module.offset == 0 ? module.begin : 0;
    }
    if (!runs || Knows(module)) return true;
    if (page.modules == kProfileModules || !Os::Populate(&page.module[page.modules], sizeof module)) return false;
    if (header != 0) FindBuildId(header, module);
    page.module[page.modules] = module;
    std::atomic_ref(page.modules).store(page.modules + 1, std::memory_order_release);
    return true;
  }
};

}  // namespace

void AddMappedFiles(ProfilePage& page) {
  Reader reader{page};
  Os::ForEachLine(
      "/proc/self/maps", [](void* context, const char* line) { return static_cast<Reader*>(context)->Visit(line); },
      &reader);
}

}  // namespace neap
