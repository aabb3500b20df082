// planner_script.h: the text of planner.py.
#pragma once

namespace neap::engine {

extern const char kPlannerScript[];

}  // namespace neap::engine
