#include "threads.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace handgrad {

namespace {

// The cgroup's quota in CPUs, rounded up; 0 where there is none.
int cgroup_cpus() {
#if defined(__linux__)
  long quota = -1, period = 0;
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {  // cgroup 2: "max 100000" or "150000 100000"
    if (std::fscanf(f, "%ld %ld", &quota, &period) != 2) quota = -1;
    std::fclose(f);
  } else if (FILE* g = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {  // cgroup 1
    if (std::fscanf(g, "%ld", &quota) != 1) quota = -1;
    std::fclose(g);
    if (FILE* h = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(h, "%ld", &period) != 1) period = 0;
      std::fclose(h);
    }
  }
  if (quota > 0 && period > 0) return (int)((quota + period - 1) / period);
#endif
  return 0;
}

int default_threads() {
#ifdef _OPENMP
  int n = usable_cpus(), wanted = omp_get_max_threads();
  return wanted < n ? wanted : n;
#else
  return 1;
#endif
}

std::atomic<int>& setting() {
  static std::atomic<int> n{default_threads()};
  return n;
}

}  // namespace

int usable_cpus() {
  int n = (int)std::thread::hardware_concurrency();
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) n = CPU_COUNT(&allowed);
#endif
  int quota = cgroup_cpus();
  if (quota > 0 && quota < n) n = quota;
  return n > 0 ? n : 1;
}

int threads() { return setting().load(std::memory_order_relaxed); }

void set_threads(int n) {
#ifdef _OPENMP
  setting().store(n > 0 ? n : 1, std::memory_order_relaxed);
#else
  (void)n;
#endif
}

void end_threads() {
#ifdef _OPENMP
  omp_pause_resource_all(omp_pause_soft);  // what LLVM's runtime, which survives forks, survives too
#endif
}

}  // namespace handgrad
