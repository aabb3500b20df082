// output.h: texts that come from other processes and files, made fit for a terminal and for JSON, and files to write.
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

// Ends the command with that code if the file cannot be written.
void WriteWholeFile(const std::string& path, std::string_view bytes, int code);

}  // namespace neap::command
