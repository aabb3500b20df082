/* profiled.c: a program whose live bytes are known by function, for the tests of neap profile. Says "pid N" when all of
 * it is held, and ends when stdin does; "fork" as its argument: a child holds ten times as much in HoldLarge, and says
 * the same.
 *   HoldLarge    32 MiB in blocks of 64 KiB
 *   Fragment     400,000 blocks of 200 bytes, of which every 16th stays
 *   Churn        256 MiB that are freed at once
 *   jit_hold     16 MiB, by code that was made at run time and has a name in /tmp/perf-PID.map alone (x86-64) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLarge = 64 << 10, kSmall = 200, kSmallCount = 400000 };

static void* Touched(size_t size) {
  void* block = malloc(size);
  if (block == NULL) abort();
  return memset(block, 1, size);
}

__attribute__((noinline)) static void HoldLarge(int count) {
  for (int i = 0; i < count; ++i) {
    void* volatile block = Touched(kLarge);
    (void)block;
  }
}

__attribute__((noinline)) static void Fragment(void) {
  static void* blocks[kSmallCount];
  for (int i = 0; i < kSmallCount; ++i) blocks[i] = Touched(kSmall);
  for (int i = 0; i < kSmallCount; ++i) {
    if (i % 16 != 0) free(blocks[i]);
  }
}

__attribute__((noinline)) static void Churn(void) {
  for (int i = 0; i < 4096; ++i) free(Touched(kLarge));
}

static void* HoldOne(void) { return Touched(kLarge); }

#ifdef __x86_64__
static void JitHold(void) {
  /* push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret: a frame as compilers at run time make it. */
  static const unsigned char kCode[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
  void* code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) abort();
  memcpy(code, kCode, sizeof kCode);
  char path[64];
  snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
  FILE* map = fopen(path, "w");
  if (map == NULL) abort();
  fprintf(map, "%lx %zx jit_hold\n", (unsigned long)(uintptr_t)code, sizeof kCode);
  fclose(map);
  void* (*volatile hold)(void* (*)(void)) = (void* (*)(void* (*)(void)))(uintptr_t)code;
  for (int i = 0; i < 256; ++i) hold(HoldOne);
}
#else
static void JitHold(void) {}
#endif

int main(int count, char** arguments) {
  HoldLarge(512);
  Fragment();
  Churn();
  JitHold();
  const pid_t child = count > 1 && strcmp(arguments[1], "fork") == 0 ? fork() : -1;
  if (child == 0) HoldLarge(5120);
  char line[16];
  printf("pid %d\n", getpid());
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
  }
  if (child > 0) waitpid(child, NULL, 0);
  return 0;
}
