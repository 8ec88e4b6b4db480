// What the other ranks see when one fails, leaves, is late or calls something else.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/comm/faulty.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/send_recv_only.hpp>

#include "host_data.hpp"
#include "message_of.hpp"
#include "worlds.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::stream_mode;
using test::uploaded;

constexpr stream_mode modes[] = {stream_mode::immediate, stream_mode::worker};

// What a rank's program ended with: the kind of its exception, and its words.
struct outcome {
  std::string kind = "ended";
  std::string text;
};

template <class F>
outcome outcome_of(F&& f) {
  try {
    f();
    return {};
  } catch (const rondel::peer_failed& e) {
    return {"peer_failed", e.what()};
  } catch (const rondel::timed_out& e) {
    return {"timed_out", e.what()};
  } catch (const rondel::mismatched_operation& e) {
    return {"mismatched_operation", e.what()};
  }
}

// Runs `program(rank, communicator, stream)`; other exceptions leave the rank. `wrap` as given.
template <class Wrap, class Program>
std::vector<outcome> outcomes(const rondel::threads& engine, const Wrap& wrap,
                              const Program& program) {
  std::vector<outcome> out(static_cast<std::size_t>(engine.ranks));
  try {
    rondel::run(engine, [&](auto& rank) {
      out[static_cast<std::size_t>(rank.rank())] = {"left", ""};
      out[static_cast<std::size_t>(rank.rank())] = outcome_of([&] {
        auto comm = wrap(rank.world().duplicate());
        auto stream = rank.device().make_stream("test");
        program(rank.rank(), comm, stream);
        stream.synchronize();
      });
    });
  } catch (const std::exception&) {
    // What the ranks that left saw is in `out`.
  }
  return out;
}

constexpr auto plain = [](auto comm) { return comm; };
constexpr auto generic = [](auto comm) { return rondel::send_recv_only(std::move(comm)); };
constexpr auto checked = [](auto comm) {
  return rondel::fingerprint_communicator(rondel::send_recv_only(std::move(comm)));
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Ranks that did not fail themselves, and must all end as `kind` with words that hold `parts`.
void check_others(const std::vector<outcome>& all, std::size_t failing, const std::string& kind,
                  const std::vector<std::string>& parts) {
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (r == failing) continue;
    CAPTURE(r);
    CAPTURE(all[r].text);
    CHECK(all[r].kind == kind);
    for (const auto& part : parts) {
      CAPTURE(part);
      CHECK(contains(all[r].text, part));
    }
  }
}

template <class C>
void five_reductions(C& comm, rondel::host_stream& stream, int last = 5) {
  uploaded<float> x(comm.device(), stream, std::vector<float>(100, 1));
  for (int i = 0; i < last; ++i) rondel::all_reduce(comm, stream, x.span());
  stream.synchronize();
}

TEST_CASE("a rank that throws wakes the others, who name it, its words and their operation") {
  const auto program = [](int rank, auto& comm, auto& stream) {
    five_reductions(comm, stream, 2);
    if (rank == 1) throw std::runtime_error("the disk is full");
    five_reductions(comm, stream);
  };
  for (const auto mode : modes) {
    const auto start = std::chrono::steady_clock::now();
    const rondel::threads engine{.ranks = 4, .streams = mode, .timeout = {60}};
    const auto check = [&](const auto& all) {
      CHECK(all[1].kind == "left");
      check_others(all, 1, "peer_failed",
                   {"rank 1 failed first", "the disk is full", "all_reduce"});
    };
    check(outcomes(engine, plain, program));
    check(outcomes(engine, generic, program));
    check(outcomes(engine, checked, program));
    // At once means long before the deadline.
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
}

TEST_CASE("run rethrows the exception of the rank that failed first") {
  CHECK_THROWS_WITH_AS(rondel::run(rondel::threads{.ranks = 3, .timeout = {60}},
                                   [](auto& rank) {
                                     auto stream = rank.device().make_stream("test");
                                     if (rank.rank() == 2) throw std::runtime_error("boom");
                                     rondel::barrier(rank.world(), stream);
                                   }),
                       "boom", std::runtime_error);
}

TEST_CASE("a rank that returns early is named as having left") {
  for (const auto mode : modes) {
    const rondel::threads engine{.ranks = 3, .streams = mode, .timeout = {60}};
    const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
      five_reductions(comm, stream, rank == 2 ? 3 : 5);
    });
    CHECK(all[2].kind == "ended");
    check_others(all, 2, "peer_failed", {"rank 2", "left the communicator", "all_reduce"});
  }
}

