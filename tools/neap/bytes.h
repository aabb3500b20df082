// bytes.h: sizes as people write and read them. Every suffix is a power of two.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>

namespace neap::command {

// "64M", "1.5GiB", "1 g", "4096"; nothing for anything else, for 0 and for what does not fit into 63 bits.
std::optional<uint64_t> ParseBytes(std::string_view text);

// ParseBytes, or a Failure that names the option.
uint64_t BytesOption(std::string_view option, std::string_view text);

// "1.0 GiB", "612 MiB", "8.0 MiB", "512 B".
std::string FormatBytes(uint64_t bytes);
std::string FormatSignedBytes(int64_t bytes);

}  // namespace neap::command
