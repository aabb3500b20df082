// Surroundings: closed and reused descriptors, no /proc, odd environments, other libraries preloaded.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include "outside.h"

extern char** environ;

namespace outside {
namespace {

void Burst() {
  std::vector<void*> blocks;
  for (int i = 0; i < 100000; ++i) memset(blocks.emplace_back(malloc(1000)), 1, 1000);
  for (void* block : blocks) free(block);
}

TEST(Descriptors, AllClosedDoNoHarm) {
  Outcome outcome = InChild([] {
    Burst();
    for (int fd = 0; fd < 1024; ++fd) close(fd);
    Burst();
    malloc_trim(0);
    return Workout("threads");
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(Descriptors, ClosedBeforeTheStartDoNoHarm) {
  Outcome outcome = Anew("threads", [] {
    for (int fd = 0; fd < 1024; ++fd) close(fd);
    return true;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// The program closes descriptors that it does not know and opens files of its own in their place: nobody else may read,
// write, seek or close those.
TEST(Descriptors, ReusedByTheProgramAreLeftAlone) {
  Burst();
  usleep(200'000);
  ASSERT_EQ(close_range(3, ~0u, 0), 0);
  std::vector<int> files;
  std::string text(100, 'x');
  for (int i = 0; i < 50; ++i) {
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    ASSERT_GE(fd, 3);
    ASSERT_EQ(write(fd, text.data(), text.size()), 100);
    ASSERT_EQ(lseek(fd, 10, SEEK_SET), 10);
    files.push_back(fd);
  }
  for (int i = 0; i < 5; ++i) {
    Burst();
    malloc_trim(0);
    usleep(300'000);
  }
  for (int fd : files) {
    char read_back[200];
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 10) << fd;
    ASSERT_EQ(pread(fd, read_back, sizeof read_back, 0), 100) << fd;
    EXPECT_EQ(std::string(read_back, 100), text) << fd;
  }
}

// POSIX gives the lowest free descriptor: a program that counts on 3 after closing all must get it.
TEST(Descriptors, LowNumbersAreTheProgramsOwn) {
  Outcome outcome = InChild([] {
    close_range(3, ~0u, 0);
    int first = open("/dev/null", O_RDONLY);
    Burst();
    usleep(100'000);
    int second = open("/dev/null", O_RDONLY);
    return first == 3 && second == 4 ? 0 : 1;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// A program with one thread closes 0 and opens a file that must become 0: no thread that malloc started may have a file
// open in its table meanwhile.
TEST(Descriptors, AreNotSharedWithThreadsOfMalloc) {
  constexpr int kOurs = 500;
  ASSERT_EQ(dup2(STDERR_FILENO, kOurs), kOurs);
  Burst();
  usleep(300'000);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::filesystem::path descriptor = task.path() / "fd" / std::to_string(kOurs);
    EXPECT_EQ(std::filesystem::is_symlink(descriptor), task.path().filename() == std::to_string(getpid()))
        << descriptor;
  }
}

TEST(Descriptors, ThatRunOutDoNoHarm) {
  Outcome outcome = InChild([] {
    while (open("/dev/null", O_RDONLY) >= 0) continue;
    Burst();
    return Workout("threads");
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

TEST(Descriptors, DoNotLeakThroughExec) {
  Outcome outcome = InChild([] {
    Burst();
    usleep(100'000);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);  // what the test itself holds
    execl("/bin/sh", "sh", "-c",
          "for fd in /proc/self/fd/*; do case $fd in */[012]|*/255) ;; *) [ -e $fd ] && exit 1;; esac; done; exit 0",
          nullptr);
    return 99;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// In a mount namespace of its own, `paths` are covered by empty folders.
bool Hide(std::initializer_list<const char*> paths) {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  for (const char* path : paths) {
    if (mount("none", path, "tmpfs", 0, nullptr) != 0) return false;
  }
  return true;
}

TEST(Hidden, ProcDoesNoHarm) {
  Outcome outcome = Anew("threads", [] { return Hide({"/proc"}); });
  if (outcome.code == kMayNot) GTEST_SKIP() << "no mount namespaces here";
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_EQ(outcome.output, "");
}

TEST(Hidden, ProcSysDevAndTmpDoNoHarm) {
  std::string folder = ProgramPath().substr(0, ProgramPath().rfind('/'));
  if (folder.rfind("/tmp", 0) == 0) GTEST_SKIP() << "the program itself lies in /tmp";
  Outcome outcome = Anew("threads", [] { return Hide({"/proc", "/sys", "/dev", "/tmp"}); });
  if (outcome.code == kMayNot) GTEST_SKIP() << "no mount namespaces here";
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_EQ(outcome.output, "");
}

TEST(Hidden, ProcInTheMiddleDoesNoHarm) {
  Burst();
  if (!Hide({"/proc", "/sys"})) GTEST_SKIP() << "no mount namespaces here";
  Burst();
  EXPECT_EQ(Workout("threads"), 0);
  malloc_trim(0);
  usleep(200'000);
}

TEST(Chroot, IntoAnEmptyFolderDoesNoHarm) {
  char folder[] = "/tmp/emptyXXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  bool may = chroot(folder) == 0 && chdir("/") == 0;
  if (may) {
    Burst();
    EXPECT_EQ(Workout("threads"), 0);
    usleep(200'000);
  }
  EXPECT_EQ(dlopen("libnothing.so", RTLD_NOW), nullptr);
  if (!may) GTEST_SKIP() << "may not chroot";
}

TEST(Privileges, DroppedInTheMiddleDoNoHarm) {
  Burst();
  if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) GTEST_SKIP() << "not root";
  Burst();
  EXPECT_EQ(Workout("threads"), 0);
  usleep(200'000);
}

TEST(Environment, EmptyDoesNoHarm) {
  Outcome outcome = InChild([] {
    std::string program = ProgramPath();
    const char* preload = getenv("LD_PRELOAD");
    std::string keep = std::string("LD_PRELOAD=") + (preload == nullptr ? "" : preload);
    char* only[] = {keep.data(), nullptr};
    execle(program.c_str(), "p", "--workout=threads", nullptr, only);
    return 99;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  clearenv();
  EXPECT_EQ(Workout("threads"), 0);
}

TEST(Environment, ManyAndLongVariablesDoNoHarm) {
  for (int i = 0; i < 20; ++i) setenv(("LONG" + std::to_string(i)).c_str(), std::string(50000, 'x').c_str(), 1);
  for (int i = 0; i < 2000; ++i) setenv(("MANY" + std::to_string(i)).c_str(), "x", 1);
  Outcome outcome = Anew("threads", [] { return true; });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_EQ(outcome.output, "");
}

TEST(Environment, GlibcsTunablesDoNoHarm) {
  setenv("MALLOC_ARENA_MAX", "1", 1);
  setenv("MALLOC_CHECK_", "3", 1);
  setenv("MALLOC_PERTURB_", "165", 1);
  setenv("MALLOC_TRIM_THRESHOLD_", "garbage", 1);
  setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.pthread.rseq=0", 1);  // no rseq: the fallback serves
  Outcome outcome = Anew("threads", [] { return true; });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

// Our own variables: what is malformed or unknown is named in one line, and the default serves.
TEST(Environment, GarbageInOurVariablesIsNamedInOneLine) {
  if (!OnNeap()) GTEST_SKIP() << "not neap";
  for (const char* name : {"NEAP_BACKGROUND", "NEAP_NO_SUCH_VARIABLE", "NEAP_OOM", "NEAP_HARDENED"}) {
    for (const std::string& value :
         {std::string("garbage"), std::string("99999999999999999999"), std::string(5000, '%')}) {
      Outcome outcome = Anew("threads", [&] { return setenv(name, value.c_str(), 1) == 0; });
      EXPECT_TRUE(outcome.Succeeded()) << name << " " << outcome;
      EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome;
      EXPECT_EQ(outcome.output.rfind("neap: ", 0), 0u) << outcome;
      EXPECT_NE(outcome.output.find(name), std::string::npos) << outcome;
    }
  }
}

TEST(Environment, NeapWithoutItsThreadWorks) {
  if (!OnNeap()) GTEST_SKIP() << "not neap";
  Outcome outcome = Anew("threads", [] { return setenv("NEAP_BACKGROUND", "0", 1) == 0; });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_EQ(outcome.output, "");
}

TEST(Loader, BindsNowOrLate) {
  for (const char* name : {"LD_BIND_NOW", "LD_BIND_NOT"}) {
    Outcome outcome = Anew("small", [&] { return setenv(name, "1", 1) == 0; });
    EXPECT_TRUE(outcome.Succeeded()) << outcome;
  }
}

TEST(Loader, OtherPreloadsBeforeAndAfter) {
  const char* preload = getenv("LD_PRELOAD");
  std::string ours = preload == nullptr ? "" : preload, other = Beside("libmodule_static.so");
  for (const std::string& both : {ours + " " + other, other + " " + ours, ours + ":" + ours}) {
    Outcome outcome = Anew("threads", [&] { return setenv("LD_PRELOAD", both.c_str(), 1) == 0; });
    EXPECT_TRUE(outcome.Succeeded()) << both << " " << outcome;
  }
}

TEST(Programs, ThatAreStaticAreNotTouched) {
  Outcome outcome = InChild([] {
    execl(Beside("static_program").c_str(), "static_program", nullptr);
    return 99;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
  EXPECT_EQ(outcome.output, "");
}

TEST(Programs, ThatReplacePartsOfTheHeapAreReached) {
  for (const char* program : {"replaces_new", "replaces_delete", "own_malloc", "wraps_malloc"}) {
    Outcome outcome = InChild([&] {
      execl(Beside(program).c_str(), program, nullptr);
      return 99;
    });
    EXPECT_TRUE(outcome.Succeeded()) << program << " " << outcome;
  }
}

TEST(Programs, InAChainOfExecs) {
  Outcome outcome = InChild([] {
    std::string script = "exec sh -c 'exec env A=1 " + ProgramPath() + " --workout=threads'";
    execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    return 99;
  });
  EXPECT_TRUE(outcome.Succeeded()) << outcome;
}

}  // namespace
}  // namespace outside
