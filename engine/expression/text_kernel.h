// text_kernel.h: nodes of functions of strings: one call a row that counts and has no NULL among its arguments.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/node.h"
#include "engine/expression/text.h"

namespace neap::engine {

// F: R operator()(const Args&...), or R operator()(TextArena&, const Args&...) where it makes strings.
template <class F, class R, class... Args>
class TextNode final : public Node {
 public:
  TextNode(Type type, Effect effect, std::vector<NodePtr> args, F f, Memory& memory)
      : Node(type, effect, memory, std::move(args)), f_(std::move(f)), arena_(memory) {
    for (const NodePtr& node : this->args()) arguments_.emplace_back(*node);
  }

  Column Evaluate(const Rows& rows) override {
    const uint8_t* valid;
    if (!Operands(rows, valid)) return NullColumn();
    R* out = result_.Values<R>(memory());
    const auto call = Caller(std::index_sequence_for<Args...>{});
    rows.ForValid(valid, [&](uint32_t row) { out[row] = static_cast<R>(call(row)); });
    return Flat(out, valid);
  }

  uint32_t Select(const Rows& rows, RowIndex* kept) override {
    if constexpr (std::is_same_v<R, uint8_t>) {
      const uint8_t* valid;
      if (!Operands(rows, valid)) return 0;
      const auto call = Caller(std::index_sequence_for<Args...>{});
      uint32_t count = 0;
      rows.ForValid(valid, [&](uint32_t row) {
        kept[count] = static_cast<RowIndex>(row);
        count += static_cast<bool>(call(row));
      });
      return count;
    }
    __builtin_unreachable();
  }

 private:
  // False where a constant is NULL.
  bool Operands(const Rows& rows, const uint8_t*& valid) {
    arena_.Reset();
    valid = nullptr;
    for (size_t i = 0; i < sizeof...(Args); ++i) {
      operands_[i] = arguments_[i].Evaluate(rows, memory());
      if (operands_[i].null()) return false;
      valid = BothValid(rows, valid, operands_[i].flat_valid(), result_, memory());
    }
    return true;
  }

  template <size_t... I>
  auto Caller(std::index_sequence<I...>) {
    return [this, values = std::tuple(AnyValues<Args>(operands_[I])...)](uint32_t row) {
      if constexpr (std::is_invocable_v<F&, TextArena&, const Args&...>) {
        return f_(arena_, std::get<I>(values)[row]...);
      } else {
        return f_(std::get<I>(values)[row]...);
      }
    };
  }

  F f_;
  TextArena arena_;
  std::vector<Argument> arguments_;
  std::array<Operand, sizeof...(Args)> operands_;
};

// R is how `type` lies; arguments are coerced by the caller to types that lie as Args.
template <class R, class... Args, class F>
NodePtr MakeText(Type type, std::vector<NodePtr> args, F f, Memory& memory, Effect effect = Effect::kCostly) {
  return std::make_unique<TextNode<F, R, Args...>>(type, effect, std::move(args), std::move(f), memory);
}

}  // namespace neap::engine
