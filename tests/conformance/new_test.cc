// operator new and delete in every form, new_handler, and bad_alloc where there is no memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <array>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "outside.h"

namespace outside {
namespace {

// Above what any malloc gives, below what the C++ runtime refuses by itself.
const size_t kTooMuch = size_t{1} << 60;

using std::align_val_t;
using std::nothrow;

struct NewForm {
  const char* name;
  void* (*allocate)(size_t size, size_t alignment);
  void (*release)(void* block, size_t size, size_t alignment);
  bool aligned, throws;
};

// Each form of new with each form of delete that may follow it.
const NewForm kForms[] = {
    {"plain", [](size_t s, size_t) { return operator new(s); }, [](void* b, size_t, size_t) { operator delete(b); },
     false, true},
    {"sized delete", [](size_t s, size_t) { return operator new(s); },
     [](void* b, size_t s, size_t) { operator delete(b, s); }, false, true},
    {"nothrow delete", [](size_t s, size_t) { return operator new(s); },
     [](void* b, size_t, size_t) { operator delete(b, nothrow); }, false, true},
    {"nothrow", [](size_t s, size_t) { return operator new(s, nothrow); },
     [](void* b, size_t, size_t) { operator delete(b); }, false, false},
    {"nothrow both", [](size_t s, size_t) { return operator new(s, nothrow); },
     [](void* b, size_t, size_t) { operator delete(b, nothrow); }, false, false},
    {"nothrow, sized delete", [](size_t s, size_t) { return operator new(s, nothrow); },
     [](void* b, size_t s, size_t) { operator delete(b, s); }, false, false},
    {"array", [](size_t s, size_t) { return operator new[](s); }, [](void* b, size_t, size_t) { operator delete[](b); },
     false, true},
    {"array, sized delete", [](size_t s, size_t) { return operator new[](s); },
     [](void* b, size_t s, size_t) { operator delete[](b, s); }, false, true},
    {"array, nothrow delete", [](size_t s, size_t) { return operator new[](s); },
     [](void* b, size_t, size_t) { operator delete[](b, nothrow); }, false, true},
    {"array nothrow", [](size_t s, size_t) { return operator new[](s, nothrow); },
     [](void* b, size_t, size_t) { operator delete[](b); }, false, false},
    {"aligned", [](size_t s, size_t a) { return operator new(s, align_val_t(a)); },
     [](void* b, size_t, size_t a) { operator delete(b, align_val_t(a)); }, true, true},
    {"aligned, sized delete", [](size_t s, size_t a) { return operator new(s, align_val_t(a)); },
     [](void* b, size_t s, size_t a) { operator delete(b, s, align_val_t(a)); }, true, true},
    {"aligned nothrow", [](size_t s, size_t a) { return operator new(s, align_val_t(a), nothrow); },
     [](void* b, size_t, size_t a) { operator delete(b, align_val_t(a), nothrow); }, true, false},
    {"aligned array", [](size_t s, size_t a) { return operator new[](s, align_val_t(a)); },
     [](void* b, size_t, size_t a) { operator delete[](b, align_val_t(a)); }, true, true},
    {"aligned array, sized delete", [](size_t s, size_t a) { return operator new[](s, align_val_t(a)); },
     [](void* b, size_t s, size_t a) { operator delete[](b, s, align_val_t(a)); }, true, true},
    {"aligned array nothrow", [](size_t s, size_t a) { return operator new[](s, align_val_t(a), nothrow); },
     [](void* b, size_t, size_t a) { operator delete[](b, align_val_t(a), nothrow); }, true, false},
};

class NewForms : public testing::TestWithParam<NewForm> {};
INSTANTIATE_TEST_SUITE_P(, NewForms, testing::ValuesIn(kForms), [](const auto& parameter) {
  std::string name = parameter.param.name;
  for (char& letter : name) letter = letter == ' ' || letter == ',' ? '_' : letter;
  return name;
});

TEST_P(NewForms, GiveWholeAlignedBlocks) {
  const NewForm& form = GetParam();
  for (size_t alignment = 1; alignment <= (form.aligned ? 64 * kKiB : 1); alignment *= 2) {
    for (size_t size = 0; size < 2 * kMiB; size = size * 3 + 1) {
      std::array<void*, 5> blocks;
      for (size_t i = 0; i < blocks.size(); ++i) {
        blocks[i] = Hidden(form.allocate(size, alignment));
        ASSERT_NE(blocks[i], nullptr);
        size_t natural = size >= 16 ? 16 : size >= 8 ? 8 : 1;
        ASSERT_TRUE(IsAligned(blocks[i], form.aligned ? alignment : natural));
        Fill(blocks[i], size, i);
      }
      for (size_t i = 0; i < blocks.size(); ++i) {
        ASSERT_TRUE(Holds(blocks[i], size, i));
        form.release(blocks[i], size, alignment);
      }
    }
  }
  form.release(nullptr, 0, 64);
}

TEST_P(NewForms, ThrowOrGiveNullWhereThereIsNoMemory) {
  for (size_t size : {kTooMuch, size_t{PTRDIFF_MAX}, size_t{PTRDIFF_MAX} + 1, SIZE_MAX - 64, SIZE_MAX}) {
    if (OnGlibc() && GetParam().aligned && size > SIZE_MAX - 64) continue;  // libstdc++ 12 rounds it up to 0
    if (GetParam().throws) {
      EXPECT_THROW((void)GetParam().allocate(Hidden(size), 64), std::bad_alloc);
    } else {
      EXPECT_EQ(GetParam().allocate(Hidden(size), 64), nullptr);
    }
  }
}

int calls;

TEST_P(NewForms, CallTheHandlerUntilThereIsNone) {
  calls = 0;
  std::set_new_handler([] {
    if (++calls == 5) std::set_new_handler(nullptr);
  });
  if (GetParam().throws) {
    EXPECT_THROW((void)GetParam().allocate(Hidden(kTooMuch), 64), std::bad_alloc);
  } else {
    EXPECT_EQ(GetParam().allocate(Hidden(kTooMuch), 64), nullptr);
  }
  EXPECT_EQ(calls, 5);
}

TEST_P(NewForms, CallTheHandlerUntilItThrows) {
  struct Own : std::bad_alloc {};
  calls = 0;
  std::set_new_handler([] {
    if (++calls == 3) throw Own();
  });
  if (GetParam().throws) {
    EXPECT_THROW((void)GetParam().allocate(Hidden(kTooMuch), 64), Own);
  } else {
    EXPECT_EQ(GetParam().allocate(Hidden(kTooMuch), 64), nullptr);
  }
  EXPECT_EQ(calls, 3);
}

// The address space is full until the handler gives back what it kept for this moment.
void* reserve;

TEST_P(NewForms, SucceedOnceTheHandlerMadeRoom) {
  constexpr size_t kReserve = 256 * kMiB;
  size_t wanted = 128 * kMiB;
  reserve = malloc(kReserve);
  ASSERT_NE(reserve, nullptr);
  memset(reserve, 1, kReserve);
  rlimit limit = {512 * kMiB, RLIM_INFINITY};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  std::vector<void*> filler;
  filler.reserve(1000);
  for (void* block; filler.size() < 1000 && (block = malloc(16 * kMiB)) != nullptr;) filler.push_back(block);
  calls = 0;
  std::set_new_handler([] {
    ++calls;
    free(reserve);
    reserve = nullptr;
    std::set_new_handler(nullptr);
  });
  void* block = GetParam().allocate(Hidden(wanted), 64);
  EXPECT_NE(block, nullptr);
  EXPECT_EQ(calls, 1);
  GetParam().release(block, wanted, 64);
  for (void* each : filler) free(each);
}

TEST(NewHandler, IsNotCalledByTheCFunctions) {
  calls = 0;
  std::set_new_handler([] { ++calls; });
  EXPECT_EQ(malloc(Hidden(kTooMuch)), nullptr);
  EXPECT_EQ(calloc(1, Hidden(kTooMuch)), nullptr);
  EXPECT_EQ(realloc(nullptr, Hidden(kTooMuch)), nullptr);
  EXPECT_EQ(aligned_alloc(64, Hidden(kTooMuch)), nullptr);
  EXPECT_EQ(calls, 0);
}

TEST(NewHandler, MayAllocate) {
  calls = 0;
  std::set_new_handler([] {
    delete[] Hidden(new char[1000]);
    std::string text(1000, 'x');
    if (++calls == 3) throw std::runtime_error(text);
  });
  EXPECT_THROW((void)operator new(Hidden(kTooMuch)), std::runtime_error);
}

TEST(NewHandler, MayLeaveByAnExceptionOfAnyType) {
  std::set_new_handler([] { throw 42; });
  EXPECT_THROW((void)operator new(Hidden(kTooMuch)), int);
  EXPECT_THROW((void)operator new[](Hidden(kTooMuch), align_val_t(128)), int);
}

TEST(New, OfZeroBytesGivesBlocksOfTheirOwn) {
  void* first = Hidden(operator new(Hidden(size_t{0})));
  void* second = Hidden(operator new[](Hidden(size_t{0})));
  EXPECT_TRUE(first != nullptr && second != nullptr && first != second);
  operator delete(first);
  operator delete[](second);
}

TEST(New, OfAnArrayThatOverflowsThrows) {
  size_t count = Hidden(SIZE_MAX / 4);
  EXPECT_THROW(Hidden(new uint64_t[count]), std::bad_array_new_length);
  EXPECT_THROW(std::vector<char>(Hidden(size_t{PTRDIFF_MAX})), std::bad_alloc);
  EXPECT_THROW(std::string(Hidden(size_t{PTRDIFF_MAX} - 1), 'x'), std::bad_alloc);
}

TEST(New, OfHugeAlignmentsThrows) {
  for (int bit = 47; bit < 64; ++bit) {
    EXPECT_THROW((void)operator new(1, align_val_t(size_t{1} << bit)), std::bad_alloc) << bit;
    EXPECT_EQ(operator new(1, align_val_t(size_t{1} << bit), nothrow), nullptr) << bit;
  }
}

TEST(New, ThrowsInEveryThread) {
  std::vector<std::thread> threads;
  std::array<int, 8> caught{};
  for (int& count : caught) {
    threads.emplace_back([&count] {
      for (int i = 0; i < 200; ++i) {
        try {
          (void)operator new(Hidden(kTooMuch));
        } catch (const std::bad_alloc&) {
          ++count;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int count : caught) EXPECT_EQ(count, 200);
}

TEST(New, ServesWhatTheLanguageMakesOfIt) {
  struct alignas(128) Wide {
    char bytes[200];
  };
  for (int i = 0; i < 100; ++i) {
    std::unique_ptr<Wide> one(new Wide);
    std::unique_ptr<Wide[]> many(new Wide[i + 1]);
    auto shared = std::make_shared<Wide>();
    std::vector<Wide> row(static_cast<size_t>(i + 1));
    EXPECT_TRUE(IsAligned(one.get(), 128) && IsAligned(many.get(), 128) && IsAligned(shared.get(), 128) &&
                IsAligned(row.data(), 128));
  }
  std::pmr::memory_resource* resource = std::pmr::new_delete_resource();
  for (size_t alignment = 1; alignment <= 8192; alignment *= 2) {
    void* block = resource->allocate(100, alignment);
    EXPECT_TRUE(IsAligned(block, alignment));
    resource->deallocate(block, 100, alignment);
  }
}

TEST(New, AConstructorThatThrowsLeaksNothing) {
  struct Thrower {
    char bytes[10000];
    Thrower() { throw std::runtime_error("no"); }
  };
  size_t before = Resident();
  for (int i = 0; i < 20000; ++i) EXPECT_THROW(Hidden(new Thrower), std::runtime_error);
  EXPECT_LT(Resident(), before + 8 * kMiB);
}

}  // namespace
}  // namespace outside
