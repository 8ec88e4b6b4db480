// Every collective of the NCCL engine with the kernels of CUDA: what is NCCL's own, what is
// generic. Compile-only where there is no GPU.
#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/device/cuda_kernels.cuh>
#include <rondel/nccl.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace {

using rondel::cuda_device;
using rondel::cuda_stream;
using nccl = rondel::nccl_communicator<>;

struct user_sum {
  __host__ __device__ float operator()(float a, float b) const { return a + b; }
};

static_assert(rondel::communicator<nccl>);
static_assert(rondel::communicator<rondel::send_recv_only<nccl>>);

// What NCCL has.
template <class... T>
inline constexpr bool has_all_types =
    (... && (rondel::has_all_reduce<nccl, T, rondel::sum> &&
             rondel::has_all_reduce<nccl, T, rondel::max> &&
             rondel::has_all_reduce<nccl, T, rondel::min> &&
             rondel::has_reduce_scatter<nccl, T, rondel::even_blocks, rondel::sum> &&
             rondel::has_all_gather<nccl, T, rondel::even_blocks> &&
             rondel::has_all_to_all<nccl, T, rondel::even_blocks> &&
             rondel::has_gather<nccl, T, rondel::even_blocks> &&
             rondel::has_scatter<nccl, T, rondel::even_blocks> && rondel::has_broadcast<nccl, T>));
static_assert(has_all_types<double, float, rondel::bfloat16, rondel::float16, std::int64_t,
                            std::int32_t, std::uint8_t>);
static_assert(rondel::has_barrier<nccl>);

// What it lacks, or means otherwise.
template <class Op>
inline constexpr bool reduces = rondel::has_all_reduce<nccl, float, Op> ||
                                rondel::has_reduce_scatter<nccl, float, rondel::even_blocks, Op>;
static_assert(!reduces<rondel::mean> && !reduces<user_sum>);
static_assert(!reduces<rondel::in_rank_order<rondel::sum>>);
template <class Blocks>
inline constexpr bool takes_blocks =
    rondel::has_all_gather<nccl, float, Blocks> || rondel::has_all_to_all<nccl, float, Blocks> ||
    rondel::has_gather<nccl, float, Blocks> || rondel::has_scatter<nccl, float, Blocks> ||
    rondel::has_reduce_scatter<nccl, float, Blocks, rondel::sum>;
static_assert(!takes_blocks<rondel::balanced_blocks> && !takes_blocks<rondel::uneven_blocks>);

template <class T>
using array = rondel::device_array<T, cuda_device>;

template <rondel::communicator C>
void use_collectives(C& comm, cuda_stream& compute, cuda_stream& link) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  array<float> x(comm.device(), compute, 64 * ranks), y(comm.device(), compute, 64 * ranks);
  array<float> block(comm.device(), compute, 64);
  array<rondel::bfloat16> narrow(comm.device(), compute, 64);

  rondel::all_reduce(comm, compute, x.span());
  rondel::all_reduce(comm, compute, x.span(), y.span(), rondel::mean{});
  rondel::all_reduce(comm, compute, x.span(), rondel::in_rank_order(rondel::sum{}));
  rondel::all_reduce(comm, compute, x.span(), user_sum{});
  rondel::all_reduce(comm, compute, narrow.span(), rondel::mean{});
  rondel::reduce_scatter(comm, compute, x.span(), block.span());
  rondel::reduce_scatter(comm, compute, x.span(), block.span(),
                         rondel::in_rank_order(rondel::sum{}));
  rondel::all_gather(comm, compute, block.span(), x.span());
  rondel::all_gather_v(comm, compute, block.span(), x.span(),
                       rondel::uneven_blocks(std::vector<std::size_t>(ranks, 64)));
  rondel::all_to_all(comm, compute, x.span(), y.span());
  rondel::gather(comm, compute, block.span(), x.span(), 0);
  rondel::scatter(comm, compute, x.span(), block.span(), 0);
  rondel::broadcast(comm, compute, x.span(), 0);
  rondel::barrier(comm, compute);
  rondel::ring_pass(comm, compute, link, std::array{block.span(), y.span().first(64)},
                    [&](rondel::device_span<const float> arrived, int, int) {
                      rondel::kernels<cuda_device>::reduce<float>(
                          compute, x.span().first(64), arrived, arrived, rondel::sum{}, 2, true);
                    });
}

}  // namespace

void use_nccl(const rondel::nccl_id& id, int rank, int size,
              std::shared_ptr<rondel::failure_channel> channel) {
  cuda_device device({.ordinal = rank, .rank = rank});
  cuda_stream compute = device.make_stream("compute");
  cuda_stream link = device.make_stream("link");
  nccl world(device, id,
             {.rank = rank, .size = size, .timeout = {30}, .channel = std::move(channel)});
  use_collectives(world, compute, link);
  rondel::send_recv_only generic(world.duplicate());
  use_collectives(generic, compute, link);
  if (auto part = world.split(rank % 2, rank)) use_collectives(*part, compute, link);
  {
    array<float> x(device, compute, 1024);
    rondel::nccl_step step(world, compute,
                           [&](cuda_stream& s) { rondel::all_reduce(world, s, x.span()); });
    step.launch(compute);
    compute.synchronize();
  }
  world.close();
}
