#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/trace/ledger.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace rondel {

/// Writes every call and message of a communicator into a `ledger`.
///
/// Peers are numbered as in the communicator that was wrapped first, also after a split.
/// Messages of a rank to itself are not counted, nor is `exchange_host`.
template <communicator C>
class ledger_communicator : public communicator_wrapper<ledger_communicator<C>, C> {
 public:
  /// Wraps `inner`; `book` must outlive it and what is split from it.
  ledger_communicator(C inner, ledger& book) : base(std::move(inner)), book_(&book) {
    for (int r = 0; r < this->size(); ++r) names_.push_back(r);
  }

  /// Wraps a part of this communicator.
  [[nodiscard]] ledger_communicator rewrap(C inner) {
    ledger_communicator out(std::move(inner), *book_);
    const int own = names_[static_cast<std::size_t>(this->rank())];
    out.exchange_host(std::as_bytes(std::span(&own, 1)),
                      std::as_writable_bytes(std::span(out.names_)));
    return out;
  }

  /// Counts the call.
  void before(stream_of<C>&, const operation& op) {
    kind_ = op.kind;
    book_->call(kind_);
  }
  /// Counts a message sent.
  void sends(int peer, std::size_t bytes) { record(peer, direction::sent, bytes); }
  /// Counts a message received.
  void receives(int peer, std::size_t bytes) { record(peer, direction::received, bytes); }

  /// Where it writes.
  [[nodiscard]] ledger& book() noexcept { return *book_; }

 private:
  using base = communicator_wrapper<ledger_communicator<C>, C>;

  void record(int peer, direction way, std::size_t bytes) {
    if (peer == this->rank()) return;
    book_->record(kind_, names_[static_cast<std::size_t>(peer)], way, bytes);
  }

  ledger* book_;
  std::vector<int> names_;
  operation_kind kind_ = operation_kind::none;
};

}  // namespace rondel
