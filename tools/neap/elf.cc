// elf.cc: what an ELF file tells about whether an interposed malloc reaches it. The files are not trusted: every offset
// is checked against the size of the file.
#include "tools/neap/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <string_view>

#include "alloc/build_id.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

namespace fs = std::filesystem;

// How an allocator gives itself away. Builds often put a prefix before the names, so the end of a name counts.
struct Mark {
  const char* family;
  const char* begins;                // of a defined symbol; null: any
  const char* ends;                  // null: any
  const char* gives_back = nullptr;  // the arguments with which this function makes it give back all it can
};
constexpr Mark kSymbolMarks[] = {
    {"jemalloc", nullptr, "mallctl", "(\"arena.4096.purge\", NULL, NULL, NULL, 0)"},  // 4096: MALLCTL_ARENAS_ALL
    {"jemalloc", nullptr, "mallctlnametomib"},
    {"jemalloc", nullptr, "je_malloc"},
    {"jemalloc", "_rjem_", "malloc"},
    {"mimalloc", "mi_collect", "mi_collect", "(true)"},
    {"mimalloc", nullptr, "_mi_collect", "(true)"},
    {"mimalloc", nullptr, "mi_heap_malloc"},
    {"mimalloc", "_mi_malloc_generic", nullptr},
    {"tcmalloc", "MallocExtension_ReleaseFreeMemory", nullptr, "()"},
    {"tcmalloc", "tc_malloc", "tc_malloc"},
    {"tcmalloc", "TCMallocInternal", nullptr},
    {"tcmalloc", "_ZN8tcmalloc", nullptr},
    {"snmalloc", "_ZN8snmalloc", nullptr},
    {"snmalloc", "sn_malloc", "sn_malloc"},
    {"snmalloc", nullptr, "sn_rust_alloc"},
    {"rpmalloc", "rpmalloc", "rpmalloc"},
    {"Scudo", "_ZN5scudo", nullptr},
    {"tbbmalloc", "scalable_allocation_command", nullptr, "(0, NULL)"},  // 0: TBBMALLOC_CLEAN_ALL_BUFFERS
    {"tbbmalloc", "scalable_malloc", "scalable_malloc"},
    {"PartitionAlloc", "_ZN14partition_alloc", nullptr},
};

// Stripped files still hold the texts of their messages. A blank comes next, which is left out here: this program is no
// allocator, and must not look like one.
struct TextMark {
  const char* family;
  std::string_view text;
};
constexpr TextMark kTextMarks[] = {
    {"jemalloc", "<jemalloc>:"},           {"mimalloc", "mimalloc: error:"}, {"mimalloc", "mimalloc: warning:"},
    {"tcmalloc", "tcmalloc: large alloc"}, {"Scudo", "Scudo ERROR:"},
};

class MappedFile {
 public:
  MappedFile(const std::string& path, std::string* problem) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) {
      *problem = strerror(errno);
    } else if (S_ISREG(status.st_mode) && status.st_size > 0) {
      void* memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (memory == MAP_FAILED) {
        *problem = strerror(errno);
      } else {
        bytes_ = {static_cast<const char*>(memory), static_cast<size_t>(status.st_size)};
      }
    }
    if (fd >= 0) close(fd);
  }
  ~MappedFile() {
    if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return bytes_; }
  std::string_view Part(uint64_t offset, uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) return {};
    return bytes_.substr(offset, size);
  }
  // Elements of a table, fewer if it leaves the file; copied, since nothing promises their alignment.
  template <class T>
  std::vector<T> Table(uint64_t offset, uint64_t count) const {
    if (offset > bytes_.size()) return {};
    count = std::min<uint64_t>(count, (bytes_.size() - offset) / sizeof(T));
    std::vector<T> table(count);
    if (count > 0) memcpy(table.data(), bytes_.data() + offset, count * sizeof(T));
    return table;
  }

 private:
  std::string_view bytes_;
};

