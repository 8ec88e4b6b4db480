#pragma once
#include <rondel/comm/failure_channel.hpp>
#include <rondel/comm/nccl_check.hpp>
#include <rondel/comm/thread_world.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/device/cuda_check.hpp>
#include <rondel/device/cuda_wait.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace rondel {
namespace detail {

// How many calls each rank of a communicator has made, where one process sees that: who waits can
// then tell a rank that is late from one that has left.
struct nccl_roll {
  nccl_roll(std::uint64_t n, std::vector<int> r, flight_recorder& recorder)
      : number(n),
        ranks(std::move(r)),
        flights(recorder.open(number, ranks)),
        places(std::make_unique<place[]>(ranks.size())),
        sent(std::make_unique<counter[]>(ranks.size() * ranks.size())),
        received(std::make_unique<counter[]>(ranks.size() * ranks.size())) {}

  using counter = sync::atomic<std::uint64_t>;
  // A rank leaves by its own will, or because an exception took its communicator away, which who
  // handles that exception may yet explain.
  enum class presence : std::uint8_t { here, left, unwound };
  struct alignas(64) place {
    counter collectives{0};
    sync::atomic<presence> left{presence::here};
  };

  [[nodiscard]] std::size_t pair(int from, int to) const noexcept {
    return static_cast<std::size_t>(from) * ranks.size() + static_cast<std::size_t>(to);
  }
  // Whether `peer` has yet to make a call that `rank` has made and needs it for.
  [[nodiscard]] bool behind(int peer, int rank) const noexcept {
    constexpr auto order = std::memory_order_seq_cst;
    const auto at = [&](int r) -> const place& { return places[static_cast<std::size_t>(r)]; };
    return at(peer).collectives.load(order) < at(rank).collectives.load(order) ||
           sent[pair(peer, rank)].load(order) < received[pair(peer, rank)].load(order) ||
           received[pair(rank, peer)].load(order) < sent[pair(rank, peer)].load(order);
  }

  std::uint64_t number;
  std::vector<int> ranks;  // as those of the world
  std::shared_ptr<flight_group> flights;
  std::unique_ptr<place[]> places;
  std::unique_ptr<counter[]> sent, received;  // by the sender, and by the receiver
};

// What is known in this process of the ranks of a world.
class nccl_shared final : public failure_channel {
 public:
  nccl_shared(int ranks, std::size_t records) : world_(ranks, records) {}

  void announce(int rank, std::string_view reason) noexcept override { world_.fail(rank, reason); }
  [[nodiscard]] std::optional<rank_failure> announced() override {
    if (!world_.failed()) return std::nullopt;
    return rank_failure{world_.first_failed(), world_.first_reason()};
  }

  [[nodiscard]] thread_world& world() noexcept { return world_; }

  // The roll of a communicator: part `color` of split number `split` of communicator `parent`.
  [[nodiscard]] std::shared_ptr<nccl_roll> open(std::uint64_t parent, std::uint64_t split,
                                                int color, const std::vector<int>& ranks) {
    const std::lock_guard lock(mutex_);
    std::erase_if(rolls_, [](const auto& one) { return one.second.expired(); });
    auto& known = rolls_[{parent, split, color}];
    auto roll = known.lock();
    if (roll == nullptr) {
      roll = std::make_shared<nccl_roll>(world_.next_group(), ranks, world_.recorder());
      known = roll;
    }
    return roll;
  }

 private:
  thread_world world_;
  std::mutex mutex_;
  std::map<std::tuple<std::uint64_t, std::uint64_t, int>, std::weak_ptr<nccl_roll>> rolls_;
};

// A communicator as its world sees it. Streams that have its operations ask it while the host
// waits.
class nccl_entry : public stream_watcher {
 public:
  // The communicator is about to be aborted: what it has queued will not be right.
  virtual void spoil() noexcept = 0;

  ncclComm_t handle = nullptr;
  bool owned = true;
};

// A captured step, whose graph keeps NCCL from ending a communicator.
class nccl_graph {
 public:
  explicit nccl_graph(cudaGraphExec_t graph) noexcept : graph_(graph) {}
  nccl_graph(const nccl_graph&) = delete;
  nccl_graph& operator=(const nccl_graph&) = delete;
  ~nccl_graph() { destroy(); }

  void destroy() noexcept {
    const cudaGraphExec_t graph = std::exchange(graph_, nullptr);
    if (graph != nullptr && cudaGraphExecDestroy(graph) != cudaSuccess) (void)cudaGetLastError();
  }
  [[nodiscard]] cudaGraphExec_t get() const noexcept { return graph_; }

 private:
  cudaGraphExec_t graph_;
};

// All communicators of one rank that come from one bootstrap, and what their failure needs.
//
// NCCL takes one call at a time, of all communicators of a device; `calls` is held during each.
// An abort may come while nobody is in a call, so who holds the lock and finds the world failed
// aborts before it lets go, and who finds it taken leaves that to the holder.
class nccl_world {
 public:
  // How long an abort may take before it is left alone.
  static constexpr seconds abort_patience{2};

