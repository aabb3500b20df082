// logic.cc: AND, OR, NOT, XOR and the tests for NULL and TRUE, three-valued.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "engine/expression/compile.h"
#include "engine/expression/kernel.h"

namespace neap::engine {
namespace {

constexpr Type kBoolean{TypeId::kBool};

// AND or OR of any number of terms. A term that is not plain arithmetic is computed only where the ones before have not
// decided.
class JunctionNode final : public Node {
 public:
  JunctionNode(bool is_and, std::vector<NodePtr> terms, Memory& memory)
      : Node(kBoolean, Effect::kNone, memory, std::move(terms)), is_and_(is_and) {
    for (const NodePtr& term : args()) {
      terms_.push_back({term.get(), Argument(*term)});
      order_.push_back(static_cast<uint32_t>(order_.size()));
    }
    Reorder();
  }

  Column Evaluate(const Rows& rows) override;
  uint32_t Select(const Rows& rows, RowIndex* kept) override {
    return is_and_ ? SelectAnd(rows, kept) : SelectOr(rows, kept);
  }

 private:
  // What was measured of a term: ns a row, and the share of rows that pass.
  struct Term {
    Node* node;
    Argument argument;
    double cost = 0, pass = 0;
    bool measured = false;
  };

  static constexpr uint32_t kFirstSamples = 4;   // batches measured at first,
  static constexpr uint32_t kSampleEvery = 16;   // and every so many afterwards
  static constexpr uint32_t kLeastSampled = 64;  // rows: below that the clock is all that is measured
  static constexpr double kWeight = 0.25;        // of a new sample

  uint32_t SelectAnd(const Rows& rows, RowIndex* kept);
  uint32_t SelectOr(const Rows& rows, RowIndex* kept);
  void Sample(Term& term, uint32_t asked, uint32_t passed, std::chrono::nanoseconds time);
  void Reorder();

  RowIndex* Selection() {
    if (selection_.empty()) selection_ = Array<RowIndex>(memory(), size_t{2} * kBatchRows);
    return selection_.data();
  }

