#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/rank_names.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/trace/ledger.hpp>

#include <cstddef>
#include <utility>

namespace rondel {

/// Writes every call and message of a communicator into a `ledger`.
///
/// Peers are numbered as in the communicator that was wrapped first, also after a split.
/// Messages of a rank to itself are not counted, nor is `exchange_host`.
template <communicator C>
class ledger_communicator : public communicator_wrapper<ledger_communicator<C>, C> {
 public:
  /// Wraps `inner`; `book` must outlive it and what is split from it.
  ledger_communicator(C inner, ledger& book)
      : base(std::move(inner)), book_(&book), names_(this->size()) {}

  /// Wraps a part of this communicator.
  [[nodiscard]] ledger_communicator rewrap(C inner) {
    ledger_communicator out(std::move(inner), *book_);
    out.names_ = names_.of_part(this->rank(), out.inner());
    return out;
  }

  /// Counts the call.
  void before(stream_of<C>&, const operation& op) {
    kind_ = op.kind;
    book_->call(kind_);
  }
  /// Forgets it.
  void after() noexcept { kind_ = operation_kind::none; }
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
    book_->record(kind_, names_[peer], way, bytes);
  }

  ledger* book_;
  detail::rank_names names_;
  operation_kind kind_ = operation_kind::none;
};

}  // namespace rondel
