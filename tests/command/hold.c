/* hold.c: a program that holds memory as it is told, for the tests of the command. Reads orders from stdin, one a line:
 *   live N      N MiB in blocks of 64 KiB, written to       half       frees every other of them
 *   drop        frees them all                              foreign N  N MiB by mmap, written to
 *   blank N     N MiB in blocks of 64 KiB, not written to   threads N  N threads with 1 MiB of stack each, which stay
 *   grow        takes memory until it is killed
 *   load PATH   opens the library of another allocator, for itself alone
 *   hoard N     N MiB of that allocator's, in blocks of 1 MiB, written to and freed
 *   trap        prints the name of each signal it gets      child ...  a forked child obeys the rest of the line
 * Says "ok" after each. Ends with 0 when stdin does, or with N after `exit N`; `_exit N` skips the exit handlers. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { kBlock = 64 << 10, kMost = 65536 };

static char* blocks[kMost];
static int count;

static char* Take(void) {
  char* block = count < kMost ? malloc(kBlock) : NULL;
  if (block == NULL) abort();
  return blocks[count++] = block;
}

__attribute__((noinline)) static void Live(long mib) {
  for (long i = 0; i < mib * 16; ++i) memset(Take(), 1, kBlock);
}

static void Blank(long mib) {
  for (long i = 0; i < mib * 16; ++i) Take();
}

static void Free(int step) {
  for (int i = 0; i < count; i += step) {
    free(blocks[i]);
    blocks[i] = NULL;
  }
  if (step == 1) count = 0;
}

static void Foreign(long mib) {
  size_t bytes = (size_t)mib << 20;
  char* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) abort();
  memset(memory, 1, bytes);
}

static void* OnDeepStack(void* unused) {
  (void)unused;
  volatile char bytes[1 << 20];
  for (size_t i = 0; i < sizeof bytes; i += 4096) bytes[i] = 1;
  pause();
  return NULL;
}

static void Threads(long more) {
  pthread_t thread;
  for (long i = 0; i < more; ++i) {
    if (pthread_create(&thread, NULL, OnDeepStack, NULL) != 0) abort();
  }
}

/* Slowly enough that readings are taken on the way. */
static void Grow(void) {
  for (;;) {
    Live(1);
    nanosleep(&(struct timespec){0, 2000000}, NULL);
  }
}

static void* other;

static void Load(char* path) {
  path[strcspn(path, "\n")] = 0;
  other = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (other == NULL) fprintf(stderr, "%s\n", dlerror()), abort();
}

/* By the names that jemalloc has beside malloc's. */
static void Hoard(long mib) {
  void* (*take)(size_t, int) = (void* (*)(size_t, int))dlsym(other, "mallocx");
  void (*give)(void*, size_t, int) = (void (*)(void*, size_t, int))dlsym(other, "sdallocx");
  size_t bytes = (size_t)1 << 20;
  char** taken = malloc((size_t)mib * sizeof *taken);
  for (long i = 0; i < mib; ++i) {
    taken[i] = take(bytes, 0);
    if (taken[i] == NULL) abort();
    memset(taken[i], 1, bytes);
  }
  for (long i = 0; i < mib; ++i) give(taken[i], bytes, 0);
  free(taken);
}

static void OnSignal(int number) {
  char line[32];
  int length = snprintf(line, sizeof line, "signal %s\n", sigabbrev_np(number));
  if (write(STDOUT_FILENO, line, (size_t)length) < 0) abort();
}

static void Trap(void) {
  int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; ++i) {
    struct sigaction action = {.sa_handler = OnSignal, .sa_flags = SA_RESTART};
    sigaction(signals[i], &action, NULL);
  }
}

static void Obey(char* line) {
  long number = strtol(line + strcspn(line, " "), NULL, 10);
  if (strncmp(line, "live", 4) == 0) Live(number);
  if (strncmp(line, "blank", 5) == 0) Blank(number);
  if (strncmp(line, "half", 4) == 0) Free(2);
  if (strncmp(line, "drop", 4) == 0) Free(1);
  if (strncmp(line, "foreign", 7) == 0) Foreign(number);
  if (strncmp(line, "threads", 7) == 0) Threads(number);
  if (strncmp(line, "grow", 4) == 0) Grow();
  if (strncmp(line, "load", 4) == 0) Load(line + 5);
  if (strncmp(line, "hoard", 5) == 0) Hoard(number);
  if (strncmp(line, "trap", 4) == 0) Trap();
  if (strncmp(line, "exit", 4) == 0) exit((int)number);
  if (strncmp(line, "_exit", 5) == 0) _exit((int)number);
  if (strncmp(line, "child", 5) == 0) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      Obey(line + 6);
      pause();
    }
    printf("pid %d\n", (int)child);
  }
}

int main(void) {
  char line[256];
  printf("pid %d\n", (int)getpid());
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    Obey(line);
    printf("ok\n");
    fflush(stdout);
  }
  return 0;
}
