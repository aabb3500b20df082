// tokens.h: SQL word by word. Comments are passed over.
#pragma once

#include <string>
#include <string_view>

namespace neap::engine {

enum class Token { kWord, kQuoted, kOther, kSeparator, kEnd };

class Tokens {
 public:
  explicit Tokens(std::string_view sql) : sql_(sql) {}

  Token Next();

  // Of the last token.
  size_t start() const { return start_; }
  size_t end() const { return at_; }
  std::string_view text() const { return sql_.substr(start_, at_ - start_); }
  std::string unquoted() const;  // of a quoted one

 private:
  void SkipSpace();
  void SkipQuoted(char quote);

  std::string_view sql_;
  size_t start_ = 0;
  size_t at_ = 0;
};

// `keyword` in lower case; the word in any.
bool IsKeyword(std::string_view word, std::string_view keyword);

}  // namespace neap::engine
