// join_order.cc: join graphs and their cheapest trees.
#include "engine/plan/join_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>
#include <utility>

namespace neap::engine {
namespace {

// Rows built cost more than rows that probe: they are copied, and a table is made of them.
constexpr double kBuildCost = 1.5;
// A semi join goes down to the relation of its keys where it is expected to keep less than this share of it.
constexpr double kStrongSemiJoin = 0.3;

using Mask = uint64_t;

bool Covers(const std::vector<ColumnId>& columns, const Expression& expression) {
  bool covers = true;
  expression.ForEachColumn(
      [&](ColumnId id) { covers = covers && std::find(columns.begin(), columns.end(), id) != columns.end(); });
  return covers;
}

Expression And(std::vector<Expression> terms) {
  if (terms.size() == 1) return std::move(terms[0]);
  return Expression::Call(Function::kAnd, {TypeId::kBool}, std::move(terms));
}

void SplitConjunction(const Expression& condition, std::vector<Expression>& terms) {
  if (condition.kind == Expression::Kind::kCall && condition.function == Function::kAnd) {
    for (const Expression& arg : condition.args) SplitConjunction(arg, terms);
  } else {
    terms.push_back(condition);
  }
}

// What is to be joined.
class Graph {
 public:
  Graph(Plan& plan, Estimates& estimates) : plan_(plan), estimates_(estimates) {}

  // Takes a tree of inner joins and filters apart.
  void Collect(const RelPtr& rel) {
    if (rel->kind == Rel::Kind::kFilter && IsInner(*rel->inputs[0])) {
      Collect(rel->inputs[0]);
      SplitConjunction(*rel->filter, conditions_);
      return;
    }
    if (!IsInner(*rel)) {
      relations_.push_back(rel);
      return;
    }
    for (const RelPtr& input : rel->inputs) Collect(input);
    for (size_t i = 0; i < rel->left_keys.size(); ++i) {
      const Expression& a = rel->left_keys[i];
      const Expression& b = rel->right_keys[i];
      if (rel->null_equals[i] == 0 && a.is_column() && b.is_column() && a.type == b.type) {
        Unite(a.column, b.column);
      } else {
        const Function equal = rel->null_equals[i] != 0 ? Function::kIsNotDistinctFrom : Function::kEqual;
        conditions_.push_back(Expression::Call(equal, {TypeId::kBool}, {a, b}));
      }
    }
    if (rel->filter) SplitConjunction(*rel->filter, conditions_);
  }

  static bool IsInner(const Rel& rel) { return rel.kind == Rel::Kind::kJoin && rel.join == JoinKind::kInner; }

  RelPtr Order() {
    Prepare();
    const size_t count = relations_.size();
    if (count == 1) return Filtered(relations_[0], 1);
    const Node best = count <= kExhaustive ? Exhaustive() : Greedy();
    return Build(best.mask);
  }

 private:
  struct Node {
    Mask mask = 0;
    double rows = 0;
    double cost = std::numeric_limits<double>::infinity();
    Mask left = 0, right = 0;  // probed and built; 0 of a relation
  };

  // ---- Equal columns: a forest, whose roots stand for classes.
  ColumnId Root(ColumnId id) {
    auto [found, inserted] = parent_.emplace(id, id);
    while (found->second != id) {
      id = found->second;
      found = parent_.find(id);
    }
    return id;
  }
  void Unite(ColumnId a, ColumnId b) { parent_[Root(a)] = Root(b); }

  Mask RelationsOf(const Expression& expression) const {
    Mask mask = 0;
    expression.ForEachColumn([&](ColumnId id) {
      if (const auto found = relation_of_.find(id); found != relation_of_.end()) mask |= Mask{1} << found->second;
    });
    return mask;
  }

