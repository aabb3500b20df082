// statements.cc: a walk over the tokens of SQL.
#include "engine/sql/statements.h"

#include <algorithm>
#include <cctype>

namespace neap::engine {
namespace {

enum class Token { kWord, kQuoted, kOther, kSeparator, kEnd };

class Tokens {
 public:
  explicit Tokens(std::string_view sql) : sql_(sql) {}

  Token Next() {
    SkipSpace();
    start_ = at_;
    if (at_ == sql_.size()) return Token::kEnd;
    const char c = sql_[at_++];
    if (c == ';') return Token::kSeparator;
    if (c == '\'' || c == '"') {
      SkipQuoted(c);
      return Token::kQuoted;
    }
    if (!IsWord(c)) return Token::kOther;
    while (at_ < sql_.size() && IsWord(sql_[at_])) ++at_;
    return Token::kWord;
  }

  size_t start() const { return start_; }
  size_t end() const { return at_; }
  std::string_view text() const { return sql_.substr(start_, at_ - start_); }

  // Of a quoted token, without its quotes.
  std::string unquoted() const {
    const char quote = sql_[start_];
    std::string result;
    for (size_t i = start_ + 1; i + 1 < at_; ++i) {
      result += sql_[i];
      if (sql_[i] == quote) ++i;
    }
    return result;
  }

 private:
  static bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

  void SkipSpace() {
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

  void SkipQuoted(char quote) {
    while (at_ < sql_.size()) {
      if (sql_[at_++] != quote) continue;
      if (at_ == sql_.size() || sql_[at_] != quote) return;
      ++at_;  // a doubled quote is one of the text's own
    }
  }

  std::string_view sql_;
  size_t start_ = 0;
  size_t at_ = 0;
};

bool IsKeyword(std::string_view word, std::string_view keyword) {
  return std::equal(word.begin(), word.end(), keyword.begin(), keyword.end(),
                    [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

}  // namespace

std::vector<std::string> SplitStatements(std::string_view sql) {
  std::vector<std::string> statements;
  Tokens tokens(sql);
  size_t begin = 0, end = 0;  // of the statement's tokens so far
  for (;;) {
    const Token token = tokens.Next();
    if (token == Token::kSeparator || token == Token::kEnd) {
      if (end > begin) statements.emplace_back(sql.substr(begin, end - begin));
      if (token == Token::kEnd) return statements;
      begin = end = tokens.end();
    } else {
      if (end <= begin) begin = tokens.start();
      end = tokens.end();
    }
  }
}

std::vector<std::string> QuotedTables(std::string_view sql) {
  std::vector<std::string> names;
  Tokens tokens(sql);
  bool table_follows = false, after_table = false;
  for (Token token = tokens.Next(); token != Token::kEnd; token = tokens.Next()) {
    if (token == Token::kQuoted && table_follows) {
      std::string name = tokens.unquoted();
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
      after_table = true;
      table_follows = false;
      continue;
    }
    table_follows = (token == Token::kWord && (IsKeyword(tokens.text(), "from") || IsKeyword(tokens.text(), "join"))) ||
                    (after_table && token == Token::kOther && tokens.text() == ",");
    // An alias between the table and a comma.
    if (token != Token::kWord) after_table = false;
  }
  return names;
}

}  // namespace neap::engine
