#pragma once
#include <exception>

namespace rondel {

/// Is told what goes wrong on the streams of a device. Whoever lets ranks meet sets one, so that
/// peers that wait for work which will not run are woken.
class stream_listener {
 public:
  /// An exception is about to destroy a worker stream whose work does not end by itself; the
  /// stream goes on to wait for it after this.
  virtual void unwinding() noexcept = 0;
  /// The work of a stream has thrown `failure`, and what is queued behind it will not run.
  /// Called on the thread that ran it.
  virtual void failed(const std::exception_ptr& failure) noexcept = 0;

 protected:
  ~stream_listener() = default;
};

}  // namespace rondel
