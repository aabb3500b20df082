// in.cc: IN with a list: a few values are compared one after the other, many literals are looked up in a hash table.
#include <utility>

#include "engine/core/hash.h"
#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

constexpr Type kBoolean{TypeId::kBool};

// The literals of a list, without NULLs, in an open-addressing table at most half full.
template <class T>
class LiteralSet {
 public:
  LiteralSet(const std::vector<T>& values, Memory& memory) {
    size_t slots = 8;
    while (slots < values.size() * 2) slots *= 2;
    mask_ = slots - 1;
    values_ = Array<T>(memory, slots);
    used_ = Array<uint8_t>(memory, slots);
    std::memset(used_.data(), 0, slots);
    for (const T& value : values) {
      const size_t slot = Find(value);
      values_[slot] = value;
      used_[slot] = 1;
    }
  }
  bool Has(const T& value) const { return used_[Find(value)] != 0; }

 private:
  size_t Find(const T& value) const {
    size_t slot = HashValue(value) & mask_;
    while (used_[slot] != 0 && !KeysEqual(values_[slot], value)) slot = (slot + 1) & mask_;
    return slot;
  }

  Array<T> values_;
  Array<uint8_t> used_;
  size_t mask_ = 0;
};

// args[0] IN (literals): `nulls` says whether NULL was among them.
template <class T>
class InSetNode final : public Node {
  static constexpr bool kText = std::is_same_v<T, View>;
  static constexpr size_t kFew = kText ? 2 : 8;  // so many comparisons cost less than a look-up

 public:
  // args: the value, then the literals, whose memory the views point into.
  InSetNode(std::vector<NodePtr> args, std::vector<T> values, bool nulls, Memory& memory)
      : Node(kBoolean, kText ? Effect::kCostly : Effect::kNone, memory, std::move(args)),
        argument_(arg(0)),
        values_(std::move(values)),
        set_(values_, memory),
        nulls_(nulls) {}

  Column Evaluate(const Rows& rows) override {
    const Operand operand = argument_.EvaluateFlat(rows, memory());
    const T* in = static_cast<const T*>(operand.data);
    uint8_t* out = result_.Values<uint8_t>(memory());
    if (values_.size() > kFew) {
      const auto look_up = [&](uint32_t row) { out[row] = set_.Has(in[row]); };
      if (kText) {
        rows.ForValid(operand.valid, look_up);
      } else {
        rows.ForAny(look_up);
      }
    } else {
      rows.ForAny([=](uint32_t row) { out[row] = 0; });
      for (const T& value : values_) {
        const auto compare = [=](uint32_t row) { out[row] |= KeysEqual(in[row], value); };
        if (kText) {
          rows.ForValid(operand.valid, compare);
        } else {
          rows.ForAny(compare);
        }
      }
    }
    if (!nulls_) return Flat(out, operand.valid);
    // Not among the others, it may be the NULL.
    uint8_t* valid = result_.Valid(memory());
    rows.ForAny(
        [=, outer = operand.valid](uint32_t row) { valid[row] = out[row] & (outer == nullptr ? 1 : outer[row]); });
    return Flat(out, valid);
  }

 private:
  Argument argument_;
  std::vector<T> values_;
  LiteralSet<T> set_;
  bool nulls_;
};

}  // namespace

NodePtr MakeIn(std::vector<NodePtr> args, Memory& memory) {
  Type common = args.at(0)->type();
  for (const NodePtr& node : args) common = CommonType(common, node->type());
  for (NodePtr& node : args) node = Coerce(std::move(node), common, memory);
  return DispatchPhysical(common.physical(), [&](auto zero) -> NodePtr {
    using T = decltype(zero);
    std::vector<T> values;
    bool nulls = false;
    for (size_t i = 1; i < args.size(); ++i) {
      if (!args[i]->is_constant())
        throw Error(ErrorKind::kPlan, "IN takes literals that can be computed: one of them fails");
      const auto& constant = static_cast<const ConstantNode&>(*args[i]);
      nulls |= constant.null();
      if (!constant.null()) values.push_back(constant.template value<T>());
    }
    return std::make_unique<InSetNode<T>>(std::move(args), std::move(values), nulls, memory);
  });
}

}  // namespace neap::engine
