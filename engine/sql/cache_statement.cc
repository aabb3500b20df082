// cache_statement.cc: a parser for three statements.
#include "engine/sql/cache_statement.h"

#include <fmt/format.h>

#include <cctype>

#include "engine/core/error.h"
#include "engine/sql/tokens.h"

namespace neap::engine {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view sql) : sql_(sql), tokens_(sql) { Advance(); }

  std::optional<CacheStatement> Parse() {
    CacheStatement statement;
    if (Take("cache")) {
      head_ = "CACHE TABLE";
      statement.kind = CacheStatement::Kind::kCache;
      statement.lazy = Take("lazy");
      Expect("table", "TABLE");
      statement.name = Name();
      if (Take("options")) Options(statement);
      statement.query = Query();
    } else if (Take("uncache")) {
      head_ = "UNCACHE TABLE";
      statement.kind = CacheStatement::Kind::kUncache;
      Expect("table", "TABLE");
      if (Take("if")) {
        Expect("exists", "EXISTS after IF");
        statement.if_exists = true;
      }
      statement.name = Name();
      if (token_ != Token::kEnd) Fail("the end");
    } else if (Take("clear")) {
      head_ = "CLEAR CACHE";
      Expect("cache", "CACHE");
      if (token_ != Token::kEnd) Fail("the end");
    } else {
      return std::nullopt;
    }
    return statement;
  }

 private:
  void Advance() { token_ = tokens_.Next(); }

  bool Is(std::string_view keyword) const { return token_ == Token::kWord && IsKeyword(tokens_.text(), keyword); }

  bool Take(std::string_view keyword) {
    const bool there = Is(keyword);
    if (there) Advance();
    return there;
  }

  bool TakeSign(char sign) {
    const bool there = token_ == Token::kOther && tokens_.text()[0] == sign;
    if (there) Advance();
    return there;
  }

  void Expect(std::string_view keyword, const char* what) {
    if (!Take(keyword)) Fail(what);
  }

  [[noreturn]] void Fail(const std::string& expected) const {
    const std::string found = token_ == Token::kEnd ? "the end" : fmt::format("'{}'", tokens_.text());
    throw Error(ErrorKind::kPlan, fmt::format("{}: expected {}, found {}", head_, expected, found));
  }

  std::string Name() {
    std::string name;
    do {
      if (!name.empty()) name += '.';
      if (token_ == Token::kQuoted) {
        name += tokens_.unquoted();
      } else if (token_ == Token::kWord) {
        for (const char c : tokens_.text()) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      } else {
        Fail("the name of a table");
      }
      Advance();
    } while (TakeSign('.'));
    return name;
  }

  void Options(CacheStatement& statement) {
    constexpr char kExpected[] = "OPTIONS ('storageLevel' 'LEVEL')";
    if (!TakeSign('(')) Fail(kExpected);
    const bool quoted = token_ == Token::kQuoted;
    if ((!quoted && token_ != Token::kWord) ||
        !IsKeyword(quoted ? tokens_.unquoted() : std::string(tokens_.text()), "storagelevel"))
      Fail(kExpected);
    Advance();
    TakeSign('=');
    if (token_ != Token::kQuoted) Fail(kExpected);
    const std::string name = tokens_.unquoted();
    const std::optional<StorageLevel> level = StorageLevel::FromName(name);
    if (!level) {
      throw Error(ErrorKind::kPlan, fmt::format("CACHE TABLE: '{}' is no storage level: name one of Spark's, such as "
                                                "MEMORY_ONLY, MEMORY_AND_DISK_SER or DISK_ONLY",
                                                name));
    }
    statement.level = *level;
    Advance();
    if (!TakeSign(')')) Fail(kExpected);
  }

  std::string Query() {
    const bool as = Take("as");
    if (token_ == Token::kEnd && !as) return "";
    const bool starts = Is("select") || Is("with") || Is("values") || Is("table") ||
                        (token_ == Token::kOther && tokens_.text()[0] == '(');
    if (!starts) Fail(as ? "a query after AS" : "OPTIONS, AS and a query, or the end");
    return std::string(sql_.substr(tokens_.start()));
  }

  const std::string_view sql_;
  Tokens tokens_;
  Token token_ = Token::kEnd;
  const char* head_ = "";
};

}  // namespace

std::optional<CacheStatement> ParseCacheStatement(std::string_view sql) { return Parser(sql).Parse(); }

}  // namespace neap::engine
