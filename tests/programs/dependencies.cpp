#include "dependencies.hpp"

#include <rondel/collective/all_gather.hpp>
#include <rondel/collective/all_reduce.hpp>
#include <rondel/collective/all_to_all.hpp>
#include <rondel/collective/barrier.hpp>
#include <rondel/collective/broadcast.hpp>
#include <rondel/collective/gather.hpp>
#include <rondel/collective/reduce_scatter.hpp>
#include <rondel/collective/ring_pass.hpp>
#include <rondel/collective/send_recv.hpp>
#include <rondel/comm/send_recv_only.hpp>
#include <rondel/launch.hpp>

#include "model.hpp"

#include <array>
#include <map>
#include <tuple>
#include <utility>

namespace programs {
namespace {

// What one rank sends and receives in one operation, batch by batch; `begins` counts the
// operations.
struct batch_record {
  struct message {
    int peer;
    bool sends;
  };
  std::size_t begin = 0;
  std::vector<message> messages{};
};

template <rondel::communicator C>
class recording : public rondel::forwarding_communicator<recording<C>, C> {
 public:
  using base = rondel::forwarding_communicator<recording<C>, C>;

  recording(C inner, std::vector<batch_record>& record)
      : base(std::move(inner)), record_(&record) {}
  [[nodiscard]] recording rewrap(C inner) const { return {std::move(inner), *record_}; }

  void before(rondel::stream_of<C>&, const rondel::operation&) { ++begins_; }
  [[nodiscard]] typename base::batch_type batch(rondel::stream_of<C>& s) {
    record_->push_back({begins_});
    return base::batch(s);
  }
  void sends(int peer, std::size_t) { record_->back().messages.push_back({peer, true}); }
  void receives(int peer, std::size_t) { record_->back().messages.push_back({peer, false}); }

