#pragma once
#include <rondel/comm/concepts.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// The batch of a wrapped communicator: passes on what its owner lets through.
template <class Owner, message_batch Inner>
class wrapped_batch {
 public:
  /// Made by `forwarding_communicator::batch`.
  wrapped_batch(Owner& owner, Inner inner) : owner_(&owner), inner_(std::move(inner)) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    if (!owner_->takes_part()) return;
    inner_.send(peer, bytes);
    messages_.push_back({peer, bytes.size(), true});
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    if (!owner_->takes_part()) return;
    inner_.recv(peer, bytes);
    messages_.push_back({peer, bytes.size(), false});
  }
  /// Queues the batch.
  void submit() {
    if (!owner_->takes_part()) return;
    inner_.submit();
    for (const message& m : messages_) {
      if (m.sent) {
        owner_->sends(m.peer, m.bytes);
      } else {
        owner_->receives(m.peer, m.bytes);
      }
    }
  }

 private:
  struct message {
    int peer;
    std::size_t bytes;
    bool sent;
  };

  Owner* owner_;
  Inner inner_;
  std::vector<message> messages_;
};

/// Base of communicators that pass on to another one: the base of the concept `communicator`,
/// and none of the inner one's capabilities, which `communicator_wrapper` adds.
///
/// `Derived` may hide these hooks, which do nothing by default:
/// - `before(stream, operation)`, `after()`: at begin and end of an operation.
/// - `takes_part()`: false lets this rank stay away from the operation.
/// - `sends(peer, bytes)`, `receives(peer, bytes)`: a message.
///
/// `Derived::rewrap(inner)` wraps the result of a split or duplicate.
template <class Derived, communicator C>
class forwarding_communicator {
 public:
  /// Device type.
  using device_type = typename C::device_type;
  /// Stream type.
  using stream_type = stream_of<C>;
  /// Batch type.
  using batch_type = wrapped_batch<Derived, typename C::batch_type>;

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
  /// From here on this rank tells nobody when it is gone, where the inner communicator can.
  void vanish() noexcept {
    if constexpr (requires { inner_.vanish(); }) inner_.vanish();
  }
  /// Opens an operation.
  void begin(stream_type& s, const operation& op) {
    inner_.begin(s, op);
    try {
      self().before(s, op);
    } catch (...) {
      inner_.end();
      throw;
    }
  }
  /// Closes it.
  void end() noexcept {
    self().after();
    inner_.end();
  }
  /// An empty batch.
  [[nodiscard]] batch_type batch(stream_type& s) { return {self(), inner_.batch(s)}; }
  /// Gathers host bytes of all ranks.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    inner_.exchange_host(mine, all);
  }
  /// The ranks of one color, wrapped.
  [[nodiscard]] std::optional<Derived> split(int color, int key) {
    auto part = inner_.split(color, key);
    if (!part) return std::nullopt;
    return self().rewrap(std::move(*part));
  }
  /// The same ranks once more, wrapped.
  [[nodiscard]] Derived duplicate() { return self().rewrap(inner_.duplicate()); }
  /// @}

  /// @name Hooks; see the class.
  /// @{

  /// At the begin of an operation.
  void before(stream_type&, const operation&) {}
  /// At its end.
  void after() noexcept {}
  /// Whether this rank takes part in the operation.
  [[nodiscard]] bool takes_part() const noexcept {
    if constexpr (requires { inner_.takes_part(); }) {
      return inner_.takes_part();
    } else {
      return true;
    }
  }
  /// A message sent.
  void sends(int, std::size_t) {}
  /// A message received.
  void receives(int, std::size_t) {}
  /// @}

  /// The wrapped communicator.
  [[nodiscard]] C& inner() noexcept { return inner_; }

 protected:
  /// Wraps `inner`.
  explicit forwarding_communicator(C inner) : inner_(std::move(inner)) {}
  forwarding_communicator(forwarding_communicator&&) noexcept = default;
  forwarding_communicator& operator=(forwarding_communicator&&) noexcept = default;
  ~forwarding_communicator() = default;

  /// The object itself.
  [[nodiscard]] Derived& self() noexcept { return static_cast<Derived&>(*this); }

 private:
  C inner_;
};

}  // namespace rondel
