// output.h: texts that come from other processes and files, made fit for a terminal and for JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace neap::command {

// Without control characters, which a terminal would obey.
std::string Printable(std::string_view text);

enum class JsonLayout { kOneLine, kIndented };
// What is not UTF-8 is replaced.
std::string JsonText(const nlohmann::ordered_json& json, JsonLayout layout);

}  // namespace neap::command