TEST_CASE("a rank that dies without a word is named as missing when the deadline passes") {
  for (const auto mode : modes) {
    const rondel::threads engine{.ranks = 3, .streams = mode, .timeout = {0.2}};
    const auto dying = [](auto comm) {
      return rondel::faulty_communicator(
          std::move(comm), {.action = rondel::fault_action::die, .rank = 1, .operation = 3});
    };
    const auto all = outcomes(engine, dying,
                              [](int, auto& comm, auto& stream) { five_reductions(comm, stream); });
    CHECK(all[1].kind == "left");
    int timeouts = 0;
    for (const std::size_t r : {std::size_t{0}, std::size_t{2}}) {
      CAPTURE(all[r].text);
      timeouts += all[r].kind == "timed_out" ? 1 : 0;
      CHECK((all[r].kind == "timed_out" || all[r].kind == "peer_failed"));
      CHECK(contains(all[r].text, "rank 1 is missing; "));
      CHECK(contains(all[r].text, "rank 1: its last call was all_reduce #3 of communicator 1"));
      CHECK(contains(all[r].text, "all_reduce(sum, 100 x f32) #4"));
    }
    CHECK(timeouts >= 1);
  }
}

TEST_CASE("a message that nobody receives times out and names its peer") {
  const rondel::threads engine{.ranks = 2, .timeout = {0.2}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {1, 2, 3});
    rondel::send(comm, stream, x.span(), 1 - rank);
    rondel::recv(comm, stream, x.span(), 1 - rank);
  });
  int timeouts = 0;
  for (const auto& o : all) {
    CAPTURE(o.text);
    timeouts += o.kind == "timed_out" ? 1 : 0;
    CHECK((o.kind == "timed_out" || o.kind == "peer_failed"));
    CHECK(contains(o.text, "send of 12 B to rank"));
    CHECK(contains(o.text, "it waits in send_recv #1"));
  }
  CHECK(timeouts >= 1);
}

TEST_CASE("the same two sends pass where the receive is on another stream") {
  const rondel::threads engine{.ranks = 2, .streams = stream_mode::worker, .timeout = {30}};
  test::on_threads(engine, [](auto& rank) {
    auto out = rank.device().make_stream("out");
    auto in = rank.device().make_stream("in");
    auto sends = rank.world().duplicate();
    auto& receives = rank.world();
    // Messages match within one communicator, so rank 0 sends on the one that rank 1 receives on.
    auto& mine = rank.rank() == 0 ? sends : receives;
    auto& theirs = rank.rank() == 0 ? receives : sends;
    uploaded<float> x(rank.device(), out, {1, 2, 3});
    uploaded<float> y(rank.device(), in, {0, 0, 0});
    rondel::send(mine, out, x.span(), 1 - rank.rank());
    rondel::recv(theirs, in, y.span(), 1 - rank.rank());
    CHECK(test::download(in, y.span()) == std::vector<float>{1, 2, 3});
    out.synchronize();
  });
}

// Each rank calls what `calls[rank]` says; all must get an error with both sides.
template <class Wrap>
void check_mismatch(const Wrap& wrap, const auto& odd_call, const auto& call,
                    const std::string& odd_text, const std::string& text) {
  for (const auto mode : modes) {
    const rondel::threads engine{.ranks = 3, .streams = mode, .timeout = {60}};
    const auto all = outcomes(engine, wrap, [&](int rank, auto& comm, auto& stream) {
      if (rank == 1) {
        odd_call(comm, stream);
      } else {
        call(comm, stream);
      }
      stream.synchronize();
    });
    for (std::size_t r = 0; r < all.size(); ++r) {
      CAPTURE(r);
      CAPTURE(all[r].text);
      CHECK(all[r].kind == "mismatched_operation");
      CHECK(contains(all[r].text, odd_text));
      CHECK(contains(all[r].text, text));
    }
  }
}

