// expect: (deleted function .rondel::device_array<|deleted copy constructor of .array)
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include <utility>

using array = rondel::device_array<double, rondel::host_device>;

array take(array& x) {
#ifdef RONDEL_MUST_FAIL
  return x;
#endif
  return std::move(x);
}
