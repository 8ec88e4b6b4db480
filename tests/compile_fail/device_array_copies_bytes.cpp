// expect: is_trivially_copyable
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

#include <string>

rondel::device_array<double, rondel::host_device> numbers;
#ifdef RONDEL_MUST_FAIL
rondel::device_array<std::string, rondel::host_device> texts;
#endif
