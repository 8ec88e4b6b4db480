#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/core/source_location.hpp>

#include <cstdint>
#include <string>

namespace rondel {

/// What a rank does when its fault strikes.
enum class fault_action : std::uint8_t {
  /// Nothing.
  none,
  /// Comes `delay` late, on the stream of the operation.
  delay,
  /// Stays away from the operation, and goes on.
  drop,
  /// Throws `injected_fault`.
  fail,
  /// Throws `injected_death`: gone without a word to anybody.
  die,
};

/// A fault to happen: what, on which rank, at which of its operations.
struct fault_plan {
  /// What happens.
  fault_action action = fault_action::none;
  /// Rank of the first wrapped communicator at which it does.
  int rank = 0;
  /// Index of the operation, from 0, counted over all communicators split from the first.
  std::uint64_t operation = 0;
  /// How late a delayed rank comes.
  seconds delay{};
  /// Upper bound of a random delay of every operation of every rank, on its stream; 0 for none.
  seconds jitter{};
  /// Seed of the random delays.
  std::uint64_t seed = 0;
};

/// What `fault_action::fail` throws.
class injected_fault : public error {
 public:
  /// An injected fault with the sentence `message`.
  explicit injected_fault(const std::string& message,
                          source_location where = source_location::current())
      : error(message, where) {}
};

/// What `fault_action::die` throws. `run` does not tell the other ranks of it, so they see what
/// they would see of a process that is gone: nothing, until their deadline.
class injected_death : public error {
 public:
  /// An injected death with the sentence `message`.
  explicit injected_death(const std::string& message,
                          source_location where = source_location::current())
      : error(message, where) {}
};

}  // namespace rondel
