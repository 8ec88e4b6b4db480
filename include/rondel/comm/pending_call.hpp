#pragma once
#include <rondel/comm/patience.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace rondel::detail {

// The current call of a member on its way through a stream: a copy of it, or a reference where the
// caller waits. If the stream fails first and drops it, the peers wait for nothing, so its end
// without having run is the world's failure.
//
// A `Member` is a rank's side of a communicator: `thread_member` and those like it.
template <class Member, class Call = decltype(Member::current)>
class pending_call {
 public:
  // With `must_run` false, for devices that run nothing, its end means nothing.
  pending_call(Member& member, bool must_run) noexcept
      : member_(&member),
        call_(member.current),
        flight_(member.flight.piece()),
        must_run_(must_run) {
    call_.left.timeout = member.timeout;
    if (!must_run) flight_.finish();
  }
  pending_call(pending_call&& other) noexcept
      : member_(other.member_),
        call_(other.call_),
        flight_(other.flight_),
        must_run_(std::exchange(other.must_run_, false)) {}
  pending_call& operator=(pending_call&&) = delete;
  ~pending_call() {
    if (!must_run_) return;
    auto& world = member_->group->world();
    const int rank = member_->group->world_rank(member_->rank);
    try {
      world.fail(rank, concat("its stream failed before ", member_->group->describe(call_), ": ",
                              world.stream_failure(rank)));
    } catch (...) {
      world.fail(rank, "its stream failed");
    }
  }

  // The call runs now, `body(group, call)`, when all earlier ones of its communicator have. Their
  // deadlines end this wait; one of its own would name the wrong call, or none that waits for
  // peers.
  template <class Body>
  void run(std::uint64_t ticket, Body& body) {
    must_run_ = false;
    auto& group = *member_->group;
    group.run(call_, [&] {
      const auto has_turn = [&] {
        return member_->served.load(std::memory_order_seq_cst) == ticket;
      };
      patience forever{{1e9}};
      if (!has_turn() && !group.world().wait(forever, has_turn)) group.check_world(call_);
      flight_.start();
      body(group, call_);
      flight_.finish();
    });
  }

 private:
  Member* member_;
  Call call_;
  flight_piece flight_;
  bool must_run_;
};

// The current call while its caller waits for it to have run.
template <class Member>
struct call_in_place : pending_call<Member, decltype((std::declval<Member&>().current))> {
  using call_in_place::pending_call::pending_call;
};
template <class Member>
call_in_place(Member&, bool) -> call_in_place<Member>;

// A pending call that outlives the communicator's own share of the member.
template <class Member>
struct queued_call {
  queued_call(std::shared_ptr<Member> m, bool must_run)
      : member(std::move(m)), call(*member, must_run) {}
  std::shared_ptr<Member> member;
  pending_call<Member> call;
};

}  // namespace rondel::detail
