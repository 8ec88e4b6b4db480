// The code blocks of README.md and docs/, run. scripts/sync_snippets.py copies the regions there.
#include <rondel/core/file.hpp>
#include <rondel/rondel.hpp>
#include <rondel/trace/ledger_table.hpp>
#include <rondel/trace/summary.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

// CHECK is safe in any thread; what a rank throws comes out of run().
TEST_CASE("device") {
  //! [device]
  rondel::host_device device;
  auto stream = device.make_stream();
  rondel::device_array<float, rondel::host_device> x(device, stream, 1000);

  const std::vector<float> ones(x.size(), 1.0F);
  stream.upload(rondel::as_writable_bytes(x.span()), std::as_bytes(std::span(ones)));
  stream.launch({.name = "double",
                 .flops = 1000,
                 .bytes_read = x.span().size_bytes(),
                 .bytes_written = x.span().size_bytes()},
                [x = x.span()] {
                  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] *= 2;
                });
  std::vector<float> result(x.size());
  stream.download(std::as_writable_bytes(std::span(result)), rondel::as_bytes(x.span()));
  stream.synchronize();
  //! [device]
  CHECK(result == std::vector<float>(1000, 2.0F));
  CHECK(device.memory().peak == 4000);
  CHECK(device.work_done().launches == 3);
}

// Stands for an extension module: what it is given comes from a capsule of another library.
TEST_CASE("dlpack") {
  std::array<float, 6> values{1, 2, 3, 4, 5, 6};
  std::array<std::int64_t, 2> shape{2, 3}, strides{3, 1};
  static int returned = 0;
  rondel::dlpack::managed_tensor_versioned lent{
      .version = {1, 0},
      .manager_ctx = nullptr,
      .deleter = [](rondel::dlpack::managed_tensor_versioned*) { ++returned; },
      .flags = 0,
      .dl_tensor = {values.data(),
                    {rondel::dlpack::device_kind::cpu, 0},
                    2,
                    rondel::dlpack::type_of<float>,
                    shape.data(),
                    strides.data(),
                    0}};
  void* const capsule_pointer = &lent;

  rondel::host_device device;
  auto stream = device.make_stream();
  {
    //! [from_dlpack]
    // What a capsule named "dltensor_versioned" points to; one named "dltensor" holds a
    // managed_tensor.
    auto* given = static_cast<rondel::dlpack::managed_tensor_versioned*>(capsule_pointer);
    const rondel::borrowed_tensor tensor = rondel::from_dlpack(device, given);
    stream.launch({.name = "double"}, [x = tensor.span<float>()] {
      for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] *= 2;
    });
    stream.synchronize();  // before the tensor dies, which ends the loan
    //! [from_dlpack]
  }
  CHECK(values == std::array<float, 6>{2, 4, 6, 8, 10, 12});
  CHECK(returned == 1);

  //! [to_dlpack]
  auto array = rondel::make_array<float>(device, stream, 6);
  stream.launch({.name = "fill"}, [x = array.span()] {
    for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = 1;
  });
  stream.synchronize();  // a borrower on the host reads at once
  auto result = rondel::to_dlpack(device, std::move(array), std::array<std::int64_t, 2>{2, 3});
  void* const capsule_content = result.release();  // the capsule's from here on
  //! [to_dlpack]
  CHECK(device.memory().live == 24);
  rondel::dlpack::end_loan{}(
      static_cast<rondel::dlpack::managed_tensor_versioned*>(capsule_content));
  CHECK(device.memory().live == 0);
}

TEST_CASE("events") {
  //! [events]
  rondel::host_device device;
  auto producer = device.make_stream("producer", rondel::stream_mode::worker);
  auto consumer = device.make_stream("consumer", rondel::stream_mode::worker);
  rondel::device_array<int, rondel::host_device> x(device, producer, 1);
  auto written = device.make_event();

  producer.launch({.name = "write"}, [x = x.span()] { *x.data() = 1; });
  producer.record(written);
  consumer.wait(written);  // the host does not wait
  consumer.launch({.name = "read and write"}, [x = x.span()] { *x.data() += 1; });
  consumer.synchronize();
  //! [events]
  int result = 0;
  producer.download(std::as_writable_bytes(std::span(&result, 1)), rondel::as_bytes(x.span()));
  producer.synchronize();
  CHECK(result == 2);
}

