/* neap.h: the one public header of libneap.so. C11 and C++17 or later.
 *
 * Sizes are bytes. Functions that return int give 0 or an errno value and leave errno alone. Every function may be
 * called from any thread; none may be called from a signal handler. A block, whichever arena owns it, is returned with
 * free(), realloc() works on it, and malloc_usable_size() tells its size.
 *
 * Where libneap.so may be absent, declare what you use `__attribute__((weak))` and test the address.
 */
#ifndef NEAP_H_
#define NEAP_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NEAP_EXPORT __attribute__((visibility("default")))
#define NEAP_UNBOUNDED SIZE_MAX

/* ---- Arenas -----------------------------------------------------------------------------------------------------
 * An arena owns whole spans, so that its account is exact in resident bytes, whoever frees and on whatever thread.
 * Arenas form a tree below the root; a bound holds for the arena and all below it. */
typedef struct neap_arena neap_arena;

typedef enum neap_arena_mode {
  NEAP_ARENA_SOFT = 0,   /* an allocation past the bound is granted, flagged and counted (`overruns`) */
  NEAP_ARENA_STRICT = 1, /* an allocation past the bound fails: NULL, ENOMEM */
} neap_arena_mode;

typedef struct neap_arena_stats_t {
  uint64_t live;     /* bytes in blocks handed out and not yet freed, in block sizes */
  uint64_t cached;   /* resident bytes of free blocks in pages that also hold live ones */
  uint64_t dirty;    /* resident bytes of pages without a live block */
  uint64_t resident; /* live + cached + dirty, this arena alone */
  uint64_t charged;  /* resident + reserved, this arena and all below: what is held against the bound */
  uint64_t reserved; /* granted by neap_arena_reserve and not yet grown into, this arena alone */
  uint64_t peak;     /* highest `charged` since creation */
  uint64_t bound;    /* NEAP_UNBOUNDED where none */
  uint64_t overruns; /* soft allocations granted past a bound */
} neap_arena_stats_t;

/* The arena that owns every block allocated outside a scope. Never NULL, cannot be destroyed. */
NEAP_EXPORT neap_arena* neap_arena_root(void);

/* A new arena below `parent` (NULL: the root); the name is copied and cut at 47 bytes. NULL and ENOMEM if there is no
 * memory or 4095 arenas exist. Its mode is that of its parent; the root's is soft. */
NEAP_EXPORT neap_arena* neap_arena_create(neap_arena* parent, const char* name, size_t bound);

/* Gives back every span of the arena and of the arenas below it, at once: their blocks must not be used again.
 * The arena must not be on any thread's scope stack. EINVAL for the root. */
NEAP_EXPORT int neap_arena_destroy(neap_arena* arena);

NEAP_EXPORT int neap_arena_set_bound(neap_arena* arena, size_t bound);
NEAP_EXPORT int neap_arena_set_mode(neap_arena* arena, neap_arena_mode mode);
NEAP_EXPORT int neap_arena_stats(neap_arena* arena, neap_arena_stats_t* stats);

/* Asks for room to grow by `bytes` before anything is allocated: 0 and the room is held for this arena (later growth
 * uses it up first), or ENOMEM if a bound on the way to the root, or the container's limit, has no room for it.
 * neap_arena_unreserve gives back what was not grown into, at most `bytes` of it. */
NEAP_EXPORT int neap_arena_reserve(neap_arena* arena, size_t bytes);
NEAP_EXPORT int neap_arena_unreserve(neap_arena* arena, size_t bytes);

/* The same question with nothing held: 0 where so much could be reserved now, or ENOMEM. */
NEAP_EXPORT int neap_arena_may_grow(neap_arena* arena, size_t bytes);

/* Gives back every page of the arena that holds no live block; returns the bytes given back. */
NEAP_EXPORT size_t neap_arena_purge(neap_arena* arena);

/* Allocation in an arena without a scope. alignment: a power of two, or 0 for that of malloc. NULL and ENOMEM. */
NEAP_EXPORT void* neap_arena_malloc(neap_arena* arena, size_t size, size_t alignment);

/* free() for a program whose own free() is another allocator's, because it loaded libneap.so late (a plugin, an
 * extension module): returns a block that neap_arena_malloc gave. NULL is nothing. */
