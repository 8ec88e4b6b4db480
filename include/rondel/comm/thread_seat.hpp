#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/comm/thread_call.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace rondel::detail {

// What a rank shows at a meeting: what it calls, and where its memory lies.
struct thread_card {
  operation op;
  const void* in = nullptr;
  void* out = nullptr;
  block_view blocks{};
};

// Where a rank shows its cards and, with them, input that is small enough to be copied: peers
// then need not look at the rank's own memory, so it need not wait until they have.
//
// Turns take the two places by turns. Who comes to a turn is done with the one before, so when
// all have come nobody looks any more at the place of the next.
class thread_seat {
 public:
  // Bytes of input that are copied rather than shown.
  static constexpr std::size_t copied_bytes = 4096;

  struct place {
    sync::atomic<std::uint64_t> turn{0};  // since which the card is valid
    sync::plain<thread_card> card;
    alignas(64) std::array<std::byte, copied_bytes> copied;

    // Takes the cache lines back from those who read them last, for `bytes` of the next input.
    void prefetch(std::size_t bytes) noexcept {
      __builtin_prefetch(&turn, 1);
      for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(&copied[i], 1);
    }
  };

  [[nodiscard]] place& of(std::uint64_t turn) noexcept { return places_[turn % 2]; }
  [[nodiscard]] const place& of(std::uint64_t turn) const noexcept { return places_[turn % 2]; }

  alignas(128) sync::atomic<std::uint64_t> departed{0};

 private:
  alignas(128) std::array<place, 2> places_;
};

// The input of a call. `largest` is the size of the largest rank's, which all ranks must agree on
// without asking: they compute it from what `matches` compares.
struct thread_input {
  static constexpr std::size_t not_agreed = SIZE_MAX;

  thread_input() = default;
  // Throws `invalid_argument` if `bytes` is more than `most`: the places of copies have room for
  // that only.
  thread_input(const void* from, std::size_t bytes, std::size_t most = not_agreed)
      : data(from), size(bytes), largest(most) {
    if (bytes > most) throw_too_large(bytes, most);
  }

  const void* data = nullptr;
  std::size_t size = 0;
  std::size_t largest = not_agreed;

  // Whether it is shown as a copy, so that nobody looks at the rank's own memory.
  [[nodiscard]] bool is_copied() const noexcept { return largest <= thread_seat::copied_bytes; }

 private:
  [[noreturn]] static void throw_too_large(std::size_t bytes, std::size_t most) {
    throw invalid_argument(
        concat("an input of ", bytes, " B, where no rank's has more than ", most, " B"));
  }
};

// `count` elements, at most `largest` on any rank.
template <class T>
[[nodiscard]] thread_input input_of(const T* data, std::size_t count, std::size_t largest) {
  const bool agreed = largest <= SIZE_MAX / sizeof(T);
  return {data, count * sizeof(T), agreed ? largest * sizeof(T) : thread_input::not_agreed};
}

// What the ranks show, as `reduce_in_order` asks for it.
template <class T, class Peers>
[[nodiscard]] auto inputs_of(const Peers& peers) {
  return [&peers](int r) { return static_cast<const T*>(peers(r).in); };
}

}  // namespace rondel::detail
