// Double frees: at once and late, here and in other threads, of every kind of block, through every function that frees.
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <new>
#include <thread>
#include <vector>

#include "misuse.h"

namespace outside {
namespace {

void FreeTwice(void* block) {
  free(Hidden(block));
  free(Hidden(block));
}

// Other work between two frees that does not take the freed block again.
void UseOtherSizes(int steps) {
  Random random(1);
  std::vector<void*> held(100);
  for (int i = 0; i < steps; ++i) {
    void*& slot = held[random.Below(held.size())];
    free(slot);
    slot = malloc(300 + random.Below(3000));
  }
  for (void* block : held) free(block);
}

const Misuse kCases[] = {
    {"Small", [] { FreeTwice(SmallBlock()); }},
    {"Medium", [] { FreeTwice(MediumBlock()); }},
    {"Large", [] { FreeTwice(LargeBlock()); }},
    {"Huge", [] { FreeTwice(malloc(200 * kMiB)); }},
    {"OneByte", [] { FreeTwice(malloc(1)); }},
    {"NoBytes", [] { FreeTwice(malloc(Hidden(size_t{0}))); }},
    {"APage", [] { FreeTwice(malloc(4096)); }},
    {"Of64KiB", [] { FreeTwice(malloc(64 * kKiB)); }},
    {"Of200KiB", [] { FreeTwice(malloc(200 * kKiB)); }},
    {"Calloc", [] { FreeTwice(calloc(10, 10)); }},
    {"Aligned", [] { FreeTwice(memalign(64, 100)); }},
    {"AlignedToAPage", [] { FreeTwice(memalign(4096, 100)); }},
    {"AlignedTo2MiB", [] { FreeTwice(memalign(2 * kMiB, 100)); }},
    {"LargeAligned", [] { FreeTwice(memalign(64 * kKiB, 3 * kMiB)); }},
    {"Pvalloc", [] { FreeTwice(pvalloc(100)); }},
    {"OfTheCLibrary", [] { FreeTwice(strdup("a string of the C library's making")); }},
    {"AfterAnotherFree",
     [] {
       void *block = SmallBlock(), *other = SmallBlock();
       free(block);
       free(other);
       free(block);
     }},
    {"AfterManyFreesOfItsSize",
     [] {
       std::vector<void*> others(1000);
       for (void*& other : others) other = SmallBlock();
       void* block = others[500];
       for (void* other : others) free(other);
       free(block);
     }},
    {"MediumAfterOtherFrees",
     [] {
       void *block = MediumBlock(), *other = MediumBlock(), *kept = MediumBlock();
       free(block);
       free(other);
       free(block);
       free(kept);
     }},
    {"AfterTenThousandOtherCalls",
     [] {
       void* block = SmallBlock();
       free(block);
       UseOtherSizes(10'000);
       free(block);
     }},
    {"LargeAfterTenThousandOtherCalls",
     [] {
       void* block = LargeBlock();
       free(block);
       UseOtherSizes(10'000);
       free(block);
     }},
    {"AfterATrim",
     [] {
       std::vector<void*> others(5000);
       for (void*& other : others) other = SmallBlock();
       for (void* other : others) free(other);
       malloc_trim(0);
       free(others[2500]);
     }},
    {"AfterItWasTakenAgain",  // the second owner's free is the one too many
     [] {
       void* block = SmallBlock();
       free(block);
       void* again = nullptr;
       for (int i = 0; i < 100000 && again != block; ++i) again = SmallBlock();
       free(block);
       free(again);
     }},
    {"OfWhatAnotherThreadFreed",
     [] {
       void* block = SmallBlock();
       std::thread([=] { free(block); }).join();
       free(block);
     }},
    {"OfWhatAnotherThreadFreedAndStillRuns",
     [] {
       static void* block = SmallBlock();
       static std::atomic<bool> freed{false};
       std::thread([] {
         free(block);
         freed = true;
         for (;;) pause();
       }).detach();
       while (!freed) std::this_thread::yield();
       free(block);
     }},
    {"MediumThatAnotherThreadFreed",
     [] {
       void* block = MediumBlock();
       std::thread([=] { free(block); }).join();
       free(block);
     }},
    {"LargeThatAnotherThreadFreed",
     [] {
       void* block = LargeBlock();
       std::thread([=] { free(block); }).join();
       free(block);
     }},
    {"InAnotherThread",
     [] {
       void* block = SmallBlock();
       free(block);
       std::thread([=] { free(block); }).join();
     }},
    {"OfABlockOfAThreadThatExited",
     [] {
       void* block = nullptr;
       std::thread([&] { block = SmallBlock(); }).join();
       FreeTwice(block);
     }},
    {"OfABlockThatAnExitedThreadFreed",
     [] {
       void* block = nullptr;
       std::thread([&] { free(block = SmallBlock()); }).join();
       free(block);
     }},
    {"OfWhatReallocMoved",
     [] {
       void* block = SmallBlock();
       void* moved = Hidden(realloc(block, 100'000));
       free(block);
       free(moved);
     }},
    {"OfWhatReallocMovedToSmaller",
     [] {
       void* block = LargeBlock();
       void* moved = Hidden(realloc(block, 100));
       if (moved != block) free(block);
       free(moved);
       free(moved);
     }},
    {"OfWhatReallocFreed",
     [] {
       void* block = SmallBlock();
       if (realloc(block, Hidden(size_t{0})) == nullptr) free(block);
     }},
    {"Delete",
     [] {
       void* block = Hidden(operator new(100));
       operator delete(block);
       operator delete(Hidden(block));
     }},
    {"DeleteOfAnArray",
     [] {
       void* block = Hidden(operator new[](1000));
       operator delete[](block);
       operator delete[](Hidden(block));
     }},
    {"SizedDelete",
     [] {
       void* block = Hidden(operator new(100));
       operator delete (block, size_t{100});
       operator delete (Hidden(block), size_t{100});
     }},
    {"AlignedDelete",
     [] {
       void* block = Hidden(operator new(100, std::align_val_t(64)));
       operator delete(block, std::align_val_t(64));
       operator delete(Hidden(block), std::align_val_t(64));
     }},
    {"DeleteThenFree",
     [] {
       void* block = Hidden(operator new(100));
       operator delete(block);
       free(Hidden(block));
     }},
    {"OfAContainersBlock",
     [] {
       std::vector<int> numbers(100);
       free(Hidden(numbers.data()));
     }},
    {"ByFclose",
     [] {
       FILE* file = fopen("/dev/null", "r");
       fclose(file);
       free(Hidden(static_cast<void*>(file)));
     }},
};

class DoubleFree : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, DoubleFree, testing::ValuesIn(kCases), NameOf);
TEST_P(DoubleFree, IsCaught) { ExpectCaught(GetParam()); }

}  // namespace
}  // namespace outside
