// strings.cc: functions of strings that take them apart and put them together. Lengths and positions are in code
// points, positions count from 1.
#include <algorithm>
#include <string>
#include <utility>

#include "engine/expression/case_mapping.h"
#include "engine/expression/compile.h"
#include "engine/expression/text.h"
#include "engine/expression/text_kernel.h"

namespace neap::engine {
namespace {

constexpr Type kText{TypeId::kString};
constexpr Type kBigint{TypeId::kInt64};

// Part of a string: points into it.
View Part(const View& text, size_t begin, size_t end) {
  return View(text.data() + begin, static_cast<uint32_t>(end - begin));
}

// Code points `first` (from 1; those before the string count, but hold nothing) to first+length-1.
View Substring(const View& text, int64_t first, int64_t length) {
  int64_t end;
  if (__builtin_add_overflow(first, std::max<int64_t>(length, 0), &end)) end = INT64_MAX;
  first = std::max<int64_t>(first, 1);
  if (end <= first) return View();
  const std::string_view all = text.text();
  constexpr int64_t kNear = 16;
  if (end <= kNear && end <= text.size && IsAscii(all.substr(0, static_cast<size_t>(end - 1)))) {
    return Part(text, static_cast<size_t>(first - 1), static_cast<size_t>(end - 1));
  }
  const size_t begin = SkipCodePoints(all, static_cast<uint64_t>(first - 1));
  return Part(text, begin, begin + SkipCodePoints(all.substr(begin), static_cast<uint64_t>(end - first)));
}

// The first `count` code points; for a negative count all but so many at the end.
View Left(const View& text, int64_t count) {
  const std::string_view all = text.text();
  if (count < 0) count = std::max<int64_t>(0, CountCodePoints(all) + std::max<int64_t>(count, -INT64_MAX));
  return Part(text, 0, SkipCodePoints(all, static_cast<uint64_t>(count)));
}

// The last `count` code points; for a negative count all but so many at the start.
View Right(const View& text, int64_t count) {
  const std::string_view all = text.text();
  const int64_t skip = count < 0 ? -std::max<int64_t>(count, -INT64_MAX) : CountCodePoints(all) - count;
  return Part(text, SkipCodePoints(all, static_cast<uint64_t>(std::max<int64_t>(skip, 0))), all.size());
}

bool HasCodePoint(std::string_view set, std::string_view point) { return FindText(set, point) != kNotFound; }

template <bool kAtStart, bool kAtEnd>
struct Trim {
  View operator()(const View& text) const { return (*this)(text, View(" ", 1)); }
  // `set`: the code points to take away.
  View operator()(const View& text, const View& set) const {
    const std::string_view all = text.text(), points = set.text();
    size_t begin = 0, end = all.size();
    while (kAtStart && begin < end) {
      const size_t size = std::min(CodePointSize(all[begin]), end - begin);
      if (!HasCodePoint(points, all.substr(begin, size))) break;
      begin += size;
    }
    while (kAtEnd && begin < end) {
      size_t start = end - 1;
      while (start > begin && IsContinuation(all[start])) --start;
      if (!HasCodePoint(points, all.substr(start, end - start))) break;
      end = start;
    }
    return Part(text, begin, end);
  }
};

// To `length` code points: cut at the end, or filled before (after) with `fill` again and again.
template <bool kBefore>
View Pad(TextArena& arena, const View& text, int64_t length, const View& fill) {
  const std::string_view all = text.text(), filling = fill.text();
  const int64_t missing = length - CountCodePoints(all);
  if (missing <= 0 || filling.empty()) return Left(text, std::max<int64_t>(length, 0));
  const int64_t fill_points = CountCodePoints(filling);
  const auto whole = static_cast<uint64_t>(missing / fill_points);
  CheckTextSize(whole);
  const size_t rest = SkipCodePoints(filling, static_cast<uint64_t>(missing % fill_points));
  const size_t size = all.size() + whole * filling.size() + rest;
  CheckTextSize(size);
  char* const begin = arena.Allocate(size);
  char* to = begin;
  if (!kBefore) to = std::copy(all.begin(), all.end(), to);
  for (uint64_t i = 0; i < whole; ++i) to = std::copy(filling.begin(), filling.end(), to);
  to = std::copy_n(filling.begin(), rest, to);
  if (kBefore) std::copy(all.begin(), all.end(), to);
  return View(begin, static_cast<uint32_t>(size));
}

View Repeat(TextArena& arena, const View& text, int64_t times) {
  const std::string_view all = text.text();
  if (times <= 0 || all.empty()) return View();
  CheckTextSize(static_cast<uint64_t>(times));
  const size_t size = all.size() * static_cast<size_t>(times);
  CheckTextSize(size);
  char* const begin = arena.Allocate(size);
  char* to = begin;
  for (int64_t i = 0; i < times; ++i) to = std::copy(all.begin(), all.end(), to);
  return View(begin, static_cast<uint32_t>(size));
}

View Reverse(TextArena& arena, const View& text) {
  const std::string_view all = text.text();
  char* const begin = arena.Allocate(all.size());
  char* to = begin + all.size();
  for (size_t at = 0; at < all.size();) {
    const size_t size = std::min(CodePointSize(all[at]), all.size() - at);
    to -= size;
    std::memcpy(to, all.data() + at, size);
    at += size;
  }
  return View(begin, text.size);
}

View Replace(TextArena& arena, const View& text, const View& from, const View& by) {
  const std::string_view all = text.text(), what = from.text(), with = by.text();
  size_t found = what.empty() ? kNotFound : FindText(all, what);
  if (found == kNotFound) return text;
  size_t count = 0;
  for (size_t at = found; at != kNotFound; at = FindText(all, what, at + what.size())) ++count;
  const size_t size = all.size() - count * what.size() + count * with.size();
  CheckTextSize(size);
  char* const begin = arena.Allocate(size);
  char* to = begin;
  size_t done = 0;
  for (; found != kNotFound; found = FindText(all, what, done)) {
    to = std::copy(all.begin() + done, all.begin() + found, to);
    to = std::copy(with.begin(), with.end(), to);
    done = found + what.size();
  }
  std::copy(all.begin() + done, all.end(), to);
  return View(begin, static_cast<uint32_t>(size));
}

// 0 where it is not found.
int64_t Position(const View& text, const View& what) {
  const size_t found = FindText(text.text(), what.text());
  return found == kNotFound ? 0 : CountCodePoints(text.text().substr(0, found)) + 1;
}

// Part number `number` (from 1; from the end where negative) of a string cut at every `separator`.
View SplitPart(const View& text, const View& separator, int64_t number) {
  const std::string_view all = text.text(), by = separator.text();
  if (number == 0) throw Error(ErrorKind::kData, "split_part counts from 1, or from -1 at the end: there is no part 0");
  if (by.empty()) return number == 1 || number == -1 ? text : View();
  if (number < 0) {
    int64_t parts = 1;
    for (size_t at = FindText(all, by); at != kNotFound; at = FindText(all, by, at + by.size())) ++parts;
    number += parts + 1;
    if (number <= 0) return View();
  }
  size_t begin = 0;
  for (;; --number) {
    const size_t found = FindText(all, by, begin);
    if (number == 1) return Part(text, begin, found == kNotFound ? all.size() : found);
    if (found == kNotFound) return View();
    begin = found + by.size();
  }
}

// concat (NULL where one is) and concat_ws (args[0] between the others, which are left out where NULL).
class ConcatNode final : public Node {
 public:
  ConcatNode(bool separated, std::vector<NodePtr> args, Memory& memory)
      : Node(kText, Effect::kCostly, memory, std::move(args)), separated_(separated), arena_(memory) {
    for (const NodePtr& node : this->args()) arguments_.emplace_back(*node);
    operands_.resize(arguments_.size());
  }