std::string_view TextAt(std::string_view strings, uint64_t at) {
  if (at >= strings.size()) return {};
  return strings.substr(at, strnlen(strings.data() + at, strings.size() - at));
}

AllocatorInside& AddAllocator(ElfFile& elf, const char* family, std::string_view evidence) {
  auto same = [family](const AllocatorInside& inside) { return inside.family == family; };
  auto found = std::find_if(elf.allocators.begin(), elf.allocators.end(), same);
  if (found != elf.allocators.end()) return *found;
  return elf.allocators.emplace_back(AllocatorInside{family, std::string(evidence), "", ""});
}

bool Matches(const Mark& mark, std::string_view name) {
  return (mark.begins == nullptr || name.starts_with(mark.begins)) &&
         (mark.ends == nullptr || name.ends_with(mark.ends));
}

// A build of jemalloc with the prefix p_ exports p_mallctl and reads P_MALLOC_CONF.
constexpr std::string_view kVariable = "MALLOC_CONF";

std::string VariableByPrefix(std::string_view name) {
  std::string variable(name.substr(0, name.find("mallctl")));
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return toupper(c); });
  return variable.append(kVariable);
}

// Its name as a text of its own in a file whose symbols do not tell.
std::string VariableByText(std::string_view bytes) {
  const std::string end = std::string(kVariable) + '\0';
  for (size_t at = 0; (at = bytes.find(end, at)) != bytes.npos; ++at) {
    const size_t before = bytes.find_last_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", at);
    if (before == bytes.npos || bytes[before] != '\0') continue;
    return std::string(bytes.substr(before + 1, at + kVariable.size() - before - 1));
  }
  return "";
}

void ReadSymbols(const MappedFile& file, const Elf64_Shdr& section, std::string_view strings, ElfFile& elf) {
  for (const Elf64_Sym& symbol : file.Table<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym))) {
    if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
    std::string_view name = TextAt(strings, symbol.st_name);
    if (section.sh_type == SHT_DYNSYM && name == "malloc") elf.exports_malloc = true;
    for (const Mark& mark : kSymbolMarks) {
      if (!Matches(mark, name)) continue;
      AllocatorInside& inside = AddAllocator(elf, mark.family, name);
      if (inside.variable.empty() && name.find("mallctl") != name.npos) inside.variable = VariableByPrefix(name);
      const bool exported = section.sh_type == SHT_DYNSYM;
      if (inside.call.empty() && exported && mark.gives_back != nullptr)
        inside.call = fmt::format("{}{}", name, mark.gives_back);
    }
  }
}

void ReadSections(const MappedFile& file, const Elf64_Ehdr& header, ElfFile& elf) {
  auto sections = file.Table<Elf64_Shdr>(header.e_shoff, header.e_shnum);
  std::string_view names;
  if (header.e_shstrndx < sections.size()) {
    names = file.Part(sections[header.e_shstrndx].sh_offset, sections[header.e_shstrndx].sh_size);
  }
  for (const Elf64_Shdr& section : sections) {
    if (TextAt(names, section.sh_name) == ".go.buildinfo") elf.is_go = true;
    if (section.sh_type != SHT_DYNSYM && section.sh_type != SHT_SYMTAB) continue;
    if (section.sh_link >= sections.size()) continue;
    const Elf64_Shdr& strings = sections[section.sh_link];
    ReadSymbols(file, section, file.Part(strings.sh_offset, strings.sh_size), elf);
  }
}

void ReadTexts(const MappedFile& file, ElfFile& elf) {
  for (const TextMark& mark : kTextMarks) {
    const std::string_view& bytes = file.bytes();
    const std::string text = std::string(mark.text) + ' ';
    if (memmem(bytes.data(), bytes.size(), text.data(), text.size()) != nullptr) {
      AddAllocator(elf, mark.family, fmt::format("the text \"{}\"", text));
    }
  }
  for (AllocatorInside& inside : elf.allocators) {
    if (inside.family == "jemalloc" && inside.variable.empty()) inside.variable = VariableByText(file.bytes());
  }
}

