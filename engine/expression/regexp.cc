// regexp.cc: regexp_like, in RE2's syntax: TRUE where the expression matches a part of the text.
#include <re2/re2.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/text_kernel.h"

namespace neap::engine {
namespace {

std::unique_ptr<RE2> MakeRegexp(std::string_view text, ErrorKind kind) {
  RE2::Options options;
  options.set_log_errors(false);
  auto regexp = std::make_unique<RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!regexp->ok()) {
    throw Error(kind, "the regular expression '" + std::string(text) + "' is wrong: " + regexp->error());
  }
  return regexp;
}

bool Matches(const RE2& regexp, const View& text) {
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size), regexp);
}

struct RegexpLiteral {
  std::unique_ptr<RE2> regexp;
  bool operator()(const View& text) const { return Matches(*regexp, text); }
};

// An expression of each row's own; compiled again where it differs from the row before.
struct RegexpRow {
  std::unique_ptr<RE2> regexp{};
  bool operator()(const View& text, const View& expression) {
    if (!regexp || regexp->pattern() != expression.text()) regexp = MakeRegexp(expression.text(), ErrorKind::kData);
    return Matches(*regexp, text);
  }
};

}  // namespace

NodePtr MakeRegexpLike(std::vector<NodePtr> args, Memory& memory) {
  constexpr Type kText{TypeId::kString}, kBoolean{TypeId::kBool};
  if (args.size() != 2) NoFunction(Function::kRegexpLike, args, kBoolean);
  for (NodePtr& node : args) {
    if (node->type().id == TypeId::kNull) node = Coerce(std::move(node), kText, memory);
    if (node->type() != kText) NoFunction(Function::kRegexpLike, args, kBoolean);
  }
  if (!args[1]->is_constant() || static_cast<const ConstantNode&>(*args[1]).null()) {
    return MakeText<uint8_t, View, View>(kBoolean, std::move(args), RegexpRow{}, memory, Effect::kMayFail);
  }
  const View text = static_cast<const ConstantNode&>(*args[1]).value<View>();
  RegexpLiteral literal{MakeRegexp(text.text(), ErrorKind::kPlan)};
  args.resize(1);
  return MakeText<uint8_t, View>(kBoolean, std::move(args), std::move(literal), memory);
}

}  // namespace neap::engine
