// threads.cc: the threads of a query, and how many it should have.
#include "engine/run/threads.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace neap::engine {

Threads::Threads(uint32_t count) {
  for (uint32_t index = 1; index < count; ++index) threads_.emplace_back([this, index] { Serve(index); });
}

Threads::~Threads() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Threads::Run(const std::function<void(uint32_t)>& work) {
  {
    std::lock_guard lock(mutex_);
    work_ = &work;
    busy_ = static_cast<uint32_t>(threads_.size());
    ++runs_;
  }
  changed_.notify_all();
  work(0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return busy_ == 0; });
}

void Threads::Serve(uint32_t index) {
  uint64_t served = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || runs_ != served; });
    if (ending_) return;
    served = runs_;
    const auto* work = work_;
    lock.unlock();
    (*work)(index);
    lock.lock();
    if (--busy_ == 0) changed_.notify_all();
  }
}

namespace {

// The quota of this process's cgroup in CPUs, rounded up; 0 where there is none. Version 2's cpu.max of the cgroup that
// the container sees as its root, else version 1's two files.
uint32_t QuotaCpus() {
  std::string quota, period;
  if (std::ifstream unified("/sys/fs/cgroup/cpu.max"); unified >> quota >> period) {
    if (quota == "max") return 0;
  } else {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  const double cpus = std::strtod(quota.c_str(), nullptr) / std::max(std::strtod(period.c_str(), nullptr), 1.0);
  return cpus <= 0 ? 0 : static_cast<uint32_t>(cpus + 0.999);
}

}  // namespace

uint32_t AvailableCpus() {
  cpu_set_t set;
  const uint32_t affine = sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<uint32_t>(CPU_COUNT(&set))
                                                                      : std::thread::hardware_concurrency();
  const uint32_t quota = QuotaCpus();
  return std::max(1U, quota == 0 ? affine : std::min(affine, quota));
}

}  // namespace neap::engine