NEAP_EXPORT void neap_free(void* block);

/* While a scope is pushed, every malloc, calloc, realloc of NULL and operator new of this thread is the arena's.
 * At most 15 nested scopes on a thread: EAGAIN beyond. */
NEAP_EXPORT int neap_scope_push(neap_arena* arena);
NEAP_EXPORT void neap_scope_pop(void);

/* ---- Pressure ---------------------------------------------------------------------------------------------------
 * A consumer is asked to free memory (to spill, to drop a cache) when headroom stays short after neap itself has given
 * back what it could. Called on a thread of neap's own, one at a time, never inside malloc; `wanted` is how many bytes
 * are missing; returns the bytes that it freed or will free soon. */
typedef size_t (*neap_pressure_fn)(void* context, size_t wanted);
typedef struct neap_consumer neap_consumer;
NEAP_EXPORT neap_consumer* neap_pressure_register(neap_pressure_fn fn, void* context);
/* When this returns the callback is not running and will not be called again. Not from inside the callback. */
NEAP_EXPORT void neap_pressure_unregister(neap_consumer* consumer);

/* ---- The process ------------------------------------------------------------------------------------------------ */
typedef struct neap_stats_t {
  /* resident = live + cached + dirty + metadata */
  uint64_t live, cached, dirty, metadata, resident;
  uint64_t peak_resident;
  uint64_t released;       /* bytes given back since the start */
  uint64_t regret;         /* bytes given back and soon taken again, since the start */
  uint64_t foreign;        /* anonymous memory of the process that neap did not map */
  uint64_t limit;          /* tightest limit of any cgroup up to the root; UINT64_MAX where none */
  uint64_t headroom;       /* limit less what the kernel could not reclaim; UINT64_MAX where no limit */
  uint32_t level;          /* graduated answer in force: 0 ample, 1 low, 2 critical */
  uint32_t arenas;         /* number of arenas, the root included */
  uint64_t limit_changes;  /* how often the limit was seen to change */
  uint64_t callbacks;      /* consumers asked to free memory */
  uint64_t reserved_space; /* address space mapped for spans and metadata; says nothing of resident memory */
} neap_stats_t;

/* ENOMEM, and zeros, while there is not even the memory to start the heap. */
NEAP_EXPORT int neap_stats(neap_stats_t* stats);

/* Gives back at once everything that holds no live block, the caches of every CPU included; returns the bytes. */
NEAP_EXPORT size_t neap_purge(void);

/* ---- The ledger -------------------------------------------------------------------------------------------------
 * Where the bytes of neap_stats are, row by row: shared, every arena behind its classes, classes, nodes, total. In each
 * but a node's resident = live + cached + dirty + metadata. They add up to the byte, also while other threads allocate:
 *   classes of an arena = its arena; all arenas + shared = total; all classes + shared = total
 *   in resident: all nodes + the class of larger blocks + metadata = total
 * What a class wastes inside its blocks is live - requested. */
typedef enum neap_ledger_kind {
  NEAP_LEDGER_SHARED = 0,         /* no arena's: free runs of pages, which are dirty, and metadata */
  NEAP_LEDGER_CLASS_OF_ARENA = 1, /* a size class in the arena `id`, where it holds memory */
  NEAP_LEDGER_ARENA = 2,          /* an arena alone, without those below; the root is the first */
  NEAP_LEDGER_CLASS = 3,          /* a size class in all arenas, where it holds memory */
  NEAP_LEDGER_NODE = 4,           /* a NUMA node: resident and dirty alone, of all but larger blocks */
  NEAP_LEDGER_TOTAL = 5,          /* the process; the last row */
} neap_ledger_kind;

