// expect: (no matching function for call to 'to_dlpack|dlpack::managed_with_flags<M>)
#include <rondel/device/dlpack.hpp>
#include <rondel/device/host.hpp>

#include <memory>

void lend(const rondel::host_device& device, rondel::device_span<float> values,
          rondel::device_span<const float> constants, std::shared_ptr<const void> owner) {
  using legacy = rondel::dlpack::managed_tensor;
  const auto writable = rondel::to_dlpack<legacy>(device, values, owner);
#ifdef RONDEL_MUST_FAIL
  const auto constant = rondel::to_dlpack<legacy>(device, constants, owner);
#else
  const auto constant = rondel::to_dlpack(device, constants, owner);
#endif
}
