#pragma once
#include <rondel/comm/rank_call.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rondel::detail {

// What all communicators that come from one launch share: what each rank is in, who failed
// first, and the place where ranks sleep when spinning and yielding did not help.
class thread_world {
 public:
  using activity = rank_activity;

  // More ranks than cores must not spin: the one waited for needs the core. Of each rank the last
  // `records` calls are kept.
  explicit thread_world(int ranks, std::size_t records = 0)
      : spins_(static_cast<unsigned>(ranks) <= sync::thread::hardware_concurrency() ? sync::spins
                                                                                    : 0),
        ranks_(ranks),
        activities_(std::make_unique<activity[]>(static_cast<std::size_t>(ranks))),
        stream_failures_(static_cast<std::size_t>(ranks)),
        flights_(ranks, records) {}

  [[nodiscard]] int ranks() const noexcept { return ranks_; }
  [[nodiscard]] activity& doing(int rank) noexcept {
    return activities_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] flight_recorder& recorder() noexcept { return flights_; }
  // A number for each communicator made, the world's own being 0.
  [[nodiscard]] std::uint64_t next_group() noexcept {
    return groups_.fetch_add(1, std::memory_order_relaxed);
  }

  // Keeps the words of a stream that failed, for whoever finds that its work will not run.
  void note_stream_failure(int rank, std::string_view reason) noexcept {
    const sync::lock_guard lock(mutex_);
    std::string& note = stream_failures_[static_cast<std::size_t>(rank)];
    try {
      if (note.empty()) note = reason;
    } catch (...) {
      note.clear();
    }
  }
  [[nodiscard]] std::string stream_failure(int rank) {
    const sync::lock_guard lock(mutex_);
    return stream_failures_[static_cast<std::size_t>(rank)];
  }

  [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_seq_cst); }

  // Keeps the first failure; later ones are its consequences.
  void fail(int rank, std::string_view reason) noexcept {
    {
      const sync::lock_guard lock(mutex_);
      if (!failed_.load(std::memory_order_relaxed)) {
        first_rank_ = rank;
        try {
          first_reason_ = reason;
          at_failure_ = flights_.snapshot();
        } catch (...) {
          if (first_reason_.size() != reason.size()) first_reason_.clear();
        }
        at_failure_.failed = rank;
        failed_.store(true, std::memory_order_seq_cst);
      }
    }
    condition_.notify_all();
  }

  // Throws as rank `rank`, which is in `operation`. Only after `failed()`.
  [[noreturn]] void throw_peer_failed(int rank, std::string_view operation) {
    const sync::lock_guard lock(mutex_);
    const int first = first_rank_;
    throw peer_failed(concat("rank ", rank, " in ", operation, ": rank ", first,
                             " failed first: ", first_reason_),
                      rank, first);
  }

  // The last calls of all ranks when the first one failed, or now if none did.
  [[nodiscard]] flight_snapshot flights() {
    const std::lock_guard lock(mutex_);
    return first_rank_ < 0 ? flights_.snapshot() : at_failure_;
  }

  // The words of the rank that failed first.
  [[nodiscard]] std::string first_reason() {
    const sync::lock_guard lock(mutex_);
    return first_reason_;
  }

  // The rank that failed first, -1 if none did.
  [[nodiscard]] int first_failed() noexcept {
    const sync::lock_guard lock(mutex_);
    return first_rank_;
  }

  // Wakes whoever sleeps. Follows each change that a peer may wait for; that change and the
  // load here are sequentially consistent, as are their counterparts in `wait`, so one of the
  // two sides sees the other. Who looked before the change and sleeps after the notification
  // learns of it from the count.
  void notify() noexcept {
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      {
        const sync::lock_guard lock(mutex_);
        ++wakes_;
      }
      condition_.notify_all();
    }
  }

  // Returns true once `ready()`, false when the world failed or the patience ended before.
  template <class Ready>
  [[nodiscard]] bool wait(patience& left, const Ready& ready) {
    for (int i = 0; i < spins_; ++i) {
      if (ready()) return true;
      sync::pause();
    }
    for (int i = 0; i < sync::yields; ++i) {
      if (ready()) return true;
      if (failed()) return ready();
      sync::yield();
    }
    left.start();
    for (;;) {
      {
        const sleeper counted(sleepers_);
        const std::uint64_t seen = wakes();
        if (ready()) return true;
        sync::unique_lock lock(mutex_);
        if (wakes_ == seen && !failed()) condition_.wait_for(lock, nap);
      }
      if (ready()) return true;
      if (failed() || patience::clock::now() > left.end) return ready();
    }
  }

 private:
  struct sleeper {
    explicit sleeper(sync::atomic<int>& count) noexcept : count_(count) {
      count_.fetch_add(1, std::memory_order_seq_cst);
    }
    sleeper(const sleeper&) = delete;
    sleeper& operator=(const sleeper&) = delete;
    ~sleeper() { count_.fetch_sub(1, std::memory_order_seq_cst); }
    sync::atomic<int>& count_;
  };

  [[nodiscard]] std::uint64_t wakes() {
    const sync::lock_guard lock(mutex_);
    return wakes_;
  }

  // How soon a sleeper sees a deadline.
  static constexpr std::chrono::microseconds nap{500};

  int spins_;
  int ranks_;
  std::unique_ptr<activity[]> activities_;
  sync::atomic<std::uint64_t> groups_{0};
  sync::atomic<bool> failed_{false};
  sync::atomic<int> sleepers_{0};
  sync::mutex mutex_;
  sync::condition_variable condition_;
  sync::plain<std::uint64_t> wakes_ = 0;  // notifications of sleepers
  sync::plain<int> first_rank_ = -1;
  std::string first_reason_;
  std::vector<std::string> stream_failures_;
  flight_recorder flights_;
  flight_snapshot at_failure_;
};

}  // namespace rondel::detail
