#pragma once
#include <rondel/core/dtype.hpp>
#include <rondel/core/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rondel {

/// What a call of a communicator does.
enum class operation_kind : std::uint8_t {
  none,
  send_recv,
  ring_pass,
  barrier,
  broadcast,
  gather,
  scatter,
  all_gather,
  reduce_scatter,
  all_reduce,
  all_to_all,
  split,
  exchange_host,
};

/// Name of `kind`, as a string literal.
[[nodiscard]] constexpr const char* to_string(operation_kind kind) noexcept {
  constexpr std::array<const char*, 13> names = {
      "none",       "send_recv", "ring_pass",    "barrier",        "broadcast",
      "gather",     "scatter",   "all_gather",   "reduce_scatter", "all_reduce",
      "all_to_all", "split",     "exchange_host"};
  return names[static_cast<std::size_t>(kind)];
}

/// Whether every rank of the communicator must make the same call.
[[nodiscard]] constexpr bool is_collective(operation_kind kind) noexcept {
  return kind != operation_kind::none && kind != operation_kind::send_recv &&
         kind != operation_kind::ring_pass;
}

/// One call of a communicator: what it is compared by between ranks, counted and printed as.
struct operation {
  /// What it does.
  operation_kind kind = operation_kind::none;
  /// Element type, where it has one.
  dtype type = dtype::u8;
  /// Reduction, `"sum"` for example; a literal, empty where there is none.
  const char* reduction = "";
  /// Whether the reduction goes in the order of the ranks.
  bool in_rank_order = false;
  /// Root rank, -1 where there is none.
  int root = -1;
  /// Number of elements that all ranks must agree on; 0 where they need not agree.
  std::uint64_t count = 0;
  /// Hash of the block sizes that all ranks must agree on; 0 where they need not agree.
  std::uint64_t layout = 0;
};

/// Whether two ranks' calls are the same call.
[[nodiscard]] constexpr bool matches(const operation& a, const operation& b) noexcept {
  return a.kind == b.kind && a.type == b.type && a.root == b.root && a.count == b.count &&
         a.layout == b.layout && a.in_rank_order == b.in_rank_order &&
         (a.reduction == b.reduction ||
          std::string_view(a.reduction) == std::string_view(b.reduction));
}

/// `op` for a reader: `"all_reduce(sum, 1024 x f32)"`.
[[nodiscard]] inline std::string to_string(const operation& op) {
  if (!is_collective(op.kind) || op.kind == operation_kind::barrier ||
      op.kind == operation_kind::split) {
    return to_string(op.kind);
  }
  if (op.kind == operation_kind::exchange_host) return concat("exchange_host(", op.count, " B)");
  std::string out = concat(to_string(op.kind), "(");
  if (*op.reduction != 0) {
    out += concat(op.reduction, op.in_rank_order ? " in rank order" : "", ", ");
  }
  if (op.root >= 0) out += concat("root ", op.root, ", ");
  const bool uneven = op.layout != 0;
  if (op.count != 0 || !uneven) out += concat(op.count, " x ");
  out += to_string(op.type);
  if (uneven && op.count == 0) {
    out += ", uneven";
  } else if (uneven) {
    out += concat(", block sizes #", op.layout & 0xffffU);
  }
  return out + ")";
}

}  // namespace rondel