  void Prepare() {
    for (size_t i = 0; i < relations_.size(); ++i) {
      for (ColumnId id : relations_[i]->output) relation_of_[id] = i;
    }
    std::unordered_map<ColumnId, std::vector<ColumnId>> classes;
    for (const auto& [id, parent] : parent_) classes[Root(id)].push_back(id);
    for (auto& [root, columns] : classes) {
      std::sort(columns.begin(), columns.end());
      // Two of one relation: that relation alone can check it.
      std::vector<ColumnId> one_each;
      for (ColumnId id : columns) {
        const auto same = std::find_if(one_each.begin(), one_each.end(),
                                       [&](ColumnId other) { return relation_of_[other] == relation_of_[id]; });
        if (same == one_each.end()) {
          one_each.push_back(id);
        } else {
          conditions_.push_back(Expression::Call(Function::kEqual, {TypeId::kBool}, {ColumnOf(*same), ColumnOf(id)}));
        }
      }
      Mask mask = 0;
      for (ColumnId id : one_each) mask |= Mask{1} << relation_of_[id];
      class_masks_.push_back(mask);
      classes_.push_back(std::move(one_each));
    }
    for (const Expression& condition : conditions_) condition_masks_.push_back(RelationsOf(condition));
    for (size_t i = 0; i < relations_.size(); ++i) {
      double rows = estimates_.Rows(*relations_[i]);
      for (size_t c = 0; c < conditions_.size(); ++c) {
        if (condition_masks_[c] == Mask{1} << i) rows *= estimates_.Selectivity(conditions_[c]);
      }
      nodes_[Mask{1} << i] = {Mask{1} << i, std::max(rows, 1.0), 0, 0, 0};
    }
  }

  Expression ColumnOf(ColumnId id) const { return Expression::Column(id, plan_.columns[id].type); }

  struct Keys {
    std::vector<Expression> left, right;
    std::vector<uint8_t> null_equals;
    std::vector<Expression> filters;
  };

  // What joins two sets: one pair of columns of each class that has some in both, and conditions that need both.
  Keys KeysOf(Mask a, Mask b) const {
    Keys keys;
    for (const auto& columns : classes_) {
      const auto in = [&](Mask mask) {
        return std::find_if(columns.begin(), columns.end(), [&](ColumnId id) {
          const auto found = relation_of_.find(id);
          return found != relation_of_.end() && ((mask >> found->second) & 1) != 0;
        });
      };
      const auto left = in(a), right = in(b);
      if (left == columns.end() || right == columns.end()) continue;
      keys.left.push_back(ColumnOf(*left));
      keys.right.push_back(ColumnOf(*right));
      keys.null_equals.push_back(0);
    }
    for (size_t c = 0; c < conditions_.size(); ++c) {
      const Mask mask = condition_masks_[c];
      if ((mask & ~(a | b)) != 0 || (mask & ~a) == 0 || (mask & ~b) == 0) continue;
      const Expression& condition = conditions_[c];
      const bool equal =
          condition.kind == Expression::Kind::kCall &&
          (condition.function == Function::kEqual || condition.function == Function::kIsNotDistinctFrom) &&
          condition.args[0].type == condition.args[1].type;
      if (equal) {
        const Mask first = RelationsOf(condition.args[0]), second = RelationsOf(condition.args[1]);
        const bool straight = first != 0 && second != 0 && (first & ~a) == 0 && (second & ~b) == 0;
        const bool crossed = first != 0 && second != 0 && (first & ~b) == 0 && (second & ~a) == 0;
        if (straight || crossed) {
          keys.left.push_back(condition.args[straight ? 0 : 1]);
          keys.right.push_back(condition.args[straight ? 1 : 0]);
          keys.null_equals.push_back(condition.function == Function::kIsNotDistinctFrom ? 1 : 0);
          continue;
        }
      }
      keys.filters.push_back(condition);
    }
    return keys;
  }

  // Joins two sets that are known; false where nothing connects them.
  bool Join(const Node& a, const Node& b, bool cross, Node& best) const {
    if (!cross && !Connected(a.mask, b.mask)) return false;
    const Keys keys = KeysOf(a.mask, b.mask);
    double rows = a.rows * b.rows * estimates_.JoinSelectivity(keys.left, keys.right, a.rows, b.rows);
    for (const Expression& filter : keys.filters) rows *= estimates_.Selectivity(filter);
    rows = std::max(rows, 1.0);
    const bool build_b = b.rows <= a.rows;
    const double built = std::min(a.rows, b.rows);
    const double pairs = keys.left.empty() ? a.rows * b.rows : 0;
    const double cost = a.cost + b.cost + rows + kBuildCost * built + std::max(a.rows, b.rows) + pairs;
    if (cost >= best.cost) return true;
    best = {a.mask | b.mask, rows, cost, build_b ? a.mask : b.mask, build_b ? b.mask : a.mask};
    return true;
  }

