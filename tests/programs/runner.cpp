#include "runner.hpp"

#include <rondel/launch.hpp>

#include "rank_run.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace programs {
namespace {

using clock = std::chrono::steady_clock;

// Ends the process when something takes too long; nothing else ends a hang with words.
class watchdog {
 public:
  watchdog() : watching_([this](const std::stop_token& stop) { watch(stop); }) {}

  std::uint64_t add(const std::string& name, double patience) {
    const std::lock_guard lock(mutex_);
    watched_.emplace(++last_,
                     watched{name, clock::now() + std::chrono::duration_cast<clock::duration>(
                                                      std::chrono::duration<double>(patience))});
    return last_;
  }
  void remove(std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    watched_.erase(number);
  }

 private:
  struct watched {
    std::string name;
    clock::time_point end;
  };

  void watch(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, stop, std::chrono::milliseconds(500),
                              [&] { return stop.stop_requested(); })) {
      for (const auto& [number, one] : watched_) {
        if (clock::now() < one.end) continue;
        std::fprintf(stderr, "a program hangs: %s\n", one.name.c_str());
        std::abort();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, watched> watched_;
  std::uint64_t last_ = 0;
  std::jthread watching_;
};

watchdog& the_watchdog() {
  static watchdog one;
  return one;
}

double now() { return std::chrono::duration<double>(clock::now().time_since_epoch()).count(); }

// What a rank that is to fail throws.
struct planned_failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the ranks of one run share beside the library.
struct shared {
  explicit shared(int ranks) : gate(ranks), still_running(ranks) {}

  std::latch gate;
  std::atomic<int> still_running;
  std::atomic<double> fault{0};
};

std::vector<std::byte> as_vector(const std::vector<std::int32_t>& x) {
  const auto bytes = std::as_bytes(std::span(x));
  return {bytes.begin(), bytes.end()};
}

// One rank's whole program. Returns by which fault it ended, if by one.
class player {
 public:
  player(const program& p, auto& context, shared& common, ending& end)
      : program_(p),
        context_(&context.world()),
        shared_(common),
        ending_(end),
        run_(p, context.rank(), context.device()) {}
  player(const player&) = delete;
  player& operator=(const player&) = delete;
  // A rank that ends before the gate must not keep the others from passing it.
  ~player() {
    if (program_.gathered && !passed_) shared_.gate.count_down();
  }

  [[nodiscard]] std::optional<fault> play(const expectation* right) {
    make();
    for (std::size_t i = 0; i < program_.steps.size(); ++i) {
      if (program_.what != fault::none && i == program_.faulty_step) {
        if (program_.gathered) gather();
        if (run_.rank == program_.faulty_rank) {
          shared_.fault = now();
          if (program_.what != fault::differs) return strike();
          perform(program_.instead, i);
          continue;
        }
      }
      perform(program_.steps[i], i);
    }
    for (std::size_t s = 0; s < run_.streams.size(); ++s) {
      rondel::download(run_.streams[s], std::span(run_.held[s]), run_.registers[s].span());
    }
    for (auto& stream : run_.streams) stream.synchronize();
    if (right != nullptr) compare(*right);
    return std::nullopt;
  }

 private:
  void make() {
    auto& world = *context_;
    run_.results.resize(program_.steps.size());
    run_.who = slots_after(program_, program_.steps.size());
    for (const form f : program_.forms) {
      auto& slot = run_.slots.emplace_back();
      auto bare = world.duplicate();
      switch (f) {
        case form::fast:
          slot.emplace(std::move(bare));
          break;
        case form::generic:
          slot.emplace(generic_comm(std::move(bare)));
          break;
        case form::checked:
          slot.emplace(checked_comm(rondel::fingerprint_communicator(std::move(bare)), run_.book));
          break;
        case form::checked_generic:
          slot.emplace(checked_generic_comm(
              rondel::fingerprint_communicator(generic_comm(std::move(bare))), run_.book));
          break;
      }
    }
    const auto streams = static_cast<std::size_t>(program_.streams);
    run_.held.assign(streams, std::vector<std::int32_t>(register_size));
    zeros_.assign(register_size, 0);
    run_.streams.reserve(streams);
    for (std::size_t s = 0; s < streams; ++s) {
      auto& stream = run_.streams.emplace_back(run_.device.make_stream("program", program_.mode));
      auto& held = run_.registers.emplace_back(run_.device, stream, register_size);
      rondel::upload(stream, held.span(), zeros_);
    }
  }

  void gather() {
    for (auto& stream : run_.streams) stream.synchronize();
    passed_ = true;
    shared_.gate.arrive_and_wait();
    for (auto& slot : run_.slots) {
      if (slot) std::visit([&](auto& comm) { comm.set_timeout({program_.timeout}); }, *slot);
    }
  }

  [[nodiscard]] fault strike() {
    switch (program_.what) {
      case fault::fails:
        throw planned_failure(rondel::concat("planned failure of rank ", run_.rank));
      case fault::vanishes:
        context_->vanish();
        throw rondel::injected_death("a planned death");
      case fault::stays:
        for (int left = shared_.still_running.load(); left > 1;
             left = shared_.still_running.load()) {
          shared_.still_running.wait(left);
        }
        break;
      default:
        break;
    }
    return program_.what;
  }

  void perform(const step& s, std::size_t index) {
    pause(s);
    if (s.what == special::idle) return;
    if (s.what == special::join) return join(s);
    auto& slot = run_.slots[static_cast<std::size_t>(s.slot)];
    if (s.what == special::no_slot) run_.slots.emplace_back();
    if (slot) {
      std::visit([&](auto& comm) { call(comm, run_, s, index); }, *slot);
    } else if (s.kind == operation_kind::split) {
      run_.slots.emplace_back();
    }
  }

  void pause(const step& s) {
    const auto draw = mixed(s.seed, 77, static_cast<std::uint64_t>(run_.rank));
    if (s.jitter <= 0 || draw % 4 > 1) return;
    const std::chrono::duration<double> time(s.jitter * static_cast<double>((draw >> 8) % 1000) /
                                             1000);
    if (draw % 4 == 0) {
      std::this_thread::sleep_for(time);
    } else {
      run_.streams[static_cast<std::size_t>(s.stream)].launch(
          {.name = "pause"}, [time] { std::this_thread::sleep_for(time); });
    }
  }

  void join(const step& s) {
    auto& to = run_.streams[static_cast<std::size_t>(s.stream)];
    auto& from = run_.streams[static_cast<std::size_t>(s.other)];
    auto written = run_.device.make_event(), read = run_.device.make_event();
    from.record(written);
    to.wait(written);
    to.copy(rondel::as_writable_bytes(run_.registers[static_cast<std::size_t>(s.stream)].span()),
            rondel::as_bytes(run_.registers[static_cast<std::size_t>(s.other)].span()));
    to.record(read);
    from.wait(read);
  }

  void compare(const expectation& right) {
    const auto rank = static_cast<std::size_t>(run_.rank);
    for (std::size_t i = 0; i < program_.steps.size(); ++i) {
      check(rondel::concat("result of step ", i), run_.results[i], right.results[i][rank]);
    }
    for (std::size_t s = 0; s < run_.held.size(); ++s) {
      check(rondel::concat("register of stream ", s), as_vector(run_.held[s]),
            as_vector(right.registers[rank][s]));
    }
  }
  void check(const std::string& what, const std::vector<std::byte>& is,
             const std::vector<std::byte>& expected) {
    if (is == expected) return;
    std::size_t at = 0;
    while (at < is.size() && at < expected.size() && is[at] == expected[at]) ++at;
    ending_.wrong.push_back(rondel::concat(what, ": ", is.size(), " B of ", expected.size(),
                                           ", different from byte ", at));
  }

  const program& program_;
  rondel::thread_communicator<rondel::host_device>* context_;
  shared& shared_;
  ending& ending_;
  std::vector<std::int32_t> zeros_;
  rank_run run_;
  bool passed_ = false;
};

}  // namespace

std::vector<ending> run(const program& p, const expectation* right, const std::string& name,
                        double patience) {
  const auto watched = the_watchdog().add(name, patience);
  std::vector<ending> endings(static_cast<std::size_t>(p.ranks));
  shared common(p.ranks);
  const rondel::threads engine{
      .ranks = p.ranks, .streams = p.mode, .timeout = {p.gathered ? 60.0 : p.timeout}};
  try {
    rondel::run(engine, [&](auto& rank) {
      ending& end = endings[static_cast<std::size_t>(rank.rank())];
      const auto note = [&](const char* kind, const std::exception& e) {
        end.kind = kind;
        end.text = e.what();
      };
      struct on_exit {
        ~on_exit() {
          end.at = now();
          end.live = device.memory().live;
          common.still_running.fetch_sub(1);
          common.still_running.notify_all();
        }
        ending& end;
        shared& common;
        rondel::host_device& device;
      } const leaving{end, common, rank.device()};
      try {
        const auto struck = player(p, rank, common, end).play(right);
        if (struck == fault::leaves) end.kind = "left";
        if (struck == fault::stays) end.kind = "stayed";
      } catch (const planned_failure& e) {
        note("failed", e);
        throw;
      } catch (const rondel::injected_death& e) {
        note("vanished", e);
        throw;
      } catch (const rondel::peer_failed& e) {
        note("peer_failed", e);
        end.reporter = e.rank();
        end.named = e.failed_rank();
        throw;
      } catch (const rondel::timed_out& e) {
        note("timed_out", e);
        end.reporter = e.rank();
        throw;
      } catch (const rondel::mismatched_operation& e) {
        note("mismatched_operation", e);
        end.reporter = e.rank();
        throw;
      } catch (const std::exception& e) {
        note("another exception", e);
        throw;
      }
    });
  } catch (const std::exception&) {
    // How each rank ended is in `endings`.
  }
  the_watchdog().remove(watched);
  for (ending& end : endings) end.at -= common.fault;
  return endings;
}

double setting(const char* name, double otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == 0 ? otherwise : std::strtod(value, nullptr);
}

}  // namespace programs
