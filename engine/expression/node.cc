// node.cc: what all nodes share: arguments made flat, validity, selections, constants.
#include "engine/expression/node.h"

#include <algorithm>
#include <array>

namespace neap::engine {
namespace {

// For every mask of 8 rows the numbers of those that are set, and how many.
struct MaskTable {
  std::array<std::array<uint16_t, 8>, 256> rows{};
  std::array<uint8_t, 256> count{};

  constexpr MaskTable() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      for (uint16_t bit = 0; bit < 8; ++bit) {
        if ((mask >> bit & 1) != 0) rows[mask][count[mask]++] = bit;
      }
    }
  }
};
constexpr MaskTable kMasks;

template <class T>
void Gather(const Rows& rows, const void* data, const uint32_t* indices, void* out) {
  const T* from = static_cast<const T*>(data);
  T* to = static_cast<T*>(out);
  rows.ForAny([=](uint32_t row) { to[row] = from[indices[row]]; });
}

void GatherWidth(const Rows& rows, const void* data, size_t width, const uint32_t* indices, void* out) {
  switch (width) {
    case 1:
      return Gather<uint8_t>(rows, data, indices, out);
    case 2:
      return Gather<uint16_t>(rows, data, indices, out);
    case 4:
      return Gather<uint32_t>(rows, data, indices, out);
    case 8:
      return Gather<uint64_t>(rows, data, indices, out);
    default:
      return Gather<Int128>(rows, data, indices, out);
  }
}

}  // namespace

Node::Node(Type type, Effect effect, Memory& memory, std::vector<NodePtr> args)
    : memory_(memory), type_(type), effect_(effect), args_(std::move(args)) {
  for (const NodePtr& node : args_) {
    effect_ = std::max(effect_, node->effect());
    slot_ = Join(slot_, node->slot());
  }
}

Column Node::NullColumn() const {
  alignas(16) static constexpr uint8_t kNothing[16] = {};
  return {type_, kNothing, kNothing, kZeroIndices, 1, 0};
}

uint32_t Node::Select(const Rows& rows, RowIndex* kept) {
  const Column column = Evaluate(rows);
  const uint8_t* values = column.values<uint8_t>();
  if (column.is_constant()) {
    return values[0] != 0 && column.is_valid(0) ? SelectAll(rows, kept) : 0;
  }
  if (column.indices == nullptr && column.valid == nullptr) return SelectBytes(rows, values, kept);
  uint32_t count = 0;
  if (column.indices == nullptr) {
    rows.ForEach([&](uint32_t row) {
      kept[count] = static_cast<RowIndex>(row);
      count += values[row] & column.valid[row];
    });
  } else {
    rows.ForEach([&](uint32_t row) {
      kept[count] = static_cast<RowIndex>(row);
      count += values[column.indices[row]] != 0 && column.is_valid(row);
    });
  }
  return count;
}

uint32_t SelectAll(const Rows& rows, RowIndex* kept) {
  uint32_t count = 0;
  rows.ForEach([&](uint32_t row) { kept[count++] = static_cast<RowIndex>(row); });
  return count;
}

uint32_t SelectBytes(const Rows& rows, const uint8_t* bytes, RowIndex* kept) {
  uint32_t count = 0;
  if (rows.selection != nullptr) {
    for (uint32_t i = 0; i < rows.count; ++i) {
      const RowIndex row = rows.selection[i];
      kept[count] = row;
      count += bytes[row];
    }
    return count;
  }
  uint32_t row = 0;
  for (; row + 8 <= rows.rows; row += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + row, 8);
    if (word == 0) continue;
    // One bit of each byte, gathered into the highest byte.
    const auto mask = static_cast<uint8_t>((word * 0x0102040810204080ULL) >> 56);
    for (int i = 0; i < 8; ++i) kept[count + i] = static_cast<RowIndex>(row + kMasks.rows[mask][i]);
    count += kMasks.count[mask];
  }
  for (; row < rows.rows; ++row) {
    kept[count] = static_cast<RowIndex>(row);
    count += bytes[row];
  }
  return count;
}

