// case_mapping.h: upper and lower case of UTF-8, code point by code point.
#pragma once

#include <string>
#include <string_view>

#include "engine/core/column.h"
#include "engine/expression/text.h"

namespace neap::engine {

void ToLower(std::string_view text, std::string& lower);
View Lower(TextArena& arena, const View& text);
View Upper(TextArena& arena, const View& text);

}  // namespace neap::engine
