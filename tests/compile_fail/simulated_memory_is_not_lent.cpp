// expect: lending_device
#include <rondel/device/dlpack.hpp>
#include <rondel/device/host.hpp>
#include <rondel/device/sim.hpp>

#include <memory>

void lend(const rondel::host_device& host, const rondel::sim_device& simulated,
          rondel::device_span<float> values, std::shared_ptr<const void> owner) {
  const auto real = rondel::to_dlpack(host, values, owner);
#ifdef RONDEL_MUST_FAIL
  const auto unbacked = rondel::to_dlpack(simulated, values, owner);
#endif
  (void)simulated;
}
