// pressure_test.cc: the kernel's memory files as texts, and the judgement of headroom.
#include "alloc/pressure.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace neap {
namespace {

constexpr uint64_t kMiB = 1 << 20, kGiB = uint64_t{1} << 30;

// ---- Where the process's cgroup is.

struct Found {
  int version;
  std::vector<std::string> levels;
};

Found Find(const std::string& cgroups, const std::string& mounts) {
  auto path = std::make_unique<CgroupPath>();
  FindCgroup(cgroups, mounts, path.get());
  Found found{path->version, {}};
  for (int level = 0; level < path->levels; ++level) found.levels.emplace_back(path->Level(level));
  return found;
}

using Levels = std::vector<std::string>;

const char kV2Mount[] = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const char kV1Mounts[] =
    "31 23 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:17 master:3 - cgroup cgroup rw,memory\n";

TEST(FindCgroup, UnifiedGivesEveryAncestorUpToTheMount) {
  Found found = Find("0::/kubepods.slice/pod1.slice/box.scope\n", kV2Mount);
  EXPECT_EQ(found.version, 2);
  EXPECT_EQ(found.levels,
            (Levels{"/sys/fs/cgroup/kubepods.slice/pod1.slice/box.scope", "/sys/fs/cgroup/kubepods.slice/pod1.slice",
                    "/sys/fs/cgroup/kubepods.slice", "/sys/fs/cgroup"}));
}

TEST(FindCgroup, NamespaceRootIsTheMountItself) {
  Found found = Find("0::/\n", kV2Mount);
  EXPECT_EQ(found.version, 2);
  EXPECT_EQ(found.levels, Levels{"/sys/fs/cgroup"});
}

TEST(FindCgroup, V1HoldsMemoryOnHybrid) {
  std::string cgroups = "12:cpu,cpuacct:/box\n4:memory:/jobs/17\n1:name=systemd:/x\n0::/elsewhere\n";
  Found memory = Find(cgroups, kV1Mounts);
  EXPECT_EQ(memory.version, 1);
  EXPECT_EQ(memory.levels,
            (Levels{"/sys/fs/cgroup/memory/jobs/17", "/sys/fs/cgroup/memory/jobs", "/sys/fs/cgroup/memory"}));
}

TEST(FindCgroup, HybridWithMemoryOnTheUnifiedSide) {
  Found found = Find("12:cpu,cpuacct:/box\n0::/jobs\n", kV1Mounts);
  EXPECT_EQ(found.version, 2);
  EXPECT_EQ(found.levels, (Levels{"/sys/fs/cgroup/unified/jobs", "/sys/fs/cgroup/unified"}));
}

TEST(FindCgroup, NamesWithCommonBeginningAreOtherControllers) {
  EXPECT_EQ(Find("5:memory2:/a\n", "33 31 0:30 / /cg/memory2 rw - cgroup cgroup rw,memory2\n").version, 0);
}

TEST(FindCgroup, ContainerSeesItsOwnDirectoryAsTheMount) {
  const char mounts[] = "40 30 0:32 /docker/abc /sys/fs/cgroup/memory ro master:17 - cgroup cgroup rw,memory\n";
  EXPECT_EQ(Find("4:memory:/docker/abc\n", mounts).levels, Levels{"/sys/fs/cgroup/memory"});
  EXPECT_EQ(Find("4:memory:/docker/abc/inner\n", mounts).levels,
            (Levels{"/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/memory"}));
  // A name that only begins alike is not below; the mount's own directory is the best guess.
  EXPECT_EQ(Find("4:memory:/docker/abcdef\n", mounts).levels, Levels{"/sys/fs/cgroup/memory"});
  EXPECT_EQ(Find("4:memory:/\n", mounts).levels, Levels{"/sys/fs/cgroup/memory"});
}

TEST(FindCgroup, PathsOutsideOfTheNamespace) {
  // The mount was made outside of our namespace: it begins two levels above our root.
  const char above[] = "40 30 0:26 /../.. /cg rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(Find("0::/\n", above).levels, Levels{"/cg"});
  EXPECT_EQ(Find("0::/../../x/y\n", above).levels, (Levels{"/cg/x/y", "/cg/x", "/cg"}));
  // We were moved out of the namespace: no name for where we are.
  EXPECT_EQ(Find("0::/../other\n", kV2Mount).levels, Levels{"/sys/fs/cgroup"});
  EXPECT_EQ(Find("0::/..\n", kV2Mount).levels, Levels{"/sys/fs/cgroup"});
}

TEST(FindCgroup, TheMountThatShowsMostAncestorsWins) {
  std::string narrow = "50 30 0:26 /a/b /narrow rw - cgroup2 cgroup2 rw\n";
  std::string other = "51 30 0:26 /z /other rw - cgroup2 cgroup2 rw\n";
  Levels whole{"/sys/fs/cgroup/a/b/c", "/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"};
  EXPECT_EQ(Find("0::/a/b/c\n", other + narrow + kV2Mount).levels, whole);
  EXPECT_EQ(Find("0::/a/b/c\n", kV2Mount + narrow + other).levels, whole);
  EXPECT_EQ(Find("0::/a/b/c\n", other + narrow).levels, (Levels{"/narrow/c", "/narrow"}));
}

TEST(FindCgroup, OfEqualMountsTheFirstUnlessCovered) {
  std::string chroot = "52 30 0:26 / /srv/chroot/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(Find("0::/a\n", kV2Mount + chroot).levels, (Levels{"/sys/fs/cgroup/a", "/sys/fs/cgroup"}));
  std::string covering = "53 30 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(Find("0::/a/b\n", kV2Mount + covering).levels, (Levels{"/sys/fs/cgroup/b", "/sys/fs/cgroup"}));
}

TEST(FindCgroup, EscapedNamesAndOddOnes) {
  EXPECT_EQ(Find("0::/a b:c\\d\n", "30 23 0:26 / /my\\040cg\\134x rw - cgroup2 cgroup2 rw\n").levels,
            (Levels{"/my cg\\x/a b:c\\d", "/my cg\\x"}));
  EXPECT_EQ(Find("0::/a b/c\n", "30 23 0:26 /a\\040b /cg rw - cgroup2 cgroup2 rw\n").levels, (Levels{"/cg/c", "/cg"}));
  EXPECT_EQ(Find("0::/x\n", "30 23 0:26 / / rw - cgroup2 cgroup2 rw\n").levels, (Levels{"/x", ""}));
  // A tag named "-" cannot be, but a mount point can; fields without tags too.
  EXPECT_EQ(Find("0::/\n", "30 23 0:26 / /- rw a:1 b:2 c - cgroup2 none rw").levels, Levels{"/-"});
}

TEST(FindCgroup, NothingThere) {
  EXPECT_EQ(Find("", "").version, 0);
  EXPECT_EQ(Find("0::/\n", "").version, 0);
  EXPECT_EQ(Find("", kV2Mount).version, 0);
  EXPECT_EQ(Find("4:memory:/a\n", kV2Mount).version, 0);  // held by v1, which is not mounted
  EXPECT_EQ(Find("garbage", "garbage\n\n- - -\n").version, 0);
}

TEST(FindCgroup, LongPathsLoseTheInnermostAndStayAncestors) {
  std::string path;
  for (int depth = 0; depth < 40; ++depth) path += "/" + std::string(200, static_cast<char>('a' + depth % 26));
  Found found = Find("0::" + path + "\n", kV2Mount);
  ASSERT_EQ(found.levels.size(), static_cast<size_t>(kMaxLevels));
  std::string full = "/sys/fs/cgroup" + path;
  for (const std::string& level : found.levels) {
    EXPECT_EQ(full.compare(0, level.size(), level), 0);
    EXPECT_EQ(full[level.size()], '/');
  }
  EXPECT_LT(found.levels[0].size(), 4032u);
  EXPECT_GT(found.levels[0].size(), 3700u);
}

TEST(JoinPath, FitsOrRefuses) {
  char out[64];
  ASSERT_TRUE(JoinPath("/cg/a", "memory.max", out, sizeof(out)));
  EXPECT_STREQ(out, "/cg/a/memory.max");
  ASSERT_TRUE(JoinPath("/cg/a", "memory.max", out, 17));
  EXPECT_FALSE(JoinPath("/cg/a", "memory.max", out, 16));
}

// Any bytes must leave it standing; the sanitizer builds watch what is read.
TEST(FindCgroup, SurvivesMangledTexts) {
  std::mt19937 random(7);
  auto path = std::make_unique<CgroupPath>();
  for (int round = 0; round < 20000; ++round) {
    std::string cgroups = "12:cpu,cpuacct:/box\n4:memory:/jobs/17\n0::/else where/..\n";
    std::string mounts = std::string(kV1Mounts) + "40 30 0:32 /do\\040ck /sys/m\\13 ro - cgroup cgroup rw,memory\n";
    for (std::string* text : {&cgroups, &mounts}) {
      for (int edit = 0; edit < 6; ++edit) (*text)[random() % text->size()] = "/ \\:\n-.,0a"[random() % 10];
      text->resize(random() % (text->size() + 1));
    }
    std::vector<char> exact_cgroups(cgroups.begin(), cgroups.end()), exact_mounts(mounts.begin(), mounts.end());
    FindCgroup({exact_cgroups.data(), exact_cgroups.size()}, {exact_mounts.data(), exact_mounts.size()}, path.get());
    ASSERT_LE(path->levels, kMaxLevels);
    ASSERT_EQ(path->version == 0, path->levels == 0);
    for (int level = 1; level < path->levels; ++level) ASSERT_LT(path->ends[level], path->ends[level - 1]);
  }
}

// ---- The files.

TEST(ParseLimit, Forms) {
  EXPECT_EQ(ParseLimit("max\n"), kNoLimit);
  EXPECT_EQ(ParseLimit("629145600\n"), 629145600u);
  EXPECT_EQ(ParseLimit("0\n"), 0u);
  EXPECT_EQ(ParseLimit("9223372036854771712\n"), kNoLimit);
  EXPECT_EQ(ParseLimit("99999999999999999999999\n"), kNoLimit);
  EXPECT_EQ(ParseLimit("-1\n"), kNoLimit);
  EXPECT_EQ(ParseLimit(""), kNoLimit);
}

TEST(ParseMemoryStat, UnifiedLeavesOutWhatTheKernelCanFree) {
  MemoryStat stat = ParseMemoryStat(
      "anon 1000000\nfile 90000000\nkernel 50000\nkernel_stack 1000\npagetables 2000\npercpu 300\nsock 700\n"
      "shmem 4000\nfile_mapped 80000\ninactive_anon 900000\nactive_anon 104000\ninactive_file 8\nunevictable 0\n"
      "slab_reclaimable 20000\nslab_unreclaimable 5000\nslab 25000\npgfault 123456789\n",
      2);
  EXPECT_EQ(stat.unreclaimable, 1004000u + 30000 + 700);
  EXPECT_EQ(stat.hierarchical_limit, kNoLimit);
}

TEST(ParseMemoryStat, KernelsBeforeTheKernelLineAddItsParts) {
  MemoryStat stat = ParseMemoryStat(
      "anon 1000\nfile 5\nkernel_stack 10\npercpu 20\nsock 40\nshmem 7\npagetables 80\nslab_reclaimable 3\n"
      "slab_unreclaimable 160\n",
      2);
  EXPECT_EQ(stat.unreclaimable, 1007u + 10 + 20 + 40 + 80 + 160);
}

TEST(ParseMemoryStat, LazilyFreedPagesAreNoUse) {
  // After MADV_FREE of 600 of 1000: still mapped, but on a file list.
  EXPECT_EQ(ParseMemoryStat("anon 1000\ninactive_anon 300\nactive_anon 100\nshmem 0\nunevictable 0\n", 2).unreclaimable,
            400u);
}

TEST(ParseMemoryStat, GivenBackPartsOfHugePagesAreNoUse) {
  EXPECT_EQ(ParseMemoryStat("anon 400\ninactive_anon 1000\nactive_anon 0\nshmem 0\nunevictable 0\n", 2).unreclaimable,
            400u);
}

TEST(ParseMemoryStat, LockedPagesCountOnce) {
  // 300 anonymous and 50 file pages are locked; the lists show anonymous locked pages as unevictable alone.
  EXPECT_EQ(
      ParseMemoryStat("anon 1000\nshmem 20\ninactive_anon 700\nactive_anon 20\nunevictable 350\n", 2).unreclaimable,
      1070u);
}

TEST(ParseMemoryStat, V1TakesTheTotalsOfTheSubtree) {
  MemoryStat stat = ParseMemoryStat(
      "cache 9\nrss 5\nshmem 3\nactive_anon 999\nhierarchical_memory_limit 629145600\n"
      "hierarchical_memsw_limit 9223372036854771712\ntotal_cache 700000\ntotal_rss 86000\ntotal_shmem 9000\n"
      "total_inactive_anon 75000\ntotal_active_anon 1000\ntotal_unevictable 19000\n",
      1);
  EXPECT_EQ(stat.unreclaimable, 95000u);
  EXPECT_EQ(stat.hierarchical_limit, 629145600u);
  EXPECT_EQ(ParseMemoryStat("hierarchical_memory_limit 9223372036854771712\n", 1).hierarchical_limit, kNoLimit);
}

TEST(ParseStallUs, OfTheLineOfSome) {
  EXPECT_EQ(ParseStallUs("some avg10=1.53 avg60=0.87 avg300=0.20 total=58761459\nfull avg10=9.00 total=1234\n"),
            58761459u);
  EXPECT_EQ(ParseStallUs("full total=5\nsome avg10=0.07 total=9"), 9u);
  EXPECT_EQ(ParseStallUs("some avg10=0.07"), 0u);
  EXPECT_EQ(ParseStallUs(""), 0u);
}

TEST(ParseMemoryEvents, UnifiedAndV1) {
  MemoryEvents events = ParseMemoryEvents("low 9\nhigh 1\nmax 22\noom 3\noom_kill 4\noom_group_kill 5\n");
  EXPECT_EQ(events.max, 22u);
  EXPECT_EQ(events.oom_kill, 4u);
  EXPECT_EQ(ParseMemoryEvents("oom_kill_disable 0\nunder_oom 1\noom_kill 7\n").oom_kill, 7u);
}

// ---- What follows.

TEST(Headroom, NeverWraps) {
  EXPECT_EQ(Headroom(100, 30), 70u);
  EXPECT_EQ(Headroom(100, 130), 0u);
  EXPECT_EQ(Headroom(kNoLimit, 130), kNoLimit);
}

TEST(Marks, AreOrderedAndNeverMostOfTheLimit) {
  uint64_t last_low = 0, last_critical = 0;
  for (uint64_t limit = 64 * kMiB; limit <= 512 * kGiB; limit += limit / 7) {
    EXPECT_LE(CriticalMark(limit), LowMark(limit) / 2) << limit;
    EXPECT_LE(LowMark(limit), limit / 4) << limit;
    EXPECT_GE(LowMark(limit), last_low);
    EXPECT_GE(CriticalMark(limit), last_critical);
    last_low = LowMark(limit);
    last_critical = CriticalMark(limit);
  }
  EXPECT_EQ(LowMark(64 * kMiB), 16 * kMiB);
  EXPECT_EQ(CriticalMark(64 * kMiB), 8 * kMiB);
  EXPECT_EQ(LowMark(600 * kMiB), 75 * kMiB);
  EXPECT_EQ(LowMark(4 * kGiB), 512 * kMiB);
  EXPECT_EQ(CriticalMark(4 * kGiB), 128 * kMiB);
  EXPECT_EQ(LowMark(512 * kGiB), 4 * kGiB);
  EXPECT_EQ(CriticalMark(512 * kGiB), kGiB);
}

constexpr PressureLevel kLevels[] = {PressureLevel::kAmple, PressureLevel::kLow, PressureLevel::kCritical};

TEST(JudgePressure, HeadroomDecides) {
  uint64_t limit = kGiB;  // marks at 128 and 32 MiB
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 128 * kMiB, 0), PressureLevel::kAmple);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 128 * kMiB - 1, 0), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 32 * kMiB - 1, 0), PressureLevel::kCritical);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 0, 0), PressureLevel::kCritical);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, 0, 0, 0), PressureLevel::kCritical);
  EXPECT_EQ(JudgePressure(PressureLevel::kCritical, kNoLimit, kNoLimit, 1000), PressureLevel::kAmple);
}

