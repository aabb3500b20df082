// physical.cc: one function a relation: lower its inputs, then add its operator. Columns that nobody above asks for
// are left out on the way, and what joins will learn of their build sides is handed down to the scans.
#include "engine/plan/physical.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/core/error.h"
#include "engine/operators/filter.h"
#include "engine/operators/hash_aggregate.h"
#include "engine/operators/hash_join.h"
#include "engine/operators/limit.h"
#include "engine/operators/nested_loop_join.h"
#include "engine/operators/project.h"
#include "engine/operators/sort.h"
#include "engine/operators/values.h"
#include "engine/operators/window.h"

namespace neap::engine {
namespace {

using ColumnSet = std::set<ColumnId>;
using Filters = std::vector<RuntimeFilterUse>;

void AddColumns(const Expression& expression, ColumnSet& set) {
  expression.ForEachColumn([&](ColumnId id) { set.insert(id); });
}

Filters FiltersOf(const Filters& filters, const std::vector<ColumnId>& columns) {
  Filters of;
  for (const RuntimeFilterUse& use : filters) {
    if (std::find(columns.begin(), columns.end(), use.column) != columns.end()) of.push_back(use);
  }
  return of;
}

// Joins that drop what does not match on the left: a filter of the right keys may drop it earlier.
bool DropsUnmatchedLeft(JoinKind kind) {
  return kind == JoinKind::kInner || kind == JoinKind::kLeftSemi || kind == JoinKind::kRight ||
         kind == JoinKind::kRightSemi || kind == JoinKind::kRightAnti;
}

struct Lowered {
  std::unique_ptr<Chain> chain;
  Slots slots;
};

class Lowering {
 public:
  Lowering(const Plan& plan, const Catalog& catalog, Query& query) : plan_(plan), catalog_(catalog), query_(query) {}

  // The rows of a relation with at least the columns required. `filters`: rows that fail them may be left out.
  Lowered Lower(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    switch (rel.kind) {
      case Rel::Kind::kRead:
        return Read(rel, required, filters);
      case Rel::Kind::kValues:
        return Values(rel);
      case Rel::Kind::kFilter:
        return Filter(rel, required, filters);
      case Rel::Kind::kProject:
        return Project(rel, required, filters);
      case Rel::Kind::kJoin:
        return Join(rel, required, filters);
      case Rel::Kind::kAggregate:
        return Aggregate(rel, required, filters);
      case Rel::Kind::kSort:
        return Sort(rel, required, filters, rel.limit, rel.offset);
      case Rel::Kind::kLimit:
        return Limit(rel, required);
      case Rel::Kind::kWindow:
        return Window(rel, required, filters);
      case Rel::Kind::kExpand:
        return Expand(rel, required);
      case Rel::Kind::kSet:
        return Union(rel, required, filters);
    }
    __builtin_unreachable();
  }

 private:
  Slots SlotsOf(std::vector<ColumnId> ids) const {
    Slots slots;
    for (ColumnId id : ids) slots.types.push_back(plan_.columns[id].type);
    slots.ids = std::move(ids);
    return slots;
  }

  Expression ColumnOf(ColumnId id) const { return Expression::Column(id, plan_.columns[id].type); }

  static std::vector<ColumnId> Among(const std::vector<ColumnId>& columns, const ColumnSet& required) {
    std::vector<ColumnId> among;
    for (ColumnId id : columns) {
      if (required.contains(id) && std::find(among.begin(), among.end(), id) == among.end()) among.push_back(id);
    }
    return among;
  }

  static Lowered With(Lowered input, std::unique_ptr<Operator> op, Slots slots) {
    input.chain->operators.push_back(std::move(op));
    input.slots = std::move(slots);
    return input;
  }

