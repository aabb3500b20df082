// output.cc: see output.h.
#include "tools/neap/output.h"

#include <errno.h>
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/neap/failure.h"

namespace neap::command {

std::string Printable(std::string_view text) {
  std::string copy(text);
  std::replace_if(
      copy.begin(), copy.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return copy;
}

std::string JsonText(const nlohmann::ordered_json& json, JsonLayout layout) {
  return json.dump(layout == JsonLayout::kIndented ? 2 : -1, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace);
}

void WriteWholeFile(const std::string& path, std::string_view bytes, int code) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  if (!file) throw Failure(code, fmt::format("cannot write {}: {}", path, strerror(errno)));
}

}  // namespace neap::command
