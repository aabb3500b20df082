// report.h: what --analyze shows of a query that has ended.
#pragma once

#include <string>

#include "engine/neap_engine.h"

namespace neap::command {

std::string ReportText(const neap::engine::QueryReport& report);
std::string ReportJson(const neap::engine::QueryReport& report);  // one line
// What was done as the container was short of memory, in words; "" where nothing was.
std::string PressureText(const neap::engine::QueryReport& report);

}  // namespace neap::command