  nccl_world(std::shared_ptr<nccl_shared> known, bool sees_all,
             std::shared_ptr<failure_channel> channel, int own_rank, int device)
      : shared(std::move(known)),
        sees_all_ranks(sees_all),
        rank(own_rank),
        ordinal(device),
        channel_(std::move(channel)) {}
  nccl_world(const nccl_world&) = delete;
  nccl_world& operator=(const nccl_world&) = delete;
  ~nccl_world() { abort_all(); }

  [[nodiscard]] thread_world& state() noexcept { return shared->world(); }

  // Whether a rank has failed, as far as is known here.
  [[nodiscard]] bool failed() {
    if (state().failed()) return true;
    if (channel_ == nullptr) return false;
    const auto first = channel_->announced();
    if (!first) return false;
    state().fail(first->rank, first->reason);
    return true;
  }
  void fail(std::string_view reason) noexcept {
    const bool first = !state().failed();
    state().fail(rank, reason);
    if (first && channel_ != nullptr) channel_->announce(rank, reason);
  }
  [[noreturn]] void throw_failed(std::string_view operation) {
    state().throw_peer_failed(rank, operation);
  }

  void enroll(std::shared_ptr<nccl_entry> entry) {
    const std::lock_guard lock(calls);
    entries_.push_back(std::move(entry));
  }
  void remove(const nccl_entry* entry) {
    std::erase_if(entries_, [&](const auto& one) { return one.get() == entry; });
  }
  [[nodiscard]] const std::vector<std::shared_ptr<nccl_entry>>& entries() const noexcept {
    return entries_;
  }

  void keep(const std::shared_ptr<nccl_graph>& graph) {
    const std::lock_guard lock(calls);
    std::erase_if(graphs_, [](const auto& one) { return one.expired(); });
    graphs_.push_back(graph);
  }
  [[nodiscard]] bool has_graphs() const noexcept {
    return std::any_of(graphs_.begin(), graphs_.end(), [](const auto& one) {
      const auto graph = one.lock();
      return graph != nullptr && graph->get() != nullptr;
    });
  }

  // Ends all communicators without asking the peers, unless a call is under way.
  void abort_all() noexcept {
    const std::unique_lock lock(calls, std::try_to_lock);
    if (lock.owns_lock()) abort_locked();
  }
  // The same for who holds `calls`. Graphs go first: an abort waits for them.
  void abort_locked() noexcept {
    for (const auto& one : graphs_) {
      if (const auto graph = one.lock()) graph->destroy();
    }
    std::vector<ncclComm_t> handles;
    for (const auto& one : entries_) {
      one->spoil();
      const ncclComm_t handle = std::exchange(one->handle, nullptr);
      if (handle == nullptr || !one->owned) continue;
      try {
        handles.push_back(handle);
      } catch (...) {
        (void)ncclCommAbort(handle);
      }
    }
    if (!handles.empty()) abort_apart(std::move(handles), entries_, ordinal);
  }

  std::shared_ptr<nccl_shared> shared;
  bool sees_all_ranks;
  int rank, ordinal;
  std::mutex calls;

 private:
  // Aborts on a thread of its own, with the device that NCCL expects, in the order in which the
  // communicators were made. NCCL may wait there for ranks that never abort; then the thread, and
  // what operations that do not end may use, is left to it.
  static void abort_apart(std::vector<ncclComm_t> handles,
                          std::vector<std::shared_ptr<nccl_entry>> used, int device) noexcept {
    struct progress {
      std::mutex mutex;
      std::condition_variable changed;
      bool done = false;
      std::vector<std::shared_ptr<nccl_entry>> used;
    };
    try {
      const auto run = std::make_shared<progress>();
      run->used = std::move(used);
      std::thread([run, device, list = std::move(handles)] {
        if (cudaSetDevice(device) != cudaSuccess) (void)cudaGetLastError();
        for (const ncclComm_t handle : list) (void)ncclCommAbort(handle);
        const std::lock_guard lock(run->mutex);
        run->done = true;
        run->changed.notify_all();
      }).detach();
      std::unique_lock lock(run->mutex);
      const std::chrono::duration<double> patience(abort_patience.value);
      if (run->changed.wait_for(lock, patience, [&] { return run->done; })) {
        used = std::move(run->used);  // ends here, not on that thread
      }
    } catch (...) {
      // Without a thread nothing may be risked that does not return: NCCL keeps what it has.
    }
  }

  std::shared_ptr<failure_channel> channel_;
  std::vector<std::shared_ptr<nccl_entry>> entries_;  // in the order in which they were made
  std::vector<std::weak_ptr<nccl_graph>> graphs_;
};

}  // namespace detail

/// What ranks that are threads of one process share: one for all of them, as
/// `nccl_options::channel`. They then learn at once of a rank that failed or left, and errors name
/// it. Of each rank the last `flight_records` calls are kept.
[[nodiscard]] inline std::shared_ptr<failure_channel> make_thread_channel(
    int ranks, std::size_t flight_records = 32) {
  if (ranks < 1)
    throw invalid_argument(concat("a world of ", ranks, " ranks: at least 1 expected"));
  return std::make_shared<detail::nccl_shared>(ranks, flight_records);
}

}  // namespace rondel
