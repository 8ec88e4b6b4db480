#pragma once
#include <rondel/core/operation.hpp>
#include <rondel/trace/ledger.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {
namespace detail {

// 1234567 as "1,234,567".
[[nodiscard]] inline std::string grouped(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

// One line of the table: operation, calls, peer, then messages and bytes each way.
inline constexpr std::size_t ledger_columns = 7;
struct ledger_line {
  std::string cells[ledger_columns];
};

// Messages and bytes, [sent, received].
struct ledger_sums {
  std::uint64_t messages[2] = {0, 0};
  std::uint64_t bytes[2] = {0, 0};

  void add(const ledger_row& row) noexcept {
    const bool received = row.way == direction::received;
    messages[received] += row.messages;
    bytes[received] += row.bytes;
  }

  [[nodiscard]] ledger_line line(const char* name, std::string calls, std::string peer) const {
    return {{name, std::move(calls), std::move(peer), grouped(messages[0]), grouped(bytes[0]),
             grouped(messages[1]), grouped(bytes[1])}};
  }
};

}  // namespace detail

/// `counts` as a table for a reader, one text line per operation (peer `all`) and below it one
/// per peer; the last line is the sum of all operations. Byte counts are exact. `title` is the
/// first line unless it is empty.
[[nodiscard]] inline std::string to_table(const ledger& counts, std::string_view title = "") {
  std::vector<detail::ledger_line> lines(1);
  lines[0] = {{"operation", "calls", "peer", "sent messages", "sent bytes", "received messages",
               "received bytes"}};
  detail::ledger_sums total;
  std::uint64_t total_calls = 0;
  auto called = counts.calls().begin();
  auto row = counts.rows().begin();
  while (called != counts.calls().end() || row != counts.rows().end()) {
    const bool by_call =
        row == counts.rows().end() || (called != counts.calls().end() && called->kind <= row->kind);
    const operation_kind kind = by_call ? called->kind : row->kind;
    const std::uint64_t calls = by_call ? (called++)->calls : 0;
    const std::size_t place = lines.size();
    lines.emplace_back();  // filled once the peers are summed
    detail::ledger_sums all;
    while (row != counts.rows().end() && row->kind == kind) {
      const int peer = row->peer;
      detail::ledger_sums one;
      for (; row != counts.rows().end() && row->kind == kind && row->peer == peer; ++row) {
        one.add(*row);
        all.add(*row);
        total.add(*row);
      }
      lines.push_back(one.line("", "", std::to_string(peer)));
    }
    lines[place] = all.line(to_string(kind), detail::grouped(calls), "all");
    total_calls += calls;
  }
  lines.push_back(total.line("total", detail::grouped(total_calls), "all"));

  std::size_t widths[detail::ledger_columns] = {};
  for (const detail::ledger_line& line : lines) {
    for (std::size_t i = 0; i < detail::ledger_columns; ++i) {
      if (line.cells[i].size() > widths[i]) widths[i] = line.cells[i].size();
    }
  }
  std::string out;
  if (!title.empty()) out.append(title).append("\n");
  for (const detail::ledger_line& line : lines) {
    for (std::size_t i = 0; i < detail::ledger_columns; ++i) {
      const std::string& cell = line.cells[i];
      const std::size_t pad = widths[i] - cell.size();
      if (i == 0) {
        out.append(cell).append(pad, ' ');  // names to the left, numbers to the right
      } else {
        out.append(2 + pad, ' ').append(cell);
      }
    }
    out += '\n';
  }
  return out;
}

}  // namespace rondel
