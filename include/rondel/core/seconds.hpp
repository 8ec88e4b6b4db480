#pragma once
#include <compare>

namespace rondel {

/// A duration in seconds. Stands in interfaces, where `<chrono>` would cost every includer a
/// third of a second.
struct seconds {
  /// The number of seconds.
  double value = 0;

  friend constexpr auto operator<=>(const seconds&, const seconds&) = default;
};

}  // namespace rondel
