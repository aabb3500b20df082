// shrink.cc: `neap shrink`, the order to give back until a process is under a size.
#include <fmt/format.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/neap/bytes.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

using Clock = std::chrono::steady_clock;

struct ShrinkOptions {
  pid_t pid = 0;
  std::string to;
  double timeout_seconds = 10;
  bool json = false;
};

// How often to look whether the process still runs while it owes an answer.
constexpr long kLookNs = 200'000'000;

// Waits until the order with this number, or a later one, is answered.
bool AwaitAnswer(StatsPage& page, uint32_t number, const ShrinkOptions& options) {
  auto deadline = Clock::now() +
                  std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.timeout_seconds));
  std::atomic_ref<uint32_t> done(page.shrink_done);
  for (;;) {
    uint32_t seen = done.load(std::memory_order_acquire);
    if (static_cast<int32_t>(seen - number) >= 0) return true;
    if (!ProcessRuns(options.pid)) throw Failure(kNoAccess, fmt::format("{} ended before it answered", options.pid));
    if (Clock::now() >= deadline) return false;
    timespec wait{0, kLookNs};
    syscall(SYS_futex, &page.shrink_done, FUTEX_WAIT, seen, &wait, nullptr, 0);
  }
}

std::string WhatHoldsIt(const Ledger& ledger, uint64_t anon) {
  struct Part {
    const char* words;
    uint64_t bytes;
  };
  uint64_t foreign = anon - std::min(anon, CountedResident(ledger));
  Part parts[] = {
      {"live (blocks the program has not freed)", ledger.live},
      {"foreign (JVM heap, stacks, mmap)", foreign},
      {"cached (free blocks in pages with live ones)", ledger.cached},
      {"dirty", ledger.dirty},
      {"metadata", ledger.metadata},
  };
  std::stable_sort(std::begin(parts), std::end(parts), [](const Part& a, const Part& b) { return a.bytes > b.bytes; });
  std::string text;
  for (const Part& part : parts) {
    if (part.bytes == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", FormatBytes(part.bytes), part.words);
  }
  return text;
}

int Shrink(const ShrinkOptions& options) {
  uint64_t target = BytesOption("--to", options.to);
  PageView view = PageView::OfProcess(options.pid, Access::kWrite);
  StatsPage& shared = view.shared();
  uint64_t before = StatusBytes(options.pid, "RssAnon").value_or(0);

  // The target first: who sees the number sees the target. Of two orders at once the last target counts for both.
  std::atomic_ref(shared.shrink_target).store(target, std::memory_order_relaxed);
  uint32_t number = std::atomic_ref(shared.shrink_request).fetch_add(1, std::memory_order_release) + 1;
  view.Ring();
  if (!AwaitAnswer(shared, number, options)) {
    throw Failure(kNoAnswer, fmt::format("{} has not answered in {:g} s: it is stopped, or runs with NEAP_BACKGROUND=0 "
                                         "and answers when it next allocates much; the order stands",
                                         options.pid, options.timeout_seconds));
  }

  StatsPage page = view.Read();
  uint64_t anon = StatusBytes(options.pid, "RssAnon").value_or(page.now.anon);
  bool under = anon <= target;
  std::string holds = WhatHoldsIt(page.now, anon);
  if (options.json) {
    nlohmann::ordered_json json = {{"pid", options.pid},        {"target", target}, {"under", under},
                                   {"anon_before", before},     {"anon", anon},     {"freed", page.shrink_freed},
                                   {"ledger", LedgerJson(page)}};
    fmt::print("{}\n", JsonText(json, JsonLayout::kIndented));
  } else if (under) {
    fmt::print("{}: {} of anonymous memory, under {}; gave back {}\n", options.pid, FormatBytes(anon),
               FormatBytes(target), FormatBytes(page.shrink_freed));
  }
  if (!under) {
    fmt::print(stderr, "neap shrink: {} gave back {} and still has {} of anonymous memory, over {}; held by: {}\n",
               options.pid, FormatBytes(page.shrink_freed), FormatBytes(anon), FormatBytes(target), holds);
  }
  return under ? kDone : kNo;
}

}  // namespace

void AddShrink(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ShrinkOptions>();
  CLI::App* shrink = app.add_subcommand("shrink", "Gives back until a process is under a size, or says what holds it");
  shrink->add_option("PID", options->pid, "A process on neap")->required()->type_name("")->check(CLI::PositiveNumber);
  shrink->add_option("--to", options->to, "Its anonymous memory, such as 512M or 1.5GiB (powers of two)")
      ->required()
      ->type_name("SIZE");
  shrink->add_option("--timeout", options->timeout_seconds, "Seconds to wait for the answer")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  shrink->add_flag("--json", options->json, "The answer as JSON");
  shrink->footer(
      "Only what the process holds without need is given back; nothing is lost and nothing is stopped.\n\n"
      "Exit codes: 0 the process is under the size; 1 it is not, and what holds it is on stderr, or it is not on "
      "neap;\n"
      "2 bad call; 3 no such process, or not ours; 4 no answer in time.\n\n"
      "Example: neap shrink 4711 --to 512M");
  shrink->callback([options, exit_code] { *exit_code = Shrink(*options); });
}

}  // namespace neap::command