  Lowered Read(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    const auto table = catalog_.find(rel.table);
    if (table == catalog_.end()) throw Error(ErrorKind::kPlan, "no table '" + rel.table + "': register it with -t");
    std::vector<ColumnId> ids = Among(rel.defines, required);
    const size_t given = ids.size();
    if (rel.filter) {
      ColumnSet read;
      AddColumns(*rel.filter, read);
      for (ColumnId id : Among(rel.defines, read)) {
        if (!required.contains(id)) ids.push_back(id);
      }
    }
    // A runtime filter alone is no reason to read a column.
    const Filters of_these = FiltersOf(filters, ids);
    std::vector<size_t> columns;
    for (ColumnId id : ids) {
      const size_t at =
          static_cast<size_t>(std::find(rel.defines.begin(), rel.defines.end(), id) - rel.defines.begin());
      columns.push_back(TableColumnOf(*table->second, rel.table, rel.field_names[at]));
    }
    auto chain = std::make_unique<Chain>();
    auto source = table->second->Scan(columns, ids, given, rel.filter, of_these, query_.memory());
    if (source->figures().name.empty()) source->figures().name = "scan";
    source->figures().detail = rel.table;
    chain->inputs.push_back({std::move(source), nullptr});
    ids.resize(given);
    return {std::move(chain), SlotsOf(std::move(ids))};
  }

  static size_t TableColumnOf(const Table& table, const std::string& name, const std::string& column) {
    for (size_t i = 0; i < table.columns().size(); ++i) {
      if (table.columns()[i].name == column) return i;
    }
    throw Error(ErrorKind::kPlan, "table '" + name + "' has no column '" + column + "'");
  }

  Lowered Values(const Rel& rel) {
    auto chain = std::make_unique<Chain>();
    chain->inputs.push_back({MakeValues(query_, rel.rows), nullptr});
    return {std::move(chain), SlotsOf(rel.defines)};
  }

  Lowered Filter(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    ColumnSet below = required;
    AddColumns(*rel.filter, below);
    Lowered input = Lower(*rel.inputs[0], below, filters);
    auto op = MakeFilter(query_, *rel.filter, input.slots);
    Slots slots = input.slots;
    return With(std::move(input), std::move(op), std::move(slots));
  }

  Lowered Project(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    ColumnSet below;
    for (ColumnId id : required) {
      const auto at = std::find(rel.defines.begin(), rel.defines.end(), id);
      if (at == rel.defines.end()) {
        below.insert(id);
      } else {
        AddColumns(rel.expressions[static_cast<size_t>(at - rel.defines.begin())], below);
      }
    }
    Lowered input = Lower(*rel.inputs[0], below, FiltersOf(filters, rel.inputs[0]->output));
    std::vector<Expression> expressions;
    std::vector<ColumnId> ids;
    for (ColumnId id : input.slots.ids) {
      if (!required.contains(id)) continue;
      expressions.push_back(ColumnOf(id));
      ids.push_back(id);
    }
    for (size_t i = 0; i < rel.defines.size(); ++i) {
      if (!required.contains(rel.defines[i])) continue;
      expressions.push_back(rel.expressions[i]);
      ids.push_back(rel.defines[i]);
    }
    auto op = MakeProject(query_, "project", {std::move(expressions)}, input.slots);
    return With(std::move(input), std::move(op), SlotsOf(std::move(ids)));
  }

