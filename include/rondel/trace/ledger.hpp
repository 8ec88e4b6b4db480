#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/text.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rondel {

/// Which way a message went, seen from the rank that counts it.
enum class direction : std::uint8_t { sent, received };

/// Name of `way`, as a string literal.
[[nodiscard]] constexpr const char* to_string(direction way) noexcept {
  return way == direction::sent ? "sent" : "received";
}

/// All messages of one operation that went one way between this rank and one peer.
struct ledger_row {
  /// The operation that the messages belong to.
  operation_kind kind = operation_kind::none;
  /// Rank at the other end.
  int peer = 0;
  /// Which way they went.
  direction way = direction::sent;
  /// Number of messages, those without payload included.
  std::uint64_t messages = 0;
  /// Payload bytes of all of them.
  std::uint64_t bytes = 0;

  friend constexpr bool operator==(const ledger_row&, const ledger_row&) = default;
};

/// How often one operation was called.
struct ledger_calls {
  /// The operation.
  operation_kind kind = operation_kind::none;
  /// Number of calls.
  std::uint64_t calls = 0;

  friend constexpr bool operator==(const ledger_calls&, const ledger_calls&) = default;
};

/// What one rank moved: calls per operation; messages and payload bytes per operation, peer and
/// direction.
///
/// A value without locks, for one thread at a time. It holds one row per combination that
/// occurred and allocates only when a combination occurs for the first time, also after
/// `clear`.
class ledger {
 public:
  /// Counts one call of an operation. Throws `std::bad_alloc` only.
  void call(operation_kind kind) { find(kind).calls += 1; }

  /// Counts one message of `bytes` of payload to or from `peer`. A message of no bytes counts
  /// as a message. Throws `std::bad_alloc` only.
  void record(operation_kind kind, int peer, direction way, std::uint64_t bytes) {
    ledger_row& row = find(kind, peer, way);
    row.messages += 1;
    row.bytes += bytes;
  }

  /// What was recorded, sorted by operation, peer and direction.
  [[nodiscard]] const std::vector<ledger_row>& rows() const noexcept { return rows_; }

  /// What was called, sorted by operation.
  [[nodiscard]] const std::vector<ledger_calls>& calls() const noexcept { return calls_; }

  /// Number of calls of `kind`.
  [[nodiscard]] std::uint64_t calls(operation_kind kind) const noexcept {
    for (const ledger_calls& entry : calls_) {
      if (entry.kind == kind) return entry.calls;
    }
    return 0;
  }

  /// Payload bytes of every operation that went `way`.
  [[nodiscard]] std::uint64_t bytes(direction way) const noexcept {
    std::uint64_t sum = 0;
    for (const ledger_row& row : rows_) sum += row.way == way ? row.bytes : 0;
    return sum;
  }

  /// Payload bytes of `kind` that went `way`.
  [[nodiscard]] std::uint64_t bytes(operation_kind kind, direction way) const noexcept {
    std::uint64_t sum = 0;
    for (const ledger_row& row : rows_) sum += row.kind == kind && row.way == way ? row.bytes : 0;
    return sum;
  }

  /// Payload bytes of `kind` that went `way` between this rank and `peer`.
  [[nodiscard]] std::uint64_t bytes(operation_kind kind, int peer, direction way) const noexcept {
    for (const ledger_row& row : rows_) {
      if (row.kind == kind && row.peer == peer && row.way == way) return row.bytes;
    }
    return 0;
  }

  /// Messages of every operation that went `way`.
  [[nodiscard]] std::uint64_t messages(direction way) const noexcept {
    std::uint64_t sum = 0;
    for (const ledger_row& row : rows_) sum += row.way == way ? row.messages : 0;
    return sum;
  }

  /// Messages of `kind` that went `way`.
  [[nodiscard]] std::uint64_t messages(operation_kind kind, direction way) const noexcept {
    std::uint64_t sum = 0;
    for (const ledger_row& row : rows_) {
      sum += row.kind == kind && row.way == way ? row.messages : 0;
    }
    return sum;
  }