TEST_CASE("memory limit") {
  //! [memory_limit]
  rondel::host_device device({.memory_limit = 1000});
  auto stream = device.make_stream();
  const auto most = device.allocate(stream, 800);
  std::string message;
  try {
    const auto more = device.allocate(stream, 300);
  } catch (const rondel::out_of_memory& e) {
    message = e.what();  // e.requested() == 300, e.live() == 800, e.limit() == 1000
  }
  //! [memory_limit]
  CHECK(message ==
        "out of device memory: requested 300 B (300 B) while 800 B (800 B) of at most 1000 B "
        "(1000 B) are live");
}

//! [engines]
// One source for every device: `rank` is a rank_context of the engine's own types.
const auto program = [](auto& rank) {
  auto& device = rank.device();
  using device_type = std::remove_cvref_t<decltype(device)>;
  rondel::ledger moved;
  rondel::ledger_communicator world(rank.world().duplicate(), moved);
  auto stream = device.make_stream();
  rondel::device_array<float, device_type> x(device, stream, 1'000'000);
  stream.launch({.name = "fill"}, [x = x.span()] {
    for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = 1;
  });
  rondel::all_reduce(world, stream, x.span());
  stream.synchronize();
  return moved.bytes(rondel::direction::sent);
};
//! [engines]

TEST_CASE("engines") {
  //! [run_engines]
  const auto real = rondel::run(rondel::threads{.ranks = 4}, program);
  const auto counted = rondel::run(rondel::simulated{.ranks = 4}, program);
  //! [run_engines]
  CHECK(real == std::vector<std::uint64_t>(4, 6'000'000));
  CHECK(counted == real);
}

TEST_CASE("run") {
  //! [run]
  const std::vector<int> squares =
      rondel::run(rondel::threads{.ranks = 3, .streams = rondel::stream_mode::worker},
                  [](auto& rank) { return rank.rank() * rank.rank(); });
  //! [run]
  CHECK(squares == std::vector<int>{0, 1, 4});
}

TEST_CASE("split") {
  rondel::run(rondel::threads{.ranks = 6}, [](auto& rank) {
    //! [split]
    // Six ranks as two rows of three: rank 3 * row + column.
    auto row = rank.world().split(rank.rank() / 3, rank.rank());
    auto column = rank.world().split(rank.rank() % 3, rank.rank());
    //! [split]
    CHECK(row->size() == 3);
    CHECK(row->rank() == rank.rank() % 3);
    CHECK(column->size() == 2);
    CHECK(column->rank() == rank.rank() / 3);
  });
}

TEST_CASE("wrappers") {
  rondel::run(rondel::threads{.ranks = 2}, [](auto& rank) {
    //! [wrappers]
    rondel::ledger moved;
    rondel::faulty_communicator late(
        rank.world().duplicate(),
        {.action = rondel::fault_action::delay, .rank = 1, .operation = 2, .delay = {0.01}});
    rondel::fingerprint_communicator checked(std::move(late));
    rondel::ledger_communicator comm(std::move(checked), moved);
    auto stream = rank.device().make_stream();
    for (int i = 0; i < 3; ++i) rondel::barrier(comm, stream);
    stream.synchronize();
    //! [wrappers]
    CHECK(moved.calls(rondel::operation_kind::barrier) == 3);
  });
}

TEST_CASE("failure") {
  //! [failure]
  std::array<std::string, 2> seen;
  try {
    rondel::run(rondel::threads{.ranks = 2}, [&](auto& rank) {
      if (rank.rank() == 1) throw std::runtime_error("no input");
      auto stream = rank.device().make_stream();
      try {
        rondel::barrier(rank.world(), stream);
      } catch (const rondel::peer_failed& e) {
        seen[0] = e.what();  // rank 0 in barrier #1: rank 1 failed first: no input
        throw;
      }
    });
  } catch (const std::runtime_error& e) {
    seen[1] = e.what();  // no input: the failure that was first
  }
  //! [failure]
  CHECK(seen[0].find("rank 1 failed first: no input") != std::string::npos);
  CHECK(seen[1] == "no input");
}

TEST_CASE("deadline") {
  //! [deadline]
  std::string message;
  try {
    rondel::run(rondel::threads{.ranks = 2, .timeout = {0.05}}, [](auto& rank) {
      auto stream = rank.device().make_stream();
      rondel::faulty_communicator comm(rank.world().duplicate(),
                                       {.action = rondel::fault_action::die, .rank = 1});
      rondel::barrier(comm, stream);  // rank 1 is gone without a word
    });
  } catch (const rondel::timed_out& e) {
    message = e.what();  // names rank 1 and what each rank waits in
  }
  //! [deadline]
  CHECK(message.find("rank 1 is missing") != std::string::npos);
}

