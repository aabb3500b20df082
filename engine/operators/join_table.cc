// join_table.cc: putting build rows into tables.
#include "engine/operators/join_table.h"

#include <algorithm>
#include <type_traits>

namespace neap::engine {
namespace {

// So many rows before its turn, a row's slot is fetched.
constexpr uint32_t kAhead = 16;

uint64_t HashOf(const uint8_t* row, uint32_t link_offset) {
  uint64_t hash;
  std::memcpy(&hash, row + link_offset, sizeof hash);
  return hash;
}

void SetLink(uint8_t* row, uint32_t link_offset, const uint8_t* next) {
  std::memcpy(row + link_offset, &next, sizeof next);
}

// Puts `row` behind `head`, which heads the list of the same keys.
void LinkBehind(uint8_t* head, uint8_t* row, uint32_t link_offset) {
  SetLink(row, link_offset, LinkOf(head, link_offset));
  SetLink(head, link_offset, row);
}

template <class T>
bool ValuesEqual(const uint8_t* a, const uint8_t* b) {
  T x, y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return KeysEqual(x, y);
}

// Equality of the keys of two build rows.
struct AnyKeys {
  const JoinShape& shape;
  bool operator()(const uint8_t* a, const uint8_t* b) const {
    const RowLayout& layout = shape.build_rows;
    for (size_t k = 0; k < shape.keys(); ++k) {
      const bool valid = RowLayout::IsValid(a, k);
      if (valid != RowLayout::IsValid(b, k)) return false;
      if (!valid) continue;
      const uint32_t offset = layout.offset(k);
      const bool equal = DispatchPhysical(
          layout.types()[k].physical(), [&](auto zero) { return ValuesEqual<decltype(zero)>(a + offset, b + offset); });
      if (!equal) return false;
    }
    return true;
  }
};

// Keys without NULL that are equal where their bytes are, and lie one after the other.
template <size_t kBytes>
struct PlainKeys {
  uint32_t offset;
  bool operator()(const uint8_t* a, const uint8_t* b) const { return std::memcmp(a + offset, b + offset, kBytes) == 0; }
};

// How many bytes the keys take if PlainKeys can compare them, else 0.
size_t PlainBytes(const JoinShape& shape) {
  const RowLayout& layout = shape.build_rows;
  size_t bytes = 0;
  for (size_t k = 0; k < shape.keys(); ++k) {
    const Physical physical = layout.types()[k].physical();
    if (shape.spec.null_equals[k] != 0 || physical == Physical::kFloat || physical == Physical::kDouble ||
        physical == Physical::kView || layout.offset(k) != layout.offset(0) + bytes) {
      return 0;
    }
    bytes += PhysicalWidth(physical);
  }
  return bytes;
}

template <class Equal>
bool Insert(const JoinShape& shape, const RowStore& rows, const JoinTable::Slots table, uint64_t* slots,
            Equal&& equal) {
  const uint32_t width = shape.build_rows.width();
  const uint32_t link = shape.build_rows.offset(shape.link);
  const bool null_keys = shape.keeps_null_keys();
  bool duplicates = false;
  rows.ForEachRun([&](uint8_t* first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      uint8_t* row = first + size_t{i} * width;
      if (i + kAhead < count) {
        __builtin_prefetch(table.address(table.Start(HashOf(row + size_t{kAhead} * width, link))), 1);
      }
      if (null_keys && !HasKeys(shape, row)) continue;
      const uint64_t hash = HashOf(row, link);
      uint64_t at = table.Start(hash);
      for (;; at = table.Next(at)) {
        const uint64_t slot = slots[at];
        if (slot == 0) {
          slots[at] = reinterpret_cast<uint64_t>(row) | ((hash << 16) & (uint64_t{0xffff} << 48));
          SetLink(row, link, nullptr);
          break;
        }
        if (!JoinTable::SaltsEqual(slot, hash)) continue;
        uint8_t* head = JoinTable::RowOf(slot);
        if (!equal(head, row)) continue;
        LinkBehind(head, row, link);
        duplicates = true;
        break;
      }
    }
  });
  return duplicates;
}

}  // namespace

