// mapped_files.cc: see mapped_files.h.
#include "alloc/mapped_files.h"

#include <link.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <string_view>

#include "alloc/build_id.h"
#include "alloc/mapping.h"
#include "alloc/os.h"

namespace neap {
namespace {

constexpr size_t kNoteBytes = 1024;

template <class T>
bool ReadAt(uint64_t address, T* to) {
  return Os::ReadMemory(reinterpret_cast<const void*>(address), to, sizeof *to);
}

bool FindInNotes(uint64_t address, size_t bytes, ProfileModule& module) {
  char notes[kNoteBytes];
  bytes = std::min(bytes, kNoteBytes);
  if (!Os::ReadMemory(reinterpret_cast<const void*>(address), notes, bytes)) return false;
  const std::string_view build_id = BuildIdIn({notes, bytes});
  module.build_id_bytes =
      static_cast<uint32_t>(build_id.copy(reinterpret_cast<char*>(module.build_id), sizeof module.build_id));
  return !build_id.empty();
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

  bool Visit(const char* line) {
    const Mapping mapping = Mapping::Of(line);
    if (*mapping.path != '/') return true;
    ProfileModule module = {};
    module.begin = mapping.begin;
    module.end = mapping.end;
    module.offset = mapping.offset;
    strncpy(module.path, mapping.path, sizeof module.path - 1);
    if (module.offset == 0 || strcmp(module.path, path) != 0) {
      memcpy(path, module.path, sizeof path);
      header = module.offset == 0 ? module.begin : 0;
    }
    if (mapping.access[2] != 'x' || Knows(module)) return true;
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
