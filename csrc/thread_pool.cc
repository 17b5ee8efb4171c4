#include "thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace handgrad {

namespace {

constexpr long MOST = 1024;  // participants, as kernels/extension.py has it
// How long a thread looks for work before it sleeps. The kernels and steps of small networks follow one another in
// less, and a kernel whose workers sleep takes 30 µs longer; a longer search keeps other programs from the CPU.
constexpr auto SPIN = std::chrono::microseconds(400);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Condition>
bool spin_until(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + SPIN;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// One word, so that a worker joins the job that it has seen or none.
struct Seats {
  uint32_t job;         // its number
  uint16_t free, used;  // how many workers may still join it, and how many are in it
};
static_assert(sizeof(Seats) == 8 && std::atomic<Seats>::is_always_lock_free);

thread_local bool in_task = false;

// A new thread takes no signals: Python's main thread is to see them.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

class ThreadPool {
 public:
  void run(const Tasks& tasks, int most) {
    std::unique_lock<std::mutex> caller(callers_, std::defer_lock);
    if (in_task || !caller.try_lock()) {
      for (long i = 0; i < tasks.count; ++i) tasks.task(tasks.context, i, 0);
      return;
    }
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    if (tasks.by_worker)
      for (long i = 0; i < tasks.count; ++i) claimed_[i].store(false, std::memory_order_relaxed);
    offer(grow(std::min((long)most, MOST) - 1));
    in_task = true;
    participate(0, 0);
    in_task = false;
    wait_for_workers();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  void end_workers() {
    std::lock_guard<std::mutex> caller(callers_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

 private:
  // Begins workers until there are `wanted`, if the system lets it; returns how many of them there are.
  int grow(long wanted) {
    try {
      while ((long)workers_.size() < wanted) {
        BlockedSignals blocked;
        workers_.emplace_back(&ThreadPool::work, this, (long)workers_.size() + 1, seats_.load().job);
      }
    } catch (const std::system_error&) {  // the process may have no more threads: those that there are do the work
    }
    return (int)std::min(wanted, (long)workers_.size());
  }

  // Workers read what was written before as soon as they see the seats.
  void offer(int seats) {
    seats_.store({seats_.load().job + 1, (uint16_t)seats, 0});
    const int asleep = sleepers_.load();
    if (asleep == 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }  // one that has looked at the seats before sleeps by now
    if (asleep <= seats) return wake_.notify_all();
    for (int i = 0; i < seats; ++i) wake_.notify_one();
  }

  void work(long own, uint32_t last) {
    in_task = true;
    for (Seats seen; find_job(last, seen);) {
      const uint16_t participant = seen.free;
      const Seats joined = {seen.job, (uint16_t)(seen.free - 1), (uint16_t)(seen.used + 1)};
      if (!seats_.compare_exchange_strong(seen, joined)) continue;
      last = joined.job;
      participate(participant, own);
      leave();
    }
  }

  // Waits for a job after `last` with a free seat; returns false when the worker is to end.
  bool find_job(uint32_t last, Seats& seen) {
    const auto found = [&] {
      seen = seats_.load();
      return seen.free > 0 && seen.job != last;
    };
    if (spin_until(found)) return true;
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, [&] { return stopping_ || found(); });
    --sleepers_;
    return !stopping_;
  }

  void participate(int participant, long own) noexcept {
    try {
      for (long i; (i = claim(own)) >= 0;) tasks_.task(tasks_.context, i, participant);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  // The number of a task that nobody has, or -1.
  long claim(long own) {
    const long count = tasks_.count;
    if (!tasks_.by_worker) {
      const long i = next_.fetch_add(1, std::memory_order_relaxed);
      return i < count ? i : -1;
    }
    for (long k = 0; k < count; ++k) {
      std::atomic<bool>& taken = claimed_[(own + k) % count];
      if (!taken.load(std::memory_order_relaxed) && !taken.exchange(true, std::memory_order_relaxed))
        return (own + k) % count;
    }
    return -1;
  }

  void leave() {
    Seats seen = seats_.load(), left;
    do {
      left = {seen.job, seen.free, (uint16_t)(seen.used - 1)};
    } while (!seats_.compare_exchange_weak(seen, left));
    if (left.used > 0 || !caller_sleeps_.load()) return;
    { std::lock_guard<std::mutex> lock(mutex_); }
    done_.notify_one();
  }

  void wait_for_workers() {
    Seats seen = seats_.load();
    while (!seats_.compare_exchange_weak(seen, {seen.job, 0, seen.used})) {
    }
    const auto done = [&] { return seats_.load().used == 0; };
    if (seen.used == 0 || spin_until(done)) return;
    caller_sleeps_.store(true);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, done);
    caller_sleeps_.store(false);
  }

  std::mutex callers_;  // held by the thread that the pool works for
  Tasks tasks_ = {};
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;  // for sleeping
  std::condition_variable wake_, done_;
  bool stopping_ = false;
  std::atomic<bool> claimed_[MOST];
  alignas(64) std::atomic<long> next_{0};
  alignas(64) std::atomic<Seats> seats_{Seats{0, 0, 0}};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
};

// Never destroyed: workers sleep in it when the process ends. A child of a fork, even of one that Python knows nothing
// of, has none of the workers and begins anew.
std::atomic<ThreadPool*>& instance() {
  static std::atomic<ThreadPool*> pool{[] {
    pthread_atfork(nullptr, nullptr, [] { instance() = new ThreadPool; });
    return new ThreadPool;
  }()};
  return pool;
}

}  // namespace

void run_tasks(const Tasks& tasks, int most) {
  Tasks valid = tasks;
  valid.by_worker = tasks.by_worker && tasks.count <= MOST;
  instance().load(std::memory_order_acquire)->run(valid, most);
}

void end_threads() { instance().load()->end_workers(); }

}  // namespace handgrad