TEST_CASE("ranks that call different operations all get both sides") {
  const auto reduce_of = [](std::size_t count) {
    return [count](auto& comm, auto& stream) {
      uploaded<float> x(comm.device(), stream, std::vector<float>(count));
      rondel::all_reduce(comm, stream, x.span());
      stream.synchronize();
    };
  };
  const auto largest = [](auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, std::vector<float>(8));
    rondel::all_reduce(comm, stream, x.span(), rondel::max{});
    stream.synchronize();
  };
  const auto whole_numbers = [](auto& comm, auto& stream) {
    uploaded<std::int32_t> x(comm.device(), stream, std::vector<std::int32_t>(8));
    rondel::all_reduce(comm, stream, x.span());
    stream.synchronize();
  };
  const auto broadcast_of = [](int root) {
    return [root](auto& comm, auto& stream) {
      uploaded<float> x(comm.device(), stream, std::vector<float>(8));
      rondel::broadcast(comm, stream, x.span(), root);
      stream.synchronize();
    };
  };
  const auto sweep = [&](const auto& wrap) {
    check_mismatch(wrap, reduce_of(9), reduce_of(8), "all_reduce(sum, 9 x f32)",
                   "all_reduce(sum, 8 x f32)");
    check_mismatch(wrap, largest, reduce_of(8), "all_reduce(max, 8 x f32)",
                   "all_reduce(sum, 8 x f32)");
    check_mismatch(wrap, whole_numbers, reduce_of(8), "all_reduce(sum, 8 x i32)",
                   "all_reduce(sum, 8 x f32)");
    check_mismatch(wrap, broadcast_of(0), reduce_of(8), "broadcast(root 0, 8 x f32)",
                   "all_reduce(sum, 8 x f32)");
    check_mismatch(wrap, broadcast_of(2), broadcast_of(0), "broadcast(root 2, 8 x f32)",
                   "broadcast(root 0, 8 x f32)");
  };
  SUBCASE("by the meeting itself") { sweep(plain); }
  SUBCASE("by fingerprints, over messages") { sweep(checked); }
}

struct absolute_maximum {
  static constexpr const char* name = "the larger of two absolute values";
  float operator()(float a, float b) const { return std::max(std::abs(a), std::abs(b)); }
};

TEST_CASE("a reduction with a long name is no mismatch") {
  test::on_threads({.ranks = 2, .timeout = {60}}, [](auto& rank) {
    rondel::fingerprint_communicator comm(rank.world().duplicate());
    auto stream = rank.device().make_stream("test");
    uploaded<float> x(rank.device(), stream, {rank.rank() == 0 ? -3.0F : 2.0F});
    rondel::all_reduce(comm, stream, x.span(), absolute_maximum{});
    CHECK(test::download(stream, x.span()) == std::vector<float>{3});
  });
}

TEST_CASE("block sizes that differ are a mismatch too") {
  const auto gather_of = [](std::vector<std::size_t> sizes) {
    return [sizes](auto& comm, auto& stream) {
      const rondel::uneven_blocks blocks(sizes);
      uploaded<float> in(comm.device(), stream, std::vector<float>(blocks.size(comm.rank())));
      uploaded<float> out(comm.device(), stream, std::vector<float>(blocks.total()));
      rondel::all_gather_v(comm, stream, in.span(), out.span(), blocks);
      stream.synchronize();
    };
  };
  check_mismatch(plain, gather_of({2, 1, 3}), gather_of({1, 2, 3}), "all_gather(6 x f32",
                 "all_gather(6 x f32");
  check_mismatch(checked, gather_of({2, 1, 3}), gather_of({1, 2, 3}), "all_gather(6 x f32",
                 "all_gather(6 x f32");
}

TEST_CASE("a rank that stays away from one operation is found out") {
  for (const auto mode : modes) {
    const rondel::threads engine{.ranks = 3, .streams = mode, .timeout = {0.3}};
    const auto all = outcomes(
        engine,
        [](auto comm) {
          return rondel::faulty_communicator(
              std::move(comm), {.action = rondel::fault_action::drop, .rank = 0, .operation = 1});
        },
        [](int, auto& comm, auto& stream) {
          five_reductions(comm, stream, 2);
          rondel::barrier(comm, stream);
          stream.synchronize();
        });
    for (const auto& o : all) {
      CAPTURE(o.text);
      CHECK(o.kind != "ended");
      CHECK(contains(o.text, "barrier"));
      CHECK(contains(o.text, "all_reduce"));
    }
  }
}

