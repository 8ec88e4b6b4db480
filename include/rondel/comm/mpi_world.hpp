#pragma once
#include <rondel/comm/mpi_context.hpp>
#include <rondel/comm/mpi_mail.hpp>
#include <rondel/comm/rank_call.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace rondel::detail {

// This process's side of what all communicators of one world share: who failed first, who has
// left, and how to tell and to ask the others. Nothing here blocks inside MPI.
class mpi_world {
 public:
  // Made by `make_mpi_world`.
  mpi_world(std::shared_ptr<mpi_context> context, int rank, int ranks, int level,
            const mpi_options& options)
      : context_(std::move(context)),
        base_(context_->next_number),
        rank_(rank),
        ranks_(ranks),
        level_(level),
        message_limit_(options.message_limit),
        owner_(std::this_thread::get_id()),
        answers_(static_cast<std::size_t>(ranks)),
        closed_(static_cast<std::size_t>(ranks)),
        flights_(ranks, options.flight_records),
        mail_(context_->comm, rank, ranks) {
    void* bound = nullptr;
    int found = 0;
    check_mpi(MPI_Comm_get_attr(context_->comm, MPI_TAG_UB, &bound, &found), "MPI_Comm_get_attr",
              rank);
    if (found != 0) tag_bound_ = static_cast<std::uint64_t>(*static_cast<const int*>(bound));
  }
  mpi_world(const mpi_world&) = delete;
  mpi_world& operator=(const mpi_world&) = delete;
  ~mpi_world() {
    if (!ended_ && !failed()) flush({0.1});
    context_->in_use = false;
    context_->clean = ended_ && !failed();
  }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int ranks() const noexcept { return ranks_; }
  [[nodiscard]] MPI_Comm comm() const noexcept { return context_->comm; }
  [[nodiscard]] std::size_t message_limit() const noexcept { return message_limit_; }
  [[nodiscard]] rank_activity& doing() noexcept { return doing_; }
  [[nodiscard]] flight_recorder& recorder() noexcept { return flights_; }

  // Of the group of all ranks, and what to subtract from a group's number for a reader.
  [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
  [[nodiscard]] std::uint64_t next_number() const noexcept { return context_->next_number; }
  // Takes part in `group`, if that is not 0; all numbers below `next` have been given.
  void open(std::uint64_t group, std::uint64_t next) {
    const std::lock_guard lock(mutex_);
    context_->next_number = next;
    if (group != 0) open_.push_back(group);
  }

  // The tag of a lane of a group.
  [[nodiscard]] int tag(std::uint64_t group, int lane) const {
    const std::uint64_t tag = group * lanes + static_cast<std::uint64_t>(lane);
    if (tag > tag_bound_) {
      throw communication_error(concat("rank ", rank_, ": this MPI library has tags up to ",
                                       tag_bound_, ", which is enough for ", tag_bound_ / lanes,
                                       " communicators on one MPI_Comm, and all have been used"),
                                rank_);
    }
    return static_cast<int>(tag);
  }

  // Whether this thread may call MPI now.
  [[nodiscard]] bool may_call_mpi() const noexcept {
    return level_ == MPI_THREAD_MULTIPLE || std::this_thread::get_id() == owner_;
  }
  // Throws unless work may run on a stream's own thread.
  void check_worker(const char* what) const {
    if (level_ == MPI_THREAD_MULTIPLE) return;
    throw invalid_argument(concat("rank ", rank_, ": ", what,
                                  " on a worker stream needs MPI_THREAD_MULTIPLE, and this MPI was "
                                  "initialised with ",
                                  mpi_level_name(level_),
                                  ": ask for more, or use immediate streams"));
  }

  // Where ranks exceed cores, the one waited for needs the core.
  void set_neighbours(int ranks_here) noexcept {
    spins_ = static_cast<unsigned>(ranks_here) <= sync::thread::hardware_concurrency() ? 200 : 0;
  }
  void idle(unsigned looks) const noexcept {
    if (looks >= spins_) sync::yield();
  }
  // After how many looks in vain a wait polls the control lane.
  static constexpr unsigned looks_between_polls = 128;

  [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_acquire); }

  // Keeps the first failure that this rank hears of, and tells the others of its own.
  void fail(int rank, std::string_view reason) noexcept {
    if (!keep_failure(rank, reason)) return;
    if (doing_.silent.load(std::memory_order_relaxed)) return;
    try {
      mpi_notice notice = this->notice(mpi_notice::kind_type::failed);
      notice.about = rank;
      notice.say(reason);
      tell(notice);
      flush({0.1});
    } catch (...) {  // the others find out by their deadlines
    }
  }

