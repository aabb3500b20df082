// stats_history.cc: see stats_history.h.
#include "alloc/stats_history.h"

#include "alloc/os.h"

namespace neap {
namespace {

constexpr uint64_t kMsPerSample = 1'000;
constexpr uint64_t kMsPerTen = 10'000;
constexpr uint64_t kMsPerEvent = 1'000;
// At most one event a second of each kind and cause: so many of the latest may be of this second.
constexpr uint32_t kRecent = 4 + kPurgeCauses;

// The next place of a ring; null if it is new and the file system has no memory for it: a full one must refuse, not
// kill.
template <class T, uint32_t kCount>
T* Next(StatsRing<T, kCount>& ring) {
  T* next = &ring.of[ring.next % kCount];
  if (ring.next < kCount && !Os::Populate(next, sizeof *next)) return nullptr;
  ++ring.next;
  return next;
}

template <class T, uint32_t kCount>
T* Last(StatsRing<T, kCount>& ring) {
  return ring.next == 0 ? nullptr : &ring.of[(ring.next - 1) % kCount];
}

// A clock that was set back must not stop the history for as long as it was set back.
bool Within(uint64_t since_ms, uint64_t now_ms, uint64_t length_ms) {
  return now_ms >= since_ms && now_ms - since_ms < length_ms;
}

// The event of this second that is continued, or a new one; null if there is no memory for it.
StatsEvent* Event(StatsPage& page, StatsEventKind kind, uint32_t cause, uint64_t now_ms) {
  for (uint32_t i = 0; i < kRecent && i < page.events.size(); ++i) {
    StatsEvent& event = page.events.of[(page.events.next - 1 - i) % kStatsEvents];
    if (event.kind == kind && event.cause == cause && Within(event.time_ms, now_ms, kMsPerEvent)) return &event;
  }
  StatsEvent* event = Next(page.events);
  if (event != nullptr) *event = {.time_ms = now_ms, .kind = kind, .cause = cause, .count = 0, .from = 0, .value = 0};
  return event;
}

void AddBytes(StatsPage& page, StatsEventKind kind, uint32_t cause, uint64_t count, uint64_t bytes, uint64_t now_ms) {
  if (count == 0) return;
  StatsEvent* event = Event(page, kind, cause, now_ms);
  if (event == nullptr) return;
  event->count += count;
  event->value += bytes;
}

void AddChange(StatsPage& page, StatsEventKind kind, uint64_t from, uint64_t to, uint64_t now_ms) {
  StatsEvent* event = Event(page, kind, 0, now_ms);
  if (event == nullptr) return;
  if (event->count++ == 0) event->from = from;
  event->value = to;
}

}  // namespace

void AddEvents(StatsPage& page, const Ledger& before, const Ledger& now, uint64_t now_ms) {
  if (now.limit != before.limit) AddChange(page, StatsEventKind::kLimit, before.limit, now.limit, now_ms);
  if (now.level != before.level) AddChange(page, StatsEventKind::kLevel, before.level, now.level, now_ms);
  for (uint32_t cause = 0; cause < kPurgeCauses; ++cause) {
    AddBytes(page, StatsEventKind::kPurge, cause, now.purges[cause] - before.purges[cause],
             now.purged[cause] - before.purged[cause], now_ms);
  }
  AddBytes(page, StatsEventKind::kAsked, 0, now.callbacks - before.callbacks, now.wanted - before.wanted, now_ms);
  AddBytes(page, StatsEventKind::kForeign, 0, now.foreign_purges - before.foreign_purges,
           now.foreign_purged - before.foreign_purged, now_ms);
}

void AddSample(StatsPage& page, const Ledger& ledger, uint64_t now_ms) {
  const StatsSample sample = SampleOf(ledger, now_ms);
  if (StatsSample* last = Last(page.tens); last != nullptr && last->time_ms / kMsPerTen == now_ms / kMsPerTen) {
    if (sample.Anon() > last->Anon()) *last = sample;
  } else if (StatsSample* next = Next(page.tens)) {
    *next = sample;
  }
  if (StatsSample* last = Last(page.seconds); last != nullptr && Within(last->time_ms, now_ms, kMsPerSample)) return;
  if (StatsSample* next = Next(page.seconds)) *next = sample;
}

void AddForeign(StatsPage& page, const StatsForeign& parts) {
  if (StatsForeign* next = Next(page.foreign)) *next = parts;
}

}  // namespace neap