 private:
  std::vector<batch_record>* record_;
  std::size_t begins_ = 0;
};

// The batches of rank `rank` in step `s` of a communicator of `size`, by the generic form.
std::vector<std::vector<batch_record>> batches_of(const step& s, int size) {
  return rondel::run(rondel::simulated{.ranks = size}, [&](auto& context) {
    std::vector<batch_record> out;
    recording comm(rondel::send_recv_only(context.world().duplicate()), out);
    auto& device = context.device();
    auto stream = device.make_stream("record");
    const int rank = comm.rank();
    const int root = root_of(s, size);
    const auto n = static_cast<std::size_t>(size);
    auto one_array = rondel::make_array<std::int32_t>(device, stream, n);
    auto other_array = rondel::make_array<std::int32_t>(device, stream, n);
    const auto all = one_array.span(), others = other_array.span();
    const auto own = others.first(1);
    switch (s.kind) {
      case operation_kind::barrier:
        rondel::barrier(comm, stream);
        break;
      case operation_kind::broadcast:
        rondel::broadcast(comm, stream, all, root);
        break;
      case operation_kind::gather:
        rondel::gather(comm, stream, own, all, root);
        break;
      case operation_kind::scatter:
        rondel::scatter(comm, stream, all, own, root);
        break;
      case operation_kind::all_gather:
        rondel::all_gather(comm, stream, own, all);
        break;
      case operation_kind::reduce_scatter:
        in_order(s.op)
            ? rondel::reduce_scatter(comm, stream, all, own, rondel::in_rank_order(rondel::sum{}))
            : rondel::reduce_scatter(comm, stream, all, own);
        break;
      case operation_kind::all_reduce:
        in_order(s.op) ? rondel::all_reduce(comm, stream, all, rondel::in_rank_order(rondel::sum{}))
                       : rondel::all_reduce(comm, stream, all);
        break;
      case operation_kind::all_to_all:
        rondel::all_to_all(comm, stream, all, others);
        break;
      case operation_kind::ring_pass:
        rondel::ring_pass(comm, stream, stream, std::array{all, others},
                          [](rondel::device_span<const std::int32_t>, int, int) {},
                          {.direction = s.backward ? rondel::ring_direction::backward
                                                   : rondel::ring_direction::forward,
                           .return_home = s.home});
        break;
      case operation_kind::send_recv: {
        batch_record batch{1};
        for (const message& m : messages_of(s, size)) {
          if (m.to == rank) batch.messages.push_back({m.from, false});
          if (m.from == rank) batch.messages.push_back({m.to, true});
        }
        if (!batch.messages.empty()) out.push_back(batch);
        break;
      }
      default:
        break;
    }
    return out;
  });
}

}  // namespace

std::vector<std::vector<wait>> waits_of(const program& p) {
  const auto slots = slots_after(p, p.steps.size());
  const auto n = static_cast<std::size_t>(p.ranks);
  std::vector<form> forms = p.forms;
  std::vector<std::vector<wait>> out(n);
  // By part: calls and meetings of a rank, messages between two.
  std::map<std::pair<std::size_t, int>, std::uint64_t> calls, meetings;
  std::map<std::tuple<std::size_t, int, int, bool>, std::uint64_t> numbers;
  for (std::size_t i = 0; i < p.steps.size(); ++i) {
    const step& s = p.steps[i];
    if (s.kind == operation_kind::none) continue;
    const auto slot = static_cast<std::size_t>(s.slot);
    if (s.kind == operation_kind::split) forms.push_back(forms[slot]);
    const bool by_host = s.kind == operation_kind::split || s.kind == operation_kind::exchange_host;
    const bool by_meeting = by_host || (forms[slot] == form::fast && rondel::is_collective(s.kind));
    for (std::size_t r = 0; r < n; ++r) {
      const members& of = slots[slot][r];
      if (of.empty() || of.front() != static_cast<int>(r)) continue;
      const std::size_t part = slot * n + r;
      const auto batches = by_meeting ? std::vector<std::vector<batch_record>>(of.size())
                                      : batches_of(s, static_cast<int>(of.size()));
      for (std::size_t m = 0; m < of.size(); ++m) {
        const int own = of[m];
        auto& waits = out[static_cast<std::size_t>(own)];
        auto& sequence = calls[{part, own}];
        wait one{i, part, to_string(s.kind)};
        if (by_meeting) {
          for (int round = s.kind == operation_kind::split ? 2 : 1; round > 0; --round) {
            one.sequence = ++sequence;
            one.meeting = ++meetings[{part, own}];
            waits.push_back(one);
          }
          continue;
        }
        const std::uint64_t before = sequence;
        for (const batch_record& batch : batches[m]) {
          one.sequence = sequence = before + batch.begin;
          one.messages.clear();
          for (const auto& [place, sends] : batch.messages) {
            const int peer = of[static_cast<std::size_t>(place)];
            const int from = sends ? own : peer, to = sends ? peer : own;
            one.messages.push_back({from, to, numbers[{part, from, to, sends}]++});
          }
          waits.push_back(one);
        }
        if (batches[m].empty() && s.kind != operation_kind::send_recv &&
            s.kind != operation_kind::ring_pass) {
          ++sequence;  // begun, and nothing to wait for
        }
      }
    }
  }
  return out;
}

std::vector<std::optional<std::size_t>> stuck_without(const std::vector<std::vector<wait>>& waits,
                                                      int faulty, std::size_t step) {
  std::vector<std::size_t> end, at(waits.size(), 0);
  for (const auto& list : waits) end.push_back(list.size());
  auto& last = end[static_cast<std::size_t>(faulty)];
  while (last > 0 && waits[static_cast<std::size_t>(faulty)][last - 1].step >= step) --last;

  // Whether rank `r` has begun a wait that `fits`.
  const auto has_begun = [&](std::size_t r, const auto& fits) {
    for (std::size_t i = 0; i <= at[r] && i < end[r]; ++i) {
      if (fits(waits[r][i])) return true;
    }
    return false;
  };
  const auto ends = [&](std::size_t r) {
    const wait& one = waits[r][at[r]];
    if (one.meeting != 0) {
      // Who takes part in a meeting is who has it in its list.
      for (std::size_t peer = 0; peer < waits.size(); ++peer) {
        const auto same = [&](const wait& w) {
          return w.part == one.part && w.meeting == one.meeting;
        };
        bool member = false;
        for (const wait& w : waits[peer]) member = member || same(w);
        if (member && !has_begun(peer, same)) return false;
      }
      return true;
    }
    for (const wait::message& m : one.messages) {
      const int peer = m.from == static_cast<int>(r) ? m.to : m.from;
      const bool met = has_begun(static_cast<std::size_t>(peer), [&](const wait& w) {
        if (w.part != one.part) return false;
        for (const wait::message& other : w.messages) {
          if (other.from == m.from && other.to == m.to && other.number == m.number) return true;
        }
        return false;
      });
      if (!met) return false;
    }
    return true;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t r = 0; r < waits.size(); ++r) {
      while (at[r] < end[r] && ends(r)) {
        ++at[r];
        moved = true;
      }
    }
  }
  std::vector<std::optional<std::size_t>> out(waits.size());
  for (std::size_t r = 0; r < waits.size(); ++r) {
    if (at[r] < waits[r].size()) out[r] = at[r];
  }
  return out;
}

}  // namespace programs
