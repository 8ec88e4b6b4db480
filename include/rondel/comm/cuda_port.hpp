#pragma once
#include <rondel/comm/thread_group.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/device/cuda.hpp>

#include <cstddef>
#include <memory>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel::detail {

// A rank's events, by which its peers' streams wait for its own, and its side of their reach.
//
// One event of each kind will do, though operations follow each other: a rank records one again
// only after the hosts have met again, and by then every peer has issued its wait for the last.
class cuda_port {
 public:
  cuda_port(const cuda_device& device, int ranks)
      : ordinal_(device.ordinal()),
        pool_(device.pool()),
        ready_(device.make_event()),
        done_(device.make_event()),
        tail_(device.make_event()),
        met_(static_cast<std::size_t>(ranks)) {}

  [[nodiscard]] static cuda_port& of(const thread_group& group, int rank) noexcept {
    return *static_cast<cuda_port*>(group.port(rank));
  }

  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }
  // Whether kernels of `device` can use the memory of this port's rank; opens it to them.
  [[nodiscard]] bool open_to(int device) { return pool_->open_to(device); }

  // An operation begins on `stream`: after the one before it, and what the stream has queued is
  // what the peers may then touch.
  void begin(cudaStream_t stream) {
    wait(stream, tail_);
    record(ready_, stream);
  }
  // Everything of the operation is queued.
  void end(cudaStream_t stream) { record(tail_, stream); }

  // Lets `stream`, of this rank, wait until rank `peer` is ready.
  void await_ready(cudaStream_t stream, const thread_group& group, int peer) {
    met_[static_cast<std::size_t>(peer)] = true;
    wait(stream, of(group, peer).ready_);
  }
  // Lets it wait until `peer` is done with this rank's memory.
  void await_done(cudaStream_t stream, const thread_group& group, int peer) {
    met_[static_cast<std::size_t>(peer)] = true;
    wait(stream, of(group, peer).done_);
  }

  // A scope in which this rank queues work on its peers' memory. It ends by `done`, for whose
  // record the peers' streams wait; or by an exception, and then when that work has run, because
  // what they could wait for may be what has failed.
  class use {
   public:
    use(cuda_port& port, cudaStream_t stream, seconds most) noexcept
        : port_(port), stream_(stream), most_(most) {}
    use(const use&) = delete;
    use& operator=(const use&) = delete;
    ~use() {
      if (!done_) poll([this] { return cudaStreamQuery(stream_); }, most_);
    }
    void done() {
      record(port_.done_, stream_);
      done_ = true;
    }

   private:
    cuda_port& port_;
    cudaStream_t stream_;
    seconds most_;
    bool done_ = false;
  };

  // Blocks until no stream of a peer uses this rank's memory any more: before a rank that gives
  // up takes it back. The world has failed, so nobody queues any more.
  void settle(const thread_group& group, seconds most) const noexcept {
    for (std::size_t r = 0; r < met_.size(); ++r) {
      if (!met_[r]) continue;
      const cudaEvent_t done = of(group, static_cast<int>(r)).done_.native();
      poll([done] { return cudaEventQuery(done); }, most);
    }
  }

 private:
  // Blocks while `query()` says "not ready". A kernel that never ends is not waited for longer
  // than a call waits for a peer.
  template <class Query>
  static void poll(const Query& query, seconds most) noexcept {
    patience left{most};
    left.start();
    while (query() == cudaErrorNotReady && patience::clock::now() < left.end) sync::yield();
    forget_not_ready();
  }
  static void wait(cudaStream_t stream, const cuda_event& event) {
    check_cuda(cudaStreamWaitEvent(stream, event.native(), 0), "cudaStreamWaitEvent");
  }
  static void record(const cuda_event& event, cudaStream_t stream) {
    check_cuda(cudaEventRecord(event.native(), stream), "cudaEventRecord");
  }

  int ordinal_;
  std::shared_ptr<cuda_pool> pool_;
  cuda_event ready_, done_, tail_;
  std::vector<bool> met_;  // who may hold addresses of this rank's memory
};

// Part of a launch that is under way, which counts for all of it: what kernels are launched on.
struct cuda_launch_part {
  cudaStream_t stream;
  int ordinal;

  template <class F>
  void launch(const work& w, F&& f) const {
    f(stream);
    check_cuda(cudaGetLastError(), w.name, ordinal);
  }
};

}  // namespace rondel::detail
