#pragma once
#include <rondel/comm/nccl_group.hpp>
#include <rondel/comm/nccl_member.hpp>
#include <rondel/core/device_span.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <nccl.h>

namespace rondel {

/// The sends and receives of an `nccl_communicator`, one NCCL group. See the concept
/// `message_batch`. A message without bytes travels as one byte of the communicator's own, because
/// NCCL's do not wait for each other.
template <device Device>
class nccl_batch {
 public:
  /// Made by `nccl_communicator::batch`.
  nccl_batch(std::shared_ptr<detail::nccl_member<Device>> member,
             typename Device::stream_type& stream) noexcept
      : member_(std::move(member)), stream_(&stream) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    // One type serves both directions; a send only reads.
    add({peer, const_cast<std::byte*>(bytes.data()), bytes.size(), true});  // NOLINT
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    add({peer, bytes.data(), bytes.size(), false});
  }
  /// Queues the batch.
  void submit() {
    if (messages_.empty()) return;
    detail::nccl_member<Device>& m = *member_;
    std::size_t out = 0, in = 0;
    int to = -1, from = -1;
    for (const message& one : messages_) {
      const auto pair = one.sent ? m.roll->pair(m.rank, one.peer) : m.roll->pair(one.peer, m.rank);
      (one.sent ? m.roll->sent : m.roll->received)[pair].fetch_add(1);
      (one.sent ? out : in) += one.size;
      int& peer = one.sent ? to : from;
      peer = peer == -1 ? one.peer : -2;
    }
    if (!is_collective(m.now.op.kind)) m.now.flight.messages(to, from, in);
    m.issue(*stream_, {.bytes_read = out, .bytes_written = in}, "ncclGroupEnd",
            [&](ncclComm_t comm, cudaStream_t stream) {
              nccl_group group;
              for (const message& one : messages_) group.add(queue(one, comm, stream));
              return group.end();
            });
  }

 private:
  struct message {
    int peer;
    std::byte* data;
    std::size_t size;
    bool sent;
  };

  void add(const message& one) {
    const int size = member_->size();
    if (one.peer < 0 || one.peer >= size) {
      throw invalid_argument(concat("message of rank ", member_->rank, ": peer ", one.peer,
                                    " is not a rank of a communicator of ", size));
    }
    messages_.push_back(one);
  }

  [[nodiscard]] ncclResult_t queue(const message& one, ncclComm_t comm, cudaStream_t stream) const {
    std::byte* const empty = member_->scratch.span().data() + (one.sent ? sent_at : received_at);
    void* const data = one.size == 0 ? empty : one.data;
    const std::size_t size = one.size == 0 ? 1 : one.size;
    return one.sent ? ncclSend(data, size, ncclUint8, one.peer, comm, stream)
                    : ncclRecv(data, size, ncclUint8, one.peer, comm, stream);
  }

  static constexpr std::size_t sent_at = 64, received_at = 128;

  std::shared_ptr<detail::nccl_member<Device>> member_;
  typename Device::stream_type* stream_;
  std::vector<message> messages_;
};

}  // namespace rondel
