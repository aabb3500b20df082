// cxx_new.cc: every operator new and delete, as [new.delete] describes them.
//
// A program may replace any of them, malloc too, and the forms that the text explains by a replaced one must reach it.
// So each form is a call to the name that the text gives (array to plain, sized to unsized, delete to free), never to
// the heap. Such a call is one indirect jump through our own table of addresses, which the loader filled with whoever
// owns the name; where nobody replaced anything it leads back here.
//
// libneap.so does not depend on the C++ runtime: a C program has none. What a failure needs of it is taken from the
// runtime that the process has, and whoever called operator new has one:
//   - std::__throw_bad_alloc throws, std::get_new_handler tells the handler. They are weak references, bound when the
//     program starts; libstdc++ and libc++ both have them under these names.
//   - Its own nothrow forms, which call the throwing ones by name, hold the catch that a replaced operator new or a
//     new_handler that throws makes necessary. So there is neither try nor catch, no personality routine and no landing
//     pad in libneap.so: exceptions only pass through its frames.
// A runtime that arrived later, below a plug-in and outside the global scope, is looked up when first needed. One that
// is linked statically into the program shows us no more than what the weak references made the linker export: there a
// throw of a handler, or of a replaced operator new, is not caught by the nothrow forms.
#include <dlfcn.h>
#include <stdlib.h>

#include <atomic>
#include <new>

#include "alloc/hardened.h"
#include "alloc/heap.h"
#include "alloc/os.h"
#include "interpose/replaced.h"

namespace {

extern "C" {
[[gnu::weak, noreturn]] void BoundThrowBadAlloc() asm("_ZSt17__throw_bad_allocv");
[[gnu::weak]] std::new_handler BoundGetNewHandler() asm("_ZSt15get_new_handlerv");
}

// A function of the process's C++ runtime.
template <class Function>
class RuntimeFunction {
 public:
  // bound: what the loader found for it, or null.
  constexpr explicit RuntimeFunction(const char* symbol, Function* bound = nullptr) : symbol_(symbol), found_(bound) {}

  // Null if there is no C++ runtime.
  Function* Find() {
    Function* function = found_.load(std::memory_order_relaxed);
    if (function == nullptr) {
      function = reinterpret_cast<Function*>(Search());
      found_.store(function, std::memory_order_relaxed);
    }
    return function;
  }

 private:
  void* Search() const {
    // The objects after libneap.so: its own forms of operator new are not what is looked for.
    if (void* address = dlsym(RTLD_NEXT, symbol_)) return address;
    for (const char* runtime : {"libstdc++.so.6", "libc++.so.1"}) {
      void* handle = dlopen(runtime, RTLD_LAZY | RTLD_NOLOAD);  // kept: the address must stay good
      if (handle == nullptr) continue;
      if (void* address = dlsym(handle, symbol_)) return address;
    }
    return nullptr;
  }

