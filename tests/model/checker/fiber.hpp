#pragma once
#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>

#include <ucontext.h>

namespace model {

// A stack of its own on which jobs run one after another. A switch between fibers costs some
// nanoseconds, where threads that pass a baton would take microseconds.
class fiber {
 public:
  // The context of whoever constructs it: the thread that is running.
  fiber();
  // A fiber that runs `job` whenever it is switched to, from the start. `job` must not return; it
  // switches away, and may be called again by `restart`.
  explicit fiber(std::function<void()> job);
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;
  ~fiber();

  // Leaves this fiber, which must be the running one, for `to`. Returns when somebody switches
  // back.
  void switch_to(fiber& to) noexcept;

 private:
  // The exceptions that are being thrown and handled, which the C++ runtime keeps per thread.
  struct exceptions {
    void* caught = nullptr;
    unsigned int uncaught = 0;
  };

  static void enter(unsigned int high, unsigned int low);

  static constexpr std::size_t stack_size = 256 * 1024;

  std::unique_ptr<std::byte[]> stack_;
  std::function<void()> job_;
  ucontext_t first_{};
  std::jmp_buf state_{};
  bool started_ = false;
  exceptions exceptions_;
};

}  // namespace model
