// tsan.cc: what the thread sanitizer is told of the engine's tests: Arrow's libraries are not built with it, so that it
// does not see what orders their accesses, the counts of their shared pointers included.
extern "C" {
[[gnu::visibility("default")]] const char* __tsan_default_options();
[[gnu::visibility("default")]] const char* __tsan_default_suppressions();

const char* __tsan_default_options() { return "history_size=7"; }

const char* __tsan_default_suppressions() {
  return "race:libarrow\n"
         "race:libparquet\n"
         "race:std::__shared_ptr<arrow::\n";
}
}
