#pragma once
#include <rondel/comm/nccl_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/operation.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/cuda_check.hpp>
#include <rondel/trace/flight_recorder.hpp>
#include <rondel/trace/flight_report.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace rondel::detail {

// Non-blocking, because only such a communicator can be given up.
[[nodiscard]] inline ncclConfig_t nccl_config() noexcept {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

// A rank's side of a communicator. Its world keeps it until the end.
//
// What was queued is followed by marks: events behind the operations, the oldest first. They order
// the operations across streams, tell whether something is under way, and whether it moves on.
template <device Device>
class nccl_member final : public nccl_entry,
                          public std::enable_shared_from_this<nccl_member<Device>> {
 public:
  using stream_type = typename Device::stream_type;
  using event_type = typename Device::event_type;

  nccl_member(nccl_world& w, Device& d, std::shared_ptr<stream_type> host,
              std::shared_ptr<nccl_roll> r, int rank_, seconds t)
      : world(w),
        device(&d),
        host_stream(std::move(host)),
        roll(std::move(r)),
        rank(rank_),
        timeout(t),
        log(w.state().recorder().log(roll->flights, rank_)),
        scratch(d, *host_stream, scratch_bytes),
        captured_(d.make_event()) {
    for (auto& one : marks_) one.emplace(mark{d.make_event(), {}, 0, flight_call().piece()});
    host_stream->record(marks_[last_]->event);  // other streams may use scratch after this
    last_stream_ = host_stream->native();
  }
  nccl_member(const nccl_member&) = delete;
  nccl_member& operator=(const nccl_member&) = delete;
  ~nccl_member() override {
    try {
      order(*host_stream);  // then scratch goes
    } catch (...) {
      // The stream has failed: nothing runs there any more.
    }
  }

  [[nodiscard]] int size() const noexcept { return static_cast<int>(roll->ranks.size()); }
  [[nodiscard]] static std::string words_of(const operation& op, std::uint64_t number) {
    if (op.kind == operation_kind::none) return "joining the world";
    return concat(to_string(op), " #", number);
  }

  [[nodiscard]] std::string words() const { return words_of(now.op, now.sequence); }

  // What lies between begin and end.
  struct call_state {
    operation op;
    std::uint64_t sequence = 0;
    flight_call flight{};
    flight_piece piece = flight_call().piece();
    stream_type* stream = nullptr;
    bool counted = true, issued = false, capturing = false;
  };

  // Opens an operation on `s`, behind those before it on other streams.
  void begin(stream_type& s, const operation& op) {
    now = {};
    now.op = op;
    now.sequence = ++calls;
    now.stream = &s;
    if (world.failed() || handle == nullptr) check_open(words());
    now.counted = !is_collective(op.kind);
    now.flight = log.issue(op, now.sequence);
    auto capture = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(s.native(), &capture), "cudaStreamIsCapturing");
    now.capturing = capture != cudaStreamCaptureStatusNone;
    if (now.capturing) {
      if (captures++ == 0) first_captured = {op, now.sequence};
      if (captured_stream_ != nullptr && captured_stream_ != s.native()) s.wait(captured_);
      captured_stream_ = s.native();
    } else {
      captured_stream_ = nullptr;
      order(s);
      s.watch(this->shared_from_this());
    }
  }

  void end() noexcept {
    if (now.issued && handle != nullptr) {
      try {
        if (now.capturing) {
          now.stream->record(captured_);
          now.piece.finish();  // it runs when its graph does
        } else {
          mark_end(*now.stream, now.op, now.sequence, now.piece);
        }
      } catch (const std::exception& e) {
        world.fail(e.what());
      } catch (...) {
        world.fail("its stream failed");
      }
    }
    now.flight.close();
    now = {};
  }

  // Calls `f(communicator, stream)`, which returns what NCCL did, and waits until NCCL has queued
  // it.
  template <class F>
  void issue(stream_type& s, work cost, const char* what, const F& f) {
    cost.name = to_string(now.op.kind);
    if (!std::exchange(now.counted, true)) {
      roll->places[static_cast<std::size_t>(rank)].collectives.fetch_add(1);
    }
    try {
      s.launch(cost, [&](cudaStream_t native) {
        const std::lock_guard lock(world.calls);
        if (handle == nullptr) world.throw_failed(words());
        now.piece = now.flight.piece();
        now.piece.start();
        settle(f(handle, native), what);
        // NCCL may leave an error of a call that it went on after.
        (void)cudaGetLastError();
        now.issued = true;
      });
    } catch (const std::exception& e) {
      if (!world.state().failed()) {
        world.fail(concat("its stream failed before ", words(), ": ", e.what()));
      }
      world.abort_all();
      throw;
    }
  }

  // Waits until the communicator takes calls again. `world.calls` is held.
  void settle(ncclResult_t result, const char* call) {
    patience left{timeout};
    for (unsigned i = 0; result == ncclInProgress; ++i) {
      if (i != 0) rest(i);
      if (world.failed()) {
        world.abort_locked();
        world.throw_failed(words());
      }
      const ncclResult_t asked = ncclCommGetAsyncError(handle, &result);
      if (asked != ncclSuccess) result = asked;
      if (result != ncclInProgress) break;
      look_for_the_absent(words());
      left.start();
      if (patience::clock::now() > left.end) throw_timed_out(words());
    }
    if (result != ncclSuccess) throw_result(words(), call, result);
  }

  // What a stream with operations of this communicator asks while the host waits for it.
  void poll() override {
    const std::unique_lock lock(world.calls, std::try_to_lock);
    if (!lock.owns_lock()) return;  // who has it looks after the world
    if (spoiled_) world.throw_failed(spoiled_words_);
    if (!pending()) return;
    const mark& oldest = *marks_[first_];
    const auto text = [&] { return words_of(oldest.op, oldest.sequence); };
    if (world.failed()) {
      world.abort_locked();
      world.throw_failed(text());
    }
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(handle, &state);
    if (asked != ncclSuccess) state = asked;
    if (state != ncclSuccess && state != ncclInProgress) {
      throw_result(text(), "ncclCommGetAsyncError", state);
    }
    look_for_the_absent(text());
    if (watched_ != oldest.sequence || watched_calls_ != calls) {
      watched_ = oldest.sequence;
      watched_calls_ = calls;
      waited_ = {timeout};
    }
    waited_.start();
    if (patience::clock::now() > waited_.end) throw_timed_out(text());
  }

  // Blocks until all that was queued is done. Throws what ends the wait.
  void drain() {
    marks_[last_]->event.synchronize();
    poll();
  }

  void spoil() noexcept override {
    try {
      if (handle == nullptr || !pending()) return;
      spoiled_words_ = words_of(marks_[first_]->op, marks_[first_]->sequence);
    } catch (...) {
      // Then it is unknown, which is no better.
    }
    spoiled_ = true;
  }

  // Throws unless the communicator takes calls; `text` is the one that is about to be made.
  void check_open(const std::string& text) {
    if (world.failed()) {
      world.abort_all();
      world.throw_failed(text);
    }
    if (handle == nullptr) {
      throw invalid_argument(
          concat("rank ", world.rank, " calls ", text, " on a communicator that was closed"));
    }
  }

  // Puts what comes next on `s` behind all that was queued elsewhere.
  void order(stream_type& s) {
    if (last_stream_ != s.native()) s.wait(marks_[last_]->event);
  }
  // Sets a mark behind what `s` has.
  void mark_end(stream_type& s, const operation& op, std::uint64_t number, flight_piece piece) {
    const std::lock_guard lock(world.calls);
    (void)pending();
    // When all are in use, the newest moves on.
    if (count_ < marks_.size()) ++count_;
    last_ = (first_ + count_ - 1) % marks_.size();
    last_stream_ = s.native();
    mark& m = *marks_[last_];
    m.op = op;
    m.sequence = number;
    m.piece = piece;
    s.record(m.event);
  }
  // This rank makes no more calls.
  void leave(bool unwound) noexcept {
    if (world.state().doing(world.rank).silent.load()) return;
    roll->places[static_cast<std::size_t>(rank)].left.store(unwound ? nccl_roll::presence::unwound
                                                                    : nccl_roll::presence::left);
  }

  static constexpr std::size_t scratch_bytes = 256;

  nccl_world& world;
  Device* device;
  std::shared_ptr<stream_type> host_stream;  // of what the host waits for at once
  std::shared_ptr<nccl_roll> roll;
  int rank;
  seconds timeout;
  flight_log log;
  call_state now{};
  std::uint64_t calls = 0;
  std::uint64_t splits = 0;
  device_array<std::byte, Device> scratch;  // what barriers and empty messages move
  ncclComm_t part = nullptr;                // of a split, which NCCL writes when it likes
  std::uint64_t captures = 0;               // operations that a graph has taken; the first of them
  std::pair<operation, std::uint64_t> first_captured;

 private:
  struct mark {
    event_type event;
    operation op;
    std::uint64_t sequence;
    flight_piece piece;
  };

  static void rest(unsigned round) {
    if (round < 200) {
      sync::yield();
    } else {
      sync::sleep_for(std::chrono::microseconds(50));
    }
  }

  // Whether something is under way; takes off what is done. `world.calls` is held.
  [[nodiscard]] bool pending() {
    while (count_ != 0 && marks_[first_]->event.ready()) {
      marks_[first_]->piece.finish();
      first_ = (first_ + 1) % marks_.size();
      --count_;
    }
    return count_ != 0;
  }

  template <class Error, class... More>
  [[noreturn]] void give_up(const std::string& reason, More... more) {
    world.fail(reason);
    world.abort_locked();
    throw Error(reason, world.rank, more...);
  }

  [[noreturn]] void throw_result(const std::string& text, const char* call, ncclResult_t result) {
    give_up<communication_error>(
        concat("rank ", world.rank, " in ", text, ": ", nccl_text(call, result, handle)));
  }

  // A peer that has left without a call that this rank has made and waits in.
  void look_for_the_absent(const std::string& text) {
    if (!world.sees_all_ranks) return;
    bool any = false;
    for (int r = 0; r < size(); ++r) {
      const auto away = roll->places[static_cast<std::size_t>(r)].left.load();
      if (r == rank || away == nccl_roll::presence::here || !roll->behind(r, rank)) continue;
      any = true;
      const int peer = roll->ranks[static_cast<std::size_t>(r)];
      const bool unwound = away == nccl_roll::presence::unwound;
      if (unwound) {
        grace_.start();
        if (patience::clock::now() <= grace_.end) continue;
      }
      world.state().fail(peer, unwound ? "an exception has taken its communicator away"
                                       : "it has left the communicator");
      give_up<peer_failed>(
          concat("rank ", world.rank, " in ", text, ": rank ", peer, " has left the communicator"),
          peer);
    }
    if (!any) grace_ = {unwinding_grace};
  }

  [[noreturn]] void throw_timed_out(const std::string& text) {
    std::string all = concat("rank ", world.rank, " in ", text, " waited ", timeout.value, " s: ");
    std::vector<int> missing;
    for (int r = 0; r < size(); ++r) {
      if (r != rank && roll->behind(r, rank)) {
        missing.push_back(roll->ranks[static_cast<std::size_t>(r)]);
      }
    }
    if (!world.sees_all_ranks) {
      all += "which of the others are missing is not known in this process";
    } else if (missing.empty()) {
      all += "all ranks have called it, and it does not end";
    } else {
      all += concat(ranks_text(missing), missing.size() == 1 ? " is missing" : " are missing");
      const flight_snapshot flights = world.state().flights();
      const flight_view view(flights);
      for (const int r : missing) {
        if (flights.ranks.empty()) break;
        const flight_record* const last = view.last(r);
        all += last == nullptr ? concat("; rank ", r, ": it has called nothing yet")
                               : concat("; rank ", r, ": its last call was ", view.name(*last));
      }
    }
    give_up<timed_out>(all);
  }

  static constexpr seconds unwinding_grace{0.1};

  event_type captured_;
  cudaStream_t captured_stream_ = nullptr;
  std::array<std::optional<mark>, 32> marks_;
  std::size_t first_ = 0, count_ = 0, last_ = 0;
  cudaStream_t last_stream_ = nullptr;
  bool spoiled_ = false;
  std::string spoiled_words_;
  std::uint64_t watched_ = 0, watched_calls_ = 0;
  patience waited_{}, grace_{unwinding_grace};
};

}  // namespace rondel::detail