std::vector<std::string> SplitPath(std::string_view text, const std::string& origin) {
  std::vector<std::string> folders;
  std::istringstream parts{std::string(text)};
  for (std::string folder; std::getline(parts, folder, ':');) {
    for (const char* variable : {"$ORIGIN", "${ORIGIN}"}) {
      size_t at = folder.find(variable);
      if (at != folder.npos) folder.replace(at, strlen(variable), origin);
    }
    if (!folder.empty()) folders.push_back(folder);
  }
  return folders;
}

// The dynamic section names its strings by address: find the segment that holds that address.
void ReadDynamic(const MappedFile& file, const Elf64_Phdr& dynamic, const std::vector<Elf64_Phdr>& segments,
                 const std::string& origin, ElfFile& elf) {
  auto entries = file.Table<Elf64_Dyn>(dynamic.p_offset, dynamic.p_filesz / sizeof(Elf64_Dyn));
  auto value = [&entries](int64_t tag) -> uint64_t {
    for (const Elf64_Dyn& entry : entries) {
      if (entry.d_tag == tag) return entry.d_un.d_val;
    }
    return 0;
  };
  std::string_view strings;
  uint64_t address = value(DT_STRTAB);
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address - segment.p_vaddr < segment.p_filesz) {
      strings = file.Part(segment.p_offset + (address - segment.p_vaddr), value(DT_STRSZ));
    }
  }
  bool has_name = false;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED) elf.needed.emplace_back(TextAt(strings, entry.d_un.d_val));
    if (entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH) {
      elf.search_path = SplitPath(TextAt(strings, entry.d_un.d_val), origin);
    }
    if (entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_PIE) != 0) elf.executable = true;
    if (entry.d_tag == DT_SONAME) has_name = true;
  }
  // Linkers before 2018 do not say that a program is one. Libraries that can be run (libc.so.6) have a name.
  if (!elf.interpreter.empty() && !has_name) elf.executable = true;
}

// The loader's list of folders, as the distribution configures it, and its built-in ones.
const std::vector<std::string>& SystemFolders() {
  static const std::vector<std::string> folders = [] {
    std::vector<std::string> found;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator("/etc/ld.so.conf.d", error)) {
      std::istringstream lines(ReadWholeFile(entry.path()).value_or(""));
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('/')) found.push_back(line);
      }
    }
    found.insert(found.end(), {"/lib64", "/usr/lib64", "/lib", "/usr/lib"});
    return found;
  }();
  return folders;
}

std::string FindNeeded(const std::string& name, const ElfFile& by) {
  if (name.find('/') != name.npos) return name;
  const char* environment = getenv("LD_LIBRARY_PATH");
  std::vector<std::string> folders = by.search_path;
  for (std::string& folder : SplitPath(environment == nullptr ? "" : environment, "")) folders.push_back(folder);
  folders.insert(folders.end(), SystemFolders().begin(), SystemFolders().end());
  for (const std::string& folder : folders) {
    std::string path = folder + "/" + name;
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return "";
}

}  // namespace

