#pragma once
#include <rondel/comm/mpi_transfer.hpp>
#include <rondel/comm/mpi_world.hpp>
#include <rondel/comm/rank_call.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rondel::detail {

// The ranks of one communicator over MPI: a list, and a number that its messages carry in their
// tags. No two groups that share a rank share a number.
class mpi_group {
 public:
  // Messages of different lanes do not meet.
  enum lane : int { device = 0, host = 1, results = 2 };

  // `ranks[i]` is the rank in the world of rank `i` here. Takes its number from `world.open`.
  mpi_group(std::shared_ptr<mpi_world> world, std::uint64_t number, std::vector<int> ranks)
      : world_(std::move(world)),
        number_(number),
        ranks_(std::move(ranks)),
        flights_(world_->recorder().open(number - world_->base(), ranks_)) {
    (void)tag(results);  // throws if the numbers are used up
  }

  [[nodiscard]] int size() const noexcept { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] mpi_world& world() noexcept { return *world_; }
  [[nodiscard]] const std::shared_ptr<mpi_world>& shared_world() const noexcept { return world_; }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] const std::vector<int>& ranks() const noexcept { return ranks_; }
  [[nodiscard]] int world_rank(int rank) const noexcept {
    return ranks_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] int tag(lane l) const { return world_->tag(number_, l); }

  // Where `rank`, which must be this process's, records its calls.
  [[nodiscard]] flight_log log(int rank) { return world_->recorder().log(flights_, rank); }

  void leave(bool unwound) noexcept { world_->leave(number_, ranks_, unwound); }

  // Runs `body` as `call`; a failure of it is the world's.
  template <class Body>
  void run(const rank_call& call, const Body& body) {
    const std::uint64_t word = rank_activity::pack(number_ - world_->base(), call);
    world_->doing().enter(word, call.host);
    try {
      body();
    } catch (const std::exception& failure) {
      world_->fail(world_rank(call.rank), failure.what());
      throw;
    } catch (...) {
      world_->fail(world_rank(call.rank), "an exception that is no std::exception");
      throw;
    }
    world_->doing().leave(word, call.host);
  }

  // Throws what `call` ends with if the world has failed or ended.
  void check_world(const rank_call& call) const {
    if (world_->failed()) world_->throw_peer_failed(world_rank(call.rank), describe(call));
    if (world_->ended()) {
      throw invalid_argument(concat("rank ", world_rank(call.rank), " in ", describe(call),
                                    ": the world has been closed"));
    }
  }

  [[nodiscard]] static std::string describe(const rank_call& call) {
    return concat(to_string(call.op), " #", call.sequence);
  }

 private:
  std::shared_ptr<mpi_world> world_;
  std::uint64_t number_;
  std::vector<int> ranks_;
  std::shared_ptr<flight_group> flights_;
};

// One call while it runs: how it names its peers and starts its messages.
class mpi_run {
 public:
  mpi_run(mpi_group& group, rank_call& call, mpi_transfer& transfer)
      : group_(&group),
        call_(&call),
        transfer_(&transfer),
        tag_(group.tag(call.host ? mpi_group::host : mpi_group::device)),
        results_tag_(group.tag(mpi_group::results)) {
    transfer.begin(call, group.number(), group.ranks());
  }

  [[nodiscard]] int rank() const noexcept { return call_->rank; }
  [[nodiscard]] int size() const noexcept { return group_->size(); }
  // The rank `step` places on, for any step of at least `-size()`.
  [[nodiscard]] int at(int step) const noexcept { return (rank() + step + size()) % size(); }
  [[nodiscard]] mpi_transfer& transfer() const noexcept { return *transfer_; }
  [[nodiscard]] std::byte* scratch(std::size_t bytes) const {
    return transfer_->scratch().reserve(bytes);
  }
  // The most bytes that one MPI message carries.
  [[nodiscard]] std::size_t message_limit() const noexcept {
    return transfer_->world().message_limit();
  }

  void send(int peer, const void* data, std::size_t size, std::uint64_t note = 0) const {
    transfer_->send(peer, tag_, data, size, note);
  }
  void recv(int peer, void* data, std::size_t size, std::uint64_t note = 0) const {
    transfer_->recv(peer, tag_, data, size, note);
  }
  // Results travel beside the inputs, and are matched apart from them.
  void send_result(int peer, const void* data, std::size_t size, std::uint64_t note) const {
    transfer_->send(peer, results_tag_, data, size, note);
  }
  void recv_result(int peer, void* data, std::size_t size, std::uint64_t note) const {
    transfer_->recv(peer, results_tag_, data, size, note);
  }
  void finish() const { transfer_->finish(); }

 private:
  mpi_group* group_;
  rank_call* call_;
  mpi_transfer* transfer_;
  int tag_, results_tag_;
};

// Runs `body`. When it fails, the others are told first, and then memory is taken back from MPI.
template <class Body>
void take_back_on_failure(mpi_world& world, mpi_transfer& transfer, const Body& body) {
  try {
    body();
  } catch (const std::exception& failure) {
    world.fail(world.rank(), failure.what());
    transfer.abandon();
    throw;
  } catch (...) {
    world.fail(world.rank(), "an exception that is no std::exception");
    transfer.abandon();
    throw;
  }
}

// A rank's side of a communicator. Queued work shares it, so the communicator may be moved.
struct mpi_member {
  mpi_member(std::shared_ptr<mpi_group> g, int r, seconds t)
      : group(std::move(g)),
        rank(r),
        timeout(t),
        log(group->log(r)),
        on_streams(group->world()),
        on_host(group->world()) {
    current.rank = r;
  }
  mpi_member(const mpi_member&) = delete;
  mpi_member& operator=(const mpi_member&) = delete;
  ~mpi_member() { group->leave(unwound.load()); }

  // Runs `body(mpi_run)` as `call`.
  template <class Body>
  void run(rank_call& call, const Body& body) {
    mpi_transfer& transfer = call.host ? on_host : on_streams;
    take_back_on_failure(group->world(), transfer, [&] {
      group->check_world(call);
      body(mpi_run(*group, call, transfer));
    });
  }

  // Runs `body(mpi_run)` on this thread as a call of the hosts.
  template <class Body>
  void meet_hosts(const operation& op, const Body& body) {
    rank_call call{rank, true, op, ++calls, {timeout}};
    group->run(call, [&] {
      flight_call made = log.issue(op, calls, true);
      const flight_piece piece = made.piece();
      made.close();
      piece.start();
      run(call, body);
      piece.finish();
    });
  }

  std::shared_ptr<mpi_group> group;
  int rank;
  seconds timeout;
  flight_log log;
  flight_call flight;                    // of the current call
  rank_call current;                     // between begin and end
  mpi_transfer on_streams, on_host;      // the host may be in a call beside its streams
  std::atomic<bool> unwound{false};      // taken away by an exception
  std::uint64_t calls = 0;               // begun
  std::uint64_t tickets = 0;             // pieces of work queued
  std::atomic<std::uint64_t> served{0};  // pieces of work done
};

}  // namespace rondel::detail
