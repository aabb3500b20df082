// Sizes and alignments that a block does not have, and writes beyond its ends (caught in the hardened mode).
#include <malloc.h>
#include <string.h>

#include <new>
#include <vector>

#include "misuse.h"

namespace outside {
namespace {

void FreeSized(void* block, size_t size) {
  if (auto* free_sized = Find<void(void*, size_t)>("free_sized")) free_sized(Hidden(block), Hidden(size));
}
void FreeAlignedSized(void* block, size_t alignment, size_t size) {
  if (auto* free_aligned_sized = Find<void(void*, size_t, size_t)>("free_aligned_sized")) {
    free_aligned_sized(Hidden(block), Hidden(alignment), Hidden(size));
  }
}

const Misuse kCases[] = {
    {"FreeAsSmaller", [] { FreeSized(malloc(1000), 100); }},
    {"FreeAsLarger", [] { FreeSized(malloc(100), 1000); }},
    {"FreeAsNothing", [] { FreeSized(malloc(1000), 0); }},
    {"FreeAsTheMost", [] { FreeSized(malloc(1000), SIZE_MAX); }},
    {"FreeMediumAsSmall", [] { FreeSized(MediumBlock(), 100); }},
    {"FreeLargeAsSmall", [] { FreeSized(LargeBlock(), 100); }},
    {"FreeLargeAsSmaller", [] { FreeSized(LargeBlock(), 2 << 20); }},
    {"FreeSmallAsLarge", [] { FreeSized(SmallBlock(), 3 << 20); }},
    {"FreeAlignedAsSmaller", [] { FreeAlignedSized(aligned_alloc(64, 1024), 64, 128); }},
    {"FreeAlignedAsLarger", [] { FreeAlignedSized(aligned_alloc(64, 128), 64, 1024); }},
    {"FreeWithAnAlignmentItHasNot", [] { FreeAlignedSized(aligned_alloc(64, 128), 1 << 20, 128); }},
    {"FreeSizedOfAFreedBlock",
     [] {
       void* block = SmallBlock();
       free(block);
       FreeSized(block, 100);
     }},
    {"FreeSizedOfTheStack",
     [] {
       alignas(64) char bytes[256];
       FreeSized(bytes, 256);
     }},
    {"FreeSizedOfAnInterior", [] { FreeSized(At(SmallBlock(), 16), 100); }},
};

class WrongSize : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, WrongSize, testing::ValuesIn(kCases), NameOf);
TEST_P(WrongSize, IsCaught) { ExpectCaught(GetParam()); }

// Writes `count` bytes at `offset` from the end of a block of `size`, and frees it. It is one of many, so that what
// lies beside it is as good as always another of them, and is freed too.
void Overwrite(size_t size, ptrdiff_t offset, size_t count) {
  std::vector<void*> blocks(1000);
  for (void*& block : blocks) block = malloc(size);
  memset(At(blocks[900], static_cast<ptrdiff_t>(size) + offset), 0x5a, count);
  for (void* block : blocks) free(Hidden(block));
}

// Writes into a freed block, and allocates until it would serve again.
void WriteAfterFree(size_t size) {
  void* block = Hidden(malloc(size));
  free(block);
  memset(At(block, static_cast<ptrdiff_t>(size / 2)), 0x5a, 8);
  for (int i = 0; i < 200'000; ++i) free(Hidden(malloc(size)));
  std::vector<void*> held(20'000);
  for (void*& each : held) each = malloc(size);
}

// What is deleted through its base.
struct Base {
  char bytes[16];
};
struct Derived : Base {
  char more[2000];
};

// Sized deletes are among these: the C++ text explains them by the unsized form, and programs that delete through a
// base without a virtual destructor work on other mallocs.
const Misuse kHardened[] = {
    {"DeleteAsSmaller", [] { operator delete(operator new(1000), Hidden(size_t{100})); }},
    {"DeleteAsLarger", [] { operator delete(operator new(100), Hidden(size_t{1000})); }},
    {"DeleteArrayAsSmaller", [] { operator delete[](operator new[](1000), Hidden(size_t{100})); }},
    {"DeleteLargeAsSmall", [] { operator delete(operator new(3 << 20), Hidden(size_t{100})); }},
    {"DeleteAsItsBase", [] { delete Hidden(static_cast<Base*>(new Derived)); }},
    {"DeleteAlignedAsSmaller",
     [] { operator delete(operator new(1000, std::align_val_t(64)), Hidden(size_t{100}), std::align_val_t(64)); }},
    {"SmallByOne", [] { Overwrite(100, 0, 1); }},
    {"SmallBy8", [] { Overwrite(100, 0, 8); }},
    {"SmallBy100", [] { Overwrite(104, 0, 100); }},
    {"ExactClassByOne", [] { Overwrite(64, 0, 1); }},
    {"MediumByOne", [] { Overwrite(20'000, 0, 1); }},
    {"StringTerminator",
     [] {
       char text[] = "exactly twenty-four char";
       char* copy = static_cast<char*>(malloc(strlen(text)));
       strcpy(Hidden(copy), Hidden(text));
       free(Hidden(copy));
     }},
    {"SmallBefore", [] { Overwrite(64, -64 - 8, 8); }},
    {"WriteAfterFreeOfSmall", [] { WriteAfterFree(64); }},
    {"WriteAfterFreeOfMedium", [] { WriteAfterFree(3000); }},
    {"DoubleFreeAfterManyCalls",  // the quarantine keeps the block from being taken again
     [] {
       void* block = SmallBlock();
       free(block);
       for (int i = 0; i < 100; ++i) Hidden(malloc(100));
       free(block);
     }},
};

class Hardened : public testing::TestWithParam<Misuse> {};
INSTANTIATE_TEST_SUITE_P(, Hardened, testing::ValuesIn(kHardened), NameOf);
TEST_P(Hardened, IsCaught) {
  setenv("NEAP_HARDENED", "1", 1);
  ExpectCaught(GetParam());
}

// The hardened mode is a mode of the same heap: whatever is no misuse works in it.
TEST(HardenedHeap, ServesAll) {
  for (const char* workout : {"threads", "without-main"}) {
    Outcome outcome = Anew(workout, [] { return setenv("NEAP_HARDENED", "1", 1) == 0; });
    EXPECT_TRUE(outcome.Succeeded()) << outcome;
    EXPECT_EQ(outcome.output, "");
  }
}

}  // namespace
}  // namespace outside
