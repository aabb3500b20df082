// verdict.cc: how a command under `neap run` ended, in one line of words.
#include "tools/neap/verdict.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/neap/bytes.h"
#include "tools/neap/history.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/pages.h"

namespace neap::command {
namespace {

uint64_t Peak(const RunOutcome& outcome) {
  uint64_t by_page = outcome.page ? PeakAnon(*outcome.page) : 0;
  return by_page != 0 ? by_page : outcome.end.max_rss;
}

// The least that was ever free below the limit, as far as readings tell.
uint64_t Spare(const RunOutcome& outcome) {
  uint64_t by_peak = Headroom(outcome.limit, Peak(outcome));
  return outcome.page ? std::min(by_peak, outcome.page->peak.lowest_headroom) : by_peak;
}

// The limit that killed: our own, or, as the killed process last read it, a tighter one above.
uint64_t LimitThatKilled(const RunOutcome& outcome) {
  if (outcome.limit_is_ours && outcome.limit_was_hit) return outcome.limit;
  return outcome.page ? outcome.page->now.limit : kNoLimit;
}

// What the ledger of a killed process says about who held the memory, and what would have helped.
std::string WhoHeldIt(const RunOutcome& outcome) {
  if (!outcome.page) {
    return fmt::format(
        "no process of it kept a page of statistics (not on neap? see 'neap doctor'); the biggest had {} "
        "resident at its peak",
        FormatBytes(outcome.end.max_rss));
  }
  const StatsPage& page = *outcome.page;
  const Ledger& now = page.now;
  uint64_t limit = LimitThatKilled(outcome);
  uint64_t held = now.cached + now.dirty;
  uint64_t age = outcome.end.end_ms > page.update_ms ? outcome.end.end_ms - page.update_ms : 0;
  std::string text = fmt::format(
      "at the last reading, {} before, live {}, neap held {} it could have given back, foreign memory {} ({})",
      FormatDuration(age), FormatBytes(now.live), FormatBytes(held), FormatBytes(now.foreign), ForeignPartsText(page));
  if (const std::string growth = GrowthText(page); !growth.empty()) text += "; before it " + growth;
  if (limit == kNoLimit) return text;
  uint64_t unexplained = Headroom(limit, CountedResident(now) + now.foreign);
  if (unexplained > limit / 10) {
    text += fmt::format(", and {} more came after that, or is shared memory, or of other processes or of the kernel",
                        FormatBytes(unexplained));
  }
  return text + "; " + Advice(now, limit);
}

std::string WhichLimit(const RunOutcome& outcome) {
  uint64_t limit = LimitThatKilled(outcome);
  std::string size = limit == kNoLimit ? "" : " of " + FormatBytes(limit);
  if (!outcome.limit_is_ours) return "the container's limit" + size;
  if (outcome.limit_was_hit) return "the limit" + size;
  return fmt::format("a limit{} above its own of {}", limit < outcome.limit ? size : "", FormatBytes(outcome.limit));
}

std::string KillVerdict(const RunOutcome& outcome) {
  return fmt::format("{}: {}", EndWords(outcome), WhoHeldIt(outcome));
}

std::string Verdict(const RunOutcome& outcome) {
  if (outcome.oom_kills > 0) {
    return fmt::format("a memory limit killed {} of its processes, and it went on without", outcome.oom_kills);
  }
  if (outcome.end.signal == SIGKILL) return "killed, and not by a memory limit";
  if (outcome.limit == kNoLimit) return "no limit";
  uint64_t spare = Spare(outcome);
  const char* word = spare < LowMark(outcome.limit) ? "close" : "fits";
  return fmt::format("{}, {} to spare", word, FormatBytes(spare));
}

}  // namespace

std::string EndWords(const RunOutcome& outcome) {
  if (outcome.KilledByLimit()) return "killed by " + WhichLimit(outcome);
  const ChildEnd& end = outcome.end;
  const std::string how = end.signal != 0 ? fmt::format("ended by signal {} ({})", end.signal, strsignal(end.signal))
                                          : fmt::format("exit {}", end.exit_code);
  return fmt::format("{} after {}", how, FormatDuration(end.duration_ms));
}

std::string OutcomeLine(const RunOutcome& outcome) {
  std::string text = "neap: ";
  if (outcome.KilledByLimit()) {
    text += KillVerdict(outcome);
  } else {
    text += fmt::format("{}: peak {}", EndWords(outcome), FormatBytes(Peak(outcome)));
    if (outcome.page) {
      text += fmt::format(", live {}, given back {}", FormatBytes(outcome.page->now.live),
                          FormatBytes(outcome.page->now.released));
    }
    if (outcome.limit != kNoLimit) text += ", limit " + FormatBytes(outcome.limit);
    text += ": " + Verdict(outcome);
  }
  if (outcome.pages > 1) text += fmt::format(" (figures of the biggest of {} processes)", outcome.pages);
  if (outcome.left_behind > 0) text += fmt::format("; {} of its processes still run", outcome.left_behind);
  return text;
}

nlohmann::ordered_json OutcomeJson(const RunOutcome& outcome) {
  bool killed = outcome.KilledByLimit();
  nlohmann::ordered_json json = {
      {"exit_code", outcome.end.exit_code},     {"signal", outcome.end.signal},
      {"duration_ms", outcome.end.duration_ms}, {"killed_by_limit", killed},
      {"oom_kills", outcome.oom_kills},         {"limit", BytesOrNull(outcome.limit)},
      {"limit_is_ours", outcome.limit_is_ours}, {"peak", Peak(outcome)},
      {"max_rss", outcome.end.max_rss},         {"verdict", killed ? KillVerdict(outcome) : Verdict(outcome)},
      {"processes_on_neap", outcome.pages},     {"processes_left", outcome.left_behind},
  };
  json["ledger"] = outcome.page ? LedgerJson(*outcome.page) : nlohmann::ordered_json();
  return json;
}

}  // namespace neap::command
