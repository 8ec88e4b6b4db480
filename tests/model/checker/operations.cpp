#include "execution.hpp"

#include <bit>
#include <cstring>
#include <string>

namespace model {

void race_state::read() {
  execution& e = execution::current();
  const std::uint32_t number = e.clock().tick(e.running());
  if (!e.clock().covers(writer_, written_)) {
    e.fail("data race: thread " + std::to_string(e.running()) + " reads what thread " +
           std::to_string(writer_) + " writes");
  }
  reads_.set(e.running(), number);
}

void race_state::write() {
  execution& e = execution::current();
  const std::uint32_t number = e.clock().tick(e.running());
  const std::string race =
      "data race: thread " + std::to_string(e.running()) + " writes what thread ";
  if (!e.clock().covers(writer_, written_)) e.fail(race + std::to_string(writer_) + " writes");
  for (int t = 0; t < max_threads; ++t) {
    if (!e.clock().covers(t, reads_[t])) e.fail(race + std::to_string(t) + " reads");
  }
  writer_ = e.running();
  written_ = number;
}

void execution::note(std::string_view operation, const site& where, std::string_view detail) {
  if (!traced_) return;
  trace_.push_back(std::to_string(steps_) + " thread " + std::to_string(running_) + " " +
                   std::string(operation) + " " + std::string(detail) + "  " +
                   model::to_string(where) + "  " + source_line(where));
}

std::size_t execution::make_location(std::uint64_t bits, void* owner) {
  if (used_ == locations_.size()) locations_.emplace_back();
  locations_[used_].reset(bits, running_, clock());
  locations_[used_].owner = owner;
  return used_++;
}

void execution::drop_location(std::size_t index, const void* owner) noexcept {
  if (index < used_ && locations_[index].owner == owner) locations_[index].owner = nullptr;
}

location& execution::at(std::size_t index, const void* owner) {
  if (index >= used_ || locations_[index].owner != owner) {
    fail("thread " + std::to_string(running_) + " uses an atomic object that is destroyed");
  }
  return locations_[index];
}

std::uint64_t execution::load(std::size_t index, const void* owner, std::memory_order order,
                              const site& where) {
  point();
  const plant* const p = plants_.at("load", where);
  if (p != nullptr && p->drop) return 0;
  if (p != nullptr && p->order) order = *p->order;
  location& l = at(index, owner);
  if (p != nullptr && p->repeat) return l.seen(running_);
  const int age = choose(l.visible(running_, clock(), order));
  std::uint64_t bits = l.load(age, running_, clock(), order);
  if (p != nullptr) bits += static_cast<std::uint64_t>(p->add);
  if (traced_) {
    note("load", where,
         std::string(to_string(order)) + " = " + std::to_string(bits) +
             (age == 0 ? "" : ", an old value"));
  }
  return bits;
}

void execution::store(std::size_t index, const void* owner, std::uint64_t bits,
                      std::memory_order order, const site& where) {
  point();
  const plant* const p = plants_.at("store", where);
  if (p != nullptr && p->drop) return;
  if (p != nullptr && p->order) order = *p->order;
  at(index, owner).store(bits, running_, clock(), order);
  if (traced_) note("store", where, std::string(to_string(order)) + " " + std::to_string(bits));
}

std::uint64_t execution::modify(std::size_t index, const void* owner, change apply,
                                std::uint64_t operand, const char* name, std::memory_order order,
                                const site& where) {
  point();
  const plant* const p = plants_.at(name, where);
  if (p != nullptr && p->order) order = *p->order;
  const std::uint64_t old = at(index, owner).newest();
  if (p != nullptr && p->drop) return old;
  if (p != nullptr && p->split) {
    point();
    at(index, owner).store(apply(old, operand), running_, clock(), order);
  } else {
    at(index, owner).modify(apply(old, operand), running_, clock(), order);
  }
  if (traced_) {
    note(name, where,
         std::string(to_string(order)) + " " + std::to_string(old) + " -> " +
             std::to_string(apply(old, operand)));
  }
  return old;
}

// What a thread compares before it sleeps is the newest value: it is the system that looks.
void execution::wait(std::size_t index, const void* owner, std::uint64_t old, const site& where) {
  point();
  location& l = at(index, owner);
  if (l.newest() != old) {
    l.refresh(running_);
    note("wait", where, "not at all");
    return;
  }
  note("wait", where, "");
  block(l.waiters, "a wait of an atomic object", -1, false);
}

void execution::notify(std::size_t index, const void* owner, bool all, const site& where) {
  if (notifies(all, where)) release(at(index, owner).waiters, all);
}

void execution::notify(thread_set& waiters, bool all, const site& where) {
  if (notifies(all, where)) release(waiters, all);
}

bool execution::notifies(bool all, const site& where) {
  point();
  const plant* const p = plants_.at(all ? "notify_all" : "notify_one", where);
  note("notify", where, "");
  return p == nullptr || !p->drop;
}

// Wakes all threads in `waiters`, or any one.
void execution::release(thread_set& waiters, bool all) {
  if (all || waiters == 0) {
    wake(waiters, waiters);
    return;
  }
  thread_set rest = waiters;
  for (int n = choose(std::popcount(rest)); n > 0; --n) rest &= rest - 1;
  wake(waiters, rest & ~(rest - 1));
}

bool execution::lock(mutex_state& m, const site& where) {
  point();
  const plant* const p = plants_.at("lock", where);
  if (p != nullptr && p->drop) return false;
  acquire(m);
  note("lock", where, "");
  return true;
}

void execution::acquire(mutex_state& m) {
  while (m.holder >= 0) {
    if (m.holder == running_) fail("a thread locks a mutex that it holds");
    block(m.waiters, "a lock of a mutex", -1, false);
  }
  m.holder = running_;
  clock().join(m.released);
}

void execution::unlock(mutex_state& m) {
  clock().tick(running_);
  m.released = clock();
  m.holder = -1;
  wake(m.waiters, m.waiters);
}

bool execution::wait_for(thread_set& waiters, mutex_state& m, std::int64_t nanoseconds,
                         const site& where) {
  point();
  note("wait_for", where, "");
  unlock(m);
  block(waiters, "a timed wait", now_ + nanoseconds, false);
  const bool expired = thread(running_).expired;
  acquire(m);
  return !expired;
}

void execution::watch(const void* memory, std::size_t size, race_state& state) {
  watched_.push_back({static_cast<const std::byte*>(memory), size, &state});
}

void execution::unwatch(const race_state& state) noexcept {
  std::erase_if(watched_, [&](const watched& w) { return w.state == &state; });
}

void execution::copy(void* to, const void* from, std::size_t size) {
  point();
  const auto touch = [&](const void* memory, bool writes) {
    const auto* const begin = static_cast<const std::byte*>(memory);
    for (const watched& w : watched_) {
      if (begin >= w.begin + w.size || w.begin >= begin + size) continue;
      if (writes) {
        w.state->write();
      } else {
        w.state->read();
      }
    }
  };
  // Others may run while the bytes are on their way.
  touch(from, false);
  touch(to, true);
  std::memcpy(to, from, size / 2);
  point();
  std::memcpy(static_cast<std::byte*>(to) + size / 2,
              static_cast<const std::byte*>(from) + size / 2, size - size / 2);
  touch(from, false);
}

}  // namespace model
