// output.cc: texts that come from other processes and files, made fit for a terminal and for JSON.
#include "tools/neap/output.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

}  // namespace neap::command
