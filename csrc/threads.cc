#include "threads.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace handgrad {

namespace {

// How many CPUs' time a group may use, rounded up; 0 where that is not limited.
long quota_of(const std::string& group, bool unified) {
  long quota = 0, period = 0;
  if (unified)
    std::ifstream(group + "/cpu.max") >> quota >> period;  // "max 100000" or "150000 100000"
  else
    std::ifstream(group + "/cpu.cfs_quota_us") >> quota, std::ifstream(group + "/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? (quota + period - 1) / period : 0;
}

// OpenMP's variable, by which people limit the threads of all libraries; its list is of nested levels.
int default_threads() {
  const char* named = std::getenv("OMP_NUM_THREADS");
  const long limit = named ? std::strtol(named, nullptr, 10) : 0;
  const int n = usable_cpus();
  return limit > 0 && limit < n ? (int)limit : n;
}

std::atomic<int>& setting() {
  static std::atomic<int> n{default_threads()};
  return n;
}

}  // namespace

// Each line of the process's list is number:controllers:path, of version 2 without controllers.
int quota_cpus(const char* root) {
  long least = 0;
  const std::string top(root);
  std::ifstream groups(top + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = ',' + line.substr(first + 1, second - first - 1) + ',';
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string mount = top + (unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
    // in a container the list may name the group as the host sees it: what is mounted is then the group itself
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      const long cpus = quota_of(mount + path, unified);
      if (cpus && (least == 0 || cpus < least)) least = cpus;
      if (path.find('/') == std::string::npos) break;
    }
  }
  return (int)least;
}

int usable_cpus() {
  int n = (int)std::thread::hardware_concurrency();
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) n = CPU_COUNT(&allowed);
#endif
  int quota = quota_cpus();
  if (quota > 0 && quota < n) n = quota;
  return n > 0 ? n : 1;
}

int threads() { return setting().load(std::memory_order_relaxed); }

void set_threads(int n) { setting().store(n > 0 ? n : 1, std::memory_order_relaxed); }

}  // namespace handgrad