  const char* symbol_;
  std::atomic<Function*> found_;
};

constinit RuntimeFunction<void()> throw_bad_alloc("_ZSt17__throw_bad_allocv", &BoundThrowBadAlloc);
constinit RuntimeFunction<std::new_handler()> get_new_handler("_ZSt15get_new_handlerv", &BoundGetNewHandler);

[[noreturn]] void ThrowBadAlloc() {
  if (auto* raise = throw_bad_alloc.Find()) raise();
  static constexpr char kText[] = "neap: operator new: no memory, and no C++ runtime to throw std::bad_alloc\n";
  neap::Os::WriteError(kText, sizeof(kText) - 1);
  neap::Os::Abort();
}

[[gnu::noinline, gnu::cold]] std::new_handler NewHandler() {
  auto* get = get_new_handler.Find();
  return get != nullptr ? get() : nullptr;
}

void* AskMalloc(size_t size) { return malloc(size); }
void* AskMalloc(size_t size, std::align_val_t alignment) { return aligned_alloc(static_cast<size_t>(alignment), size); }

bool CanBeMet() { return true; }
bool CanBeMet(std::align_val_t alignment) {
  const auto value = static_cast<size_t>(alignment);
  return value != 0 && (value & (value - 1)) == 0;
}

// The loop of the text, after malloc has failed once. Alignment: none, or one std::align_val_t.
template <class... Alignment>
[[gnu::noinline, gnu::cold]] void* RetryNew(size_t size, Alignment... alignment) {
  if (size == 0) return ::operator new(1, alignment...);  // a malloc of the program's own may give null for 0
  while (CanBeMet(alignment...)) {
    const std::new_handler handler = NewHandler();
    if (handler == nullptr) break;
    handler();
    if (void* block = AskMalloc(size, alignment...)) return block;
  }
  ThrowBadAlloc();
}

template <class... Alignment>
void* New(size_t size, Alignment... alignment) {
  if (void* block = AskMalloc(size, alignment...)) [[likely]]
    return block;
  return RetryNew(size, alignment...);
}

using NewFunction = void*(size_t);
using NewAlignedFunction = void*(size_t, std::align_val_t);
using NothrowFunction = void*(size_t, const std::nothrow_t&);
using NothrowAlignedFunction = void*(size_t, std::align_val_t, const std::nothrow_t&);

constinit RuntimeFunction<NothrowFunction> nothrow_new("_ZnwmRKSt9nothrow_t");
constinit RuntimeFunction<NothrowFunction> nothrow_new_array("_ZnamRKSt9nothrow_t");
constinit RuntimeFunction<NothrowAlignedFunction> nothrow_new_aligned("_ZnwmSt11align_val_tRKSt9nothrow_t");
constinit RuntimeFunction<NothrowAlignedFunction> nothrow_new_array_aligned("_ZnamSt11align_val_tRKSt9nothrow_t");

constexpr std::nothrow_t kNothrow;

template <class Function, class... Alignment>
[[gnu::noinline, gnu::cold]] void* NewCatching(RuntimeFunction<Function>& form, size_t size, Alignment... alignment) {
  auto* catching = form.Find();
  return catching != nullptr ? catching(size, alignment..., kNothrow) : ::operator new(size, alignment...);
}

// The catch of the runtime's form is needed where the throwing form that it calls may throw: if the program replaced
// it, or if there is a handler. A null for size 0 is left to RetryNew.
template <class Function, class... Alignment>
void* NewOrNull(bool replaced, RuntimeFunction<Function>& form, size_t size, Alignment... alignment) {
  if (!replaced) [[likely]] {
    if (void* block = AskMalloc(size, alignment...)) [[likely]]
      return block;
    if (size != 0 && NewHandler() == nullptr) return nullptr;
  }
  return NewCatching(form, size, alignment...);
}

}  // namespace

#pragma GCC visibility push(default)

// The throwing forms have a hidden name as well: a form whose public name leads elsewhere was replaced.
extern "C" {
[[gnu::visibility("hidden")]] void* neap_default_new(size_t size) { return New(size); }
[[gnu::visibility("hidden")]] void* neap_default_new_array(size_t size) { return ::operator new(size); }
[[gnu::visibility("hidden")]] void* neap_default_new_aligned(size_t size, std::align_val_t alignment) {
  return New(size, alignment);
}
[[gnu::visibility("hidden")]] void* neap_default_new_array_aligned(size_t size, std::align_val_t alignment) {
  return ::operator new(size, alignment);
}
}

void* operator new(size_t size) __attribute__((alias("neap_default_new")));
void* operator new[](size_t size) __attribute__((alias("neap_default_new_array")));
void* operator new(size_t size, std::align_val_t alignment) __attribute__((alias("neap_default_new_aligned")));
void* operator new[](size_t size, std::align_val_t alignment) __attribute__((alias("neap_default_new_array_aligned")));

namespace {

bool NewReplaced() { return neap::IsReplaced<NewFunction>(&::operator new, &neap_default_new); }
bool NewArrayReplaced() {
  return NewReplaced() || neap::IsReplaced<NewFunction>(&::operator new[], &neap_default_new_array);
}
bool NewAlignedReplaced() { return neap::IsReplaced<NewAlignedFunction>(&::operator new, &neap_default_new_aligned); }
bool NewArrayAlignedReplaced() {
  return NewAlignedReplaced() ||
         neap::IsReplaced<NewAlignedFunction>(&::operator new[], &neap_default_new_array_aligned);
}

}  // namespace

