// What a compiler allocates most for: templates.
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <ranges>
#include <regex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int kNumber>
struct Visitor {
  using Value = std::variant<std::string, std::vector<std::array<int, kNumber + 1>>, std::map<std::string, double>>;
  std::unordered_map<std::string, Value> values;

  size_t Visit(const std::string& name) {
    std::function<size_t(Value&)> visit = [](Value& value) {
      return std::visit([](auto& v) { return v.size(); }, value);
    };
    return visit(values[name]) + (kNumber > 0 ? Visitor<(kNumber > 0 ? kNumber - 1 : 0)>().Visit(name) : 0);
  }
};

size_t Count(const std::string& text) {
  const std::regex words("([a-z]+)|([0-9]+)");
  auto matches = std::ranges::subrange(std::sregex_iterator(text.begin(), text.end(), words), std::sregex_iterator());
  return static_cast<size_t>(std::ranges::distance(matches)) + Visitor<40>().Visit(text);
}