  // Throws as rank `rank`, which is in `operation`. Only after `failed()`.
  [[noreturn]] void throw_peer_failed(int rank, std::string_view operation) {
    const std::lock_guard lock(mutex_);
    const int first = first_rank_;
    throw peer_failed(concat("rank ", rank, " in ", operation, ": rank ", first,
                             " failed first: ", first_reason_),
                      rank, first);
  }

  // Keeps the words of a stream that failed, for whoever finds that its work will not run.
  void note_stream_failure(int, std::string_view reason) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      if (stream_failure_.empty()) stream_failure_ = reason;
    } catch (...) {
      stream_failure_.clear();
    }
  }
  [[nodiscard]] std::string stream_failure(int) {
    const std::lock_guard lock(mutex_);
    return stream_failure_;
  }

  // This rank's last calls when it heard of the first failure, or now if it did not. Those of the
  // other ranks are not known here.
  [[nodiscard]] flight_snapshot flights() {
    const std::lock_guard lock(mutex_);
    return first_rank_ < 0 ? flights_.snapshot() : at_failure_;
  }

  // Lets notices in and out. Part of every wait.
  void poll() noexcept {
    if (!may_call_mpi()) return;
    try {
      std::vector<mpi_notice> out;
      if (has_unsent_.exchange(false)) {
        const std::lock_guard lock(mutex_);
        out.swap(unsent_);
      }
      for (const mpi_notice& n : out) mail_.send(n);
      mail_.poll([this](const mpi_notice& n) { take(n); });
    } catch (const std::exception& e) {
      (void)keep_failure(rank_, e.what());
    }
  }

  // Returns true once `ready()`, false when the world failed or the patience ended before.
  template <class Ready>
  [[nodiscard]] bool wait(patience& left, const Ready& ready) {
    for (unsigned looks = 1;; ++looks) {
      if (ready()) return true;
      idle(looks);
      if (looks % looks_between_polls != 0) continue;
      poll();
      if (failed()) return ready();
      left.start();
      if (patience::clock::now() > left.end) return ready();
    }
  }

  // This rank will make no more calls of the group.
  void leave(std::uint64_t group, const std::vector<int>& ranks, bool unwound) noexcept {
    if (failed() || ended_ || doing_.silent.load(std::memory_order_relaxed)) return;
    try {
      {
        const std::lock_guard lock(mutex_);
        if (std::erase(open_, group) == 0) return;
        std::erase_if(departures_, [&](const departure& d) { return d.group == group; });
      }
      mpi_notice notice = this->notice(mpi_notice::kind_type::left);
      notice.group = group;
      notice.unwound = unwound ? 1 : 0;
      for (const int r : ranks) {
        if (r != rank_ && may_call_mpi() && !mpi_is_finalized()) mail_.send(notice, r);
      }
    } catch (...) {  // the others find out by their deadlines
    }
  }
  [[nodiscard]] bool anybody_left() const noexcept {
    return anybody_left_.load(std::memory_order_acquire);
  }
  [[nodiscard]] mpi_presence presence(std::uint64_t group, int rank) {
    if (!anybody_left()) return mpi_presence::present;
    const std::lock_guard lock(mutex_);
    for (const departure& d : departures_) {
      if (d.group == group && d.rank == rank) return d.how;
    }
    return mpi_presence::present;
  }

  // Asks all others what they are in, saying what this rank waits in. Their answers within a
  // moment, in the order of the ranks; empty of those that do not answer.
  [[nodiscard]] std::vector<mpi_answer> ask(std::string_view waits_in) {
    mpi_notice question = notice(mpi_notice::kind_type::asks);
    question.say(waits_in);
    tell(question);
    patience grace{{0.3}};
    const auto all_answered = [&] {
      const std::lock_guard lock(mutex_);
      int answered = 0;
      for (const mpi_answer& a : answers_) answered += a.words.empty() ? 0 : 1;
      return answered >= ranks_ - 1;
    };
    (void)wait(grace, all_answered);
    const std::lock_guard lock(mutex_);
    return answers_;
  }

  // Ends the world: waits until all ranks do, so that nothing of it is under way.
  void close(seconds timeout) {
    if (ended_) return;
    constexpr const char* what = "the end of the world";
    if (failed()) throw_peer_failed(rank_, what);
    tell(notice(mpi_notice::kind_type::closes));
    patience left{timeout};
    const auto all_close = [&] {
      if (!mail_.empty()) return false;
      const std::lock_guard lock(mutex_);
      return std::count(closed_.begin(), closed_.end(), true) >= ranks_ - 1;
    };
    if (!wait(left, all_close)) {
      if (failed()) throw_peer_failed(rank_, what);
      const std::vector<mpi_answer> known = ask(what);
      std::string missing;
      for (int r = 0; r < ranks_; ++r) {
        const auto i = static_cast<std::size_t>(r);
        const std::lock_guard lock(mutex_);
        if (r == rank_ || closed_[i]) continue;
        missing += concat(missing.empty() ? "rank " : "; rank ", r, " has not come to it: ",
                          known[i].words.empty() ? "it does not answer" : known[i].words);
      }
      const std::string text =
          concat("rank ", rank_, " in ", what, " waited ", timeout.value, " s: ", missing);
      fail(rank_, text);
      throw timed_out(text, rank_);
    }
    ended_ = true;
  }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  static constexpr std::uint64_t lanes = 4;

  struct departure {
    std::uint64_t group;
    int rank;
    mpi_presence how;
  };

  [[nodiscard]] mpi_notice notice(mpi_notice::kind_type kind) const noexcept {
    mpi_notice out;
    out.kind = kind;
    out.from = rank_;
    out.world = base_;
    return out;
  }

  // Sends `notice` to all others, or leaves that to a thread that may call MPI.
  void tell(const mpi_notice& notice) {
    if (may_call_mpi()) {
      if (!mpi_is_finalized()) mail_.send(notice);
      return;
    }
    const std::lock_guard lock(mutex_);
    unsent_.push_back(notice);
    has_unsent_.store(true);
  }

  // Gives the notices under way a moment to get out: who fails may never call MPI again.
  void flush(seconds at_most) {
    if (!may_call_mpi() || mpi_is_finalized()) return;
    patience left{at_most};
    left.start();
    while (!mail_.empty() && patience::clock::now() < left.end) sync::yield();
  }

  [[nodiscard]] bool keep_failure(int rank, std::string_view reason) noexcept {
    const std::lock_guard lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) return false;
    first_rank_ = rank;
    try {
      first_reason_ = reason;
      at_failure_ = flights_.snapshot();
    } catch (...) {
      if (first_reason_.size() != reason.size()) first_reason_.clear();
    }
    at_failure_.failed = rank;
    mpi_world_has_failed().store(true);
    failed_.store(true, std::memory_order_release);
    return true;
  }

  void take(const mpi_notice& n) {
    using kind = mpi_notice::kind_type;
    if (n.world != base_ || n.from < 0 || n.from >= ranks_) return;
    const auto from = static_cast<std::size_t>(n.from);
    switch (n.kind) {
      case kind::failed:
        (void)keep_failure(n.about, n.words());
        return;
      case kind::asks: {
        mpi_notice answer = notice(kind::answers);
        answer.on_stream = doing_.stream.load(std::memory_order_relaxed);
        answer.on_host = doing_.host.load(std::memory_order_relaxed);
        answer.say(doing_.text());
        mail_.send(answer, n.from);
        return;
      }
      case kind::answers: {
        const std::lock_guard lock(mutex_);
        answers_[from] = {n.words(), n.on_stream, n.on_host};
        return;
      }
      case kind::left: {
        const std::lock_guard lock(mutex_);
        // A peer may make and leave a group before this rank has made it.
        if (n.group < context_->next_number &&
            std::find(open_.begin(), open_.end(), n.group) == open_.end()) {
          return;
        }
        departures_.push_back(
            {n.group, n.from, n.unwound != 0 ? mpi_presence::unwound : mpi_presence::left});
        anybody_left_.store(true, std::memory_order_release);
        return;
      }
      case kind::closes: {
        const std::lock_guard lock(mutex_);
        closed_[from] = true;
        return;
      }
    }
  }

  std::shared_ptr<mpi_context> context_;
  std::uint64_t base_;
  int rank_, ranks_, level_;
  std::size_t message_limit_;
  std::thread::id owner_;
  std::uint64_t tag_bound_ = 32767;
  unsigned spins_ = 0;
  bool ended_ = false;
  rank_activity doing_;
  std::atomic<bool> failed_{false}, anybody_left_{false}, has_unsent_{false};
  std::mutex mutex_;  // of all that follows but the last two
  int first_rank_ = -1;
  std::string first_reason_, stream_failure_;
  flight_snapshot at_failure_;
  std::vector<std::uint64_t> open_;  // groups of this rank
  std::vector<departure> departures_;
  std::vector<mpi_answer> answers_;
  std::vector<bool> closed_;
  std::vector<mpi_notice> unsent_;
  flight_recorder flights_;
  mpi_mail mail_;
};

}  // namespace rondel::detail