  Lowered Join(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    ColumnSet below = required;
    for (const Expression& key : rel.left_keys) AddColumns(key, below);
    for (const Expression& key : rel.right_keys) AddColumns(key, below);
    if (rel.filter) AddColumns(*rel.filter, below);
    const auto& left = *rel.inputs[0];
    const auto& right = *rel.inputs[1];

    HashJoinSpec spec;
    spec.kind = rel.join;
    Filters left_filters = FiltersOf(filters, left.output);
    for (size_t i = 0; i < rel.left_keys.size(); ++i) {
      const Expression& key = rel.left_keys[i];
      auto& filter = spec.filters.emplace_back();
      if (!DropsUnmatchedLeft(rel.join) || !key.is_column() || rel.null_equals[i] != 0) continue;
      filter = std::make_shared<RuntimeFilter>();
      left_filters.push_back({key.column, filter});
    }
    Lowered build = Lower(right, Required(right, below), FiltersOf(filters, right.output));
    Lowered probe = Lower(left, Required(left, below), left_filters);

    std::vector<ColumnId> output;
    if (rel.join != JoinKind::kRightSemi && rel.join != JoinKind::kRightAnti) output = Among(probe.slots.ids, required);
    if (rel.join == JoinKind::kLeftMark) {
      if (required.contains(rel.mark)) output.push_back(rel.mark);
    } else if (rel.join != JoinKind::kLeftSemi && rel.join != JoinKind::kLeftAnti) {
      for (ColumnId id : Among(build.slots.ids, required)) output.push_back(id);
    }

    std::unique_ptr<Operator> op;
    if (rel.left_keys.empty()) {
      op = MakeNestedLoopJoin(query_, {rel.join, probe.slots, build.slots, rel.filter, output, rel.mark},
                              std::move(build.chain));
    } else {
      spec.probe = probe.slots;
      spec.build = build.slots;
      spec.probe_keys = rel.left_keys;
      spec.build_keys = rel.right_keys;
      spec.null_equals = rel.null_equals;
      spec.filter = rel.filter;
      spec.output = output;
      spec.mark = rel.mark;
      spec.null_aware = rel.null_aware;
      op = MakeHashJoin(query_, std::move(spec), std::move(build.chain));
    }
    return With(std::move(probe), std::move(op), SlotsOf(std::move(output)));
  }

  static ColumnSet Required(const Rel& rel, const ColumnSet& wanted) {
    ColumnSet required;
    for (ColumnId id : rel.output) {
      if (wanted.contains(id)) required.insert(id);
    }
    return required;
  }

  Lowered Aggregate(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    HashAggregateSpec spec;
    ColumnSet below;
    Filters pushed;
    for (size_t i = 0; i < rel.expressions.size(); ++i) {
      const Expression& group = rel.expressions[i];
      AddColumns(group, below);
      for (const RuntimeFilterUse& use : filters) {
        if (use.column == rel.defines[i] && group.is_column()) pushed.push_back({group.column, use.filter});
      }
    }
    for (const AggregateCall& call : rel.aggregates) {
      if (!required.contains(call.output)) continue;
      for (const Expression& arg : call.args) AddColumns(arg, below);
      if (call.filter) AddColumns(*call.filter, below);
      spec.calls.push_back(call);
      spec.call_types.push_back(plan_.columns[call.output].type);
    }
    Lowered input = Lower(*rel.inputs[0], below, pushed);
    spec.input = input.slots;
    spec.groups = rel.expressions;
    spec.group_outputs = rel.defines;
    spec.output = Among(rel.output, required);
    Slots slots = SlotsOf(spec.output);
    return With(std::move(input), MakeHashAggregate(query_, std::move(spec)), std::move(slots));
  }

  Lowered Sort(const Rel& rel, const ColumnSet& required, const Filters& filters, int64_t limit, int64_t offset) {
    ColumnSet below = required;
    for (const SortKey& key : rel.sort) AddColumns(key.expression, below);
    Lowered input = Lower(*rel.inputs[0], below, limit < 0 ? filters : Filters());
    std::vector<ColumnId> output = Among(input.slots.ids, required);
    auto op = MakeSort(query_, {input.slots, rel.sort, limit, offset, output});
    return With(std::move(input), std::move(op), SlotsOf(std::move(output)));
  }

  Lowered Limit(const Rel& rel, const ColumnSet& required) {
    const Rel& below = *rel.inputs[0];
    if (below.kind == Rel::Kind::kSort && below.limit < 0) return Sort(below, required, {}, rel.limit, rel.offset);
    Lowered input = Lower(below, required, {});
    Slots slots = input.slots;
    return With(std::move(input), MakeLimit(query_, rel.limit, rel.offset), std::move(slots));
  }

