#pragma once
#include <rondel/comm/block_view.hpp>
#include <rondel/comm/rank_call.hpp>

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

}  // namespace rondel::detail
