// How many threads share a kernel's work, and how work is divided among them.
#pragma once

#include "thread_pool.h"

namespace handgrad {

// The CPUs this process may use (affinity and cgroup quota) but no more than OMP_NUM_THREADS, or what
// set_threads said.
int threads();
void set_threads(int n);
int usable_cpus();
// The least quota of the process's control groups and of those they are in, in CPUs, rounded up; 0 where there is none.
// The system's files are looked for below `root`.
int quota_cpus(const char* root = "");

// Anyone may call set_threads at any time: a kernel with memory for each thread asks once how many there are.

// Calls work(begin, end, part) with `parts` shares of 0..n that differ in size by one at most, one for each
// thread: the division depends on n and `parts` alone, so that a run can be repeated bit for bit.
template <class Work>
inline void parallel_shares(long n, int parts, const Work& work) {
  if (parts > n) parts = (int)n;
  if (parts <= 1) {
    if (n > 0) work(0L, n, 0);
    return;
  }
  const struct {
    const Work& work;
    long n;
    int parts;
  } shares = {work, n, parts};
  using Shares = decltype(shares);
  const auto share = [](const void* context, long part, int) {
    const Shares& s = *(const Shares*)context;
    s.work(s.n * part / s.parts, s.n * (part + 1) / s.parts, (int)part);
  };
  run_tasks({share, &shares, parts, true}, parts);
}

// As many threads as there are pieces of `grain` items, and no more: waking one costs microseconds.
template <class Work>
inline void parallel_for(long n, long grain, const Work& work) {
  const long pieces = (n + grain - 1) / grain, all = threads();
  parallel_shares(n, (int)(pieces < all ? pieces : all), work);
}

// Calls work(item, thread) for items 0..n, each by the next of `parts` threads that is free. For items that
// write results of their own: who does what changes from run to run.
template <class Work>
inline void parallel_items(long n, int parts, const Work& work) {
  if (parts > n) parts = (int)n;
  if (parts > 1) {
    const auto call = [](const void* context, long item, int thread) { (*(const Work*)context)(item, thread); };
    return run_tasks({call, &work, n, false}, parts);
  }
  for (long item = 0; item < n; ++item) work(item, 0);
}

}  // namespace handgrad