TEST(JudgePressure, LeavesALevelAtFiveQuartersOfItsMark) {
  uint64_t limit = kGiB;
  EXPECT_EQ(JudgePressure(PressureLevel::kLow, limit, 159 * kMiB, 0), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kLow, limit, 160 * kMiB, 0), PressureLevel::kAmple);
  EXPECT_EQ(JudgePressure(PressureLevel::kCritical, limit, 39 * kMiB, 0), PressureLevel::kCritical);
  EXPECT_EQ(JudgePressure(PressureLevel::kCritical, limit, 40 * kMiB, 0), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kCritical, limit, 160 * kMiB, 0), PressureLevel::kAmple);
}

TEST(JudgePressure, StallsAloneMeanNothing) {
  for (uint64_t limit = 64 * kMiB; limit <= 512 * kGiB; limit *= 2) {
    uint64_t far = 2 * LowMark(limit) + LowMark(limit) / 2;
    for (PressureLevel previous : kLevels) {
      EXPECT_EQ(JudgePressure(previous, limit, far, 1000), PressureLevel::kAmple) << limit;
    }
  }
}

TEST(JudgePressure, StallsRaiseByOneLevelWhereRoomIsShort) {
  uint64_t limit = kGiB;
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 200 * kMiB, 99), PressureLevel::kAmple);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 200 * kMiB, 100), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 200 * kMiB, 1000), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 100 * kMiB, 399), PressureLevel::kLow);
  EXPECT_EQ(JudgePressure(PressureLevel::kAmple, limit, 100 * kMiB, 400), PressureLevel::kCritical);
}

// Nothing latches: whatever went before, the same readings without pressure end the level, in one step.
TEST(JudgePressure, DoesNotLatchAndIsMonotonic) {
  for (uint64_t limit = kMiB; limit <= 512 * kGiB; limit *= 3) {
    for (PressureLevel previous : kLevels) {
      EXPECT_EQ(JudgePressure(previous, limit, limit / 2, 0), PressureLevel::kAmple);
      for (uint32_t stall : {0u, 150u, 500u}) {
        PressureLevel last = PressureLevel::kCritical;
        for (int step = 0; step <= 64; ++step) {
          PressureLevel now = JudgePressure(previous, limit, limit / 64 * step, stall);
          EXPECT_LE(now, last) << limit << " " << step << " " << stall;
          last = now;
        }
      }
    }
  }
}

TEST(GrowthAllowance, IsASmallPartOfHeadroom) {
  EXPECT_EQ(GrowthAllowance(kNoLimit), kNoLimit);
  EXPECT_EQ(GrowthAllowance(100 * kGiB), 64 * kMiB);
  EXPECT_EQ(GrowthAllowance(80 * kMiB), 10 * kMiB);
  EXPECT_EQ(GrowthAllowance(0), 64u * 1024);
}

}  // namespace
}  // namespace neap