std::optional<ElfFile> ReadElf(const std::string& path, std::string* problem) {
  MappedFile file(path, problem);
  std::string_view identity = file.Part(0, EI_NIDENT);
  if (identity.empty() || identity.substr(0, SELFMAG) != ELFMAG) return std::nullopt;
  ElfFile elf;
  std::vector<uint16_t> type_and_machine = file.Table<uint16_t>(EI_NIDENT, 2);
  if (type_and_machine.size() < 2) return std::nullopt;
  elf.executable = type_and_machine[0] == ET_EXEC;
  elf.machine = type_and_machine[1];
  elf.is_64_bit = identity[EI_CLASS] == ELFCLASS64 && identity[EI_DATA] == ELFDATA2LSB;
  std::vector<Elf64_Ehdr> headers = file.Table<Elf64_Ehdr>(0, 1);
  if (!elf.is_64_bit || headers.empty()) return elf;

  auto segments = file.Table<Elf64_Phdr>(headers[0].e_phoff, headers[0].e_phnum);
  std::error_code error;
  std::string origin = fs::canonical(path, error).parent_path();
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_TLS) elf.tls = segment.p_memsz;
    if (segment.p_type == PT_INTERP) elf.interpreter = TextAt(file.Part(segment.p_offset, segment.p_filesz), 0);
    if (segment.p_type == PT_DYNAMIC) {
      elf.dynamic = true;
      ReadDynamic(file, segment, segments, origin, elf);
    }
  }
  ReadSections(file, headers[0], elf);
  ReadTexts(file, elf);
  return elf;
}

ElfFunctions ReadFunctions(const std::string& path) {
  ElfFunctions read;
  std::string ignored;
  const MappedFile file(path, &ignored);
  const std::vector<Elf64_Ehdr> headers = file.Table<Elf64_Ehdr>(0, 1);
  if (headers.empty() || memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0 ||
      headers[0].e_ident[EI_CLASS] != ELFCLASS64) {
    return read;
  }
  const auto segments = file.Table<Elf64_Phdr>(headers[0].e_phoff, headers[0].e_phnum);
  const auto sections = file.Table<Elf64_Shdr>(headers[0].e_shoff, headers[0].e_shnum);
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_NOTE && read.build_id.empty()) {
      read.build_id = BuildIdIn(file.Part(segment.p_offset, segment.p_filesz));
    }
  }
  for (const Elf64_Shdr& section : sections) {
    if ((section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM) || section.sh_link >= sections.size())
      continue;
    const Elf64_Shdr& link = sections[section.sh_link];
    const std::string_view strings = file.Part(link.sh_offset, link.sh_size);
    for (const auto& symbol : file.Table<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym))) {
      const unsigned type = ELF64_ST_TYPE(symbol.st_info);
      if (symbol.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC)) continue;
      for (const Elf64_Phdr& segment : segments) {
        const uint64_t at = symbol.st_value - segment.p_vaddr;
        if (segment.p_type != PT_LOAD || at >= segment.p_filesz) continue;
        read.functions.push_back({segment.p_offset + at, symbol.st_size, std::string(TextAt(strings, symbol.st_name))});
      }
    }
  }
  std::stable_sort(read.functions.begin(), read.functions.end(),
                   [](const ElfFunction& a, const ElfFunction& b) { return a.offset < b.offset; });
  return read;
}

std::string FunctionAt(const std::vector<ElfFunction>& functions, uint64_t offset) {
  auto behind = std::upper_bound(functions.begin(), functions.end(), offset,
                                 [](uint64_t at, const ElfFunction& function) { return at < function.offset; });
  if (behind == functions.begin()) return "";
  const ElfFunction& function = *--behind;
  return function.size == 0 || offset - function.offset < function.size ? function.name : "";
}

std::string MachineName(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "aarch64";
    case EM_386:
      return "i386";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv";
    default:
      return fmt::format("ELF machine {}", machine);
  }
}

std::vector<std::string> NeededFiles(const ElfFile& elf) {
  std::vector<std::string> files;
  std::set<std::string> seen;
  std::vector<ElfFile> waiting = {elf};
  while (!waiting.empty()) {
    ElfFile one = std::move(waiting.back());
    waiting.pop_back();
    for (const std::string& name : one.needed) {
      if (!seen.insert(name).second) continue;
      std::string path = FindNeeded(name, one);
      if (path.empty()) continue;
      files.push_back(path);
      std::string ignored;
      if (std::optional<ElfFile> next = ReadElf(path, &ignored)) waiting.push_back(std::move(*next));
    }
  }
  return files;
}

}  // namespace neap::command
