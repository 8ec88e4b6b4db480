// What the fake's operations do once a stream has come to them.
#include <rondel/core/reduction.hpp>
#include <rondel/core/text.hpp>

#include "state.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include <fake_cuda/fake_cuda.hpp>

namespace fake_nccl {

const char* name_of(op_kind kind) noexcept {
  switch (kind) {
    case op_kind::all_reduce:
      return "AllReduce";
    case op_kind::reduce_scatter:
      return "ReduceScatter";
    case op_kind::all_gather:
      return "AllGather";
    case op_kind::broadcast:
      return "Broadcast";
    case op_kind::all_to_all:
      return "AlltoAll";
    case op_kind::gather:
      return "Gather";
    case op_kind::scatter:
      return "Scatter";
    case op_kind::send:
      return "Send";
    case op_kind::recv:
      return "Recv";
  }
  return "";
}

std::size_t size_of(ncclDataType_t type) noexcept {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string words_of(const op& o) {
  return rondel::concat(name_of(o.kind), "(", o.count, " of type ", static_cast<int>(o.type),
                        ", reduction ", static_cast<int>(o.reduction), ", root ", o.root, ")");
}

std::vector<region> regions(const op& o, int rank, int ranks) {
  const std::size_t one = o.count * size_of(o.type), all = one * static_cast<std::size_t>(ranks);
  const auto some = [](std::vector<region> list) {
    std::erase_if(list, [](const region& r) { return r.size == 0; });
    return list;
  };
  const bool root = rank == o.root;
  switch (o.kind) {
    case op_kind::all_reduce:
      return some({{o.in, one, false}, {o.out, one, true}});
    case op_kind::reduce_scatter:
      return some({{o.in, all, false}, {o.out, one, true}});
    case op_kind::all_gather:
      return some({{o.in, one, false}, {o.out, all, true}});
    case op_kind::broadcast:
      return some({{o.in, root ? one : 0, false}, {o.out, one, true}});
    case op_kind::all_to_all:
      return some({{o.in, all, false}, {o.out, all, true}});
    case op_kind::gather:
      return some({{o.in, one, false}, {o.out, root ? all : 0, true}});
    case op_kind::scatter:
      return some({{o.in, root ? all : 0, false}, {o.out, one, true}});
    case op_kind::send:
      return some({{o.in, one, false}});
    case op_kind::recv:
      return some({{o.out, one, true}});
  }
  return {};
}

namespace {

template <class T>
T combined(T a, T b, ncclRedOp_t reduction) {
  using accumulator = rondel::detail::accumulator_t<rondel::sum, T>;
  const auto x = static_cast<accumulator>(a), y = static_cast<accumulator>(b);
  const auto value = reduction == ncclSum   ? rondel::sum{}(x, y)
                     : reduction == ncclMax ? rondel::max{}(x, y)
                                            : rondel::min{}(x, y);
  return rondel::detail::element_cast<T>(value);
}

// Element after element, beginning with another rank each, as a ring does.
template <class T>
void reduce(const std::vector<const op*>& ops, std::size_t first, std::size_t count, void* to) {
  const std::size_t n = ops.size();
  auto* const out = static_cast<T*>(to);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t start = (first + i) % n;
    T value = static_cast<const T*>(ops[start]->in)[first + i];
    for (std::size_t r = 1; r < n; ++r) {
      value = combined(value, static_cast<const T*>(ops[(start + r) % n]->in)[first + i],
                       ops[0]->reduction);
    }
    out[i] = value;
  }
}

void reduce_any(const std::vector<const op*>& ops, std::size_t first, std::size_t count, void* to) {
  switch (ops[0]->type) {
    case ncclFloat64:
      return reduce<double>(ops, first, count, to);
    case ncclFloat32:
      return reduce<float>(ops, first, count, to);
    case ncclBfloat16:
      return reduce<rondel::bfloat16>(ops, first, count, to);
    case ncclFloat16:
      return reduce<rondel::float16>(ops, first, count, to);
    case ncclInt64:
      return reduce<std::int64_t>(ops, first, count, to);
    case ncclInt32:
      return reduce<std::int32_t>(ops, first, count, to);
    case ncclUint8:
      return reduce<std::uint8_t>(ops, first, count, to);
    default:
      report("a reduction of a type that the fake does not know");
  }
}

const std::byte* bytes(const void* p) { return static_cast<const std::byte*>(p); }

// Does all ranks' part of one collective, results last, because they may lie where inputs do.
void perform(const std::vector<const op*>& ops) {
  const op& o = *ops[0];
  const std::size_t n = ops.size(), one = o.count * size_of(o.type);
  std::vector<std::vector<std::byte>> results(n);
  for (std::size_t r = 0; r < n; ++r) {
    std::vector<std::byte>& to = results[r];
    switch (o.kind) {
      case op_kind::all_reduce:
        to.resize(one);
        reduce_any(ops, 0, o.count, to.data());
        break;
      case op_kind::reduce_scatter:
        to.resize(one);
        reduce_any(ops, o.count * r, o.count, to.data());
        break;
      case op_kind::all_gather:
        for (const op* from : ops) to.insert(to.end(), bytes(from->in), bytes(from->in) + one);
        break;
      case op_kind::broadcast: {
        const auto* from = bytes(ops[static_cast<std::size_t>(o.root)]->in);
        to.assign(from, from + one);
        break;
      }
      case op_kind::all_to_all:
        for (const op* from : ops) {
          to.insert(to.end(), bytes(from->in) + one * r, bytes(from->in) + one * (r + 1));
        }
        break;
      case op_kind::gather:
        if (static_cast<int>(r) != o.root) break;
        for (const op* from : ops) to.insert(to.end(), bytes(from->in), bytes(from->in) + one);
        break;
      case op_kind::scatter: {
        const auto* from = bytes(ops[static_cast<std::size_t>(o.root)]->in);
        to.assign(from + one * r, from + one * (r + 1));
        break;
      }
      case op_kind::send:
      case op_kind::recv:
        break;
    }
  }
  for (std::size_t r = 0; r < n; ++r) {
    if (!results[r].empty()) std::memcpy(ops[r]->out, results[r].data(), results[r].size());
  }
}

bool same(const op& a, const op& b) {
  return a.kind == b.kind && a.count == b.count && a.type == b.type && a.reduction == b.reduction &&
         a.root == b.root;
}

// Waits until `ready()`, as a kernel does: only an abort ends it. Whether it was ready.
template <class Ready>
bool wait(std::unique_lock<std::mutex>& lock, comm& c, const Ready& ready) {
  c.group->changed.wait(lock, [&] { return ready() || c.aborted.load(); });
  return ready();
}

bool meet(comm& c, const op& o) {
  clique& g = *c.group;
  std::unique_lock lock(g.mutex);
  const std::uint64_t number = c.collectives++;
  meeting& m = g.meetings[number];
  m.arrived.resize(static_cast<std::size_t>(g.size));
  m.arrived[static_cast<std::size_t>(c.rank)] = &o;
  if (++m.present == g.size) {
    bool alike = true;
    for (const op* other : m.arrived) {
      if (same(*other, o)) continue;
      alike = false;
      report(rondel::concat("ranks disagree: ", words_of(o), " and ", words_of(*other)));
    }
    // Ranks that disagree hang, or read what is not there; these hang.
    if (alike) {
      perform(m.arrived);
      m.done = true;
      g.changed.notify_all();
    }
  }
  if (!wait(lock, c, [&] { return m.done; })) {
    m.arrived[static_cast<std::size_t>(c.rank)] = nullptr;
    m.present = -1'000'000;  // it can never be complete
    return false;
  }
  if (++m.left == g.size) g.meetings.erase(number);
  return true;
}

// All messages of a plan, in whatever order they can go.
bool deliver(comm& c, const std::vector<const op*>& messages) {
  if (messages.empty()) return true;
  clique& g = *c.group;
  std::unique_lock lock(g.mutex);
  std::deque<letter> sent;
  std::vector<const op*> recvs;
  for (const op* o : messages) {
    if (o->kind == op_kind::send) {
      g.letters[{c.rank, o->root}].push_back(&sent.emplace_back(letter{o}));
    } else {
      recvs.push_back(o);
    }
  }
  g.changed.notify_all();
  const auto progress = [&] {
    bool moved = false;
    std::set<int> stalled;  // messages of a pair keep their order
    for (const op*& o : recvs) {
      if (o == nullptr || stalled.contains(o->root)) continue;
      auto& box = g.letters[{o->root, c.rank}];
      if (box.empty()) {
        stalled.insert(o->root);
        continue;
      }
      letter& l = *box.front();
      box.pop_front();
      const std::size_t size = o->count * size_of(o->type),
                        theirs = l.what->count * size_of(l.what->type);
      if (size != theirs) {
        report(rondel::concat("rank ", c.rank, " receives ", size, " B from rank ", o->root,
                              ", which sends ", theirs, " B"));
      }
      std::memcpy(o->out, l.what->in, std::min(size, theirs));
      l.taken = true;
      o = nullptr;
      moved = true;
    }
    if (moved) g.changed.notify_all();
    return std::all_of(recvs.begin(), recvs.end(), [](const op* o) { return o == nullptr; }) &&
           std::all_of(sent.begin(), sent.end(), [](const letter& l) { return l.taken; });
  };
  if (wait(lock, c, progress)) return true;
  for (auto& [pair, box] : g.letters) {
    std::erase_if(box, [&](const letter* l) {
      return std::any_of(sent.begin(), sent.end(), [&](const letter& own) { return &own == l; });
    });
  }
  return false;
}

}  // namespace

void run_plan(const plan& p) {
  comm& c = *p.owner;
  if (c.running.fetch_add(1) != 0) {
    report(rondel::concat("rank ", c.rank, ": two streams run operations of one communicator at ",
                          "once, unordered by events"));
  }
  if (!p.captured && c.executed.fetch_add(1) != p.number) {
    report(rondel::concat("rank ", c.rank, ": a stream runs operation ", p.number,
                          " of a communicator out of the order of the calls"));
  }
  const auto late = draw(static_cast<std::uint64_t>(lib().how.lateness) + 1);
  if (draw(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(late));
  // Each rank looks up its own memory: another one's device need not reach it.
  std::vector<op> ops = p.ops;
  for (op& o : ops) {
    for (const region& r : regions(o, c.rank, c.group->size)) {
      if (r.writes) continue;
      o.in = fake_cuda::memory(r.data);
    }
    for (const region& r : regions(o, c.rank, c.group->size)) {
      if (r.writes) o.out = fake_cuda::memory(const_cast<void*>(r.data));
    }
  }
  std::vector<const op*> messages;
  bool on = !c.aborted.load();
  for (const op& o : ops) {
    if (!on) break;
    if (due(c, fault::stall, p.operation) || due(c, fault::async_error, p.operation)) {
      if (due(c, fault::async_error, p.operation)) c.state = lib().how.result;
      std::unique_lock lock(c.group->mutex);
      on = wait(lock, c, [] { return false; });
    } else if (is_message(o)) {
      messages.push_back(&o);
    } else {
      on = meet(c, o);
    }
  }
  if (on) (void)deliver(c, messages);
  c.running.fetch_sub(1);
  lib().runs.fetch_add(1);
  const std::lock_guard lock(c.group->mutex);
  c.group->changed.notify_all();
}

}  // namespace fake_nccl
