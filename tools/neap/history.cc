// history.cc: see history.h.
#include "tools/neap/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "alloc/pressure.h"
#include "tools/neap/bytes.h"
#include "tools/neap/ledger_text.h"
#include "tools/neap/pages.h"

namespace neap::command {
namespace {

constexpr uint64_t kGrowthMs = 60'000;
constexpr uint64_t kSlopeMs = 30'000;
constexpr uint64_t kSoonMs = 10 * 60'000;

// What the limit counts, as far as the page knows.
uint64_t Used(const StatsSample& sample) { return sample.cgroup_used != 0 ? sample.cgroup_used : sample.Anon(); }

StatsSample Present(const StatsPage& page) { return SampleOf(page.now, page.update_ms); }

int64_t Difference(uint64_t to, uint64_t from) { return static_cast<int64_t>(to - from); }

uint64_t Held(const StatsSample& sample) { return sample.cached + sample.dirty + sample.metadata; }

uint64_t Others(const StatsSample& sample) {
  return sample.cgroup_used > sample.Anon() ? sample.cgroup_used - sample.Anon() : 0;
}

std::string Headline(const StatsPage& page, PageState state) {
  const Ledger& now = page.now;
  const std::string limit = now.limit == kNoLimit ? "" : FormatBytes(now.limit);
  switch (state) {
    case PageState::kEnded:
      return fmt::format("ended normally; its peak was {}{}", FormatBytes(PeakAnon(page)),
                         limit.empty() ? "" : " under a limit of " + limit);
    case PageState::kGone:
      if (limit.empty()) return "ended without a normal exit (killed, or it crashed); there was no limit";
      if (now.headroom < now.limit / 8) return fmt::format("killed, most likely by the limit of {}", limit);
      return fmt::format("ended without a normal exit with {} left under the limit of {}: probably not killed by it",
                         FormatBytes(now.headroom), limit);
    case PageState::kRuns:
      break;
  }
  if (limit.empty()) return fmt::format("runs with {} resident and no limit", FormatBytes(PeakAnon(page)));
  const std::optional<uint64_t> left = MsToLimit(page);
  if (left && *left < kSoonMs) {
    return fmt::format("at the pace of the last half minute it reaches its limit of {} in {}", limit,
                       FormatDuration(*left));
  }
  return fmt::format("{} of {} used, {} left", FormatBytes(now.cgroup_used), limit, FormatBytes(now.headroom));
}

// "foreign memory (Java heap)": the part that grew most since about then; more of them where no reading tells.
std::string ForeignName(const StatsPage& page, uint64_t since_ms) {
  const StatsForeign* last = LastForeign(page);
  const StatsForeign* first = nullptr;
  for (uint32_t i = page.foreign.size(); i-- > 0 && (first == nullptr || first->time_ms > since_ms);) {
    first = &page.foreign.at(i);
  }
  uint32_t most = 0;
  int64_t growth = 0;
  for (uint32_t i = 0; last != nullptr && i < kForeignParts; ++i) {
    const int64_t more = Difference(last->part[i], first != last ? first->part[i] : 0);
    if (more <= growth) continue;
    growth = more;
    most = i;
  }
  return growth == 0 ? "foreign memory (JVM heap, stacks, mmap)"
                     : fmt::format("foreign memory ({})", kForeignPartNames[most].words);
}

}  // namespace

std::vector<StatsSample> Samples(const StatsPage& page) {
  std::vector<StatsSample> samples;
  const uint64_t fine_from = page.seconds.size() == 0 ? UINT64_MAX : page.seconds.at(0).time_ms;
  for (uint32_t i = 0; i < page.tens.size(); ++i) {
    if (page.tens.at(i).time_ms < fine_from) samples.push_back(page.tens.at(i));
  }
  for (uint32_t i = 0; i < page.seconds.size(); ++i) samples.push_back(page.seconds.at(i));
  if (samples.empty() || samples.back().time_ms < page.update_ms) samples.push_back(Present(page));
  return samples;
}

std::vector<StatsEvent> Events(const StatsPage& page) {
  std::vector<StatsEvent> events;
  for (uint32_t i = 0; i < page.events.size(); ++i) events.push_back(page.events.at(i));
  return events;
}

std::string EventText(const StatsEvent& event) {
  const auto limit = [](uint64_t bytes) { return bytes == kNoLimit ? std::string("none") : FormatBytes(bytes); };
  switch (event.kind) {
    case StatsEventKind::kLimit:
      return fmt::format("limit changed from {} to {}", limit(event.from), limit(event.value));
    case StatsEventKind::kLevel:
      return fmt::format("pressure went from {} to {}", LevelName(static_cast<uint32_t>(event.from)),
                         LevelName(static_cast<uint32_t>(event.value)));
    case StatsEventKind::kPurge: {
      constexpr const char* kWhy[kPurgeCauses] = {"headroom was short", "the program asked for it", "neap shrink",
                                                  "the kernel had no memory"};
      const char* why = event.cause < kPurgeCauses ? kWhy[event.cause] : "unknown cause";
      const std::string times = event.count > 1 ? fmt::format(" in {} purges", event.count) : "";
      return fmt::format("gave back {} at once{}: {}", FormatBytes(event.value), times, why);
    }
    case StatsEventKind::kAsked:
      return fmt::format("asked the program to free {}", FormatBytes(event.value));
    case StatsEventKind::kForeign:
      return fmt::format("had other allocators give back: {}", FormatBytes(event.value));
  }
  return "an event that this command does not know";
}

std::string GrowthText(const StatsPage& page) {
  const std::vector<StatsSample> samples = Samples(page);
  const StatsSample& last = samples.back();
  const StatsSample* lowest = &last;
  for (const StatsSample& sample : samples) {
    if (sample.time_ms + kGrowthMs >= last.time_ms && Used(sample) < Used(*lowest)) lowest = &sample;
  }
  using Part = std::pair<int64_t, std::string>;
  const auto [bytes, name] =
      std::max({Part{Difference(last.live, lowest->live), "live memory"},
                {Difference(Held(last), Held(*lowest)), "what neap held beside live memory"},
                {Difference(last.foreign, lowest->foreign), ForeignName(page, lowest->time_ms)},
                {Difference(Others(last), Others(*lowest)), "memory of other processes, of the kernel or shared"}},
               [](const Part& a, const Part& b) { return a.first < b.first; });
  const auto least = static_cast<int64_t>(Used(Present(page)) / 16);
  if (bytes <= least) return "";
  return fmt::format("{} grew by {} in {}", name, FormatBytes(static_cast<uint64_t>(bytes)),
                     FormatDuration(last.time_ms - lowest->time_ms));
}

// The slope of a line through the readings, by least squares.
std::optional<uint64_t> MsToLimit(const StatsPage& page) {
  if (page.now.limit == kNoLimit) return std::nullopt;
  double n = 0, t = 0, y = 0, tt = 0, ty = 0;
  for (const StatsSample& sample : Samples(page)) {
    if (sample.headroom == kNoLimit || sample.time_ms + kSlopeMs < page.update_ms) continue;
    const double seconds = -static_cast<double>(page.update_ms - sample.time_ms) / 1000;
    const auto used = static_cast<double>(sample.limit - sample.headroom);
    n += 1, t += seconds, y += used, tt += seconds * seconds, ty += seconds * used;
  }
  const double spread = n * tt - t * t;
  if (n < 3 || spread <= 0) return std::nullopt;
  const double bytes_per_second = (n * ty - t * y) / spread;
  if (bytes_per_second < 1) return std::nullopt;
  return static_cast<uint64_t>(static_cast<double>(page.now.headroom) / bytes_per_second * 1000);
}

PageState StateOf(const StatsPage& page) {
  if (page.exited != 0) return PageState::kEnded;
  return WriterRuns(page) ? PageState::kRuns : PageState::kGone;
}

std::string Advice(const Ledger& ledger, uint64_t limit) {
  if (ledger.cached + ledger.dirty > limit / 10) return "neap gave back too little: tell its authors";
  if (ledger.foreign > ledger.live) return "less foreign memory (a smaller heap) or a higher limit would help";
  return "only less live memory or a higher limit would help";
}

Story Tell(const StatsPage& page, PageState state) {
  const Ledger& now = page.now;
  Story story{Headline(page, state), {}};
  if (const std::string growth = GrowthText(page); !growth.empty()) story.lines.push_back(growth);
  story.lines.push_back(fmt::format("live {}, foreign {}; neap held {} that it could have given back",
                                    FormatBytes(now.live), FormatBytes(now.foreign),
                                    FormatBytes(now.cached + now.dirty)));
  if (state == PageState::kGone && now.limit != kNoLimit) {
    const uint64_t others = Others(Present(page));
    const bool neap_held = now.cached + now.dirty > now.limit / 10;
    story.lines.push_back(
        !neap_held && others > now.live && others > now.foreign
            ? "most was not this process's own: look at its neighbours in the cgroup and at shared memory"
            : Advice(now, now.limit));
  }
  return story;
}

}  // namespace neap::command
