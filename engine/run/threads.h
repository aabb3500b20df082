// threads.h: the threads of a query. The caller of Run is thread 0; the others wait between runs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace neap::engine {

class Threads {
 public:
  explicit Threads(uint32_t count);
  ~Threads();

  // Calls work(0) to work(count-1), each on a thread of its own, and returns when all have returned. `work` must not
  // throw.
  void Run(const std::function<void(uint32_t)>& work);

 private:
  void Serve(uint32_t index);

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(uint32_t)>* work_ = nullptr;
  uint64_t runs_ = 0;  // started so far
  uint32_t busy_ = 0;  // threads that have not returned from the run that is on
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// CPUs that the cgroup's quota and the affinity of this thread allow; at least 1.
uint32_t AvailableCpus();

}  // namespace neap::engine
