// profile.cc: see profile.h. One lock over the tables: it is taken once in `interval` bytes, and nothing is unwound
// under it, since the unwinder waits for the dynamic loader, whose holder may allocate.
#include "alloc/profile.h"

#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <string.h>

#include "alloc/arena.h"
#include "alloc/config.h"
#include "alloc/cpu_cache.h"
#include "alloc/fork.h"
#include "alloc/hardened.h"
#include "alloc/mapped_files.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/page_map.h"
#include "alloc/profile_page.h"
#include "alloc/stats_files.h"
#include "alloc/stats_page.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char __ehdr_start[];
[[gnu::visibility("hidden")]] extern const char etext[];
}

namespace neap {
namespace {

constexpr uint32_t kStackBuckets = 1u << 12;
constexpr uint64_t kAskAgain = kProfileInterval;  // bytes, without a profile: one may be ordered
constexpr uint64_t kMsPerPublish = 1'000;
constexpr uint64_t kCostShare = 1'000;  // publishing takes at most one part in so many of the time
constexpr size_t kFirstBytes = offsetof(ProfilePage, module);

constinit Mutex g_lock;
constinit std::atomic<uint64_t> g_interval{0};
constinit std::atomic<int> g_unwinding{0};

// Under the lock.
constinit ProfilePage* g_page = nullptr;
constinit bool g_no_page = false;  // it could not be had
constinit uint32_t* g_stack_buckets = nullptr;
constinit uint32_t* g_buckets = nullptr;  // of SampleBuckets: 1 + the first sample of each
constinit uint32_t g_free_sample = Profile::kNoSample;

// Of Publish.
constinit std::atomic<bool> g_publishing{false};
constinit std::atomic<uint64_t> g_due_ms{0};
constinit std::atomic<uint32_t> g_known{0};  // stacks at the last look at the mapped files

thread_local constinit uint64_t t_random __attribute__((tls_model("initial-exec"))) = 0;
thread_local constinit bool t_drawn __attribute__((tls_model("initial-exec"))) = false;  // the count ends at a sample
thread_local constinit bool t_busy __attribute__((tls_model("initial-exec"))) = false;   // what the unwinder allocates

// ---- The sample.

// -ln of a number in (0, 1] that is `bits` / 2^53.
double MinusLog(uint64_t bits) {
  const int exponent = 63 - __builtin_clzll(bits);
  const double mantissa = static_cast<double>(bits) / static_cast<double>(uint64_t{1} << exponent);  // in [1, 2)
  const double s = (mantissa - 1) / (mantissa + 1);
  const double s2 = s * s;
  const double log = 2 * s * (1 + s2 * (1.0 / 3 + s2 * (1.0 / 5 + s2 * (1.0 / 7 + s2 * (1.0 / 9)))));
  constexpr double kLn2 = 0.693147180559945309;
  return (53 - exponent) * kLn2 - log;
}

// 1 - e^-x
double Probability(double x) {
  if (x > 40) return 1;
  if (x < 1e-4) return x - x * x / 2;
  constexpr int kHalvings = 8;
  const double y = x / (1 << kHalvings);
  double e = 1 - y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4 * (1 - y / 5))));
  for (int i = 0; i < kHalvings; ++i) e *= e;
  return 1 - e;
}

// xorshift64*
uint64_t Random() {
  while (t_random == 0) t_random = Os::RandomBits();
  t_random ^= t_random >> 12;
  t_random ^= t_random << 25;
  t_random ^= t_random >> 27;
  return t_random * 0x2545'f491'4f6c'dd1d;
}

uint64_t DrawInterval() {
  const double bytes = MinusLog((Random() >> 11) + 1) * static_cast<double>(g_interval.load(std::memory_order_relaxed));
  return static_cast<uint64_t>(bytes) + 1;
}

// ---- The stack.

