// join_filters.cc: bounds and hashes of build keys.
#include "engine/operators/join_filters.h"

#include <algorithm>
#include <cstring>

#include "engine/core/hash.h"
#include "engine/run/query.h"

namespace neap::engine {
namespace {

// Begun early, a filter is for so many times the rows that came by then, ...
constexpr uint64_t kMoreToCome = 4;
// ... and for at most so many: memory is short.
constexpr uint64_t kMostBegunEarly = uint64_t{1} << 20;
// With fewer bits a key it lets through most of what it is asked.
constexpr uint64_t kLeastBits = 4;

}  // namespace

JoinFilters::JoinFilters(Query& query, const JoinShape& shape, Memory& memory)
    : query_(query), shape_(shape), memory_(memory), bounds_(shape.keys()) {}

bool JoinFilters::wanted() const {
  return std::any_of(shape_.spec.filters.begin(), shape_.spec.filters.end(),
                     [](const auto& filter) { return filter != nullptr; });
}

void JoinFilters::Widen(const std::vector<std::optional<KeyBounds>>& bounds) {
  std::lock_guard lock(mutex_);
  for (size_t k = 0; k < bounds.size(); ++k) neap::engine::Widen(bounds_[k], bounds[k]);
}

void JoinFilters::Start(uint64_t keys) {
  for (const auto& filter : shape_.spec.filters) {
    if (filter != nullptr) filter->Start(keys, memory_);
  }
  started_.store(true, std::memory_order_release);
}

void JoinFilters::AddSpilled(const RowStore& rows) {
  if (!wanted()) return;
  if (!there()) {
    std::lock_guard lock(mutex_);
    if (!there()) Start(std::min(rows_ * kMoreToCome, kMostBegunEarly));
  }
  Add(rows);
}

void JoinFilters::Settle() {
  if (!wanted()) return;
  for (size_t k = 0; k < shape_.spec.filters.size(); ++k) {
    RuntimeFilter* filter = shape_.spec.filters[k].get();
    if (filter == nullptr) continue;
    if (rows_ == 0) filter->SetEmpty();
    if (bounds_[k].has_value()) filter->SetBounds(bounds_[k]->min, bounds_[k]->max);
    if (filter->bytes() * 8 < rows_ * kLeastBits) filter->Close();
  }
  if (!there() && rows_ != 0 && query_.MayGrow(memory_, RuntimeFilter::BytesFor(rows_))) Start(rows_);
}

void JoinFilters::Add(const RowStore& rows) {
  if (!there()) return;
  const RowLayout& layout = shape_.build_rows;
  const uint32_t link = layout.offset(shape_.link);
  for (size_t k = 0; k < shape_.spec.filters.size(); ++k) {
    RuntimeFilter* filter = shape_.spec.filters[k].get();
    if (filter == nullptr || !filter->has_bloom()) continue;
    const auto add = [&](auto&& hash_of) {
      rows.ForEachRun([&](const uint8_t* row, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i, row += layout.width()) filter->Add(hash_of(row));
      });
    };
    if (shape_.keys() == 1) {
      // The hash of a row is that of its key.
      add([&](const uint8_t* row) {
        uint64_t hash;
        std::memcpy(&hash, row + link, sizeof hash);
        return hash;
      });
      continue;
    }
    DispatchPhysical(layout.types()[k].physical(), [&](auto zero) {
      using T = decltype(zero);
      add([&](const uint8_t* row) {
        return RowLayout::IsValid(row, k) ? HashValue(layout.Load<T>(row, k)) : kNullHash;
      });
    });
  }
}

void JoinFilters::Publish() {
  published_ = true;
  for (const auto& filter : shape_.spec.filters) {
    if (filter != nullptr) filter->Publish();
  }
}

void JoinFilters::Close() {
  for (const auto& filter : shape_.spec.filters) {
    if (filter != nullptr) filter->Close();
  }
}

}  // namespace neap::engine
