// bytes.cc: sizes as people write and read them.
#include "tools/neap/bytes.h"

#include <fmt/format.h>
#include <math.h>

#include <array>
#include <charconv>

#include "tools/neap/failure.h"

namespace neap::command {
namespace {

constexpr std::string_view kUnits = "BKMGTPE";

// The power of 1024 of "", "b", "k", "kb", "KiB" and so on.
std::optional<int> UnitPower(std::string_view suffix) {
  if (suffix.empty()) return 0;
  char letter = static_cast<char>(toupper(static_cast<unsigned char>(suffix[0])));
  size_t power = kUnits.find(letter);
  if (power == std::string_view::npos) return std::nullopt;
  std::string_view rest = suffix.substr(1);
  bool known = rest.empty() || (power > 0 && (rest == "b" || rest == "B" || rest == "iB" || rest == "ib"));
  return known ? std::optional<int>(static_cast<int>(power)) : std::nullopt;
}

}  // namespace

std::optional<uint64_t> ParseBytes(std::string_view text) {
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !isfinite(number)) return std::nullopt;
  std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  if (suffix.starts_with(' ')) suffix.remove_prefix(1);
  std::optional<int> power = UnitPower(suffix);
  if (!power) return std::nullopt;
  double bytes = ldexp(number, *power * 10);
  if (bytes < 1 || bytes >= ldexp(1, 63)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

uint64_t BytesOption(std::string_view option, std::string_view text) {
  std::optional<uint64_t> bytes = ParseBytes(text);
  if (!bytes) {
    throw Failure(kBadCall, fmt::format("{} '{}' is not a size: write bytes, or a number with K, M, G or T, such as "
                                        "64M or 1.5GiB (powers of two)",
                                        option, text));
  }
  return *bytes;
}

std::string FormatBytes(uint64_t bytes) {
  double value = static_cast<double>(bytes);
  size_t power = 0;
  // 999.5 and not 1024, so that three figures always do.
  while (value >= 999.5 && power + 1 < kUnits.size()) {
    value /= 1024;
    ++power;
  }
  if (power == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}iB", value, value < 9.95 ? 1 : 0, kUnits[power]);
}

std::string FormatSignedBytes(int64_t bytes) {
  uint64_t magnitude = bytes < 0 ? 0 - static_cast<uint64_t>(bytes) : static_cast<uint64_t>(bytes);
  return (bytes < 0 ? "-" : "") + FormatBytes(magnitude);
}

}  // namespace neap::command