// The library's own frames say nothing; where its objects are part of the program (tests) they cannot be told apart.
size_t Capture(uint64_t* frames) {
  const bool in_library = !Os::IsProgram(__ehdr_start);
  const auto is_own = [&](const void* code) { return in_library && code >= __ehdr_start && code < etext; };
  void* addresses[kProfileDepth];
  g_unwinding.fetch_add(1, std::memory_order_relaxed);
  const int count = unw_backtrace(addresses, kProfileDepth);
  g_unwinding.fetch_sub(1, std::memory_order_relaxed);
  size_t depth = 0;
  for (int i = 0; i < count; ++i) {
    if (depth > 0 || !is_own(addresses[i])) frames[depth++] = reinterpret_cast<uint64_t>(addresses[i]);
  }
  return depth;
}

uint64_t HashOf(const uint64_t* frames, size_t depth) {
  uint64_t hash = depth;
  for (size_t i = 0; i < depth; ++i) hash = (hash ^ frames[i]) * 0x9e37'79b9'7f4a'7c15 ^ hash >> 29;
  return hash;
}

// ---- The tables, under the lock.

// Of an array that is filled from its beginning, at a page's: the pages of a new element that are new too.
bool Touch(void* address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  return (begin - 1) / kPageSize == (begin + bytes - 1) / kPageSize || Os::Populate(address, bytes);
}

bool OpenPage() {
  if (g_page != nullptr || g_no_page) return g_page != nullptr;
  char path[kStatsPathBytes + sizeof kProfileSuffix];
  if (!OpenStatsPage(Config::stats_prefix()) || !StatsPath(path)) return false;
  g_no_page = true;
  memcpy(path + strlen(path), kProfileSuffix, sizeof kProfileSuffix);
  auto* page = static_cast<ProfilePage*>(Os::MapSharedFile(path, sizeof(ProfilePage), kFirstBytes));
  if (page == nullptr) return false;
  if (!Touch(&page->stack[0], sizeof page->stack[0])) {
    Os::Unmap(page, sizeof(ProfilePage));
    return false;
  }
  const ProcessImage process = ProcessImage::Own();
  page->size = sizeof(ProfilePage);
  page->pid = process.pid;
  page->start_time = process.start_time;
  page->interval = g_interval.load(std::memory_order_relaxed);
  page->start_ms = page->update_ms = Os::RealtimeNs() / 1'000'000;
  page->stacks = 1;
  std::atomic_ref(page->magic).store(kProfileMagic, std::memory_order_release);
  g_page = page;
  g_no_page = false;
  return true;
}

uint32_t FindStack(const uint64_t* frames, size_t depth) {
  const uint64_t hash = HashOf(frames, depth);
  uint32_t& bucket = g_stack_buckets[hash % kStackBuckets];
  for (uint32_t i = bucket; i != 0; i = g_page->stack[i].next) {
    const ProfileStack& stack = g_page->stack[i];
    if (stack.hash == hash && stack.depth == depth &&
        memcmp(&g_page->frame[stack.first], frames, depth * sizeof *frames) == 0) {
      return i;
    }
  }
  const uint32_t number = g_page->stacks;
  const uint32_t first = g_page->frames;
  if (number == kProfileStacks || depth > kProfileFrames - first) return 0;
  ProfileStack& stack = g_page->stack[number];
  if (!Touch(&stack, sizeof stack) || !Touch(&g_page->frame[first], depth * sizeof *frames)) return 0;
  memcpy(&g_page->frame[first], frames, depth * sizeof *frames);
  stack = {
      .hash = hash, .first = first, .depth = static_cast<uint32_t>(depth), .blocks = 0, .bytes = 0, .next = bucket};
  bucket = number;
  g_page->frames = first + static_cast<uint32_t>(depth);
  std::atomic_ref(g_page->stacks).store(number + 1, std::memory_order_release);
  return number;
}

uint32_t* NewBuckets(size_t count) { return static_cast<uint32_t*>(Metadata::Allocate(count * sizeof(uint32_t))); }

uint32_t NewSample() {
  if (g_free_sample != Profile::kNoSample) {
    const uint32_t sample = g_free_sample;
    g_free_sample = g_page->sample[sample].next;
    return sample;
  }
  const uint32_t sample = g_page->samples;
  if (sample == kProfileSamples || !Touch(&g_page->sample[sample], sizeof(ProfileSample))) return Profile::kNoSample;
  std::atomic_ref(g_page->samples).store(sample + 1, std::memory_order_release);
  return sample;
}