const uint8_t* BothValid(const Rows& rows, const uint8_t* a, const uint8_t* b, ResultBuffer& buffer, Memory& memory) {
  if (a == nullptr || b == nullptr || a == b) return a == nullptr ? b : a;
  uint8_t* both = buffer.Valid(memory);
  rows.ForAny([=](uint32_t row) { both[row] = a[row] & b[row]; });
  return both;
}

void FlattenRows(const Rows& rows, Column& column, FlatBuffer& buffer, Memory& memory) {
  if (column.indices == nullptr) return;
  const size_t width = column.type.width();
  if (buffer.data.size() < kBatchRows * width) buffer.data = Array<uint8_t>(memory, kBatchRows * width);
  GatherWidth(rows, column.data, width, column.indices, buffer.data.data());
  if (column.valid != nullptr) {
    if (buffer.valid.empty()) buffer.valid = Array<uint8_t>(memory, kBatchRows);
    Gather<uint8_t>(rows, column.valid, column.indices, buffer.valid.data());
    column.valid = buffer.valid.data();
  }
  column.data = buffer.data.data();
  column.indices = nullptr;
  column.positions = 0;
  column.dictionary_id = 0;
}

void Flatten(const Batch& batch, Column& column, FlatBuffer& buffer, Memory& memory) {
  FlattenRows(Rows::Of(batch), column, buffer, memory);
}

Operand Argument::Operate(Column column, const Rows& rows, Memory& memory) {
  if (column.is_constant()) return {column.data, column.valid, true};
  FlattenRows(rows, column, buffer_, memory);
  return {column.data, column.valid, false};
}

Operand Argument::EvaluateFlat(const Rows& rows, Memory& memory) {
  Column column = node_->Evaluate(rows);
  FlattenRows(rows, column, buffer_, memory);
  return {column.data, column.valid, false};
}

ConstantNode::ConstantNode(Type type, const Literal& literal, Memory& memory) : Node(type, Effect::kNone, memory) {
  if (literal.null) return;
  valid_ = 1;
  DispatchPhysical(type.physical(), [&](auto value) {
    using T = decltype(value);
    if constexpr (std::is_same_v<T, uint8_t>) {
      value = std::get<bool>(literal.value) ? 1 : 0;
    } else if constexpr (std::is_same_v<T, View>) {
      text_ = std::get<std::string>(literal.value);
      value = View(text_);
    } else if constexpr (std::is_same_v<T, Interval>) {
      value = std::get<Interval>(literal.value);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(std::get<double>(literal.value));
    } else if (type.id == TypeId::kDecimal) {
      value = static_cast<T>(std::get<Int128>(literal.value));
    } else {
      value = static_cast<T>(std::get<int64_t>(literal.value));
    }
    std::memcpy(value_, &value, sizeof(value));
  });
}

Column ConstantNode::Evaluate(const Rows&) {
  return {type(), value_, valid_ == 0 ? &valid_ : nullptr, kZeroIndices, 1, 0};
}

Literal LiteralAt(const Column& column, uint32_t row) {
  Literal result;
  if (!column.is_valid(row)) return result;
  result.null = false;
  const uint32_t position = column.position(row);
  DispatchPhysical(column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    const T& value = column.values<T>()[position];
    if constexpr (std::is_same_v<T, uint8_t>) {
      result.value = value != 0;
    } else if constexpr (std::is_same_v<T, View>) {
      result.value = std::string(value.text());
    } else if constexpr (std::is_same_v<T, Interval>) {
      result.value = value;
    } else if constexpr (std::is_floating_point_v<T>) {
      result.value = static_cast<double>(value);
    } else if (column.type.id == TypeId::kDecimal) {
      result.value = static_cast<Int128>(value);
    } else {
      result.value = static_cast<int64_t>(value);
    }
  });
  return result;
}

}  // namespace neap::engine
