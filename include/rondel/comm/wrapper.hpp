#pragma once
#include <rondel/comm/concepts.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace rondel {

/// The batch of a wrapped communicator: passes on what its owner lets through.
template <class Owner, message_batch Inner>
class wrapped_batch {
 public:
  /// Made by `communicator_wrapper::batch`.
  wrapped_batch(Owner& owner, Inner inner) : owner_(&owner), inner_(std::move(inner)) {}

  /// Adds a message to `peer`.
  void send(int peer, device_span<const std::byte> bytes) {
    if (!owner_->takes_part()) return;
    inner_.send(peer, bytes);
    owner_->sends(peer, bytes.size());
  }
  /// Adds a message from `peer`.
  void recv(int peer, device_span<std::byte> bytes) {
    if (!owner_->takes_part()) return;
    inner_.recv(peer, bytes);
    owner_->receives(peer, bytes.size());
  }
  /// Queues the batch.
  void submit() {
    if (owner_->takes_part()) inner_.submit();
  }

 private:
  Owner* owner_;
  Inner inner_;
};

/// Base of communicators that wrap another one and look at, or change, what passes. Offers
/// what the inner one offers. See the concept `communicator`.
///
/// `Derived` may hide these hooks, which do nothing by default:
/// - `before(stream, operation)`, `after()`: at begin and end of an operation.
/// - `takes_part()`: false lets this rank stay away from the operation.
/// - `sends(peer, bytes)`, `receives(peer, bytes)`: a message. A collective that the inner
///   communicator has of its own is told as what each pair of ranks exchanges when every rank
///   fetches what it needs from its owner.
///
/// `Derived::rewrap(inner)` wraps the result of a split or duplicate.
template <class Derived, communicator C>
class communicator_wrapper {
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
  /// Opens an operation.
  void begin(stream_type& s, const operation& op) {
    self().before(s, op);
    inner_.begin(s, op);
  }
  /// Closes it.
  void end() noexcept {
    inner_.end();
    self().after();
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
  [[nodiscard]] bool takes_part() const noexcept { return true; }
  /// A message sent.
  void sends(int, std::size_t) {}
  /// A message received.
  void receives(int, std::size_t) {}
  /// @}

  /// The wrapped communicator.
  [[nodiscard]] C& inner() noexcept { return inner_; }

  /// @name Capabilities of the inner communicator; see `comm/concepts.hpp`.
  /// @{

  /// Waits for all ranks, as the inner one does.
  void barrier(stream_type& s) requires has_barrier<C> {
    if (self().takes_part()) inner_.barrier(s);
  }

  /// Copies `x` of `root` to all, as the inner one does.
  template <class T>
  requires has_broadcast<C, T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    if (!self().takes_part()) return;
    inner_.broadcast(s, x, root);
    each_peer([&](int peer) {
      if (rank() == root) self().sends(peer, x.size_bytes());
      if (peer == root) self().receives(peer, x.size_bytes());
    });
  }

  /// Copies all ranks' `in` to `out` of `root`, as the inner one does.
  template <class T, class Blocks>
  requires has_gather<C, T, Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
              int root) {
    if (!self().takes_part()) return;
    inner_.gather(s, in, out, blocks, root);
    each_peer([&](int peer) {
      if (rank() == root) self().receives(peer, blocks.size(peer) * sizeof(T));
      if (peer == root) self().sends(peer, in.size_bytes());
    });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`, as the inner one does.
  template <class T, class Blocks>
  requires has_scatter<C, T, Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
               int root) {
    if (!self().takes_part()) return;
    inner_.scatter(s, in, out, blocks, root);
    each_peer([&](int peer) {
      if (rank() == root) self().sends(peer, blocks.size(peer) * sizeof(T));
      if (peer == root) self().receives(peer, out.size_bytes());
    });
  }

  /// Copies all ranks' `in` to all ranks' `out`, as the inner one does.
  template <class T, class Blocks>
  requires has_all_gather<C, T, Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out,
                  const Blocks& blocks) {
    if (!self().takes_part()) return;
    inner_.all_gather(s, in, out, blocks);
    each_peer([&](int peer) {
      self().sends(peer, in.size_bytes());
      self().receives(peer, blocks.size(peer) * sizeof(T));
    });
  }

  /// Reduces each rank's block of all ranks' `in`, as the inner one does.
  template <class T, class Blocks, class Op>
  requires has_reduce_scatter<C, T, Blocks, Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out,
                      const Blocks& blocks, const Op& op) {
    if (!self().takes_part()) return;
    inner_.reduce_scatter(s, in, out, blocks, op);
    each_peer([&](int peer) {
      self().sends(peer, blocks.size(peer) * sizeof(T));
      self().receives(peer, out.size_bytes());
    });
  }

  /// Reduces the ranks' `in` into all ranks' `out`, as the inner one does.
  template <class T, class Op>
  requires has_all_reduce<C, T, Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op& op) {
    if (!self().takes_part()) return;
    inner_.all_reduce(s, in, out, op);
    const balanced_blocks blocks(in.size(), size());
    const std::size_t own = blocks.size(rank()) * sizeof(T);
    each_peer([&](int peer) {
      const std::size_t theirs = blocks.size(peer) * sizeof(T);
      self().sends(peer, theirs);  // this rank's part of the peer's block
      self().receives(peer, own);
      self().sends(peer, own);  // the finished block
      self().receives(peer, theirs);
    });
  }

  /// Copies block `r` of `in` to block `rank()` of `out` of rank `r`, as the inner one does.
  template <class T, class Blocks>
  requires has_all_to_all<C, T, Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, const Blocks& in_blocks,
                  device_span<T> out, const Blocks& out_blocks) {
    if (!self().takes_part()) return;
    inner_.all_to_all(s, in, in_blocks, out, out_blocks);
    each_peer([&](int peer) {
      self().sends(peer, in_blocks.size(peer) * sizeof(T));
      self().receives(peer, out_blocks.size(peer) * sizeof(T));
    });
  }
  /// @}

 protected:
  /// Wraps `inner`.
  explicit communicator_wrapper(C inner) : inner_(std::move(inner)) {}
  communicator_wrapper(communicator_wrapper&&) noexcept = default;
  communicator_wrapper& operator=(communicator_wrapper&&) noexcept = default;
  ~communicator_wrapper() = default;

 private:
  [[nodiscard]] Derived& self() noexcept { return static_cast<Derived&>(*this); }

  template <class F>
  void each_peer(const F& f) const {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) f(peer);
    }
  }

  C inner_;
};

}  // namespace rondel
