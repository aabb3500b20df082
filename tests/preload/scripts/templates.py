"""Prints a C++ program that is a lot of work for the compiler: argv[1] types, each through many templates."""

import sys

count = int(sys.argv[1])
print("#include <algorithm>\n#include <functional>\n#include <iostream>\n#include <map>\n#include <memory>\n"
      "#include <numeric>\n#include <ranges>\n#include <regex>\n#include <set>\n#include <string>\n#include <tuple>\n"
      "#include <unordered_map>\n#include <variant>\n#include <vector>\n")
for i in range(count):
    print(f"""struct T{i} {{ long a = {i}; std::string s = "{i}"; auto operator<=>(const T{i}&) const = default; }};
long f{i}() {{
  std::map<T{i}, std::vector<std::tuple<T{i}, int, std::string>>> m;
  for (long n = 0; n < 10; ++n) m[T{i}{{n, std::to_string(n)}}].emplace_back(T{i}{{}}, n, "x");
  std::variant<T{i}, std::unique_ptr<T{i}>, std::function<long(T{i})>> v = [](T{i} t) {{ return t.a + {i}; }};
  std::set<std::string> s;
  for (auto& [k, w] : m) for (auto& [t, n, x] : w) s.insert(k.s + t.s + x + std::to_string(n));
  auto even = s | std::views::filter([](auto& x) {{ return x.size() % 2 == 0; }});
  return std::get<2>(v)(T{i}{{}}) + std::ranges::distance(even) + static_cast<long>(s.size());
}}""")
print("int main() { long sum = 0;")
for i in range(count):
    print(f"  sum += f{i}();")
print("  std::cout << sum << std::endl; }")
