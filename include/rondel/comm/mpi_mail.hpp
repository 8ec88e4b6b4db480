#pragma once
#include <rondel/comm/mpi_api.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel::detail {

// How far a rank is gone from a group.
enum class mpi_presence : std::uint8_t { present, left, unwound };

// What a rank says that it is in; no words if it does not answer.
struct mpi_answer {
  std::string words;
  std::uint64_t on_stream = 0, on_host = 0;  // see rank_activity
};

// What ranks tell each other beside their data. Small enough that MPI sends it without waiting for
// the receiver.
struct mpi_notice {
  enum class kind_type : std::int32_t { failed, asks, answers, left, closes };

  kind_type kind = kind_type::failed;
  std::int32_t from = 0;     // who says it
  std::int32_t about = 0;    // the rank that failed first
  std::int32_t unwound = 0;  // whether an exception took away the communicator that was left
  std::uint64_t world = 0;   // first group of the world it belongs to: contexts are used again
  std::uint64_t group = 0;   // that was left
  std::uint64_t on_stream = 0, on_host = 0;  // what an answer's sender is in, see rank_activity
  std::uint32_t length = 0;
  std::array<char, 972> text{};

  void say(std::string_view words) noexcept {
    length = static_cast<std::uint32_t>(std::min(words.size(), text.size()));
    std::memcpy(text.data(), words.data(), length);
  }
  [[nodiscard]] std::string words() const {
    return {text.data(), std::min<std::size_t>(length, text.size())};
  }
};
static_assert(sizeof(mpi_notice) == 1024 && std::is_trivially_copyable_v<mpi_notice>);

// The control lane of a rank: one receive that is always posted, and the notices under way. Every
// member may be called by any thread that may call MPI.
class mpi_mail {
 public:
  mpi_mail(MPI_Comm comm, int rank, int ranks) : comm_(comm), rank_(rank), ranks_(ranks) { post(); }
  mpi_mail(const mpi_mail&) = delete;
  mpi_mail& operator=(const mpi_mail&) = delete;

  // Takes the receive back. What cannot be ended keeps its memory for as long as the process lives.
  ~mpi_mail() {
    const mpi_section section;
    if (!section || mpi_is_finalized()) {
      abandon();
      return;
    }
    MPI_Cancel(&request_);
    for (int i = 0; i < 1000 && request_ != MPI_REQUEST_NULL; ++i) {
      int done = 0;
      if (MPI_Test(&request_, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) break;
    }
    reap();
    abandon();
  }

  // Sends `notice` to rank `to`, or to all others if that is -1. Errors are ignored: a peer that
  // cannot be told is found missing by its absence.
  void send(const mpi_notice& notice, int to = -1) {
    const std::lock_guard lock(mutex_);
    const mpi_section section;
    if (!section) return;
    auto out = std::make_shared<sent>();
    out->notice = notice;
    for (int r = 0; r < ranks_; ++r) {
      if (r == rank_ || (to >= 0 && r != to)) continue;
      MPI_Request request = MPI_REQUEST_NULL;
      if (MPI_Isend(&out->notice, sizeof(mpi_notice), MPI_BYTE, r, 0, comm_, &request) ==
          MPI_SUCCESS) {
        out->requests.push_back(request);
      }
    }
    sent_.push_back(std::move(out));
  }

  // Calls `take(notice)` for what has come. Does nothing where another thread is at it.
  template <class Take>
  void poll(const Take& take) {
    for (;;) {
      mpi_notice got;
      {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock) return;
        const mpi_section section;
        if (!section) return;
        if (!sent_.empty()) reap();
        int done = 0;
        if (request_ == MPI_REQUEST_NULL ||
            MPI_Test(&request_, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done == 0) {
          return;
        }
        got = *incoming_;
        post();
      }
      take(got);
    }
  }

  // Whether all notices are out that get out at all.
  [[nodiscard]] bool empty() {
    const std::lock_guard lock(mutex_);
    const mpi_section section;
    if (!section) return true;
    reap();
    return sent_.empty();
  }

 private:
  struct sent {
    mpi_notice notice;
    std::vector<MPI_Request> requests;
  };

  void post() {
    check_mpi(MPI_Irecv(incoming_.get(), sizeof(mpi_notice), MPI_BYTE, MPI_ANY_SOURCE, 0, comm_,
                        &request_),
              "MPI_Irecv", rank_);
  }

  void reap() noexcept {
    const auto out = [](const std::shared_ptr<sent>& s) {
      int done = 0;
      return MPI_Testall(static_cast<int>(s->requests.size()), s->requests.data(), &done,
                         MPI_STATUSES_IGNORE) != MPI_SUCCESS ||
             done != 0;
    };
    sent_.erase(std::remove_if(sent_.begin(), sent_.end(), out), sent_.end());
  }

  void abandon() {
    if (request_ != MPI_REQUEST_NULL) keep_for_mpi(incoming_);
    for (auto& s : sent_) keep_for_mpi(std::move(s));
    sent_.clear();
  }

  MPI_Comm comm_;
  int rank_, ranks_;
  std::mutex mutex_;
  std::shared_ptr<mpi_notice> incoming_ = std::make_shared<mpi_notice>();
  MPI_Request request_ = MPI_REQUEST_NULL;
  std::vector<std::shared_ptr<sent>> sent_;
};

}  // namespace rondel::detail
