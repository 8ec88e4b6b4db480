#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/core/seconds.hpp>

#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace rondel {

/// A communicator without the capabilities of the inner one, so that every collective takes
/// its generic form over `batch`. For tests and comparisons of the two.
template <communicator C>
class send_recv_only {
 public:
  /// Device type.
  using device_type = typename C::device_type;
  /// Batch type.
  using batch_type = typename C::batch_type;

  /// Wraps `inner`.
  explicit send_recv_only(C inner) : inner_(std::move(inner)) {}

  /// @name The base of a communicator; see the concept.
  /// @{

  /// This rank.
  [[nodiscard]] int rank() const noexcept { return inner_.rank(); }
  /// Number of ranks.
  [[nodiscard]] int size() const noexcept { return inner_.size(); }
  /// Whose memory travels.
  [[nodiscard]] device_type& device() noexcept { return inner_.device(); }
  /// How long a call may wait for its peers.
  [[nodiscard]] seconds timeout() const noexcept { return inner_.timeout(); }
  /// Sets it for the calls that follow.
  void set_timeout(seconds t) { inner_.set_timeout(t); }
  /// Fails the world with `reason`.
  void abort(std::string_view reason) noexcept { inner_.abort(reason); }
  /// Opens an operation.
  void begin(stream_of<C>& s, const operation& op) { inner_.begin(s, op); }
  /// Closes it.
  void end() noexcept { inner_.end(); }
  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_of<C>& s) { return inner_.batch(s); }
  /// Gathers host bytes of all ranks.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    inner_.exchange_host(mine, all);
  }
  /// The ranks of one color, wrapped.
  [[nodiscard]] std::optional<send_recv_only> split(int color, int key) {
    auto part = inner_.split(color, key);
    if (!part) return std::nullopt;
    return send_recv_only(std::move(*part));
  }
  /// The same ranks once more, wrapped.
  [[nodiscard]] send_recv_only duplicate() { return send_recv_only(inner_.duplicate()); }
  /// @}

 private:
  C inner_;
};

}  // namespace rondel
