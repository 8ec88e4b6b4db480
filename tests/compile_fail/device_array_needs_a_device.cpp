// expect: (does not satisfy 'device'|required for the satisfaction of 'device<)
#include <rondel/device/array.hpp>
#include <rondel/device/host.hpp>

rondel::device_array<double, rondel::host_device> numbers;
#ifdef RONDEL_MUST_FAIL
rondel::device_array<double, rondel::host_stream> nowhere;
#endif
