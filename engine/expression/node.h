// node.h: what an expression is compiled to: a tree of nodes, each of which computes one column for the rows of a batch
// and owns the memory of its result.
//
// A node is evaluated for some rows and leaves other rows undefined. Undefined means: fixed-width values may be read
// and computed with, strings may not be followed, because their pointers may point anywhere. The same holds for NULLs.
// So kernels of fixed-width values compute all rows of a batch where most of them count, and find out afterwards
// whether a row that failed is one that counts; kernels that look into strings visit rows that count and are not NULL
// alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/column.h"
#include "engine/core/error.h"
#include "engine/expression/evaluator.h"
#include "engine/memory/memory.h"

namespace neap::engine {

// The rows to compute: all `rows`, or the `count` of them that `selection` lists in ascending order.
struct Rows {
  const Column* columns;
  uint32_t rows;
  const RowIndex* selection;
  uint32_t count;

  static Rows Of(const Batch& batch) { return {batch.columns.data(), batch.rows, batch.selection, batch.selected}; }
  Rows Only(const RowIndex* list, uint32_t n) const { return {columns, rows, list, n}; }

  // Whether all rows cost less than a walk along the selection.
  bool Dense() const { return selection == nullptr || count * 4 >= rows; }

  template <class F>
  void ForEach(F&& f) const {
    if (selection == nullptr) {
      for (uint32_t row = 0; row < rows; ++row) f(row);
    } else {
      for (uint32_t i = 0; i < count; ++i) f(static_cast<uint32_t>(selection[i]));
    }
  }
  // For what may be done for any row: all rows where that is cheaper.
  template <class F>
  void ForAny(F&& f) const {
    if (Dense()) {
      for (uint32_t row = 0, end = rows; row < end; ++row) f(row);
    } else {
      for (uint32_t i = 0; i < count; ++i) f(static_cast<uint32_t>(selection[i]));
    }
  }
  // For rows that count and are not NULL.
  template <class F>
  void ForValid(const uint8_t* valid, F&& f) const {
    if (valid == nullptr) {
      ForEach(f);
    } else {
      ForEach([&](uint32_t row) {
        if (valid[row] != 0) f(row);
      });
    }
  }
};

// Memory of a result: taken at first use, then used again for every batch.
class ResultBuffer {
 public:
  template <class T>
  T* Values(Memory& memory) {
    return reinterpret_cast<T*>(Bytes(memory, sizeof(T)));
  }
  uint8_t* Bytes(Memory& memory, size_t width) {
    if (data_.size() < kBatchRows * width) data_ = Array<uint8_t>(memory, kBatchRows * width);
    return data_.data();
  }
  uint8_t* Valid(Memory& memory) {
    if (valid_.empty()) valid_ = Array<uint8_t>(memory, kBatchRows);
    return valid_.data();
  }

 private:
  Array<uint8_t> data_, valid_;
};

class Node;
using NodePtr = std::unique_ptr<Node>;

// What a node may do to a query besides giving a value.
enum class Effect : uint8_t {
  kNone,     // cheap, and harmless for rows that do not count
  kCostly,   // looks into strings or calls functions: worth asking for the rows that count alone
  kMayFail,  // may throw Error(kData)
};

class Node {
 public:
  Node(Type type, Effect effect, Memory& memory, std::vector<NodePtr> args = {});
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // The value for every row of `rows`, at the row's own number. The column may be flat, indexed or constant.
  virtual Column Evaluate(const Rows& rows) = 0;

  // For booleans: the rows that are TRUE, ascending. `kept` may be rows.selection itself.
  virtual uint32_t Select(const Rows& rows, RowIndex* kept);

  // For decimals perhaps fewer digits than the plan declares: as many as the value can have (arithmetic.cc).
  const Type& type() const { return type_; }
  Effect effect() const { return effect_; }  // the gravest of its own and of all below

  static constexpr int32_t kNoSlot = -1;
  static constexpr int32_t kManySlots = -2;
  int32_t slot() const { return slot_; }  // the one column of the batch that it and all below read
  // What two together read.
  static int32_t Join(int32_t a, int32_t b) {
    if (a == b || b == kNoSlot) return a;
    return a == kNoSlot ? b : kManySlots;
  }
  virtual bool is_constant() const { return false; }
  virtual bool is_column() const { return false; }  // a column of the batch as it is