void* operator new(size_t size, const std::nothrow_t&) noexcept { return NewOrNull(NewReplaced(), nothrow_new, size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return NewOrNull(NewArrayReplaced(), nothrow_new_array, size);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return NewOrNull(NewAlignedReplaced(), nothrow_new_aligned, size, alignment);
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return NewOrNull(NewArrayAlignedReplaced(), nothrow_new_array_aligned, size, alignment);
}

extern "C" {
[[gnu::visibility("hidden")]] void neap_default_free(void* block) noexcept;  // c_malloc.cc
[[gnu::visibility("hidden")]] void neap_default_delete(void* block) noexcept { free(block); }
[[gnu::visibility("hidden")]] void neap_default_delete_array(void* block) noexcept { ::operator delete(block); }
[[gnu::visibility("hidden")]] void neap_default_delete_aligned(void* block, std::align_val_t) noexcept { free(block); }
[[gnu::visibility("hidden")]] void neap_default_delete_array_aligned(void* block, std::align_val_t alignment) noexcept {
  ::operator delete(block, alignment);
}
}

void operator delete(void* block) noexcept __attribute__((alias("neap_default_delete")));
void operator delete[](void* block) noexcept __attribute__((alias("neap_default_delete_array")));
void operator delete(void* block, std::align_val_t) noexcept __attribute__((alias("neap_default_delete_aligned")));
void operator delete[](void* block, std::align_val_t) noexcept
    __attribute__((alias("neap_default_delete_array_aligned")));

namespace {

using DeleteFunction = void(void*) noexcept;
using DeleteAlignedFunction = void(void*, std::align_val_t) noexcept;

bool DeleteReplaced() {
  return neap::IsReplaced<DeleteFunction>(&free, &neap_default_free) ||
         neap::IsReplaced<DeleteFunction>(&::operator delete, &neap_default_delete);
}
bool DeleteArrayReplaced() {
  return DeleteReplaced() || neap::IsReplaced<DeleteFunction>(&::operator delete[], &neap_default_delete_array);
}
bool DeleteAlignedReplaced() {
  return neap::IsReplaced<DeleteFunction>(&free, &neap_default_free) ||
         neap::IsReplaced<DeleteAlignedFunction>(&::operator delete, &neap_default_delete_aligned);
}
bool DeleteArrayAlignedReplaced() {
  return DeleteAlignedReplaced() ||
         neap::IsReplaced<DeleteAlignedFunction>(&::operator delete[], &neap_default_delete_array_aligned);
}

}  // namespace

// The size that a sized form is told goes unchecked: programs that delete an object by a base without a virtual
// destructor tell the base's, and live with every other malloc. The hardened mode checks it, where both the block and
// the form that frees it are ours.
void operator delete(void* block, size_t size) noexcept {
  if (neap::Hardened::On() && !NewReplaced() && !DeleteReplaced()) return neap::FreeSized(block, size, 0);
  ::operator delete(block);
}
void operator delete(void* block, const std::nothrow_t&) noexcept { ::operator delete(block); }
void operator delete[](void* block, size_t size) noexcept {
  if (neap::Hardened::On() && !NewArrayReplaced() && !DeleteArrayReplaced()) return neap::FreeSized(block, size, 0);
  ::operator delete[](block);
}
void operator delete[](void* block, const std::nothrow_t&) noexcept { ::operator delete[](block); }

void operator delete(void* block, size_t size, std::align_val_t alignment) noexcept {
  if (neap::Hardened::On() && !NewAlignedReplaced() && !DeleteAlignedReplaced()) {
    return neap::FreeSized(block, size, static_cast<size_t>(alignment));
  }
  ::operator delete(block, alignment);
}
void operator delete(void* block, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  ::operator delete(block, alignment);
}
void operator delete[](void* block, size_t size, std::align_val_t alignment) noexcept {
  if (neap::Hardened::On() && !NewArrayAlignedReplaced() && !DeleteArrayAlignedReplaced()) {
    return neap::FreeSized(block, size, static_cast<size_t>(alignment));
  }
  ::operator delete[](block, alignment);
}
void operator delete[](void* block, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  ::operator delete[](block, alignment);
}

#pragma GCC visibility pop
