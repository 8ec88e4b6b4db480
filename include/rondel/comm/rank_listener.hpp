#pragma once
#include <rondel/device/host_stream.hpp>

#include <exception>

namespace rondel::detail {

// Brings what goes wrong on a rank's streams to the world.
template <class World>
class rank_listener final : public stream_listener {
 public:
  rank_listener(World& world, int rank) noexcept : world_(&world), rank_(rank) {}
  void unwinding() noexcept override {
    world_->fail(rank_, "it leaves by an exception while its streams have work");
  }
  void failed(const std::exception_ptr& failure) noexcept override {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      world_->note_stream_failure(rank_, e.what());
    } catch (...) {
      world_->note_stream_failure(rank_, "an exception that is no std::exception");
    }
  }

 private:
  World* world_;
  int rank_;
};

}  // namespace rondel::detail
