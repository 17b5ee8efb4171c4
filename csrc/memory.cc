#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <utility>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HG_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HG_ADDRESS_SANITIZER
#endif
#ifdef HG_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace handgrad {

namespace {

constexpr size_t PAGE = 2 << 20;     // a huge page
constexpr size_t COMMIT = 64 << 20;  // the range is made accessible in steps of this
constexpr size_t SPARE = 32 << 20;   // may always be kept idle

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Blocks side by side must not begin at the same place of a 4 KiB page: an operation that walks through
// several of them in step would find them in the same sets of the cache (15-20 % of an addition's time).
size_t block_bytes(size_t asked) { return round_up(asked, 4096) + 1024 + 64; }

// Addresses for twice the machine's memory, as blocks in use leave gaps. Addresses alone cost nothing.
char* reserve(size_t* bytes) {
  *bytes = round_up(2 * (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE), COMMIT);
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    *bytes = std::min(*bytes, round_up((size_t)limit.rlim_cur / 4, COMMIT));
  for (; *bytes >= COMMIT; *bytes = *bytes / 2 / COMMIT * COMMIT) {
    void* at = mmap(nullptr, *bytes + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) return (char*)round_up((uintptr_t)at, PAGE);
  }
  *bytes = 0;
  return nullptr;
}

bool commit(char* at, size_t bytes) {
  if (mprotect(at, bytes, PROT_READ | PROT_WRITE)) return false;
#ifdef MADV_HUGEPAGE
  madvise(at, bytes, MADV_HUGEPAGE);  // a wish: where it is not granted, pages are small
#endif
  return true;
}

// Returns pages to the system. They read as zero, and are in memory again once they are written.
void discard(char* at, size_t bytes) {
#ifdef __linux__
  bool done = madvise(at, bytes, MADV_DONTNEED) == 0;
#else
  int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANON | MAP_NORESERVE;
  bool done = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
#endif
  if (!done) std::memset(at, 0, bytes);  // pages locked in memory
}

// Tells AddressSanitizer that of a span the first `asked` bytes may be used.
void mark([[maybe_unused]] char* at, [[maybe_unused]] size_t asked, [[maybe_unused]] size_t bytes) {
#ifdef HG_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(at, asked);
  ASAN_POISON_MEMORY_REGION(at + asked, bytes - asked);
#endif
}

class Pool {
 public:
  Pool() {
    base_ = reserve(&bytes_);
    if (bytes_) add_free(spans_.insert({base_, Span{bytes_, 0}}).first);
  }

  bool owns(const void* data) const { return (uintptr_t)data - (uintptr_t)base_ < bytes_; }

  pool::Block take(size_t asked) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (asked > bytes_) return {nullptr, 0};
    size_t bytes = block_bytes(asked);
    auto fit = free_.lower_bound({bytes, nullptr});
    if (fit == free_.end() || !reach(fit->second + bytes)) return {nullptr, 0};
    auto span = spans_.find(fit->second);
    free_.erase(fit);
    cut(span, asked);
    return {span->first, occupy(span->first, bytes)};
  }

