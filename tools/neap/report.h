// report.h: one self-contained HTML page from a page of statistics.
#pragma once

#include <string>

#include "tools/neap/history.h"
#include "tools/neap/profile_data.h"

namespace neap::command {

// profile: without stacks where there is none. Ends the command with kNoAccess if the file cannot be written.
void WriteReport(const StatsPage& page, const ProfileData& profile, const Story& story, const std::string& path);

}  // namespace neap::command
