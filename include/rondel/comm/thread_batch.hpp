#pragma once
#include <rondel/comm/thread_call.hpp>
#include <rondel/core/device_span.hpp>
#include <rondel/device/concepts.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace rondel {

template <device Device>
class thread_communicator;

/// The sends and receives of a `thread_communicator`. See the concept `message_batch`.
template <device Device>
class thread_batch {
 public:
  /// Made by `thread_communicator::batch`.
  thread_batch(thread_communicator<Device>& owner, typename Device::stream_type& stream) noexcept
      : owner_(&owner), stream_(&stream) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    // The receiver only reads it; one type serves both directions.
    auto* data = const_cast<std::byte*>(bytes.data());  // NOLINT
    sends_.push_back({owner_->checked_peer(peer), data, bytes.size()});
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    recvs_.push_back({owner_->checked_peer(peer), bytes.data(), bytes.size()});
  }
  /// Queues the batch.
  void submit() {
    if (sends_.empty() && recvs_.empty()) return;
    owner_->submit(*stream_, std::move(sends_), std::move(recvs_));
  }

 private:
  thread_communicator<Device>* owner_;
  typename Device::stream_type* stream_;
  std::vector<detail::thread_message> sends_, recvs_;
};

}  // namespace rondel