  Node Exhaustive() {
    const Mask all = (Mask{1} << relations_.size()) - 1;
    for (Mask set = 1; set <= all; ++set) {
      if (std::popcount(set) < 2) continue;
      Node best;
      for (bool cross : {false, true}) {
        // Each split once: the part that holds the lowest relation.
        const Mask lowest = set & (~set + 1);
        for (Mask part = (set - 1) & set; part != 0; part = (part - 1) & set) {
          if ((part & lowest) == 0) continue;
          const auto a = nodes_.find(part), b = nodes_.find(set ^ part);
          if (a != nodes_.end() && b != nodes_.end()) Join(a->second, b->second, cross, best);
        }
        // Only what is not connected at all is multiplied, and that last.
        if (best.mask != 0 || set != all) break;
      }
      if (best.mask != 0) nodes_[set] = best;
    }
    if (!nodes_.contains(all)) return Greedy();
    return nodes_[all];
  }

  bool Connected(Mask a, Mask b) const {
    const auto connects = [&](Mask mask) { return (mask & a) != 0 && (mask & b) != 0; };
    return std::any_of(class_masks_.begin(), class_masks_.end(), connects) ||
           std::any_of(condition_masks_.begin(), condition_masks_.end(),
                       [&](Mask mask) { return connects(mask) && (mask & ~(a | b)) == 0; });
  }

  Node Greedy() {
    std::vector<Node> open;
    for (size_t i = 0; i < relations_.size(); ++i) open.push_back(nodes_[Mask{1} << i]);
    while (open.size() > 1) {
      Node best;
      double best_rows = std::numeric_limits<double>::infinity();
      size_t first = 0, second = 0;
      for (bool cross : {false, true}) {
        for (size_t i = 0; i < open.size(); ++i) {
          for (size_t j = i + 1; j < open.size(); ++j) {
            Node node;
            if (!Join(open[i], open[j], cross, node)) continue;
            const double rows = node.rows + kBuildCost * std::min(open[i].rows, open[j].rows);
            if (rows < best_rows) best = node, best_rows = rows, first = i, second = j;
          }
        }
        if (best.mask != 0) break;
      }
      nodes_[best.mask] = best;
      open[first] = best;
      open.erase(open.begin() + static_cast<ptrdiff_t>(second));
    }
    return open[0];
  }

  RelPtr Build(Mask mask) {
    const Node& node = nodes_.at(mask);
    if (node.left == 0) {
      const auto index = static_cast<size_t>(std::countr_zero(mask));
      return Filtered(relations_[index], mask);
    }
    auto join = std::make_shared<Rel>(Rel::Kind::kJoin);
    join->join = JoinKind::kInner;
    join->inputs = {Build(node.left), Build(node.right)};
    Keys keys = KeysOf(node.left, node.right);
    join->left_keys = std::move(keys.left);
    join->right_keys = std::move(keys.right);
    join->null_equals = std::move(keys.null_equals);
    if (!keys.filters.empty()) join->filter = And(std::move(keys.filters));
    join->output = join->inputs[0]->output;
    join->output.insert(join->output.end(), join->inputs[1]->output.begin(), join->inputs[1]->output.end());
    join->estimated_rows = node.rows;
    return join;
  }

  // A relation below the conditions that are its own.
  RelPtr Filtered(const RelPtr& rel, Mask mask) const {
    std::vector<Expression> terms;
    for (size_t c = 0; c < conditions_.size(); ++c) {
      if ((condition_masks_[c] & ~mask) == 0) terms.push_back(conditions_[c]);
    }
    if (terms.empty()) return rel;
    auto filter = std::make_shared<Rel>(Rel::Kind::kFilter);
    filter->inputs = {rel};
    filter->output = rel->output;
    filter->filter = And(std::move(terms));
    return filter;
  }

