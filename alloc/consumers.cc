// consumers.cc: see consumers.h.
#include "alloc/consumers.h"

#include <atomic>

#include "alloc/foreign.h"
#include "alloc/metadata.h"
#include "alloc/os.h"
#include "alloc/release.h"

struct neap_consumer {
  neap_pressure_fn fn;
  void* context;
  neap_consumer* next;
  uint64_t number;  // rises along the list
};

namespace neap {
namespace {

constinit Mutex g_lock;     // the list
constinit Mutex g_calling;  // held while a callback runs
constinit neap_consumer* g_first = nullptr;
constinit uint64_t g_registered = 0;  // ever
constinit std::atomic<bool> g_thread{false};
constinit std::atomic<uint64_t> g_wanted{0};
constinit std::atomic<uint64_t> g_asked{0}, g_asked_bytes{0};
constinit uint32_t g_bell = 0;

// Every consumer once, in the order of registration, until enough is freed. Unregistering waits for g_calling, so that
// the list's next element is looked up anew after each call.
void AskAll(uint64_t wanted) {
  for (uint64_t asked = 0; wanted > 0;) {
    MutexLock calling(g_calling);
    neap_consumer* consumer = nullptr;
    {
      MutexLock lock(g_lock);
      consumer = g_first;
      while (consumer != nullptr && consumer->number <= asked) consumer = consumer->next;
    }
    if (consumer == nullptr) return;
    asked = consumer->number;
    g_asked.fetch_add(1, std::memory_order_relaxed);
    g_asked_bytes.fetch_add(wanted, std::memory_order_relaxed);
    const uint64_t freed = consumer->fn(consumer->context, wanted);
    wanted = freed < wanted ? wanted - freed : 0;
  }
}

void Run(void*) {
  for (;;) {
    const uint32_t rung = __atomic_load_n(&g_bell, __ATOMIC_ACQUIRE);
    if (const uint64_t wanted = g_wanted.exchange(0, std::memory_order_acq_rel)) {
      const uint64_t purged = ForeignAllocators::Purge();
      if (purged < wanted) AskAll(wanted - purged);
      g_wanted.store(0, std::memory_order_relaxed);  // what was read before they had freed
      continue;
    }
    if (Releaser::Ending()) return;
    Os::FutexWait(&g_bell, rung, UINT64_MAX, false);
  }
}

}  // namespace

neap_consumer* Consumers::Register(neap_pressure_fn fn, void* context) {
  auto* consumer = static_cast<neap_consumer*>(Metadata::Allocate(sizeof(neap_consumer)));
  if (consumer == nullptr) return nullptr;
  consumer->fn = fn;
  consumer->context = context;
  {
    MutexLock lock(g_lock);
    consumer->number = ++g_registered;
    neap_consumer** last = &g_first;
    while (*last != nullptr) last = &(*last)->next;
    *last = consumer;
  }
  StartThread();
  return consumer;
}

void Consumers::StartThread() {
  if (!g_thread.exchange(true) && Os::StartThread(Run, nullptr, "neap-pressure", Os::Files::kShared) != 0)
    g_thread.store(false);
}

void Consumers::Unregister(neap_consumer* consumer) {
  MutexLock calling(g_calling);
  MutexLock lock(g_lock);
  for (neap_consumer** link = &g_first; *link != nullptr; link = &(*link)->next) {
    if (*link != consumer) continue;
    *link = consumer->next;
    Metadata::Free(consumer, sizeof(neap_consumer));
    return;
  }
}

void Consumers::Ask(uint64_t wanted) {
  if (__atomic_load_n(&g_first, __ATOMIC_RELAXED) == nullptr && !ForeignAllocators::May()) return;
  g_wanted.store(wanted, std::memory_order_release);
  Wake();
}

void Consumers::Wake() {
  __atomic_fetch_add(&g_bell, 1, __ATOMIC_RELEASE);
  Os::FutexWake(&g_bell, 1, false);
}

uint64_t Consumers::Asked() { return g_asked.load(std::memory_order_relaxed); }
uint64_t Consumers::Wanted() { return g_asked_bytes.load(std::memory_order_relaxed); }

Mutex& Consumers::lock() { return g_lock; }

void Consumers::ForgetInChild() {
  g_calling.ResetInChild();
  ForeignAllocators::ForgetInChild();
  g_thread.store(g_first != nullptr && Os::StartThread(Run, nullptr, "neap-pressure", Os::Files::kShared) == 0);
}

}  // namespace neap
