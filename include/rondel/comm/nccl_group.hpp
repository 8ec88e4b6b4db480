#pragma once
#include <rondel/core/error.hpp>

#include <exception>
#include <thread>
#include <utility>

#include <nccl.h>

namespace rondel {

/// A group of NCCL calls, which starts them together when it ends.
///
/// NCCL keeps the open group in the thread, so one that stays open swallows every later call of
/// the thread: this object can neither move nor be copied, is ended where it was begun, and ends
/// itself when an exception leaves its scope; then nothing of it starts. Non-blocking
/// communicators that had calls in such a group report the error and are of no more use.
///
/// For code that calls NCCL itself; batches and collectives make their own. Calls to all of
/// one peer keep their order. An initialisation cannot be in a group with other calls.
class nccl_group {
 public:
  /// Opens the group; inside another one it becomes part of that. Throws `error`.
  nccl_group() {
    const ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess) {
      throw error(concat("ncclGroupStart: ", ncclGetErrorString(result)));
    }
  }
  nccl_group(const nccl_group&) = delete;
  nccl_group& operator=(const nccl_group&) = delete;
  ~nccl_group() {
    if (!open_) return;
    if (std::uncaught_exceptions() > exceptions_) cancel();
    (void)end();
  }

  /// Takes note of what a call in the group returned: the first failure is what `end` returns.
  void add(ncclResult_t result) noexcept {
    if (first_ == ncclSuccess && result != ncclInProgress) first_ = result;
  }

  /// Lets the end start nothing: it will report an error.
  void cancel() noexcept {
    // There is no call for it. One without a communicator has no effect but to fail the group.
    add(ncclAllReduce(nullptr, nullptr, 0, ncclUint8, ncclSum, nullptr, nullptr));
  }

  /// Closes the group, and starts its calls unless one failed. The first failure, or
  /// `ncclInProgress` of a non-blocking communicator, or `ncclSuccess`. `ncclInvalidUsage`, and
  /// nothing is closed, on another thread than the one that opened it. A second call returns what
  /// the first did.
  [[nodiscard]] ncclResult_t end() noexcept {
    if (!open_) return result_;
    if (std::this_thread::get_id() != thread_) return ncclInvalidUsage;
    open_ = false;
    result_ = ncclGroupEnd();
    if (first_ != ncclSuccess) result_ = first_;
    return result_;
  }

 private:
  std::thread::id thread_ = std::this_thread::get_id();
  int exceptions_ = std::uncaught_exceptions();
  bool open_ = true;
  ncclResult_t first_ = ncclSuccess, result_ = ncclSuccess;
};

}  // namespace rondel
