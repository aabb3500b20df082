// text_writers.cc: CSV and JSON lines.
#include <cmath>
#include <string_view>
#include <utility>

#include "engine/core/value_text.h"
#include "engine/result/output_file.h"
#include "engine/result/result_writer.h"

namespace neap::engine {
namespace {

constexpr size_t kFlush = size_t{64} << 10;
constexpr char kHexDigits[] = "0123456789abcdef";

void AppendHex(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    out += kHexDigits[static_cast<uint8_t>(byte) >> 4];
    out += kHexDigits[static_cast<uint8_t>(byte) & 15];
  }
}

const void* ValueAt(const Column& column, uint32_t position) {
  return static_cast<const char*>(column.data) + size_t{position} * column.type.width();
}

std::string_view TextAt(const Column& column, uint32_t position) { return column.values<View>()[position].text(); }

// Rows to lines in a buffer, and the buffer to the file.
class LineWriter : public ResultWriter {
 public:
  LineWriter(std::vector<ResultColumn> columns, const std::string& path) : columns_(std::move(columns)), file_(path) {}

  void Write(const Batch& batch) override {
    batch.ForEach([&](uint32_t row) {
      AppendRow(batch, row);
      if (text_.size() >= kFlush) Flush();
    });
  }

  void Finish() override {
    Flush();
    file_.Close();
  }

 protected:
  virtual void AppendRow(const Batch& batch, uint32_t row) = 0;

  const std::vector<ResultColumn> columns_;
  std::string text_;

 private:
  void Flush() {
    file_.Write(text_.data(), text_.size());
    text_.clear();
  }

  OutputFile file_;
};

class CsvWriter : public LineWriter {
 public:
  CsvWriter(std::vector<ResultColumn> columns, const std::string& path) : LineWriter(std::move(columns), path) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) text_ += ',';
      AppendField(columns_[i].name);
    }
    text_ += '\n';
  }

 protected:
  void AppendRow(const Batch& batch, uint32_t row) override {
    for (size_t i = 0; i < batch.columns.size(); ++i) {
      if (i > 0) text_ += ',';
      const Column& column = batch.columns[i];
      if (!column.is_valid(row)) continue;
      const uint32_t position = column.position(row);
      if (column.type.id == TypeId::kString) {
        AppendField(TextAt(column, position));
      } else if (column.type.id == TypeId::kBinary) {
        AppendHex(TextAt(column, position), text_);
      } else {
        AppendValue(column.type, ValueAt(column, position), text_);
      }
    }
    text_ += '\n';
  }

 private:
  void AppendField(std::string_view text) {
    if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) {
      text_ += text;
      return;
    }
    text_ += '"';
    for (const char c : text) {
      if (c == '"') text_ += '"';
      text_ += c;
    }
    text_ += '"';
  }
};

// Bytes of the UTF-8 sequence that `text` begins with; 0 where it is none.
size_t SequenceLength(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80) return 0;
  }
  const auto second = static_cast<uint8_t>(text[1]);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second >= 0xa0;
  const bool beyond = lead == 0xf4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

class JsonWriter : public LineWriter {
 public:
  JsonWriter(std::vector<ResultColumn> columns, const std::string& path) : LineWriter(std::move(columns), path) {
    for (const ResultColumn& column : columns_) {
      AppendString(column.name);
      names_.push_back(std::exchange(text_, {}) + ':');
    }
  }

 protected:
  void AppendRow(const Batch& batch, uint32_t row) override {
    text_ += '{';
    for (size_t i = 0; i < batch.columns.size(); ++i) {
      if (i > 0) text_ += ',';
      text_ += names_[i];
      AppendCell(batch.columns[i], row);
    }
    text_ += "}\n";
  }

 private:
  void AppendCell(const Column& column, uint32_t row) {
    if (!column.is_valid(row)) {
      text_ += "null";
      return;
    }
    const uint32_t position = column.position(row);
    switch (column.type.id) {
      case TypeId::kString:
        return AppendString(TextAt(column, position));
      case TypeId::kBinary:
        text_ += '"';
        AppendHex(TextAt(column, position), text_);
        text_ += '"';
        return;
      case TypeId::kDate:
      case TypeId::kTimestamp:
      case TypeId::kTimestampTz:
      case TypeId::kInterval:
        text_ += '"';
        AppendValue(column.type, ValueAt(column, position), text_);
        text_ += '"';
        return;
      case TypeId::kFloat:
        if (!std::isfinite(column.values<float>()[position])) break;
        return AppendValue(column.type, ValueAt(column, position), text_);
      case TypeId::kDouble:
        if (!std::isfinite(column.values<double>()[position])) break;
        return AppendValue(column.type, ValueAt(column, position), text_);
      default:
        return AppendValue(column.type, ValueAt(column, position), text_);
    }
    text_ += "null";
  }

  // What is not UTF-8 becomes U+FFFD, byte by byte.
  void AppendString(std::string_view text) {
    text_ += '"';
    while (!text.empty()) {
      const size_t length = SequenceLength(text);
      const auto c = static_cast<uint8_t>(text[0]);
      if (length == 0) {
        text_ += "\xef\xbf\xbd";
      } else if (length > 1) {
        text_ += text.substr(0, length);
      } else if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += text[0];
      } else if (c == '\n') {
        text_ += "\\n";
      } else if (c < 0x20 || c == 0x7f) {
        text_ += "\\u00";
        AppendHex(text.substr(0, 1), text_);
      } else {
        text_ += text[0];
      }
      text.remove_prefix(length == 0 ? 1 : length);
    }
    text_ += '"';
  }

  std::vector<std::string> names_;  // quoted, with colon
};

}  // namespace

std::unique_ptr<ResultWriter> MakeCsvWriter(std::vector<ResultColumn> columns, const std::string& path) {
  return std::make_unique<CsvWriter>(std::move(columns), path);
}

std::unique_ptr<ResultWriter> MakeJsonWriter(std::vector<ResultColumn> columns, const std::string& path) {
  return std::make_unique<JsonWriter>(std::move(columns), path);
}

}  // namespace neap::engine
