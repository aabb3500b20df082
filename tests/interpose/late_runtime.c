// late_runtime.c: a C program that opens a plug-in written in C++, whose runtime stays out of the global scope.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2 || dlsym(RTLD_DEFAULT, "__cxa_throw") != NULL) {
    fprintf(stderr, "wants one plug-in, and no C++ runtime before it\n");
    return 2;
  }
  void* plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  int (*failures)(void) = plugin != NULL ? (int (*)(void))dlsym(plugin, "Failures") : NULL;
  if (failures == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  return failures() == 0 ? 0 : 1;
}
