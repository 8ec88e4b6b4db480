#pragma once
#include <rondel/comm/block_view.hpp>
#include <rondel/comm/rank_call.hpp>
#include <rondel/core/sync.hpp>

#include <cstddef>
#include <cstdint>

namespace rondel::detail {

using thread_call = rank_call;

// One message of a batch.
struct thread_message {
  int peer = 0;
  std::byte* data = nullptr;  // read only where it is sent
  std::size_t size = 0;
  std::uint64_t index = 0;  // of its channel, once posted
  enum class state : std::uint8_t { waiting, posted, done } progress = state::waiting;
};

// Brings a message from its sender's memory to its receiver's.
struct carry_on_host {
  void operator()(void* to, const void* from, std::size_t size, int) const noexcept {
    sync::copy(to, from, size);
  }
};

}  // namespace rondel::detail
