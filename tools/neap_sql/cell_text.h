// cell_text.h: values of Arrow arrays as text.
#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <string>

namespace neap::command {

// Appends the value, which is not NULL. Strings as they are.
void AppendCell(const arrow::Array& array, int64_t row, std::string* text);

bool IsNumber(const arrow::DataType& type);  // to be put to the right, and without quotes in JSON
bool IsText(const arrow::DataType& type);

}  // namespace neap::command
