#pragma once
// Programs of collectives, messages and splits as values: what every rank calls, on what, and in
// which order.
#include <rondel/core/dtype.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/device/host.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace programs {

using rondel::dtype;
using rondel::operation_kind;

// A number that any two calls with the same arguments agree on, and no other two.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t a, std::uint64_t b = 0,
                                            std::uint64_t c = 0) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15U + b * 0xd1b54a32d192ed03U + c * 0x8cb92ba72f3d8dd7U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

enum class combiner : std::uint8_t {
  sum,
  mean,
  max,
  min,
  user_min,       // a function object of the user's, without a name
  ordered_sum,    // in rank order, of values whose sum depends on it
  ordered_mean,   //
  ordered_first,  // not commutative
};

[[nodiscard]] constexpr bool in_order(combiner c) { return c >= combiner::ordered_sum; }

enum class cut : std::uint8_t { even, balanced, uneven };

// How the communicator of a slot is made: the engine's own collectives or messages only, bare or
// under a ledger and the checked mode.
enum class form : std::uint8_t { fast, generic, checked, checked_generic };

[[nodiscard]] constexpr const char* to_string(form f) {
  constexpr const char* names[] = {"fast", "generic", "checked", "checked generic"};
  return names[static_cast<std::size_t>(f)];
}

// What a step is, where `operation_kind` says too little.
enum class special : std::uint8_t {
  none,
  one_message,  // of `send_recv`: from one rank to another, `send` against `recv`
  batch,        // of `send_recv`: many messages at once, between any ranks, to itself too
  duplicate,    // of `split`
  join,         // of `none`: a stream takes over what another one has
  idle,         // of `none`: nothing at all
  no_slot,      // of what is called instead of a split: the slot stays empty
};

// One call of every rank of a communicator, or one piece of local work.
struct step {
  operation_kind kind = operation_kind::none;
  special what = special::none;
  int slot = 0;    // the communicator: the step applies to each of a split's parts
  int stream = 0;  // where it runs
  int other = 0;   // of a join: the stream that is taken over; of a ring pass: the link
  dtype type = dtype::f32;
  combiner op = combiner::sum;
  cut blocks = cut::even;
  std::size_t count = 0;  // elements: of a buffer, or the scale of a block
  int root = 0;           // modulo the size of the communicator
  bool in_place = false;
  bool chained = false;  // of i32: its input begins with what the stream's register holds, which
                         // then takes over its result
  bool backward = false, home = false;  // of a ring pass
  std::uint64_t seed = 0;               // of values, sizes and partners
  std::vector<int> colors{}, keys{};    // of a split, by rank of the world
  double jitter = 0;                    // longest delay in seconds, on a rank's host or stream
};

// What befalls one rank before it makes the call of one step.
enum class fault : std::uint8_t {
  none,
  fails,     // throws
  leaves,    // returns, and its communicators with it
  vanishes,  // is gone without a word
  stays,     // keeps all and never comes
  differs,   // calls another step instead
};

[[nodiscard]] constexpr const char* to_string(fault f) {
  constexpr const char* names[] = {"none", "fails", "leaves", "vanishes", "stays", "differs"};
  return names[static_cast<std::size_t>(f)];
}

struct program {
  int ranks = 1;
  rondel::stream_mode mode = rondel::stream_mode::immediate;
  int streams = 1;
  std::vector<form> forms{form::fast};  // slots 0, 1, ...: duplicates of the world
  std::vector<step> steps{};            // a split opens the next slot

  fault what = fault::none;
  int faulty_rank = 0;
  std::size_t faulty_step = 0;
  step instead{};         // of `differs`
  bool gathered = false;  // all ranks come together, beside the library, before the fault
  double timeout = 60;    // of a call; of those that come after the fault, if gathered
};

// The registers that chained steps read and write: one of each stream, of this many i32.
inline constexpr std::size_t register_size = 512;

template <class F>
decltype(auto) with_type(dtype type, F&& f) {
  switch (type) {
    case dtype::f64:
      return f(std::type_identity<double>{});
    case dtype::f32:
      return f(std::type_identity<float>{});
    case dtype::bf16:
      return f(std::type_identity<rondel::bfloat16>{});
    case dtype::f16:
      return f(std::type_identity<rondel::float16>{});
    case dtype::i64:
      return f(std::type_identity<std::int64_t>{});
    case dtype::i32:
      return f(std::type_identity<std::int32_t>{});
    default:
      return f(std::type_identity<std::uint8_t>{});
  }
}

[[nodiscard]] std::string describe(const step& s);
[[nodiscard]] std::string describe(const program& p);

}  // namespace programs