TEST_CASE("a message of another size names both sizes") {
  const rondel::threads engine{.ranks = 2, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {1, 2, 3});
    if (rank == 0) rondel::send(comm, stream, x.span(), 1);
    if (rank == 1) rondel::recv(comm, stream, x.span().first(2), 0);
  });
  CHECK(all[1].kind == "mismatched_operation");
  CHECK(contains(all[1].text, "rank 0 sends 12 B where 8 B are expected"));
  CHECK(all[0].kind == "peer_failed");
  CHECK(contains(all[0].text, "12 B where 8 B"));
}

TEST_CASE("an exception with work in flight on worker streams ends at once") {
  const auto start = std::chrono::steady_clock::now();
  const rondel::threads engine{.ranks = 3, .streams = stream_mode::worker, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, std::vector<float>(100));
    // Ranks 0 and 1 reduce, and rank 2 waits for their hosts instead: rank 1 unwinds while its
    // stream waits for rank 2, who waits for rank 1.
    if (rank != 2) rondel::all_reduce(comm, stream, x.span());
    if (rank == 1) throw std::runtime_error("in flight");
    if (rank == 2) {
      const std::byte mine{};
      std::vector<std::byte> everyone(3);
      comm.exchange_host(std::span(&mine, 1), everyone);
    }
  });
  CHECK(all[1].kind == "left");
  CHECK(all[0].kind != "ended");
  CHECK(all[2].kind != "ended");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("abort fails every rank with its reason") {
  const rondel::threads engine{.ranks = 3, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    if (rank == 0) comm.abort("the user pressed stop");
    rondel::barrier(comm, stream);
  });
  for (const auto& o : all) {
    CHECK(o.kind == "peer_failed");
    CHECK(contains(o.text, "rank 0 failed first: the user pressed stop"));
  }
}

TEST_CASE("after a failure every communicator of the world throws, and a new world works") {
  const rondel::threads engine{.ranks = 2, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    auto other = comm.duplicate();
    if (rank == 0) throw std::runtime_error("first");
    CHECK_THROWS_AS(rondel::barrier(comm, stream), rondel::peer_failed);
    auto fresh = comm.device().make_stream("fresh");
    CHECK_THROWS_AS(rondel::barrier(other, fresh), rondel::peer_failed);
    CHECK_THROWS_AS((void)other.duplicate(), rondel::peer_failed);
    rondel::barrier(comm, fresh);
  });
  CHECK(all[1].kind == "peer_failed");
  test::on_threads(engine, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    five_reductions(rank.world(), stream);
  });
}

TEST_CASE("a late rank is waited for") {
  for (const auto mode : modes) {
    test::on_threads({.ranks = 3, .streams = mode, .timeout = {60}}, [](auto& rank) {
      rondel::faulty_communicator comm(
          rank.world().duplicate(),
          {.action = rondel::fault_action::delay, .rank = 1, .operation = 2, .delay = {0.05}});
      auto stream = rank.device().make_stream("test");
      five_reductions(comm, stream);
      CHECK(comm.operations() == 5);
    });
  }
}

TEST_CASE("run refuses less than one rank") {
  CHECK_THROWS_AS(rondel::run(rondel::threads{.ranks = 0}, [](auto&) {}), rondel::invalid_argument);
  CHECK_THROWS_AS(rondel::run(rondel::simulated{.ranks = -3}, [](auto&) {}),
                  rondel::invalid_argument);
}

TEST_CASE("run returns what the ranks return, in their order") {
  const auto squares = rondel::run(rondel::threads{.ranks = 5},
                                   [](auto& rank) { return rank.rank() * rank.rank(); });
  CHECK(squares == std::vector<int>{0, 1, 4, 9, 16});
}