  Column Evaluate(const Rows& rows) override {
    arena_.Reset();
    const uint8_t* valid = nullptr;
    for (size_t i = 0; i < operands_.size(); ++i) {
      operands_[i] = arguments_[i].Evaluate(rows, memory());
      if (separated_ && i > 0) continue;
      if (operands_[i].null()) return NullColumn();
      valid = BothValid(rows, valid, operands_[i].flat_valid(), result_, memory());
    }
    View* out = result_.Values<View>(memory());
    rows.ForValid(valid, [&](uint32_t row) { out[row] = Concat(row); });
    return Flat(out, valid);
  }

 private:
  View Concat(uint32_t row) {
    const size_t first = separated_ ? 1 : 0;
    size_t size = 0;
    ForEachPart(row, first, [&](const View& part) { size += part.size; });
    CheckTextSize(size);
    char* const begin = arena_.Allocate(size);
    char* to = begin;
    ForEachPart(row, first, [&](const View& part) { to = std::copy_n(part.data(), part.size, to); });
    return View(begin, static_cast<uint32_t>(size));
  }

  template <class F>
  void ForEachPart(uint32_t row, size_t first, F&& f) {
    bool between = false;
    for (size_t i = first; i < operands_.size(); ++i) {
      const Operand& operand = operands_[i];
      const uint32_t position = operand.constant ? 0 : row;
      if (operand.valid != nullptr && operand.valid[position] == 0) continue;
      if (between && separated_) f(AnyValues<View>(operands_[0])[row]);
      between = true;
      f(static_cast<const View*>(operand.data)[position]);
    }
  }

