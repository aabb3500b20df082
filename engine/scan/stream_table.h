// stream_table.h: tables that a program gives as Arrow streams.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/scan/table.h"

struct ArrowArrayStream;

namespace neap::engine {

// Opens a stream of the same rows at every call, or throws.
using OpenStream = std::function<void(ArrowArrayStream*)>;

// A stream is opened at once, for its columns, and serves the first scan. `rows`: about so many; 0: unknown.
std::shared_ptr<Table> MakeStreamTable(OpenStream open, uint64_t rows);
// The same, of columns that are known: no stream is opened before the first scan.
std::shared_ptr<Table> MakeStreamTable(OpenStream open, uint64_t rows, std::vector<TableColumn> columns);

}  // namespace neap::engine
