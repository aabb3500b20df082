// sort_entries.h: what is sorted and merged in place of rows: the words of a row's key (sort_key.h) and its address.
//
// Sorting goes by the key's bytes, most significant first, until few entries are left that have the same bytes; these
// are sorted by comparison. Merging is by a tree of losers. Source: Knuth, "The Art of Computer Programming", volume 3,
// 5.2.5 and 5.4.1.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/rows/sort_key.h"

namespace neap::engine {

template <size_t kWords>
struct SortEntry {
  uint64_t words[kWords];
  const uint8_t* row;
};

template <size_t kWords>
class SortEntryLess {
 public:
  using Entry = SortEntry<kWords>;
  explicit SortEntryLess(const SortKeys& keys) : keys_(&keys) {}

  bool operator()(const Entry& a, const Entry& b) const {
    for (size_t w = 0; w < kWords; ++w) {
      if (a.words[w] != b.words[w]) return a.words[w] < b.words[w];
    }
    return TieLess(a, b);
  }
  // Of entries whose words are equal.
  bool TieLess(const Entry& a, const Entry& b) const {
    return keys_->WasCut(a.words) && keys_->CompareRows(a.row, b.row) < 0;
  }
  bool TiesDiffer(const Entry& a) const { return keys_->WasCut(a.words); }

 private:
  const SortKeys* keys_;
};

// Sorts entries[0..count) with scratch of the same size.
template <size_t kWords>
void SortEntries(SortEntry<kWords>* entries, SortEntry<kWords>* scratch, size_t count,
                 const SortEntryLess<kWords>& less, size_t word = 0) {
  // Fewer are sorted by comparison faster than 256 counts are summed.
  constexpr size_t kFew = 96;
  const auto differing = [&](size_t w) {
    const uint64_t first = entries[0].words[w];
    uint64_t bits = 0;
    for (size_t i = 1; i < count; ++i) bits |= entries[i].words[w] ^ first;
    return bits;
  };
  if (count <= kFew) {
    std::sort(entries, entries + count, less);
    return;
  }
  uint64_t bits = differing(word);
  while (bits == 0 && ++word < kWords) bits = differing(word);
  if (bits == 0) {
    if (less.TiesDiffer(entries[0])) std::sort(entries, entries + count, less);
    return;
  }
  const int shift = (63 - __builtin_clzll(bits)) & ~7;
  const auto byte = [&](const SortEntry<kWords>& entry) { return (entry.words[word] >> shift) & 0xff; };
  uint32_t ends[256] = {};
  for (size_t i = 0; i < count; ++i) ++ends[byte(entries[i])];
  uint32_t sum = 0;
  for (uint32_t& end : ends) sum += std::exchange(end, sum);
  for (size_t i = 0; i < count; ++i) scratch[ends[byte(entries[i])]++] = entries[i];
  std::copy(scratch, scratch + count, entries);
  size_t begin = 0;
  for (const uint32_t end : ends) {
    if (end - begin > 1) SortEntries(entries + begin, scratch + begin, end - begin, less, word);
    begin = end;
  }
}

// The least of the current entries of several sorted inputs, again and again.
template <size_t kWords>
class LoserTree {
 public:
  using Entry = SortEntry<kWords>;
  explicit LoserTree(const SortEntryLess<kWords>& less) : less_(less) {}

  // firsts[i]: the first entry of input i; null where it has none.
  void Build(const std::vector<const Entry*>& firsts) {
    inputs_ = static_cast<uint32_t>(firsts.size());
    losers_.assign(inputs_, Ended(0));
    winner_ = Ended(0);
    if (inputs_ == 0) return;
    std::vector<Node> winners(size_t{2} * inputs_);
    for (uint32_t i = 0; i < inputs_; ++i) winners[inputs_ + i] = MakeNode(firsts[i], i);
    for (uint32_t node = inputs_ - 1; node > 0; --node) {
      const bool left = Less(winners[2 * node], winners[2 * node + 1]);
      winners[node] = winners[2 * node + (left ? 0 : 1)];
      losers_[node] = winners[2 * node + (left ? 1 : 0)];
    }
    winner_ = winners[1];
  }

  bool ended() const { return winner_.entry.row == nullptr; }
  uint32_t input() const { return winner_.input; }
  const Entry& least() const { return winner_.entry; }

  // The winner's input goes on with `next` (null: it has ended).
  void Replace(const Entry* next) {
    Node node = MakeNode(next, winner_.input);
    for (uint32_t at = (inputs_ + winner_.input) / 2; at > 0; at /= 2) {
      if (Less(losers_[at], node)) std::swap(losers_[at], node);
    }
    winner_ = node;
  }

 private:
  struct Node {
    Entry entry;  // no row where the input has ended; its words are then the greatest
    uint32_t input;
  };

  static Node Ended(uint32_t input) {
    Node node{};
    for (uint64_t& word : node.entry.words) word = UINT64_MAX;
    node.input = input;
    return node;
  }
  static Node MakeNode(const Entry* entry, uint32_t input) {
    return entry == nullptr ? Ended(input) : Node{*entry, input};
  }
  bool Less(const Node& a, const Node& b) const {
    for (size_t w = 0; w < kWords; ++w) {
      if (a.entry.words[w] != b.entry.words[w]) return a.entry.words[w] < b.entry.words[w];
    }
    if (a.entry.row == nullptr || b.entry.row == nullptr) return a.entry.row != nullptr && b.entry.row == nullptr;
    return less_.TieLess(a.entry, b.entry);
  }

  SortEntryLess<kWords> less_;
  uint32_t inputs_ = 0;
  std::vector<Node> losers_;
  Node winner_ = Ended(0);
};

}  // namespace neap::engine
