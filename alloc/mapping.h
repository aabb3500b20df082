// mapping.h: a line of /proc/self/maps, or the first of a mapping's in /proc/self/smaps.
#pragma once

#include <stdint.h>
#include <string.h>

namespace neap {

struct Mapping {
  uint64_t begin, end, offset;
  char access[4];    // "rw-p"
  const char* path;  // in the line; may be "[heap]" or the like; empty: none

  // "begin-end rwxp offset device inode   path"
  static Mapping Of(const char* line) {
    Mapping mapping = {};
    mapping.begin = TakeHex(line);
    mapping.end = TakeHex(++line);
    memcpy(mapping.access, ++line, sizeof access);
    line += sizeof access + 1;
    mapping.offset = TakeHex(line);
    for (int blanks = 0; *line != 0 && blanks < 3; ++line) blanks += *line == ' ' ? 1 : 0;
    while (*line == ' ') ++line;
    mapping.path = line;
    return mapping;
  }

 private:
  static uint64_t TakeHex(const char*& text) {
    uint64_t number = 0;
    for (;; ++text) {
      const char c = *text;
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) return number;
      number = number * 16 + static_cast<uint64_t>(digit);
    }
  }
};

}  // namespace neap
