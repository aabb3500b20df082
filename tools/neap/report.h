// report.h: one self-contained HTML page from a page of statistics.
#pragma once

#include <string>

#include "tools/neap/history.h"

namespace neap::command {

// Ends the command with kNoAccess if the file cannot be written.
void WriteReport(const StatsPage& page, const Story& story, const std::string& path);

}  // namespace neap::command
