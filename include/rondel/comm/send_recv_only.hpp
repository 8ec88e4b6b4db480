#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/forwarding.hpp>

#include <utility>

namespace rondel {

/// A communicator without the capabilities of the inner one, so that every collective takes
/// its generic form over `batch`. For tests and comparisons of the two.
template <communicator C>
class send_recv_only : public forwarding_communicator<send_recv_only<C>, C> {
 public:
  /// Wraps `inner`.
  explicit send_recv_only(C inner)
      : forwarding_communicator<send_recv_only<C>, C>(std::move(inner)) {}

  /// Wraps a part of this communicator.
  [[nodiscard]] send_recv_only rewrap(C inner) const { return send_recv_only(std::move(inner)); }
};

}  // namespace rondel
