/* A C program without the C++ runtime: loads the library argv[1], out of sight of all others, and calls argv[2] of it.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  free(malloc(100));
  void* library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  bool (*function)(void) = library != NULL ? (bool (*)(void))dlsym(library, argv[2]) : NULL;
  if (function == NULL) {
    fprintf(stderr, "c_host: %s\n", dlerror());
    return 2;
  }
  return function() ? 0 : 1;
}