TEST_CASE("flights") {
  std::string message;
  //! [flights]
  const auto step = [](auto& world, auto& stream, auto x) {
    rondel::all_reduce(world, stream, x);
    rondel::barrier(world, stream);
    if (world.rank() == 2) {  // forgets the last bucket
      rondel::broadcast(world, stream, x.first(8), 0);
    } else {
      rondel::all_reduce(world, stream, x);
    }
  };
  //! [flights]
  try {
    rondel::run(rondel::threads{.ranks = 4, .timeout = {60}}, [&](auto& rank) {
      auto stream = rank.device().make_stream();
      auto x = rondel::make_array<float>(rank.device(), stream, 1024);
      const std::vector<float> zeros(1024);
      rondel::upload(stream, x.span(), zeros);
      step(rank.world(), stream, x.span());
    });
  } catch (const rondel::mismatched_operation& e) {
    message = e.what();
  }
  // The lines of the page.
  CHECK(
      message.substr(message.find('\n')) ==
      "\nrank 2 is the first to diverge: it called broadcast(root 0, 8 x f32) #3 where the others "
      "called all_reduce(sum, 1024 x f32) #3\n"
      "  call                            ranks 0, 1 and 3  rank 2\n"
      "  all_reduce(sum, 1024 x f32) #1  done              done\n"
      "  barrier #2                      done              done\n"
      "  all_reduce(sum, 1024 x f32) #3  waits             > broadcast(root 0, 8 x f32) #3");
}

namespace {

// `count` elements, the rank's own number in each.
template <class T, class Rank>
auto filled(Rank& rank, auto& stream, std::size_t count) {
  rondel::device_array<T, rondel::host_device> x(rank.device(), stream, count);
  stream.launch({.name = "fill"}, [x = x.span(), value = static_cast<T>(rank.rank())] {
    for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = value;
  });
  return x;
}

template <class T>
std::vector<T> host_copy(auto& stream, const rondel::device_array<T, rondel::host_device>& x) {
  std::vector<T> out(x.size());
  stream.download(std::as_writable_bytes(std::span(out)), rondel::as_bytes(x.span()));
  stream.synchronize();
  return out;
}

}  // namespace

TEST_CASE("collectives") {
  rondel::run(rondel::threads{.ranks = 3}, [](auto& rank) {
    auto& comm = rank.world();
    auto stream = rank.device().make_stream();
    auto gradients = filled<float>(rank, stream, 10);
    auto first = filled<float>(rank, stream, 10);
    //! [all_reduce]
    rondel::broadcast(comm, stream, first.span(), 0);
    rondel::all_reduce(comm, stream, gradients.span(), rondel::mean{});
    //! [all_reduce]
    CHECK(host_copy(stream, gradients) == std::vector<float>(10, 1.0F));
    CHECK(host_copy(stream, first) == std::vector<float>(10, 0.0F));
  });
}

TEST_CASE("uneven blocks") {
  rondel::run(rondel::threads{.ranks = 3}, [](auto& rank) {
    auto& comm = rank.world();
    auto stream = rank.device().make_stream();
    auto gradients = filled<float>(rank, stream, 10);
    rondel::device_array<float, rondel::host_device> shard(rank.device(), stream, 10);
    //! [uneven]
    const rondel::balanced_blocks blocks(10, comm.size());  // 4, 3 and 3 elements
    const auto own = shard.span().first(blocks.size(comm.rank()));
    rondel::reduce_scatter_v(comm, stream, gradients.span(), own, blocks);
    rondel::all_gather_v(comm, stream, own, gradients.span(), blocks);
    //! [uneven]
    CHECK(host_copy(stream, gradients) == std::vector<float>(10, 3.0F));
  });
}

