// Pointers that are no blocks: interior, foreign and wild ones, given to free, to realloc and to their kin.
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <thread>
#include <vector>

#include "misuse.h"

extern char** environ;

namespace outside {
namespace {

alignas(64) char in_data[256] = {1};
alignas(64) char in_bss[64 * 1024];
thread_local char in_thread[256];

void* Mapped(size_t size) { return mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
void* Wild(uintptr_t address) { return Hidden(reinterpret_cast<void*>(address)); }

const Misuse kInterior[] = {
    {"SmallBy1", [] { free(At(SmallBlock(), 1)); }},
    {"SmallBy8", [] { free(At(SmallBlock(), 8)); }},
    {"SmallBy16", [] { free(At(SmallBlock(), 16)); }},
    {"SmallAtItsEnd", [] { free(At(SmallBlock(), 96)); }},
    {"SmallBefore", [] { free(At(SmallBlock(), -8)); }},
    {"TinyBy8", [] { free(At(malloc(16), 8)); }},
    {"MediumBy1", [] { free(At(MediumBlock(), 1)); }},
    {"MediumBy16", [] { free(At(MediumBlock(), 16)); }},
    {"MediumByAPage", [] { free(At(MediumBlock(), 4096)); }},
    {"LargeBy1", [] { free(At(LargeBlock(), 1)); }},
    {"LargeBy16", [] { free(At(LargeBlock(), 16)); }},
    {"LargeByAPage", [] { free(At(LargeBlock(), 4096)); }},
    {"LargeBy1MiB", [] { free(At(LargeBlock(), 1 << 20)); }},
    {"LargeBefore", [] { free(At(LargeBlock(), -16)); }},
    {"AlignedBy64", [] { free(At(memalign(64, 1000), 64)); }},
    {"PageAlignedBy16", [] { free(At(memalign(4096, 10000), 16)); }},
    {"CallocBy16", [] { free(At(calloc(100, 10), 16)); }},
    {"NewBy16", [] { operator delete(At(operator new(100), 16)); }},
    {"ArrayCookie",  // delete of what new[] gave, without the count that lies before it
     [] {
       struct Counted {
         ~Counted() { value = 0; }
         long value = 1;
       };
       free(Hidden(new Counted[10]));
     }},
    {"OfAFreedBlock",
     [] {
       void* block = SmallBlock();
       free(block);
       free(At(block, 16));
     }},
    {"ReallocOfSmall", [] { Hidden(realloc(At(SmallBlock(), 16), 200)); }},
    {"ReallocOfLarge", [] { Hidden(realloc(At(LargeBlock(), 4096), 8 << 20)); }},
};

const Misuse kForeign[] = {
    {"Stack",
     [] {
       char bytes[256];
       free(At(bytes, 64));
     }},
    {"StackAligned",
     [] {
       alignas(64) char bytes[256];
       free(At(bytes, 0));
     }},
    {"OtherThreadsStack",
     [] {
       std::thread([] {
         alignas(64) char bytes[256];
         free(At(bytes, 0));
       }).join();
     }},
    {"Data", [] { free(At(in_data, 64)); }},
    {"Bss", [] { free(At(in_bss, 4096)); }},
    {"ThreadLocal", [] { free(At(in_thread, 0)); }},
    {"Literal", [] { free(Hidden(const_cast<char*>("a literal"))); }},
    {"Function", [] { free(Hidden(reinterpret_cast<void*>(&Judgement))); }},
    {"FunctionOfTheCLibrary", [] { free(Hidden(reinterpret_cast<void*>(&memcpy))); }},
    {"StandardStream", [] { free(Hidden(static_cast<void*>(stdout))); }},
    {"Mapping", [] { free(Mapped(64 * kKiB)); }},
    {"MappingBy16", [] { free(At(Mapped(64 * kKiB), 16)); }},
    {"LargeMapping", [] { free(Mapped(64 * kMiB)); }},
    {"NoAccess",
     [] {
       void* pages = Mapped(64 * kKiB);
       mprotect(pages, 64 * kKiB, PROT_NONE);
       free(At(pages, 4096));
     }},
    {"Unmapped",
     [] {
       void* pages = Mapped(64 * kKiB);
       munmap(pages, 64 * kKiB);
       free(At(pages, 16));
     }},
    {"Brk", [] { free(At(sbrk(8192), 4096)); }},
    {"Environment", [] { free(Hidden(environ[0])); }},
    {"Address1", [] { free(Wild(1)); }},
    {"Address16", [] { free(Wild(16)); }},
    {"FirstPages", [] { free(Wild(0x10000)); }},
    {"NotCanonical", [] { free(Wild(0x8000000000000000)); }},
    {"NotCanonicalMiddle", [] { free(Wild(0x00de000000001000)); }},
    {"Kernel", [] { free(Wild(0xffffffff81000000)); }},
    {"Highest", [] { free(Wild(~uintptr_t{0})); }},
    {"HighestAligned", [] { free(Wild(~uintptr_t{15})); }},
    {"Poison", [] { free(Wild(0xdeadbeefdeadbeef)); }},
    {"HighBitsOfABlock", [] { free(Wild(reinterpret_cast<uintptr_t>(SmallBlock()) | 0xffff000000000000)); }},
    {"Delete", [] { operator delete(At(in_data, 64)); }},
    {"ReallocOfStack",
     [] {
       alignas(64) char bytes[256];
       Hidden(realloc(At(bytes, 0), 1000));
     }},
    {"ReallocOfData", [] { Hidden(realloc(At(in_data, 64), 1000)); }},
    {"ReallocOfMapping", [] { Hidden(realloc(At(Mapped(64 * kKiB), 16), 1000)); }},
    {"ReallocOfAddress1", [] { Hidden(realloc(Wild(1), 1000)); }},
    {"ReallocOfNotCanonical", [] { Hidden(realloc(Wild(0x8000000000000000), 1000)); }},
    {"ReallocToZeroOfStack",
     [] {
       alignas(64) char bytes[256];
       Hidden(realloc(At(bytes, 0), Hidden(size_t{0})));
     }},
};

// realloc reads what it is given before it frees it; the others ask for its size.
const Misuse kFreed[] = {
    {"ReallocSmall",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(realloc(block, 200));
     }},
    {"ReallocSmallToSmaller",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(realloc(block, 50));
     }},
    {"ReallocSmallToItsSize",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(realloc(block, 100));
     }},
    {"ReallocMedium",
     [] {
       void* block = MediumBlock();
       free(block);
       Hidden(realloc(block, 200));
     }},
    {"ReallocLarge",
     [] {
       void* block = LargeBlock();
       free(block);
       Hidden(realloc(block, 8 << 20));
     }},
    {"ReallocLargeToSmaller",
     [] {
       void* block = LargeBlock();
       free(block);
       Hidden(realloc(block, 1 << 20));
     }},
    {"ReallocToZero",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(realloc(block, Hidden(size_t{0})));
     }},
    {"Reallocarray",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(reallocarray(block, 20, 20));
     }},
    {"ReallocTwiceOfTheSame",
     [] {
       void* block = SmallBlock();
       Hidden(realloc(block, 10'000));
       Hidden(realloc(block, 10'000));
     }},
    {"ReallocOfWhatAnotherThreadFreed",
     [] {
       void* block = SmallBlock();
       std::thread([=] { free(block); }).join();
       Hidden(realloc(block, 200));
     }},
    {"UsableSize",
     [] {
       void* block = SmallBlock();
       free(block);
       Hidden(malloc_usable_size(block));
     }},
    {"UsableSizeOfLarge",
     [] {
       void* block = LargeBlock();
       free(block);
       Hidden(malloc_usable_size(block));
     }},
};

class Interior : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, Interior, testing::ValuesIn(kInterior), NameOf);
TEST_P(Interior, IsCaught) { ExpectCaught(GetParam()); }

class Foreign : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, Foreign, testing::ValuesIn(kForeign), NameOf);
TEST_P(Foreign, IsCaught) { ExpectCaught(GetParam()); }

class Freed : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, Freed, testing::ValuesIn(kFreed), NameOf);
TEST_P(Freed, IsCaught) { ExpectCaught(GetParam()); }

}  // namespace
}  // namespace outside
