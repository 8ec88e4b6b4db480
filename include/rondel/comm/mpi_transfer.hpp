#pragma once
#include <rondel/comm/mpi_world.hpp>
#include <rondel/comm/rank_call.hpp>
#include <rondel/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace rondel::detail {

// Memory of a communicator for what arrives before it is reduced. Grows to what its largest call
// needs.
class mpi_scratch {
 public:
  [[nodiscard]] std::byte* reserve(std::size_t bytes) {
    if (bytes > size_) {
      const std::size_t room = std::max(bytes, 2 * size_);
      data_ = {static_cast<std::byte*>(::operator new(room, alignment)),
               [](std::byte* p) { ::operator delete(p, alignment); }};
      size_ = room;
    }
    return data_.get();
  }
  [[nodiscard]] const std::shared_ptr<std::byte>& data() const noexcept { return data_; }

 private:
  static constexpr std::align_val_t alignment{64};
  std::shared_ptr<std::byte> data_;
  std::size_t size_ = 0;
};

// The messages under way of one call of a communicator, and the wait for them: a loop that looks
// for their ends, for the world's failure, for peers that have left and at the clock. One thread
// at a time uses it. Steady state allocates nothing.
class mpi_transfer {
 public:
  explicit mpi_transfer(mpi_world& world) noexcept : world_(&world) {}
  mpi_transfer(const mpi_transfer&) = delete;
  mpi_transfer& operator=(const mpi_transfer&) = delete;

  [[nodiscard]] mpi_scratch& scratch() noexcept { return scratch_; }
  [[nodiscard]] mpi_world& world() const noexcept { return *world_; }

  // What follows belongs to `call` of the group `group`, whose ranks in the world are `ranks`.
  void begin(rank_call& call, std::uint64_t group, const std::vector<int>& ranks) noexcept {
    call_ = &call;
    group_ = group;
    ranks_ = &ranks;
  }

  // Starts a message with rank `peer` of the group. `note` comes back when it is through.
  void send(int peer, int tag, const void* data, std::size_t size, std::uint64_t note = 0) {
    // MPI takes the memory of both directions through one type.
    post(false, peer, tag, const_cast<void*>(data), size, note);  // NOLINT
  }
  void recv(int peer, int tag, void* data, std::size_t size, std::uint64_t note = 0) {
    post(true, peer, tag, data, size, note);
  }

  // Returns when all messages are through, those included that `through(note)` starts, which is
  // called for each that is.
  template <class Through>
  void finish(const Through& through) {
    for (unsigned in_vain = 0; pending_ > 0;) {
      look_often(in_vain, through);
      if (pending_ > 0) watch();
    }
    clear();
  }
  void finish() {
    finish([](std::uint64_t) {});
  }

  // After a failure: takes receives back, so that nobody writes to memory that its owner takes
  // back, and gives sends a moment to end. If MPI does not let go of all of them, this process
  // calls it no more.
  void abandon() noexcept {
    if (pending_ > 0 && !mpi_is_finalized() && world_->may_call_mpi() && !end_all()) {
      mpi_section::shut();
      if (scratch_.data() != nullptr) {
        try {
          keep_for_mpi(scratch_.data());
        } catch (...) {  // without memory there is nothing better to do
        }
        scratch_ = {};
      }
    }
    clear();
  }

 private:
  struct message {
    int peer = 0;
    bool incoming = false;
    bool cancelled = false;
    std::size_t size = 0;
    std::uint64_t note = 0;
  };

  void post(bool incoming, int peer, int tag, void* data, std::size_t size, std::uint64_t note) {
    const mpi_section section;
    check_mpi_open(section, world_->rank());
    auto* at = static_cast<std::byte*>(data);
    for (std::size_t left = size;;) {
      const std::size_t part = std::min(left, world_->message_limit());
      const std::size_t i = place();
      const int count = static_cast<int>(part);
      const int to = (*ranks_)[static_cast<std::size_t>(peer)];
      const int code = incoming
                           ? MPI_Irecv(at, count, MPI_BYTE, to, tag, world_->comm(), &requests_[i])
                           : MPI_Isend(at, count, MPI_BYTE, to, tag, world_->comm(), &requests_[i]);
      check_mpi(code, incoming ? "MPI_Irecv" : "MPI_Isend", world_->rank());
      messages_[i] = {peer, incoming, false, part, note};
      ++pending_;
      left -= part;
      if (left == 0) return;
      at += part;
    }
  }

