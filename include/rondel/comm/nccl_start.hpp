#pragma once
#include <rondel/comm/nccl_id.hpp>
#include <rondel/comm/nccl_member.hpp>
#include <rondel/comm/nccl_world.hpp>
#include <rondel/core/error.hpp>
#include <rondel/core/seconds.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/cuda_check.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include <nccl.h>

namespace rondel {

/// How a rank joins an NCCL world.
struct nccl_options {
  /// This rank.
  int rank = 0;
  /// Number of ranks.
  int size = 1;
  /// How long a call may wait for its peers, joining included.
  seconds timeout{600};
  /// How ranks learn of another one's failure: `make_thread_channel` for threads of one process,
  /// else one of the user's own; null for none.
  std::shared_ptr<failure_channel> channel{};
  /// How many of this rank's last calls are kept for the words of a failure, 0 for none. That of a
  /// thread channel goes before it.
  std::size_t flight_records = 32;
};

namespace detail {

// What a communicator object holds.
template <device Device>
struct nccl_seat {
  std::shared_ptr<nccl_world> world;
  std::shared_ptr<nccl_member<Device>> member;
};

template <device Device>
[[nodiscard]] nccl_seat<Device> nccl_enter(Device& device, const nccl_options& options) {
  if (options.size < 1 || options.rank < 0 || options.rank >= options.size) {
    throw invalid_argument(concat("nccl: rank ", options.rank, " of a world of ", options.size));
  }
  if (nccl_version() < NCCL_VERSION(2, 18, 1)) {
    throw error(concat("the NCCL library is version ", nccl_version_text(nccl_version()),
                       ", 2.18.1 or newer expected"));
  }
  auto shared = std::dynamic_pointer_cast<nccl_shared>(options.channel);
  const bool threads = shared != nullptr;
  if (!threads) shared = std::make_shared<nccl_shared>(options.size, options.flight_records);
  if (shared->world().ranks() != options.size) {
    throw invalid_argument(concat("nccl: a channel of ", shared->world().ranks(),
                                  " ranks for a world of ", options.size));
  }
  std::vector<int> ranks;
  for (int r = 0; r < options.size; ++r) ranks.push_back(r);
  nccl_seat<Device> out;
  out.world = std::make_shared<nccl_world>(shared, threads, threads ? nullptr : options.channel,
                                           options.rank, device.ordinal());
  using stream_type = typename Device::stream_type;
  out.member = std::make_shared<nccl_member<Device>>(
      *out.world, device, std::make_shared<stream_type>(device.make_stream("nccl")),
      shared->open(0, 0, 0, ranks), options.rank, options.timeout);
  out.member->host_stream->watch(out.member);
  out.world->enroll(out.member);
  return out;
}

template <device Device>
[[nodiscard]] nccl_seat<Device> nccl_join(Device& device, const nccl_id& id,
                                          const nccl_options& options) {
  nccl_seat<Device> out = nccl_enter(device, options);
  nccl_member<Device>& m = *out.member;
  const std::lock_guard lock(out.world->calls);
  const device_guard guard(device.ordinal());
  ncclConfig_t config = nccl_config();
  ncclResult_t result = ncclSuccess;
  {
    const nccl_comm_id address(id.address());  // NCCL reads it in the call
    result = ncclCommInitRankConfig(&m.handle, options.size, id.native(), options.rank, &config);
  }
  m.settle(result, "ncclCommInitRankConfig");
  return out;
}

template <device Device>
[[nodiscard]] nccl_seat<Device> nccl_adopt(Device& device, ncclComm_t comm, nccl_options options) {
  int ordinal = -1;
  const auto check = [&](ncclResult_t result, const char* call) {
    if (result != ncclSuccess) throw invalid_argument(nccl_text(call, result, comm));
  };
  check(ncclCommCount(comm, &options.size), "ncclCommCount");
  check(ncclCommUserRank(comm, &options.rank), "ncclCommUserRank");
  check(ncclCommCuDevice(comm, &ordinal), "ncclCommCuDevice");
  if (ordinal != device.ordinal()) {
    throw invalid_argument(concat("nccl_communicator::adopt: a communicator on CUDA device ",
                                  ordinal, " with memory of device ", device.ordinal()));
  }
  nccl_seat<Device> out = nccl_enter(device, options);
  out.member->handle = comm;
  out.member->owned = false;
  return out;
}

// Part `color` of `parent`, whose ranks are `members` there. Without a member for a negative color.
// NCCL deadlocks if the parent is at work: the exchange by which the members are known, and which
// the host has waited for, comes behind all that it had queued.
template <device Device>
[[nodiscard]] nccl_seat<Device> nccl_split(nccl_world& world,
                                           const std::shared_ptr<nccl_member<Device>>& from,
                                           int color, int key, const std::vector<int>& members) {
  nccl_member<Device>& parent = *from;
  parent.now.op = {.kind = operation_kind::split};
  parent.now.sequence = ++parent.calls;
  parent.check_open(parent.words());
  nccl_seat<Device> out;
  {
    const std::lock_guard lock(world.calls);
    if (parent.handle == nullptr) world.throw_failed(parent.words());
    const device_guard guard(world.ordinal);
    ncclConfig_t config = nccl_config();
    parent.settle(ncclCommSplit(parent.handle, color < 0 ? NCCL_SPLIT_NOCOLOR : color, key,
                                &parent.part, &config),
                  "ncclCommSplit");
  }
  ++parent.splits;
  if (color < 0) return out;
  std::vector<int> ranks;
  for (const int r : members) ranks.push_back(parent.roll->ranks[static_cast<std::size_t>(r)]);
  const auto place = std::find(members.begin(), members.end(), parent.rank) - members.begin();
  out.member = std::make_shared<nccl_member<Device>>(
      world, *parent.device, parent.host_stream,
      world.shared->open(parent.roll->number, parent.splits, color, ranks), static_cast<int>(place),
      parent.timeout);
  out.member->handle = std::exchange(parent.part, nullptr);
  world.enroll(out.member);
  const std::lock_guard lock(world.calls);
  out.member->settle(ncclInProgress, "ncclCommSplit");
  return out;
}

// Ends `entries` of all these worlds of one process, in which no call is under way. Ranks that
// are processes each have one world here. `wait(entry)` returns when that has nothing queued, or
// throws; `settle(entry)` waits for a call without a result of its own.
template <device Device>
void nccl_close_all(std::span<nccl_world* const> worlds,
                    const std::vector<std::shared_ptr<nccl_entry>>& entries) {
  const auto member = [](const auto& e) { return static_cast<nccl_member<Device>*>(e.get()); };
  try {
    for (const auto& e : entries) {
      if (e->handle == nullptr) continue;
      member(e)->check_open("close");
      member(e)->drain();
    }
    // No call of these waits for another rank, so one thread can make those of several.
    for (const auto& e : entries) {
      if (e->handle == nullptr || !e->owned) continue;
      const std::lock_guard lock(member(e)->world.calls);
      const device_guard guard(member(e)->world.ordinal);
      const ncclResult_t result = ncclCommFinalize(e->handle);
      if (result != ncclInProgress) member(e)->settle(result, "ncclCommFinalize");
    }
    for (const auto& e : entries) {
      if (e->handle == nullptr) continue;
      const std::lock_guard lock(member(e)->world.calls);
      const device_guard guard(member(e)->world.ordinal);
      if (e->owned) {
        member(e)->settle(ncclInProgress, "ncclCommFinalize");
        (void)ncclCommDestroy(e->handle);  // of a finalized one is local
      }
      e->handle = nullptr;
    }
  } catch (...) {
    for (nccl_world* const w : worlds) w->abort_all();
    throw;
  }
}

template <device Device>
void nccl_close(nccl_world& world, const std::shared_ptr<nccl_member<Device>>& member) {
  if (world.has_graphs()) {
    throw invalid_argument(concat("rank ", world.rank,
                                  " closes a communicator while an nccl_step lives, whose graph "
                                  "keeps NCCL from ending it"));
  }
  const bool whole = !world.entries().empty() && world.entries().front() == member;
  nccl_world* const one = &world;
  if (whole) return nccl_close_all<Device>(std::span(&one, 1), world.entries());
  nccl_close_all<Device>(std::span(&one, 1), {member});
  const std::lock_guard lock(world.calls);
  world.remove(member.get());
}

}  // namespace detail
}  // namespace rondel
