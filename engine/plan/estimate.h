// estimate.h: how many rows a relation will give, and how many distinct values a column will have. Guesses from the
// statistics in Parquet footers: rows, bounds, distinct values; independence where nothing is known.
#pragma once

#include <optional>
#include <unordered_map>

#include "engine/plan/catalog.h"
#include "engine/plan/plan.h"

namespace neap::engine {

class Estimates {
 public:
  explicit Estimates(const Catalog& catalog) : catalog_(catalog) {}

  // Estimates a relation and all below it, and writes estimated_rows into each.
  double Rows(Rel& rel);

  // Distinct values of an expression among `rows` rows.
  double Distinct(const Expression& expression, double rows) const;

  // The share of pairs that satisfy equality of keys, where the inputs have these rows.
  double JoinSelectivity(const std::vector<Expression>& left, const std::vector<Expression>& right, double left_rows,
                         double right_rows) const;

  // The share of rows for which a condition is TRUE.
  double Selectivity(const Expression& condition) const;

 private:
  struct ColumnEstimate {
    double distinct = 0;             // 0: unknown
    std::optional<double> min, max;  // raw values
    double table_rows = 0;           // of the table it comes from
  };

  double Read(const Rel& rel);
  double Join(const Rel& rel, double left, double right) const;
  double Comparison(const Expression& call) const;

  const Catalog& catalog_;
  std::unordered_map<ColumnId, ColumnEstimate> columns_;
};

}  // namespace neap::engine
