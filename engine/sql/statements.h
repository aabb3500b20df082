// statements.h: the text of SQL, as far as it must be known before anybody parses it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace neap::engine {

// The statements of a text, which `;` separates; empty ones left out. Comments, strings and quoted names are skipped.
std::vector<std::string> SplitStatements(std::string_view sql);

// What stands in quotes where a table is named: FROM 'folder/file.parquet', JOIN "x.parquet". Each once.
std::vector<std::string> QuotedTables(std::string_view sql);

}  // namespace neap::engine
