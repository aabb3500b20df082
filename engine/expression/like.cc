// like.cc: LIKE and ILIKE. A literal pattern is taken apart once: text between '%' is looked for from left to right,
// what comes before the first and after the last '%' must be at the ends. The escape is a backslash if none is given.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/expression/case_mapping.h"
#include "engine/expression/compile.h"
#include "engine/expression/text.h"
#include "engine/expression/text_kernel.h"

namespace neap::engine {
namespace {

// Text between two '%'.
struct Segment {
  std::string text;       // where any[i] is set, text[i] stands for '_'
  std::vector<bool> any;  // empty where there is no '_'
  bool has_any() const { return !any.empty(); }
};

class Pattern {
 public:
  Pattern(std::string_view pattern, std::optional<char> escape, bool ignore_case);

  // Whether a text that begins so may match at all.
  bool MayMatch(const View& text) const {
    uint32_t begin;
    std::memcpy(&begin, text.prefix, 4);
    return ((begin ^ head_) & head_mask_) == 0;
  }

  bool Matches(std::string_view text) const {
    switch (kind_) {
      case Kind::kEqual:
        return text == first_.text;
      case Kind::kPrefix:
        return text.starts_with(first_.text);
      case Kind::kSuffix:
        return text.ends_with(last_.text);
      case Kind::kContains:
        return FindText(text, middle_.front().text) != kNotFound;
      case Kind::kGeneral:
        return MatchesGeneral(text);
    }
    __builtin_unreachable();
  }

 private:
  enum class Kind : uint8_t { kEqual, kPrefix, kSuffix, kContains, kGeneral };

  bool MatchesGeneral(std::string_view text) const;
  static size_t MatchAt(const Segment& segment, std::string_view text, size_t at);
  static bool MatchEnd(const Segment& segment, std::string_view text, size_t from);
  static size_t FindSegment(const Segment& segment, std::string_view text, size_t from);

  Kind kind_ = Kind::kGeneral;
  uint32_t head_ = 0, head_mask_ = 0;  // the first four bytes of every match, and which of them are known
  bool one_ = false;                   // no '%' at all: first_ is all of it
  Segment first_, last_;
  std::vector<Segment> middle_;  // without empty ones
};

Pattern::Pattern(std::string_view pattern, std::optional<char> escape, bool ignore_case) {
  std::vector<Segment> segments(1);
  std::string plain, lower;  // text since the last wildcard
  const auto flush = [&] {
    if (ignore_case) ToLower(plain, lower);
    segments.back().text += ignore_case ? lower : plain;
    plain.clear();
  };
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '%') {
      flush();
      segments.emplace_back();
    } else if (pattern[i] == '_') {
      flush();
      Segment& segment = segments.back();
      segment.any.resize(segment.text.size());
      segment.any.push_back(true);
      segment.text.push_back('_');
    } else {
      if (escape && pattern[i] == *escape && ++i == pattern.size()) {
        throw Error(ErrorKind::kData, "the pattern '" + std::string(pattern) + "' ends with its escape character");
      }
      plain.push_back(pattern[i]);
    }
  }
  flush();
  for (Segment& segment : segments) {
    if (segment.has_any()) segment.any.resize(segment.text.size());
  }
  one_ = segments.size() == 1;
  first_ = std::move(segments.front());
  if (!one_) last_ = std::move(segments.back());
  const auto known = first_.has_any() ? std::find(first_.any.begin(), first_.any.end(), true) - first_.any.begin()
                                      : static_cast<ptrdiff_t>(first_.text.size());
  const auto head = static_cast<size_t>(std::min<ptrdiff_t>(known, 4));
  std::memcpy(&head_, first_.text.data(), head);
  std::memset(&head_mask_, 0xff, head);
  bool any = first_.has_any() || last_.has_any();
  for (size_t i = 1; i + 1 < segments.size(); ++i) {
    any |= segments[i].has_any();
    if (!segments[i].text.empty()) middle_.push_back(std::move(segments[i]));
  }
  if (any) return;
  if (one_) {
    kind_ = Kind::kEqual;
  } else if (middle_.empty() && last_.text.empty()) {
    kind_ = Kind::kPrefix;
  } else if (middle_.empty() && first_.text.empty()) {
    kind_ = Kind::kSuffix;
  } else if (middle_.size() == 1 && first_.text.empty() && last_.text.empty()) {
    kind_ = Kind::kContains;
  }
}

bool Pattern::MatchesGeneral(std::string_view text) const {
  size_t at = MatchAt(first_, text, 0);
  if (one_ || at == kNotFound) return at == text.size();
  for (const Segment& segment : middle_) {
    at = FindSegment(segment, text, at);
    if (at == kNotFound) return false;
  }
  return MatchEnd(last_, text, at);
}

