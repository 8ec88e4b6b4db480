// The code blocks of docs/nccl.md, run over the fakes. scripts/sync_snippets.py copies the regions
// there.
#include "worlds.hpp"

#include <array>
#include <atomic>
#include <barrier>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

TEST_CASE("run") {
  test::nccl_machine machine;
  std::atomic<int> done{0};
  //! [run]
  // Four GPUs of this machine, with a thread each.
  rondel::run(rondel::nccl{.ranks = 4}, [&](auto& rank) {
    auto stream = rank.device().make_stream();
    rondel::device_array<float, rondel::cuda_device> x(rank.device(), stream, 256);
    const std::vector<float> ones(x.size(), 1.0F);
    stream.upload(rondel::as_writable_bytes(x.span()), std::as_bytes(std::span(ones)));
    rondel::all_reduce(rank.world(), stream, x.span());
    std::vector<float> sums(x.size());
    stream.download(std::as_writable_bytes(std::span(sums)), rondel::as_bytes(x.span()));
    stream.synchronize();
    if (sums == std::vector<float>(256, 4.0F)) ++done;
  });
  //! [run]
  CHECK(done == 4);
}

TEST_CASE("join") {
  test::nccl_machine machine;
  constexpr int size = 2;
  std::array<std::byte, sizeof(ncclUniqueId)> wire{};
  std::barrier sent(size);
  std::vector<std::jthread> processes;
  for (int process = 0; process < size; ++process) {
    processes.emplace_back([&, rank = process, local_rank = process] {
      // MPI_Bcast(bytes.data(), int(bytes.size()), MPI_BYTE, 0, comm)
      const auto broadcast = [&](std::span<std::byte> bytes) {
        if (rank == 0) std::memcpy(wire.data(), bytes.data(), bytes.size());
        sent.arrive_and_wait();
        if (rank != 0) std::memcpy(bytes.data(), wire.data(), bytes.size());
      };
      //! [join]
      // Rank `rank` of `size` processes. `broadcast(bytes)` leaves the bytes of rank 0 on all.
      const rondel::nccl_id id = rondel::share_nccl_id(rank, broadcast);
      rondel::cuda_device device({.ordinal = local_rank, .rank = rank});
      rondel::nccl_communicator world(device, id, {.rank = rank, .size = size, .timeout = {30}});
      {
        auto stream = device.make_stream();
        rondel::barrier(world, stream);
        stream.synchronize();
      }
      world.close();  // on all ranks, when all are done with it
      //! [join]
    });
  }
}

TEST_CASE("step") {
  test::nccl_machine machine;
  test::on_nccl({.ranks = 2}, [](auto& rank) {
    auto& world = rank.world();
    auto stream = rank.device().make_stream();
    test::uploaded<float, rondel::cuda_device> gradients(rank.device(), stream, {1, 2});
    //! [step]
    {
      rondel::nccl_step step(world, stream, [&](auto& s) {
        rondel::all_reduce(world, s, gradients.span());  // and the kernels of the step
      });
      for (int i = 0; i < 3; ++i) step.launch(stream);
      stream.synchronize();
    }  // before its communicators are closed
    //! [step]
    CHECK(test::download(stream, gradients.span()) == std::vector<float>{8, 16});
  });
}