//! [user_operation]
struct bit_or {
  static constexpr const char* name = "bit_or";  // in ledgers' errors and fingerprints
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
//! [user_operation]

TEST_CASE("reductions") {
  rondel::run(rondel::threads{.ranks = 3}, [](auto& rank) {
    auto& comm = rank.world();
    auto stream = rank.device().make_stream();
    auto flags = filled<std::uint8_t>(rank, stream, 10);
    auto sums = filled<float>(rank, stream, 10);
    //! [reductions]
    rondel::all_reduce(comm, stream, flags.span(), bit_or{});
    rondel::all_reduce(comm, stream, sums.span(), rondel::in_rank_order(rondel::sum{}));
    //! [reductions]
    CHECK(host_copy(stream, flags) == std::vector<std::uint8_t>(10, 3));
    CHECK(host_copy(stream, sums) == std::vector<float>(10, 3.0F));
  });
}

TEST_CASE("messages") {
  rondel::run(rondel::threads{.ranks = 3}, [](auto& rank) {
    auto& comm = rank.world();
    auto stream = rank.device().make_stream();
    auto out = filled<int>(rank, stream, 1);
    auto in = filled<int>(rank, stream, 1);
    const int next = (rank.rank() + 1) % rank.size();
    const int previous = (rank.rank() + rank.size() - 1) % rank.size();
    //! [batch]
    {
      const rondel::operation_scope scope(comm, stream,
                                          {.kind = rondel::operation_kind::send_recv});
      auto batch = comm.batch(stream);
      batch.send(next, rondel::as_bytes(out.span()));
      batch.recv(previous, rondel::as_writable_bytes(in.span()));
      batch.submit();  // both start together
    }
    //! [batch]
    CHECK(host_copy(stream, in) == std::vector<int>(1, previous));
  });
}

TEST_CASE("ring_pass") {
  const rondel::threads engine{.ranks = 4, .streams = rondel::stream_mode::worker};
  rondel::run(engine, [](auto& rank) {
    auto& comm = rank.world();
    auto& device = rank.device();
    auto compute = device.make_stream("compute");
    auto link = device.make_stream("link");
    auto block = filled<float>(rank, compute, 8);
    auto spare = filled<float>(rank, compute, 8);
    auto sum = filled<float>(rank, compute, 8);
    compute.launch({.name = "clear"}, [sum = sum.span()] {
      for (std::size_t i = 0; i < sum.size(); ++i) sum.data()[i] = 0;
    });
    //! [ring_pass]
    const auto home =
        rondel::ring_pass(comm, compute, link, std::array{block.span(), spare.span()},
                          [&](auto visiting, int owner, int step) {
                            compute.launch({.name = "add", .flops = 8}, [=, to = sum.span()] {
                              for (std::size_t i = 0; i < to.size(); ++i)
                                to.data()[i] += visiting.data()[i];
                            });
                            CHECK(owner == (rank.rank() - step + rank.size()) % rank.size());
                          },
                          {.direction = rondel::ring_direction::forward, .return_home = true});
    //! [ring_pass]
    CHECK(host_copy(compute, sum) == std::vector<float>(8, 6.0F));
    CHECK(home.data() == block.span().data());
  });
}

TEST_CASE("ledger") {
  const int ranks = 4;
  rondel::run(rondel::threads{.ranks = ranks}, [&](auto& rank) {
    auto stream = rank.device().make_stream();
    auto x = filled<float>(rank, stream, 1000);
    //! [ledger]
    rondel::ledger moved;
    rondel::ledger_communicator comm(rank.world().duplicate(), moved);
    const rondel::ledger before = moved;
    rondel::all_reduce(comm, stream, x.span());
    const rondel::ledger one_call = moved - before;
    const auto bytes = one_call.bytes(rondel::operation_kind::all_reduce, rondel::direction::sent);
    CHECK(bytes == 2 * x.span().size_bytes() * (ranks - 1) / ranks);
    //! [ledger]
    stream.synchronize();
  });
}

TEST_CASE("timeline") {
  const auto folder =
      std::filesystem::temp_directory_path() / rondel::concat("rondel_docs_", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string picture = (folder / "timeline.svg").string();
  const std::string trace = (folder / "trace.json").string();
  //! [timeline]
  rondel::timeline recorder;
  rondel::run(rondel::threads{.ranks = 2, .recorder = &recorder}, [&](auto& rank) {
    auto& lane = recorder.lane(rank.rank(), "host");
    auto stream = rank.device().make_stream("compute");
    {
      const rondel::scoped_span span(&recorder, &lane, {.name = "prepare"});
      stream.launch({.name = "multiply", .flops = 2e6}, [] {});
    }
    rondel::barrier(rank.world(), stream);
    stream.synchronize();
  });
  rondel::write_text_file(picture, rondel::to_svg(recorder, {.title = "two ranks"}));
  rondel::write_text_file(trace, rondel::to_perfetto_json(recorder));
  //! [timeline]
  CHECK(recorder.lanes().size() == 4);
  //! [overlap]
  const auto lanes = recorder.lanes();  // of rank 0: "compute" and "host", in the order of making
  const rondel::lane_summary total = rondel::summarize(*lanes[0]);
  const double hidden = rondel::overlap(*lanes[0], *lanes[1]);
  //! [overlap]
  CHECK(total.spans > 0);
  CHECK(hidden >= 0);
  std::filesystem::remove_all(folder);
}
