#pragma once
#include <rondel/collective/scope.hpp>
#include <rondel/comm/concepts.hpp>

#include <type_traits>

namespace rondel {

/// Copies `in` of rank `i` to block `i` of `out` of rank `root`.
///
/// `in` has `blocks.size(rank())` elements and `out` on the root `blocks.total()`; elsewhere
/// `out` is not looked at. In place on the root if `in` is its block of `out`. The root
/// receives `S - S_root` bytes, every other rank sends its block; so does the generic form, in
/// one batch. Throws `invalid_argument` for sizes, a root or an overlap other than these,
/// `peer_failed`, `timed_out`, `mismatched_operation`.
template <communicator C, element T, block_sizes Blocks>
void gather_v(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
              device_span<T> out, const Blocks& blocks, int root) {
  const int rank = comm.rank();
  detail::check_rank("gather", "root", root, comm.size());
  detail::check_blocks("gather", blocks, comm.size());
  detail::check_size("gather", "input", in.size(), blocks.size(rank));
  if (rank == root) {
    detail::check_size("gather", "output", out.size(), blocks.total());
    const auto own = out.subspan(blocks.offset(rank), in.size());
    if (own.data() != in.data()) detail::check_overlap<T>("gather", in, out, nullptr);
  }
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::gather,
                               .type = dtype_of<T>,
                               .root = root,
                               .count = blocks.total(),
                               .layout = blocks.layout()});
  if constexpr (has_gather<C, T, Blocks>) {
    comm.gather(stream, in, out, blocks, root);
  } else {
    auto batch = comm.batch(stream);
    if (rank == root) {
      for (int r = 0; r < comm.size(); ++r) {
        const auto block = out.subspan(blocks.offset(r), blocks.size(r));
        if (r == root) {
          detail::copy_elements(stream, block, in);
        } else {
          batch.recv(r, as_writable_bytes(block));
        }
      }
    } else {
      batch.send(root, as_bytes(in));
    }
    batch.submit();
  }
}

/// `gather_v` with blocks of one size: `out` on the root has `N` times as many elements as `in`.
template <communicator C, element T>
void gather(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
            device_span<T> out, int root) {
  gather_v(comm, stream, in, out, even_blocks(in.size(), comm.size()), root);
}

/// Copies block `i` of `in` of rank `root` to `out` of rank `i`: the reverse of `gather_v`.
///
/// `in` on the root has `blocks.total()` elements; elsewhere it is not looked at. `out` has
/// `blocks.size(rank())`. In place on the root if `out` is its block of `in`. The root sends
/// `S - S_root` bytes. Throws as `gather_v` does.
template <communicator C, element T, block_sizes Blocks>
void scatter_v(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
               device_span<T> out, const Blocks& blocks, int root) {
  const int rank = comm.rank();
  detail::check_rank("scatter", "root", root, comm.size());
  detail::check_blocks("scatter", blocks, comm.size());
  detail::check_size("scatter", "output", out.size(), blocks.size(rank));
  if (rank == root) {
    detail::check_size("scatter", "input", in.size(), blocks.total());
    detail::check_overlap("scatter", in, out, in.data() + blocks.offset(rank));
  }
  const operation_scope scope(comm, stream,
                              {.kind = operation_kind::scatter,
                               .type = dtype_of<T>,
                               .root = root,
                               .count = blocks.total(),
                               .layout = blocks.layout()});
  if constexpr (has_scatter<C, T, Blocks>) {
    comm.scatter(stream, in, out, blocks, root);
  } else {
    auto batch = comm.batch(stream);
    if (rank == root) {
      for (int r = 0; r < comm.size(); ++r) {
        const auto block = in.subspan(blocks.offset(r), blocks.size(r));
        if (r == root) {
          detail::copy_elements(stream, out, block);
        } else {
          batch.send(r, as_bytes(block));
        }
      }
    } else {
      batch.recv(root, as_writable_bytes(out));
    }
    batch.submit();
  }
}

/// `scatter_v` with blocks of one size: `in` on the root has `N` times as many elements as `out`.
template <communicator C, element T>
void scatter(C& comm, stream_of<C>& stream, device_span<const std::type_identity_t<T>> in,
             device_span<T> out, int root) {
  scatter_v(comm, stream, in, out, even_blocks(out.size(), comm.size()), root);
}

}  // namespace rondel
