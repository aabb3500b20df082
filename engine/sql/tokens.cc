// tokens.cc: where words, quotes and comments begin and end.
#include "engine/sql/tokens.h"

#include <algorithm>
#include <cctype>

namespace neap::engine {
namespace {

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

}  // namespace

Token Tokens::Next() {
  SkipSpace();
  start_ = at_;
  if (at_ == sql_.size()) return Token::kEnd;
  const char c = sql_[at_++];
  if (c == ';') return Token::kSeparator;
  if (c == '\'' || c == '"' || c == '`') {
    SkipQuoted(c);
    return Token::kQuoted;
  }
  if (!IsWord(c)) return Token::kOther;
  while (at_ < sql_.size() && IsWord(sql_[at_])) ++at_;
  return Token::kWord;
}

std::string Tokens::unquoted() const {
  const char quote = sql_[start_];
  std::string result;
  for (size_t i = start_ + 1; i + 1 < at_; ++i) {
    result += sql_[i];
    if (sql_[i] == quote) ++i;
  }
  return result;
}

void Tokens::SkipSpace() {
  while (at_ < sql_.size()) {
    const std::string_view rest = sql_.substr(at_);
    if (std::isspace(static_cast<unsigned char>(rest[0])) != 0) {
      ++at_;
    } else if (rest.starts_with("--")) {
      at_ = std::min(sql_.find('\n', at_), sql_.size());
    } else if (rest.starts_with("/*")) {
      const size_t end = sql_.find("*/", at_ + 2);
      at_ = end == std::string_view::npos ? sql_.size() : end + 2;
    } else {
      return;
    }
  }
}

void Tokens::SkipQuoted(char quote) {
  while (at_ < sql_.size()) {
    if (sql_[at_++] != quote) continue;
    if (at_ == sql_.size() || sql_[at_] != quote) return;
    ++at_;  // a doubled quote is one of the text's own
  }
}

bool IsKeyword(std::string_view word, std::string_view keyword) {
  return std::equal(word.begin(), word.end(), keyword.begin(), keyword.end(),
                    [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

}  // namespace neap::engine
