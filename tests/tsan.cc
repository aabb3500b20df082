// tsan.cc: what the thread sanitizer is told. It does not see the assembly of the hit paths (the tests run without rseq
// under it, so that blocks go from thread to thread through locks that it sees) nor liburcu's grace periods.
extern "C" {
[[gnu::visibility("default")]] const char* __tsan_default_options();
[[gnu::visibility("default")]] const char* __tsan_default_suppressions();

const char* __tsan_default_options() { return "history_size=7"; }

const char* __tsan_default_suppressions() {
  return
      // Reads beside writers, of what may be a little old; an arena is kept for the reader by a grace period.
      "race:neap::ReadLedger\n"
      "race:neap::CpuCaches::CachedBytes\n"
      // Written once, by the first allocation, and a thread has to be started before there are two.
      "race:neap::arch::\n"
      "race:neap::HotLoad\n"
      // One bit, the block's own: nobody else changes it while the block is live.
      "race:IsFree\n";
}
}