 protected:
  Memory& memory() { return memory_; }
  Node& arg(size_t i) { return *args_[i]; }
  const std::vector<NodePtr>& args() const { return args_; }
  void ReadsSlot(int32_t slot) { slot_ = slot; }

  // A flat result.
  Column Flat(const void* data, const uint8_t* valid) const { return {type_, data, valid, nullptr, 0, 0}; }
  Column NullColumn() const;  // NULL for all rows

  ResultBuffer result_;

 private:
  Memory& memory_;
  Type type_;
  Effect effect_;
  int32_t slot_ = kNoSlot;
  std::vector<NodePtr> args_;
};

// A literal, or a tree of them that was folded.
class ConstantNode : public Node {
 public:
  ConstantNode(Type type, const Literal& literal, Memory& memory);
  Column Evaluate(const Rows& rows) override;
  bool is_constant() const override { return true; }
  bool null() const { return valid_ == 0; }
  template <class T>
  T value() const {
    T result;
    std::memcpy(&result, value_, sizeof(T));
    return result;
  }

 private:
  alignas(16) uint8_t value_[16] = {};
  uint8_t valid_ = 0;
  std::string text_;
};

// A column of values of a physical type as a literal.
Literal LiteralAt(const Column& column, uint32_t row);

// An argument as kernels take it: flat, or one value for all rows.
struct Operand {
  const void* data = nullptr;
  const uint8_t* valid = nullptr;  // null where no row is NULL; of a constant the one byte
  bool constant = false;

  bool null() const { return constant && valid != nullptr && valid[0] == 0; }
  const uint8_t* flat_valid() const { return constant ? nullptr : valid; }
};

// An argument of a node with the memory to make it flat.
class Argument {
 public:
  explicit Argument(Node& node) : node_(&node) {}
  Operand Evaluate(const Rows& rows, Memory& memory) { return Operate(node_->Evaluate(rows), rows, memory); }
  // As Evaluate, where the node's column is there already.
  Operand Operate(Column column, const Rows& rows, Memory& memory);
  Operand EvaluateFlat(const Rows& rows, Memory& memory);  // never constant
  const Type& type() const { return node_->type(); }
  const Node& node() const { return *node_; }

 private:
  Node* node_;
  FlatBuffer buffer_;
};

// As Flatten, for some rows.
void FlattenRows(const Rows& rows, Column& column, FlatBuffer& buffer, Memory& memory);

// Values of an operand inside a loop: the compiler makes a loop of its own for each kind.
template <class T>
struct FlatValues {
  const T* data;
  const T& operator[](uint32_t row) const { return data[row]; }
};
template <class T>
struct OneValue {
  T value;
  const T& operator[](uint32_t) const { return value; }
};
// Flat or constant in one loop: for kernels to which an address more is nothing.
template <class T>
struct AnyValues {
  const T* data;
  uint32_t mask;
  explicit AnyValues(const Operand& operand)
      : data(static_cast<const T*>(operand.data)), mask(operand.constant ? 0 : ~0U) {}
  const T& operator[](uint32_t row) const { return data[row & mask]; }
};

template <class T>
FlatValues<T> FlatOf(const Operand& operand) {
  return {static_cast<const T*>(operand.data)};
}
template <class T>
OneValue<T> OneOf(const Operand& operand) {
  return {*static_cast<const T*>(operand.data)};
}

// Calls f(a, b) with the values of two operands, of which at most one is constant.
template <class A, class B, class F>
void WithValues(const Operand& a, const Operand& b, F&& f) {
  if (b.constant) {
    f(FlatOf<A>(a), OneOf<B>(b));
  } else if (a.constant) {
    f(OneOf<A>(a), FlatOf<B>(b));
  } else {
    f(FlatOf<A>(a), FlatOf<B>(b));
  }
}

// Where neither of two is NULL: null where that is everywhere, one of them where it is enough, otherwise `buffer`.
const uint8_t* BothValid(const Rows& rows, const uint8_t* a, const uint8_t* b, ResultBuffer& buffer, Memory& memory);

// The rows among `rows` whose byte is 1, ascending, to `kept` (which may be rows.selection). `bytes` are 0 or 1.
uint32_t SelectBytes(const Rows& rows, const uint8_t* bytes, RowIndex* kept);

// All rows of `rows` to `kept`.
uint32_t SelectAll(const Rows& rows, RowIndex* kept);

}  // namespace neap::engine
