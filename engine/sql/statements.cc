// statements.cc: walks over the tokens of SQL.
#include "engine/sql/statements.h"

#include <algorithm>

#include "engine/sql/tokens.h"

namespace neap::engine {

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
