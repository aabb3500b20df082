// compile.h: how an Expression becomes nodes. One function a family of functions, each in the file named.
#pragma once

#include <vector>

#include "engine/expression/evaluator.h"
#include "engine/expression/node.h"
#include "engine/plan/expression.h"

namespace neap::engine {

// compile.cc
NodePtr CompileExpression(const Expression& expression, const Slots& slots, Memory& memory);
NodePtr MakeConstant(const Literal& literal, Type type, Memory& memory);
// The node itself, or a constant where nothing below it reads a column and it does not fail.
NodePtr Fold(NodePtr node, Memory& memory);
// Throws Error(kPlan): "no function +(varchar, date) giving date".
[[noreturn]] void NoFunction(Function function, const std::vector<NodePtr>& args, Type type);
// The type in which two values are compared or chosen from. Throws Error(kPlan) where there is none.
Type CommonType(Type a, Type b);

// casts.cc
NodePtr MakeCast(NodePtr from, Type to, bool null_instead, Memory& memory);
// A cast only where the value lies or counts differently.
NodePtr Coerce(NodePtr from, Type to, Memory& memory);
// text_casts.cc: from or to a string
NodePtr MakeTextCast(NodePtr from, Type to, bool null_instead, Memory& memory);

// arithmetic.cc, decimal_arithmetic.cc: + - * / % and bits
NodePtr MakeArithmetic(Function function, Type type, std::vector<NodePtr> args, Memory& memory);
NodePtr MakeDecimalArithmetic(Function function, Type type, NodePtr left, NodePtr right, Memory& memory);

// compare.cc
NodePtr MakeComparison(Function function, std::vector<NodePtr> args, Memory& memory);

// logic.cc: and, or, not, xor, is null, is true
NodePtr MakeLogic(Function function, Type type, std::vector<NodePtr> args, Memory& memory);

// conditional.cc: CASE; coalesce, greatest, least
NodePtr MakeCase(Type type, std::vector<NodePtr> args, Memory& memory);
NodePtr MakeConditional(Function function, Type type, std::vector<NodePtr> args, Memory& memory);

// in.cc: of constants
NodePtr MakeIn(std::vector<NodePtr> args, Memory& memory);

// math.cc: functions of one number, rounding, power
NodePtr MakeMath(Function function, Type type, std::vector<NodePtr> args, Memory& memory);

// dates.cc: + - * with a date, timestamp or interval; parts, truncation, make_date
NodePtr MakeTimeArithmetic(Function function, Type type, std::vector<NodePtr> args, Memory& memory);
NodePtr MakeDateFunction(Function function, Type type, std::vector<NodePtr> args, Memory& memory);

// strings.cc, like.cc, regexp.cc
NodePtr MakeString(Function function, Type type, std::vector<NodePtr> args, Memory& memory);
NodePtr MakeLike(Function function, std::vector<NodePtr> args, Memory& memory);
NodePtr MakeRegexpLike(std::vector<NodePtr> args, Memory& memory);

}  // namespace neap::engine
