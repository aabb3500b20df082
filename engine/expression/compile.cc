// compile.cc: from an Expression to nodes: columns, literals, and which file makes what.
#include "engine/expression/compile.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "engine/expression/decimal.h"
#include "engine/expression/dictionary.h"

namespace neap::engine {
namespace {

class ColumnNode final : public Node {
 public:
  ColumnNode(Type type, uint32_t slot, Memory& memory) : Node(type, Effect::kNone, memory), index_(slot) {
    ReadsSlot(static_cast<int32_t>(slot));
  }
  Column Evaluate(const Rows& rows) override { return rows.columns[index_]; }
  bool is_column() const override { return true; }

 private:
  uint32_t index_;
};

NodePtr MakeCall(const Expression& expression, std::vector<NodePtr> args, Memory& memory) {
  const Function function = expression.function;
  switch (function) {
    case Function::kAdd:
    case Function::kSubtract:
    case Function::kMultiply:
    case Function::kDivide:
    case Function::kModulus:
    case Function::kBitwiseAnd:
    case Function::kBitwiseOr:
    case Function::kBitwiseXor:
    case Function::kShiftLeft:
    case Function::kShiftRight:
      return MakeArithmetic(function, expression.type, std::move(args), memory);
    case Function::kEqual:
    case Function::kNotEqual:
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
    case Function::kIsDistinctFrom:
    case Function::kIsNotDistinctFrom:
      return MakeComparison(function, std::move(args), memory);
    case Function::kAnd:
    case Function::kOr:
    case Function::kNot:
    case Function::kXor:
    case Function::kIsNull:
    case Function::kIsNotNull:
    case Function::kIsTrue:
    case Function::kIsFalse:
    case Function::kIsNotTrue:
    case Function::kIsNotFalse:
      return MakeLogic(function, expression.type, std::move(args), memory);
    case Function::kCoalesce:
    case Function::kGreatest:
    case Function::kLeast:
      return MakeConditional(function, expression.type, std::move(args), memory);
    case Function::kNegate:
    case Function::kAbs:
    case Function::kPower:
    case Function::kSqrt:
    case Function::kExp:
    case Function::kLn:
    case Function::kLog10:
    case Function::kFloor:
    case Function::kCeil:
    case Function::kRound:
    case Function::kTruncate:
    case Function::kSign:
    case Function::kIsNan:
    case Function::kBitwiseNot:
      return MakeMath(function, expression.type, std::move(args), memory);
    case Function::kLike:
    case Function::kNotLike:
    case Function::kILike:
    case Function::kNotILike:
      return MakeLike(function, std::move(args), memory);
    case Function::kRegexpLike:
      return MakeRegexpLike(std::move(args), memory);
    case Function::kDatePart:
    case Function::kDateTrunc:
    case Function::kMakeDate:
      return MakeDateFunction(function, expression.type, std::move(args), memory);
    case Function::kNullIf:
      break;  // rewritten before
    case Function::kSubstring:
    case Function::kConcat:
    case Function::kConcatWs:
    case Function::kUpper:
    case Function::kLower:
    case Function::kTrim:
    case Function::kLeftTrim:
    case Function::kRightTrim:
    case Function::kLength:
    case Function::kOctetLength:
    case Function::kReplace:
    case Function::kPosition:
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
    case Function::kLeftPad:
    case Function::kRightPad:
    case Function::kReverse:
    case Function::kRepeat:
    case Function::kLeft:
    case Function::kRight:
    case Function::kSplitPart:
      return MakeString(function, expression.type, std::move(args), memory);
  }
  __builtin_unreachable();
}

// A decimal constant with as few digits as it has, so that arithmetic with it stays narrow.
NodePtr Narrow(NodePtr node, Memory& memory) {
  Type type = node->type();
  if (!node->is_constant() || type.id != TypeId::kDecimal) return node;
  const Literal literal = LiteralAt(node->Evaluate(Rows{nullptr, 1, nullptr, 1}), 0);
  if (literal.null) return node;
  const int digits = CountDigits(std::get<Int128>(literal.value));
  type.precision = static_cast<uint8_t>(std::min<int>(type.precision, std::max<int>({digits, type.scale, 1})));
  return MakeConstant(literal, type, memory);
}

// Where a node reads several columns, each argument that reads one alone may use that one's dictionary. (Where all read
// the same one, the node itself may.)
void WrapArguments(std::vector<NodePtr>& args, Memory& memory) {
  int32_t slot = Node::kNoSlot;
  for (const NodePtr& node : args) slot = Node::Join(slot, node->slot());
  if (slot != Node::kManySlots) return;
  for (NodePtr& node : args) node = MakeDictionary(std::move(node), memory);
}

// Terms of nested ANDs (or ORs) become arguments of one.
void CollectTerms(const Expression& expression, Function function, std::vector<const Expression*>& terms) {
  for (const Expression& term : expression.args) {
    if (term.kind == Expression::Kind::kCall && term.function == function) {
      CollectTerms(term, function, terms);
    } else {
      terms.push_back(&term);
    }
  }
}

// NULLIF and an IN whose list holds more than literals, said with what there is a kernel for.
std::optional<Expression> Rewritten(const Expression& expression) {
  constexpr Type kBoolean{TypeId::kBool};
  const std::vector<Expression>& args = expression.args;
  if (expression.kind == Expression::Kind::kCall && expression.function == Function::kNullIf && args.size() == 2) {
    Expression result;
    result.kind = Expression::Kind::kCase;
    result.type = expression.type;
    result.args = {Expression::Call(Function::kEqual, kBoolean, {args[0], args[1]}),
                   Expression::Constant({}, expression.type), args[0]};
    return result;
  }
  if (expression.kind != Expression::Kind::kIn) return std::nullopt;
  bool literals = true;
  for (size_t i = 1; i < args.size(); ++i) {
    args[i].ForEachColumn([&](ColumnId) { literals = false; });
  }
  if (literals) return std::nullopt;
  std::vector<Expression> terms;
  for (size_t i = 1; i < args.size(); ++i) {
    terms.push_back(Expression::Call(Function::kEqual, kBoolean, {args[0], args[i]}));
  }
  return Expression::Call(Function::kOr, kBoolean, std::move(terms));
}

NodePtr CompileUnfolded(const Expression& expression, const Slots& slots, Memory& memory) {
  if (const auto rewritten = Rewritten(expression)) return CompileUnfolded(*rewritten, slots, memory);
  std::vector<NodePtr> args;
  std::vector<const Expression*> parts;
  const bool junction = expression.kind == Expression::Kind::kCall &&
                        (expression.function == Function::kAnd || expression.function == Function::kOr);
  if (junction) {
    CollectTerms(expression, expression.function, parts);
  } else {
    for (const Expression& part : expression.args) parts.push_back(&part);
  }
  for (const Expression* part : parts) args.push_back(CompileExpression(*part, slots, memory));
  WrapArguments(args, memory);

  switch (expression.kind) {
    case Expression::Kind::kColumn:
      return std::make_unique<ColumnNode>(expression.type, slots.Find(expression.column), memory);
    case Expression::Kind::kLiteral:
      return MakeConstant(expression.literal, expression.type, memory);
    case Expression::Kind::kCall:
      return MakeCall(expression, std::move(args), memory);
    case Expression::Kind::kCast:
      return MakeCast(std::move(args.at(0)), expression.type, expression.try_cast, memory);
    case Expression::Kind::kCase:
      return MakeCase(expression.type, std::move(args), memory);
    case Expression::Kind::kIn:
      return MakeIn(std::move(args), memory);
    case Expression::Kind::kScalarSubquery:
      throw Error(ErrorKind::kPlan, "a scalar subquery is left in an expression: the plan must join with it first");
  }
  __builtin_unreachable();
}

bool IsNumber(Type type) { return type.is_integer() || type.id == TypeId::kFloat || type.id == TypeId::kDouble; }

int DecimalDigits(Type type) {
  if (type.id == TypeId::kDecimal) return type.precision - type.scale;
  constexpr int kDigits[] = {3, 5, 10, 19};
  return kDigits[static_cast<int>(type.id) - static_cast<int>(TypeId::kInt8)];
}

}  // namespace

NodePtr CompileExpression(const Expression& expression, const Slots& slots, Memory& memory) {
  return Narrow(Fold(CompileUnfolded(expression, slots, memory), memory), memory);
}

NodePtr MakeConstant(const Literal& literal, Type type, Memory& memory) {
  return std::make_unique<ConstantNode>(type, literal, memory);
}

NodePtr Fold(NodePtr node, Memory& memory) {
  if (node->slot() != Node::kNoSlot || node->is_constant()) return node;
  try {
    const Column column = node->Evaluate(Rows{nullptr, 1, nullptr, 1});
    return MakeConstant(LiteralAt(column, 0), node->type(), memory);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) throw;
    return node;  // an error of the query only if a row comes to it
  }
}

