#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/forwarding.hpp>

#include <cstddef>

namespace rondel {

/// Base of communicators that wrap another one and look at, or change, what passes. Offers
/// what the inner one offers; hooks and `rewrap` are those of `forwarding_communicator`.
///
/// A collective that the inner communicator has of its own is told to `sends` and `receives` as
/// what each pair of ranks exchanges when every rank fetches what it needs from its owner.
template <class Derived, communicator C>
class communicator_wrapper : public forwarding_communicator<Derived, C> {
 public:
  /// Stream type.
  using stream_type = stream_of<C>;

  /// @name Capabilities of the inner communicator; see `comm/concepts.hpp`.
  /// @{

  /// Waits for all ranks, as the inner one does.
  void barrier(stream_type& s) requires has_barrier<C> {
    if (this->self().takes_part()) this->inner().barrier(s);
  }

  /// Copies `x` of `root` to all, as the inner one does.
  template <class T>
  requires has_broadcast<C, T>
  void broadcast(stream_type& s, device_span<T> x, int root) {
    if (!this->self().takes_part()) return;
    this->inner().broadcast(s, x, root);
    each_peer([&](int peer) {
      if (this->rank() == root) this->self().sends(peer, x.size_bytes());
      if (peer == root) this->self().receives(peer, x.size_bytes());
    });
  }

  /// Copies all ranks' `in` to `out` of `root`, as the inner one does.
  template <class T, class Blocks>
  requires has_gather<C, T, Blocks>
  void gather(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
              int root) {
    if (!this->self().takes_part()) return;
    this->inner().gather(s, in, out, blocks, root);
    each_peer([&](int peer) {
      if (this->rank() == root) this->self().receives(peer, blocks.size(peer) * sizeof(T));
      if (peer == root) this->self().sends(peer, in.size_bytes());
    });
  }

  /// Copies the blocks of `in` of `root` to the ranks' `out`, as the inner one does.
  template <class T, class Blocks>
  requires has_scatter<C, T, Blocks>
  void scatter(stream_type& s, device_span<const T> in, device_span<T> out, const Blocks& blocks,
               int root) {
    if (!this->self().takes_part()) return;
    this->inner().scatter(s, in, out, blocks, root);
    each_peer([&](int peer) {
      if (this->rank() == root) this->self().sends(peer, blocks.size(peer) * sizeof(T));
      if (peer == root) this->self().receives(peer, out.size_bytes());
    });
  }

  /// Copies all ranks' `in` to all ranks' `out`, as the inner one does.
  template <class T, class Blocks>
  requires has_all_gather<C, T, Blocks>
  void all_gather(stream_type& s, device_span<const T> in, device_span<T> out,
                  const Blocks& blocks) {
    if (!this->self().takes_part()) return;
    this->inner().all_gather(s, in, out, blocks);
    each_peer([&](int peer) {
      this->self().sends(peer, in.size_bytes());
      this->self().receives(peer, blocks.size(peer) * sizeof(T));
    });
  }

  /// Reduces each rank's block of all ranks' `in`, as the inner one does.
  template <class T, class Blocks, class Op>
  requires has_reduce_scatter<C, T, Blocks, Op>
  void reduce_scatter(stream_type& s, device_span<const T> in, device_span<T> out,
                      const Blocks& blocks, const Op& op) {
    if (!this->self().takes_part()) return;
    this->inner().reduce_scatter(s, in, out, blocks, op);
    each_peer([&](int peer) {
      this->self().sends(peer, blocks.size(peer) * sizeof(T));
      this->self().receives(peer, out.size_bytes());
    });
  }

  /// Reduces the ranks' `in` into all ranks' `out`, as the inner one does.
  template <class T, class Op>
  requires has_all_reduce<C, T, Op>
  void all_reduce(stream_type& s, device_span<const T> in, device_span<T> out, const Op& op) {
    if (!this->self().takes_part()) return;
    this->inner().all_reduce(s, in, out, op);
    const balanced_blocks blocks(in.size(), this->size());
    const std::size_t own = blocks.size(this->rank()) * sizeof(T);
    each_peer([&](int peer) {
      const std::size_t theirs = blocks.size(peer) * sizeof(T);
      this->self().sends(peer, theirs);  // this rank's part of the peer's block
      this->self().receives(peer, own);
      this->self().sends(peer, own);  // the finished block
      this->self().receives(peer, theirs);
    });
  }

  /// Copies block `r` of `in` to block `this->rank()` of `out` of rank `r`, as the inner one does.
  template <class T, class Blocks>
  requires has_all_to_all<C, T, Blocks>
  void all_to_all(stream_type& s, device_span<const T> in, const Blocks& in_blocks,
                  device_span<T> out, const Blocks& out_blocks) {
    if (!this->self().takes_part()) return;
    this->inner().all_to_all(s, in, in_blocks, out, out_blocks);
    each_peer([&](int peer) {
      this->self().sends(peer, in_blocks.size(peer) * sizeof(T));
      this->self().receives(peer, out_blocks.size(peer) * sizeof(T));
    });
  }
  /// @}

 protected:
  /// Wraps what the base wraps.
  using forwarding_communicator<Derived, C>::forwarding_communicator;

 private:
  template <class F>
  void each_peer(const F& f) const {
    for (int peer = 0; peer < this->size(); ++peer) {
      if (peer != this->rank()) f(peer);
    }
  }
};

}  // namespace rondel