  bool is_and_;
  std::vector<Term> terms_;
  std::vector<uint32_t> order_;
  uint32_t batches_ = 0;
  ResultBuffer maybe_;
  Array<RowIndex> selection_;
};

// `is` is TRUE so far, `maybe` is TRUE or NULL: AND is the minimum of both, OR the maximum. Rows that are decided may
// come along, with whatever bytes a term has there: a lowest bit alone changes nothing of them.
Column JunctionNode::Evaluate(const Rows& rows) {
  uint8_t* is = result_.Values<uint8_t>(memory());
  uint8_t* maybe = maybe_.Values<uint8_t>(memory());
  std::memset(is, is_and_ ? 1 : 0, rows.rows);
  std::memset(maybe, is_and_ ? 1 : 0, rows.rows);
  bool nulls = false;
  for (Term& term : terms_) {
    Rows undecided = rows;
    if (term.node->effect() != Effect::kNone && &term != &terms_.front()) {
      RowIndex* list = Selection();
      uint32_t count = 0;
      const uint8_t* open = is_and_ ? maybe : is;
      rows.ForEach([&](uint32_t row) {
        list[count] = static_cast<RowIndex>(row);
        count += open[row] == static_cast<uint8_t>(is_and_);
      });
      if (count == 0) break;
      undecided = rows.Only(list, count);
    }
    const Operand operand = term.argument.EvaluateFlat(undecided, memory());
    const auto* value = static_cast<const uint8_t*>(operand.data);
    const uint8_t* valid = operand.valid;
    if (valid == nullptr && is_and_) {
      undecided.ForAny([=](uint32_t row) { is[row] &= value[row], maybe[row] &= value[row]; });
    } else if (valid == nullptr) {
      undecided.ForAny([=](uint32_t row) { is[row] |= value[row] & 1, maybe[row] |= value[row] & 1; });
    } else {
      undecided.ForAny([=, is_and = is_and_](uint32_t row) {
        const uint8_t is_true = value[row] & valid[row] & 1;
        const uint8_t may_be = is_true | (~valid[row] & 1);
        is[row] = is_and ? is[row] & is_true : is[row] | is_true;
        maybe[row] = is_and ? maybe[row] & may_be : maybe[row] | may_be;
      });
    }
    nulls |= valid != nullptr;
  }
  if (!nulls) return Flat(is, nullptr);
  uint8_t* valid = result_.Valid(memory());
  rows.ForAny([=](uint32_t row) { valid[row] = is[row] == maybe[row]; });
  return Flat(is, valid);
}

uint32_t JunctionNode::SelectAnd(const Rows& rows, RowIndex* kept) {
  const bool sample = batches_ < kFirstSamples || batches_ % kSampleEvery == 0;
  ++batches_;
  Rows left = rows;
  for (uint32_t i : order_) {
    Term& term = terms_[i];
    uint32_t count;
    if (sample && left.count >= kLeastSampled) {
      const auto start = std::chrono::steady_clock::now();
      count = term.node->Select(left, kept);
      Sample(term, left.count, count, std::chrono::steady_clock::now() - start);
    } else {
      count = term.node->Select(left, kept);
    }
    if (count == 0) return 0;
    left = rows.Only(kept, count);
  }
  if (sample) Reorder();
  return left.count;
}

void JunctionNode::Sample(Term& term, uint32_t asked, uint32_t passed, std::chrono::nanoseconds time) {
  const double cost = static_cast<double>(time.count()) / asked;
  const double pass = static_cast<double>(passed) / asked;
  const double weight = term.measured ? kWeight : 1;
  term.cost += (cost - term.cost) * weight;
  term.pass += (pass - term.pass) * weight;
  term.measured = true;
}

// By rows ruled out per time. What may fail comes after what cannot, in the order of the query: another term may be
// there to keep it from failing.
void JunctionNode::Reorder() {
  const auto gain = [](const Term& term) { return (1 - term.pass) / std::max(term.cost, 0.01); };
  std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    const bool a_fails = terms_[a].node->effect() == Effect::kMayFail;
    const bool b_fails = terms_[b].node->effect() == Effect::kMayFail;
    if (a_fails || b_fails) return a_fails == b_fails ? a < b : b_fails;
    return gain(terms_[a]) > gain(terms_[b]);
  });
}

uint32_t JunctionNode::SelectOr(const Rows& rows, RowIndex* kept) {
  uint8_t* is = result_.Values<uint8_t>(memory());
  std::memset(is, 0, rows.rows);
  RowIndex* rest = Selection();
  RowIndex* passed = rest + kBatchRows;
  Rows left = rows;
  for (Term& term : terms_) {
    const uint32_t count = term.node->Select(left, passed);
    for (uint32_t i = 0; i < count; ++i) is[passed[i]] = 1;
    if (count == left.count) break;
    if (&term == &terms_.back() || count == 0) continue;
    uint32_t rest_count = 0;
    left.ForEach([&](uint32_t row) {
      rest[rest_count] = static_cast<RowIndex>(row);
      rest_count += is[row] ^ 1;
    });
    left = rows.Only(rest, rest_count);
  }
  return SelectBytes(rows, is, kept);
}

class NotNode final : public Node {
 public:
  NotNode(std::vector<NodePtr> args, Memory& memory)
      : Node(kBoolean, Effect::kNone, memory, std::move(args)), argument_(arg(0)) {}
  Column Evaluate(const Rows& rows) override {
    const Operand operand = argument_.EvaluateFlat(rows, memory());
    const auto* in = static_cast<const uint8_t*>(operand.data);
    uint8_t* out = result_.Values<uint8_t>(memory());
    rows.ForAny([=](uint32_t row) { out[row] = in[row] ^ 1; });
    return Flat(out, operand.valid);
  }

 private:
  Argument argument_;
};

class IsNullNode final : public Node {
 public:
  IsNullNode(std::vector<NodePtr> args, bool null, Memory& memory)
      : Node(kBoolean, Effect::kNone, memory, std::move(args)), null_(null) {}