void SetAddress(ProfileSample& sample, const void* block) {
  std::atomic_ref(sample.address).store(reinterpret_cast<uint64_t>(block), std::memory_order_release);
}

void Link(uint32_t sample, const void* block) {
  const size_t bucket = SampleBuckets::Of(block);
  g_page->sample[sample].next = g_buckets[bucket];
  SetAddress(g_page->sample[sample], block);
  g_buckets[bucket] = sample + 1;
  SampleBuckets::SetInUse(bucket, true);
}

// kNoSample: the block has none.
uint32_t Unlink(const void* block) {
  const size_t bucket = SampleBuckets::Of(block);
  for (uint32_t* link = &g_buckets[bucket]; *link != 0;) {
    const uint32_t number = *link - 1;
    ProfileSample& sample = g_page->sample[number];
    if (sample.address == reinterpret_cast<uint64_t>(block)) {
      *link = sample.next;
      SetAddress(sample, nullptr);
      if (g_buckets[bucket] == 0) SampleBuckets::SetInUse(bucket, false);
      return number;
    }
    link = &sample.next;
  }
  return Profile::kNoSample;
}

void Retire(uint32_t sample) {
  g_page->sample[sample].next = g_free_sample;
  g_free_sample = sample;
}

// ---- What is sampled.

Slab* SlabOf(const void* block) {
  Span* span = PageMap::Find(block);
  return span->kind == SpanKind::kSlab ? static_cast<Slab*>(span) : nullptr;
}

void Describe(ProfileSample& sample, const void* block) {
  const Span* span = PageMap::Find(block);
  sample.bytes = BlockSize(span);
  sample.arena = OwnerOf(span)->id();
}

// Returns how many stacks are known; 0 without a page.
uint32_t LookAtPinned(uint64_t now_ms) {
  for (uint32_t i = 0;;) {
    constexpr uint32_t kAtOnce = 256;  // for so long others wait for the lock
    MutexLock lock(g_lock);
    if (g_page == nullptr) return 0;
    for (const uint32_t end = i + kAtOnce; i < g_page->samples && i < end; ++i) {
      ProfileSample& sample = g_page->sample[i];
      const auto* block = reinterpret_cast<const void*>(sample.address);
      if (block == nullptr) continue;
      // A block with a sample is live, and so is its slab.
      if (Slab* slab = SlabOf(block)) sample.pinned = SlabPool::PinnedBy(slab, block);
    }
    if (i < g_page->samples) continue;
    g_page->update_ms = now_ms;
    return g_page->stacks;
  }
}

// While it lives, the thread takes no samples.
class Busy {
 public:
  Busy() { t_busy = true; }
  ~Busy() { t_busy = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
};

}  // namespace

void Profile::Start(uint64_t interval) {
  {
    MutexLock lock(g_lock);
    if (g_stack_buckets == nullptr) g_stack_buckets = NewBuckets(kStackBuckets);
    if (g_buckets == nullptr) g_buckets = NewBuckets(SampleBuckets::kCount);
    if (g_stack_buckets == nullptr || g_buckets == nullptr) return;
  }
  g_interval.store(interval, std::memory_order_relaxed);
  on_.store(true, std::memory_order_relaxed);
  __atomic_store_n(&hot::fast_limit, 0, __ATOMIC_RELAXED);
}

// In the hardened mode the hit path is closed from the thread's first block on.
void Profile::SetCount(uint64_t left) {
  if (Left() == 0 && Hardened::On()) CloseHitPath();
  t_left += left - Left();
}

