// functions.h: the functions that a Substrait plan may call, by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/plan/plan.h"

namespace neap::engine {

// What a plan calls, without its signature and in lower case: "ADD:dec_dec" is "add".
std::string PlainFunctionName(std::string_view name);

struct ScalarFunction {
  Function function;
  int min_args, max_args;
};

// By PlainFunctionName; empty for what the engine does not have.
std::optional<ScalarFunction> FindScalarFunction(std::string_view name);
std::optional<Aggregate> FindAggregate(std::string_view name);
std::optional<WindowFunction> FindWindowFunction(std::string_view name);  // kAggregate is never given

const char* AggregateName(Aggregate aggregate);
const char* WindowFunctionName(WindowFunction function);

}  // namespace neap::engine