  /// Forgets everything and keeps the memory.
  void clear() noexcept {
    rows_.clear();
    calls_.clear();
  }

  /// Adds all counts of `other`, as one communicator's to another's of the same rank. Peers are
  /// matched by number. Throws `std::bad_alloc` only.
  void merge(const ledger& other) {
    for (const ledger_calls& entry : other.calls_) find(entry.kind).calls += entry.calls;
    for (const ledger_row& theirs : other.rows_) {
      ledger_row& mine = find(theirs.kind, theirs.peer, theirs.way);
      mine.messages += theirs.messages;
      mine.bytes += theirs.bytes;
    }
  }

  /// The same as `merge`.
  ledger& operator+=(const ledger& other) {
    merge(other);
    return *this;
  }

  /// The counts of both.
  [[nodiscard]] friend ledger operator+(ledger a, const ledger& b) { return a += b; }

  /// What was counted after the snapshot `earlier` and up to the snapshot `later`. Combinations
  /// that did not occur in between have no row. Throws `invalid_argument` if `earlier` holds
  /// more than `later` of anything: then it is not an earlier snapshot of the same ledger.
  [[nodiscard]] friend ledger operator-(const ledger& later, const ledger& earlier) {
    ledger out = later;
    for (const ledger_calls& before : earlier.calls_) {
      ledger_calls& after = out.find(before.kind);
      if (after.calls < before.calls) {
        throw invalid_argument(concat("ledger difference: ", before.calls, " calls of ",
                                      to_string(before.kind), " in the earlier snapshot, ",
                                      after.calls, " in the later one"));
      }
      after.calls -= before.calls;
    }
    for (const ledger_row& before : earlier.rows_) {
      ledger_row& after = out.find(before.kind, before.peer, before.way);
      const std::uint64_t messages = after.messages - before.messages;
      if (after.messages < before.messages || after.bytes < before.bytes ||
          (messages == 0 && after.bytes != before.bytes)) {
        throw invalid_argument(concat("ledger difference: ", before.messages, " messages of ",
                                      before.bytes, " B of ", to_string(before.kind), " ",
                                      to_string(before.way), ", peer ", before.peer,
                                      ", in the earlier snapshot, ", after.messages, " of ",
                                      after.bytes, " B in the later one"));
      }
      after.messages = messages;
      after.bytes -= before.bytes;
    }
    std::erase_if(out.calls_, [](const ledger_calls& entry) { return entry.calls == 0; });
    std::erase_if(out.rows_, [](const ledger_row& row) { return row.messages == 0; });
    return out;
  }

  /// Whether both counted the same.
  friend bool operator==(const ledger&, const ledger&) = default;

 private:
  // The entry of `kind`, made if there is none.
  [[nodiscard]] ledger_calls& find(operation_kind kind) {
    auto place = calls_.begin();
    while (place != calls_.end() && place->kind < kind) ++place;
    if (place == calls_.end() || place->kind != kind) place = calls_.insert(place, {kind, 0});
    return *place;
  }

  // The row of `kind`, `peer` and `way`, made if there is none.
  [[nodiscard]] ledger_row& find(operation_kind kind, int peer, direction way) {
    const ledger_row key{kind, peer, way, 0, 0};
    std::size_t low = 0;
    std::size_t high = rows_.size();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      before(rows_[middle], key) ? low = middle + 1 : high = middle;
    }
    const auto place = rows_.begin() + static_cast<std::ptrdiff_t>(low);
    if (place == rows_.end() || before(key, *place)) return *rows_.insert(place, key);
    return *place;
  }

  [[nodiscard]] static bool before(const ledger_row& a, const ledger_row& b) noexcept {
    if (a.kind != b.kind) return a.kind < b.kind;
    return a.peer != b.peer ? a.peer < b.peer : a.way < b.way;
  }

  std::vector<ledger_row> rows_;
  std::vector<ledger_calls> calls_;
};

}  // namespace rondel
