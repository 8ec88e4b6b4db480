#pragma once
// A CUDA runtime without a GPU: the entry points that rondel calls, compiled against the real
// header and linked in place of libcudart. Streams are threads, device memory is host memory behind
// addresses that fault when host code touches them.
//
// It holds its user to the rules of CUDA, and goes wrong where they are broken: each operation of a
// stream is delayed at random, so that who misses an event wait reads too early in some seed.
// Besides, it knows from the calls which operations are ordered, and reports each pair that touches
// the same memory without being so, in every run.
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

namespace fake_cuda {

struct options {
  int devices = 1;
  unsigned seed = 0;
  // Whether operations are delayed at random.
  bool delays = true;
  // Whether the devices can reach each other's memory.
  bool peer_access = true;
  // Bytes of each device.
  std::size_t memory = std::size_t{1} << 30;
  // Whether a stream that is destroyed before its work is done counts as misuse.
  bool strict_destroy = true;
};

// The machine for the life of a scope; one at a time. Without one there is a machine of one device.
class runtime {
 public:
  explicit runtime(const options& o = {});
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;
  // Ends the process if `finish` would return anything: nobody has looked.
  ~runtime();

  // The misuse seen so far.
  [[nodiscard]] std::vector<std::string> problems() const;
  // Waits for all queued work, and returns the misuse and what was not freed; both are then
  // forgotten.
  [[nodiscard]] std::vector<std::string> finish();

  // Lets the `nth` call of the entry point `call` from now on, counted from 1, fail with `code` and
  // do nothing. A kernel launch counts as "cudaLaunchKernel".
  void fail(const std::string& call, int nth, cudaError_t code);
  // How often each entry point was called.
  [[nodiscard]] std::map<std::string, int> calls() const;
};

// Queues an operation that fails the stream's device, for good: an error of a kernel while it runs.
void fail_in_stream(cudaStream_t stream, cudaError_t code);

// Memory that a kernel reads or writes.
struct memory_use {
  const void* data;
  std::size_t bytes;
  bool writes;
};

// Launches `kernel` as <<<>>> does: on a stream of the current device; what fails is the thread's
// last error. `kernel` runs on the host, and may touch what it lists, by `memory`.
void launch(cudaStream_t stream, std::function<void()> kernel,
            const std::vector<memory_use>& accesses);

// Where device memory lies on this host. Only for work that runs on a stream.
[[nodiscard]] void* find_memory(const void* device_address);
template <class T>
[[nodiscard]] T* memory(T* device_address) {
  return static_cast<T*>(find_memory(device_address));
}

}  // namespace fake_cuda
