// parquet_table.cc: which files a table has, and that they agree.
#include "engine/scan/parquet_table.h"

#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/core/error.h"
#include "engine/scan/parquet_scan.h"

namespace neap::engine {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> FilesOfFolder(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  // Names with a leading dot or underscore are what writers leave behind (_SUCCESS, temporary folders).
  const auto is_hidden = [](const fs::path& path) {
    const std::string name = path.filename().string();
    return name.empty() || name.front() == '.' || name.front() == '_';
  };
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    if (is_hidden(entry->path())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
    } else if (entry->is_regular_file() && entry->path().extension() == ".parquet") {
      files.push_back(entry->path().string());
    }
  }
  if (error) throw Error(ErrorKind::kData, folder + ": cannot be read: " + error.message());
  if (files.empty()) throw Error(ErrorKind::kData, folder + ": no file that ends in .parquet in this folder");
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> FilesOfPattern(const std::string& pattern) {
  glob_t matches{};
  const int result = glob(pattern.c_str(), 0, nullptr, &matches);
  std::vector<std::string> files(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  globfree(&matches);
  if (result != 0 || files.empty()) throw Error(ErrorKind::kData, pattern + ": no such file, and none matches it");
  return files;
}

uint32_t PartsOf(const RowGroup& group) {
  if (group.rows == 0) return 0;
  const int64_t rows = PartRows(group, kLeastPart);
  return static_cast<uint32_t>((group.rows + rows - 1) / rows);
}

std::vector<std::string> FilesOf(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return FilesOfFolder(path);
  if (fs::exists(status)) return {path};
  if (path.find_first_of("*?[") != std::string::npos) return FilesOfPattern(path);
  throw Error(ErrorKind::kData, path + ": no such file or folder");
}

}  // namespace

std::shared_ptr<Table> Table::Open(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    for (std::string& file : FilesOf(path)) files.push_back(std::move(file));
  }
  return std::make_shared<ParquetTable>(files);
}

ParquetTable::ParquetTable(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    AddFile(ReadFooter(path, files_.empty() ? nullptr : files_.back().schema));
  }
}

void ParquetTable::AddFile(ParquetFile file) {
  const std::vector<Leaf>& leaves = file.schema->leaves;
  if (files_.empty()) {
    for (const Leaf& leaf : leaves) {
      columns_.push_back({leaf.name, leaf.type, leaf.nullable});
      refusals_.push_back(leaf.refusal);
    }
  } else if (file.schema != files_.back().schema) {
    const std::string differs = file.path + ": its columns differ from those of " + files_.front().path + ": ";
    if (leaves.size() != columns_.size()) {
      throw Error(ErrorKind::kData,
                  differs + std::to_string(leaves.size()) + " instead of " + std::to_string(columns_.size()));
    }
    for (size_t i = 0; i < leaves.size(); ++i) {
      const bool same = leaves[i].name == columns_[i].name && leaves[i].type == columns_[i].type;
      if (!same) {
        throw Error(ErrorKind::kData, differs + leaves[i].name + " " + leaves[i].type.Name() + " instead of " +
                                          columns_[i].name + " " + columns_[i].type.Name());
      }
      columns_[i].nullable |= leaves[i].nullable;
      if (refusals_[i].empty()) refusals_[i] = leaves[i].refusal;
    }
  }
  for (const RowGroup& group : file.row_groups) rows_ += static_cast<uint64_t>(group.rows);
  files_.push_back(std::move(file));
}

std::unique_ptr<Source> ParquetTable::Scan(std::vector<size_t> columns, std::vector<ColumnId> ids, size_t given,
                                           std::optional<Expression> filter,
                                           std::vector<RuntimeFilterUse> runtime_filters, Memory& memory) {
  for (const size_t column : columns) CheckReadable(column);
  return std::make_unique<ParquetScan>(shared_from_this(), std::move(columns), std::move(ids), given, std::move(filter),
                                       std::move(runtime_filters), memory);
}

void ParquetTable::CheckReadable(size_t column) const {
  if (refusals_[column].empty()) return;
  throw Error(ErrorKind::kData,
              files_.front().path + ": column " + columns_[column].name + " cannot be read: " + refusals_[column]);
}

uint32_t ParquetTable::Parts() const {
  uint32_t parts = 0;
  for (const ParquetFile& file : files_) {
    for (const RowGroup& group : file.row_groups) parts += PartsOf(group);
  }
  return parts;
}

std::unique_ptr<Source> ParquetTable::ScanPart(uint32_t part, Memory& memory) {
  std::vector<size_t> columns(columns_.size());
  std::vector<ColumnId> ids(columns_.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    CheckReadable(i);
    columns[i] = i;
    ids[i] = static_cast<ColumnId>(i);
  }
  for (const ParquetFile& file : files_) {
    for (const RowGroup& group : file.row_groups) {
      const uint32_t parts = PartsOf(group);
      if (part >= parts) {
        part -= parts;
        continue;
      }
      const int64_t rows = PartRows(group, kLeastPart), first = rows * part;
      return std::make_unique<ParquetScan>(shared_from_this(), std::move(columns), std::move(ids),
                                           Morsel{&file, &group, first, std::min(rows, group.rows - first)}, memory);
    }
  }
  return nullptr;
}

}  // namespace neap::engine