  [[nodiscard]] std::size_t place() {
    if (!free_.empty()) {
      const std::size_t i = free_.back();
      free_.pop_back();
      return i;
    }
    requests_.push_back(MPI_REQUEST_NULL);
    messages_.emplace_back();
    if (indices_.size() < requests_.size()) {
      indices_.resize(requests_.size());
      statuses_.resize(requests_.size());
    }
    return requests_.size() - 1;
  }

  void clear() noexcept {
    requests_.clear();
    messages_.clear();
    free_.clear();
    notes_.clear();
    pending_ = 0;
    gone_ = {};
  }

  [[nodiscard]] int test_some(int& count) noexcept {
    return MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                        indices_.data(), statuses_.data());
  }

  // Whether all requests ended within a moment.
  [[nodiscard]] bool end_all() noexcept {
    patience moment{{0.1}};
    moment.start();
    for (bool cancelled = false;; cancelled = true) {
      const mpi_section section;
      if (!section) return false;
      for (std::size_t i = 0; !cancelled && i < requests_.size(); ++i) {
        if (requests_[i] != MPI_REQUEST_NULL && messages_[i].incoming && !messages_[i].cancelled) {
          MPI_Cancel(&requests_[i]);
        }
      }
      int count = 0;
      (void)test_some(count);
      if (std::all_of(requests_.begin(), requests_.end(),
                      [](MPI_Request r) { return r == MPI_REQUEST_NULL; })) {
        return true;
      }
      if (patience::clock::now() > moment.end) return false;
      sync::yield();
    }
  }

  // Looks until all is through, or it is time to watch. `in_vain` counts the looks since the last
  // message that came through.
  template <class Through>
  void look_often(unsigned& in_vain, const Through& through) {
    const mpi_section section;
    if (!section && world_->failed()) world_->throw_peer_failed(world_->rank(), describe());
    check_mpi_open(section, world_->rank());
    for (unsigned i = 0; i < mpi_world::looks_between_polls && pending_ > 0; ++i) {
      if (look(through)) {
        in_vain = 0;
      } else {
        world_->idle(++in_vain);
      }
    }
  }

  // Whether a message came through.
  template <class Through>
  [[nodiscard]] bool look(const Through& through) {
    int count = 0;
    const int code = test_some(count);
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
      check_mpi(code, "MPI_Testsome", world_->rank());
    }
    if (count <= 0) return false;
    pending_ -= static_cast<std::size_t>(count);
    for (int k = 0; k < count; ++k) {
      const auto i = static_cast<std::size_t>(indices_[static_cast<std::size_t>(k)]);
      check(messages_[i], statuses_[static_cast<std::size_t>(k)], code == MPI_ERR_IN_STATUS);
      free_.push_back(i);
    }
    // `through` may start more, so it is called when the look is over.
    for (int k = 0; k < count; ++k) {
      const auto i = static_cast<std::size_t>(indices_[static_cast<std::size_t>(k)]);
      notes_.push_back(messages_[i].note);
    }
    for (const std::uint64_t note : notes_) through(note);
    notes_.clear();
    return true;
  }

  void check(const message& m, const MPI_Status& status, bool has_error) {
    const int sender = world_rank(m.peer);
    const auto mismatch = [&](const std::string& sent) {
      return mismatched_operation(
          concat("rank ", world_->rank(), " in ", describe(), ": rank ", sender, " sends ", sent,
                 " where ", m.size, " B are expected"),
          world_->rank());
    };
    if (has_error && status.MPI_ERROR != MPI_SUCCESS) {
      int kind = MPI_SUCCESS;
      MPI_Error_class(status.MPI_ERROR, &kind);
      if (kind == MPI_ERR_TRUNCATE) throw mismatch("more");
      throw communication_error(concat("rank ", world_->rank(), " in ", describe(), ": ",
                                       m.incoming ? "receive from" : "send to", " rank ", sender,
                                       ": ", mpi_error_text(status.MPI_ERROR)),
                                world_->rank());
    }
    if (!m.incoming) return;
    if (m.cancelled) {
      int cancelled = 0;
      MPI_Test_cancelled(&status, &cancelled);
      if (cancelled != 0) throw_gone(m.peer);
    }
    int got = 0;
    MPI_Get_count(&status, MPI_BYTE, &got);
    if (static_cast<std::size_t>(got) != m.size) throw mismatch(concat(got, " B"));
  }

  // What a wait looks at besides its messages.
  void watch() {
    world_->poll();
    rank_call& call = *call_;
    if (world_->failed()) world_->throw_peer_failed(world_->rank(), describe());
    call.left.start();
    const auto now = patience::clock::now();
    if (world_->anybody_left()) look_for_gone(now);
    if (now > call.left.end) throw_timed_out();
  }

  // A peer that has left sends nothing any more. What it sent before has been matched by now, so
  // that a receive from it that can be taken back waits in vain; a moment is for late arrivals, and
  // for the words of a rank that an exception took away.
  void look_for_gone(patience::clock::time_point now) {
    using presence = mpi_presence;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      message& m = messages_[i];
      if (requests_[i] == MPI_REQUEST_NULL || m.cancelled) continue;
      if (world_->presence(group_, world_rank(m.peer)) == presence::present) continue;
      if (gone_ == patience::clock::time_point{}) gone_ = now;
      const double since = std::chrono::duration<double>(now - gone_).count();
      if (since < 0.1) continue;
      if (!m.incoming) throw_gone(m.peer);
      MPI_Cancel(&requests_[i]);
      m.cancelled = true;
    }
  }

  [[noreturn]] void throw_gone(int peer) {
    const int gone = world_rank(peer);
    if (world_->failed()) world_->throw_peer_failed(world_->rank(), describe());
    const bool unwound = world_->presence(group_, gone) == mpi_presence::unwound;
    world_->fail(gone, unwound ? "an exception has taken its communicator away"
                               : "it has left the communicator");
    throw peer_failed(concat("rank ", world_->rank(), " in ", describe(), ": rank ", gone,
                             " has left the communicator"),
                      world_->rank(), gone);
  }

  [[noreturn]] void throw_timed_out() {
    std::string waited_for = missing();
    const std::vector<mpi_answer> known = world_->ask(concat(describe(), ": ", waited_for));
    if (world_->failed()) world_->throw_peer_failed(world_->rank(), describe());
    if (is_collective(call_->op.kind)) waited_for = absent(known, std::move(waited_for));
    std::string all;
    for (int r = 0; r < world_->ranks(); ++r) {
      if (r == world_->rank()) continue;
      const std::string& words = known[static_cast<std::size_t>(r)].words;
      const bool left = world_->presence(group_, r) != mpi_presence::present;
      all += concat("; rank ", r, ": ",
                    left            ? "it has left"
                    : words.empty() ? "it does not answer"
                                    : words);
    }
    throw timed_out(concat("rank ", world_->rank(), " in ", describe(), " waited ",
                           call_->left.timeout.value, " s: ", waited_for, all),
                    world_->rank());
  }

  // Whom or what the call waits for.
  [[nodiscard]] std::string missing() const {
    std::string out;
    const bool collective = is_collective(call_->op.kind);
    std::vector<int> named;
    for (const bool incoming : {true, false}) {
      for (std::size_t i = 0; i < requests_.size(); ++i) {
        const message& m = messages_[i];
        if (requests_[i] == MPI_REQUEST_NULL || m.incoming != incoming) continue;
        const int peer = world_rank(m.peer);
        if (!collective) {
          out += concat(out.empty() ? "" : ", ", incoming ? "receive of " : "send of ", m.size,
                        " B ", incoming ? "from" : "to", " rank ", peer);
        } else if (std::find(named.begin(), named.end(), peer) == named.end()) {
          named.push_back(peer);
          out += concat(out.empty() ? "" : ", ", "rank ", peer, " is missing");
        }
      }
    }
    return out;
  }

  // Who of the group does not say that it is in this call; `otherwise` if all do. A rank waits for
  // some peers only, which may wait for another one themselves.
  [[nodiscard]] std::string absent(const std::vector<mpi_answer>& known,
                                   std::string otherwise) const {
    const std::uint64_t word = rank_activity::pack(group_ - world_->base(), *call_);
    std::string out;
    for (const int r : *ranks_) {
      const mpi_answer& a = known[static_cast<std::size_t>(r)];
      if (r == world_->rank() || (call_->host ? a.on_host : a.on_stream) == word) continue;
      out += concat(out.empty() ? "" : ", ", "rank ", r, " is missing");
    }
    return out.empty() ? std::move(otherwise) : out;
  }

  [[nodiscard]] int world_rank(int peer) const noexcept {
    return (*ranks_)[static_cast<std::size_t>(peer)];
  }
  [[nodiscard]] std::string describe() const {
    return concat(to_string(call_->op), " #", call_->sequence);
  }

  mpi_world* world_;
  mpi_scratch scratch_;
  rank_call* call_ = nullptr;
  std::uint64_t group_ = 0;
  const std::vector<int>* ranks_ = nullptr;
  std::size_t pending_ = 0;
  std::vector<MPI_Request> requests_;  // null where `free_` says so
  std::vector<message> messages_;
  std::vector<std::size_t> free_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  std::vector<std::uint64_t> notes_;
  patience::clock::time_point gone_{};  // when a peer was first seen to have left
};

}  // namespace rondel::detail