  Lowered Window(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    WindowSpec spec;
    ColumnSet below = Required(*rel.inputs[0], required);
    Filters pushed;
    for (const Expression& key : rel.expressions) {
      AddColumns(key, below);
      for (const RuntimeFilterUse& use : filters) {
        if (key.is_column() && key.column == use.column) pushed.push_back(use);
      }
    }
    for (const SortKey& key : rel.sort) AddColumns(key.expression, below);
    for (const WindowCall& call : rel.windows) {
      if (!required.contains(call.output)) continue;
      WindowCall::ForEachExpression(call, [&](const Expression& expression) { AddColumns(expression, below); });
      spec.calls.push_back(call);
      spec.call_types.push_back(plan_.columns[call.output].type);
    }
    Lowered input = Lower(*rel.inputs[0], below, pushed);
    spec.input = input.slots;
    spec.partition = rel.expressions;
    spec.order = rel.sort;
    spec.output = Among(rel.output, required);
    Slots slots = SlotsOf(spec.output);
    return With(std::move(input), MakeWindow(query_, std::move(spec)), std::move(slots));
  }

  Lowered Expand(const Rel& rel, const ColumnSet& required) {
    ColumnSet below;
    std::vector<std::vector<Expression>> projections(rel.projections.size());
    for (size_t j = 0; j < rel.defines.size(); ++j) {
      if (!required.contains(rel.defines[j])) continue;
      for (size_t i = 0; i < projections.size(); ++i) {
        projections[i].push_back(rel.projections[i][j]);
        AddColumns(rel.projections[i][j], below);
      }
    }
    Lowered input = Lower(*rel.inputs[0], below, {});
    auto op = MakeProject(query_, "expand", std::move(projections), input.slots);
    return With(std::move(input), std::move(op), SlotsOf(Among(rel.defines, required)));
  }

  Lowered Union(const Rel& rel, const ColumnSet& required, const Filters& filters) {
    const std::vector<ColumnId> output = Among(rel.output, required);
    Lowered all{std::make_unique<Chain>(), SlotsOf(output)};
    for (size_t i = 0; i < rel.inputs.size(); ++i) {
      ColumnSet below;
      std::vector<Expression> columns;
      Filters pushed;
      for (ColumnId id : output) {
        const auto at = std::find(rel.output.begin(), rel.output.end(), id) - rel.output.begin();
        const ColumnId from = rel.set_inputs[i][static_cast<size_t>(at)];
        const Expression column = ColumnOf(from);
        const Type type = plan_.columns[id].type;
        columns.push_back(CastTo(column, type));
        below.insert(from);
        for (const RuntimeFilterUse& use : filters) {
          if (use.column == id && column.type == type) pushed.push_back({from, use.filter});
        }
      }
      Lowered input = Lower(*rel.inputs[i], below, pushed);
      input.chain->operators.push_back(MakeProject(query_, "union", {std::move(columns)}, input.slots));
      all.chain->inputs.push_back({nullptr, std::move(input.chain)});
    }
    return all;
  }

  const Plan& plan_;
  const Catalog& catalog_;
  Query& query_;

  friend std::unique_ptr<Chain> neap::engine::MakeChain(const Plan&, const Catalog&, Query&);
};

}  // namespace

std::unique_ptr<Chain> MakeChain(const Plan& plan, const Catalog& catalog, Query& query) {
  Lowering lowering(plan, catalog, query);
  const auto& output = plan.root->output;
  Lowered root = lowering.Lower(*plan.root, ColumnSet(output.begin(), output.end()), {});
  if (root.slots.ids != output) {
    std::vector<Expression> columns;
    for (ColumnId id : output) columns.push_back(lowering.ColumnOf(id));
    root.chain->operators.push_back(MakeProject(query, "project", {std::move(columns)}, root.slots));
  }
  return std::move(root.chain);
}

}  // namespace neap::engine
