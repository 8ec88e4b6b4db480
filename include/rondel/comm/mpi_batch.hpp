#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/device/concepts.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace rondel {

template <device Device>
class mpi_communicator;

namespace detail {

// One message of a batch.
struct mpi_message {
  int peer = 0;
  bool incoming = false;
  std::byte* data = nullptr;  // read only where it is sent
  std::size_t size = 0;
};

}  // namespace detail

/// The sends and receives of an `mpi_communicator`. See the concept `message_batch`.
template <device Device>
class mpi_batch {
 public:
  /// Made by `mpi_communicator::batch`.
  mpi_batch(mpi_communicator<Device>& owner, typename Device::stream_type& stream) noexcept
      : owner_(&owner), stream_(&stream) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    // MPI takes the memory of both directions through one type.
    auto* data = const_cast<std::byte*>(bytes.data());  // NOLINT
    add({owner_->checked_peer(peer), false, data, bytes.size()});
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    add({owner_->checked_peer(peer), true, bytes.data(), bytes.size()});
  }
  /// Queues the batch.
  void submit() {
    if (!messages_.empty()) owner_->submit(*stream_, std::move(messages_));
  }

 private:
  void add(const detail::mpi_message& m) {
    if (messages_.empty()) messages_.reserve(2);  // a message each way is what most have
    messages_.push_back(m);
  }

  mpi_communicator<Device>* owner_;
  typename Device::stream_type* stream_;
  std::vector<detail::mpi_message> messages_;
};

}  // namespace rondel
