#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/comm/thread_world.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace rondel::detail {

// One operation as the thread engine runs it: whose, on which side, which of its calls.
struct thread_call {
  int rank = 0;       // in the group
  bool host = false;  // of the rank's host, or of its streams
  operation op;
  std::uint64_t sequence = 0;
  patience left{};
};

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

// Another rank's block sizes, of whatever type it has.
class block_view {
 public:
  block_view() = default;
  // The first condition keeps the second from asking about this class itself.
  template <class Blocks>
  requires(!std::same_as<Blocks, block_view> &&
           block_sizes<Blocks>) explicit block_view(const Blocks& blocks) noexcept
      : blocks_(&blocks),
        size_([](const void* b, int i) { return static_cast<const Blocks*>(b)->size(i); }),
        offset_([](const void* b, int i) { return static_cast<const Blocks*>(b)->offset(i); }) {}

  [[nodiscard]] std::size_t size(int i) const { return size_(blocks_, i); }
  [[nodiscard]] std::size_t offset(int i) const { return offset_(blocks_, i); }

 private:
  const void* blocks_ = nullptr;
  std::size_t (*size_)(const void*, int) = nullptr;
  std::size_t (*offset_)(const void*, int) = nullptr;
};

}  // namespace rondel::detail