typedef struct neap_ledger_row_t {
  uint32_t size;       /* of the row as the library fills it: what this header has beyond that is not there */
  uint32_t kind;       /* a neap_ledger_kind; skip what you do not know */
  uint32_t id;         /* of the arena (the root's is 0) or node */
  uint32_t parent;     /* of the arena: the id of the one above; of the root 0 */
  char name[48];       /* of the arena, ends with a 0 */
  uint64_t block_size; /* of the class; 0: blocks larger than any class has, each in pages of its own */
  uint64_t live;       /* the words of neap_arena_stats_t and neap_stats_t */
  uint64_t requested;  /* what the program asked for of `live`, estimated from a sample of requests */
  uint64_t cached;
  uint64_t dirty;
  uint64_t metadata; /* shared, total */
  uint64_t resident;
  uint64_t charged;  /* arena */
  uint64_t peak;     /* arena: highest `charged`; total: peak_resident */
  uint64_t bound;    /* arena; NEAP_UNBOUNDED where none */
  uint64_t overruns; /* arena, total */
  uint64_t foreign;  /* total */
  uint64_t anon;     /* total: anonymous memory of the process, as the kernel counted it a moment before; 0: unknown */
  uint64_t foreign_purges; /* total: with NEAP_FOREIGN=1, calls to other allocators to give back */
  uint64_t foreign_purged; /* total: bytes by which foreign memory fell in them */
} neap_ledger_row_t;

/* The row is valid until the function returns. It may do whatever a program may do, allocate and read the ledger
 * included: no lock is held. */
typedef void (*neap_ledger_fn)(void* context, const neap_ledger_row_t* row);

/* Calls `fn` for each row, on this thread; what is allocated and freed meanwhile may be in it or not. Nothing is
 * allocated by neap itself. EINVAL for a null function; ENOMEM, and no row, as neap_stats. */
NEAP_EXPORT int neap_ledger(neap_ledger_fn fn, void* context);

#ifdef __cplusplus
} /* extern "C" */

#if defined(__cpp_exceptions) && defined(__cpp_rtti)
#include <memory_resource>
#include <new>
#include <utility>
#include <vector>

namespace neap {

/* A std::pmr::memory_resource over an arena. The arena outlives it. */
class ArenaResource : public std::pmr::memory_resource {
 public:
  explicit ArenaResource(neap_arena* arena) noexcept : arena_(arena) {}
  neap_arena* arena() const noexcept { return arena_; }

 private:
  void* do_allocate(size_t bytes, size_t alignment) override {
    void* block = neap_arena_malloc(arena_, bytes, alignment);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }
  void do_deallocate(void* block, size_t, size_t) override { __builtin_free(block); }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    auto* same = dynamic_cast<const ArenaResource*>(&other);
    return same != nullptr && same->arena_ == arena_;
  }

  neap_arena* arena_;
};

/* An allocator for standard containers over an arena. The arena outlives every container. */
template <class T>
class ArenaAllocator {
 public:
  using value_type = T;

  explicit ArenaAllocator(neap_arena* arena) noexcept : arena_(arena) {}
  template <class U>
  ArenaAllocator(const ArenaAllocator<U>& other) noexcept : arena_(other.arena()) {}

  T* allocate(size_t count) {
    if (count > PTRDIFF_MAX / sizeof(T)) throw std::bad_array_new_length();
    void* block = neap_arena_malloc(arena_, count * sizeof(T), alignof(T));
    if (block == nullptr) throw std::bad_alloc();
    return static_cast<T*>(block);
  }
  void deallocate(T* block, size_t) noexcept { __builtin_free(block); }
  neap_arena* arena() const noexcept { return arena_; }

  template <class U>
  bool operator==(const ArenaAllocator<U>& other) const noexcept {
    return arena_ == other.arena();
  }

 private:
  neap_arena* arena_;
};

/* A scope for the life of the object. */
class Scope {
 public:
  explicit Scope(neap_arena* arena) {
    if (neap_scope_push(arena) != 0) throw std::bad_alloc();
  }
  ~Scope() { neap_scope_pop(); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
};

/* The rows of neap_ledger. */
inline std::vector<neap_ledger_row_t> LedgerTable() {
  struct Reading {
    std::vector<neap_ledger_row_t> rows;
    bool complete = true;
  } reading;
  const int error = neap_ledger(
      [](void* context, const neap_ledger_row_t* row) {
        auto* into = static_cast<Reading*>(context);
        try {
          neap_ledger_row_t& copy = into->rows.emplace_back();
          __builtin_memcpy(&copy, row, row->size < sizeof copy ? row->size : sizeof copy);
        } catch (const std::bad_alloc&) {
          into->complete = false;
        }
      },
      &reading);
  if (error != 0 || !reading.complete) throw std::bad_alloc();
  return std::move(reading.rows);
}

}  // namespace neap
#endif
#endif

#endif /* NEAP_H_ */
