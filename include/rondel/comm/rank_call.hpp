#pragma once
#include <rondel/comm/patience.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>
#include <rondel/core/text.hpp>

#include <cstdint>
#include <string>

namespace rondel::detail {

// One operation as an engine runs it: whose, on which side, which of its calls.
struct rank_call {
  int rank = 0;       // in the group
  bool host = false;  // of the rank's host, or of its streams
  operation op;
  std::uint64_t sequence = 0;
  patience left{};
};

// What a rank is in and what it did last; for messages only. The host and the streams of a rank
// may each be in a call.
struct alignas(64) rank_activity {
  sync::atomic<std::uint64_t> stream{0}, host{0}, last{0};
  sync::atomic<bool> silent{false};

  // A call as a word, never 0: 8 bit kind, 16 communicator, 40 sequence.
  [[nodiscard]] static std::uint64_t pack(std::uint64_t communicator,
                                          const rank_call& call) noexcept {
    return (static_cast<std::uint64_t>(call.op.kind) << 56) | ((communicator & 0xffffU) << 40) |
           sequence_of(call.sequence);
  }

  void enter(std::uint64_t word, bool on_host) noexcept {
    sync::atomic<std::uint64_t>& side = on_host ? host : stream;
    side.store(word, std::memory_order_relaxed);
  }
  void leave(std::uint64_t word, bool on_host) noexcept {
    enter(0, on_host);
    // The host may be ahead of the streams, whose calls are then not the last.
    const std::uint64_t before = last.load(std::memory_order_relaxed);
    if (communicator_of(before) != communicator_of(word) ||
        sequence_of(before) < sequence_of(word)) {
      last.store(word, std::memory_order_relaxed);
    }
  }

  // What the rank is in, or did last.
  [[nodiscard]] std::string text() const {
    const std::uint64_t on_stream = stream.load(std::memory_order_relaxed);
    const std::uint64_t on_host = host.load(std::memory_order_relaxed);
    if (on_stream != 0 || on_host != 0) {
      return concat("it waits in ", on_stream != 0 ? name(on_stream) : "",
                    on_stream != 0 && on_host != 0 ? " and " : "",
                    on_host != 0 ? name(on_host) : "");
    }
    const std::uint64_t before = last.load(std::memory_order_relaxed);
    return before == 0 ? "it has called nothing yet" : concat("its last call was ", name(before));
  }

 private:
  [[nodiscard]] static std::uint64_t communicator_of(std::uint64_t word) noexcept {
    return (word >> 40) & 0xffffU;
  }
  [[nodiscard]] static std::uint64_t sequence_of(std::uint64_t word) noexcept {
    return word & 0xff'ffff'ffffU;
  }
  [[nodiscard]] static std::string name(std::uint64_t word) {
    return concat(
        to_string(static_cast<operation_kind>(word >> 56)), " #", sequence_of(word),
        communicator_of(word) == 0 ? "" : concat(" of communicator ", communicator_of(word)));
  }
};

}  // namespace rondel::detail
