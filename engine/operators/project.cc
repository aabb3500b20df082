// project.cc: projections.
#include "engine/operators/project.h"

#include <utility>

#include "engine/run/query.h"

namespace neap::engine {
namespace {

class ProjectStage : public Stage {
 public:
  ProjectStage(const std::vector<std::vector<Expression>>& projections, const Slots& input, Memory& memory, Stage* next)
      : Stage(next) {
    for (const auto& expressions : projections) {
      auto& evaluators = projections_.emplace_back();
      for (const Expression& expression : expressions) evaluators.emplace_back(expression, input, memory);
    }
  }

  void Push(Batch& batch) override {
    for (auto& evaluators : projections_) {
      out_.columns.clear();
      for (Evaluator& evaluator : evaluators) out_.columns.push_back(evaluator.Evaluate(batch));
      out_.rows = batch.rows;
      out_.selection = batch.selection;
      out_.selected = batch.selected;
      next_->Push(out_);
    }
  }

 private:
  std::vector<std::vector<Evaluator>> projections_;
  Batch out_;
};

class Project : public Operator {
 public:
  Project(Query& query, std::string name, std::vector<std::vector<Expression>> projections, Slots input)
      : query_(query), projections_(std::move(projections)), input_(std::move(input)) {
    figures_.name = std::move(name);
  }
  std::unique_ptr<Stage> MakeStage(Worker& /*worker*/, Stage* next) override {
    return std::make_unique<ProjectStage>(projections_, input_, query_.memory(), next);
  }

 private:
  Query& query_;
  std::vector<std::vector<Expression>> projections_;
  Slots input_;
};

}  // namespace

std::unique_ptr<Operator> MakeProject(Query& query, std::string name, std::vector<std::vector<Expression>> projections,
                                      Slots input) {
  return std::make_unique<Project>(query, std::move(name), std::move(projections), std::move(input));
}

}  // namespace neap::engine
