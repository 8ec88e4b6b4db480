#pragma once
#include <rondel/comm/concepts.hpp>
#include <rondel/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace rondel {

/// Brackets one operation of a communicator, also when it ends by an exception.
///
/// Code that uses `batch` directly opens one, so that ledgers and errors name what it does.
template <communicator C>
class operation_scope {
 public:
  /// Begins `op`, whose messages travel on `stream`.
  operation_scope(C& comm, stream_of<C>& stream, const operation& op) : comm_(&comm) {
    comm.begin(stream, op);
  }
  operation_scope(const operation_scope&) = delete;
  operation_scope& operator=(const operation_scope&) = delete;
  ~operation_scope() { comm_->end(); }

 private:
  C* comm_;
};

namespace detail {

inline void check_rank(const char* what, const char* role, int rank, int size) {
  if (rank < 0 || rank >= size) {
    throw invalid_argument(
        concat(what, ": ", role, " ", rank, " is not a rank of a communicator of ", size));
  }
}

inline void check_size(const char* what, const char* buffer, std::size_t size,
                       std::size_t expected) {
  if (size != expected) {
    throw invalid_argument(
        concat(what, ": ", buffer, " has ", size, " elements, ", expected, " expected"));
  }
}

// The buffers must be apart, or `out` begin where `in_place` does.
template <class T>
void check_overlap(const char* what, device_span<const T> in, device_span<T> out,
                   const T* in_place) {
  if (in.empty() || out.empty() || out.data() == in_place) return;
  const auto first = [](const T* p) { return reinterpret_cast<std::uintptr_t>(p); };
  if (first(in.data()) < first(out.data() + out.size()) &&
      first(out.data()) < first(in.data() + in.size())) {
    throw invalid_argument(
        concat(what, ": input and output overlap without being the documented in-place form"));
  }
}

template <block_sizes Blocks>
void check_blocks(const char* what, const Blocks& blocks, int size) {
  if (blocks.ranks() != size) {
    throw invalid_argument(
        concat(what, ": sizes of ", blocks.ranks(), " blocks for a communicator of ", size));
  }
}

// Elements of a block when `total` is cut evenly.
inline std::size_t even_size(const char* what, const char* buffer, std::size_t total, int size) {
  const auto ranks = static_cast<std::size_t>(size);
  if (total % ranks != 0) {
    throw invalid_argument(concat(what, ": ", buffer, " has ", total,
                                  " elements, a multiple of the ", size, " ranks expected"));
  }
  return total / ranks;
}

template <class T>
void copy_elements(auto& stream, device_span<T> to, device_span<const T> from) {
  if (to.data() != from.data()) stream.copy(as_writable_bytes(to), as_bytes(from));
}

// `rank + step` on a ring of `size`, for any `step` of at least `-size`.
[[nodiscard]] constexpr int ring_rank(int rank, int step, int size) noexcept {
  return (rank + step + size) % size;
}

}  // namespace detail
}  // namespace rondel
