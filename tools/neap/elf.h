// elf.h: what an ELF file tells about whether an interposed malloc reaches it.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

namespace neap::command {

struct AllocatorInside {
  std::string family;    // "jemalloc"
  std::string evidence;  // the symbol or the text that told
  // Of jemalloc: the variable with its settings, named after the prefix of its build; "" where the file does not tell.
  std::string variable;
  std::string call;  // of a function that the file exports, by which it gives back; "" where there is none
};

struct ElfFile {
  uint16_t machine = 0;     // EM_X86_64
  bool is_64_bit = false;   // the rest is only read if it is
  bool executable = false;  // has an entry point and is no library
  std::string interpreter;  // the loader it asks for; empty in a static program
  bool dynamic = false;     // has symbols to link at run time
  bool exports_malloc = false;
  bool is_go = false;  // Go's runtime maps its heap itself
  uint64_t tls = 0;    // bytes for every thread, in a library of the initial-exec model static TLS
  std::vector<std::string> needed;
  std::vector<std::string> search_path;  // DT_RUNPATH or DT_RPATH, $ORIGIN replaced
  std::vector<AllocatorInside> allocators;
};

// Nothing if the file is no ELF file, or cannot be read (`problem` is then set).
std::optional<ElfFile> ReadElf(const std::string& path, std::string* problem);

struct ElfFunction {
  uint64_t offset;  // of its first byte, in the file
  uint64_t size;    // 0: not known
  std::string name;
};

struct ElfFunctions {
  std::string build_id;                // its bytes; empty where it has none
  std::vector<ElfFunction> functions;  // by offset
};

// Nothing of a file that is no ELF file or cannot be read.
ElfFunctions ReadFunctions(const std::string& path);

// The name of the function that an offset lies in; "" where there is none.
std::string FunctionAt(const std::vector<ElfFunction>& functions, uint64_t offset);

std::string MachineName(uint16_t machine);

// The files of the libraries that the loader would load with it, as far as they can be found without running it.
std::vector<std::string> NeededFiles(const ElfFile& elf);

}  // namespace neap::command
