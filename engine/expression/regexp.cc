// regexp.cc: regexp_like, in Perl's syntax by PCRE2: TRUE where the expression matches a part of the text.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/text_kernel.h"

namespace neap::engine {
namespace {

class Regexp {
 public:
  Regexp(std::string_view text, ErrorKind kind) : text_(text) {
    int code;
    size_t offset;
    code_.reset(pcre2_compile(Bytes(text), text.size(), PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &offset, nullptr));
    if (code_ == nullptr) {
      throw Error(kind, "the regular expression '" + text_ + "' is wrong at character " + std::to_string(offset) +
                            ": " + Message(code));
    }
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where it cannot be compiled it is interpreted
    match_.reset(pcre2_match_data_create(1, nullptr));
    context_.reset(pcre2_match_context_create(nullptr));
    stack_.reset(pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr));
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  bool Matches(std::string_view text) const {
    const int result = pcre2_match(code_.get(), Bytes(text), text.size(), 0, 0, match_.get(), context_.get());
    if (result >= 0) return true;
    if (result == PCRE2_ERROR_NOMATCH) return false;
    throw Error(ErrorKind::kData,
                "the regular expression '" + text_ + "' takes too long or too much: " + Message(result));
  }
  const std::string& text() const { return text_; }

 private:
  static constexpr size_t kFirstStack = size_t{32} << 10;
  static constexpr size_t kLargestStack = size_t{1} << 20;

  static PCRE2_SPTR Bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }
  static std::string Message(int code) {
    char message[160] = {};
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof(message));
    return message;
  }

  template <auto kFree>
  struct Free {
    template <class T>
    void operator()(T* object) const {
      kFree(object);
    }
  };

  std::string text_;
  std::unique_ptr<pcre2_code, Free<pcre2_code_free>> code_;
  std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>> match_;
  std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>> context_;
  std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>> stack_;
};

struct RegexpLiteral {
  Regexp regexp;
  bool operator()(const View& text) const { return regexp.Matches(text.text()); }
};

// An expression of each row's own; compiled again where it differs from the row before.
struct RegexpRow {
  std::unique_ptr<Regexp> regexp{};
  bool operator()(const View& text, const View& expression) {
    if (!regexp || regexp->text() != expression.text()) {
      regexp = std::make_unique<Regexp>(expression.text(), ErrorKind::kData);
    }
    return regexp->Matches(text.text());
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
  RegexpLiteral literal{Regexp(text.text(), ErrorKind::kPlan)};
  args.resize(1);
  return MakeText<uint8_t, View>(kBoolean, std::move(args), std::move(literal), memory, Effect::kMayFail);
}

}  // namespace neap::engine
