// substrait_reader.cc: a plan and its relations.
//
// Every field of a relation is a column with a number of its own; what merely passes a relation keeps its number. An
// emit and a projection of plain fields only choose what the relation below gives.
#include "engine/plan/substrait_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "engine/core/error.h"
#include "engine/expression/evaluator.h"
#include "engine/plan/substrait_scope.h"

namespace neap::engine {
namespace {

// Names of nested fields follow those of the field that holds them; the engine has no nested types.
void CheckNames(const substrait::NamedStruct& schema) {
  if (schema.names_size() != schema.struct_().types_size())
    RefusePlan("a table with nested columns, or one whose names and types differ in number");
}

const substrait::RelCommon* CommonOf(const substrait::Rel& rel) {
  switch (rel.rel_type_case()) {
    case substrait::Rel::kRead:
      return &rel.read().common();
    case substrait::Rel::kFilter:
      return &rel.filter().common();
    case substrait::Rel::kFetch:
      return &rel.fetch().common();
    case substrait::Rel::kAggregate:
      return &rel.aggregate().common();
    case substrait::Rel::kSort:
      return &rel.sort().common();
    case substrait::Rel::kJoin:
      return &rel.join().common();
    case substrait::Rel::kProject:
      return &rel.project().common();
    case substrait::Rel::kSet:
      return &rel.set().common();
    case substrait::Rel::kCross:
      return &rel.cross().common();
    case substrait::Rel::kWindow:
      return &rel.window().common();
    default:
      return nullptr;
  }
}

}  // namespace

SubstraitReader::SubstraitReader(const substrait::Plan& source, const Catalog& tables, const PlanNotes& notes,
                                 Plan& plan)
    : source_(source),
      tables_(tables),
      notes_(notes),
      plan_(plan),
      datafusion_(source.version().producer() == "datafusion") {
  for (const auto& extension : source.extensions()) {
    if (!extension.has_extension_function()) continue;
    const auto& function = extension.extension_function();
    functions_[function.function_anchor()] = PlainFunctionName(function.name());
  }
}

void SubstraitReader::ReadPlan() {
  RefuseUnknownFields(source_);
  if (source_.relations_size() != 1) RefusePlan(fmt::format("{} relations at its root", source_.relations_size()));
  NumberWhatNotesName(source_);
  if (!notes_.frames.empty() && notes_.frames.size() != windows_.size())
    throw Error(ErrorKind::kPlan, "the frames of window functions cannot be told apart in this plan: use ROWS");
  if (!notes_.anti_joins.empty() && notes_.anti_joins.size() != anti_joins_.size())
    throw Error(ErrorKind::kPlan,
                "a NOT IN (SELECT ...) cannot be told from NOT EXISTS in this plan: write NOT EXISTS");

  const substrait::PlanRel& relation = source_.relations(0);
  plan_.root = ReadRelation(relation.has_root() ? relation.root().input() : relation.rel());
  const std::vector<ColumnId>& output = plan_.root->output;
  for (ColumnId id : output) plan_.names.push_back(plan_.columns[id].name);
  if (relation.has_root()) {
    const auto& names = relation.root().names();
    if (static_cast<size_t>(names.size()) != output.size())
      RefusePlan(fmt::format("{} names for {} columns", names.size(), output.size()));
    plan_.names.assign(names.begin(), names.end());
    for (size_t i = 0; i < output.size(); ++i) {
      std::string& name = plan_.columns[output[i]].name;
      if (name.empty()) name = plan_.names[i];
    }
  }
  CheckMarks();
}

const std::string& SubstraitReader::FunctionNameOf(uint32_t reference) const {
  const auto found = functions_.find(reference);
  if (found == functions_.end())
    throw Error(ErrorKind::kPlan, fmt::format("the plan calls function {} and does not declare it", reference));
  return found->second;
}

RelPtr SubstraitReader::ReadRelation(const substrait::Rel& rel) {
  RelPtr result;
  switch (rel.rel_type_case()) {
    case substrait::Rel::kRead:
      result = ReadRead(rel.read());
      break;
    case substrait::Rel::kFilter:
      result = ReadFilter(rel.filter());
      break;
    case substrait::Rel::kFetch:
      result = ReadFetch(rel.fetch());
      break;
    case substrait::Rel::kAggregate:
      result = ReadAggregate(rel.aggregate());
      break;
    case substrait::Rel::kSort:
      result = ReadSort(rel.sort());
      break;
    case substrait::Rel::kJoin:
      result = ReadJoin(rel.join());
      break;
    case substrait::Rel::kProject:
      result = ReadProject(rel.project());
      break;
    case substrait::Rel::kSet:
      result = ReadSet(rel.set());
      break;
    case substrait::Rel::kCross:
      result = ReadCross(rel.cross());
      break;
    case substrait::Rel::kWindow:
      result = ReadWindow(rel.window());
      break;
    default:
      RefusePlan(fmt::format("a relation of the kind {}", OneofName(rel, "rel_type")));
  }
  const substrait::RelCommon* common = CommonOf(rel);
  if (common == nullptr || !common->has_emit()) return result;

  std::vector<ColumnId> output;
  for (int field : common->emit().output_mapping()) {
    if (field < 0 || static_cast<size_t>(field) >= result->output.size())
      throw Error(ErrorKind::kPlan, fmt::format("the plan gives out field {} of {}", field, result->output.size()));
    output.push_back(result->output[static_cast<size_t>(field)]);
  }
  return Choose(std::move(result), std::move(output));
}

// The columns of a set operation are what is compared, and those of values what is there: others just leave some out.
RelPtr SubstraitReader::Choose(RelPtr rel, std::vector<ColumnId> output) {
  if (rel->kind == Rel::Kind::kSet || rel->kind == Rel::Kind::kValues) rel = Unary(Rel::Kind::kProject, std::move(rel));
  rel->output = std::move(output);
  return rel;
}

RelPtr SubstraitReader::Unary(Rel::Kind kind, RelPtr input) {
  auto rel = std::make_shared<Rel>(kind);
  rel->output = input->output;
  rel->inputs.push_back(std::move(input));
  return rel;
}

void SubstraitReader::MarkNullable(const std::vector<ColumnId>& columns) {
  for (ColumnId id : columns) plan_.columns[id].nullable = true;
}

// ---- Leaves.

RelPtr SubstraitReader::ReadRead(const substrait::ReadRel& rel) {
  switch (rel.read_type_case()) {
    case substrait::ReadRel::kNamedTable:
      return ReadNamedTable(rel);
    case substrait::ReadRel::kVirtualTable:
      return ReadVirtualTable(rel);
    default:
      RefusePlan(fmt::format("a read of the kind {} (name the files as a table instead)", OneofName(rel, "read_type")));
  }
}

RelPtr SubstraitReader::ReadNamedTable(const substrait::ReadRel& rel) {
  const auto& names = rel.named_table().names();
  if (names.empty()) RefusePlan("a table without a name");
  auto found = tables_.find(fmt::format("{}", fmt::join(names, ".")));
  if (found == tables_.end()) found = tables_.find(names[names.size() - 1]);
  if (found == tables_.end()) {
    throw Error(ErrorKind::kPlan, fmt::format("there is no table {}: name its files with -t {}=FILES",
                                              fmt::join(names, "."), names[names.size() - 1]));
  }
  CheckNames(rel.base_schema());
  const std::vector<TableColumn>& columns = found->second->columns();

  auto read = std::make_shared<Rel>(Rel::Kind::kRead);
  read->table = found->first;
  RelPtr project;  // where the plan and the files disagree about types
  Scope scope;
  for (int i = 0; i < rel.base_schema().names_size(); ++i) {
    const std::string& name = rel.base_schema().names(i);
    const auto column =
        std::find_if(columns.begin(), columns.end(), [&](const TableColumn& c) { return c.name == name; });
    if (column == columns.end())
      throw Error(ErrorKind::kPlan, fmt::format("the table {} has no column {}", found->first, name));
    const ColumnId id = plan_.NewColumn(name, column->type, column->nullable);
    read->field_names.push_back(name);
    read->defines.push_back(id);
    const Type wanted = ReadType(rel.base_schema().struct_().types(i)).type;
    if (wanted == column->type) {
      scope.columns.push_back(id);
      continue;
    }
    if (project == nullptr) project = std::make_shared<Rel>(Rel::Kind::kProject);
    project->expressions.push_back(Expression::Cast(ColumnOf(id), wanted));
    project->defines.push_back(plan_.NewColumn(name, wanted, column->nullable));
    scope.columns.push_back(project->defines.back());
  }

  std::vector<ColumnId> output;
  if (rel.has_projection()) {
    for (const auto& item : rel.projection().select().struct_items()) {
      if (item.has_child()) RefusePlan("a projection of a part of a nested column");
      if (item.field() < 0 || static_cast<size_t>(item.field()) >= scope.columns.size())
        throw Error(ErrorKind::kPlan,
                    fmt::format("the plan reads field {} of the table {}", item.field(), read->table));
      output.push_back(scope.columns[static_cast<size_t>(item.field())]);
    }
  } else {
    output = scope.columns;
  }

  std::vector<Expression> terms;
  if (rel.has_filter()) SplitConjunction(Read(rel.filter(), scope), &terms);
  if (rel.has_best_effort_filter()) SplitConjunction(Read(rel.best_effort_filter(), scope), &terms);
  if (project == nullptr) {
    if (!terms.empty()) read->filter = Conjunction(std::move(terms));
    read->output = std::move(output);
    DropUnread(*read);
    return read;
  }
  read->output = read->defines;
  project->inputs.push_back(read);
  project->output = output;
  if (terms.empty()) return project;
  project->output = read->defines;
  project->output.insert(project->output.end(), project->defines.begin(), project->defines.end());
  return MakeFilter(std::move(project), Conjunction(std::move(terms)), std::move(output));
}

// Leaves out the columns that neither the filter nor anybody else reads.
void SubstraitReader::DropUnread(Rel& read) {
  std::vector<ColumnId> needed = read.output;
  if (read.filter) read.filter->ForEachColumn([&](ColumnId id) { needed.push_back(id); });
  size_t kept = 0;
  for (size_t i = 0; i < read.defines.size(); ++i) {
    if (std::find(needed.begin(), needed.end(), read.defines[i]) == needed.end()) continue;
    read.defines[kept] = read.defines[i];
    if (kept != i) read.field_names[kept] = std::move(read.field_names[i]);
    ++kept;
  }
  read.defines.resize(kept);
  read.field_names.resize(kept);
}

RelPtr SubstraitReader::ReadVirtualTable(const substrait::ReadRel& rel) {
  CheckNames(rel.base_schema());
  auto values = std::make_shared<Rel>(Rel::Kind::kValues);
  std::vector<Type> types;
  for (int i = 0; i < rel.base_schema().names_size(); ++i) {
    types.push_back(ReadType(rel.base_schema().struct_().types(i)).type);
    values->defines.push_back(plan_.NewColumn(rel.base_schema().names(i), types.back()));
  }
  values->output = values->defines;
  auto add = [&](std::vector<Expression> row) {
    if (row.size() != types.size())
      throw Error(ErrorKind::kPlan,
                  fmt::format("the plan has a row of {} values for {} columns", row.size(), types.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      if (row[i].type != types[i]) row[i] = Expression::Cast(std::move(row[i]), types[i]);
      if (row[i].kind != Expression::Kind::kLiteral) row[i] = Expression::Constant(EvaluateConstant(row[i]), types[i]);
    }
    values->rows.push_back(std::move(row));
  };
  for (const auto& literals : rel.virtual_table().values()) {
    std::vector<Expression> row;
    for (const auto& literal : literals.fields()) row.push_back(ReadLiteral(literal));
    add(std::move(row));
  }
  Scope nothing;
  for (const auto& expressions : rel.virtual_table().expressions()) {
    std::vector<Expression> row;
    for (const auto& expression : expressions.fields()) row.push_back(Read(expression, nothing));
    add(std::move(row));
  }
  RelPtr result = values;
  if (rel.has_projection()) {
    std::vector<ColumnId> output;
    for (const auto& item : rel.projection().select().struct_items())
      output.push_back(values->defines.at(static_cast<size_t>(item.field())));
    result = Choose(std::move(result), std::move(output));
  }
  if (!rel.has_filter() && !rel.has_best_effort_filter()) return result;
  RefusePlan("values with a filter");
}

// ---- Relations of one input.

// A filter over a scan becomes the scan's own. DataFusion writes what it gave to the scan once more above it.
RelPtr SubstraitReader::MakeFilter(RelPtr input, Expression condition, std::vector<ColumnId> output) {
  if (input->kind != Rel::Kind::kRead) {
    input = Unary(Rel::Kind::kFilter, std::move(input));
    input->filter = std::move(condition);
  } else {
    std::vector<Expression> all, added;
    if (input->filter) SplitConjunction(*std::move(input->filter), &all);
    SplitConjunction(std::move(condition), &added);
    for (Expression& term : added) {
      if (std::find(all.begin(), all.end(), term) == all.end()) all.push_back(std::move(term));
    }
    input->filter = Conjunction(std::move(all));
  }
  input->output = std::move(output);
  return input;
}

RelPtr SubstraitReader::ReadFilter(const substrait::FilterRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  Scope scope{input->output, &input, nullptr};
  Expression condition = Read(rel.condition(), scope);
  return MakeFilter(std::move(input), std::move(condition), std::move(scope.columns));
}

RelPtr SubstraitReader::ReadProject(const substrait::ProjectRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  std::vector<WindowGroup> windows;
  Scope scope{input->output, &input, &windows};
  std::vector<ColumnId> output = scope.columns, defines;
  std::vector<Expression> expressions;
  for (const auto& expression : rel.expressions()) {
    Expression value = Read(expression, scope);
    if (value.is_column()) {
      output.push_back(value.column);
      continue;
    }
    defines.push_back(NewColumn(value.type, MayBeNull(value)));
    output.push_back(defines.back());
    expressions.push_back(std::move(value));
  }
  input = MakeWindows(std::move(input), std::move(windows));
  if (expressions.empty()) return Choose(std::move(input), std::move(output));
  RelPtr project = Unary(Rel::Kind::kProject, std::move(input));
  project->expressions = std::move(expressions);
  project->defines = std::move(defines);
  project->output = std::move(output);
  return project;
}

RelPtr SubstraitReader::MakeWindows(RelPtr input, std::vector<WindowGroup> groups) {
  for (WindowGroup& group : groups) {
    input = Unary(Rel::Kind::kWindow, std::move(input));
    input->expressions = std::move(group.partition);
    input->sort = std::move(group.order);
    for (const WindowCall& call : group.calls) input->output.push_back(call.output);
    input->windows = std::move(group.calls);
  }
  return input;
}

RelPtr SubstraitReader::ReadWindow(const substrait::ConsistentPartitionWindowRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  Scope scope{input->output, &input, nullptr};
  std::vector<WindowGroup> windows(1);
  WindowGroup& group = windows[0];
  for (const auto& partition : rel.partition_expressions()) group.partition.push_back(Read(partition, scope));
  group.order = ReadSortFields(rel.sorts(), scope);
  std::vector<ColumnId> output = scope.columns;
  for (const auto& function : rel.window_functions()) {
    WindowCall call =
        ReadWindowCall(FunctionNameOf(function.function_reference()), ReadArguments(function.arguments(), {}, scope),
                       function.invocation() == substrait::AggregateFunction::AGGREGATION_INVOCATION_DISTINCT,
                       function.has_output_type() ? &function.output_type() : nullptr);
    ReadFrame(function.bounds_type(), function.lower_bound(), function.upper_bound(), group.order, nullptr, &call);
    output.push_back(call.output);
    group.calls.push_back(std::move(call));
  }
  return Choose(MakeWindows(std::move(input), std::move(windows)), std::move(output));
}

RelPtr SubstraitReader::ReadSort(const substrait::SortRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  Scope scope{input->output, &input, nullptr};
  std::vector<SortKey> keys = ReadSortFields(rel.sorts(), scope);
  if (keys.empty()) return Choose(std::move(input), std::move(scope.columns));
  RelPtr sort = Unary(Rel::Kind::kSort, std::move(input));
  sort->sort = std::move(keys);
  sort->output = std::move(scope.columns);
  return sort;
}

RelPtr SubstraitReader::ReadFetch(const substrait::FetchRel& rel) {
  RelPtr input = ReadRelation(rel.input());
  int64_t limit = -1, offset = 0;
  if (rel.count_mode_case() == substrait::FetchRel::kCount) limit = std::max<int64_t>(rel.count(), -1);
  if (rel.has_count_expr()) limit = ReadCount(rel.count_expr(), -1);
  if (rel.offset_mode_case() == substrait::FetchRel::kOffset) offset = rel.offset();
  if (rel.has_offset_expr()) offset = ReadCount(rel.offset_expr(), 0);
  if (offset < 0) throw Error(ErrorKind::kPlan, "OFFSET takes whole numbers that are not negative");
  if (limit < 0 && offset == 0) return input;
  // Of sorted rows only the first are kept.
  if (input->kind != Rel::Kind::kSort || input->limit >= 0 || input->offset > 0)
    input = Unary(Rel::Kind::kLimit, std::move(input));
  input->limit = limit;
  input->offset = offset;
  return input;
}

// ---- Set operations.

RelPtr SubstraitReader::ReadSet(const substrait::SetRel& rel) {
  std::vector<RelPtr> inputs;
  for (const auto& input : rel.inputs()) inputs.push_back(ReadRelation(input));
  if (inputs.empty()) RefusePlan("a set operation without inputs");
  if (inputs.size() == 1) return inputs[0];
  // What is subtracted, or intersected with, by "any of" or "all of" the inputs after the first.
  auto others = [&](Rel::Set set) {
    std::vector<RelPtr> rest(inputs.begin() + 1, inputs.end());
    RelPtr second = rest.size() == 1 ? rest[0] : MakeSet(set, std::move(rest));
    return std::vector<RelPtr>{inputs[0], std::move(second)};
  };
  switch (rel.op()) {
    case substrait::SetRel::SET_OP_UNION_ALL:
      return MakeSet(Rel::Set::kUnionAll, std::move(inputs));
    case substrait::SetRel::SET_OP_UNION_DISTINCT:
      return MakeSet(Rel::Set::kUnionDistinct, std::move(inputs));
    case substrait::SetRel::SET_OP_MINUS_PRIMARY:
      return MakeSet(Rel::Set::kExceptDistinct, others(Rel::Set::kUnionAll));
    case substrait::SetRel::SET_OP_MINUS_PRIMARY_ALL:
      return MakeSet(Rel::Set::kExceptAll, others(Rel::Set::kUnionAll));
    case substrait::SetRel::SET_OP_MINUS_MULTISET:
      return MakeSet(Rel::Set::kExceptDistinct, others(Rel::Set::kIntersectDistinct));
    case substrait::SetRel::SET_OP_INTERSECTION_PRIMARY:
      return MakeSet(Rel::Set::kIntersectDistinct, others(Rel::Set::kUnionAll));
    case substrait::SetRel::SET_OP_INTERSECTION_MULTISET:
      return MakeSet(Rel::Set::kIntersectDistinct, others(Rel::Set::kIntersectDistinct));
    case substrait::SetRel::SET_OP_INTERSECTION_MULTISET_ALL:
      return MakeSet(Rel::Set::kIntersectAll, others(Rel::Set::kIntersectAll));
    default:
      RefusePlan("a set operation without a kind");
  }
}

RelPtr SubstraitReader::MakeSet(Rel::Set kind, std::vector<RelPtr> inputs) {
  auto set = std::make_shared<Rel>(Rel::Kind::kSet);
  set->set = kind;
  const size_t width = inputs[0]->output.size();
  for (const RelPtr& input : inputs) {
    if (input->output.size() != width)
      throw Error(ErrorKind::kPlan, fmt::format("a set operation of {} and {} columns", width, input->output.size()));
  }
  std::vector<std::vector<Expression>> columns(inputs.size());
  for (size_t j = 0; j < width; ++j) {
    Expression common = ColumnOf(inputs[0]->output[j]);
    for (const RelPtr& input : inputs) {
      Expression other = ColumnOf(input->output[j]);
      const Type before = common.type;
      if (!Unify(&common, &other))
        RefusePlan(fmt::format("a set operation over {} and {}", before.Name(), other.type.Name()));
    }
    bool nullable = false;
    for (size_t i = 0; i < inputs.size(); ++i) {
      Expression value = ColumnOf(inputs[i]->output[j]);
      nullable |= MayBeNull(value);
      if (value.type != common.type) value = Expression::Cast(std::move(value), common.type);
      columns[i].push_back(std::move(value));
    }
    set->output.push_back(plan_.NewColumn(plan_.columns[inputs[0]->output[j]].name, common.type, nullable));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    RelPtr project = Unary(Rel::Kind::kProject, inputs[i]);
    std::vector<ColumnId>& given = set->set_inputs.emplace_back();
    for (Expression& value : columns[i]) {
      if (value.is_column()) {
        given.push_back(value.column);
        continue;
      }
      given.push_back(NewColumn(value.type, MayBeNull(value)));
      project->defines.push_back(given.back());
      project->expressions.push_back(std::move(value));
    }
    project->output = given;
    set->inputs.push_back(project->defines.empty() ? inputs[i] : std::move(project));
  }
  return set;
}

// Messages within messages. Four are an operator of an expression: protobuf's own limit of 100 is a sum of 25 terms.
// What reads and rewrites plans calls itself, so that a stack bounds them.
constexpr int kDeepest = 4000;

PlanNotes ReadNotes(const std::string& line) {
  PlanNotes notes;
  std::istringstream words(line);
  std::string marks;
  if (!(words >> marks)) return notes;
  notes.marks = marks == "in"       ? PlanNotes::Marks::kIn
                : marks == "exists" ? PlanNotes::Marks::kExists
                                    : PlanNotes::Marks::kMixed;
  notes.semi_joins_are_sets = marks == "sets";
  for (std::string word; words >> word;) {
    if (const size_t comma = word.find(','); comma != std::string::npos) {
      notes.frames.push_back({word.substr(0, comma), word.substr(comma + 1)});
    } else {
      notes.anti_joins.push_back(static_cast<PlanNotes::Anti>(word[0] - '0'));
    }
  }
  return notes;
}

Plan ReadSubstrait(std::string_view bytes, const Catalog& tables, const PlanNotes& notes) {
  substrait::Plan source;
  const google::protobuf::LogSilencer silencer;  // it says on stderr which text is no UTF-8
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  input.SetRecursionLimit(kDeepest);
  if (!source.ParseFromCodedStream(&input) || !input.ConsumedEntireMessage())
    throw Error(ErrorKind::kPlan, "this is not a Substrait plan: its protobuf cannot be read");
  Plan plan;
  SubstraitReader(source, tables, notes, plan).ReadPlan();
  return plan;
}

}  // namespace neap::engine