  bool separated_;
  TextArena arena_;
  std::vector<Argument> arguments_;
  std::vector<Operand> operands_;
};

// A function as a functor, so that the loop around it can be compiled with it inside.
template <auto kFunction>
struct Plain {
  template <class... Args>
  auto operator()(Args&&... args) const -> decltype(kFunction(std::forward<Args>(args)...)) {
    return kFunction(std::forward<Args>(args)...);
  }
};

NodePtr MakePad(bool before, std::vector<NodePtr> args, Memory& memory) {
  if (args.size() == 2) args.push_back(MakeConstant({false, std::string(" ")}, kText, memory));
  const auto left = [](TextArena& arena, const View& text, int64_t length, const View& fill) {
    return Pad<true>(arena, text, length, fill);
  };
  const auto right = [](TextArena& arena, const View& text, int64_t length, const View& fill) {
    return Pad<false>(arena, text, length, fill);
  };
  if (before) return MakeText<View, View, int64_t, View>(kText, std::move(args), left, memory, Effect::kMayFail);
  return MakeText<View, View, int64_t, View>(kText, std::move(args), right, memory, Effect::kMayFail);
}

template <bool kAtStart, bool kAtEnd>
NodePtr MakeTrim(std::vector<NodePtr> args, Memory& memory) {
  if (args.size() == 1) return MakeText<View, View>(kText, std::move(args), Trim<kAtStart, kAtEnd>{}, memory);
  return MakeText<View, View, View>(kText, std::move(args), Trim<kAtStart, kAtEnd>{}, memory);
}

// What a function takes: one letter an argument, t text, n a number; in [] what may be left out.
bool Accepts(const char* form, std::vector<NodePtr>& args, Memory& memory) {
  size_t i = 0;
  bool optional = false;
  for (; *form != 0; ++form) {
    if (*form == '[') {
      optional = true;
      continue;
    }
    if (i == args.size()) return optional;
    const Type type = args[i]->type();
    if (type.id != TypeId::kNull && (*form == 't' ? type.id != TypeId::kString : !type.is_integer())) return false;
    args[i] = Coerce(std::move(args[i]), *form == 't' ? kText : kBigint, memory);
    ++i;
  }
  return i == args.size();
}

const char* Form(Function function) {
  switch (function) {
    case Function::kSubstring:
      return "tn[n";
    case Function::kLeftPad:
    case Function::kRightPad:
      return "tn[t";
    case Function::kTrim:
    case Function::kLeftTrim:
    case Function::kRightTrim:
      return "t[t";
    case Function::kReplace:
      return "ttt";
    case Function::kPosition:
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
      return "tt";
    case Function::kRepeat:
    case Function::kLeft:
    case Function::kRight:
      return "tn";
    case Function::kSplitPart:
      return "ttn";
    default:
      return "t";
  }
}

}  // namespace

NodePtr MakeString(Function function, Type type, std::vector<NodePtr> args, Memory& memory) {
  if (function == Function::kConcat || function == Function::kConcatWs) {
    for (NodePtr& node : args) node = Coerce(std::move(node), kText, memory);
    if (args.empty()) NoFunction(function, args, type);
    return std::make_unique<ConcatNode>(function == Function::kConcatWs, std::move(args), memory);
  }
  if (function == Function::kOctetLength) {
    if (args.size() != 1 || !args[0]->type().is_view()) NoFunction(function, args, type);
    const auto size = [](const View& text) { return int64_t{text.size}; };
    return Coerce(MakeText<int64_t, View>(kBigint, std::move(args), size, memory), type, memory);
  }
  if (!Accepts(Form(function), args, memory)) NoFunction(function, args, type);
  constexpr Type kBoolean{TypeId::kBool};
  switch (function) {
    case Function::kSubstring:
      if (args.size() == 2) {
        const auto tail = [](const View& text, int64_t first) { return Substring(text, first, INT64_MAX); };
        return MakeText<View, View, int64_t>(kText, std::move(args), tail, memory);
      }
      return MakeText<View, View, int64_t, int64_t>(kText, std::move(args), Plain<Substring>{}, memory);
    case Function::kLeft:
      return MakeText<View, View, int64_t>(kText, std::move(args), Plain<Left>{}, memory);
    case Function::kRight:
      return MakeText<View, View, int64_t>(kText, std::move(args), Plain<Right>{}, memory);
    case Function::kUpper:
      return MakeText<View, View>(kText, std::move(args), Plain<Upper>{}, memory);
    case Function::kLower:
      return MakeText<View, View>(kText, std::move(args), Plain<Lower>{}, memory);
    case Function::kReverse:
      return MakeText<View, View>(kText, std::move(args), Plain<Reverse>{}, memory);
    case Function::kRepeat:
      return MakeText<View, View, int64_t>(kText, std::move(args), Plain<Repeat>{}, memory, Effect::kMayFail);
    case Function::kLeftPad:
    case Function::kRightPad:
      return MakePad(function == Function::kLeftPad, std::move(args), memory);
    case Function::kTrim:
      return MakeTrim<true, true>(std::move(args), memory);
    case Function::kLeftTrim:
      return MakeTrim<true, false>(std::move(args), memory);
    case Function::kRightTrim:
      return MakeTrim<false, true>(std::move(args), memory);
    case Function::kReplace:
      return MakeText<View, View, View, View>(kText, std::move(args), Plain<Replace>{}, memory);
    case Function::kSplitPart:
      return MakeText<View, View, View, int64_t>(kText, std::move(args), Plain<SplitPart>{}, memory, Effect::kMayFail);
    case Function::kLength: {
      const auto count = [](const View& text) { return CountCodePoints(text.text()); };
      return Coerce(MakeText<int64_t, View>(kBigint, std::move(args), count, memory), type, memory);
    }
    case Function::kPosition:
      return Coerce(MakeText<int64_t, View, View>(kBigint, std::move(args), Plain<Position>{}, memory), type, memory);
    case Function::kStartsWith: {
      const auto test = [](const View& text, const View& what) { return text.text().starts_with(what.text()); };
      return MakeText<uint8_t, View, View>(kBoolean, std::move(args), test, memory);
    }
    case Function::kEndsWith: {
      const auto test = [](const View& text, const View& what) { return text.text().ends_with(what.text()); };
      return MakeText<uint8_t, View, View>(kBoolean, std::move(args), test, memory);
    }
    case Function::kContains: {
      const auto test = [](const View& text, const View& what) {
        return FindText(text.text(), what.text()) != kNotFound;
      };
      return MakeText<uint8_t, View, View>(kBoolean, std::move(args), test, memory);
    }
    default:
      NoFunction(function, args, type);
  }
}

}  // namespace neap::engine
