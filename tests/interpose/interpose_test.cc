// interpose_test.cc: the names of C, POSIX, glibc and C++ over a double of the heap. The program replaces operator
// new(size_t) and operator delete(void*), and no other form: all others must reach them.
#include <dlfcn.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/interpose/heap_double.h"

extern "C" {
void cfree(void* block);
void free_sized(void* block, size_t size);
void free_aligned_sized(void* block, size_t alignment, size_t size);
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void __libc_free(void* block);
void* __libc_memalign(size_t alignment, size_t size);
void* __libc_valloc(size_t size);
void* __libc_pvalloc(size_t size);
}

namespace {

size_t news, deletes;
bool new_throws;

struct Thrown {};

}  // namespace

void* operator new(size_t size) {
  static auto* next = reinterpret_cast<void* (*)(size_t)>(dlsym(RTLD_NEXT, "_Znwm"));
  ++news;
  if (new_throws) throw Thrown();
  return next(size);
}

void operator delete(void* block) noexcept {
  ++deletes;
  free(block);
}

namespace {

constexpr size_t kPage = 4096;
constexpr auto kAlignment = std::align_val_t{64};
constexpr int kOther = 4711;  // an errno that nobody sets

// The errno that a call leaves, and whether it gave null.
template <class Call>
std::pair<bool, int> Outcome(Call call) {
  errno = kOther;
  const bool null = call() == nullptr;
  return {null, errno};
}

const std::pair<bool, int> kNoMemory{true, ENOMEM}, kInvalid{true, EINVAL}, kGranted{false, kOther},
    kNullAndNoError{true, kOther};

// While it lives, no request is met.
class Refusal {
 public:
  Refusal() { heap_double.refuse = true; }
  ~Refusal() { heap_double.refuse = false; }
};

std::pair<bool, int> Refused(void* (*call)()) {
  const Refusal refusal;
  return Outcome(call);
}

TEST(CMalloc, NullComesWithNoMemory) {
  static void* block = malloc(8);
  EXPECT_EQ(Refused([] { return malloc(0); }), kNoMemory);
  EXPECT_EQ(Refused([] { return malloc(1); }), kNoMemory);
  EXPECT_EQ(Refused([] { return calloc(0, 0); }), kNoMemory);
  EXPECT_EQ(Refused([] { return calloc(2, 2); }), kNoMemory);
  EXPECT_EQ(Refused([] { return realloc(nullptr, 0); }), kNoMemory);
  EXPECT_EQ(Refused([] { return realloc(block, 16); }), kNoMemory);
  EXPECT_EQ(Refused([] { return reallocarray(block, 4, 4); }), kNoMemory);
  EXPECT_EQ(Refused([] { return aligned_alloc(64, 1); }), kNoMemory);
  EXPECT_EQ(Refused([] { return memalign(64, 1); }), kNoMemory);
  EXPECT_EQ(Refused([] { return valloc(0); }), kNoMemory);
  EXPECT_EQ(Refused([] { return pvalloc(0); }), kNoMemory);
}

TEST(CMalloc, SizesThatOverflowAreNoMemoryAndNeverReachTheHeap) {
  static volatile size_t most = SIZE_MAX;
  static void* block = malloc(8);
  heap_double.size = kOther;
  EXPECT_EQ(Outcome([] { return calloc(most, 2); }), kNoMemory);
  EXPECT_EQ(Outcome([] { return calloc(most / 2 + 2, 2); }), kNoMemory);
  EXPECT_EQ(Outcome([] { return reallocarray(block, most / 4, 5); }), kNoMemory);
  EXPECT_EQ(Outcome([] { return pvalloc(most); }), kNoMemory);
  EXPECT_EQ(Outcome([] { return pvalloc(most - kPage + 2); }), kNoMemory);
  EXPECT_EQ(heap_double.size, size_t{kOther});
}

TEST(CMalloc, AlignmentsAreRefusedAsGlibcDoes) {
  static volatile size_t alignment;
  for (const size_t bad : {size_t{0}, size_t{3}, size_t{48}, SIZE_MAX}) {
    alignment = bad;
    EXPECT_EQ(Outcome([] { return aligned_alloc(alignment, 64); }), kInvalid) << bad;
  }
  alignment = SIZE_MAX / 2 + 2;
  EXPECT_EQ(Outcome([] { return memalign(alignment, 64); }), kInvalid);
  alignment = SIZE_MAX / 2 + 1;
  EXPECT_EQ(Outcome([] { return memalign(alignment, 64); }), kNoMemory);
  EXPECT_EQ(heap_double.alignment, SIZE_MAX / 2 + 1);
  EXPECT_EQ(Outcome([] { return aligned_alloc(alignment, 64); }), kNoMemory);
}

TEST(CMalloc, MemalignRoundsUp) {
  const std::vector<std::pair<size_t, size_t>> roundings = {{0, 1}, {1, 1}, {17, 32}, {48, 64}, {64, 64}, {4097, 8192}};
  for (const auto& [asked, given] : roundings) {
    EXPECT_NE(memalign(asked, 10), nullptr);
    const size_t alignment = heap_double.alignment;
    EXPECT_EQ(alignment, given) << asked;
  }
}

TEST(CMalloc, PosixMemalignLeavesTheResultAloneAndErrnoToWhatGlibcDoes) {
  void* const before = &news;
  void* result = before;
  errno = kOther;
  for (const size_t bad : {size_t{0}, size_t{2}, size_t{4}, size_t{24}, SIZE_MAX})
    EXPECT_EQ(posix_memalign(&result, bad, 64), EINVAL);
  EXPECT_EQ(posix_memalign(&result, sizeof(void*), 64), 0);
  EXPECT_NE(result, before);
  EXPECT_EQ(errno, kOther);
  result = before;
  EXPECT_EQ(posix_memalign(&result, 64, PTRDIFF_MAX), ENOMEM);
  EXPECT_EQ(result, before);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(CMalloc, PvallocGivesWholePagesAndOneAtLeast) {
  const auto page = static_cast<size_t>(getpagesize());
  const std::vector<std::pair<size_t, size_t>> sizes = {{0, 1}, {1, 1}, {page - 1, 1}, {page, 1}, {page + 1, 2}};
  for (const auto& [size, pages] : sizes) {
    EXPECT_NE(pvalloc(size), nullptr);
    EXPECT_EQ(std::pair(heap_double.size, heap_double.alignment), std::pair(pages * page, page)) << size;
  }
}

TEST(CMalloc, ReallocToZeroFreesAndIsNoFailure) {
  static void* block;
  const size_t frees = heap_double.frees;
  block = malloc(8);
  EXPECT_EQ(Outcome([] { return realloc(block, 0); }), kNullAndNoError);
  EXPECT_EQ(std::pair(heap_double.frees, heap_double.freed), std::pair(frees + 1, block));
  block = malloc(8);
  EXPECT_EQ(Outcome([] { return reallocarray(block, 0, 7); }), kNullAndNoError);
  EXPECT_EQ(std::pair(heap_double.frees, heap_double.freed), std::pair(frees + 2, block));
  EXPECT_EQ(Outcome([] { return realloc(nullptr, 0); }), kGranted);
}

TEST(CMalloc, FreeingFormsTellTheHeapWhatTheyKnow) {
  errno = kOther;
  void* volatile block = &news;  // volatile: the compiler must not see what it is
  free(block);
  EXPECT_EQ(heap_double.freed, block);
  EXPECT_EQ(std::pair(heap_double.freed_size, heap_double.freed_alignment), std::pair(size_t{0}, size_t{0}));
  free_sized(block, 7);
  EXPECT_EQ(std::pair(heap_double.freed_size, heap_double.freed_alignment), std::pair(size_t{7}, size_t{0}));
  free_aligned_sized(block, 64, 7);
  EXPECT_EQ(std::pair(heap_double.freed_size, heap_double.freed_alignment), std::pair(size_t{7}, size_t{64}));
  const size_t frees = heap_double.frees;
  cfree(block);
  EXPECT_EQ(heap_double.frees, frees + 1);
  EXPECT_EQ(errno, kOther);
}

TEST(CMalloc, GlibcsOwnNamesLeadToTheSameHeap) {
  void* volatile block = __libc_malloc(11);
  EXPECT_EQ(heap_double.size, 11u);
  block = __libc_realloc(block, 12);
  EXPECT_EQ(heap_double.size, 12u);
  __libc_free(block);
  EXPECT_EQ(heap_double.freed, block);
  block = __libc_calloc(1, 13);
  EXPECT_EQ(heap_double.size, 13u);
  block = __libc_memalign(64, 14);
  EXPECT_EQ(heap_double.size, 14u);
  block = __libc_valloc(15);
  EXPECT_EQ(heap_double.size, 15u);
  block = __libc_pvalloc(16);
  EXPECT_EQ(heap_double.size, static_cast<size_t>(getpagesize()));
}

// ---- operator new and delete

TEST(CxxNew, EveryFormReachesTheReplacedNew) {
  const size_t before = news;
  void* const blocks[] = {::operator new(1), ::operator new[](1), ::operator new(1, std::nothrow),
                          ::operator new[](1, std::nothrow)};
  const size_t counted = news - before;
  EXPECT_EQ(counted, 4u);
  for (void* block : blocks) EXPECT_NE(block, nullptr);
}

TEST(CxxNew, EveryFormReachesTheReplacedDelete) {
  void* volatile block = &news;
  const size_t before = deletes;
  ::operator delete(block);
  ::operator delete (block, size_t{1});
  ::operator delete(block, std::nothrow);
  ::operator delete[](block);
  ::operator delete[](block, size_t{1});
  ::operator delete[](block, std::nothrow);
  const size_t counted = deletes - before;
  EXPECT_EQ(counted, 6u);
  EXPECT_EQ(heap_double.freed, block);
}

TEST(CxxNew, AlignedFormsAreApart) {
  const std::pair before(news, deletes);
  void* volatile blocks[] = {::operator new(1, kAlignment), ::operator new[](1, kAlignment),
                             ::operator new(1, kAlignment, std::nothrow),
                             ::operator new[](1, kAlignment, std::nothrow)};
  const size_t alignment = heap_double.alignment;
  size_t frees = heap_double.frees;
  for (void* volatile& block : blocks) {
    ::operator delete(block, kAlignment);
    ::operator delete (block, size_t{1}, kAlignment);
    ::operator delete(block, kAlignment, std::nothrow);
    ::operator delete[](block, kAlignment);
    ::operator delete[](block, size_t{1}, kAlignment);
    ::operator delete[](block, kAlignment, std::nothrow);
  }
  frees = heap_double.frees - frees;
  EXPECT_EQ(before, std::pair(news, deletes));
  EXPECT_EQ(alignment, size_t{64});
  EXPECT_EQ(frees, std::size(blocks) * 6);
}

TEST(CxxNew, NothrowFormsCatchWhatTheReplacedNewThrows) {
  new_throws = true;
  void* const blocks[] = {::operator new(1, std::nothrow), ::operator new[](1, std::nothrow)};
  new_throws = false;
  EXPECT_EQ(blocks[0], nullptr);
  EXPECT_EQ(blocks[1], nullptr);
}

TEST(CxxNew, ThrowsBadAllocWithNoMemory) {
  static volatile size_t size = PTRDIFF_MAX;
  errno = kOther;
  EXPECT_THROW((void)::operator new(size), std::bad_alloc);
  EXPECT_THROW((void)::operator new[](size), std::bad_alloc);
  EXPECT_THROW((void)::operator new(size, kAlignment), std::bad_alloc);
  EXPECT_THROW((void)::operator new[](size, kAlignment), std::bad_alloc);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(CxxNew, AsksTheHandlerUntilThereIsMemory) {
  static int calls;
  calls = 0;
  std::set_new_handler([] {
    if (++calls % 3 == 0) heap_double.refuse = false;
  });
  heap_double.refuse = true;
  void* const plain = ::operator new(1);
  heap_double.refuse = true;
  void* const aligned = ::operator new(1, kAlignment);
  std::set_new_handler(nullptr);
  EXPECT_NE(plain, nullptr);
  EXPECT_NE(aligned, nullptr);
  EXPECT_EQ(calls, 6);
}

TEST(CxxNew, HandlersExceptionPassesAndIsCaughtByNothrow) {
  static volatile size_t size = PTRDIFF_MAX;
  std::set_new_handler([] { throw Thrown(); });
  EXPECT_THROW((void)::operator new(size), Thrown);
  EXPECT_THROW((void)::operator new[](size, kAlignment), Thrown);
  EXPECT_EQ(::operator new(size, std::nothrow), nullptr);
  EXPECT_EQ(::operator new[](size, kAlignment, std::nothrow), nullptr);
  std::set_new_handler(nullptr);
}

TEST(CxxNew, AlignmentThatIsNoPowerOfTwoThrowsWithoutAskingTheHandler) {
  static volatile size_t alignment = 48;
  std::set_new_handler([] { throw Thrown(); });
  EXPECT_THROW((void)::operator new(64, static_cast<std::align_val_t>(alignment)), std::bad_alloc);
  std::set_new_handler(nullptr);
}

// ---- glibc's questions

class GlibcReport : public testing::Test {
 protected:
  GlibcReport() {
    heap_double.stats = {};
    heap_double.stats.reserved_space = 7'000'000'000;
    heap_double.rows = rows_.data();
    heap_double.row_count = rows_.size();
  }

  static neap_ledger_row_t Row(neap_ledger_kind kind, uint32_t id, uint64_t block_size, uint64_t live, uint64_t cached,
                               uint64_t dirty, uint64_t metadata) {
    neap_ledger_row_t row = {};
    row.size = sizeof row;
    row.kind = kind;
    row.id = id;
    row.block_size = block_size;
    row.live = live;
    row.cached = cached;
    row.dirty = dirty;
    row.metadata = metadata;
    row.resident = live + cached + dirty + metadata;
    row.bound = NEAP_UNBOUNDED;
    return row;
  }

  // Two arenas, of which the second has a name that XML has to be kept from.
  std::vector<neap_ledger_row_t> rows_ = {
      Row(NEAP_LEDGER_SHARED, 0, 0, 0, 0, kPage, 5 * kPage),
      Row(NEAP_LEDGER_CLASS_OF_ARENA, 0, 32, 64, 2 * kPage, 0, 0),
      Row(NEAP_LEDGER_CLASS_OF_ARENA, 0, 0, 5'000'000'000 - 64, 0, 2 * kPage, 0),
      Row(NEAP_LEDGER_ARENA, 0, 0, 5'000'000'000, 2 * kPage, 2 * kPage, 0),
      Row(NEAP_LEDGER_CLASS_OF_ARENA, 7, 1024, 100, 1000, 0, 0),
      Row(NEAP_LEDGER_ARENA, 7, 0, 100, 1000, 0, 0),
      Row(NEAP_LEDGER_CLASS, 0, 32, 64, 2 * kPage, 0, 0),
      Row(NEAP_LEDGER_NODE, 0, 0, 0, 0, kPage, 0),
      Row(NEAP_LEDGER_TOTAL, 0, 0, 5'000'000'100, 2 * kPage + 1000, 3 * kPage, 5 * kPage),
  };
};

TEST_F(GlibcReport, Mallinfo) {
  const struct mallinfo2 info = mallinfo2();
  EXPECT_EQ(info.uordblks, 5'000'000'100u);
  EXPECT_EQ(info.fordblks, 5 * kPage + 1000);
  EXPECT_EQ(info.ordblks, 2 * kPage / 32 + 3);
  EXPECT_EQ(info.arena, info.uordblks + info.fordblks);
  EXPECT_EQ(info.keepcost, 3 * kPage);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  const struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
  EXPECT_EQ(narrow.uordblks, INT_MAX);
  EXPECT_EQ(narrow.fordblks, static_cast<int>(5 * kPage + 1000));
}

// The elements of a well-formed text in the order of their ends; empty if it is not well-formed.
std::vector<std::string> Elements(const std::string& text) {
  std::vector<std::string> open, closed;
  const std::regex tag(R"( *<(/?)(\w+)((?: \w+="([^"<&]|&#\d+;)*")*)(/?)>\n)");
  std::smatch match;
  auto at = text.cbegin();
  for (; std::regex_search(at, text.cend(), match, tag, std::regex_constants::match_continuous); at = match[0].second) {
    if (match[1].length() == 0) open.push_back(match[2].str() + match[3].str());
    if (match[1].length() == 0 && match[5].length() == 0) continue;
    if (open.empty() || open.back().substr(0, open.back().find(' ')) != match[2].str()) return {};
    closed.push_back(open.back());
    open.pop_back();
  }
  return at == text.cend() && open.empty() ? closed : std::vector<std::string>();
}

TEST_F(GlibcReport, MallocInfo) {
  rows_[5].parent = 4;
  strcpy(rows_[5].name, "<\"&'\n\x7f\xc3\xa9\xe2\x82\xac \xf0\x9f\x8c\x8a \xc3(\xed\xa0\x80\xff\xc0\x80\xe2\x82");
  rows_.back().peak = 6'000'000'000;
  char* text = nullptr;
  size_t length = 0;
  FILE* stream = open_memstream(&text, &length);
  EXPECT_EQ(malloc_info(1, stream), EINVAL);
  EXPECT_EQ(malloc_info(0, stream), 0);
  fclose(stream);
  const std::vector<std::string> elements = Elements(text);
  ASSERT_FALSE(elements.empty()) << text;
  EXPECT_EQ(elements.back(), "malloc version=\"1\"");
  for (const char* wanted :
       {"heap nr=\"0\"", "size from=\"17\" to=\"32\" total=\"8192\" count=\"256\"",
        "total type=\"rest\" count=\"259\" size=\"20480\"", "system type=\"current\" size=\"5000040960\"",
        "heap nr=\"7\"", "total type=\"rest\" count=\"0\" size=\"1000\"", "system type=\"max\" size=\"1100\"",
        "total type=\"rest\" count=\"259\" size=\"21480\"", "system type=\"current\" size=\"5000042060\"",
        "system type=\"max\" size=\"6000000000\"", "aspace type=\"total\" size=\"7000000000\"",
        "shared dirty=\"4096\" metadata=\"20480\"", "node id=\"0\" dirty=\"4096\" resident=\"4096\"",
        "class size=\"32\" live=\"64\" requested=\"0\" cached=\"8192\" dirty=\"0\" resident=\"8256\""})
    EXPECT_NE(std::find(elements.begin(), elements.end(), wanted), elements.end()) << wanted << " in " << text;
  EXPECT_NE(std::string(text).find("name=\"&#60;&#34;&#38;'?\x7f\xc3\xa9\xe2\x82\xac \xf0\x9f\x8c\x8a ?(??????"
                                   "??\" parent=\"4\""),
            std::string::npos)
      << text;
}

TEST_F(GlibcReport, MallocStatsGoesToStderr) {
  testing::internal::CaptureStderr();
  malloc_stats();
  const std::string text = testing::internal::GetCapturedStderr();
  for (const char* wanted :
       {"Arena 0:\nsystem bytes     = 5000040960\nin use bytes     = 5000000000\n",
        "Arena 7:\nsystem bytes     =       1100\nin use bytes     =        100\n",
        "Total (incl. mmap):\nsystem bytes     = 5000042060\nin use bytes     = 5000000100\n", "dirty 12288"})
    EXPECT_NE(text.find(wanted), std::string::npos) << text;
}

TEST_F(GlibcReport, Mallopt) {
  for (const int known : {M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_CHECK_ACTION, M_PERTURB,
                          M_ARENA_TEST, M_ARENA_MAX, M_MXFAST})
    EXPECT_EQ(mallopt(known, 1), 1) << known;
  EXPECT_EQ(mallopt(M_MXFAST, 161), 0);
  EXPECT_EQ(mallopt(M_MMAP_THRESHOLD, INT_MAX), 0);
  EXPECT_EQ(mallopt(4711, 1), 0);
}

TEST_F(GlibcReport, MallocTrimSaysWhetherAnythingWasGivenBack) {
  for (const bool trimmed : {true, false}) {
    heap_double.trimmed = trimmed;
    EXPECT_EQ(malloc_trim(0), trimmed ? 1 : 0);
  }
}

}  // namespace