TEST_CASE("the words of a rank reach its peers though its work still waits on a worker stream") {
  const rondel::threads engine{.ranks = 2, .streams = stream_mode::worker, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    five_reductions(comm, stream, 1);
    if (rank == 0) {
      stream.launch({.name = "slow"},
                    [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
      rondel::barrier(comm, stream);
      throw std::runtime_error("its own words");
    }
    rondel::barrier(comm, stream);
    rondel::barrier(comm, stream);
  });
  CHECK(all[1].kind == "peer_failed");
  CAPTURE(all[1].text);
  CHECK(contains(all[1].text, "its own words"));
}

TEST_CASE("a communicator that a handled exception destroys is missed at once") {
  const auto start = std::chrono::steady_clock::now();
  for (const auto mode : modes) {
    const rondel::threads engine{.ranks = 2, .streams = mode, .timeout = {60}};
    const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
      try {
        auto part = comm.duplicate();
        if (rank == 0) throw std::runtime_error("handled");
        rondel::barrier(part, stream);
        stream.synchronize();
      } catch (const std::runtime_error& e) {
        if (rank == 1) throw;
      }
    });
    CAPTURE(all[1].text);
    CHECK(all[1].kind == "peer_failed");
    CHECK(contains(all[1].text, "rank 0"));
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("communication behind a kernel that failed is told to the peers, with its words") {
  const auto start = std::chrono::steady_clock::now();
  const rondel::threads engine{.ranks = 2, .streams = stream_mode::worker, .timeout = {60}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {1});
    if (rank == 0) {
      stream.launch({.name = "broken"}, [] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        throw std::runtime_error("kernel trouble");
      });
      rondel::all_reduce(comm, stream, x.span());
      (void)comm.duplicate();  // its host does not look at the stream, but waits for rank 1
    } else {
      rondel::all_reduce(comm, stream, x.span());
      stream.synchronize();
    }
  });
  for (const auto& o : all) {
    CAPTURE(o.text);
    CHECK(o.kind == "peer_failed");
    CHECK(contains(o.text, "rank 0 failed first: its stream failed before all_reduce"));
    CHECK(contains(o.text, "kernel trouble"));
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("the deadline is that of the call, however many ranks trickle in") {
  const rondel::threads engine{.ranks = 4, .timeout = {0.5}};
  const auto all = outcomes(engine, plain, [](int rank, auto& comm, auto& stream) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400 * rank));
    rondel::barrier(comm, stream);
  });
  CHECK(all[0].kind == "timed_out");
}

TEST_CASE("ranks that cut an exchange by different types of blocks still agree or say so") {
  const rondel::threads engine{.ranks = 2, .timeout = {60}};
  test::on_threads(engine, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    uploaded<float> in(rank.device(), stream, {static_cast<float>(rank.rank()), 2, 3, 4});
    uploaded<float> out(rank.device(), stream, std::vector<float>(4));
    const rondel::even_blocks even(2, 2);
    const rondel::balanced_blocks balanced(4, 2);
    if (rank.rank() == 0) {
      rondel::all_to_all_v(rank.world(), stream, in.span(), even, out.span(), even);
    } else {
      rondel::all_to_all_v(rank.world(), stream, in.span(), balanced, out.span(), balanced);
    }
    const std::vector<float> expected =
        rank.rank() == 0 ? std::vector<float>{0, 2, 1, 2} : std::vector<float>{3, 4, 3, 4};
    CHECK(test::download(stream, out.span()) == expected);
  });
  const std::vector<std::size_t> none{0, 0};
  const auto all = outcomes(engine, plain, [&](int rank, auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {});
    uploaded<float> y(comm.device(), stream, {});
    const rondel::even_blocks even(0, 2);
    const rondel::uneven_blocks uneven(none);
    if (rank == 0) rondel::all_to_all_v(comm, stream, x.span(), even, y.span(), even);
    if (rank == 1) rondel::all_to_all_v(comm, stream, x.span(), uneven, y.span(), uneven);
  });
  for (const auto& o : all) CHECK(o.kind == "mismatched_operation");
}

TEST_CASE("a ring pass that its user leaves by an exception keeps the buffers until it is done") {
  const rondel::threads engine{.ranks = 2, .streams = stream_mode::worker, .timeout = {60}};
  for (int round = 0; round < 50; ++round) {
    const auto all = outcomes(engine, plain, [](int, auto& comm, auto& compute) {
      auto link = comm.device().make_stream("link");
      uploaded<float> a(comm.device(), compute, std::vector<float>(50000));
      uploaded<float> b(comm.device(), compute, std::vector<float>(50000));
      rondel::ring_pass(comm, compute, link, std::array{a.span(), b.span()},
                        [](rondel::device_span<const float>, int, int) {
                          throw std::runtime_error("the user has had enough");
                        });
    });
    for (const auto& o : all) CHECK(o.kind == "left");
  }
}

