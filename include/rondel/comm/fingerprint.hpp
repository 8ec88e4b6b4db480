#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/rank_names.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

/// Checked mode: before each collective all ranks compare what they are about to call, and
/// throw `mismatched_operation` on every rank, with both sides, unless it is the same.
///
/// Costs one `exchange_host` of 64 bytes a collective and lets the host wait for its peers'
/// hosts. Point-to-point messages are not compared. For engines that do not notice themselves;
/// `thread_communicator` does.
template <communicator C>
class fingerprint_communicator : public communicator_wrapper<fingerprint_communicator<C>, C> {
 public:
  /// Wraps `inner`.
  explicit fingerprint_communicator(C inner) : base(std::move(inner)), names_(this->size()) {}

  /// Wraps a part of this communicator.
  [[nodiscard]] fingerprint_communicator rewrap(C inner) const {
    fingerprint_communicator out(std::move(inner));
    out.names_ = names_.of_part(this->rank(), out.inner());
    return out;
  }

  /// Compares `op` with the other ranks' calls.
  void before(stream_of<C>&, const operation& op) { check(op); }

  /// The ranks of one color, wrapped; compared as all calls are.
  [[nodiscard]] std::optional<fingerprint_communicator> split(int color, int key) {
    check({.kind = operation_kind::split});
    return base::split(color, key);
  }
  /// The same ranks once more, wrapped; compared as all calls are.
  [[nodiscard]] fingerprint_communicator duplicate() {
    check({.kind = operation_kind::split});
    return base::duplicate();
  }
  /// Gathers host bytes of all ranks; compared as all calls are.
  void exchange_host(std::span<const std::byte> mine, std::span<std::byte> all) {
    check({.kind = operation_kind::exchange_host, .count = mine.size()});
    base::exchange_host(mine, all);
  }

 private:
  using base = communicator_wrapper<fingerprint_communicator<C>, C>;

  void check(const operation& op) {
    ++sequence_;
    if (!is_collective(op.kind)) return;
    const fingerprint mine(op, sequence_);
    std::vector<fingerprint> all(static_cast<std::size_t>(this->size()));
    try {
      base::exchange_host(std::as_bytes(std::span(&mine, 1)),
                          std::as_writable_bytes(std::span(all)));
    } catch (const peer_failed& e) {
      throw peer_failed(checking(op, e), e.rank(), e.failed_rank(), e.where());
    } catch (const timed_out& e) {
      throw timed_out(checking(op, e), e.rank(), e.where());
    }
    for (int r = 0; r < this->size(); ++r) {
      const fingerprint& theirs = all[static_cast<std::size_t>(r)];
      if (matches(theirs.call(), mine.call())) continue;
      const int own = names_[this->rank()];
      const std::string text = concat("rank ", own, " calls ", to_string(mine.call()), " #",
                                      mine.sequence, " while rank ", names_[r], " calls ",
                                      to_string(theirs.call()), " #", theirs.sequence);
      this->abort(text);
      throw mismatched_operation(text, own);
    }
  }

  // An exchange that fails is part of the operation that it checks.
  [[nodiscard]] std::string checking(const operation& op, const error& e) const {
    return concat("before ", to_string(op), " #", sequence_, ": ", e.what());
  }

  // An operation as bytes that mean the same in another process.
  struct fingerprint {
    fingerprint() = default;
    fingerprint(const operation& op, std::uint64_t number)
        : count(op.count),
          layout(op.layout),
          sequence(number),
          root(op.root),
          kind(op.kind),
          type(op.type),
          in_rank_order(op.in_rank_order) {
      std::strncpy(reduction.data(), op.reduction, reduction.size() - 1);
    }

    [[nodiscard]] operation call() const noexcept {
      return {kind, type, reduction.data(), in_rank_order, root, count, layout};
    }

    std::uint64_t count = 0, layout = 0, sequence = 0;
    std::int32_t root = -1;
    operation_kind kind = operation_kind::none;
    dtype type = dtype::u8;
    bool in_rank_order = false;
    std::array<char, 33> reduction{};  // cut off on all ranks alike
  };
  static_assert(sizeof(fingerprint) == 64 && std::is_trivially_copyable_v<fingerprint>);

  detail::rank_names names_;
  std::uint64_t sequence_ = 0;
};

}  // namespace rondel
