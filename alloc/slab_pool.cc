// slab_pool.cc: see slab_pool.h.
#include "alloc/slab_pool.h"

#include <string.h>

#include "alloc/arena.h"
#include "alloc/clock.h"
#include "alloc/limit_gate.h"
#include "alloc/metadata.h"
#include "alloc/misuse.h"
#include "alloc/page_heap.h"
#include "alloc/regret.h"
#include "alloc/release.h"

namespace neap {
namespace {

// Under the pool's lock there is one writer, so that no read-modify-write is needed.
void Add(std::atomic<size_t>& counter, size_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
void Subtract(std::atomic<size_t>& counter, size_t n) {
  counter.store(counter.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
}

uint16_t DirtyUnits(const Slab* slab) { return static_cast<uint16_t>(slab->empty & ~slab->clean); }

void AddUnits(ReleaseBatch& batch, const Slab* slab, uint16_t units, size_t unit_bytes) {
  for (; units != 0; units = static_cast<uint16_t>(units & (units - 1))) {
    batch.Add(slab->start + static_cast<size_t>(__builtin_ctz(units)) * unit_bytes, unit_bytes);
  }
}

}  // namespace

void SlabPool::Start(Arena* arena, PageHeap* heap, size_t size_class, bool hit_path) {
  arena_ = arena;
  heap_ = heap;
  size_class_ = static_cast<uint32_t>(size_class);
  const uint32_t blocks = kSizeClasses[size_class].blocks;
  eighth_ = ((kFullBucket << kEighthShift) + blocks - 1) / blocks;
  hit_path_ = hit_path;
}

size_t SlabPool::ExtraBytes() const { return (kSizeClasses[size_class_].blocks + 63) / 64 * sizeof(uint64_t); }

size_t SlabPool::ResidentBytes(const Slab* slab) const {
  return CountBits(static_cast<uint16_t>(~slab->clean)) * kSizeClasses[size_class_].unit_bytes;
}

uint16_t SlabPool::UnitsOf(size_t index) const {
  if (size_class_ >= kCachedClasses) return static_cast<uint16_t>(1u << index);
  const size_t size = kSizeClasses[size_class_].size;
  const size_t first = index * size >> kPageShift;
  const size_t last = (index * size + size - 1) >> kPageShift;
  return static_cast<uint16_t>((2u << last) - (1u << first));
}

// The masks of a run become the slab's: which units are clean. Of a block of several pages all are resident or none.
void SlabPool::TakeMasks(Slab* slab, size_t first) {
  const SizeClass& row = kSizeClasses[size_class_];
  for (size_t g = first; g < first + row.slab_granules; ++g) {
    if (PageMap::Info(g).released_at != 0) slab->released_at = PageMap::Info(g).released_at;
  }
  if (row.unit_bytes == kPageSize) {
    slab->clean = static_cast<uint16_t>(~PageMap::Info(first).dirty);
    PageMap::Info(first).dirty = 0;
    return;
  }
  slab->clean = static_cast<uint16_t>(~((1u << row.blocks) - 1));
  const size_t unit_pages = row.unit_bytes / kPageSize;
  for (size_t unit = 0; unit < row.blocks; ++unit) {
    size_t dirty = 0;
    for (size_t page = unit * unit_pages; page < (unit + 1) * unit_pages; ++page) {
      dirty += PageMap::Info(first + page / kPagesPerGranule).dirty >> page % kPagesPerGranule & 1;
    }
    if (dirty == unit_pages) continue;
    slab->clean = static_cast<uint16_t>(slab->clean | 1u << unit);
    if (dirty == 0) continue;
    const Range range = {reinterpret_cast<void*>(slab->start + unit * row.unit_bytes), row.unit_bytes};
    Os::Release(&range, 1);
  }
  for (size_t g = first; g < first + row.slab_granules; ++g) {
    if (PageMap::Info(g).dirty != 0) PageMap::Info(g).dirty = 0;
  }
}

// The opposite, before the granules go to the page heap.
void SlabPool::LeaveMasks(const Slab* slab, size_t first) {
  const SizeClass& row = kSizeClasses[size_class_];
  const size_t unit_pages = row.unit_bytes / kPageSize;
  for (size_t unit = 0; unit < kUnits; ++unit) {
    if ((slab->clean >> unit & 1) != 0) continue;
    for (size_t page = unit * unit_pages; page < (unit + 1) * unit_pages; ++page) {
      GranuleInfo& info = PageMap::Info(first + page / kPagesPerGranule);
      info.dirty = static_cast<uint16_t>(info.dirty | 1u << page % kPagesPerGranule);
    }
  }
  if (slab->released_at == 0) return;
  for (size_t g = first; g < first + row.slab_granules; ++g) PageMap::Info(g).released_at = slab->released_at;
}

unsigned SlabPool::BucketOf(const Slab* slab) const {
  return (kSizeClasses[size_class_].blocks - slab->free_blocks) * eighth_ >> kEighthShift;
}

void SlabPool::Link(Slab* slab) {
  slab->bucket = static_cast<uint8_t>(BucketOf(slab));
  buckets_[slab->bucket].PushFront(slab);
  filled_ |= 1u << slab->bucket;
}

void SlabPool::Unlink(Slab* slab) {
  buckets_[slab->bucket].Remove(slab);
  if (buckets_[slab->bucket].Empty()) filled_ &= ~(1u << slab->bucket);
}

void SlabPool::Relink(Slab* slab) {
  if (BucketOf(slab) == slab->bucket || slab->releasing != 0) return;
  Unlink(slab);
  Link(slab);
}

void SlabPool::BecameDirty(Slab* slab) {
  const uint32_t now = NowMs();
  if (slab->in_dirty_list) {
    if (slab->dirty_since == now) return;
    dirty_.Remove(slab);
  }
  slab->dirty_since = now;
  slab->in_dirty_list = true;
  dirty_.PushFront(slab);
}

// Without the lock: the page heap may be busy with the kernel for a while.
Slab* SlabPool::MakeSlab() {
  auto* slab = Metadata::New<Slab>(ExtraBytes());
  if (slab == nullptr) return nullptr;
  const SizeClass& row = kSizeClasses[size_class_];
  const size_t first = heap_->Allocate(row.slab_granules, 1);
  if (first == PageMap::kNone) {
    Metadata::Delete(slab, ExtraBytes());
    return nullptr;
  }
  slab->start = PageMap::AddressOf(first);
  TakeMasks(slab, first);
  if (!arena_->Charge(ResidentBytes(slab))) {
    LeaveMasks(slab, first);
    heap_->Free(first, row.slab_granules);
    Metadata::Delete(slab, ExtraBytes());
    return nullptr;
  }
  slab->kind = SpanKind::kSlab;
  slab->node = static_cast<uint8_t>(heap_->node());
  slab->size_class = static_cast<uint8_t>(size_class_);
  slab->pool = this;
  slab->free_blocks = static_cast<uint16_t>(row.blocks);
  slab->empty = 0xffff;
  for (size_t i = 0; i < row.blocks; i += 64) {
    slab->free_bits[i / 64] = row.blocks - i >= 64 ? ~uint64_t{0} : (uint64_t{1} << (row.blocks - i)) - 1;
  }
  return slab;
}

void SlabPool::Adopt(Slab* slab) {
  const size_t resident = ResidentBytes(slab);
  Add(ledger_.slabs, 1);
  Add(ledger_.resident_pages, resident / kPageSize);
  Add(ledger_.dirty_pages, resident / kPageSize);
  if (resident != 0) BecameDirty(slab);
  Link(slab);
  const size_t first = PageMap::GranuleOf(slab->start);
  for (size_t g = first; g < first + kSizeClasses[size_class_].slab_granules; ++g) PageMap::Set(g, slab);
  SetHitPath(slab);
}

void SlabPool::Retire(Slab* slab) {
  const SizeClass& row = kSizeClasses[size_class_];
  const size_t first = PageMap::GranuleOf(slab->start);
  const size_t resident = ResidentBytes(slab);
  for (size_t g = first; g < first + row.slab_granules; ++g) PageMap::Set(g, &PageMap::no_span);
  Unlink(slab);
  if (slab->in_dirty_list) dirty_.Remove(slab);
  Subtract(ledger_.slabs, 1);
  Subtract(ledger_.resident_pages, resident / kPageSize);
  Subtract(ledger_.dirty_pages, CountBits(DirtyUnits(slab)) * UnitPages());
  arena_->Uncharge(resident);
  LeaveMasks(slab, first);
  Metadata::Delete(slab, ExtraBytes());
  heap_->Free(first, row.slab_granules);
}

// Makes the units resident that are not; false if a strict bound has no room for them.
bool SlabPool::MakeResident(Slab* slab, uint16_t units) {
  const uint16_t fresh = static_cast<uint16_t>(slab->clean & units);
  if (fresh == 0) return true;
  const size_t count = CountBits(fresh) * UnitPages();
  if (!arena_->Charge(count * kPageSize)) return false;
  LimitGate::NoteGrowth(count * kPageSize);
  heap_->NoteCleanTaken(slab->start + static_cast<size_t>(__builtin_ctz(fresh)) * UnitPages() * kPageSize, count);
  slab->clean = static_cast<uint16_t>(slab->clean & ~fresh);
  Add(ledger_.resident_pages, count);
  Add(ledger_.dirty_pages, count);
  if (slab->released_at != 0) Regret::NoteTaken(count, slab->released_at);
  if ((slab->given_back & fresh) != 0) {
    slab->given_back = static_cast<uint16_t>(slab->given_back & ~fresh);
    SetHitPath(slab);
  }
  return true;
}

// `count` more blocks that touch the unit are out of the slab.
void SlabPool::UseUnit(Slab* slab, size_t unit, size_t count) {
  if (slab->live[unit] == 0) {
    Subtract(ledger_.dirty_pages, UnitPages());
    slab->empty = static_cast<uint16_t>(slab->empty & ~(1u << unit));
  }
  slab->live[unit] = static_cast<uint16_t>(slab->live[unit] + count);
}

// row.blocks or more: none.
size_t SlabPool::FirstFree(const Slab* slab) const {
  const size_t blocks = kSizeClasses[size_class_].blocks;
  for (size_t i = 0; i < blocks; i += 64) {
    if (slab->free_bits[i / 64] != 0) return i + static_cast<size_t>(__builtin_ctzll(slab->free_bits[i / 64]));
  }
  return blocks;
}

// Up to `count` of the blocks [index, behind), all of which touch no unit but this one.
size_t SlabPool::TakeWithin(Slab* slab, size_t unit, size_t index, size_t behind, void** blocks, size_t count) {
  const size_t size = kSizeClasses[size_class_].size;
  size_t taken = 0;
  while (index < behind && taken < count) {
    const size_t word = index / 64;
    const size_t word_end = (word + 1) * 64 < behind ? (word + 1) * 64 : behind;
    const uint64_t range = (~uint64_t{0} << index % 64) & (~uint64_t{0} >> ((word + 1) * 64 - word_end));
    uint64_t bits = slab->free_bits[word] & range;
    if (bits != 0) {
      if (!MakeResident(slab, static_cast<uint16_t>(1u << unit))) break;
      const uint64_t before = bits;
      for (; bits != 0 && taken < count; bits &= bits - 1) {
        const size_t block = word * 64 + static_cast<size_t>(__builtin_ctzll(bits));
        blocks[taken++] = reinterpret_cast<void*>(slab->start + block * size);
      }
      slab->free_bits[word] ^= before ^ bits;
    }
    index = word_end;
  }
  if (taken > 0) {
    UseUnit(slab, unit, taken);
    slab->free_blocks = static_cast<uint16_t>(slab->free_blocks - taken);
  }
  return taken;
}

// The block, if it is free: for those that touch several units.
bool SlabPool::TakeAcross(Slab* slab, size_t index, void** block) {
  const uint64_t bit = uint64_t{1} << index % 64;
  const uint16_t units = UnitsOf(index);
  if ((slab->free_bits[index / 64] & bit) == 0 || !MakeResident(slab, units)) return false;
  slab->free_bits[index / 64] &= ~bit;
  --slab->free_blocks;
  for (size_t unit = 0; unit < kUnits; ++unit) {
    if ((units >> unit & 1) != 0) UseUnit(slab, unit, 1);
  }
  *block = reinterpret_cast<void*>(slab->start + index * kSizeClasses[size_class_].size);
  return true;
}

// Unit by unit, resident ones first. Of clean units it takes one (and what it shares a block with), and only if nothing
// else was to be had: what lies in a cache has then been paid for, and a refill is as rare as the fault that follows
// it.
size_t SlabPool::TakeFrom(Slab* slab, void** blocks, size_t count, bool clean_too) {
  const SizeClass& row = kSizeClasses[size_class_];
  const bool cached = size_class_ < kCachedClasses;
  size_t taken = 0;
  for (const bool resident_only : {true, false}) {
    if (resident_only ? slab->clean == 0xffff : slab->clean == 0 || taken > 0 || !clean_too) continue;
    size_t index = FirstFree(slab);
    while (index < row.blocks && taken < count) {
      const size_t begin = index;
      const size_t unit = cached ? begin * row.size >> kPageShift : begin;
      const size_t unit_end = (unit + 1) * row.unit_bytes;
      index =
          cached ? (unit_end + row.size - 1) * row.magic >> 32 : begin + 1;  // the first that starts behind the unit
      if (resident_only && (slab->clean >> unit & 1) != 0) continue;
      if (!resident_only && taken > 0) break;
      const size_t behind = index < row.blocks ? index : row.blocks;
      const bool across = behind * row.size > unit_end;
      taken += TakeWithin(slab, unit, begin, across ? behind - 1 : behind, blocks + taken, count - taken);
      if (across && taken < count && (!resident_only || (slab->clean & UnitsOf(behind - 1)) == 0) &&
          TakeAcross(slab, behind - 1, blocks + taken)) {
        ++taken;
      }
    }
  }
  return taken;
}

size_t SlabPool::Take(void** blocks, size_t count) {
  lock_.Lock();
  size_t taken = 0;
  Slab* made = nullptr;
  while (taken < count) {
    const uint32_t partly = filled_ & ((1u << kFullBucket) - 1);
    if (partly == 0) {
      if (taken > 0) break;
      lock_.Unlock();
      made = MakeSlab();
      if (made == nullptr) return 0;
      lock_.Lock();
      Adopt(made);
      continue;  // others may have made or freed one meanwhile; the fullest serves
    }
    Slab* slab = buckets_[31 - __builtin_clz(partly)].Head();
    size_t got = TakeFrom(slab, blocks + taken, count - taken, taken == 0);
    // A strict bound has no room for its clean pages; blocks on resident ones cost nothing. The emptiest have most.
    for (uint32_t rest = partly; got == 0 && taken == 0 && rest != 0; rest &= rest - 1) {
      Slab* other = buckets_[__builtin_ctz(rest)].Head();
      while (other != nullptr && (got = TakeFrom(other, blocks, count, false)) == 0) other = other->next;
      if (other != nullptr) slab = other;
    }
    taken += got;
    if (slab->in_dirty_list && DirtyUnits(slab) == 0) {
      dirty_.Remove(slab);
      slab->in_dirty_list = false;
    }
    if (slab->free_blocks != kSizeClasses[size_class_].blocks) {
      Relink(slab);
    } else {  // refused by the bound at once
      if (slab == made) made = nullptr;
      Retire(slab);
    }
    if (got == 0) break;
  }
  // Another one, made or freed meanwhile, has served.
  if (made != nullptr && made->free_blocks == kSizeClasses[size_class_].blocks) Retire(made);
  Add(ledger_.taken_blocks, taken);
  lock_.Unlock();
  return taken;
}

// Where no CPU's cache stands before the pool, a program that takes and frees one block would make and retire a slab
// each time. The last slab with room is kept until its pages are given back.
bool SlabPool::IsSpare(const Slab* slab) const {
  const auto& emptiest = buckets_[0];
  return size_class_ >= kCachedClasses && arena_->IsRoot() && (filled_ & ((1u << kFullBucket) - 2)) == 0 &&
         emptiest.Head() == slab && emptiest.Tail() == slab;
}

namespace {

Slab* SlabOf(void* block) {
  Span* span = PageMap::Find(block);
  if (span->kind != SpanKind::kSlab) Misuse::NotABlock(block);
  return static_cast<Slab*>(span);
}

}  // namespace

// The first of the blocks, and as many that follow as are of this pool. What the next ones will touch is seldom in a
// cache when blocks come home in the program's order.
size_t SlabPool::PutRun(void* const* blocks, size_t count) {
  constexpr size_t kAhead = 8;
  const SizeClass row = kSizeClasses[size_class_];
  const bool cached = size_class_ < kCachedClasses;
  const auto prefetch = [&row](const void* block) {
    const auto* slab = static_cast<const Slab*>(PageMap::Find(block));
    const size_t offset = reinterpret_cast<uintptr_t>(block) & (kGranuleSize - 1);
    __builtin_prefetch(slab, 1);
    __builtin_prefetch(&slab->free_bits[(offset * row.magic >> 32) / 64], 1);
  };
  for (size_t i = 0; i < kAhead && i < count; ++i) prefetch(blocks[i]);
  size_t done = 0, dirtied = 0;
  lock_.Lock();
  for (; done < count; ++done) {
    void* block = blocks[done];
    Slab* slab = SlabOf(block);
    if (slab->pool != this) break;
    if (done + kAhead < count) prefetch(blocks[done + kAhead]);

    const size_t offset = OffsetIn(slab, block);
    const size_t index = BlockAt(row, offset);
    if (index == row.blocks) Misuse::NotABlock(block);
    uint64_t& word = slab->free_bits[index / 64];
    const uint64_t bit = uint64_t{1} << index % 64;
    if ((word & bit) != 0) Misuse::DoubleFree(block, row.size);
    word |= bit;
    ++slab->free_blocks;

    const size_t last_unit = cached ? (offset + row.size - 1) >> kPageShift : index;
    uint32_t empty = 0;
    for (size_t unit = cached ? offset >> kPageShift : index; unit <= last_unit; ++unit) {
      if (--slab->live[unit] == 0) empty |= 1u << unit;
    }
    if (empty != 0) {
      slab->empty = static_cast<uint16_t>(slab->empty | empty);
      const size_t pages = CountBits(static_cast<uint16_t>(empty)) * UnitPages();
      Add(ledger_.dirty_pages, pages);
      dirtied += pages;
      BecameDirty(slab);
    }
    Relink(slab);
    if (slab->free_blocks == row.blocks && slab->releasing == 0 && !IsSpare(slab)) Retire(slab);
  }
  Subtract(ledger_.taken_blocks, done);
  lock_.Unlock();
  if (dirtied > 0) Releaser::NoteDirty(dirtied);
  return done;
}

void SlabPool::Put(void* const* blocks, size_t count) {
  while (count > 0) {
    const size_t done = SlabOf(*blocks)->pool->PutRun(blocks, count);
    blocks += done;
    count -= done;
  }
}

size_t SlabPool::Release(uint32_t cutoff_ms, ReleaseBatch& batch) {
  size_t released = 0;
  if (ledger_.dirty_pages.load(std::memory_order_relaxed) == 0) return 0;
  for (;;) {
    constexpr size_t kSlabs = 128;
    Slab* taken[kSlabs];
    size_t count = 0;
    {
      MutexLock lock(lock_);
      while (count < kSlabs && !batch.NearlyFull() && !batch.Exhausted()) {
        Slab* slab = dirty_.Tail();
        if (slab == nullptr || static_cast<int32_t>(slab->dirty_since - cutoff_ms) > 0) break;
        dirty_.Remove(slab);
        slab->in_dirty_list = false;
        slab->releasing = DirtyUnits(slab);
        if (slab->releasing == 0) continue;
        // Out of the lists nobody takes a block of it. Closed to the hit path so that a second free of a block whose
        // page has been given back (its mark is gone) is still noticed.
        Unlink(slab);
        SetHitPath(slab);
        AddUnits(batch, slab, slab->releasing, kSizeClasses[size_class_].unit_bytes);
        taken[count++] = slab;
      }
    }
    if (count == 0) return released;
    batch.Flush();
    const uint32_t now = NowMs();
    MutexLock lock(lock_);
    for (size_t i = 0; i < count; ++i) {
      Slab* slab = taken[i];
      const size_t pages = CountBits(slab->releasing) * UnitPages();
      slab->clean = static_cast<uint16_t>(slab->clean | slab->releasing);
      slab->given_back = static_cast<uint16_t>(slab->given_back | slab->releasing);
      slab->releasing = 0;
      slab->released_at = now;
      Subtract(ledger_.resident_pages, pages);
      Subtract(ledger_.dirty_pages, pages);
      arena_->Uncharge(pages * kPageSize);
      released += pages * kPageSize;
      Link(slab);
      if (slab->free_blocks == kSizeClasses[size_class_].blocks) Retire(slab);
    }
  }
}

void SlabPool::SetHitPath(Slab* slab) {
  if (!hit_path_) return;
  const bool marked = (slab->given_back | slab->releasing) == 0;
  const bool open = marked && slab->sampled == 0;
  PageMap::Set(PageMap::GranuleOf(slab->start), slab, open ? HeaderOf(size_class_) : 0);
  std::atomic_ref(slab->hit_path).store(marked ? HitPath::kMarked : HitPath::kMarksLost, std::memory_order_relaxed);
}

void SlabPool::NoteSampled(Slab* slab, bool more) {
  MutexLock lock(slab->pool->lock_);
  slab->sampled = static_cast<uint16_t>(more ? slab->sampled + 1 : slab->sampled - 1);
  slab->pool->SetHitPath(slab);
}

uint32_t SlabPool::PinnedBy(Slab* slab, const void* block) {
  SlabPool& pool = *slab->pool;
  const SizeClass& row = kSizeClasses[pool.size_class_];
  const size_t index = BlockAt(row, OffsetIn(slab, block));
  MutexLock lock(pool.lock_);
  size_t pinned = 0;
  for (uint32_t units = pool.UnitsOf(index); units != 0; units &= units - 1) {
    const size_t live = slab->live[__builtin_ctz(units)];
    const size_t used = live * row.size;
    if (live != 0 && used < row.unit_bytes) pinned += (row.unit_bytes - used) / live;
  }
  return static_cast<uint32_t>(pinned);
}

size_t SlabPool::Destroy(ReleaseBatch& batch) {
  MutexLock lock(lock_);
  for (auto& bucket : buckets_) {
    for (Slab* slab = bucket.Head(); slab != nullptr; slab = slab->next) {
      AddUnits(batch, slab, static_cast<uint16_t>(~slab->clean), kSizeClasses[size_class_].unit_bytes);
    }
  }
  batch.Flush();
  ledger_.taken_blocks.store(0, std::memory_order_relaxed);
  ledger_.dirty_pages.store(0, std::memory_order_relaxed);
  const uint32_t now = NowMs();
  size_t released = 0;
  for (auto& bucket : buckets_) {
    while (Slab* slab = bucket.Head()) {
      const size_t resident = ResidentBytes(slab);
      slab->clean = 0xffff;
      slab->released_at = now;
      Subtract(ledger_.resident_pages, resident / kPageSize);
      arena_->Uncharge(resident);
      released += resident;
      Retire(slab);
    }
  }
  return released;
}

}  // namespace neap