// Where a segment that begins at a place ends, if it is there.
size_t Pattern::MatchAt(const Segment& segment, std::string_view text, size_t at) {
  if (!segment.has_any()) {
    return text.substr(at).starts_with(segment.text) ? at + segment.text.size() : kNotFound;
  }
  for (size_t i = 0; i < segment.text.size(); ++i) {
    if (at >= text.size()) return kNotFound;
    if (segment.any[i]) {
      at = std::min(at + CodePointSize(text[at]), text.size());
    } else if (text[at++] != segment.text[i]) {
      return kNotFound;
    }
  }
  return at;
}

bool Pattern::MatchEnd(const Segment& segment, std::string_view text, size_t from) {
  if (!segment.has_any()) return text.size() - from >= segment.text.size() && text.ends_with(segment.text);
  for (size_t at = from; at <= text.size(); ++at) {
    if (at < text.size() && IsContinuation(text[at])) continue;
    if (MatchAt(segment, text, at) == text.size()) return true;
  }
  return false;
}

// Where the first place of a segment at or after `from` ends.
size_t Pattern::FindSegment(const Segment& segment, std::string_view text, size_t from) {
  if (!segment.has_any()) {
    const size_t found = FindText(text, segment.text, from);
    return found == kNotFound ? kNotFound : found + segment.text.size();
  }
  for (size_t at = from; at < text.size(); ++at) {
    if (IsContinuation(text[at])) continue;
    const size_t end = MatchAt(segment, text, at);
    if (end != kNotFound) return end;
  }
  return kNotFound;
}

// With a literal pattern.
struct LikeLiteral {
  Pattern pattern;
  bool negated;
  bool operator()(const View& text) const {
    return (pattern.MayMatch(text) && pattern.Matches(text.text())) != negated;
  }
};

struct ILikeLiteral {
  Pattern pattern;  // in lower case
  bool negated;
  std::string lower{};
  bool operator()(const View& text) {
    ToLower(text.text(), lower);
    return pattern.Matches(lower) != negated;
  }
};

// With a pattern of each row's own; it is taken apart again where it differs from the row before.
struct LikeRow {
  bool negated, ignore_case;
  std::string last{}, lower{};
  std::optional<Pattern> pattern{};
  bool operator()(const View& text, const View& like, const View& escape) {
    if (!pattern || last != like.text()) {
      last = like.text();
      pattern.emplace(last, escape.size == 0 ? std::nullopt : std::optional(escape.data()[0]), ignore_case);
    }
    if (!ignore_case) return pattern->Matches(text.text()) != negated;
    ToLower(text.text(), lower);
    return pattern->Matches(lower) != negated;
  }
};

}  // namespace

NodePtr MakeLike(Function function, std::vector<NodePtr> args, Memory& memory) {
  constexpr Type kBoolean{TypeId::kBool};
  const bool negated = function == Function::kNotLike || function == Function::kNotILike;
  const bool ignore_case = function == Function::kILike || function == Function::kNotILike;
  if (args.size() == 2) args.push_back(MakeConstant({false, std::string("\\")}, {TypeId::kString}, memory));
  if (args.size() != 3) NoFunction(function, args, kBoolean);
  for (NodePtr& node : args) {
    if (node->type().id == TypeId::kNull) node = Coerce(std::move(node), {TypeId::kString}, memory);
    if (!node->type().is_view()) NoFunction(function, args, kBoolean);
  }
  const auto constant = [&](size_t i) -> const ConstantNode* {
    return args[i]->is_constant() ? static_cast<const ConstantNode*>(args[i].get()) : nullptr;
  };
  if (constant(2) == nullptr || constant(2)->null() || constant(2)->value<View>().size > 1) {
    throw Error(ErrorKind::kPlan, "the escape of LIKE must be a literal of one character, or empty");
  }
  if (constant(1) == nullptr || constant(1)->null()) {
    return MakeText<uint8_t, View, View, View>(kBoolean, std::move(args), LikeRow{negated, ignore_case}, memory,
                                               Effect::kMayFail);
  }
  const View escape_view = constant(2)->value<View>();
  const std::optional<char> escape = escape_view.size == 0 ? std::nullopt : std::optional(escape_view.data()[0]);
  Pattern pattern(constant(1)->value<View>().text(), escape, ignore_case);
  args.resize(1);
  if (ignore_case) {
    return MakeText<uint8_t, View>(kBoolean, std::move(args), ILikeLiteral{std::move(pattern), negated}, memory);
  }
  return MakeText<uint8_t, View>(kBoolean, std::move(args), LikeLiteral{std::move(pattern), negated}, memory);
}

}  // namespace neap::engine
