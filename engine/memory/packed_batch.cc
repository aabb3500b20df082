// packed_batch.cc: how large a copy will be, and making it.
#include "engine/memory/packed_batch.h"

#include <new>

namespace neap::engine {
namespace {

constexpr size_t kAlign = 16;
size_t Aligned(size_t bytes) { return (bytes + kAlign - 1) & ~(kAlign - 1); }

size_t HeadBytes(const Batch& batch) { return Aligned(sizeof(PackedBatch) + batch.columns.size() * sizeof(Column)); }

// Where the values of a packed column come from: positions of the original's data.
struct Positions {
  const Column& column;
  const Batch& batch;
  bool keeps_dictionary;

  Positions(const Column& original, const Batch& of)
      : column(original),
        batch(of),
        keeps_dictionary(original.indices != nullptr && original.positions < of.selected) {}

  uint32_t count() const { return keeps_dictionary ? column.positions : batch.selected; }

  // Calls f(i, position) for the i-th value of the copy.
  template <class F>
  void ForEach(F&& f) const {
    if (keeps_dictionary) {
      for (uint32_t i = 0; i < column.positions; ++i) f(i, i);
      return;
    }
    uint32_t i = 0;
    batch.ForEach([&](uint32_t row) { f(i++, column.position(row)); });
  }
};

bool IsValid(const Column& column, uint32_t position) { return column.valid == nullptr || column.valid[position] != 0; }

size_t TextBytes(const Positions& from) {
  if (!from.column.type.is_view()) return 0;
  size_t bytes = 0;
  from.ForEach([&](uint32_t, uint32_t position) {
    const View& view = from.column.values<View>()[position];
    if (IsValid(from.column, position) && !view.is_inline()) bytes += view.size;
  });
  return bytes;
}

size_t ColumnBytes(const Positions& from) {
  const Column& column = from.column;
  size_t bytes = Aligned(from.count() * column.type.width());
  if (column.valid != nullptr) bytes += Aligned(from.count());
  if (from.keeps_dictionary) bytes += Aligned(from.batch.selected * sizeof(uint32_t));
  return bytes + Aligned(TextBytes(from));
}

class Space {
 public:
  explicit Space(uint8_t* start) : at_(start) {}
  template <class T>
  T* Take(size_t count) {
    return reinterpret_cast<T*>(TakeBytes(count * sizeof(T)));
  }

 private:
  uint8_t* TakeBytes(size_t bytes) {
    uint8_t* taken = at_;
    at_ += Aligned(bytes);
    return taken;
  }
  uint8_t* at_;
};

template <class T>
T* CopyValues(const Positions& from, Space& space) {
  T* values = space.Take<T>(from.count());
  const T* original = from.column.values<T>();
  from.ForEach([&](uint32_t i, uint32_t position) { std::memcpy(&values[i], &original[position], sizeof(T)); });
  return values;
}

void CopyTexts(const Positions& from, View* views, Space& space) {
  char* text = space.Take<char>(TextBytes(from));
  from.ForEach([&](uint32_t i, uint32_t position) {
    if (!IsValid(from.column, position)) {
      views[i] = View();
    } else if (!views[i].is_inline()) {
      std::memcpy(text, views[i].pointer, views[i].size);
      views[i].pointer = text;
      text += views[i].size;
    }
  });
}

Column CopyColumn(const Positions& from, Space& space) {
  Column copy;
  copy.type = from.column.type;
  DispatchPhysical(from.column.type.physical(), [&](auto zero) {
    using T = decltype(zero);
    T* values = CopyValues<T>(from, space);
    if constexpr (std::is_same_v<T, View>) CopyTexts(from, values, space);
    copy.data = values;
  });
  if (from.column.valid != nullptr) {
    auto* valid = space.Take<uint8_t>(from.count());
    from.ForEach([&](uint32_t i, uint32_t position) { valid[i] = from.column.valid[position]; });
    copy.valid = valid;
  }
  if (from.keeps_dictionary) {
    auto* indices = space.Take<uint32_t>(from.batch.selected);
    uint32_t i = 0;
    from.batch.ForEach([&](uint32_t row) { indices[i++] = from.column.indices[row]; });
    copy.indices = indices;
    copy.positions = from.column.positions;
  }
  return copy;
}

}  // namespace

size_t PackedSize(const Batch& batch) {
  size_t bytes = HeadBytes(batch);
  for (const Column& column : batch.columns) bytes += ColumnBytes(Positions(column, batch));
  return bytes;
}

void Pack(const Batch& batch, void* at) {
  auto* packed = new (at) PackedBatch{batch.selected, 0};
  auto* columns = reinterpret_cast<Column*>(packed + 1);
  Space space(static_cast<uint8_t*>(at) + HeadBytes(batch));
  for (const Column& column : batch.columns) {
    new (&columns[packed->column_count++]) Column(CopyColumn(Positions(column, batch), space));
  }
}

}  // namespace neap::engine
