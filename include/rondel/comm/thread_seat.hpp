#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/comm/thread_call.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/sync.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rondel::detail {

// What a rank shows at a meeting: what it calls, and where its memory lies.
struct thread_card {
  operation op;
  const void* in = nullptr;
  void* out = nullptr;
  block_view blocks{};
};

// The input of a call. `largest` is the size of the largest rank's, which all ranks must agree on
// without asking: they compute it from what `matches` compares.
struct thread_input {
  static constexpr std::size_t not_agreed = SIZE_MAX;
  // Bytes of input that are copied rather than shown.
  static constexpr std::size_t copied_bytes = 4096;

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
  std::size_t own_begin = 0, own_end = 0;  // bytes that no peer reads

  // The same where no peer reads the block of `rank`, in elements of `width` bytes.
  template <class Blocks>
  [[nodiscard]] thread_input for_peers_of(int rank, const Blocks& blocks, std::size_t width) const {
    thread_input out = *this;
    out.own_begin = std::min(size, blocks.offset(rank) * width);
    out.own_end = std::min(size, out.own_begin + blocks.size(rank) * width);
    return out;
  }

  // Whether it is shown as a copy, so that nobody looks at the rank's own memory.
  [[nodiscard]] bool is_copied() const noexcept { return largest <= copied_bytes; }

 private:
  [[noreturn]] static void throw_too_large(std::size_t bytes, std::size_t most) {
    throw invalid_argument(
        concat("an input of ", bytes, " B, where no rank's has more than ", most, " B"));
  }
};

// Where a rank shows its cards and, with them, input that is small enough to be copied: peers
// then need not look at the rank's own memory, so it need not wait until they have.
//
// Turns take the two places by turns. Who comes to a turn is done with the one before, so when
// all have come nobody looks any more at the place of the next.
class thread_seat {
 public:
  struct place {
    sync::atomic<std::uint64_t> turn{0};  // since which the card is valid
    sync::plain<thread_card> card;
    alignas(64) std::array<std::byte, thread_input::copied_bytes> copied;

    // Copies what peers read of `in`.
    void copy(const thread_input& in) noexcept {
      if (in.own_begin != 0) std::memcpy(copied.data(), in.data, in.own_begin);
      if (in.own_end == in.size) return;
      std::memcpy(copied.data() + in.own_end, static_cast<const std::byte*>(in.data) + in.own_end,
                  in.size - in.own_end);
    }

    // Takes the cache lines back from those who read them last, for a next input like `in`; not
    // that of `turn`, at which peers may look already.
    void prefetch(const thread_input& in) noexcept {
      for (std::size_t i = 0; i < in.own_begin; i += 64) __builtin_prefetch(&copied[i], 1);
      for (std::size_t i = in.own_end; i < in.size; i += 64) __builtin_prefetch(&copied[i], 1);
    }
  };

  [[nodiscard]] place& of(std::uint64_t turn) noexcept { return places_[turn % 2]; }
  [[nodiscard]] const place& of(std::uint64_t turn) const noexcept { return places_[turn % 2]; }

  alignas(128) sync::atomic<std::uint64_t> departed{0};

 private:
  alignas(128) std::array<place, 2> places_;
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