  void give(void* data) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto span = spans_.find((char*)data);
    vacate(span->first, span->second.bytes);
    mark(span->first, 0, span->second.bytes);
    span->second.asked = 0;
    add_free(span);
  }

  size_t size(const void* data) {
    std::lock_guard<std::mutex> lock(mutex_);
    return spans_.find((char*)data)->second.asked;
  }

  bool resize(void* data, size_t asked) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (asked > bytes_) return false;
    auto span = spans_.find((char*)data), next = std::next(span);
    size_t before = span->second.bytes, after = block_bytes(asked);
    if (after > before) {
      if (next == spans_.end() || next->second.asked || before + next->second.bytes < after) return false;
      if (!reach(span->first + after)) return false;
      absorb(span, next);
      occupy(span->first + before, after - before);
    } else {
      vacate(span->first + after, before - after);
    }
    cut(span, asked);
    return true;
  }

  pool::Use use() {
    std::lock_guard<std::mutex> lock(mutex_);
    return {in_use_, resident_ * PAGE - in_use_, peak_};
  }

  void release() {
    std::lock_guard<std::mutex> lock(mutex_);
    discard_idle(idle_);
    recent_peak_ = window_peak_ = in_use_;
  }

  std::mutex& mutex() { return mutex_; }

 private:
  struct Span {
    size_t bytes;
    size_t asked;  // 0 where it is free
  };
  using Spans = std::map<char*, Span>;
  struct Page {
    uint32_t used;  // bytes of it that are handed out
    bool written;   // since the system gave it
  };

  // Makes the range accessible up to `end`.
  bool reach(char* end) {
    size_t needed = round_up(end - base_, COMMIT), now = pages_.size() * PAGE;
    if (needed <= now) return true;
    if (needed > bytes_ || !commit(base_ + now, needed - now)) return false;
    pages_.resize(needed / PAGE, Page{0, false});
    return true;
  }

  // Makes a span that is not in `free_` a block for `asked` bytes; the rest of it becomes free.
  void cut(Spans::iterator span, size_t asked) {
    size_t bytes = block_bytes(asked), rest = span->second.bytes - bytes;
    span->second = {bytes, asked};
    mark(span->first, asked, bytes);
    if (rest) add_free(spans_.insert({span->first + bytes, Span{rest, 0}}).first);
  }

  // Enters a span in `free_`, as one with the neighbours that are free.
  void add_free(Spans::iterator span) {
    auto next = std::next(span);
    if (next != spans_.end() && !next->second.asked) absorb(span, next);
    if (span != spans_.begin() && !std::prev(span)->second.asked) {
      auto before = std::prev(span);
      free_.erase({before->second.bytes, before->first});
      before->second.bytes += span->second.bytes;
      spans_.erase(span);
      span = before;
    }
    free_.insert({span->second.bytes, span->first});
  }

  // Lengthens a span by the free one that follows.
  void absorb(Spans::iterator span, Spans::iterator next) {
    free_.erase({next->second.bytes, next->first});
    span->second.bytes += next->second.bytes;
    spans_.erase(next);
  }

  // Calls f(page, bytes on it, where on the range these end) for the pages that a span lies on.
  template <class F>
  void each_page(char* at, size_t bytes, const F& f) {
    size_t begin = at - base_, end = begin + bytes;
    while (begin < end) {
      size_t next = std::min(end, begin / PAGE * PAGE + PAGE);
      f(pages_[begin / PAGE], (uint32_t)(next - begin), next);
      begin = next;
    }
  }

  // Counts bytes as in use; returns how many of them, from the first, may have been written before.
  size_t occupy(char* at, size_t bytes) {
    size_t written = 0;
    each_page(at, bytes, [&](Page& page, uint32_t n, size_t end) {
      if (page.written) {
        written = base_ + end - at;
        idle_ -= page.used == 0;
      } else {
        page.written = true;
        ++resident_;
      }
      page.used += n;
    });
    in_use_ += bytes;
    turnover_ += bytes;
    for (size_t* peak : {&peak_, &recent_peak_, &window_peak_}) *peak = std::max(*peak, in_use_);
    bound_idle();
    return written;
  }

  void vacate(char* at, size_t bytes) {
    each_page(at, bytes, [&](Page& page, uint32_t n, size_t) {
      page.used -= n;
      idle_ += page.used == 0;
    });
    in_use_ -= bytes;
    bound_idle();
  }

  // Kept idle is what the blocks in use have lately left, as they will want it again, and a little for the
  // gaps between them. "Lately" is this window and the last, a window being over when the memory in use at
  // its peak has been handed out 32 times.
  void bound_idle() {
    if (turnover_ / 32 > recent_peak_) {
      turnover_ = 0;
      recent_peak_ = window_peak_;
      window_peak_ = in_use_;
    }
    size_t most = (recent_peak_ - in_use_ + recent_peak_ / 16 + SPARE) / PAGE;
    if (idle_ > most) discard_idle(idle_ - most);
  }

  // Returns `n` pages that no block uses to the system, from the high end, as blocks gather at the low one.
  void discard_idle(size_t n) {
    for (size_t end = pages_.size(); n && end; --end) {
      size_t begin = end;
      while (n && begin && pages_[begin - 1].written && !pages_[begin - 1].used) {
        pages_[--begin].written = false;
        --n, --idle_, --resident_;
      }
      if (begin == end) continue;
      discard(base_ + begin * PAGE, (end - begin) * PAGE);
      end = begin + 1;
    }
  }

  std::mutex mutex_;
  char* base_;
  size_t bytes_;
  Spans spans_;                              // all of the range
  std::set<std::pair<size_t, char*>> free_;  // the free ones, by size
  std::vector<Page> pages_;                  // of the accessible part of the range
  size_t resident_ = 0, idle_ = 0;           // pages: written, and of these without a block
  size_t in_use_ = 0, peak_ = 0;             // bytes
  size_t recent_peak_ = 0, window_peak_ = 0, turnover_ = 0;
};

// Never destroyed: arrays may be freed after everything else, at the interpreter's end.
Pool& the_pool() {
  static Pool* instance = [] {
    Pool* made = new Pool;
    // a child has the memory as it is when the process forks: no other thread may be at work on it then
    pthread_atfork([] { the_pool().mutex().lock(); }, [] { the_pool().mutex().unlock(); },
                   [] { the_pool().mutex().unlock(); });
    return made;
  }();
  return *instance;
}

}  // namespace

// Where malloc has not even the few bytes for an entry of a table, these end the process.
namespace pool {
Block take(size_t bytes) noexcept { return the_pool().take(bytes); }
void give(void* data) noexcept { the_pool().give(data); }
bool owns(const void* data) noexcept { return the_pool().owns(data); }
size_t size(const void* data) noexcept { return the_pool().size(data); }
bool resize(void* data, size_t bytes) noexcept { return the_pool().resize(data, bytes); }
Use use() noexcept { return the_pool().use(); }
void release() noexcept { the_pool().release(); }
}  // namespace pool

void* take(size_t bytes) {
  if (bytes >= POOLED_BYTES)
    if (void* data = pool::take(bytes).data) return data;
  void* block = nullptr;
  if (posix_memalign(&block, 64, bytes)) throw std::bad_alloc();
  return block;
}

void give(void* block, size_t) noexcept {
  if (pool::owns(block))
    pool::give(block);
  else
    std::free(block);
}

}  // namespace handgrad
