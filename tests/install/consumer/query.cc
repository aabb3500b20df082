// query.cc: a program on the installed engine: runs a query and reads its rows by Arrow's C data interface.
#include <arrow/c/abi.h>
#include <neap.h>
#include <neap_engine.h>

#include <cstdint>
#include <cstdio>

int main() {
  neap::engine::Session session({.memory = 64 << 20});
  const auto result = session.Execute(session.Plan("SELECT 40 + 2 AS answer").front());
  ArrowArrayStream stream;
  result->Export(&stream);
  ArrowArray batch;
  if (stream.get_next(&stream, &batch) != 0 || batch.release == nullptr || batch.length != 1) return 1;
  const int64_t answer = static_cast<const int64_t*>(batch.children[0]->buffers[1])[0];
  batch.release(&batch);
  stream.release(&stream);

  // neap.h is that of the library which runs: malloc is neap's.
  neap_stats_t stats;
  if (neap_stats(&stats) != 0 || stats.live == 0) return 2;
  std::printf("%ld\n", static_cast<long>(answer));
  return 0;
}
