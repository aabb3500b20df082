// table_writer.cc: the first rows of a result as a table for people, and how many there were.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "engine/core/value_text.h"
#include "engine/result/output_file.h"
#include "engine/result/result_writer.h"

namespace neap::engine {
namespace {

// Widths are those of the first rows; what is wider later sticks out.
constexpr size_t kMeasuredRows = 1000;

bool IsRight(const Type& type) {
  return type.is_integer() || type.id == TypeId::kDecimal || type.id == TypeId::kFloat || type.id == TypeId::kDouble;
}

// Columns of a terminal that a code point takes: none for combining marks, two for East Asian wide ones and pictures.
uint32_t WidthOf(uint32_t c) {
  if ((c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f)) return 0;
  const bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
                    (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                    (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
  return wide ? 2 : 1;
}

struct Cell {
  std::string text;
  uint32_t width = 0;
};

// Text fit for one line: control characters escaped, cut at `longest` columns.
Cell MakeCell(std::string_view text, uint32_t longest) {
  Cell cell;
  while (!text.empty()) {
    const auto lead = static_cast<uint8_t>(text[0]);
    size_t bytes = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    bytes = std::min(bytes, text.size());
    uint32_t width = 1;
    std::string shown(text.substr(0, bytes));
    if (lead < 0x20 || lead == 0x7f) {
      shown = lead == '\n' ? "\\n" : lead == '\t' ? "\\t" : fmt::format("\\x{:02x}", lead);
      width = static_cast<uint32_t>(shown.size());
    } else if (bytes > 1) {
      uint32_t code = lead & (0xffU >> (bytes + 1));
      for (size_t i = 1; i < bytes; ++i) code = code << 6 | (static_cast<uint8_t>(text[i]) & 0x3f);
      width = WidthOf(code);
    }
    if (longest != 0 && cell.width + width > longest - (text.size() > bytes ? 1 : 0)) {
      cell.text += "\xe2\x80\xa6";  // an ellipsis
      ++cell.width;
      return cell;
    }
    cell.text += shown;
    cell.width += width;
    text.remove_prefix(bytes);
  }
  return cell;
}

class TableWriter : public ResultWriter {
 public:
  TableWriter(std::vector<ResultColumn> columns, const std::string& path, const ResultOptions& options)
      : options_(options), file_(path), start_(std::chrono::steady_clock::now()) {
    for (const ResultColumn& column : columns) {
      right_.push_back(IsRight(column.type));
      heads_.push_back(MakeCell(column.name, options.longest_cell));
      widths_.push_back(heads_.back().width);
    }
  }

  void Write(const Batch& batch) override {
    batch.ForEach([&](uint32_t row) {
      if (options_.most_rows == 0 || rows_ < options_.most_rows) Show(batch, row);
      ++rows_;
    });
  }

  void Finish() override {
    if (!begun_) PrintMeasured();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start_;
    const uint64_t shown = options_.most_rows == 0 ? rows_ : std::min(rows_, options_.most_rows);
    if (shown < rows_) {
      text_ += fmt::format("({} rows, the first {} shown, {:.3f} s)\n", rows_, shown, time.count());
    } else {
      text_ += fmt::format("({} {}, {:.3f} s)\n", rows_, rows_ == 1 ? "row" : "rows", time.count());
    }
    Flush();
    file_.Close();
  }

 private:
  void Show(const Batch& batch, uint32_t row) {
    std::vector<Cell> cells;
    for (const Column& column : batch.columns) cells.push_back(CellOf(column, row));
    if (begun_) {
      PrintRow(cells, right_);
      Flush();
      return;
    }
    for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].width);
    measured_.push_back(std::move(cells));
    if (measured_.size() == kMeasuredRows) PrintMeasured();
  }

  Cell CellOf(const Column& column, uint32_t row) {
    if (!column.is_valid(row)) return {"NULL", 4};
    const uint32_t position = column.position(row);
    value_.clear();
    if (column.type.id == TypeId::kBinary) {
      for (const char byte : column.values<View>()[position].text()) {
        value_ += fmt::format("{:02x}", static_cast<uint8_t>(byte));
      }
    } else {
      AppendValue(column.type, static_cast<const char*>(column.data) + size_t{position} * column.type.width(), value_);
    }
    return MakeCell(value_, options_.longest_cell);
  }

  void PrintMeasured() {
    begun_ = true;
    PrintRow(heads_, std::vector<bool>(heads_.size(), false));
    for (size_t i = 0; i < widths_.size(); ++i) {
      if (i > 0) text_ += '+';
      text_.append(widths_[i] + 2, '-');
    }
    text_ += '\n';
    for (const std::vector<Cell>& row : measured_) PrintRow(row, right_);
    measured_.clear();
    Flush();
  }

  void PrintRow(const std::vector<Cell>& cells, const std::vector<bool>& right) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const size_t padding = cells[i].width < widths_[i] ? widths_[i] - cells[i].width : 0;
      text_ += i > 0 ? "| " : " ";
      if (right[i]) text_.append(padding, ' ');
      text_ += cells[i].text;
      const bool last = i + 1 == cells.size();
      if (!right[i] && !last) text_.append(padding, ' ');
      if (!last) text_ += ' ';
    }
    text_ += '\n';
  }

  void Flush() {
    file_.Write(text_.data(), text_.size());
    text_.clear();
  }

  const ResultOptions options_;
  OutputFile file_;
  const std::chrono::steady_clock::time_point start_;
  std::vector<bool> right_;
  std::vector<Cell> heads_;
  std::vector<uint32_t> widths_;
  std::vector<std::vector<Cell>> measured_;  // rows that wait for the widths
  bool begun_ = false;
  uint64_t rows_ = 0;
  std::string text_;
  std::string value_;
};

}  // namespace

std::unique_ptr<ResultWriter> MakeTableWriter(std::vector<ResultColumn> columns, const std::string& path,
                                              const ResultOptions& options) {
  return std::make_unique<TableWriter>(std::move(columns), path, options);
}

}  // namespace neap::engine