void* Profile::NotedSlow(void* block, size_t requested) {
  if (t_busy || CpuCaches::InVforkChild()) return block;
  const bool on = On();
  const bool drawn = t_drawn;
  t_drawn = on;
  if (!on || !drawn) {
    SetCount(on ? DrawInterval() : kAskAgain);
    if (!on || Pass(requested)) return block;
  }
  SetCount(DrawInterval());
  RecoverForkedChild();
  const Busy busy;
  uint64_t frames[kProfileDepth];
  const size_t depth = Capture(frames);
  {
    MutexLock lock(g_lock);
    if (!OpenPage()) {
      if (g_no_page) on_.store(false, std::memory_order_relaxed);
      return block;
    }
    const uint32_t number = NewSample();
    if (number == kNoSample) {
      ++g_page->dropped;
      return block;
    }
    ProfileSample& sample = g_page->sample[number];
    sample.counted = requested;
    sample.time_ms = Os::RealtimeNs() / 1'000'000;
    sample.pinned = 0;
    sample.stack = FindStack(frames, depth);
    Describe(sample, block);
    const double weight =
        1 / Probability(static_cast<double>(requested == 0 ? 1 : requested) / static_cast<double>(g_page->interval));
    ProfileStack& stack = g_page->stack[sample.stack];
    stack.blocks += weight;
    stack.bytes += weight * static_cast<double>(sample.bytes);
    Link(number, block);
  }
  if (Slab* slab = SlabOf(block)) SlabPool::NoteSampled(slab, true);
  return block;
}

uint32_t Profile::Detach(const void* block) {
  if (!MayHave(block)) return kNoSample;
  RecoverForkedChild();
  MutexLock lock(g_lock);
  if (g_page == nullptr) return kNoSample;
  return Unlink(block);
}

void Profile::Attach(uint32_t number, void* block, size_t growth) {
  MutexLock lock(g_lock);
  if (g_page == nullptr) return;  // forked meanwhile
  ProfileSample& sample = g_page->sample[number];
  sample.counted += growth;
  Describe(sample, block);
  Link(number, block);
}

void Profile::ForgetSlow(const void* block) {
  const uint32_t sample = Detach(block);
  if (sample == kNoSample) return;
  {
    MutexLock lock(g_lock);
    if (g_page != nullptr) Retire(sample);
  }
  if (Slab* slab = SlabOf(block)) SlabPool::NoteSampled(slab, false);
}

void Profile::ForgetArena(uint16_t arena) {
  MutexLock lock(g_lock);
  if (g_page == nullptr) return;
  for (uint32_t i = 0; i < g_page->samples; ++i) {
    const ProfileSample& sample = g_page->sample[i];
    if (sample.address == 0 || sample.arena != arena) continue;
    Retire(Unlink(reinterpret_cast<const void*>(sample.address)));
  }
}

void Profile::Publish(uint64_t now_ms, bool due) {
  if (!On() || (!due && now_ms < g_due_ms.load(std::memory_order_relaxed))) return;
  if (g_publishing.exchange(true, std::memory_order_acquire)) return;
  const uint64_t begin = Os::ThreadCpuNs();
  const uint32_t stacks = LookAtPinned(now_ms);
  if (g_known.exchange(stacks, std::memory_order_relaxed) != stacks) AddMappedFiles(*g_page);
  const uint64_t cost_ms = (Os::ThreadCpuNs() - begin) * kCostShare / 1'000'000;
  g_due_ms.store(now_ms + (cost_ms > kMsPerPublish ? cost_ms : kMsPerPublish), std::memory_order_relaxed);
  g_publishing.store(false, std::memory_order_release);
}

// The tables stay with the parent. Slabs that held a sampled block stay closed to the hit path.
void Profile::ForgetInChild() {
  if (g_page != nullptr) Os::Unmap(g_page, sizeof(ProfilePage));
  g_page = nullptr;
  g_no_page = false;
  g_free_sample = kNoSample;
  g_publishing.store(false, std::memory_order_relaxed);
  g_due_ms.store(0, std::memory_order_relaxed);
  g_known.store(0, std::memory_order_relaxed);
  if (g_stack_buckets != nullptr) memset(g_stack_buckets, 0, kStackBuckets * sizeof(uint32_t));
  if (g_buckets != nullptr) {
    memset(g_buckets, 0, SampleBuckets::kCount * sizeof(uint32_t));
    for (size_t bucket = 0; bucket < SampleBuckets::kCount; ++bucket) SampleBuckets::SetInUse(bucket, false);
  }
  // A thread that is no more may have held a lock of the unwinder's.
  if (g_unwinding.exchange(t_busy ? 1 : 0, std::memory_order_relaxed) > (t_busy ? 1 : 0)) {
    on_.store(false, std::memory_order_relaxed);
  }
}

Mutex& ForkLocks::Profile() { return g_lock; }

}  // namespace neap