TEST_CASE("checked mode compares splits and host exchanges, and counts ranks in the world") {
  const auto with = [](int ranks, const auto& program) {
    return outcomes({.ranks = ranks, .timeout = {60}}, checked, program);
  };
  const auto split = with(2, [](int rank, auto& comm, auto& stream) {
    if (rank == 0) rondel::barrier(comm, stream);
    if (rank == 1) (void)comm.duplicate();
  });
  const auto exchange = with(2, [](int rank, auto& comm, auto& stream) {
    std::vector<std::byte> mine(64), all(128);
    if (rank == 0) rondel::barrier(comm, stream);
    if (rank == 1) comm.exchange_host(mine, all);
  });
  for (std::size_t r = 0; r < 2; ++r) {
    CAPTURE(split[r].text);
    CHECK(split[r].kind == "mismatched_operation");
    CHECK(contains(split[r].text, "barrier"));
    CHECK(contains(split[r].text, "split"));
    CHECK(exchange[r].kind == "mismatched_operation");
    CHECK(contains(exchange[r].text, "exchange_host"));
  }
  const auto upper = with(4, [](int rank, auto& comm, auto& stream) {
    auto half = comm.split(rank / 2, 0);
    if (rank == 2) rondel::barrier(*half, stream);
    if (rank == 3) {
      uploaded<float> x(half->device(), stream, {1});
      rondel::all_reduce(*half, stream, x.span());
    }
  });
  CAPTURE(upper[3].text);
  CHECK(contains(upper[3].text, "rank 3 calls all_reduce(sum, 1 x f32)"));
  CHECK(contains(upper[3].text, "while rank 2 calls barrier"));
}

// The free functions compare sizes first; the engine does not rely on it, for it copies.
TEST_CASE("members of the engine refuse an input that is larger than its block") {
  const auto all =
      outcomes({.ranks = 2, .timeout = {60}}, plain, [](int, auto& comm, auto& stream) {
        uploaded<float> large(comm.device(), stream, std::vector<float>(2048));
        uploaded<float> small(comm.device(), stream, std::vector<float>(2));
        const rondel::even_blocks blocks(1, 2);
        const rondel::device_span<const float> in = large.span();
        const auto refused = [&](rondel::operation_kind kind, const std::string& most,
                                 auto&& call) {
          const rondel::operation_scope scope(comm, stream, {.kind = kind});
          CHECK(test::message_of<rondel::invalid_argument>(call) ==
                "an input of 8192 B, where no rank's has more than " + most);
        };
        refused(rondel::operation_kind::gather, "4 B",
                [&] { comm.gather(stream, in, small.span(), blocks, 0); });
        refused(rondel::operation_kind::all_gather, "4 B",
                [&] { comm.all_gather(stream, in, small.span(), blocks); });
        if (comm.rank() == 0) {
          refused(rondel::operation_kind::scatter, "8 B",
                  [&] { comm.scatter(stream, in, small.span(), blocks, 0); });
        }
      });
  for (const auto& o : all) CHECK(o.text.empty());
}

TEST_CASE("a reduction in rank order is another operation than one in any") {
  const auto any = [](auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {1, 2});
    rondel::all_reduce(comm, stream, x.span());
    stream.synchronize();
  };
  const auto ordered = [](auto& comm, auto& stream) {
    uploaded<float> x(comm.device(), stream, {1, 2});
    rondel::all_reduce(comm, stream, x.span(), rondel::in_rank_order(rondel::sum{}));
    stream.synchronize();
  };
  check_mismatch(plain, ordered, any, "all_reduce(sum in rank order, 2 x f32)",
                 "all_reduce(sum, 2 x f32)");
  check_mismatch(checked, ordered, any, "all_reduce(sum in rank order, 2 x f32)",
                 "all_reduce(sum, 2 x f32)");
}

}  // namespace
