// commands.h: the subcommands. Each adds itself to the command line; its action runs once the line is parsed.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

namespace neap::command {

// exit_code: what the action leaves for main to return. after_dashes: the words after "--", if there is one.
void AddRun(CLI::App& app, const std::optional<std::vector<std::string>>& after_dashes, int* exit_code);
void AddStat(CLI::App& app, int* exit_code);
void AddTop(CLI::App& app, int* exit_code);
void AddExport(CLI::App& app, int* exit_code);
void AddReport(CLI::App& app, int* exit_code);
void AddProfile(CLI::App& app, int* exit_code);
void AddShrink(CLI::App& app, int* exit_code);
void AddDoctor(CLI::App& app, int* exit_code);
void AddSql(CLI::App& app);

// Becomes the program behind `neap sql`, with these words of the command line from "sql" on. Returns only by a Failure.
void ExecuteSql(char** argv);

}  // namespace neap::command
