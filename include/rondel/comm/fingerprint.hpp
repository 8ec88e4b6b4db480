#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/comm/wrapper.hpp>
#include <rondel/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
  explicit fingerprint_communicator(C inner) : base(std::move(inner)) {}

  /// Wraps a part of this communicator.
  [[nodiscard]] fingerprint_communicator rewrap(C inner) const {
    return fingerprint_communicator(std::move(inner));
  }

  /// Compares `op` with the other ranks' calls.
  void before(stream_of<C>&, const operation& op) {
    ++sequence_;
    if (!is_collective(op.kind)) return;
    const fingerprint mine(op, sequence_);
    std::vector<fingerprint> all(static_cast<std::size_t>(this->size()));
    try {
      this->exchange_host(std::as_bytes(std::span(&mine, 1)),
                          std::as_writable_bytes(std::span(all)));
    } catch (const peer_failed& e) {
      throw peer_failed(checking(op, e), e.rank(), e.failed_rank(), e.where());
    } catch (const timed_out& e) {
      throw timed_out(checking(op, e), e.rank(), e.where());
    }
    for (int r = 0; r < this->size(); ++r) {
      const fingerprint& theirs = all[static_cast<std::size_t>(r)];
      if (matches(theirs.call(), mine.call())) continue;
      throw mismatched_operation(
          concat("rank ", this->rank(), " calls ", to_string(mine.call()), " #", mine.sequence,
                 " while rank ", r, " calls ", to_string(theirs.call()), " #", theirs.sequence),
          this->rank());
    }
  }

 private:
  using base = communicator_wrapper<fingerprint_communicator<C>, C>;

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
          type(op.type) {
      std::strncpy(reduction.data(), op.reduction, reduction.size() - 1);
    }

    [[nodiscard]] operation call() const noexcept {
      return {kind, type, reduction.data(), root, count, layout};
    }

    std::uint64_t count = 0, layout = 0, sequence = 0;
    std::int32_t root = -1;
    operation_kind kind = operation_kind::none;
    dtype type = dtype::u8;
    std::array<char, 34> reduction{};  // cut off on all ranks alike
  };
  static_assert(sizeof(fingerprint) == 64 && std::is_trivially_copyable_v<fingerprint>);

  std::uint64_t sequence_ = 0;
};

}  // namespace rondel