void NoFunction(Function function, const std::vector<NodePtr>& args, Type type) {
  std::string text = std::string("no function ") + FunctionName(function) + "(";
  for (size_t i = 0; i < args.size(); ++i) text += (i == 0 ? "" : ", ") + (args[i] ? args[i]->type().Name() : "?");
  throw Error(ErrorKind::kPlan, text + ") giving " + type.Name());
}

Type CommonType(Type a, Type b) {
  if (a == b) return a;
  if (a.id == TypeId::kNull) return b;
  if (b.id == TypeId::kNull) return a;
  if (IsNumber(a) && IsNumber(b)) return a.id > b.id ? a : b;  // TypeId lists them from narrow to wide
  const bool decimals = (a.id == TypeId::kDecimal || IsNumber(a)) && (b.id == TypeId::kDecimal || IsNumber(b));
  if (decimals) {
    for (const Type& type : {a, b}) {
      if (type.id == TypeId::kFloat || type.id == TypeId::kDouble) return {TypeId::kDouble};
    }
    const int scale = std::max(a.scale, b.scale);
    return Type::Decimal(std::min(kMaxPrecision, std::max(DecimalDigits(a), DecimalDigits(b)) + scale), scale);
  }
  const auto is_time = [](Type type) {
    return type.id == TypeId::kDate || type.id == TypeId::kTimestamp || type.id == TypeId::kTimestampTz;
  };
  if (is_time(a) && is_time(b)) return a.id > b.id ? a : b;
  if (a.is_view() && b.is_view()) return {TypeId::kBinary};
  throw Error(ErrorKind::kPlan, a.Name() + " and " + b.Name() + " have no type in common: cast one of them");
}

}  // namespace neap::engine
