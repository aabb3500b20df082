// preload_stress_library.cc: what preload_stress opens and closes: thread-local data with a constructor that allocates.
#include <cstdlib>
#include <string>
#include <vector>

namespace {

struct Local {
  Local() : words(100, std::string(50, 'x')) {}
  std::vector<std::string> words;
  char space[3000] = {};
};
thread_local Local local;

void* held_since_load = std::malloc(1000);

[[gnu::destructor]] void FreeAtUnload() { std::free(held_since_load); }

}  // namespace

extern "C" int UseThreadLocals() { return local.words[99].size() == 50 && local.space[2999] == 0 ? 42 : 0; }