bool HasKeys(const JoinShape& shape, const uint8_t* row) {
  for (size_t k = 0; k < shape.keys(); ++k) {
    if (shape.spec.null_equals[k] == 0 && !RowLayout::IsValid(row, k)) return false;
  }
  return true;
}

bool JoinTable::Build(const JoinShape& shape, const RowStore& rows, Memory& memory) {
  if (rows.rows() == 0) return false;
  memory_ = Array<uint64_t>(memory, SlotsFor(rows.rows()));
  std::memset(memory_.data(), 0, bytes());
  slots_ = memory_.data();
  capacity_ = memory_.size();
  const uint32_t offset = shape.build_rows.offset(0);
  switch (PlainBytes(shape)) {
    case 4:
      return Insert(shape, rows, this->slots(), memory_.data(), PlainKeys<4>{offset});
    case 8:
      return Insert(shape, rows, this->slots(), memory_.data(), PlainKeys<8>{offset});
    case 16:
      return Insert(shape, rows, this->slots(), memory_.data(), PlainKeys<16>{offset});
    default:
      return Insert(shape, rows, this->slots(), memory_.data(), AnyKeys{shape});
  }
}

void JoinTable::BuildList(const RowStore& rows, Memory& memory) {
  memory_ = Array<uint64_t>(memory, rows.rows());
  slots_ = memory_.data();
  capacity_ = memory_.size();
  const uint32_t width = rows.layout().width();
  uint64_t* to = memory_.data();
  rows.ForEachRun([&](uint8_t* first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) *to++ = reinterpret_cast<uint64_t>(first + size_t{i} * width);
  });
}

void JoinTable::Clear() {
  memory_.Reset();
  slots_ = kEmpty;
  capacity_ = 1;
}

bool DenseTable::Suits(const JoinShape& shape, const KeyBounds& bounds, uint64_t rows) {
  if (shape.keys() != 1 || shape.spec.null_equals[0] != 0) return false;
  if (shape.build_rows.types()[0].physical() == Physical::kInt128) return false;
  const Int128 range = bounds.max - bounds.min + 1;
  return range <= Int128{rows} * kSparsest + kBatchRows;
}

size_t DenseTable::BytesFor(const KeyBounds& bounds) {
  return static_cast<size_t>(bounds.max - bounds.min + 2) * sizeof(uint8_t*);
}

void DenseTable::Start(const KeyBounds& bounds, Memory& memory) {
  min_ = static_cast<uint64_t>(bounds.min);
  rows_ = Array<uint8_t*>(memory, BytesFor(bounds) / sizeof(uint8_t*));
  std::memset(rows_.data(), 0, bytes());
}

bool DenseTable::Add(const JoinShape& shape, const RowStore& rows) {
  const uint32_t width = shape.build_rows.width();
  const uint32_t link = shape.build_rows.offset(shape.link);
  const uint32_t key = shape.build_rows.offset(0);
  bool duplicates = false;
  DispatchPhysical(shape.build_rows.types()[0].physical(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 8) {
      const auto place = [&](const uint8_t* row) {
        T value;
        std::memcpy(&value, row + key, sizeof value);
        return &rows_[static_cast<uint64_t>(static_cast<int64_t>(value)) - min_];
      };
      rows.ForEachRun([&](uint8_t* first, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
          uint8_t* row = first + size_t{i} * width;
          // The value of a NULL is not of the range.
          if (!RowLayout::IsValid(row, 0)) continue;
          if (uint8_t*& head = *place(row); head == nullptr) {
            head = row;
            SetLink(row, link, nullptr);
          } else {
            LinkBehind(head, row, link);
            duplicates = true;
          }
        }
      });
    }
  });
  return duplicates;
}

}  // namespace neap::engine