  Column Evaluate(const Rows& rows) override {
    static constexpr uint8_t kFalseTrue[2] = {0, 1};
    const Column column = arg(0).Evaluate(rows);
    if (column.valid == nullptr || column.is_constant()) {
      const bool null = column.valid != nullptr && column.valid[0] == 0;
      return {kBoolean, &kFalseTrue[null == null_ ? 1 : 0], nullptr, kZeroIndices, 1, 0};
    }
    uint8_t* out = result_.Values<uint8_t>(memory());
    const uint8_t* valid = column.valid;
    const auto flip = static_cast<uint8_t>(null_ ? 1 : 0);
    if (column.indices == nullptr) {
      rows.ForAny([=](uint32_t row) { out[row] = valid[row] ^ flip; });
    } else {
      rows.ForAny([=, indices = column.indices](uint32_t row) { out[row] = valid[indices[row]] ^ flip; });
    }
    return Flat(out, nullptr);
  }

 private:
  bool null_;
};

// IS [NOT] TRUE, IS [NOT] FALSE.
class IsTruthNode final : public Node {
 public:
  IsTruthNode(std::vector<NodePtr> args, bool truth, bool negated, Memory& memory)
      : Node(kBoolean, Effect::kNone, memory, std::move(args)), argument_(arg(0)), truth_(truth), negated_(negated) {}

  Column Evaluate(const Rows& rows) override {
    const Operand operand = argument_.EvaluateFlat(rows, memory());
    const auto* in = static_cast<const uint8_t*>(operand.data);
    const uint8_t* valid = operand.valid;
    uint8_t* out = result_.Values<uint8_t>(memory());
    const auto flip_in = static_cast<uint8_t>(truth_ ? 0 : 1), flip_out = static_cast<uint8_t>(negated_ ? 1 : 0);
    if (valid == nullptr) {
      rows.ForAny([=](uint32_t row) { out[row] = in[row] ^ flip_in ^ flip_out; });
    } else {
      rows.ForAny([=](uint32_t row) { out[row] = ((in[row] ^ flip_in) & valid[row]) ^ flip_out; });
    }
    return Flat(out, nullptr);
  }

 private:
  Argument argument_;
  bool truth_, negated_;
};

struct Xor {
  using Bad = Never;
  uint8_t operator()(uint8_t a, uint8_t b, Never&) const { return a ^ b; }
};

}  // namespace

NodePtr MakeLogic(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  const bool junction = function == Function::kAnd || function == Function::kOr;
  if (args.empty() || (!junction && args.size() != (function == Function::kXor ? 2 : 1)))
    NoFunction(function, args, type);
  if (function == Function::kIsNull || function == Function::kIsNotNull) {
    return std::make_unique<IsNullNode>(std::move(args), function == Function::kIsNull, memory);
  }
  for (NodePtr& node : args) {
    if (node->type().id != TypeId::kBool && node->type().id != TypeId::kNull) NoFunction(function, args, type);
    node = Coerce(std::move(node), kBoolean, memory);
  }
  switch (function) {
    case Function::kAnd:
    case Function::kOr:
      return std::make_unique<JunctionNode>(function == Function::kAnd, std::move(args), memory);
    case Function::kNot:
      return std::make_unique<NotNode>(std::move(args), memory);
    case Function::kIsTrue:
      return std::make_unique<IsTruthNode>(std::move(args), true, false, memory);
    case Function::kIsFalse:
      return std::make_unique<IsTruthNode>(std::move(args), false, false, memory);
    case Function::kIsNotTrue:
      return std::make_unique<IsTruthNode>(std::move(args), true, true, memory);
    case Function::kIsNotFalse:
      return std::make_unique<IsTruthNode>(std::move(args), false, true, memory);
    case Function::kXor:
      return std::make_unique<BinaryNode<uint8_t, uint8_t, uint8_t, Xor>>(kBoolean, std::move(args[0]),
                                                                          std::move(args[1]), Xor{}, memory);
    default:
      NoFunction(function, args, type);
  }
}

}  // namespace neap::engine
