#pragma once
// One rank's side of a running program.
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/ledger.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/array.hpp>

#include "model.hpp"

#include <deque>
#include <optional>
#include <variant>
#include <vector>

namespace programs {

using fast_comm = rondel::thread_communicator<rondel::host_device>;
using generic_comm = rondel::send_recv_only<fast_comm>;
using checked_comm = rondel::ledger_communicator<rondel::fingerprint_communicator<fast_comm>>;
using checked_generic_comm =
    rondel::ledger_communicator<rondel::fingerprint_communicator<generic_comm>>;
using any_comm = std::variant<fast_comm, generic_comm, checked_comm, checked_generic_comm>;

// What is compiled: each type with the reductions that treat it apart from others, movements of
// each size of element, messages of two; of the wrapped forms a part.
[[nodiscard]] constexpr bool is_bare(form f) { return f == form::fast || f == form::generic; }
[[nodiscard]] constexpr bool reduces(form f, dtype type, combiner op) {
  if (!is_bare(f)) return (type == dtype::f32 || type == dtype::i32) && op == combiner::sum;
  switch (op) {
    case combiner::sum:
      return true;
    case combiner::mean:
      return type == dtype::f16 || type == dtype::i32;
    case combiner::max:
      return type == dtype::f32;
    case combiner::min:
      return type == dtype::u8;
    case combiner::user_min:
      return type == dtype::f64;
    case combiner::ordered_sum:
      return type == dtype::f32 || type == dtype::bf16;
    case combiner::ordered_mean:
      return type == dtype::f16;
    default:
      return type == dtype::i64;
  }
}
[[nodiscard]] constexpr bool moves(form f, dtype type) {
  if (!is_bare(f)) return type == dtype::i32;
  return type == dtype::f64 || type == dtype::i32 || type == dtype::bf16 || type == dtype::u8;
}
[[nodiscard]] constexpr bool sends(form f, dtype type) {
  return type == dtype::i32 || (is_bare(f) && type == dtype::u8);
}

// Members are in the order in which they may die: arrays before streams, streams before what they
// read and write.
struct rank_run {
  rank_run(const program& p, int r, rondel::host_device& d) : plan(p), rank(r), device(d) {}

  const program& plan;
  int rank;
  rondel::host_device& device;
  rondel::ledger book;
  std::deque<std::vector<std::byte>> uploads;
  std::vector<std::vector<std::byte>> results;
  std::vector<std::vector<std::int32_t>> held;
  std::deque<std::optional<any_comm>> slots;  // a split adds one while another is in use
  std::vector<std::vector<members>> who;
  std::vector<rondel::host_stream> streams;
  std::vector<rondel::device_array<std::int32_t, rondel::host_device>> registers;
};

// Makes the call of step `index`, which is `s`, on `comm`.
template <class C>
void call(C& comm, rank_run& run, const step& s, std::size_t index);

extern template void call(fast_comm&, rank_run&, const step&, std::size_t);
extern template void call(generic_comm&, rank_run&, const step&, std::size_t);
extern template void call(checked_comm&, rank_run&, const step&, std::size_t);
extern template void call(checked_generic_comm&, rank_run&, const step&, std::size_t);

}  // namespace programs