  Plan& plan_;
  Estimates& estimates_;
  std::vector<RelPtr> relations_;
  std::vector<Expression> conditions_;
  std::vector<Mask> condition_masks_;
  std::unordered_map<ColumnId, ColumnId> parent_;
  std::unordered_map<ColumnId, size_t> relation_of_;
  std::vector<std::vector<ColumnId>> classes_;
  std::vector<Mask> class_masks_;
  std::unordered_map<Mask, Node> nodes_;
};

// ---- Semi joins.

// Whether the left keys of a semi join are all of one input of `rel`, and which.
RelPtr* InputOfKeys(const RelPtr& rel, const Rel& semi) {
  if (!Graph::IsInner(*rel) && rel->kind != Rel::Kind::kFilter) return nullptr;
  for (RelPtr& input : rel->inputs) {
    bool covers = true;
    for (const Expression& key : semi.left_keys) covers = covers && Covers(input->output, key);
    if (covers) return &input;
  }
  return nullptr;
}

// Puts a semi join below the inner joins and filters above the relation that its left keys are of.
void PushDown(RelPtr& rel, const RelPtr& semi) {
  if (RelPtr* input = InputOfKeys(rel, *semi); input != nullptr) return PushDown(*input, semi);
  semi->inputs[0] = rel;
  semi->output = rel->output;
  rel = semi;
}

JoinKind Mirrored(JoinKind kind) {
  switch (kind) {
    case JoinKind::kLeft:
      return JoinKind::kRight;
    case JoinKind::kRight:
      return JoinKind::kLeft;
    case JoinKind::kLeftSemi:
      return JoinKind::kRightSemi;
    case JoinKind::kRightSemi:
      return JoinKind::kLeftSemi;
    case JoinKind::kLeftAnti:
      return JoinKind::kRightAnti;
    case JoinKind::kRightAnti:
      return JoinKind::kLeftAnti;
    default:
      return kind;
  }
}

bool HasMirror(const Rel& rel) {
  return rel.join != JoinKind::kLeftMark && rel.join != JoinKind::kLeftSingle && !rel.null_aware &&
         !rel.left_keys.empty();
}

class Ordering {
 public:
  Ordering(Plan& plan, const Catalog& catalog) : plan_(plan), estimates_(catalog) {}

  void Run(RelPtr& rel) {
    // Strong semi joins go down first, so that the order of what is above is chosen with them in place.
    if (rel->kind == Rel::Kind::kJoin && rel->join == JoinKind::kLeftSemi && !rel->filter &&
        InputOfKeys(rel->inputs[0], *rel) != nullptr) {
      const double kept = estimates_.Rows(*rel);
      if (kept < kStrongSemiJoin * rel->inputs[0]->estimated_rows) {
        const RelPtr semi = rel;
        rel = semi->inputs[0];
        PushDown(rel, semi);
        return Run(rel);
      }
    }
    if (Graph::IsInner(*rel) || (rel->kind == Rel::Kind::kFilter && Graph::IsInner(*rel->inputs[0]))) {
      Leaves(rel);
      Graph graph(plan_, estimates_);
      graph.Collect(rel);
      rel = graph.Order();
      return;
    }
    for (RelPtr& input : rel->inputs) Run(input);
    if (rel->kind != Rel::Kind::kJoin || !HasMirror(*rel)) return;
    estimates_.Rows(*rel);
    if (rel->inputs[1]->estimated_rows <= rel->inputs[0]->estimated_rows) return;
    std::swap(rel->inputs[0], rel->inputs[1]);
    std::swap(rel->left_keys, rel->right_keys);
    rel->join = Mirrored(rel->join);
  }

 private:
  // Orders what is below a tree of inner joins.
  void Leaves(RelPtr& rel) {
    if (Graph::IsInner(*rel) || (rel->kind == Rel::Kind::kFilter && Graph::IsInner(*rel->inputs[0]))) {
      for (RelPtr& input : rel->inputs) Leaves(input);
    } else {
      Run(rel);
    }
  }

  Plan& plan_;
  Estimates estimates_;
};

}  // namespace

void OrderJoins(Plan& plan, const Catalog& catalog) {
  Ordering ordering(plan, catalog);
  const std::vector<ColumnId> output = plan.root->output;
  ordering.Run(plan.root);
  if (plan.root->output != output) {
    auto project = std::make_shared<Rel>(Rel::Kind::kProject);
    project->inputs = {plan.root};
    project->output = output;
    plan.root = project;
  }
  Estimates(catalog).Rows(*plan.root);
}

}  // namespace neap::engine
