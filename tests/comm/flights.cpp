// The last calls of the ranks in what `run` throws.
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/comm/fingerprint.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/launch.hpp>
#include <rondel/trace/flight_report.hpp>

#include "host_data.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::stream_mode;

// What `run` throws when the ranks of `engine` reduce twice and then do `last(rank, stream, x)`.
template <class Error, class Last>
std::string words_of(const rondel::threads& engine, const Last& last) {
  try {
    rondel::run(engine, [&](auto& rank) {
      auto stream = rank.device().make_stream("test");
      test::uploaded<float> x(rank.device(), stream, std::vector<float>(16));
      for (int i = 0; i < 2; ++i) rondel::all_reduce(rank.world(), stream, x.span());
      last(rank, stream, x.span());
      stream.synchronize();
    });
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CAPTURE(part);
  return text.find(part) != std::string::npos;
}

TEST_CASE("a mismatch shows who called what") {
  for (const auto mode : {stream_mode::immediate, stream_mode::worker}) {
    const auto words = words_of<rondel::mismatched_operation>(
        {.ranks = 4, .streams = mode, .timeout = {60}}, [](auto& rank, auto& stream, auto x) {
          if (rank.rank() == 1) rondel::broadcast(rank.world(), stream, x, 0);
          if (rank.rank() != 1) rondel::all_reduce(rank.world(), stream, x);
        });
    CHECK(contains(
        words,
        "\nrank 1 is the first to diverge: it called broadcast(root 0, 16 x f32) #3 where "
        "the others called all_reduce(sum, 16 x f32) #3\n"
        "  call                          ranks 0, 2 and 3  rank 1\n"
        "  all_reduce(sum, 16 x f32) #1  done              done\n"
        "  all_reduce(sum, 16 x f32) #2  done              done\n"
        "  all_reduce(sum, 16 x f32) #3  waits             > broadcast(root 0, 16 x f32) #3"));
  }
}

TEST_CASE("so does one over messages in the checked mode") {
  const auto words = words_of<rondel::mismatched_operation>(
      {.ranks = 3, .timeout = {60}}, [](auto& rank, auto& stream, auto x) {
        rondel::fingerprint_communicator comm(rondel::send_recv_only(rank.world().duplicate()));
        rondel::all_reduce(comm, stream, rank.rank() == 2 ? x.first(9) : x);
      });
  CHECK(contains(words, "\nrank 2 is the first to diverge: it called all_reduce(sum, 9 x f32) #1"));
}

TEST_CASE("a deadline shows who is missing, has left, or is held up by its stream") {
  const auto missing = words_of<rondel::timed_out>(
      {.ranks = 3, .timeout = {0.1}}, [](auto& rank, auto& stream, auto) {
        auto pair = rank.world().split(rank.rank() / 2, 0);
        if (rank.rank() == 0) rondel::barrier(*pair, stream);
        if (rank.rank() == 2) std::this_thread::sleep_for(std::chrono::milliseconds(400));
        rondel::barrier(rank.world(), stream);
      });
  CHECK(
      contains(missing,
               "\nrank 2 is the first to diverge: it is not in barrier #5, where rank 1 waits; the "
               "last call of rank 2 was split #4\n"));
  const auto left = words_of<rondel::peer_failed>({.ranks = 3, .timeout = {60}},
                                                  [](auto& rank, auto& stream, auto) {
                                                    if (rank.rank() != 1)
                                                      rondel::barrier(rank.world(), stream);
                                                  });
  CHECK(contains(left, "\nrank 1 is the first to diverge: it is not in barrier #3"));
  std::atomic<bool> over{false};
  const auto held =
      words_of<rondel::timed_out>({.ranks = 2, .streams = stream_mode::worker, .timeout = {0.1}},
                                  [&](auto& rank, auto& stream, auto x) {
                                    if (rank.rank() == 1) {
                                      stream.launch({.name = "slow"}, [&] { over.wait(false); });
                                    }
                                    rondel::all_reduce(rank.world(), stream, x);
                                    try {
                                      stream.synchronize();
                                    } catch (...) {
                                      over = true;
                                      over.notify_all();
                                      throw;
                                    }
                                  });
  CHECK(contains(held,
                 "\nrank 1 is the first to diverge: it called all_reduce(sum, 16 x f32) #3, but no "
                 "stream has come to it; rank 0 waits in it"));
}

TEST_CASE("two sends that face each other are shown") {
  const auto words = words_of<rondel::timed_out>(
      {.ranks = 2, .timeout = {0.1}}, [](auto& rank, auto& stream, auto x) {
        rondel::send(rank.world(), stream, x, 1 - rank.rank());
      });
  CHECK(contains(words,
                 "\nthe ranks wait for each other: rank 0 waits in send_recv #3 to rank 1; rank 1 "
                 "waits in send_recv #3 to rank 0"));
}

TEST_CASE("the words of a program's own exception are left alone, as are those without records") {
  const auto program = [](auto& rank, auto& stream, auto) {
    if (rank.rank() == 1) throw std::runtime_error("own words");
    rondel::barrier(rank.world(), stream);
  };
  CHECK(words_of<std::runtime_error>({.ranks = 2, .timeout = {60}}, program) == "own words");
  const auto leave = [](auto& rank, auto& stream, auto) {
    if (rank.rank() != 1) rondel::barrier(rank.world(), stream);
  };
  const auto words =
      words_of<rondel::peer_failed>({.ranks = 2, .timeout = {60}, .flight_records = 0}, leave);
  CHECK(contains(words, "rank 1 has left the communicator"));
  CHECK(words.find('\n') == std::string::npos);
}

TEST_CASE("the last calls may be read at any time") {
  rondel::run(rondel::threads{.ranks = 2, .timeout = {60}}, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    for (int i = 0; i < 200; ++i) {
      rondel::barrier(rank.world(), stream);
      const auto flights = rank.world().flights();
      const auto& own = flights.ranks[static_cast<std::size_t>(rank.rank())];
      CHECK(own.back().sequence == static_cast<std::uint64_t>(i) + 1);
      CHECK(own.back().state == rondel::flight_state::completed);
    }
  });
}

TEST_CASE("on simulated devices every call is done") {
  rondel::run(rondel::simulated{.ranks = 2}, [](auto& rank) {
    auto stream = rank.device().make_stream("test");
    for (int i = 0; i < 100; ++i) rondel::barrier(rank.world(), stream);
    const auto flights = rank.world().flights();
    const auto& own = flights.ranks[static_cast<std::size_t>(rank.rank())];
    CHECK(own.back().sequence == 100);
    for (const auto& r : own) CHECK(r.state == rondel::flight_state::completed);
  });
}

}  // namespace
