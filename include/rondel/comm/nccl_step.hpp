#pragma once
#include <rondel/comm/nccl.hpp>
#include <rondel/comm/nccl_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/cuda_check.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace rondel {

/// Work with collectives in it, captured once as a CUDA graph and launched as often as wished.
///
/// All ranks capture the same step, and launch it as often, in the same place among their other
/// operations. Memory, streams and communicators that the step uses must stay. NCCL waits for the
/// graph when it ends a communicator, so the graph is owned here, `close` refuses while a step
/// lives, and a world that fails destroys it first. NCCL discourages capture where one process has
/// several GPUs. Holds what CUDA needs for the graph.
template <device Device = cuda_device>
class nccl_step {
 public:
  /// Stream type.
  using stream_type = typename Device::stream_type;

  /// Captures what `step(stream)` queues on `stream`, and on streams that wait for its events and
  /// that it waits for in the end, with operations of `comm` and of communicators of the same
  /// world. Nothing runs. Throws what `step` throws, `peer_failed`, and `device_error` for what
  /// CUDA cannot capture, a wait of the host among it.
  template <std::invocable<stream_type&> Step>
  nccl_step(nccl_communicator<Device>& comm, stream_type& stream, Step&& step)
      : world_(comm.world_) {
    comm.member_->check_open("nccl_step");
    for (const auto& e : world_->entries()) member(e)->captures = 0;
    stream.launch({.name = "capture"}, [&](cudaStream_t s) {
      // Other threads, NCCL's among them, may do meanwhile what a capture forbids this one.
      detail::check_cuda(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal),
                         "cudaStreamBeginCapture");
    });
    std::exception_ptr thrown;
    try {
      std::forward<Step>(step)(stream);
    } catch (...) {
      thrown = std::current_exception();
    }
    const detail::device_guard guard(world_->ordinal);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream.native(), &graph);
    cudaGraphExec_t launchable = nullptr;
    cudaError_t made = cudaSuccess;
    if (ended == cudaSuccess && graph != nullptr) {
      if (thrown == nullptr) made = cudaGraphInstantiate(&launchable, graph, 0);
      (void)cudaGraphDestroy(graph);
    }
    if (thrown != nullptr) {
      (void)cudaGetLastError();
      std::rethrow_exception(thrown);
    }
    detail::check_cuda(ended, "cudaStreamEndCapture");
    detail::check_cuda(made, "cudaGraphInstantiate");
    graph_ = std::make_shared<detail::nccl_graph>(launchable);
    world_->keep(graph_);
    for (const auto& e : world_->entries()) {
      if (member(e)->captures != 0) used_.push_back({e, member(e)->first_captured});
    }
  }
  nccl_step(nccl_step&&) noexcept = default;
  nccl_step& operator=(nccl_step&&) = delete;
  ~nccl_step() {
    if (graph_ == nullptr) return;
    const std::lock_guard lock(world_->calls);
    graph_->destroy();
  }

  /// Queues the step on `stream`, behind all earlier operations of the communicators in it.
  /// Throws `peer_failed` if the world has failed, `device_error`.
  void launch(stream_type& stream) {
    for (const auto& one : used_) {
      member(one.entry)->check_open("nccl_step");
      member(one.entry)->order(stream);
      stream.watch(one.entry);
    }
    stream.launch({.name = "nccl_step"}, [&](cudaStream_t s) {
      const std::lock_guard lock(world_->calls);
      if (graph_->get() == nullptr) world_->throw_failed("nccl_step");
      detail::check_cuda(cudaGraphLaunch(graph_->get(), s), "cudaGraphLaunch");
    });
    for (const auto& one : used_) {
      member(one.entry)->mark_end(stream, one.first.first, one.first.second, flight_call().piece());
    }
  }

 private:
  struct use {
    std::shared_ptr<detail::nccl_entry> entry;
    std::pair<operation, std::uint64_t> first;  // operation, for the words of a failure
  };

  [[nodiscard]] static detail::nccl_member<Device>* member(
      const std::shared_ptr<detail::nccl_entry>& entry) noexcept {
    return static_cast<detail::nccl_member<Device>*>(entry.get());
  }

  std::shared_ptr<detail::nccl_world> world_;
  std::shared_ptr<detail::nccl_graph> graph_;
  std::vector<use> used_;
};

}  // namespace rondel
